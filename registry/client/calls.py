"""The requests, each described once: what is sent, whether it may be sent twice, and what the answer is.

Each function has the name of the client's method and makes a `Call`. tests/clients compares them with the OpenAPI
document: every operation, and every parameter. The file is long because it has a function for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar, Unpack
from urllib.parse import quote
from uuid import uuid4

import msgspec
from msgspec import Struct, field

from registry import schemas
from registry.client.decoding import decode
from registry.client.parameters import (
    AsOfParameters,
    ComparisonFilters,
    ComparisonParameters,
    DealFilterParameters,
    EventFilters,
    Instant,
    ListFilters,
    query,
)
from registry.events.types import Announcement, OrganizationAnnouncement
from registry.schemas.imports import ImportLookup, LookupRequest, SchemeIdentifiers
from registry.schemas.organizations import OrganizationMerge

T = TypeVar("T")

# Seconds that a request about many deals may take.
SLOW = 600.0

JSON = {"Content-Type": "application/json"}

# An announcement as a struct, or as the JSON object that the API takes.
Announced: TypeAlias = Announcement | OrganizationAnnouncement | dict[str, Any]


class Call(Struct, Generic[T], frozen=True, kw_only=True):
    """A request and how to read its answer.

    `repeatable`: sending it twice does what sending it once does. `timeout`: seconds to wait for a byte of the answer,
    where the client's own timeout is too short.
    """

    path: str
    read: Callable[[bytes], T]
    method: str = "GET"
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True
    timeout: float | None = None


def _answer(of: type[T], path: str, /, **given: Any) -> Call[T]:
    return Call(path=path, query=query(given), read=lambda content: decode(content, of))


def _bytes(path: str, **given: Any) -> Call[bytes]:
    return Call(path=path, query=query(given), read=bytes)


def _text(path: str, **given: Any) -> Call[str]:
    return Call(path=path, query=query(given), read=bytes.decode, headers={"Accept": "text/plain"})


def json(path: str, **given: Any) -> Call[Any]:
    """The JSON of any GET request, not converted."""
    return Call(path=path, query=query(given), read=msgspec.json.decode)


def as_json(call: Call[Any]) -> Call[Any]:
    """The same request, with the JSON of its answer."""
    return msgspec.structs.replace(call, read=msgspec.json.decode)


def segment(name: str) -> str:
    """A name or an id as a segment of a path, whatever signs it has.

    Raises:
        ValueError: It is empty, so that the path would be another one.
    """
    if not name:
        raise ValueError("a name or an id in a path must not be empty")
    return quote(name, safe="")


# --- deals ------------------------------------------------------------------------------------------------------------


def deal(deal: str, *, expand: str | None = None, **as_of: Unpack[AsOfParameters]) -> Call[schemas.DealResponse]:
    """A deal's state; a deal that was merged into another one is that one."""
    return _answer(schemas.DealResponse, f"/v1/deals/{segment(deal)}", expand=expand, **as_of)


def certificate(deal: str, **as_of: Unpack[AsOfParameters]) -> Call[bytes]:
    """A deal's state with everything that proves it: `verify` checks it offline."""
    return _bytes(f"/v1/deals/{segment(deal)}", certificate=True, **as_of)


def deal_history(
    deal: str, *, after: int | None = None, limit: int | None = None, **as_of: Unpack[AsOfParameters]
) -> Call[schemas.DealHistory]:
    """A page of the events of a deal, each with what it changed; `every_deal_event` reads all pages."""
    return _answer(schemas.DealHistory, f"/v1/deals/{segment(deal)}/events", after=after, limit=limit, **as_of)


def provenance(
    deal: str, *, cursor: str | None = None, limit: int | None = None, **as_of: Unpack[AsOfParameters]
) -> Call[schemas.Provenance]:
    """A page of the fields of a deal, each with its event and source; `every_field` reads all pages."""
    return _answer(schemas.Provenance, f"/v1/deals/{segment(deal)}/blame", cursor=cursor, limit=limit, **as_of)


def timemap(deal: str) -> Call[schemas.Timemap]:
    """Each moment at which the answer about a deal changed."""
    made = _answer(schemas.Timemap, f"/v1/deals/{segment(deal)}/timemap")
    return msgspec.structs.replace(made, headers={"Accept": "application/json"})


def compare_deal(deal: str, **points: Unpack[ComparisonParameters]) -> Call[schemas.DealComparison]:
    """What changed in a deal between two points in time, and why."""
    return _answer(schemas.DealComparison, f"/v1/deals/{segment(deal)}/compare", **points)


def record(
    deal: str,
    announcements: Announced | Sequence[Announced],
    *,
    idempotency_key: str | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
    dry_run: bool = False,
) -> Call[schemas.AppendResponse]:
    """Record one announcement about a deal, or several: all or none.

    Args:
        deal: The deal's slug.
        announcements: What is announced.
        idempotency_key: Names the request, so that it is recorded once however often it is sent; made if left out.
        if_match: The ETag of the version that this builds on.
        if_none_match: `*`: the deal must be new.
        dry_run: Return what would change, and record nothing.
    """
    path = f"/v1/deals/{segment(deal)}/events"
    return _post(path, announcements, idempotency_key, if_match, if_none_match, dry_run=dry_run)


# --- the portfolio ----------------------------------------------------------------------------------------------------


def deals(
    *, cursor: str | None = None, limit: int | None = None, facets: bool | None = None, **filters: Unpack[ListFilters]
) -> Call[schemas.DealPage]:
    """A page of the list of deals; `every_deal` reads all pages."""
    return _answer(schemas.DealPage, "/v1/deals", cursor=cursor, limit=limit, facets=facets, **filters)


def totals(
    *,
    measure: str | None = None,
    group_by: str | None = None,
    roll_up: str | None = None,
    currency: str | None = None,
    rates_of: str | None = None,
    estimates: str | None = None,
    explain: bool | None = None,
    lines: int | None = None,
    cursor: str | None = None,
    limit: int | None = None,
    **filters: Unpack[DealFilterParameters],
) -> Call[schemas.TotalsResponse]:
    """Lower and upper bounds of the amounts, what counted and what did not, with a page of the groups."""
    given = {"measure": measure, "group_by": group_by, "roll_up": roll_up, "currency": currency, "rates_of": rates_of}
    given |= {"estimates": estimates, "cursor": cursor}
    return _answer(schemas.TotalsResponse, "/v1/totals", **given, explain=explain, lines=lines, limit=limit, **filters)


def total_certificate(
    *,
    measure: str | None = None,
    currency: str | None = None,
    rates_of: str | None = None,
    estimates: str | None = None,
    group_by: str | None = None,
    roll_up: str | None = None,
    **filters: Unpack[DealFilterParameters],
) -> Call[bytes]:
    """A total as a bundle that can be verified offline (`verify_bundle`)."""
    given = {"measure": measure, "currency": currency, "rates_of": rates_of, "estimates": estimates}
    given |= {"group_by": group_by, "roll_up": roll_up}
    return _bytes("/v1/totals", certificate=True, **given, **filters)


def list_certificate(**filters: Unpack[ListFilters]) -> Call[bytes]:
    """A list of deals as a bundle that can be verified offline (`verify_bundle`)."""
    return _bytes("/v1/deals", certificate=True, **filters)


def comparison_certificate(**points: Unpack[ComparisonFilters]) -> Call[bytes]:
    """What changed between two points, as a bundle that can be verified offline (`verify_bundle`)."""
    return _bytes("/v1/compare", certificate=True, **points)


def compare(
    *, cursor: str | None = None, limit: int | None = None, **points: Unpack[ComparisonFilters]
) -> Call[schemas.PortfolioComparison]:
    """A page of what changed in all deals between two points in time."""
    return _answer(schemas.PortfolioComparison, "/v1/compare", cursor=cursor, limit=limit, **points)


def rates(
    *,
    day: Any = None,
    source: str | None = None,
    currency: str | None = None,
    recorded_at: Instant = None,
    position: int | None = None,
) -> Call[schemas.RatesResponse]:
    """The exchange rates of a day."""
    given = {"day": day, "source": source, "currency": currency, "recorded_at": recorded_at, "position": position}
    return _answer(schemas.RatesResponse, "/v1/rates", **given)


def search(
    q: str,
    *,
    kind: schemas.HitKind | None = None,
    limit: int | None = None,
    suggest: bool | None = None,
    **as_of: Unpack[AsOfParameters],
) -> Call[schemas.SearchResponse]:
    """Deals, organizations, places and sources that have every word; with `suggest`, the last one is the beginning."""
    return _answer(schemas.SearchResponse, "/v1/search", q=q, kind=kind, limit=limit, suggest=suggest, **as_of)


# --- organizations ----------------------------------------------------------------------------------------------------


def organization(organization: str, **as_of: Unpack[AsOfParameters]) -> Call[schemas.OrganizationResponse]:
    """An organization's names, identifiers, parents and deals."""
    return _answer(schemas.OrganizationResponse, f"/v1/organizations/{segment(organization)}", **as_of)


def organization_history(organization: str, **as_of: Unpack[AsOfParameters]) -> Call[schemas.OrganizationHistory]:
    """Each event of an organization, with what it changed."""
    return _answer(schemas.OrganizationHistory, f"/v1/organizations/{segment(organization)}/events", **as_of)


def similar_organizations(organization: str) -> Call[schemas.SimilarOrganizations]:
    """Organizations that may be the same."""
    return _answer(schemas.SimilarOrganizations, f"/v1/organizations/{segment(organization)}/similar")


def organizations(
    *,
    q: str | None = None,
    cursor: str | None = None,
    limit: int | None = None,
    count: bool | None = None,
    **as_of: Unpack[AsOfParameters],
) -> Call[schemas.OrganizationPage]:
    """A page of the list of organizations; `every_organization` reads all pages, `count` counts them all."""
    return _answer(schemas.OrganizationPage, "/v1/organizations", q=q, cursor=cursor, limit=limit, count=count, **as_of)


def organization_clusters(*, skip: int | None = None, limit: int | None = None) -> Call[schemas.OrganizationClusters]:
    """Organizations that may be the same, by all their names."""
    return _answer(schemas.OrganizationClusters, "/v1/organization-clusters", skip=skip, limit=limit)


def merge_organizations(
    merges: Sequence[OrganizationMerge], *, dry_run: bool = False
) -> Call[schemas.OrganizationMergeResults]:
    """Merge organizations into others, each for itself. A merge that is recorded already changes nothing."""
    return _merges("/v1/organization-merges", merges, dry_run=dry_run)


def unmerge_organizations(
    merges: Sequence[OrganizationMerge], *, dry_run: bool = False
) -> Call[schemas.OrganizationMergeResults]:
    """Undo merges, given as they were posted."""
    return _merges("/v1/organization-unmerges", merges, dry_run=dry_run)


def _merges(path: str, merges: Sequence[OrganizationMerge], *, dry_run: bool) -> Call[schemas.OrganizationMergeResults]:
    return Call(
        method="POST",
        path=path,
        query=query({"dry_run": True} if dry_run else {}),
        headers=JSON,
        body=msgspec.json.encode(schemas.OrganizationMergeRequest(merges=tuple(merges))),
        read=lambda content: decode(content, schemas.OrganizationMergeResults),
        timeout=SLOW,
    )


def record_organization(
    organization: str,
    announcements: Announced | Sequence[Announced],
    *,
    idempotency_key: str | None = None,
    if_match: str | None = None,
    if_none_match: str | None = None,
    dry_run: bool = False,
) -> Call[schemas.AppendResponse]:
    """Record one announcement about an organization, or several: all or none. The parameters are those of `record`."""
    path = f"/v1/organizations/{segment(organization)}/events"
    return _post(path, announcements, idempotency_key, if_match, if_none_match, dry_run=dry_run)


# --- the log ----------------------------------------------------------------------------------------------------------


def events(
    *, after: int | None = None, limit: int | None = None, **filters: Unpack[EventFilters]
) -> Call[schemas.EventPage]:
    """Events after a position; `every_event` reads all pages, `follow` waits for new ones."""
    return _answer(schemas.EventPage, "/v1/events", after=after, limit=limit, **filters)


def event(id: str) -> Call[schemas.EventResponse]:
    """One event, how it reads now, and what corrected it."""
    return _answer(schemas.EventResponse, f"/v1/events/{segment(id)}")


def import_atomically(
    lines: bytes, *, dry_run: bool = False, propose: bool = False, submission: str | None = None
) -> Call[list[Any]]:
    """Record all announcements of NDJSON, or none; or propose them. Returns the result of each line.

    Proposed lines join an earlier `submission`, which its results name, or make a new one.

    It may be sent twice only if each line has an `id`, so it is not sent again after a lost connection.
    """
    mode = {"dry_run": True} if dry_run else {"propose": True} if propose else {"atomic": True}
    return Call(
        method="POST",
        path="/v1/import",
        query=query({**mode, "submission": submission}),
        headers={"Content-Type": "application/x-ndjson"},
        body=lines,
        read=lambda content: [msgspec.json.decode(line) for line in content.splitlines()],
        repeatable=dry_run,
        timeout=SLOW,
    )


def lookup(asked: LookupRequest) -> Call[ImportLookup]:
    """Which of some announcements are recorded, and which deals have some identifiers."""
    return Call(
        method="POST",
        path="/v1/import/lookup",
        headers=JSON,
        body=msgspec.json.encode(asked),
        read=lambda content: decode(content, ImportLookup),
        timeout=SLOW,
    )


def identifiers(scheme: str, *, after: str | None = None, limit: int | None = None) -> Call[SchemeIdentifiers]:
    """A page of the identifiers of a scheme, each with its deal."""
    return _answer(SchemeIdentifiers, "/v1/import/identifiers", scheme=scheme, after=after, limit=limit)


def extract(article: dict[str, Any]) -> Call[Any]:
    """Propose announcements from the text of an article; nothing is recorded."""
    return Call(
        method="POST", path="/v1/extract", headers=JSON, body=msgspec.json.encode(article), read=msgspec.json.decode
    )


def checkpoint() -> Call[str]:
    """The signed tree head (C2SP tlog-checkpoint)."""
    return _text("/v1/log/checkpoint")


def heads() -> Call[str]:
    """The signed statement of the last event of every deal and organization."""
    return _text("/v1/log/heads")


def keys() -> Call[list[str]]:
    """The log's public keys. Get them once over a channel that you trust, and keep them."""
    return Call(path="/v1/log/keys", read=lambda content: content.decode().split())


def inclusion(position: int, *, size: int | None = None) -> Call[bytes]:
    """The proof that an event stands at its position: `verify` checks it offline."""
    return _bytes("/v1/log/proof/inclusion", position=position, size=size)


def consistency(start: int, end: int | None = None) -> Call[str]:
    """The proof that the log only grew between two sizes, as a C2SP add-checkpoint body."""
    given = {"from": str(start)} | ({} if end is None else {"to": str(end)})
    return msgspec.structs.replace(_text("/v1/log/proof/consistency"), query=given)


def log_entries(*, after: int | None = None, limit: int | None = None) -> Call[schemas.LogEntries]:
    """The bytes of the events after a position, which the tree's leaves are computed from."""
    return _answer(schemas.LogEntries, "/v1/log/entries", after=after, limit=limit)


def checkpoints(start: int = 0, *, limit: int | None = None) -> Call[schemas.Checkpoints]:
    """A page of the signed checkpoints from a size on, smallest first, each with its statement of heads."""
    page = _answer(schemas.Checkpoints, "/v1/log/checkpoints", limit=limit)
    return msgspec.structs.replace(page, query={**page.query, "from": str(start)})


def principal_names() -> Call[schemas.PrincipalNames]:
    """The display names of principals, as histories show them beside events."""
    return _answer(schemas.PrincipalNames, "/v1/log/names")


def rate_imports(*, first: int | None = None) -> Call[schemas.RateImports]:
    """All recorded exchange rates, from an import on."""
    return _answer(schemas.RateImports, "/v1/log/rates", first=first)


def tile(tile: str) -> Call[bytes]:
    """A tile, or a bundle of entries (C2SP tlog-tiles), such as `0/000` or `entries/000.p/5`."""
    return _bytes(f"/log/tile/{quote(tile)}")


# --- the service ------------------------------------------------------------------------------------------------------


def live() -> Call[schemas.Live]:
    """Whether the service runs."""
    return _answer(schemas.Live, "/health/live")


def ready() -> Call[schemas.Readiness]:
    """Whether the service can answer, and which part cannot."""
    return _answer(schemas.Readiness, "/health/ready")


def _post(
    path: str,
    announcements: Announced | Sequence[Announced],
    idempotency_key: str | None,
    if_match: str | None,
    if_none_match: str | None,
    *,
    dry_run: bool,
) -> Call[schemas.AppendResponse]:
    conditions = {"If-Match": if_match, "If-None-Match": if_none_match}
    headers = {name: value for name, value in conditions.items() if value is not None}
    return Call(
        method="POST",
        path=path,
        query=query({"dry_run": True} if dry_run else {}),
        headers={**JSON, "Idempotency-Key": idempotency_key or str(uuid4()), **headers},
        body=msgspec.json.encode(announcements),
        read=lambda content: decode(content, schemas.AppendResponse),
    )
