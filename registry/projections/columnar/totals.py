"""Totals of many deals: DuckDB adds up the pledges of deals without relations, `domain/totals` those of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from itertools import chain
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.domain.merges import survivor
from registry.domain.money.rates import Rates
from registry.domain.totals import (
    AmountSum,
    DealRow,
    Estimates,
    GroupKey,
    Sums,
    Totals,
    TotalsBuilder,
    TotalsQuery,
    with_both_sums,
    without_estimates,
)
from registry.projections.columnar.conversion import prepare
from registry.projections.columnar.deal_rows import deal_rows
from registry.projections.columnar.doubts import Doubts, prepare_doubts
from registry.projections.columnar.measures import containing
from registry.projections.columnar.memory_tables import MemoryState, asking_memory
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.running_totals import RunningTotals
from registry.projections.columnar.scan import Scan
from registry.projections.columnar.search_texts import naming_deals
from registry.projections.columnar.selection import Selection, run
from registry.projections.columnar.total_lines import group_lines, overall_lines
from registry.projections.point import Point

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


def totals(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
) -> Totals:
    """The totals of the selected deals at a point: the same as `compute_totals` of all of them.

    Args:
        cursor: The copy, in a transaction.
        cache: What is cached of earlier questions.
        point: The point.
        selection: Which deals.
        query: What to compute, with the page of groups.
        rates: The exchange rates.
    """
    found = _totals(cursor, cache, point, selection, query, rates)
    if query.estimates != "both":
        return found
    return with_both_sums(found, _totals(cursor, cache, point, selection, without_estimates(query, found), rates))


def _totals(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
) -> Totals:
    memory = cache.memory.prepare(cursor, query.merged)
    scan = Scan(point, selection, query, rates, None, Doubts("", any=False), ())
    if query.lines or not point.is_present or selection.search is not None:
        # DuckDB adds up all deals, so it needs the tables in memory: before its transaction reads there.
        scan = _prepared(cursor, cache, scan)
    examined, added = _examined(cursor, cache, memory, point, selection, query, rates)
    builder = added.copy(query)
    scan = replace(scan, examined=examined)
    groups: list[GroupKey] = []
    number = 0
    of_groups: dict[GroupKey, list[AmountSum]] = {}
    with _running(cursor, cache, memory, scan) as running:
        overall, used = list(running.overall), list(running.rates)
        if query.group_by:
            groups, number, of_groups = running.page(cursor, scan, builder.sizes())
    if query.currency is not None and query.group_by and query.with_rates:
        with _running(cursor, cache, memory, replace(scan, query=replace(query, group_by=()))) as running:
            used = list(running.rates)
    lines, lines_of_groups = [], {}
    if query.lines:
        lines = overall_lines(cursor, scan)
        lines_of_groups = group_lines(cursor, scan, groups) if groups else {}
    builder.add_sums(Sums(overall, of_groups, lines, lines_of_groups), groups)
    return builder.result(groups, number, used if query.with_rates else ())


def _prepared(cursor: DuckDBPyConnection, cache: QuestionCache, scan: Scan) -> Scan:
    """The question with the tables of exchange rates and of doubted amounts that DuckDB needs for it."""
    query = scan.query
    if query.currency is not None:
        last_day = query.effective_on or date.max
        conversion = prepare(cursor, cache, query.currency, scan.rates, query.rates_of, last_day)
        return replace(scan, conversion=conversion, doubts=conversion.doubts)
    return replace(scan, doubts=prepare_doubts(cursor, cache, scan.rates)) if scan.is_money else scan


def _running(
    cursor: DuckDBPyConnection, cache: QuestionCache, memory: MemoryState, scan: Scan
) -> AbstractContextManager[RunningTotals]:
    """The sums of a question, but for the deals that are examined one by one because of their relations."""
    point = scan.point
    odd: list[str] = []

    def select(_: Point, __: Sequence[str]) -> tuple[str, dict[str, Any]]:
        nonlocal scan
        scan = _prepared(cursor, cache, scan)
        odd[:] = _odd(cursor, scan)
        adding = replace(scan, query=sums_of(scan.query), examined=[*scan.examined, *odd])
        return adding.add_up(), adding.parameters

    def rows(at: Point, deals: Sequence[str]) -> dict[str, DealRow | None]:
        """What selected deals add at a point."""
        if not deals:
            return {}
        key = (memory.reset, at.axis, at.known, at.day, scan.query.measure, scan.rates.imports)
        kept_rows: dict[str, DealRow | None] = cache.value(("rows", key), dict)
        if missing := [deal for deal in deals if deal not in kept_rows]:
            found = {row.deal: row for row in deal_rows(cursor, at, missing, scan.rates, scan.query.measure)}
            kept_rows |= {deal: found.get(deal) for deal in missing}
        selected = set(deals) if scan.selection.is_all else selected_among(cursor, at, scan.selection, deals)
        return {deal: kept_rows[deal] if deal in selected else None for deal in deals}

    def make(table: str) -> RunningTotals:
        adding = replace(scan, query=sums_of(scan.query))
        running = RunningTotals(cursor, adding, table, scan.examined)
        running.change(dict.fromkeys(odd), rows(point, odd))
        if not scan.query.group_by:
            run(cursor, f"DROP TABLE {table}", {})
        return running

    def follow(running: RunningTotals, position: int) -> None:
        examined = frozenset(scan.examined)
        changed = {*memory.changed_after(position), *(examined ^ running.examined)}
        new = sorted(deal for deal in changed if not running.has_row(deal))
        before = rows(replace(point, known=position), new)
        now = rows(point, sorted(changed - examined)) | dict.fromkeys(changed & examined)
        running.change(before, now)
        running.examined = examined

    asked = scan.selection.cache_key("totals", sums_of(scan.query), scan.rates.imports)
    return cache.followed(cursor, point, asked, select, make, follow)


def _odd(cursor: DuckDBPyConnection, scan: Scan) -> list[str]:
    """The deals with an amount whose rate has too many digits for DuckDB, but for those that are examined anyway."""
    if scan.conversion is None or scan.conversion.exact:
        return []
    statement = _ODD.format(join=scan.conversion.join, p=scan.point.at("p"))
    odd = {deal for (deal,) in run(cursor, statement, {**scan.point.parameters, **scan.conversion.parameters})}
    return sorted(odd.difference(scan.examined))


def _examined(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    memory: MemoryState,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
) -> tuple[list[str], TotalsBuilder]:
    """The deals that are examined one by one, and the totals of the selected ones among them.

    They are cached until one of these deals changes.
    """
    # What a search finds may also change with an organization's names.
    at = memory.unchanged(point) if query.measure == "amount" and selection.search is None else point
    added = replace(sums_of(query), lines=query.lines)
    key = msgspec.msgpack.encode((memory.reset, at, selection, added, rates.imports))

    def make() -> tuple[list[str], TotalsBuilder]:
        examined, chosen, others = _examine(cursor, memory, point, selection, query, rates)
        builder = TotalsBuilder(query, rates)
        builder.add(chosen, others)
        return examined, builder

    return cache.value(("examined", key), make)


def sums_of(query: TotalsQuery) -> TotalsQuery:
    """What the sums of a query depend on: the query without its page of groups and its lines."""
    estimates: Estimates = "include" if query.estimates == "both" else query.estimates
    return replace(
        query, keys=None, groups=0, skip=0, lines=0, weights={}, explain=False, with_rates=True, estimates=estimates
    )


def _examine(
    cursor: DuckDBPyConnection,
    memory: MemoryState,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
) -> tuple[list[str], list[DealRow], list[DealRow]]:
    """The deals whose relations, or figures that contain each other, DuckDB does not know.

    Returns:
        The slugs of these deals, the rows of those that are selected, and the rows of the others, whose relations
        decide too.
    """
    related = related_deals(cursor, point, query.merged)
    if query.measure != "amount":
        related |= {deal for (deal,) in run(cursor, containing(query.measure, point), point.parameters)}
    examined = sorted(related)
    if not examined:
        return [], [], []
    with asking_memory(cursor) if memory.deals.issuperset(examined) else nullcontext():
        rows = deal_rows(cursor, point, examined, rates, query.measure)
        selected = set(examined) if selection.is_all else selected_among(cursor, point, selection, examined)
    chosen = [row for row in rows if row.deal in selected]
    return examined, chosen, [row for row in rows if row.deal not in selected]


def related_deals(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> set[str]:
    """The deals that declare a relation, or that one is declared to."""
    return set(chain.from_iterable(related_pairs(cursor, point, merged)))


def related_pairs(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each deal that declares a relation, with the deal that it is declared to."""
    pairs = run(cursor, _RELATED.format(r=point.at("r")), point.parameters)
    return [(deal, survivor(other, merged)) for deal, other in pairs]


def selected_among(cursor: DuckDBPyConnection, point: Point, selection: Selection, deals: Collection[str]) -> set[str]:
    """The selected deals among some deals."""
    statement = _SELECTED.format(conditions=selection.conditions(point))
    parameters = {**point.parameters, **selection.parameters, "deals": list(deals)}
    return {deal for (deal,) in run(cursor, statement, parameters)}


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
