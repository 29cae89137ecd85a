"""The portfolio's pages: totals that say why, amounts through time, a table, a map; how totals are made; compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import msgspec
from litestar import Response, route
from msgspec import Struct

from registry.api import parameters
from registry.api.deals import FILTERS, READ, TWO_POINTS, filter_terms, require_single_axis
from registry.domain.history import AsOf
from registry.domain.rates import reference_rates
from registry.domain.totals import (
    DealRow,
    DerivationNode,
    GroupBy,
    SimpleSum,
    Totals,
    TotalsColumn,
    TotalsQuery,
    compute_totals,
)
from registry.events.types import Amount, Currency, Localized
from registry.projections.deal_versions import ListedPledge
from registry.web import as_of, maps, render
from registry.web.assets import csv_response
from registry.web.cache import cached_fragment, cached_page
from registry.web.charts.step_chart import TIERS, DayAmounts, PledgeFilter, StepChart, step_chart
from registry.web.deals import between, citation, named, plain
from registry.web.format import LADDER, organizations_in, shown
from registry.web.format import ValueFormatter as InWords
from registry.web.i18n import N_
from registry.web.numbers import PROVINCES
from registry.web.render import Rendered
from registry.web.request import Known, PageRequest, Request, page_request

# The most deals that are sorted and mapped; beyond, they come in the order of their names alone.
WHOLE = 1_000
PAGE = 50
# The chart shows so many turns; it looks at so many spans one by one, and beyond at their sums.
DRAWN_TURNS, DRAWN_SPANS, TURNS, LOOKED_AT = 24, 2_000, 400, 500
SHOWN_FACET_VALUES = 12
LATEST = 8

SORTS = ("deal", "-deal", "amount", "-amount", "stage", "-stage", "since", "-since")


class Listing(Struct, frozen=True, omit_defaults=True):
    """A deal as the list's view keeps it."""

    deal: str
    title: Localized | None = None
    kind: str | None = None
    stage: Any = None
    sectors: tuple[str, ...] = ()
    organizations: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    pledges: tuple[ListedPledge, ...] = ()
    relations: Any = ()


listing = msgspec.json.Decoder(Listing).decode


class PortfolioRow(Struct, frozen=True):
    """A row of the table, its amounts read."""

    row: Listing
    amounts: list[tuple[Amount | None, str | None]]
    size: Decimal


class Figure(Struct, frozen=True):
    """One of the figures on top: its sums, and how many announcements they rest on."""

    name: str
    columns: list[TotalsColumn]
    pledges: int
    href: dict[str, str]


class TrendChart(Struct, frozen=True):
    """The chart through time in its currency; None where there is nothing to draw, or (`large`) too much."""

    chart: StepChart | None
    currency: str
    large: bool


class Area(Struct, frozen=True):
    """A place with the deals that have a site in it."""

    code: str
    deals: int

    @property
    def shade(self) -> int:
        return min(self.deals, 3)


KNOWN: Known = {
    **FILTERS,
    "q": parameters.text,
    "sort": parameters.choice(*SORTS),
    "cursor": parameters.text,
    "unit": parameters.choice("stated", *get_args(Currency)),
}


async def at(visit: PageRequest) -> tuple[str, int, int]:
    """Which clock the portfolio is read by, the point on it, and the log's position."""
    found: tuple[str, int, int] = await visit.registry.portfolio.known_axis(visit.clocks)
    return found


async def portfolio_rails(visit: PageRequest, clock: str, known: int) -> dict[str, as_of.TimeSlider]:
    """The slider's stops for the whole portfolio: when something came to be so, and was published or recorded."""
    effective = await turns(visit, clock, known)
    name = "published_on" if visit.times.axis == "published" else "recorded_at"
    moments: Sequence[Any]
    if visit.times.axis == "published":
        moments = await cached_fragment(
            visit, ("public turns",), lambda: visit.registry.portfolio.publication_days(TURNS)
        )
    else:
        moments = await cached_fragment(visit, ("moments",), lambda: moments_of(visit))
    rest = {k: v for k, v in visit.given.items() if k not in ("effective_on", "cursor")}
    other = {
        k: v for k, v in visit.given.items() if k not in ("published_on", "recorded_at", "position", "axis", "cursor")
    }
    return {
        "effective": as_of.rail(effective, visit.clocks.effective_on, "effective_on", rest, visit.times.today),
        "known": as_of.rail(moments, getattr(visit.clocks, name), name, other),
    }


async def turns(visit: PageRequest, clock: str, known: int) -> list[date]:
    """The latest days on which something of the portfolio came to be so, as known at a point."""
    return await cached_fragment(
        visit, ("turns", clock, known), lambda: visit.registry.portfolio.effective_change_days(clock, known, TURNS)
    )


async def moments_of(visit: PageRequest) -> list[datetime]:
    """The latest moments at which something was recorded."""
    return as_of.of_log(await visit.registry.log.events(max(0, visit.position - LOOKED_AT), LOOKED_AT))


async def everything(visit: PageRequest) -> dict[str, as_of.TimeSlider]:
    """The slider's stops on pages that are about no deal: those of the whole portfolio, as it is known now."""
    return await portfolio_rails(visit, "r", visit.position)


@route("/", http_method=READ)
async def get_portfolio(request: Request) -> Response[bytes]:
    """The portfolio at a point in time."""
    visit = await page_request(request, KNOWN, portfolio=True)
    return await cached_page(visit, lambda: show_portfolio(visit))


async def show_portfolio(visit: PageRequest) -> Rendered:
    """The portfolio's page."""
    clock, known, position = await at(visit)
    on = visit.times.effective_on
    filters = {name: visit.asked[name] for name in FILTERS if name in visit.asked}
    wanted, q = filter_terms(visit.asked), visit.asked.get("q")
    sort, cursor = visit.asked.get("sort", "deal"), visit.asked.get("cursor", "")
    by_name = sort in ("deal", "-deal")
    facets = await visit.registry.portfolio.facets(clock, known, on, wanted, q)
    whole = await visit.registry.portfolio.page(clock, known, on, wanted, q, "", WHOLE, sort == "-deal")
    rows = [row_of(listing(raw)) for raw in whole.rows]
    ordered = rows if by_name else in_order(rows, sort)
    start = next((i for i, r in enumerate(ordered, 1) if r.row.deal == cursor), 0)
    if by_name and whole.next is not None and cursor and start in (0, len(ordered)):
        beyond = await visit.registry.portfolio.page(clock, known, on, wanted, q, cursor, PAGE, sort == "-deal")
        on_page, following = [row_of(listing(raw)) for raw in beyond.rows], beyond.next
    else:
        on_page, following = ordered[start : start + PAGE], whole.next if by_name else None
        if len(ordered) > start + PAGE:
            following = on_page[-1].row.deal
    unit = visit.asked.get("unit") or default_currency(visit)
    currency: Any = None if unit == "stated" else unit
    question = TotalsQuery(currency=currency, group_by="stage", asked_on=on, lines=0)
    total: Totals = await visit.registry.portfolio.totals(clock, known, on, wanted, question)
    rails = await portfolio_rails(visit, clock, known)
    here = shown(visit.language)
    drawn = await drawing(visit, clock, known, wanted, default_currency(visit) if unit == "stated" else unit)
    areas = places(rows)
    latest = await latest_of(visit, position)
    told = organizations_in(e.recorded.event for e in latest)
    listed = {o for r in on_page for o in r.row.organizations}
    names = await named(visit, slugs=listed | told | set(facets.get("organization", {})))
    titles = await titles_of(visit, clock, known) if wanted or q else {r.row.deal: r.row.title for r in rows}
    names |= {f"deal/{slug}": here.words.localized(title, slug) for slug, title in titles.items()}
    return render.render(
        visit,
        "portfolio.html",
        figures_on_top=headline_figures(total, filters),
        rows=on_page,
        count=len(rows),
        uncounted=whole.next is not None,
        following=following,
        facets=facet_list(facets, filters, here, names),
        filters=filters,
        names=names,
        unit=unit,
        sort=sort,
        chart=drawn.chart,
        drawn=drawn,
        korea=maps.korea(),
        world=maps.world() if any(a.code[:2] != "KR" for a in areas) else None,
        abroad=deals_by_country(areas),
        areas=areas,
        by_code={a.code: a for a in areas},
        provinces=PROVINCES,
        latest=latest,
        titles=titles,
        rails=rails,
        data_url=visit.data("/v1/deals", **filters, q=q, facets="true"),
        csv_url=visit.data("/v1/export/deals.csv", **filters, q=q),
        cite=citation(visit, here.words.gettext(N_("all deals")), position),
    )


async def latest_of(visit: PageRequest, position: int) -> list[Any]:
    """The latest events of deals, the last first; where others came after them, as many as are among the last ones."""
    found: list[Any] = []
    for looked_at in (LATEST, 5 * LATEST):
        events = await visit.registry.log.events(max(0, position - looked_at), looked_at)
        found = [e for e in events if e.recorded.kind == "deal"][-LATEST:][::-1]
        if len(found) == LATEST:
            break
    return found


def default_currency(visit: PageRequest) -> str:
    """The currency that a reader's language thinks in."""
    return "KRW" if visit.language == "ko" else "USD"


def row_of(row: Listing) -> PortfolioRow:
    """A list's row with its amounts; its size, in no currency, is only good for sorting within one."""
    amounts: list[tuple[Amount | None, str | None]] = []
    size = Decimal(0)
    for pledge in row.pledges:
        if pledge.status == "withdrawn":
            continue
        amount = msgspec.convert(pledge.amount, Amount) if pledge.amount else None
        amounts.append((amount, pledge.amount_basis))
        if amount is not None:
            size = max(
                size, Decimal(amount.value or amount.high or amount.low or 0) * _approximate_won(amount.currency)
            )
    return PortfolioRow(row, amounts, size)


def in_order(rows: list[PortfolioRow], sort: str) -> list[PortfolioRow]:
    """Rows by amount, stage or the stage's date; what is not stated comes last either way."""
    down = sort.startswith("-")
    name = sort.lstrip("-")

    def key(r: PortfolioRow) -> Any:
        if name == "amount":
            return r.size or None
        if r.row.stage is None:
            return None
        value = r.row.stage["value"]
        return (LADDER.index(value) if value in LADDER else len(LADDER)) if name == "stage" else r.row.stage["since"]

    said = sorted((r for r in rows if key(r) is not None), key=key, reverse=down)
    return said + [r for r in rows if key(r) is None]


def headline_figures(total: Totals, filters: dict[str, str]) -> list[Figure]:
    """At most four figures, each an interval: committed, only intended, every year, and what is being built."""
    found = [
        Figure(
            "committed",
            [c for c in total.overall.columns if c.nature == "commitment" and c.basis == "once"],
            0,
            filters,
        ),
        Figure(
            "built",
            [
                c
                for group in total.groups
                if group.key in ("construction", "operating")
                for c in group.columns
                if c.nature == "commitment" and c.basis == "once"
            ],
            0,
            {**filters, "stage": "construction"},
        ),
        Figure(
            "intended", [c for c in total.overall.columns if c.nature == "intention" and c.basis == "once"], 0, filters
        ),
        Figure("annual", [c for c in total.overall.columns if c.basis == "annual"], 0, filters),
    ]
    return [msgspec.structs.replace(f, pledges=sum(c.pledges for c in f.columns)) for f in found]


def facet_list(
    facets: Mapping[str, Mapping[str, int]], filters: Mapping[str, str], here: InWords, names: Mapping[str, str]
) -> list[tuple[str, list[tuple[str, int, str]]]]:
    """The facets in their order, the commonest values first, each with its name; a chosen one always stands."""

    def said(facet: str, value: str) -> str:
        match facet:
            case "organization":
                return names.get(value, value)
            case "region":
                return here.figures.place(value)
            case "currency":
                return here.figures.currency(value)
        return here.words.label(facet, value)

    found = []
    for name in ("stage", "region", "sector", "organization", "commitment", "currency", "role", "kind"):
        values = sorted(facets.get(name, {}).items(), key=lambda v: (v[0] != filters.get(name), -v[1], v[0]))
        if values:
            found.append((name, [(value, n, said(name, value)) for value, n in values[:SHOWN_FACET_VALUES]]))
    return found


def places(rows: Sequence[PortfolioRow]) -> list[Area]:
    """How many deals have a site in each place."""
    counted: dict[str, int] = {}
    for row in rows:
        for code in row.row.places:
            counted[code] = counted.get(code, 0) + 1
    return [Area(code, n) for code, n in sorted(counted.items(), key=lambda c: (-c[1], c[0]))]


def deals_by_country(areas: Sequence[Area]) -> dict[str, int]:
    """How many deals have a site in each country other than Korea, by its code."""
    counted: dict[str, int] = {}
    for area in areas:
        if area.code[:2] != "KR":
            counted[area.code[:2]] = counted.get(area.code[:2], 0) + area.deals
    return counted


async def drawing(visit: PageRequest, clock: str, known: int, wanted: Sequence[str], currency: Any) -> TrendChart:
    """Amounts through time, in one currency, on the latest days on which something came to be so.

    A large portfolio is drawn from sums: only what was stated in the currency, and only intended or pledged.
    """
    end = max(visit.times.today, visit.times.effective_on)
    levels, large = await trend_levels(visit, clock, known, wanted, currency, end)
    if levels is None:
        return TrendChart(None, currency, True)
    return TrendChart(step_chart(levels, end, visit.times.effective_on), currency, large)


async def trend_levels(
    visit: PageRequest, clock: str, known: int, wanted: Sequence[str], currency: Any, end: date
) -> tuple[list[DayAmounts] | None, bool]:
    """The levels of the chart until a day, and whether they are from sums; no levels where sums say too little."""
    spans, held = await cached_fragment(
        visit, ("spans", clock, known, tuple(wanted), currency), lambda: spans_of(visit, clock, known)
    )
    if spans is not None:
        days = sorted({span.since for span in spans if date.min < span.since <= end})[-DRAWN_TURNS:]
        if tuple(days) not in held:
            memo = await cached_fragment(visit, ("levels", clock, tuple(wanted), currency), level_cache)
            held[tuple(days)] = levels_of(days, spans, wanted, currency, memo)
        return held[tuple(days)], False
    apart = None if wanted else await visit.registry.portfolio.spans_with_relations(clock, known, DRAWN_SPANS)
    if apart is None:
        return None, True
    turned = [day for day in await turns(visit, clock, known) if day <= end]
    days = turned[:: -(-len(turned) // DRAWN_TURNS) or 1]
    sums = await visit.registry.portfolio.sums(clock, known, currency, days, apart)
    return [sum_level(day, apart, plains, currency) for day, plains in zip(days, sums, strict=True)], True


async def spans_of(visit: PageRequest, clock: str, known: int) -> tuple[list[Any] | None, dict[Any, list[DayAmounts]]]:
    """The spans of a portfolio that is small enough, and room for the levels that are made of them."""
    return await visit.registry.portfolio.spans(clock, known, DRAWN_SPANS), {}


class Counted(Struct, frozen=True):
    """What the chart counts of a deal on a day; `chosen`: it is among those that a page is about."""

    row: DealRow
    chosen: bool

    @property
    def counts(self) -> tuple[Any, ...]:
        return self.row.stage, self.row.pledges, self.row.relations, self.chosen


# What counted on a day by the last look at it, and its level.
Memo = dict[date, tuple[dict[str, tuple[Any, ...]], DayAmounts]]


async def level_cache() -> Memo:
    """Room for levels, whatever was known."""
    return {}


def levels_of(
    days: Sequence[date], spans: Sequence[Any], wanted: Sequence[str], currency: Any, memo: Memo
) -> list[DayAmounts]:
    """The levels of some days, which rise. One is added up only where what counts is not what counted there before."""
    counting = [
        (span.since, span.until, Counted(span.row, set(wanted) <= set(span.terms)))
        for span in spans
        if span.row.pledges or span.row.relations
    ]

    def on(day: date) -> dict[str, Counted]:
        return {deal.row.deal: deal for since, until, deal in counting if since <= day < until}

    found: list[DayAmounts] = []
    before = on(days[0] - timedelta(days=1)) if days else {}
    for day in days:
        here = on(day)
        counts = {slug: deal.counts for slug, deal in here.items()}
        if day not in memo or memo[day][0] != counts:
            question = TotalsQuery(currency=currency, asked_on=day, lines=0)
            memo[day] = counts, level_of(day, list(here.values()), question)
        found.append(msgspec.structs.replace(memo[day][1], deals=deals_changed(before, here)))
        before = here
    return found


def level_of(day: date, deals: Sequence[Counted], question: TotalsQuery) -> DayAmounts:
    """The amounts on a day, by how firm they are: each area holds the ones after it, so none is added twice."""
    chosen = [deal.row for deal in deals if deal.chosen]
    others = [deal.row for deal in deals if not deal.chosen]
    added: dict[tuple[tuple[str, str], ...], tuple[Decimal, Decimal]] = {(): (Decimal(0), Decimal(0))}

    def added_up(keeps: PledgeFilter) -> tuple[Decimal, Decimal]:
        kept = [(row, tuple(p for p in row.pledges if p.basis != "annual" and keeps(row, p))) for row in chosen]
        key = tuple((row.deal, p.pledge) for row, pledges in kept for p in pledges)
        if key not in added:
            rows = [msgspec.structs.replace(row, pledges=p) for row, p in kept if p or row.relations]
            added[key] = ends_of(compute_totals(rows, question, reference_rates(), others), question.currency)
        return added[key]

    found = {area: added_up(keeps) for area, keeps in TIERS.items()}
    return DayAmounts(day, {tier: low for tier, (low, _) in found.items()}, found["intended"][1])


def deals_changed(before: Mapping[str, Counted], after: Mapping[str, Counted]) -> tuple[str, ...]:
    """The chosen deals of which amounts, or the stage of an amount, are otherwise than before, the largest first."""
    sizes = {
        slug: max((p.value or p.high or p.low or Decimal(0)) * _approximate_won(p.currency) for p in deal.row.pledges)
        for slug, deal in after.items()
        if deal.chosen and deal.row.pledges and (slug not in before or before[slug].counts[:2] != deal.counts[:2])
    }
    return tuple(sorted(sizes, key=lambda slug: (-sizes[slug], slug)))


def _approximate_won(currency: str | None) -> Decimal:
    """A currency's size in won, only good for putting amounts in order."""
    return Decimal(1400) if currency in ("USD", "EUR", "GBP") else Decimal(1)


def sum_level(day: date, apart: Sequence[Any], plains: Sequence[SimpleSum], currency: str) -> DayAmounts:
    """The amounts stated in a currency on a day, from sums: intended or firmer, and pledged or firmer."""
    rows = [span.row for span in apart if span.since <= day < span.until]
    total = compute_totals(rows, TotalsQuery(lines=0), None, (), plains)
    (low, high), (pledged, _) = ends_of(total, currency), ends_of(total, currency, "commitment")
    return DayAmounts(day, {**dict.fromkeys(TIERS, Decimal(0)), "intended": low, "pledged": pledged}, high)


def ends_of(total: Totals, currency: str | None, nature: str | None = None) -> tuple[Decimal, Decimal]:
    """The low and the high end of what is stated once in a currency, of one nature or of both together."""
    columns = [
        c for c in total.overall.columns if c.currency == currency and c.basis == "once" and nature in (None, c.nature)
    ]
    return sum((Decimal(c.low) for c in columns), Decimal(0)), sum((Decimal(c.high) for c in columns), Decimal(0))


# --- totals -----------------------------------------------------------------------------------------------------------


ADDED: Known = {**KNOWN, "group_by": parameters.choice(*get_args(GroupBy)), "rates_of": parameters.day}


async def added_up(visit: PageRequest, clock: str, known: int) -> tuple[TotalsQuery, Totals]:
    """The totals that a page asks for."""
    unit = visit.asked.get("unit", "stated")
    question = TotalsQuery(
        currency=None if unit == "stated" else unit,
        group_by=visit.asked.get("group_by"),
        rates_of=visit.asked.get("rates_of"),
        asked_on=visit.times.effective_on,
        explain=True,
        lines=500,
    )
    total: Totals = await visit.registry.portfolio.totals(
        clock, known, visit.times.effective_on, filter_terms(visit.asked), question
    )
    return question, total


@route("/totals.csv", http_method=READ)
async def get_totals_table(request: Request) -> Response[bytes]:
    """How a total is made, as CSV: a row for each pledge and group, with its rule."""
    visit = await page_request(request, ADDED, portfolio=True)
    clock, known, _ = await at(visit)
    _, total = await added_up(visit, clock, known)
    head = "group deal pledge rule low high currency nature basis because events"
    rows = [
        [
            *(
                "" if group is total.overall else group.key or "?",
                line.deal,
                line.pledge,
                line.rule,
                line.low,
                line.high,
            ),
            *(line.currency or "", line.nature, line.basis, " ".join(line.because), " ".join(line.events)),
        ]
        for group in (total.overall, *total.groups)
        for line in group.lines
    ]
    return csv_response("totals.csv", head.split(), rows)


@route("/totals", http_method=READ)
async def get_totals(request: Request) -> Response[bytes]:
    """How a total is made: what counted, what did not, and by which rule."""
    visit = await page_request(request, ADDED, portfolio=True)

    async def make() -> Rendered:
        clock, known, position = await at(visit)
        filters = {name: visit.asked[name] for name in FILTERS if name in visit.asked}
        question, total = await added_up(visit, clock, known)
        here = shown(visit.language)
        slugs = {g.key for g in total.groups if g.key and total.group_by == "organization"}
        asked = {"currency": question.currency, "group_by": question.group_by, "explain": "true", **filters}
        return render.render(
            visit,
            "totals.html",
            total=total,
            unit=question.currency or "stated",
            filters=filters,
            groups=get_args(GroupBy),
            parts_in_order=parts_in_order,
            names=await named(visit, slugs=slugs),
            titles=await titles_of(visit, clock, known),
            rails=await portfolio_rails(visit, clock, known),
            data_url=visit.data("/v1/totals", **asked),
            csv_url=visit.alternate_url("/totals.csv"),
            cite=citation(visit, here.words.gettext(N_("totals")), position),
        )

    return await cached_page(visit, make)


def parts_in_order(explained: DerivationNode) -> list[DerivationNode]:
    """The sums that a total is made of: amounts given once before yearly ones, the firm before the intended."""

    def place(part: DerivationNode) -> tuple[bool, bool, str]:
        return part.operation != "add", part.basis == "annual", part.label

    return sorted(explained.children, key=place)


async def titles_of(visit: PageRequest, clock: str, known: int) -> dict[str, Localized | None]:
    """The titles of the deals, as far as one page holds them."""
    found = await visit.registry.portfolio.page(clock, known, visit.times.effective_on, [], None, "", WHOLE)
    rows = map(listing, found.rows)
    return {row.deal: row.title for row in rows}


# --- compare ----------------------------------------------------------------------------------------------------------


@route("/compare", http_method=READ)
async def get_compare(request: Request) -> Response[bytes]:
    """The portfolio at two points in time: what appeared, grew, shrank, slipped, was corrected or learned late."""
    visit = await page_request(request, {**TWO_POINTS}, portfolio=True)

    async def make() -> Rendered:
        start = require_single_axis(parameters.clocks(visit.asked, "from."), "from.")
        then = require_single_axis(parameters.clocks(visit.asked, "to."), "to.")
        effective = await visit.registry.portfolio.effective_change_days("r", visit.position, 400)
        if start == AsOf():
            # From what the reader was looking at; else from a little while ago.
            start = visit.clocks
            if start == AsOf() and effective:
                start = AsOf(effective_on=effective[max(0, len(effective) - 3)])
        found = await visit.registry.portfolio.compare(start, then, visit.times.today)
        grouped: dict[str, list[dict[str, Any]]] = {}
        titles: dict[str, Any] = {}
        for change in found["changes"]:
            if (change["field"] or "").endswith("/claims"):
                continue
            grouped.setdefault(change["deal"], []).append(change)
            titles[change["deal"]] = change["title"]
        here = shown(visit.language)
        counted: dict[str, int] = {}
        for change in found["changes"]:
            counted[change["what"]] = counted.get(change["what"], 0) + 1
        return render.render(
            visit,
            "compare_all.html",
            start=start,
            then=then,
            grouped=grouped,
            titles=titles,
            counted=counted,
            names={f"deal/{slug}": here.words.localized(title, slug) for slug, title in titles.items()},
            moments={
                "effective": effective,
                "published": await visit.registry.portfolio.publication_days(400),
                "recorded": as_of.of_log(await visit.registry.log.events(max(0, visit.position - 500), 500)),
            },
            rails=None,
            data_url=visit.data(
                "/v1/compare", **as_of.as_parameters(start, "from."), **as_of.as_parameters(then, "to.")
            ),
            csv_url=f"/compare.csv?{between(start, then)}",
            cite=citation(visit, here.words.gettext(N_("all deals")), visit.position, between=(start, then)),
        )

    return await cached_page(visit, make)


@route("/compare.csv", http_method=READ)
async def get_compare_table(request: Request) -> Response[bytes]:
    """The portfolio's comparison as CSV: a row for each thing that happened to a deal."""
    visit = await page_request(request, {**TWO_POINTS}, portfolio=True)
    start = require_single_axis(parameters.clocks(visit.asked, "from."), "from.")
    then = require_single_axis(parameters.clocks(visit.asked, "to."), "to.")
    found = await visit.registry.portfolio.compare(start, then, visit.times.today)
    rows = [
        [
            *(change["deal"], change["what"], change["kind"], change["field"] or ""),
            *(plain(change["before"]), plain(change["after"]), " ".join(map(str, change["causes"]))),
        ]
        for change in found["changes"]
    ]
    return csv_response("compare.csv", ["deal", "what", "kind", "field", "before", "after", "causes"], rows)


HANDLERS = [get_portfolio, get_totals, get_totals_table, get_compare, get_compare_table]
