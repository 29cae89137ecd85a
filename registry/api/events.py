"""The log over HTTP: its events in order, and one by its id."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Response, route
from litestar.params import FromPath

from registry import schemas
from registry.api import parameters
from registry.api.deals import READ
from registry.api.operation import Operation
from registry.api.parameters import Request
from registry.errors import NotFound
from registry.events.intake import as_uuid
from registry.events.types import EVENT_TYPES
from registry.schemas import EventPage, encode, event_response, logged_event

FEED: dict[str, parameters.Parameter[Any]] = {
    "after": parameters.integer(0, 2**53, 0),
    "limit": parameters.integer(1, 1000, 100),
    "type": parameters.choice(*EVENT_TYPES),
    "deal": parameters.name,
    "organization": parameters.name,
    "source": parameters.text,
}


@route("/v1/events", http_method=READ)
async def get_events(request: Request) -> Response[Any]:
    """The log behind a position, in order."""
    await parameters.may_read(request)
    asked = parameters.query(request, FEED)
    limit = asked.pop("limit", 100)
    after = asked.pop("after", 0)
    events = await request.app.state.registry.log.events(after, limit, **asked)
    headers = {"Cache-Control": "no-cache"}
    if len(events) == limit:
        following = {**dict(request.query_params.items()), "after": str(events[-1].recorded.position)}
        headers["Link"] = f'</v1/events?{urlencode(following)}>; rel="next"'
    return parameters.json_response(encode(EventPage(events=[logged_event(e) for e in events])), 200, headers)


@route("/v1/events/{id:str}", http_method=READ)
async def get_event(request: Request, id: FromPath[str]) -> Response[Any]:
    """One event, how it reads now, and what corrected it."""
    await parameters.may_read(request)
    parameters.query(request, {})
    uuid = as_uuid(id)
    if uuid is None:
        raise NotFound("event_id", id=id[:80])
    stored, reading = await request.app.state.registry.log.event(uuid)
    return parameters.json_response(encode(event_response(stored, reading)), 200, {"Cache-Control": "no-cache"})


OPERATIONS = (
    Operation(handler=get_events, tag="Log", query=FEED, answer=schemas.EventPage),
    Operation(handler=get_event, tag="Log", answer=schemas.EventResponse, refuses=("not_found",)),
)
