"""The feed over HTTP: server-sent events, from any position on."""

from __future__ import annotations

from typing import Any

from litestar import Response, route
from litestar.response import Stream

from registry.api import events, http
from registry.api.deals import READ
from registry.api.http import Request
from registry.api.operation import Operation
from registry.errors import BadQuery
from registry.feed import Filter

WANTED = {name: parameter for name, parameter in events.FEED.items() if name != "limit"}
POSITION = WANTED["after"]


@route("/v1/events/stream", http_method=READ)
async def get_stream(request: Request) -> Response[Any] | Stream:
    """The log as it grows, as server-sent events.

    Each message is one event as in `GET /v1/events`; its id is its position. `Last-Event-ID`, or `after`, says where to
    go on: nothing is left out and nothing comes twice. Without either it begins with what is recorded from now on.
    """
    await http.may_read(request)
    asked = http.query(request, WANTED)
    after = asked.pop("after", None)
    name = "after"
    last = request.headers.get("last-event-id")
    if last is not None:
        # What the client remembers counts more than what its address says: it is newer.
        name = "Last-Event-ID"
        try:
            after = POSITION(last)
        except ValueError as error:
            raise BadQuery(parameter=name, reason=str(error)) from None
    feed = request.app.state.registry.feed
    head = await feed.head()
    if after is None:
        after = head
    elif after > head:
        raise BadQuery(parameter=name, reason=f"the log ends at position {head}")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return Response(None, media_type="text/event-stream", headers=headers)
    return Stream(feed.listen(after, Filter(**asked)), media_type="text/event-stream", headers=headers)


OPERATIONS = (
    Operation(
        handler=get_stream,
        tag="Log",
        query=WANTED,
        headers=("Last-Event-ID",),
        other={"text/event-stream": "Messages whose id is a position and whose data is an event."},
    ),
)
