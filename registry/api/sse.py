"""The feed over HTTP: server-sent events, from any position on."""

from __future__ import annotations

from typing import Any

from litestar import Response, route
from litestar.response import Stream

from registry.api import events, parameters
from registry.api.deals import READ
from registry.api.operation import Operation
from registry.api.parameters import Request
from registry.delivery.feed import Filter
from registry.errors import InvalidParameter

FILTER_PARAMETERS = {name: parameter for name, parameter in events.FEED.items() if name != "limit"}
POSITION = FILTER_PARAMETERS["after"]


@route("/v1/events/stream", http_method=READ)
async def get_stream(request: Request) -> Response[Any] | Stream:
    """The log as it grows, as server-sent events.

    Each message is one event as in `GET /v1/events`; its id is its position. `Last-Event-ID`, or `after`, says where to
    go on: nothing is left out and nothing comes twice. Without either it begins with what is recorded from now on.
    """
    await parameters.may_read(request)
    asked = parameters.query(request, FILTER_PARAMETERS)
    after = asked.pop("after", None)
    name = "after"
    last = request.headers.get("last-event-id")
    if last is not None:
        # What the client remembers counts more than what its address says: it is newer.
        name = "Last-Event-ID"
        try:
            after = POSITION(last)
        except InvalidParameter as error:
            raise error.of(name) from None
    feed = request.app.state.registry.feed
    head = await feed.head()
    if after is None:
        after = head
    elif after > head:
        raise InvalidParameter("after_head", parameter=name, head=head)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return Response(None, media_type="text/event-stream", headers=headers)
    return Stream(feed.listen(after, Filter(**asked)), media_type="text/event-stream", headers=headers)


OPERATIONS = (
    Operation(
        handler=get_stream,
        tag="Log",
        query=FILTER_PARAMETERS,
        headers=("Last-Event-ID",),
        other={"text/event-stream": "Messages whose id is a position and whose data is an event."},
    ),
)
