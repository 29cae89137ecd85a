"""What the API and the pages share: the server, its limits, and what every request passes through.

server.py, protocol.py              the server and its connections, with limits; open_connections.py
middleware.py, hosts.py             request ids, security headers; accepted host names
access_log.py, process_metrics.py   a line for each request; counters and histograms
metrics.py, probe.py, tracing.py    what a scrape reads of the service; checks that may hang; OpenTelemetry
rate_limits.py, deadline.py         limits by key and address; the end of reads that take too long
guards.py                           the key, its scope, and the known query parameters
parameters.py, filters.py           typed parameters; list_parameters.py: orders and groupings; cursors.py
conditional.py                      ETags and preconditions
bodies.py, import_session.py        the bytes of a body, `events/intake.py` decodes them; imports line by line
responses.py, compression.py        encoded answers
problems.py                         errors as problem documents
routes.py, static_files.py          routers that are registered once; files of the package
"""
