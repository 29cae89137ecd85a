"""Deals over HTTP: record an announcement, ask for a state, its audit, and the portfolio."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, get_args
from urllib.parse import urlencode

from litestar import HttpMethod, Response, post, route
from litestar.params import FromPath
from msgspec import UNSET, Meta
from msgspec.structs import replace

from registry import schemas
from registry.api import parameters
from registry.api.examples import ANNOUNCEMENTS
from registry.api.operation import Operation
from registry.api.parameters import CLOCKS, Request
from registry.append.requests import AppendRequest as Record
from registry.domain.history import AsOf
from registry.errors import InvalidParameter
from registry.events import intake
from registry.events.types import (
    Announcement,
    ClaimPreferred,
    Commitment,
    Currency,
    DealKind,
    DealMerged,
    DealUnmerged,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    OrganizationMerged,
    OrganizationUnmerged,
    Role,
    Stage,
)
from registry.infra.keys import Scope
from registry.queries.deals import EncodedResponse
from registry.schemas import DealListItem, DealPage, Memento, Timemap, encode, pre_encoded

READ = [HttpMethod.GET, HttpMethod.HEAD]

_CORRECTIONS = (
    EventCorrected,
    EventVoided,
    ClaimPreferred,
    DealMerged,
    DealUnmerged,
    OrganizationMerged,
    OrganizationUnmerged,
)


def required_scope(event: Event) -> Scope:
    """The scope that recording an event needs."""
    if isinstance(event, EventRedacted):
        return "redact"
    return "correct" if isinstance(event, _CORRECTIONS) else "record"


RECORD = {"dry_run": parameters.flag}


async def record(request: Request, kind: Any, slug: str, read: Callable[[bytes], list[Any]]) -> Response[bytes]:
    """Records what a request's body announces, in one stream."""
    key = await parameters.authenticate(request) or await parameters.authorize(request, "record")
    asked = parameters.query(request, RECORD)
    expected = parameters.expected_version(request)
    idempotency_key = parameters.idempotency_key(request)
    parameters.slug(slug)
    body = await parameters.body(request)
    announcements = read(body)
    for announcement in announcements:
        parameters.require_scope(key, required_scope(announcement.event))
    outcome = await request.app.state.registry.recorder.record(
        Record(
            kind=kind,
            slug=slug,
            announcements=announcements,
            by=key.id,
            expected_version=expected,
            idempotency_key=idempotency_key,
            digest=hashlib.sha256(f"{kind}/{slug}\n".encode() + body).digest(),
            size=len(body),
            dry_run=asked.get("dry_run", False),
        )
    )
    headers = {"ETag": f'"{outcome.version}"', "Cache-Control": "no-store"}
    if not asked.get("dry_run", False):
        first = outcome.events[0].id if len(announcements) == 1 else None
        headers["Location"] = f"/v1/events/{first}" if first else f"/v1/{kind}s/{slug}/events"
    return parameters.json_response(outcome.response, 201 if outcome.new else 200, headers)


@post("/v1/deals/{deal:str}/events")
async def post_events(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """Record one announcement, or a list of them: all or none."""
    return await record(request, "deal", deal, intake.announcements.decode_many)


@lru_cache(10_000)
def memento(slug: str, recorded_at: datetime | None) -> parameters.RawHeaders:
    """The headers of a past state (RFC 7089): which moment it stands for, and where the others are."""
    path = f"/v1/deals/{slug}"
    links = f'<{path}>; rel="original timegate", <{path}/timemap>; rel="timemap"; type="application/link-format"'
    headers = {"Link": links, "Vary": "Accept-Datetime"}
    if recorded_at is not None:
        headers["Memento-Datetime"] = parameters.http_date(recorded_at)
    return parameters.raw_headers(headers)


# A document of its own kind, which holds a state and what proves it.
CERTIFICATE = "application/vnd.investment-registry.certificate+json"

REVALIDATED = (b"cache-control", b"no-cache")
PUBLIC = (b"cache-control", b"public, no-cache")

STATE = {**CLOCKS, "expand": parameters.choices("organizations", "incoming"), "certificate": parameters.flag}


@route("/v1/deals/{deal:str}", http_method=READ)
async def get_deal(request: Request, deal: FromPath[str]) -> Response[Any]:
    """A deal's state, now or at any point in time."""
    await parameters.may_read(request)
    parameters.require_valid_slug("deal", deal)
    asked = parameters.query(request, STATE)
    registry = request.app.state.registry
    clocks = parameters.clocks(asked)
    if clocks.recorded_at is None and clocks.position is None and (instant := parameters.accept_datetime(request)):
        clocks = await registry.deals.first_memento(deal, replace(clocks, recorded_at=instant))
    fixes_log = clocks.recorded_at is not None or clocks.position is not None
    if clocks == parameters.NOW:
        answer: EncodedResponse = await registry.deals.state_now(deal, parameters.today())
    else:
        answer = await registry.deals.state(deal, clocks, parameters.today())
    # A redaction may come: even what is final is asked for again before it is shown.
    cached = PUBLIC if answer.final and registry.settings.public_read else REVALIDATED
    headers = (*memento(deal, answer.recorded_at if fixes_log else None), cached)
    if asked.get("certificate"):
        certificate = await registry.evidence.certificate(deal, clocks, parameters.today())
        return parameters.RawResponse(certificate, 200, headers, CERTIFICATE.encode())
    if asked.get("expand"):
        return parameters.RawResponse(
            await registry.deals.expand(answer, clocks, asked["expand"], parameters.today()),
            200,
            headers,
            parameters.JSON,
        )
    headers = (*headers, (b"etag", answer.etag.encode()))
    if parameters.matches(request, answer.etag):
        return parameters.RawResponse(b"", 304, headers)
    return parameters.RawResponse(answer.body, 200, headers, parameters.JSON)


@route("/v1/deals/{deal:str}/events", http_method=READ)
async def get_deal_events(request: Request, deal: FromPath[str]) -> Response[Any]:
    """The audit: every event with what it changed, who recorded it, when, why, on which source."""
    await parameters.may_read(request)
    parameters.require_valid_slug("deal", deal)
    clocks = parameters.clocks(parameters.query(request, CLOCKS))
    body = await request.app.state.registry.deals.history(deal, clocks)
    return parameters.json_response(body, 200, {"Cache-Control": "no-cache"})


@route("/v1/deals/{deal:str}/blame", http_method=READ)
async def get_blame(request: Request, deal: FromPath[str]) -> Response[Any]:
    """Every field of a deal with the event that set it."""
    await parameters.may_read(request)
    parameters.require_valid_slug("deal", deal)
    clocks = parameters.clocks(parameters.query(request, CLOCKS))
    body = await request.app.state.registry.deals.provenance(deal, clocks, parameters.today())
    return parameters.json_response(body, 200, {"Cache-Control": "no-cache"})


TWO_POINTS = {f"{end}.{name}": read for end in ("from", "to") for name, read in CLOCKS.items()}


@route("/v1/deals/{deal:str}/compare", http_method=READ)
async def get_compare(request: Request, deal: FromPath[str]) -> Response[Any]:
    """What changed between two points: in the world, in the record, at a source, or learned late."""
    await parameters.may_read(request)
    parameters.require_valid_slug("deal", deal)
    asked = parameters.query(request, TWO_POINTS)
    body = await request.app.state.registry.deals.compare(
        deal, parameters.clocks(asked, "from."), parameters.clocks(asked, "to."), parameters.today()
    )
    return parameters.json_response(body, 200, {"Cache-Control": "no-cache"})


@route("/v1/compare", http_method=READ)
async def get_portfolio_compare(request: Request) -> Response[Any]:
    """What appeared, grew, shrank, slipped, was stated first or corrected between two points, over all deals."""
    await parameters.may_read(request)
    asked = parameters.query(request, TWO_POINTS)
    answer = await request.app.state.registry.portfolio.compare(
        require_single_axis(parameters.clocks(asked, "from."), "from."),
        require_single_axis(parameters.clocks(asked, "to."), "to."),
        parameters.today(),
    )
    return parameters.json_response(encode(answer), 200, {"Cache-Control": "no-cache"})


@route("/v1/deals/{deal:str}/timemap", http_method=READ)
async def get_timemap(request: Request, deal: FromPath[str]) -> Response[Any]:
    """Every moment at which the deal's state changed (RFC 7089 §5)."""
    await parameters.may_read(request)
    parameters.require_valid_slug("deal", deal)
    parameters.query(request, {})
    moments = await request.app.state.registry.deals.timemap(deal)
    headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
    path = f"/v1/deals/{deal}"
    mementos = [(f"{path}?position={m.position}", m) for m in moments]
    if "application/json" in request.headers.get("accept", ""):
        listed = [Memento(uri=uri, position=m.position, recorded_at=m.recorded_at) for uri, m in mementos]
        timemap = Timemap(original=path, timegate=path, mementos=listed)
        return parameters.json_response(encode(timemap), 200, headers)
    links = [f'<{path}>; rel="original timegate"', f'<{path}/timemap>; rel="self"; type="application/link-format"']
    last = len(mementos) - 1
    for i, (uri, moment) in enumerate(mementos):
        ends = ("first " if i == 0 else "") + ("last " if i == last else "")
        links.append(f'<{uri}>; rel="{ends}memento"; datetime="{parameters.http_date(moment.recorded_at)}"')
    return Response(",\n".join(links), media_type="application/link-format", headers=headers)


FILTERS: dict[str, parameters.Parameter[Any]] = {
    "organization": parameters.name,
    "role": parameters.choice(*get_args(Role)),
    "region": parameters.place,
    "sector": parameters.name,
    "stage": parameters.choice(*get_args(Stage)),
    "commitment": parameters.choice(*get_args(Commitment)),
    "currency": parameters.choice(*get_args(Currency)),
    "kind": parameters.choice(*get_args(DealKind)),
}


def require_single_axis(clocks: AsOf, prefix: str = "") -> AsOf:
    """For lists the public and the recorded clock are not combined. Raises BadQuery."""
    if clocks.published_on is not None and (clocks.recorded_at is not None or clocks.position is not None):
        raise InvalidParameter("single_axis", parameter=f"{prefix}published_on")
    return clocks


def filter_terms(asked: dict[str, Any]) -> list[str]:
    """The filters of a list as terms of its view; an organization with a role means that it has this role."""
    found = [f"{name}:{asked[name]}" for name in FILTERS if name in asked]
    if "organization" in asked and "role" in asked:
        found.append(f"{asked['role']}:{asked['organization']}")
    return found


LIST = {
    **CLOCKS,
    **FILTERS,
    "q": parameters.text,
    "sort": parameters.choice("deal", "-deal"),
    "cursor": parameters.text,
    "limit": parameters.integer(1, 1000, 50),
    "facets": parameters.flag,
}


@route("/v1/deals", http_method=READ)
async def get_deals(request: Request) -> Response[Any]:
    """Deals at any point in time, filtered, with the number of deals of each facet."""
    await parameters.may_read(request)
    asked = parameters.query(request, LIST)
    registry = request.app.state.registry
    clocks = require_single_axis(parameters.clocks(asked))
    effective_on = clocks.effective_on or parameters.today()
    clock, known, position = await registry.portfolio.known_axis(clocks)
    limit = asked.get("limit", 50)
    wanted = filter_terms(asked)
    page = await registry.portfolio.page(
        clock, known, effective_on, wanted, asked.get("q"), asked.get("cursor", ""), limit, asked.get("sort") == "-deal"
    )
    facets = None
    if asked.get("facets"):
        facets = await registry.portfolio.facets(clock, known, effective_on, wanted, asked.get("q"))
    answer = DealPage(
        effective_on=effective_on,
        published_on=clocks.published_on,
        recorded_at=clocks.recorded_at,
        position=position,
        deals=pre_encoded(page.rows, DealListItem),
        next=page.next,
        facets=UNSET if facets is None else facets,
    )
    headers = {"Cache-Control": "no-cache"}
    if page.next is not None:
        given = dict(request.query_params.items())
        # The next page is a page of the same list, whatever is recorded until it is asked for.
        pinned = {} if clock == "p" else {"position": str(position)}
        following = {**given, **pinned, "effective_on": str(effective_on), "cursor": page.next}
        headers["Link"] = f'</v1/deals?{urlencode(following)}>; rel="next"'
    return parameters.json_response(encode(answer), 200, headers)


OPERATIONS = (
    Operation(
        handler=post_events,
        tag="Deals",
        query=RECORD,
        headers=("If-Match", "If-None-Match", "Idempotency-Key"),
        body=Announcement | Annotated[list[Announcement], Meta(min_length=1)],
        examples=ANNOUNCEMENTS,
        answer=schemas.AppendResponse,
        statuses=(200, 201),
        scope="record",
    ),
    Operation(
        handler=get_deals,
        tag="Portfolio",
        query=LIST,
        answer=schemas.DealPage,
    ),
    Operation(
        handler=get_deal,
        tag="Deals",
        query=STATE,
        headers=("If-None-Match", "Accept-Datetime"),
        answer=schemas.DealResponse,
        other={CERTIFICATE: "With `certificate=true`: a bundle that `registry verify` checks offline."},
        refuses=("not_found", "evidence_unavailable"),
        moves=True,
    ),
    Operation(handler=get_deal_events, tag="Deals", query=CLOCKS, answer=schemas.DealHistory, refuses=("not_found",)),
    Operation(
        handler=get_blame, tag="Deals", query=CLOCKS, answer=schemas.Provenance, refuses=("not_found",), moves=True
    ),
    Operation(
        handler=get_compare, tag="Deals", query=TWO_POINTS, answer=schemas.DealComparison, refuses=("not_found",)
    ),
    Operation(
        handler=get_timemap,
        tag="Deals",
        answer=schemas.Timemap,
        other={"application/link-format": "As links (RFC 7089 §5): the answer unless JSON is asked for."},
        refuses=("not_found",),
    ),
    Operation(handler=get_portfolio_compare, tag="Portfolio", query=TWO_POINTS, answer=schemas.PortfolioComparison),
)
