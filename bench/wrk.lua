-- Sends the requests of a plan's file (see load.py), one after the other, and prints what came of it as JSON.
local mark = "\x1e\n"
local requests, at, again = {}, 0, true

function init(args)
   local file = io.open(args[1], "rb")
   local text = file:read("*a")
   file:close()
   local start = 1
   while true do
      local stop = text:find(mark, start, true)
      if not stop then break end
      requests[#requests + 1] = text:sub(start, stop - 1)
      start = stop + #mark
   end
   again = args[2] == "repeat"
end

-- wrk asks for one request before it begins, to look at it, and does not send it.
local shown = false

function request()
   if not shown then
      shown = true
      return requests[1]
   end
   at = at + 1
   if at > #requests then
      if not again then error("the plan is at its end: more requests were sent than it holds") end
      at = 1
   end
   return requests[at]
end

function done(summary, latency, requests)
   local failed = summary.errors
   io.write(string.format('\n{"rate": %f, "p50": %f, "p99": %f, "errors": %d}\n',
      summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      failed.status + failed.connect + failed.read + failed.write + failed.timeout))
end
