"""Property 52: lists, facets, places and comparisons of all deals equal the brute-force answer at any point in time.

The brute force and its comparison are one subject; hence the length of the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from registry.domain.audit.comparison import compare
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream, state_as_of
from registry.domain.stages import LADDER
from registry.domain.stream_kinds import DEALS
from registry.projections.columnar.facets import FACET_SHARES
from registry.projections.columnar.lists import Order, PagePlace
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point
from registry.queries.comparisons import ComparisonQueries
from registry.queries.deal_conditions import SelectedDeals, folded
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import DealListItem
from registry.schemas.deal_query import DealListQuery
from tests.conftest import examples
from tests.databases import Server
from tests.properties.portfolios import RandomRegistry, points, random_registry

SLUGS = ("anode", "boiler", "cable", "dock")
DAYS = [date(2025, month, 1) for month in range(1, 7)]
WEIGHTS = {"USD": 1000, "KRW": 1}
SORTS = ("deal", "title", "amount", "announced_on", "updated", "stage", "since")

slugs = st.sampled_from(SLUGS)
days = st.sampled_from(DAYS)
currencies = st.sampled_from(["USD", "KRW", "CHF"])
amounts = st.one_of(
    st.builds(lambda value, currency: {"value": value, "currency": currency}, st.sampled_from("123"), currencies),
    st.builds(lambda currency: {"low": "2", "high": "9", "currency": currency}, currencies),
)


def _events() -> st.SearchStrategy[dict[str, Any]]:
    """Events of deals, without those that refer to other events."""
    pledge, organization = st.sampled_from(["x", "y"]), st.sampled_from(["acme", "bolt"])
    role, site = st.sampled_from(["investor", "partner"]), st.sampled_from(["s", "t"])
    shares = st.sampled_from(["5", "30.5"])
    title = st.sampled_from([{"en": "Dock"}, {"ko": "배터리 공장"}, {"en": "alpha", "ko": "가"}])
    of = st.fixed_dictionaries
    just = st.just
    return st.one_of(
        of(
            {"type": just("deal_revised"), "title": title},
            optional={
                "sectors": st.sampled_from([["energy"], ["energy", "cloud"], []]),
                "kind": st.sampled_from(["investment", "partnership"]),
                "classifications": st.sampled_from([{"technology": ["solar", "wind"]}, {"technology": ["wind"]}]),
            },
        ),
        of(
            {
                "type": just("deal_identified"),
                "identifiers": st.sampled_from([[{"scheme": "ocid", "value": one}] for one in ("a-1", "a-2")]),
            }
        ),
        of(
            {"type": just("pledge_announced"), "pledge": pledge},
            optional={"amount": amounts, "commitment": st.sampled_from(["intention", "binding"])},
        ),
        of({"type": just("pledge_revised"), "pledge": pledge, "amount": amounts}),
        of({"type": just("pledge_withdrawn"), "pledge": pledge}),
        of({"type": just("stage_changed"), "stage": st.sampled_from(["signed", "construction", "cancelled"])}),
        of(
            {"type": just("site_announced"), "site": site},
            optional={"place": st.sampled_from(["KR-31", "KR", "US"]), "gpus": st.sampled_from([2, 4])},
        ),
        of(
            {
                "type": just("metric_reported"),
                "metric": just("gpus"),
                "basis": st.sampled_from(["planned", "actual"]),
                "value": st.sampled_from(["3", "6"]),
            },
            optional={"site": site},
        ),
        of({"type": just("incentive_granted"), "incentive": just("i"), "kind": st.sampled_from(["grant", "loan"])}),
        of({"type": just("incentive_ended"), "incentive": just("i")}),
        of({"type": just("setback_reported"), "setback": just("b"), "kind": st.sampled_from(["supply", "litigation"])}),
        of({"type": just("setback_resolved"), "setback": just("b")}),
        of({"type": just("site_dropped"), "site": site}),
        of(
            {
                "type": just("parties_joined"),
                "parties": st.lists(
                    of({"organization": organization, "role": role}, optional={"share": shares}),
                    min_size=1,
                    max_size=2,
                ),
            }
        ),
        of({"type": just("party_left"), "organization": organization}),
        of({"type": just("claim_reported"), "claim": st.uuids().map(str), "about": just(""), "amount": amounts}),
        of({"type": just("event_corrected"), "day": days}),
        of({"type": just("event_voided")}),
        of({"type": just("deal_merged"), "into": slugs, "reason": just("the same")}),
        of(
            {
                "type": just("deals_related"),
                "relation": st.sampled_from(["supersedes", "supersedes", "part_of"]),
                "deal": slugs,
            },
            optional={"other_pledge": pledge},
        ),
    )


histories = st.lists(st.tuples(slugs, days, days, _events(), st.integers(0, 20)), min_size=4, max_size=25)
"""Announcements: of which deal, effective and published on which days, and about which of its earlier events."""


async def record(registry: RandomRegistry, history: Sequence[Any]) -> None:
    """Register the deals once, and record what the rules admit of a history."""
    for slug in SLUGS:
        registration = {"type": "deal_registered", "title": {"en": slug}}
        if slug not in registry.recorded:
            await registry.append(slug, {"event": registration, "effective_on": DAYS[0].isoformat()})
    for slug, effective_on, published_on, event, about in history:
        earlier = registry.recorded[slug]
        target = earlier[about % len(earlier)].id
        source = {"publisher": "A paper", "published_on": published_on.isoformat()}
        announcement = {"effective_on": effective_on.isoformat(), "sources": [source], "event": dict(event)}
        match event["type"]:
            case "event_corrected":
                replacement = {"effective_on": event["day"].isoformat()}
                announcement = {
                    "event": {"type": "event_corrected", "corrects": str(target), "replacement": replacement}
                }
            case "event_voided":
                announcement = {"event": {"type": "event_voided", "voids": str(target)}}
            case "deal_merged":
                announcement = {"event": dict(event)}
            case "claim_reported":
                announcement["event"]["about"] = str(target)
        await registry.append(slug, announcement)


# --- brute force ------------------------------------------------------------------------------------------------------


def listed(streams: Sequence[FoldedStream[Deal]], as_of: AsOf) -> dict[str, Deal]:
    """The deals that are in lists at a point, by a fold of all their events."""
    found = {stream.slug: state_as_of(stream.slug, stream.events, as_of, DEALS) for stream in streams}
    return {slug: s.state for slug, s in found.items() if s.state is not None and s.merged_into is None}


def _standing(deal: Deal | DealListItem) -> list[Any]:
    return [pledge for pledge in deal.pledges if pledge.status != "withdrawn"]


def _number(text: str | None) -> Decimal | None:
    return Decimal(text) if text is not None else None


FILTERS: dict[str, Callable[[Deal, Any], bool]] = {
    "organizations": lambda deal, given: any(
        party.organization in given and party.left_on is None for party in deal.parties
    ),
    "role": lambda deal, given: any(party.role == given and party.left_on is None for party in deal.parties),
    "region": lambda deal, given: any(
        site.status != "dropped" and site.place is not None and given in (site.place, site.place[:2])
        for site in deal.sites
    ),
    "sector": lambda deal, given: given in deal.sectors,
    "stage": lambda deal, given: deal.stage is not None and deal.stage.value == given,
    "commitment": lambda deal, given: any(pledge.commitment == given for pledge in _standing(deal)),
    "currency": lambda deal, given: any(p.amount is not None and p.amount.currency == given for p in _standing(deal)),
    "search": lambda deal, given: any(
        given.tokens[0].word in text.lower() for text in (deal.deal, *(t for t in (deal.title or {}).values() if t))
    ),
}


def selected(deals: dict[str, Deal], selection: Selection) -> dict[str, Deal]:
    """The deals that meet every condition."""
    looked_up = {"organizations": selection.organizations, "search": selection.search}
    given = {name: value for name, value in (asdict(selection.query) | looked_up).items() if value}
    return {slug: deal for slug, deal in deals.items() if all(FILTERS[n](deal, value) for n, value in given.items())}


def sort_value(deal: Deal, item: DealListItem, stream: FoldedStream[Deal], key: str, point: Point) -> Any:
    """What a deal is ordered by, given its row in lists; None without a value."""
    match key:
        case "deal":
            return deal.deal
        case "title":
            title: dict[str, str] = deal.title or {}
            return (title.get("en") or title.get("ko") or "").lower() or None
        case "amount":
            values = [
                (_number(a.value) or _number(a.high) or _number(a.low) or Decimal(0)) * WEIGHTS[a.currency]
                for a in (pledge.amount for pledge in _standing(item) if not pledge.superseded_by)
                if a is not None and a.currency in WEIGHTS
            ]
            return max(values, default=None)
        case "announced_on":
            return min((pledge.announced_on for pledge in deal.pledges), default=None)
        case "updated":
            known = [e.position for e in stream.events if _was_known(e, point)]
            return max(known, default=None)
        case "stage":
            return LADDER.index(deal.stage.value) if deal.stage and deal.stage.value in LADDER else 100
        case _:
            return deal.stage.since if deal.stage else None


def _was_known(event: Any, point: Point) -> bool:
    known: Any = point.known
    return bool((event.position if point.axis == "recorded" else event.published_on) <= known)


def in_order(values: dict[str, Any], *, descending: bool, by_slug: bool) -> list[str]:
    """Slugs in the order of their values, those without one last, equal ones by slug."""
    with_value = sorted(slug for slug, value in values.items() if value is not None)
    with_value.sort(key=lambda slug: values[slug], reverse=descending)
    if by_slug:
        return with_value
    return with_value + sorted(slug for slug, value in values.items() if value is None)


def _quantities(deal: Deal) -> set[str]:
    """The quantities that a deal states, at sites that it has not given up or for all of it."""
    sites = {site.site: site for site in deal.sites if site.status != "dropped"}
    dropped = {site.site for site in deal.sites} - sites.keys()
    found: set[str] = {metric.metric for metric in deal.metrics if metric.site not in dropped}
    found |= {"power_mw" for site in sites.values() if site.power_mw is not None}
    return found | {"gpus" for site in sites.values() if site.gpus is not None}


def count_facets(deals: dict[str, Deal]) -> dict[str, dict[str, int]]:
    """The number of deals by each value of each facet."""
    counts: dict[str, Counter[str]] = {}
    for deal in deals.values():
        places = {site.place for site in deal.sites if site.status != "dropped" and site.place}
        current = [party for party in deal.parties if party.left_on is None]
        values: dict[str, set[Any]] = {
            "kind": {deal.kind},
            "sector": set(deal.sectors),
            "stage": {deal.stage.value if deal.stage else None},
            "organization": {party.organization for party in current},
            "role": {party.role for party in current},
            "region": places | {place[:2] for place in places},
            "commitment": {pledge.commitment for pledge in _standing(deal)},
            "currency": {pledge.amount.currency for pledge in _standing(deal) if pledge.amount},
            "classification": {
                f"{axis}:{value}" for axis, of_axis in (deal.classifications or {}).items() for value in of_axis
            },
            "metric": _quantities(deal),
            "incentive": {incentive.kind for incentive in deal.incentives if incentive.status != "ended"},
            "setback": {setback.kind for setback in deal.setbacks if setback.resolved_on is None},
            "share_min": {
                str(share)
                for share in FACET_SHARES
                for party in current
                if party.share and Decimal(party.share) >= share
            },
        }
        for facet, found in values.items():
            counts.setdefault(facet, Counter()).update(found - {None})
    return {facet: dict(sorted(found.items())) for facet, found in counts.items() if found}


# --- the properties ---------------------------------------------------------------------------------------------------

selections = st.builds(
    lambda organizations, **given: Selection(DealListQuery(**given), organizations),
    organizations=st.sampled_from([(), ("acme",)]),
    role=st.sampled_from([None, None, "partner"]),
    region=st.sampled_from([None, None, "KR", "KR-31"]),
    sector=st.sampled_from([None, None, "energy"]),
    stage=st.sampled_from([None, None, "construction"]),
    commitment=st.sampled_from([None, None, "binding"]),
    currency=st.sampled_from([None, None, "USD"]),
)
deal_queries = st.builds(
    DealListQuery,
    organization=st.sampled_from([None, None, None, "acme"]),
    role=st.sampled_from([None, None, None, "partner"]),
    region=st.sampled_from(["KR", "KR-31"]),
    extent=st.sampled_from([None, "within", "beyond", "country", "unstated"]),
    sector=st.sampled_from([None, None, None, "energy"]),
    stage=st.sampled_from([None, None, None, "construction"]),
    commitment=st.sampled_from([None, None, None, "binding"]),
    kind=st.sampled_from([None, None, None, "partnership"]),
    share_min=st.sampled_from([None, None, None, "20"]),
    share_max=st.sampled_from([None, None, None, "20"]),
    metric=st.just("gpus"),
    metric_basis=st.sampled_from([None, "planned", "actual"]),
    metric_min=st.sampled_from([None, "3"]),
    metric_max=st.sampled_from([None, "5"]),
    incentive=st.sampled_from([None, None, None, "grant"]),
    setback=st.sampled_from([None, None, None, "supply"]),
    classification=st.sampled_from([None, None, None, "technology:wind"]),
    identifier=st.sampled_from([None, None, None, "ocid:a-1"]),
    currency=st.just("USD"),
    amount_min=st.sampled_from([None, None, "2", "3"]),
    amount_max=st.sampled_from([None, None, "1", "2"]),
    updated_since=st.sampled_from([None, None, datetime(2000, 1, 1, tzinfo=UTC), datetime(2500, 1, 1, tzinfo=UTC)]),
).flatmap(
    # One filter, or some together.
    lambda query: st.sampled_from([*query.given(), None]).map(lambda name: _alone(query, name))
)
searches = st.sampled_from([None, None, "배터리", "DOCK"])
axes = points(DAYS, 25)


def _alone(query: DealListQuery, name: str | None) -> DealListQuery:
    """One filter of a query with those that it needs, or all of them."""
    if name is None:
        return query
    needed = {"extent": "region", "amount_min": "currency", "amount_max": "currency"}
    kept = {name, needed.get(name, "metric" if name.startswith("metric") else name)}
    return DealListQuery(**{one: getattr(query, one) for one in kept})


@settings(max_examples=examples(2), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories, data=st.data())
async def test_52_lists_facets_places_and_comparisons_equal_brute_force(
    server: Server, admin: Any, history: Any, data: st.DataObject
) -> None:
    async with random_registry(server, admin) as registry:
        queries = registry.portfolio
        await record(registry, history)
        streams = list((await registry.reader.load_all([f"deal/{slug}" for slug in SLUGS])).values())
        for _ in range(4):
            as_of, selection = data.draw(axes), data.draw(selections)
            if (q := data.draw(searches)) is not None:
                selection = replace(selection, search=await queries.searched(await queries.point(as_of), q))
            await assert_lists_equal_brute_force(queries, streams, as_of, selection, data)
            await assert_comparison_equals_brute_force(registry, streams, as_of, data.draw(axes), selection, data)
            for _ in range(5):
                await assert_conditions_select_what_lists_have(queries, streams, as_of, data.draw(deal_queries))


async def assert_conditions_select_what_lists_have(
    queries: PortfolioQueries, streams: list[FoldedStream[Deal]], as_of: AsOf, query: DealListQuery
) -> None:
    point = await queries.point(as_of)
    fixed = replace(as_of, position=point.position)
    deals = {stream.slug: stream.events for stream in streams}
    found = SelectedDeals(query, deals, {}, fixed).at(fixed, folded(deals, fixed))
    order = Order(key="deal", descending=False, weights=WEIGHTS)
    page = await queries.page(point, await queries.select(point, query), order, None, 10)
    assert [item.deal for item in page.deals] == sorted(found)


async def assert_lists_equal_brute_force(
    queries: PortfolioQueries,
    streams: list[FoldedStream[Deal]],
    as_of: AsOf,
    selection: Selection,
    data: st.DataObject,
) -> None:
    point = await queries.point(as_of)
    deals = selected(listed(streams, as_of), selection)
    by_slug = {stream.slug: stream for stream in streams}
    key, descending = data.draw(st.sampled_from(SORTS)), data.draw(st.booleans())
    order = Order(key=key, descending=descending, weights=WEIGHTS)  # type: ignore[arg-type]
    rates = await queries.rates(as_of)
    items = {item.deal: item for item in await queries.items(point, list(deals), rates)}
    values = {slug: sort_value(deal, items[slug], by_slug[slug], key, point) for slug, deal in deals.items()}
    found, place = [], None
    while True:
        page = await queries.page(point, selection, order, place, 2, rates)
        found += [item.deal for item in page.deals]
        place = page.next
        if place is None:
            break
        assert isinstance(place, PagePlace)
        assert len(page.deals) == 2
    assert found == in_order(values, descending=descending, by_slug=key == "deal")
    assert await queries.count(point, selection) == len(deals)
    facets = await queries.facets(point, selection)
    assert {facet: dict(sorted(counts.items())) for facet, counts in facets.items()} == count_facets(deals)
    places = Counter(
        place
        for deal in deals.values()
        for place in {site.place for site in deal.sites if site.status != "dropped" and site.place}
    )
    assert await queries.places(point, selection) == sorted(places.items(), key=lambda pair: (-pair[1], pair[0]))


async def assert_comparison_equals_brute_force(
    registry: RandomRegistry,
    streams: list[FoldedStream[Deal]],
    start: AsOf,
    end: AsOf,
    selection: Selection,
    data: st.DataObject,
) -> None:
    queries = registry.portfolio
    comparisons = ComparisonQueries(registry.reader, queries, registry.copy)
    chosen = selected(listed(streams, start), selection).keys() | selected(listed(streams, end), selection).keys()
    weights = queries.weights(await queries.rates(end), (await queries.point(end)).day)
    before, after_all = ({s: amount_of(d, weights) for s, d in listed(streams, one).items()} for one in (start, end))
    sizes = {stream.slug: abs(after_all.get(stream.slug, 0) - before.get(stream.slug, 0)) for stream in streams}
    expected = [
        (stream.slug, change.what, change.kind, change.field, change.causes)
        for stream in sorted(streams, key=lambda one: (-sizes[one.slug], one.slug))
        if selection.is_all or stream.slug in chosen
        for change in portfolio_changes(compare(stream.events, start, end, DEALS, Calendar()))
    ]
    limit = data.draw(st.integers(1, 3))
    found: list[Any] = []
    after: PagePlace | None = None
    is_more = True

    async def select(_: Point) -> Selection:
        return selection

    while is_more:
        page = await comparisons.changes(start, end, select, after, limit)
        found += [(c.deal, c.what, c.kind, c.field, c.causes) for c in page.changes]
        after, is_more = page.next, page.next is not None
        assert after is None or len({change.deal for change in page.changes}) == limit
    assert found == expected


def amount_of(deal: Deal, weights: dict[str, int]) -> int:
    """What the pledges of a deal are worth together."""
    stated = [p.amount for p in deal.pledges if p.status != "withdrawn" and p.amount is not None]
    return sum(int(one.value or one.high or one.low or 0) * weights[one.currency] for one in stated)
