"""Amounts over time by tier: what totals are on each of some days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.domain.rates import Rates
from registry.domain.totals import DealRow, TotalsQuery, compute_totals
from registry.domain.totals.tiers import TIERS, TierAmounts
from registry.events.currencies import Currency
from registry.projections.columnar.conversion import Conversion, prepare
from registry.projections.columnar.selection import Point, Selection, run
from registry.projections.columnar.totals import Scan, amounts, examine

# Every version of a pledge with its bounds in millionths of the currency. The amount of a version applies from its
# first day at the latest, so its rate is the same on all days.
_VERSIONS = """
CREATE OR REPLACE TEMP TABLE versions AS
SELECT p.deal, p.effective_from, p.effective_to,
       p.commitment IS DISTINCT FROM 'intention' AS committed,
       p.status = 'confirmed' OR coalesce(p.commitment IN ('binding', 'budget'), false) AS confirmed,
       {low} AS low,
       {high} AS high
  FROM pledge_facts AS p {join}
 WHERE p.{axis}_from <= $known AND p.{axis}_to > $known AND p.effective_from <= $day
   AND p.status <> 'withdrawn' AND p.amount_basis IS DISTINCT FROM 'annual'
   AND p.currency IS NOT NULL AND coalesce(p.value, p.low, p.high) IS NOT NULL
   AND (p.currency = $target OR r.multiplier IS NOT NULL)
"""

# The tiers of `domain/totals/tiers.py`.
_ADD_UP = """
SELECT sum(p.high), sum(p.low), sum(p.low) FILTER (p.committed),
       sum(p.low) FILTER (p.committed AND (p.confirmed OR coalesce(s.stage IN ('construction', 'operating'), false))),
       sum(p.low) FILTER (p.committed AND s.stage IN ('construction', 'operating')),
       sum(p.low) FILTER (p.committed AND s.stage = 'operating')
  FROM versions AS p
       LEFT JOIN stage_facts AS s ON s.deal = p.deal AND {s}
 WHERE p.effective_from <= $day AND p.effective_to > $day
   AND (s.stage IS NULL OR s.stage NOT IN ('cancelled', 'withdrawn')) {others}
"""

# The selected deals whose amounts or stage changed on the day, the largest first.
_CHANGED = """
SELECT p.deal
  FROM pledge_facts AS p
 WHERE {p} AND p.currency IS NOT NULL
   AND (p.effective_from = $day
        OR p.deal IN (SELECT s.deal FROM stage_facts AS s WHERE {s} AND s.effective_from = $day))
   {selected}
 GROUP BY p.deal
 ORDER BY max(coalesce(p.value, p.high, p.low)::DOUBLE * {weight}) DESC NULLS LAST, p.deal
 LIMIT $deals
"""

MAX_CHANGED = 20
"""The most deals that are named for a day."""


def amounts_over_time(
    cursor: DuckDBPyConnection,
    point: Point,
    selection: Selection,
    currency: Currency,
    rates: Rates,
    merged: Mapping[str, str],
    weight: str,
    days: Sequence[date],
) -> list[TierAmounts]:
    """The amounts of one-time pledges on some days, as known at the point, converted to a currency.

    Args:
        cursor: The copy.
        point: The point; each of `days` stands for its effective date.
        selection: Which deals.
        currency: The currency.
        rates: The exchange rates.
        merged: What each merged deal was merged into.
        weight: The SQL of the worth of a unit of a pledge's currency.
        days: The days.
    """
    query = TotalsQuery(currency=currency, lines=0, merged=merged)
    conversion = prepare(cursor, point, currency, rates, None, point.day, all_days=True)
    low, high = amounts(conversion)
    versions = _VERSIONS.format(low=low, high=high, join=conversion.join, axis=point.axis)
    run(cursor, versions, {**point.parameters, **conversion.parameters})
    return [
        _on_day(cursor, replace(point, day=day), selection, replace(query, effective_on=day), rates, weight, conversion)
        for day in days
    ]


def _on_day(
    cursor: DuckDBPyConnection,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
    weight: str,
    conversion: Conversion,
) -> TierAmounts:
    examined, chosen, others = examine(cursor, point, selection, query, rates, conversion)
    scan = Scan(point, selection, query, rates, conversion, conversion.doubts, examined)
    ((high, *lows),) = run(cursor, _ADD_UP.format(s=point.at("s"), others=scan.others), scan.parameters)
    tiers = dict(zip(TIERS, map(_units, lows), strict=True))
    upper = _units(high)
    for tier in TIERS:
        low, high_of_tier = _examined(chosen, others, query, rates, tier)
        tiers[tier] += low
        upper += high_of_tier if tier == "intended" else 0
    selected = "" if selection.is_all else f"AND p.deal IN ({selection.slugs(point)})"
    changed = _CHANGED.format(p=point.at("p"), s=point.at("s"), selected=selected, weight=weight)
    deals = run(cursor, changed, {**scan.parameters, "deals": MAX_CHANGED})
    return TierAmounts(point.day, tiers, upper, tuple(deal for (deal,) in deals))


def _units(millionths: Any) -> Decimal:
    return Decimal(millionths or 0).scaleb(-6)


def _examined(
    chosen: Sequence[DealRow], others: Sequence[DealRow], query: TotalsQuery, rates: Rates, tier: str
) -> tuple[Decimal, Decimal]:
    """The bounds of a tier of the deals that are examined one by one."""
    includes = TIERS[tier]
    kept = [
        replace(row, pledges=tuple(p for p in row.pledges if p.basis != "annual" and includes(row, p)))
        for row in chosen
    ]
    kept = [row for row in kept if row.pledges or row.relations]
    if not any(row.pledges for row in kept):
        return Decimal(0), Decimal(0)
    columns = compute_totals(kept, query, rates, others).overall.columns
    return sum((Decimal(c.low) for c in columns), Decimal(0)), sum((Decimal(c.high) for c in columns), Decimal(0))
