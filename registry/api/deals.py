"""Deals: record announcements; read the state, the history, the sources and the versions of one deal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter
from msgspec import Meta, Raw
from msgspec.structs import replace

from registry import schemas
from registry.api.examples import ANNOUNCEMENTS
from registry.api.openapi import MERGED, NOT_MODIFIED, reading, writing
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.domain.audit.provenance import FIRST_FIELD
from registry.domain.history import AsOf
from registry.domain.principal import required_scope
from registry.events import intake
from registry.events.types import (
    Announcement,
    StreamKind,
)
from registry.http import parameters
from registry.http.bodies import Request, decoder, header, read_body
from registry.http.conditional import (
    accepted_instant,
    expected_version,
    http_date,
    idempotency_key,
    matches,
)
from registry.http.cursors import CursorParameter, decode_cursor, encode_field_cursor
from registry.http.guards import check_scope, is_public, may_read
from registry.http.parameters import (
    MAX_PAGE,
    POST_HEADERS,
    STATE_HEADERS,
    Accept,
    After,
    DealSlug,
    DryRun,
    EffectiveOn,
    Limit,
    Position,
    PublishedOn,
    RecordedAt,
)
from registry.http.responses import (
    JSON,
    LD_JSON,
    RawHeaders,
    RawResponse,
    base_url,
    json_response,
    not_modified,
    page_headers,
    raw_headers,
    wants_linked_data,
)
from registry.infra.threads import offload_answer
from registry.queries.deals import DealQueries
from registry.schemas import deal_link, encode_long
from registry.standards import prov
from registry.transparency.certificates import Certificates

NOW = AsOf()

CERTIFICATE = "application/vnd.investment-registry.certificate+json"
LINK_FORMAT = "application/link-format"

_PRIVATE: RawHeaders = ((b"cache-control", b"no-cache"),)
_JOINED: RawHeaders = ((b"cache-control", b"private, no-cache"),)
_PUBLIC: RawHeaders = ((b"cache-control", b"public, no-cache"),)

Expand = Annotated[
    Literal["organizations", "incoming", "organizations,incoming", "incoming,organizations"] | None,
    QueryParameter(
        description="Add the parties' current names (`organizations`), other deals' relations to this (`incoming`)."
    ),
]
Certificate = Annotated[bool, QueryParameter(description="Return a bundle that can be verified offline.")]


async def record(
    request: Request,
    recorder: Recorder,
    kind: StreamKind,
    slug: str,
    decode: Callable[[bytes], list[Any]],
    *,
    dry_run: bool,
) -> RawResponse[Any]:
    """Record the announcements of a request's body in one stream, all or none."""

    def read(body: bytes) -> tuple[list[Any], bytes]:
        announcements = decode(body)
        for announcement in announcements:
            check_scope(request.auth, required_scope(announcement.event))
        return announcements, hashlib.sha256(f"{kind}/{slug}\n".encode() + body).digest()

    body = await read_body(request)
    announcements, digest = await decoder.decode(read, body)
    result = await recorder.record(
        AppendRequest(
            kind=kind,
            slug=slug,
            announcements=announcements,
            by=request.auth.id,
            credential=request.auth,
            expected_version=expected_version(request),
            idempotency_key=idempotency_key(request),
            digest=digest,
            size=len(body),
            dry_run=dry_run,
            shows_state=may_read(request),
        )
    )
    tag = f"{result.version};{recorder.calendar.today()}" if kind == "deal" else str(result.version)
    headers: RawHeaders = ((b"etag", f'"{tag}"'.encode()), (b"cache-control", b"no-store"))
    if not dry_run:
        only = result.events[0].id if len(announcements) == 1 else None
        location = f"/v1/events/{only}" if only else f"/v1/{kind}s/{slug}/events"
        headers = (*headers, (b"location", location.encode()))
    return RawResponse(result.response, 201 if result.new else 200, headers)


REPLAYED = {
    200: ResponseSpec(
        schemas.AppendResponse, description="A dry run, or a replay of what was recorded.", generate_examples=False
    )
}


class DealsController(Controller):
    """One deal."""

    path = "/v1/deals/{deal:str}"
    tags = ("Deals",)

    @writing(
        post,
        "/events",
        body=Announcement | Annotated[list[Announcement], Meta(min_length=1)],
        examples=ANNOUNCEMENTS,
        headers=POST_HEADERS,
        responses=REPLAYED,
    )
    async def post_events(
        self,
        request: Request,
        deal: DealSlug,
        dry_run: DryRun = False,
    ) -> RawResponse[schemas.AppendResponse]:
        """Record one announcement, or a list of them: all or none."""
        # Not a dependency, as in `get_deal`.
        recorder: Recorder = request.app.state.services.recorder
        return await record(request, recorder, "deal", deal, intake.announcements.decode_many, dry_run=dry_run)

    @reading(
        "/",
        "not_found",
        "evidence_unavailable",
        other={
            CERTIFICATE: "With `certificate=true`: a bundle that `registry verify` checks offline.",
            prov.MEDIA_TYPE: "The state as linked data, with the events that it follows from (PROV).",
        },
        headers=STATE_HEADERS,
        responses={**NOT_MODIFIED, **MERGED},
    )
    async def get_deal(
        self,
        request: Request,
        deal: DealSlug,
        effective_on: EffectiveOn = None,
        published_on: PublishedOn = None,
        recorded_at: RecordedAt = None,
        position: Position = None,
        expand: Expand = None,
        certificate: Certificate = False,
    ) -> RawResponse[schemas.DealResponse]:
        """A deal's state, now or at any point in time."""
        # No dependencies: Litestar takes 5 % of this request to resolve one, and 40 µs for two, in a task group.
        deal_queries: DealQueries = request.app.state.services.deal_queries
        requested = as_of = parameters.as_of(effective_on, published_on, recorded_at, position)
        if as_of.recorded_at is None and as_of.position is None and (accepted := accepted_instant(request)):
            as_of = await deal_queries.memento(deal, requested, accepted)
        state = await (deal_queries.state_now(deal) if as_of == NOW else deal_queries.state(deal, as_of))
        if expand is not None:
            # What other records state now is joined, so the answer is no memento.
            body = await deal_queries.expand(state, as_of, expand.split(","))
            return RawResponse(body, 200, (*_memento_headers(deal, None, None), *_JOINED))
        negotiated = None if as_of == requested or certificate else as_of
        # An answer that needed a key is not for shared caches. A redaction may change one that is final.
        cache_control = _PUBLIC if state.final and is_public(request) else _PRIVATE
        headers = (*_memento_headers(deal, state.memento, negotiated), *cache_control)
        if certificate:
            certificates: Certificates = request.app.state.services.certificates
            resolved = await deal_queries.resolve(as_of)
            return RawResponse(await certificates.of_deal(deal, resolved.as_of), 200, headers, CERTIFICATE.encode())
        if wants_linked_data(request):
            return RawResponse(
                await _linked_data(request, deal_queries, deal, as_of, state.body), 200, headers, LD_JSON
            )
        headers = (*headers, (b"etag", state.etag.encode()))
        if matches(header(request, b"if-none-match"), state.etag):
            return not_modified(headers)
        return RawResponse(state.body, 200, headers, JSON)

    @reading("/events", "not_found")
    async def get_deal_events(
        self,
        request: Request,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        as_of: NamedDependency[AsOf],
        after: After = 0,
        limit: Limit = MAX_PAGE,
    ) -> RawResponse[schemas.DealHistory]:
        """The history: every event with what it changed, who recorded it, when, why, on which source."""
        page = await deal_queries.history(deal, as_of, after, limit)
        is_last = not page.events or page.events[-1].version == page.version
        following = None if is_last else {"after": str(page.events[-1].position)}
        body = await offload_answer(len(page.events), encode_long, page)
        return json_response(body, page_headers(request, following))

    @reading("/blame", "not_found", responses=MERGED)
    async def get_blame(
        self,
        request: Request,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        as_of: NamedDependency[AsOf],
        cursor: CursorParameter = None,
        limit: Limit = MAX_PAGE,
    ) -> RawResponse[schemas.Provenance]:
        """Every field of a deal with the event that set it."""
        start = decode_cursor(cursor)
        page = await deal_queries.provenance(deal, start.fix(as_of), start.field or FIRST_FIELD, limit)
        following = encode_field_cursor(page.body.position, page.day, page.next)
        body = await offload_answer(len(page.body.fields), encode_long, replace(page.body, next=following))
        return json_response(body, page_headers(request, {"cursor": following} if following else None))

    @reading("/compare", "not_found")
    async def get_compare(
        self,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
        from_as_of: NamedDependency[AsOf],
        to_as_of: NamedDependency[AsOf],
    ) -> RawResponse[schemas.DealComparison]:
        """What changed between two points: in the world, in the record, at a source, or learned late."""
        return json_response(await deal_queries.compare(deal, from_as_of, to_as_of))

    @reading(
        "/timemap",
        "not_found",
        other={LINK_FORMAT: "As links (RFC 7089 §5): the answer unless JSON is asked for."},
    )
    async def get_timemap(
        self, deal: DealSlug, deal_queries: NamedDependency[DealQueries], accept: Accept = ""
    ) -> Response[schemas.Timemap]:
        """Every moment at which the answer to the plain request changed (RFC 7089 §5).

        A moment is a recording, or the midnight at which an event took effect. JSON adds the days to come on which the
        answer will change by what is recorded now.
        """
        timemap = await deal_queries.timemap(deal)
        headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
        size = len(timemap.mementos)
        if "application/json" in accept:
            return json_response(await offload_answer(size, encode_long, timemap), headers)
        links = await offload_answer(size, _as_links, timemap)
        return RawResponse(links, 200, raw_headers(headers), LINK_FORMAT.encode())


def _as_links(timemap: schemas.Timemap) -> bytes:
    path = timemap.original
    links = [f'<{path}>; rel="original timegate"', f'<{path}/timemap>; rel="self"; type="{LINK_FORMAT}"']
    for i, memento in enumerate(timemap.mementos):
        relation = ("first " if i == 0 else "") + ("last " if i == len(timemap.mementos) - 1 else "") + "memento"
        links.append(f'<{memento.uri}>; rel="{relation}"; datetime="{http_date(memento.datetime)}"')
    return ",\n".join(links).encode()


async def _linked_data(request: Request, deal_queries: DealQueries, deal: str, as_of: AsOf, body: bytes) -> bytes:
    """Return a deal's state as linked data."""
    resolved = await deal_queries.resolve(as_of)
    _, snapshot, state = await deal_queries.stream_as_of(deal, resolved.as_of)
    events = [step.applied.id for step in snapshot.steps]
    if snapshot.registration is not None:
        events.insert(0, snapshot.registration.recorded.id)
    assert snapshot.recorded_at is not None
    query = request.url.query
    return prov.deal_document(
        base_url(request),
        deal,
        title=state.title,
        state=Raw(body),
        events=dict.fromkeys(events),
        at=snapshot.recorded_at,
        query=f"?{query}" if query else "",
    )


@lru_cache(10_000)
def _memento_headers(slug: str, memento: datetime | None, negotiated: AsOf | None) -> RawHeaders:
    """Return the headers of a state (RFC 7089).

    Args:
        slug: The deal.
        memento: The instant from which the answer was this one, if the log is fixed.
        negotiated: The point that `Accept-Datetime` led to: the answer has an address of its own.
    """
    path = f"/v1/deals/{slug}"
    links = f'<{path}>; rel="original timegate", <{path}/timemap>; rel="timemap"; type="{LINK_FORMAT}"'
    headers = {"Link": links, "Vary": "Accept-Datetime, Accept"}
    if memento is not None:
        headers["Memento-Datetime"] = http_date(memento)
    if negotiated is not None:
        headers["Content-Location"] = deal_link(slug, negotiated)
    return raw_headers(headers)
