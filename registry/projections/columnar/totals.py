"""Totals of many deals: DuckDB adds up the pledges of deals without relations, `domain/totals` those of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.domain.merges import survivor
from registry.domain.rates import Rates
from registry.domain.totals import (
    AmountSum,
    DealRow,
    Estimates,
    GroupKey,
    PledgeRow,
    Rule,
    Sums,
    Totals,
    TotalsBuilder,
    TotalsQuery,
    with_both_sums,
    without_estimates,
)
from registry.projections.columnar.conversion import Conversion, prepare
from registry.projections.columnar.deal_rows import deal_rows
from registry.projections.columnar.doubts import Doubts, prepare_doubts
from registry.projections.columnar.held import HeldState, asking_held
from registry.projections.columnar.kept import Kept
from registry.projections.columnar.measures import containing
from registry.projections.columnar.scan import Scan
from registry.projections.columnar.search_texts import naming_deals
from registry.projections.columnar.selection import Point, Selection, run
from registry.projections.columnar.total_lines import group_lines, overall_lines

# These relations say that two amounts have nothing in common: without other relations they change no total.
_RELATED = """
SELECT r.deal, r.other_deal
  FROM relation_facts AS r
 WHERE {r} AND r.relation NOT IN ('additional_to', 'separate_from')
"""

_SELECTED = "SELECT d.deal FROM deal_facts AS d WHERE {conditions} AND d.deal IN (SELECT unnest($deals))"

# Deals with an amount whose rate has too many digits for DuckDB.
_ODD = """
SELECT DISTINCT p.deal
  FROM pledge_facts AS p {join}
 WHERE {p} AND r.available AND r.multiplier IS NULL
"""

_OVERALL = """
SELECT rule, currency, nature, basis, qualifier, low_open, high_open, sum(low), sum(high), sum(pledges)::BIGINT
  FROM {source}
 GROUP BY ALL
HAVING sum(pledges) > 0
"""

_RATES_USED = """
SELECT stated, day
  FROM {source}
 WHERE rule IN ('counted', 'additional', 'flagged') AND stated <> $target
 GROUP BY ALL
HAVING sum(pledges) > 0
"""

# The number of groups, those of the page in their order, and their sums, split by rule, currency and the other columns
# of the result. The size of a group includes the deals that are examined one by one.
_GROUPS = """
WITH summed AS MATERIALIZED (
    SELECT {names}, rule, currency, nature, basis, qualifier, low_open, high_open, {shared} AS shared,
           sum(low) AS low, sum(high) AS high, sum(pledges)::BIGINT AS pledges
      FROM {source}
     GROUP BY ALL
    HAVING sum(pledges) > 0
), sizes AS (
    SELECT {names}, sum(CASE WHEN rule IN ('counted', 'additional', 'flagged') THEN {millionths} END * weight) AS size
      FROM summed AS s
           LEFT JOIN (SELECT unnest($currencies) AS currency, unnest($weights)::HUGEINT AS weight) AS w
                  ON w.currency = s.currency
     GROUP BY {names}
    UNION ALL
    SELECT {examined_names}, unnest($sizes)::HUGEINT
), ranked AS (
    SELECT {names}, row_number() OVER (ORDER BY coalesce(sum(size), 0) DESC, {order}) AS rank
      FROM sizes
     GROUP BY {names}
), page AS ({page}
)
SELECT n.number, p.rank, {page_names}, rule, currency, nature, basis, qualifier, low_open, high_open, shared,
       low, high, pledges
  FROM (SELECT count(*) AS number FROM ranked) AS n
       LEFT JOIN page AS p ON true
       LEFT JOIN summed AS t ON {same}
 ORDER BY p.rank
"""

_PAGE = "SELECT * FROM ranked WHERE rank > $skip AND rank <= $skip + $groups"

_SHOWN = "SELECT unnest(range(len($page_key1))) AS rank, {keys}"

_SUMS = ("low", "high", "pledges")


def totals(
    cursor: DuckDBPyConnection, kept: Kept, point: Point, selection: Selection, query: TotalsQuery, rates: Rates
) -> Totals:
    """The totals of the selected deals at a point: the same as `compute_totals` of all of them.

    Args:
        cursor: The copy, in a transaction.
        kept: What is kept of earlier questions.
        point: The point.
        selection: Which deals.
        query: What to compute, with the page of groups.
        rates: The exchange rates.
    """
    found = _totals(cursor, kept, point, selection, query, rates)
    if query.estimates != "both":
        return found
    return with_both_sums(found, _totals(cursor, kept, point, selection, without_estimates(query, found), rates))


def _totals(
    cursor: DuckDBPyConnection, kept: Kept, point: Point, selection: Selection, query: TotalsQuery, rates: Rates
) -> Totals:
    conversion = None
    if query.currency is not None:
        conversion = prepare(cursor, kept, query.currency, rates, query.rates_of, query.effective_on or date.max)
    doubts = Doubts("", any=False)
    if query.measure == "amount":
        doubts = conversion.doubts if conversion is not None else prepare_doubts(cursor, kept, rates)
    examined, added = _examined(cursor, kept, point, selection, query, rates, conversion)
    builder = added.copy(query)
    scan = Scan(point, selection, query, rates, conversion, doubts, examined)
    with _summed(cursor, kept, scan) as source:
        overall = [_amount_sum(row, conversion) for row in run(cursor, _OVERALL.format(source=source), {})]
        if query.group_by:
            groups, number, sums, lines_of_groups = _groups(cursor, scan, builder, source)
        else:
            groups, number, sums, lines_of_groups = [], 0, {}, {}
        used = _rates_used(cursor, scan, source)
    if conversion is not None and query.group_by and query.with_rates:
        alone = replace(scan, query=replace(query, group_by=()))
        with _summed(cursor, kept, alone) as source:
            used = _rates_used(cursor, alone, source)
    lines = overall_lines(cursor, scan) if query.lines else []
    builder.add_sums(Sums(overall, sums, lines, lines_of_groups), groups)
    return builder.result(groups, number, used)


def _summed(cursor: DuckDBPyConnection, kept: Kept, scan: Scan) -> AbstractContextManager[str]:
    """The table of the sums of a question, by the rule of a pledge and what else the result tells apart."""

    def select(point: Point, left_out: Sequence[str]) -> tuple[str, dict[str, Any]]:
        at_point = replace(scan, point=point, examined=left_out)
        return at_point.add_up(), at_point.parameters

    asked = scan.selection.kept_as("totals", sums_of(scan.query), scan.rates.imports)
    return kept.sums(cursor, scan.point, asked, select, _SUMS, scan.examined)


def _examined(
    cursor: DuckDBPyConnection,
    kept: Kept,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
    conversion: Conversion | None,
) -> tuple[list[str], TotalsBuilder]:
    """The deals that are examined one by one, and the totals of those of them that are selected.

    They are kept until one of these deals changes.
    """
    held = kept.held.prepare(cursor, query.merged)
    are_related = query.measure == "amount" and (conversion is None or conversion.exact)
    # What a search finds may also change with an organization's names.
    at = held.unchanged(point) if are_related and selection.search is None else point
    added = replace(sums_of(query), lines=query.lines)
    key = msgspec.msgpack.encode((held.reset, at, selection, added, rates.imports))

    def make() -> tuple[list[str], TotalsBuilder]:
        examined, chosen, others = _examine(cursor, held, point, selection, query, rates, conversion)
        builder = TotalsBuilder(query, rates)
        builder.add(chosen, others)
        return examined, builder

    return kept.value(("examined", key), make)


def sums_of(query: TotalsQuery) -> TotalsQuery:
    """What the sums of a query depend on: the query without its page of groups and its lines."""
    estimates: Estimates = "include" if query.estimates == "both" else query.estimates
    return replace(
        query, keys=None, groups=0, skip=0, lines=0, weights={}, explain=False, with_rates=True, estimates=estimates
    )


def _examine(
    cursor: DuckDBPyConnection,
    held: HeldState,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
    conversion: Conversion | None,
) -> tuple[list[str], list[DealRow], list[DealRow]]:
    """The deals that DuckDB cannot add up: those with relations, and those whose rates have too many digits.

    Returns:
        The slugs of these deals, the rows of those that are selected, and the rows of the others, whose relations
        decide too.
    """
    related = related_deals(cursor, point, query.merged)
    if query.measure != "amount":
        related |= {deal for (deal,) in run(cursor, containing(query.measure, point), point.parameters)}
    odd: set[str] = set()
    if conversion is not None and not conversion.exact:
        statement = _ODD.format(join=conversion.join, p=point.at("p"))
        odd = {deal for (deal,) in run(cursor, statement, {**point.parameters, **conversion.parameters})}
    examined = sorted(related | odd)
    if not examined:
        return [], [], []
    with asking_held(cursor) if held.deals.issuperset(examined) else nullcontext():
        rows = deal_rows(cursor, point, examined, rates, query.measure)
        selected = set(examined) if selection.is_all else selected_among(cursor, point, selection, examined)
    chosen = [row for row in rows if row.deal in selected]
    return examined, chosen, [row for row in rows if row.deal in related and row.deal not in selected]


def related_deals(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> set[str]:
    """The deals that declare a relation, or that one is declared to."""
    return set(chain.from_iterable(related_pairs(cursor, point, merged)))


def related_pairs(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each deal that declares a relation, with the deal that it is declared to."""
    pairs = run(cursor, _RELATED.format(r=point.at("r")), point.parameters)
    return [(deal, survivor(other, merged)) for deal, other in pairs]


def selected_among(cursor: DuckDBPyConnection, point: Point, selection: Selection, deals: Collection[str]) -> set[str]:
    """Those of some deals that are selected."""
    statement = _SELECTED.format(conditions=selection.conditions(point))
    parameters = {**point.parameters, **selection.parameters, "deals": list(deals)}
    return {deal for (deal,) in run(cursor, statement, parameters)}


def _rates_used(cursor: DuckDBPyConnection, scan: Scan, source: str) -> list[tuple[str, date]]:
    """The currencies and days whose rates convert amounts that count, from the sums without groups."""
    if scan.conversion is None or scan.query.group_by or not scan.query.with_rates:
        return []
    rows = run(cursor, _RATES_USED.format(source=source), scan.parameters)
    return [(currency, day) for currency, day in rows]


# --- sums -------------------------------------------------------------------------------------------------------------


_RULES = {rule.value: rule for rule in Rule}


def _amount_sum(row: tuple[Any, ...], conversion: Conversion | None, *, shared: bool = False) -> AmountSum:
    rule, currency, nature, basis, qualifier, low_open, high_open, low, high, pledges = row
    counts = _RULES[rule].counts
    return AmountSum(
        (currency or "", nature, basis),
        Rule.SHARED if shared and _RULES[rule].counts_low else _RULES[rule],
        qualifier,
        _decimal(low, conversion),
        _decimal(high, conversion),
        low_open and counts,
        high_open and counts,
        pledges,
    )


def _decimal(total: Any, conversion: Conversion | None) -> Decimal:
    """A sum: DuckDB returns numbers as they were stated, and converted ones in millionths."""
    if total is None:
        return Decimal(0)
    return Decimal(total) if conversion is None else Decimal(total).scaleb(-6)


def _groups(
    cursor: DuckDBPyConnection, scan: Scan, builder: TotalsBuilder, source: str
) -> tuple[list[GroupKey], int, dict[GroupKey, list[AmountSum]], dict[GroupKey, list[tuple[DealRow, PledgeRow]]]]:
    """The keys of the page, the number of groups, and the sums and first lines of those on the page."""
    examined = builder.sizes()
    parameters = {**scan.parameters, "sizes": list(examined.values())}
    for place, name in enumerate(scan.names):
        parameters[f"of_{name}"] = [key[place] for key in examined]
    shown = _SHOWN.format(keys=", ".join(f"unnest($page_{name}::VARCHAR[]) AS {name}" for name in scan.names))
    statement = _GROUPS.format(
        names=", ".join(scan.names),
        shared=" * ".join(f"len(keys{number})" for number in range(1, len(scan.names) + 1)) + " > 1",
        source=scan.unnested(source),
        millionths="high" if scan.conversion else "(high * 1000000)::HUGEINT",
        examined_names=", ".join(f"unnest($of_{name}::VARCHAR[])" for name in scan.names),
        order=", ".join(f"{name} NULLS LAST" for name in scan.names),
        page=_PAGE if scan.query.keys is None else shown,
        page_names=", ".join(f"p.{name}" for name in scan.names),
        same=_same(scan, "p"),
    )
    rows = run(cursor, statement, {**parameters, **_keys_of(scan, scan.query.keys or ())})
    count = len(scan.names)
    keys: dict[GroupKey, None] = {}
    sums: dict[GroupKey, list[AmountSum]] = {}
    for _, rank, *values in rows:
        if rank is None:
            continue
        key, (*columns, is_shared, low, high, pledges) = tuple(values[:count]), values[count:]
        keys[key] = None
        if pledges is not None:
            one = _amount_sum((*columns, low, high, pledges), scan.conversion, shared=is_shared)
            sums.setdefault(key, []).append(one)
    lines: dict[GroupKey, list[tuple[DealRow, PledgeRow]]] = {}
    if scan.query.lines and keys:
        run(cursor, f"CREATE OR REPLACE TEMP TABLE shown AS {shown}", _keys_of(scan, list(keys)))
        lines = group_lines(cursor, scan, _same(scan, "s"))
    return list(keys), rows[0][0], sums, lines


def _keys_of(scan: Scan, keys: Sequence[GroupKey]) -> dict[str, Any]:
    """The parameters of `_SHOWN`."""
    return {f"page_{name}": [key[place] for key in keys] for place, name in enumerate(scan.names)}


def _same(scan: Scan, page: str) -> str:
    """The condition that a row of the sums, or a line, is of a group on the page."""
    return " AND ".join(f"{page}.{name} IS NOT DISTINCT FROM t.{name}" for name in scan.names)


# --- certificates -----------------------------------------------------------------------------------------------------

_COUNT_EVENTS = "SELECT deal, count(*) FROM deal_events GROUP BY deal"


def deals_of_total(
    cursor: DuckDBPyConnection, point: Point, selection: Selection, merged: Mapping[str, str], limit: int
) -> tuple[list[str], int, bool]:
    """The deals that a total depends on, how many events they have, and whether they are all deals."""
    events = dict(run(cursor, _COUNT_EVENTS, {}))
    if sum(events.values()) <= limit:
        return sorted(events), sum(events.values()), True
    parameters = {**point.parameters, **selection.parameters}
    deals = {deal for (deal,) in run(cursor, selection.slugs(point), parameters)}
    if selection.search is not None:
        deals |= naming_deals(cursor, point, selection.search)
    deals |= related_deals(cursor, point, merged) | merged.keys()
    return sorted(deals & events.keys()), sum(events.get(deal, 0) for deal in deals), False
