"""The client for asyncio. Its methods are those of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import httpx
import msgspec

from registry import schemas
from registry.client import calls
from registry.client.calls import Call
from registry.client.decoding import decode
from registry.client.errors import ApiError
from registry.client.parameters import AsOfParameters, EventFilters, ExportFilters, ListFilters, query
from registry.client.retries import REFUSED_FOR_NOW, Attempts, Retries
from registry.client.settings import PAGE, RECONNECT_SECONDS, STREAM_TIMEOUT, options
from registry.client.sse import MessageParser

P = ParamSpec("P")
T = TypeVar("T")


def _method(make: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    """The method that sends what a function of `calls.py` makes."""

    @wraps(make)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(make(*args, **kwargs))

    return method


class AsyncClient:
    """A client of the registry at `url`. Close it, or use it in an `async with` statement."""

    def __init__(self, url: str, *, key: str | None = None, retries: Retries | None = None, **http: Any) -> None:
        """Make a client.

        Args:
            url: The address of the service.
            key: An API key.
            retries: When to send a request again.
            http: Further arguments of `httpx.AsyncClient`, such as `timeout`.
        """
        self._http = httpx.AsyncClient(**options(url, key, http))
        self._retries = retries or Retries()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    deal = _method(calls.deal)
    certificate = _method(calls.certificate)
    deal_history = _method(calls.deal_history)
    provenance = _method(calls.provenance)
    timemap = _method(calls.timemap)
    compare_deal = _method(calls.compare_deal)
    record = _method(calls.record)
    deals = _method(calls.deals)
    totals = _method(calls.totals)
    total_certificate = _method(calls.total_certificate)
    list_certificate = _method(calls.list_certificate)
    comparison_certificate = _method(calls.comparison_certificate)
    compare = _method(calls.compare)
    rates = _method(calls.rates)
    search = _method(calls.search)
    organization = _method(calls.organization)
    organization_history = _method(calls.organization_history)
    similar_organizations = _method(calls.similar_organizations)
    organizations = _method(calls.organizations)
    organization_clusters = _method(calls.organization_clusters)
    merge_organizations = _method(calls.merge_organizations)
    unmerge_organizations = _method(calls.unmerge_organizations)
    record_organization = _method(calls.record_organization)
    events = _method(calls.events)
    event = _method(calls.event)
    import_atomically = _method(calls.import_atomically)
    lookup = _method(calls.lookup)
    identifiers = _method(calls.identifiers)
    extract = _method(calls.extract)
    checkpoint = _method(calls.checkpoint)
    heads = _method(calls.heads)
    keys = _method(calls.keys)
    inclusion = _method(calls.inclusion)
    consistency = _method(calls.consistency)
    log_entries = _method(calls.log_entries)
    checkpoints = _method(calls.checkpoints)
    principal_names = _method(calls.principal_names)
    rate_imports = _method(calls.rate_imports)
    tile = _method(calls.tile)
    live = _method(calls.live)
    ready = _method(calls.ready)
    json = _method(calls.json)

    async def every_deal(self, **filters: Unpack[ListFilters]) -> AsyncIterator[schemas.DealListItem]:
        """Every deal of a list, page by page. All pages show the log as it stood at the first one."""
        cursor: str | None = None
        while True:
            page = await self.deals(cursor=cursor, limit=PAGE, **filters)
            for one in page.deals:
                yield one
            cursor = page.next
            if cursor is None:
                return

    async def every_field(self, deal: str, **as_of: Unpack[AsOfParameters]) -> AsyncIterator[schemas.ProvenanceEntry]:
        """Every field of a deal with its event and source, page by page, as the deal was at the first page."""
        cursor: str | None = None
        while True:
            page = await self.provenance(deal, cursor=cursor, limit=PAGE, **as_of)
            for entry in page.fields:
                yield entry
            cursor = page.next
            if cursor is None:
                return

    async def every_deal_event(self, deal: str, **as_of: Unpack[AsOfParameters]) -> AsyncIterator[schemas.HistoryEntry]:
        """Every event of a deal with what it changed, page by page."""
        after = 0
        while True:
            page = await self.deal_history(deal, after=after, limit=PAGE, **as_of)
            for entry in page.events:
                yield entry
            if not page.events or page.events[-1].version >= page.version:
                return
            after = page.events[-1].position

    async def every_organization(
        self, *, q: str | None = None, **as_of: Unpack[AsOfParameters]
    ) -> AsyncIterator[schemas.ListedOrganization]:
        """Every organization of a list, page by page. All pages show the log as it stood at the first one."""
        cursor: str | None = None
        while True:
            page = await self.organizations(q=q, cursor=cursor, limit=PAGE, **as_of)
            for one in page.organizations:
                yield one
            if len(page.organizations) < PAGE:
                return
            cursor = page.organizations[-1].organization
            as_of["position"], as_of["effective_on"] = page.position, page.effective_on

    async def every_event(
        self, *, after: int = 0, **filters: Unpack[EventFilters]
    ) -> AsyncIterator[schemas.LoggedEvent]:
        """Every event after a position that is recorded now."""
        while events := (await self.events(after=after, limit=PAGE, **filters)).events:
            for one in events:
                yield one
            after = events[-1].position

    async def follow(
        self, *, after: int | None = None, **filters: Unpack[EventFilters]
    ) -> AsyncIterator[schemas.LoggedEvent]:
        """Every event after a position, without end: it waits for new ones. Without `after` it begins with the next.

        A stream that breaks is opened again after the last event, so that none is missing and none comes twice.
        """
        position = (await self.deals(limit=1)).position if after is None else after
        while True:
            headers = {"Last-Event-ID": str(position), "Accept": "text/event-stream"}
            call = Call(
                path="/v1/events/stream", query=query(filters), headers=headers, read=bytes, timeout=STREAM_TIMEOUT
            )
            parser = MessageParser()
            try:
                async with self.stream(call) as response:
                    async for line in response.aiter_lines():
                        message = parser.feed(line)
                        if message is not None:
                            position = message.position
                            yield decode(message.data.encode(), schemas.LoggedEvent)
            except httpx.TransportError:
                pass
            except ApiError as error:
                if error.status not in REFUSED_FOR_NOW:
                    raise
            await asyncio.sleep(RECONNECT_SECONDS)

    async def import_lines(self, lines: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
        """Record the announcements of NDJSON, in chunks of any size. Yields the result of each line as it comes.

        A refused line does not stop the others.
        """
        headers = {"Content-Type": "application/x-ndjson"}
        async with self._http.stream("POST", "/v1/import", content=lines, headers=headers, timeout=None) as response:
            if not response.is_success:
                raise await ApiError.aread(response)
            async for line in response.aiter_lines():
                yield msgspec.json.decode(line)

    async def export(self, what: str, **filters: Unpack[ExportFilters]) -> AsyncIterator[bytes]:
        """The content of an export, such as `deals.csv`, in chunks."""
        call = Call(path=f"/v1/export/{calls.segment(what)}", query=query(filters), read=bytes)
        async with self.stream(call) as response:
            async for chunk in response.aiter_bytes():
                yield chunk

    async def send(self, call: Call[T]) -> T:
        """Send a request, again where that helps, and return its answer.

        Raises:
            ApiError: The service refused it.
            httpx.TransportError: There was no answer. What a post did is unknown; send it again with its key.
        """
        async with self.stream(call) as response:
            return call.read(await response.aread())

    @asynccontextmanager
    async def stream(self, call: Call[Any]) -> AsyncIterator[httpx.Response]:
        """Send a request and return the response before its body is read.

        Raises:
            ApiError, httpx.TransportError: As for `send`.
        """
        request = self._http.build_request(
            call.method, call.path, params=call.query, headers=call.headers, content=call.body
        )
        if call.timeout is not None:
            request.extensions["timeout"]["read"] = call.timeout
        response = await self._answer(request, Attempts(call, self._retries))
        try:
            if not response.is_success:
                raise await ApiError.aread(response)
            yield response
        finally:
            await response.aclose()

    async def _answer(self, request: httpx.Request, attempts: Attempts) -> httpx.Response:
        """Send a request until there is an answer that stands."""
        while True:
            try:
                response = await self._http.send(request, stream=True)
            except httpx.TransportError:
                wait = attempts.after_error()
                if wait is None:
                    raise
            else:
                wait = attempts.after_response(response)
                if wait is None:
                    return response
                await response.aclose()
            await asyncio.sleep(wait)
