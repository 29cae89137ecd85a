"""The log over HTTP: its events in order, and one by its id."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Response, route
from litestar.params import FromPath

from registry.answers import encode, event_answer, logged
from registry.api import http, shapes
from registry.api.deals import READ
from registry.api.http import Request
from registry.api.operation import Operation
from registry.errors import NotFound
from registry.events.intake import as_uuid
from registry.events.types import EVENT_TYPES

FEED: dict[str, http.Parameter[Any]] = {
    "after": http.whole(0, 2**53, 0),
    "limit": http.whole(1, 1000, 100),
    "type": http.one_of(*EVENT_TYPES),
    "deal": http.name,
    "organization": http.name,
    "source": http.text,
}


@route("/v1/events", http_method=READ)
async def get_events(request: Request) -> Response[Any]:
    """The log behind a position, in order."""
    await http.may_read(request)
    asked = http.query(request, FEED)
    limit = asked.pop("limit", 100)
    after = asked.pop("after", 0)
    events = await request.app.state.registry.reader.events(after, limit, **asked)
    headers = {"Cache-Control": "no-cache"}
    if len(events) == limit:
        following = {**dict(request.query_params.items()), "after": str(events[-1].recorded.position)}
        headers["Link"] = f'</v1/events?{urlencode(following)}>; rel="next"'
    return http.json_response(encode({"events": [logged(e) for e in events]}), 200, headers)


@route("/v1/events/{id:str}", http_method=READ)
async def get_event(request: Request, id: FromPath[str]) -> Response[Any]:
    """One event, how it reads now, and what corrected it."""
    await http.may_read(request)
    http.query(request, {})
    uuid = as_uuid(id)
    if uuid is None:
        raise NotFound(f"'{id[:80]}' is no event id: a UUID is expected.")
    stored, reading = await request.app.state.registry.reader.event(uuid)
    return http.json_response(encode(event_answer(stored, reading)), 200, {"Cache-Control": "no-cache"})


OPERATIONS = (
    Operation(handler=get_events, tag="Log", query=FEED, answer=shapes.Log),
    Operation(handler=get_event, tag="Log", answer=shapes.EventAnswer, refuses=("not_found",)),
)
