"""Amounts over time: the totals of each commitment tier on the days on which a deal changed.

A small portfolio is added up deal by deal. For a large one the database adds up what was announced in the chart's
currency, and only the deals with relations are added up here; that gives two tiers and no filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.rates import Rates
from registry.domain.totals import DealRow, SimpleSum, Totals, TotalsQuery, compute_totals
from registry.projections.deal_totals import TotalsSpan
from registry.queries.portfolio import PortfolioQueries
from registry.web.cache import cached_fragment
from registry.web.charts.step_chart import TIERS, DayAmounts, PledgeFilter, StepChart, step_chart
from registry.web.deal_list import rough_size
from registry.web.request import PageRequest
from registry.web.sliders import change_days

# The most steps of the chart, and the most spans that are added up deal by deal.
MAX_STEPS, MAX_SPANS = 24, 2_000

NO_MERGES: Mapping[str, str] = {}


class Trend(Struct, frozen=True):
    """The chart in its currency. `chart` None: no amounts, or with `is_large` too many deals for this selection."""

    chart: StepChart | None
    currency: str
    is_large: bool


class CountedDeal(Struct, frozen=True):
    """A deal on a day; `selected`: it matches the page's filters. Other deals count through relations only."""

    row: DealRow
    selected: bool

    @property
    def counted(self) -> tuple[Any, ...]:
        """What the totals of a day depend on."""
        return self.row.stage, self.row.pledges, self.row.relations, self.selected


# The amounts of a day, with what they were computed from.
DayCache = dict[date, tuple[dict[str, tuple[Any, ...]], DayAmounts]]


async def amount_trend(
    page: PageRequest,
    portfolio_queries: PortfolioQueries,
    axis: str,
    known: int,
    terms: Sequence[str],
    currency: Any,
    rates: Rates,
) -> Trend:
    """The chart of amounts over time in one currency, as known at a point on an axis."""
    end = max(page.times.today, page.times.effective_on)

    async def load_spans() -> tuple[list[TotalsSpan] | None, dict[tuple[date, ...], list[DayAmounts]]]:
        return await portfolio_queries.spans(axis, known, MAX_SPANS), {}

    async def new_day_cache() -> DayCache:
        return {}

    merged = await portfolio_queries.merged_deals(axis, known)
    key = (tuple(terms), currency, rates.imports)
    spans, by_days = await cached_fragment(page, ("spans", axis, known, *key), load_spans)
    if spans is not None:
        days = tuple(sorted({span.since for span in spans if date.min < span.since <= end})[-MAX_STEPS:])
        if days not in by_days:
            day_cache = await cached_fragment(page, ("days", axis, *key, *merged.items()), new_day_cache)
            by_days[days] = amounts_by_day(days, spans, terms, currency, day_cache, rates, merged)
        return Trend(step_chart(by_days[days], end, page.times.effective_on), currency, False)
    related = None if terms else await portfolio_queries.spans_with_relations(axis, known, MAX_SPANS)
    if related is None:
        return Trend(None, currency, True)
    changed = [day for day in await change_days(page, portfolio_queries, axis, known) if day <= end]
    sampled = changed[:: -(-len(changed) // MAX_STEPS) or 1]
    sums = await portfolio_queries.sums(axis, known, currency, sampled, related)
    series = [summed_amounts(day, related, of_day, currency, merged) for day, of_day in zip(sampled, sums, strict=True)]
    return Trend(step_chart(series, end, page.times.effective_on), currency, True)


def amounts_by_day(
    days: Sequence[date],
    spans: Sequence[TotalsSpan],
    terms: Sequence[str],
    currency: Any,
    cache: DayCache,
    rates: Rates,
    merged: Mapping[str, str] = NO_MERGES,
) -> list[DayAmounts]:
    """The amounts of ascending days. A day is added up again only if what counts on it differs from the cache's."""
    counting = [
        (span.since, span.until, CountedDeal(span.row, set(terms) <= set(span.terms)))
        for span in spans
        if span.row.pledges or span.row.relations
    ]

    def deals_on(day: date) -> dict[str, CountedDeal]:
        return {deal.row.deal: deal for since, until, deal in counting if since <= day < until}

    series: list[DayAmounts] = []
    before = deals_on(days[0] - timedelta(days=1)) if days else {}
    for day in days:
        deals = deals_on(day)
        counted = {slug: deal.counted for slug, deal in deals.items()}
        if day not in cache or cache[day][0] != counted:
            query = TotalsQuery(currency=currency, effective_on=day, lines=0, merged=merged)
            cache[day] = counted, day_amounts(day, list(deals.values()), query, rates)
        series.append(replace(cache[day][1], deals=changed_deals(before, deals)))
        before = deals
    return series


def day_amounts(day: date, deals: Sequence[CountedDeal], query: TotalsQuery, rates: Rates) -> DayAmounts:
    """The amounts of a day by tier."""
    selected = [deal.row for deal in deals if deal.selected]
    others = [deal.row for deal in deals if not deal.selected]
    # Tiers often hold the same pledges: each set is added up once.
    computed: dict[tuple[tuple[str, str], ...], tuple[Decimal, Decimal]] = {(): (Decimal(0), Decimal(0))}

    def total(includes: PledgeFilter) -> tuple[Decimal, Decimal]:
        kept = [(row, tuple(p for p in row.pledges if p.basis != "annual" and includes(row, p))) for row in selected]
        key = tuple((row.deal, pledge.pledge) for row, pledges in kept for pledge in pledges)
        if key not in computed:
            rows = [replace(row, pledges=pledges) for row, pledges in kept if pledges or row.relations]
            computed[key] = bounds(compute_totals(rows, query, rates, others), query.currency)
        return computed[key]

    totals = {tier: total(includes) for tier, includes in TIERS.items()}
    return DayAmounts(day, {tier: lower for tier, (lower, _) in totals.items()}, totals["intended"][1])


def changed_deals(before: Mapping[str, CountedDeal], after: Mapping[str, CountedDeal]) -> tuple[str, ...]:
    """The selected deals whose amounts or stage changed, the largest first."""
    sizes = {
        slug: max(rough_size(p.value or p.high or p.low, p.currency) for p in deal.row.pledges)
        for slug, deal in after.items()
        if deal.selected and deal.row.pledges and (slug not in before or before[slug].counted[:2] != deal.counted[:2])
    }
    return tuple(sorted(sizes, key=lambda slug: (-sizes[slug], slug)))


def summed_amounts(
    day: date,
    related: Sequence[TotalsSpan],
    sums: Sequence[SimpleSum],
    currency: str,
    merged: Mapping[str, str] = NO_MERGES,
) -> DayAmounts:
    """The amounts of a day from sums of the database and the deals with relations: only the two widest tiers."""
    rows = [span.row for span in related if span.since <= day < span.until]
    totals = compute_totals(rows, TotalsQuery(lines=0, merged=merged), None, (), sums)
    lower, upper = bounds(totals, currency)
    pledged, _ = bounds(totals, currency, "commitment")
    return DayAmounts(day, {**dict.fromkeys(TIERS, Decimal(0)), "intended": lower, "pledged": pledged}, upper)


def bounds(totals: Totals, currency: str | None, nature: str | None = None) -> tuple[Decimal, Decimal]:
    """The lower and the upper bound of one-time amounts in a currency, of one nature or of both together."""
    columns = [
        column
        for column in totals.overall.columns
        if column.currency == currency and column.basis == "once" and nature in (None, column.nature)
    ]
    return sum((Decimal(c.low) for c in columns), Decimal(0)), sum((Decimal(c.high) for c in columns), Decimal(0))
