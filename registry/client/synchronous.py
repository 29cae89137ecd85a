"""The client that waits for each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


def _method(make: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """The method that sends what a function of `calls.py` makes."""

    @wraps(make)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(make(*args, **kwargs))

    return method


class Client:
    """A client of the registry at `url`. Close it, or use it in a `with` statement."""

    def __init__(self, url: str, *, key: str | None = None, retries: Retries | None = None, **http: Any) -> None:
        """Make a client.

        Args:
            url: The address of the service.
            key: An API key.
            retries: When to send a request again.
            http: Further arguments of `httpx.Client`, such as `timeout`.
        """
        self._http = httpx.Client(**options(url, key, http))
        self._retries = retries or Retries()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

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

    def every_deal(self, **filters: Unpack[ListFilters]) -> Iterator[schemas.DealListItem]:
        """Every deal of a list, page by page. All pages show the log as it stood at the first one."""
        cursor: str | None = None
        while True:
            page = self.deals(cursor=cursor, limit=PAGE, **filters)
            yield from page.deals
            cursor = page.next
            if cursor is None:
                return

    def every_field(self, deal: str, **as_of: Unpack[AsOfParameters]) -> Iterator[schemas.ProvenanceEntry]:
        """Every field of a deal with its event and source, page by page, as the deal was at the first page."""
        cursor: str | None = None
        while True:
            page = self.provenance(deal, cursor=cursor, limit=PAGE, **as_of)
            yield from page.fields
            cursor = page.next
            if cursor is None:
                return

    def every_deal_event(self, deal: str, **as_of: Unpack[AsOfParameters]) -> Iterator[schemas.HistoryEntry]:
        """Every event of a deal with what it changed, page by page."""
        after = 0
        while True:
            page = self.deal_history(deal, after=after, limit=PAGE, **as_of)
            yield from page.events
            if not page.events or page.events[-1].version >= page.version:
                return
            after = page.events[-1].position

    def every_organization(
        self, *, q: str | None = None, **as_of: Unpack[AsOfParameters]
    ) -> Iterator[schemas.ListedOrganization]:
        """Every organization of a list, page by page. All pages show the log as it stood at the first one."""
        cursor: str | None = None
        while True:
            page = self.organizations(q=q, cursor=cursor, limit=PAGE, **as_of)
            yield from page.organizations
            if len(page.organizations) < PAGE:
                return
            cursor = page.organizations[-1].organization
            as_of["position"], as_of["effective_on"] = page.position, page.effective_on

    def every_event(self, *, after: int = 0, **filters: Unpack[EventFilters]) -> Iterator[schemas.LoggedEvent]:
        """Every event after a position that is recorded now."""
        while events := self.events(after=after, limit=PAGE, **filters).events:
            yield from events
            after = events[-1].position

    def follow(self, *, after: int | None = None, **filters: Unpack[EventFilters]) -> Iterator[schemas.LoggedEvent]:
        """Every event after a position, without end: it waits for new ones. Without `after` it begins with the next.

        A stream that breaks is opened again after the last event, so that none is missing and none comes twice.
        """
        position = self.deals(limit=1).position if after is None else after
        while True:
            headers = {"Last-Event-ID": str(position), "Accept": "text/event-stream"}
            call = Call(
                path="/v1/events/stream", query=query(filters), headers=headers, read=bytes, timeout=STREAM_TIMEOUT
            )
            parser = MessageParser()
            try:
                with self.stream(call) as response:
                    for line in response.iter_lines():
                        message = parser.feed(line)
                        if message is not None:
                            position = message.position
                            yield decode(message.data.encode(), schemas.LoggedEvent)
            except httpx.TransportError:
                pass
            except ApiError as error:
                if error.status not in REFUSED_FOR_NOW:
                    raise
            time.sleep(RECONNECT_SECONDS)

    def import_lines(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Record the announcements of NDJSON, in chunks of any size. Yields the result of each line as it comes.

        A refused line does not stop the others.
        """
        headers = {"Content-Type": "application/x-ndjson"}
        with self._http.stream("POST", "/v1/import", content=lines, headers=headers, timeout=None) as response:
            if not response.is_success:
                raise ApiError.read(response)
            for line in response.iter_lines():
                yield msgspec.json.decode(line)

    def export(self, what: str, **filters: Unpack[ExportFilters]) -> Iterator[bytes]:
        """The content of an export, such as `deals.csv`, in chunks."""
        call = Call(path=f"/v1/export/{calls.segment(what)}", query=query(filters), read=bytes)
        with self.stream(call) as response:
            yield from response.iter_bytes()

    def send(self, call: Call[T]) -> T:
        """Send a request, again where that helps, and return its answer.

        Raises:
            ApiError: The service refused it.
            httpx.TransportError: There was no answer. What a post did is unknown; send it again with its key.
        """
        with self.stream(call) as response:
            return call.read(response.read())

    @contextmanager
    def stream(self, call: Call[Any]) -> Iterator[httpx.Response]:
        """Send a request and return the response before its body is read.

        Raises:
            ApiError, httpx.TransportError: As for `send`.
        """
        request = self._http.build_request(
            call.method, call.path, params=call.query, headers=call.headers, content=call.body
        )
        if call.timeout is not None:
            request.extensions["timeout"]["read"] = call.timeout
        response = self._answer(request, Attempts(call, self._retries))
        try:
            if not response.is_success:
                raise ApiError.read(response)
            yield response
        finally:
            response.close()

    def _answer(self, request: httpx.Request, attempts: Attempts) -> httpx.Response:
        """Send a request until there is an answer that stands."""
        while True:
            try:
                response = self._http.send(request, stream=True)
            except httpx.TransportError:
                wait = attempts.after_error()
                if wait is None:
                    raise
            else:
                wait = attempts.after_response(response)
                if wait is None:
                    return response
                response.close()
            time.sleep(wait)
