"""What totals need of single deals: those that DuckDB cannot add up (`totals.py`, `trend.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from duckdb import DuckDBPyConnection

from registry.domain.money.rates import Rates
from registry.domain.totals import DealRow, MetricRow, PledgeRow, RelationRow, SiteRow, measured_row
from registry.projections.columnar.doubts import ComparedAmount, flags_of
from registry.projections.columnar.selection import run
from registry.projections.point import Point

_SELECT_ON_DAYS = """
SELECT w.day, t.deal, {columns}
  FROM (SELECT t.* FROM {table} AS t WHERE {among} AND {known}) AS t
       JOIN (SELECT unnest($dates::DATE[]) AS day) AS w ON t.effective_from <= w.day AND t.effective_to > w.day
 WHERE {conditions}
 {order}
"""

# 0.9 ms of processor time in the place of 1.9: the fact tables are read one by one, and most questions are about a day.
_SELECT = """
SELECT $day::DATE, t.deal, {columns}
  FROM {table} AS t
 WHERE {among} AND {known} AND t.effective_from <= $day AND t.effective_to > $day AND {conditions}
 {order}
"""

FEW_DEALS = 20
"""With at most this number of deals a row is compared with each; with more, DuckDB joins them."""

# The fields of `PledgeColumns`, in their order.
PLEDGE_COLUMNS = """
t.pledge, t.status, t.currency, t.value, t.low, t.high, t.qualifier, t.amount_basis, t.commitment, t.organizations,
t.stated_on, t.additional_to, t.figure, t.announced_on, coalesce(t.compared_on, t.stated_on), t.stated_as,
t.compared_with
"""

# Tables, columns, conditions and order of rows.
_DEAL_ROWS = {
    "deal": ("deal_facts", "t.sectors, t.classifications", "true", ""),
    "stage": ("stage_facts", "t.stage", "true", ""),
    "places": (
        "site_facts",
        "t.place",
        "t.status <> 'dropped' AND t.place IS NOT NULL",
        "ORDER BY t.announced_on, t.site",
    ),
    "investors": (
        "party_facts",
        "t.organization",
        "t.role = 'investor' AND t.left_on IS NULL",
        "ORDER BY t.joined_on, t.organization",
    ),
    "relations": (
        "relation_facts",
        "t.relation, nullif(t.pledge, ''), t.other_deal, nullif(t.other_pledge, ''), t.source::VARCHAR",
        "true",
        "ORDER BY t.since, t.relation, t.other_deal, t.pledge, t.other_pledge",
    ),
    "pledges": (
        "pledge_facts",
        PLEDGE_COLUMNS,
        "true",
        "ORDER BY t.announced_on, t.pledge",
    ),
}


_SITES = """
SELECT t.deal, t.site, t.place, t.status, t.power_mw, t.power_qualifier, t.gpus::DECIMAL(24, 6), t.gpus_qualifier,
       t.announced_on
  FROM site_facts AS t
 WHERE t.deal IN (SELECT unnest($deals)) AND {at}
"""

_METRICS = """
SELECT t.deal, t.metric_id, t.metric, t.basis, t.site, t.metric_date, coalesce(t.horizon_until, t.horizon_from),
       t.value, t.unit, t.qualifier, t.stated_on
  FROM metric_facts AS t
 WHERE t.deal IN (SELECT unnest($deals)) AND {at} AND t.metric = $measure
"""


def deal_rows(
    cursor: DuckDBPyConnection,
    point: Point,
    deals: Sequence[str],
    rates: Rates | None = None,
    measure: str = "amount",
) -> list[DealRow]:
    """What totals need of these deals at a point, in the order of slugs, without those that are not in lists there.

    Args:
        cursor: The copy.
        point: The point.
        deals: The slugs.
        rates: The exchange rates that amounts are compared at.
        measure: What is added up; of another one than `amount`, its figures take the place of pledges.
    """
    rows = deal_rows_on(cursor, point, deals, [point.day], rates)[point.day]
    if measure == "amount":
        return rows
    sites: dict[str, list[SiteRow]] = {}
    metrics: dict[str, list[MetricRow]] = {}
    parameters = {**point.parameters, "deals": list(deals), "measure": measure}
    at = point.at("t")
    for deal, *site in run(cursor, _SITES.format(at=at), parameters):
        sites.setdefault(deal, []).append(SiteRow(*site))
    for deal, *metric in run(cursor, _METRICS.format(at=at), parameters):
        metrics.setdefault(deal, []).append(MetricRow(*metric))
    return [measured_row(row, measure, sites.get(row.deal, ()), metrics.get(row.deal, ())) for row in rows]


def deal_rows_on(
    cursor: DuckDBPyConnection,
    point: Point,
    deals: Sequence[str],
    days: Sequence[date],
    rates: Rates | None = None,
) -> dict[date, list[DealRow]]:
    """Like `deal_rows`, on each of some days, as known at the point."""
    parameters = {"known": point.known, "deals": list(deals), "dates": list(days), "day": days[0]}
    select = _SELECT if len(days) == 1 else _SELECT_ON_DAYS
    among = "list_contains($deals, t.deal)" if len(deals) <= FEW_DEALS else "t.deal IN (SELECT unnest($deals))"
    known = point.is_known("t")
    found: dict[str, dict[tuple[date, str], list[tuple[Any, ...]]]] = {}
    for name, (table, columns, conditions, order) in _DEAL_ROWS.items():
        of_deals = found.setdefault(name, {})
        statement = select.format(
            table=table, columns=columns, among=among, known=known, conditions=conditions, order=order
        )
        for day, deal, *values in run(cursor, statement, parameters):
            of_deals.setdefault((day, deal), []).append(tuple(values))

    def row(key: tuple[date, str]) -> DealRow:
        ((sectors, classifications), *_) = found["deal"][key]
        stage, places, investors, relations, pledges = (
            found[name].get(key, ()) for name in ("stage", "places", "investors", "relations", "pledges")
        )
        return DealRow(
            key[1],
            next((stage for (stage,) in stage), None),
            tuple(sectors),
            tuple(dict.fromkeys(place for (place,) in places)),
            tuple(dict.fromkeys(organization for (organization,) in investors)),
            tuple(RelationRow(*relation) for relation in relations),
            tuple(pledge_row(PledgeColumns(*pledge), rates) for pledge in pledges),
            tuple(classifications),
        )

    rows: dict[date, list[DealRow]] = {day: [] for day in days}
    for key in sorted(found["deal"]):
        rows[key[0]].append(row(key))
    return rows


class PledgeColumns(NamedTuple):
    """A row of `PLEDGE_COLUMNS`."""

    pledge: str
    status: str
    currency: Any
    value: Decimal | None
    low: Decimal | None
    high: Decimal | None
    qualifier: Any
    basis: Any
    commitment: Any
    by: Sequence[str]
    stated_on: date
    additional_to: str | None
    figure: Any
    announced_on: date
    compared_on: date
    stated_as: str | None
    compared_with: str | None


def pledge_row(row: PledgeColumns, rates: Rates | None) -> PledgeRow:
    """A pledge from its columns, with the flags on its amount."""
    figures = (row.currency, row.value, row.low, row.high)
    return PledgeRow(
        row.pledge,
        row.status,
        *figures,
        row.qualifier,
        row.basis,
        row.commitment,
        tuple(row.by),
        row.stated_on,
        row.additional_to,
        row.figure,
        flags_of(ComparedAmount(*figures, row.compared_on, row.stated_as, row.compared_with), rates),
        row.announced_on,
    )
