"""The log: its events in order, one event, and the feed of server-sent events."""

from __future__ import annotations

import re
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal

from litestar import Controller, Response, Router
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter, SkipValidation

from registry import schemas
from registry.api.openapi import reading
from registry.delivery.feed import Feed
from registry.errors import InvalidParameter, NotFound, RateLimited, RegistryError
from registry.events.intake import as_uuid
from registry.http.bodies import Request
from registry.http.compression import UNCOMPRESSED
from registry.http.guards import authenticate, check_scope
from registry.http.parameters import MAX_POSITION, After, Limit, integer
from registry.http.rate_limits import client_network
from registry.http.responses import (
    LD_JSON,
    RawResponse,
    base_url,
    json_response,
    page_headers,
    raw_headers,
    stream,
    wants_linked_data,
)
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.infra.threads import offload
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.schemas import EventPage, encode, event_response, logged_event
from registry.standards import prov

MAX_STREAMS = 100
"""Open event streams of an address without a key: one client must not take all connections."""

MAX_STREAMS_OF_KEY = 500
"""Open event streams of the keys of a principal. Each event is sent to each stream, after a look at its key."""

EventId = Annotated[str, PathParameter(description="An event's id, a UUID.")]
LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        description="The position of the last event that the client received; later ones follow.",
        schema_extra={"examples": ["104"]},
    ),
]


class EventsController(Controller):
    """The log."""

    path = "/v1/events"
    tags = ("Log",)

    def __init__(self, owner: Router) -> None:
        super().__init__(owner)
        # The open streams by principal, and without a key by the client's address.
        self._streams: Counter[tuple[str, str]] = Counter()

    @reading("/")
    async def get_events(
        self,
        request: Request,
        log_queries: NamedDependency[LogQueries],
        event_filter: NamedDependency[EventFilter],
        after: After = 0,
        limit: Limit = 100,
    ) -> RawResponse[schemas.EventPage]:
        """The events after a position, in the order of the log."""
        events = await log_queries.events(after, limit, event_filter)
        following = {"after": str(events[-1].recorded.position)} if len(events) == limit else None
        body = await offload(len(events), lambda: encode(EventPage(events=[logged_event(event) for event in events])))
        return json_response(body, page_headers(request, following))

    @reading(
        "/{id:str}",
        "not_found",
        other={prov.MEDIA_TYPE: "The event as linked data, with its sources and its recording (PROV)."},
    )
    async def get_event(
        self, request: Request, id: EventId, log_queries: NamedDependency[LogQueries]
    ) -> RawResponse[schemas.EventResponse]:
        """One event, how it reads now, and what corrected it."""
        uuid = as_uuid(id)
        if uuid is None:
            raise NotFound("event_id", id=id[:80])
        stored, effective = await log_queries.event(uuid)
        response, headers = event_response(stored, effective), {"Cache-Control": "no-cache", "Vary": "Accept"}
        if wants_linked_data(request):
            document = prov.event_document(base_url(request), stored, effective, response.event)
            return RawResponse(document, 200, raw_headers(headers), LD_JSON)
        return json_response(encode(response), headers)

    @reading(
        "/stream",
        media_type="text/event-stream",
        response_description="Messages whose id is a position and whose data is an event.",
        opt={UNCOMPRESSED: True},
    )
    async def get_stream(
        self,
        request: Request,
        feed: NamedDependency[Feed],
        event_filter: NamedDependency[EventFilter],
        settings: NamedDependency[SkipValidation[Settings]],
        after: Annotated[int | None, integer("Events after this position.", 0, MAX_POSITION)] = None,
        format: Annotated[
            Literal["cloudevents"] | None,
            QueryParameter(description="Write each event as a CloudEvent 1.0 in the structured mode."),
        ] = None,
        last_event_id: LastEventId = None,
    ) -> Response[str]:
        """The log as it grows, as server-sent events.

        Each message is one event as in `GET /v1/events`; its id is its position. `Last-Event-ID`, or `after`, says
        where to continue: no event is missing and none comes twice. Without either it begins with the next event.
        """
        head = await feed.head()
        # A client that reconnects sends Last-Event-ID; it is newer than the address.
        parameter = "after" if last_event_id is None else "Last-Event-ID"
        start = after if last_event_id is None else _position(last_event_id)
        if start is not None and start > head:
            raise InvalidParameter("after_head", parameter=parameter, head=head)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response("", media_type="text/event-stream", headers=headers)
        # Not Litestar's ServerSentEvent, which encodes each message for each client: the feed encodes an event once for
        # all clients and sends many at once.
        messages = feed.listen(head if start is None else start, event_filter, as_cloud_events=format is not None)
        if request.scope.get("auth") is not None:
            messages = _while_permitted(request, messages)
        return stream(
            request, self._counted(request, settings, messages), media_type="text/event-stream", headers=headers
        )

    def _counted(self, request: Request, settings: Settings, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The messages of a stream, which counts for its client from now on until they end.

        Raises:
            RateLimited: The client has as many streams as it may have.
        """
        principal = request.scope["state"]["principal"]
        name, most = ("address", MAX_STREAMS) if principal is None else ("key", MAX_STREAMS_OF_KEY)
        if name not in settings.rate_limits:
            return messages
        client = name, principal or client_network(request.scope)
        if self._streams[client] >= most:
            raise RateLimited("streams" if principal is None else "streams_of_key", limit=most, seconds=1)
        self._streams[client] += 1

        async def counted() -> AsyncIterator[bytes]:
            try:
                async with aclosing(messages):  # type: ignore[type-var]
                    async for message in messages:
                        yield message
            finally:
                end()

        made = counted()
        # Once, also if the client is gone before the first message is asked for.
        end = weakref.finalize(made, self._end_stream, client)
        return made

    def _end_stream(self, client: tuple[str, str]) -> None:
        self._streams[client] -= 1
        if not self._streams[client]:
            del self._streams[client]


async def _while_permitted(request: Request, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The messages of a stream, until its key or access token is revoked, expires or may no longer read."""
    async with aclosing(messages):  # type: ignore[type-var]
        async for message in messages:
            try:
                check_scope(await authenticate(request), "read")
            except (RegistryError, TimeoutError, *postgres.ERRORS):
                return
            yield message


def _position(last_event_id: str) -> int:
    if not re.fullmatch(r"\d{1,18}", last_event_id, re.ASCII) or int(last_event_id) > MAX_POSITION:
        raise InvalidParameter("integer", parameter="Last-Event-ID", low=0, high=MAX_POSITION)
    return int(last_event_id)
