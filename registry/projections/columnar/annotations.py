"""Annotations of an amount, shown beside it everywhere: its flags, what it is part of, and what has superseded it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext

import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.domain.merges import redirected, survivor
from registry.domain.money.rates import Rates
from registry.domain.totals import DealRow, TotalsBuilder, TotalsQuery
from registry.domain.totals.overlap import Relations, name_of
from registry.projections.columnar.deal_rows import deal_rows
from registry.projections.columnar.memory_tables import asking_memory
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import run
from registry.projections.columnar.totals import related_pairs
from registry.projections.point import Point

MAX_PLEDGES = 100_000

_SUPERSEDES = """
SELECT r.deal, nullif(r.pledge, ''), r.other_deal, nullif(r.other_pledge, '')
  FROM relation_facts AS r
 WHERE {r} AND r.relation = 'supersedes'
"""

_PLEDGES = "SELECT p.deal, p.pledge FROM pledge_facts AS p WHERE {p} AND p.deal IN (SELECT unnest($deals))"


class PledgeAnnotations(Struct, frozen=True):
    """Flags on a pledge's amount by rule; what it is part of, and what superseded it (`DEAL/PLEDGE`, `DEAL`)."""

    flags: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()


class DealAnnotations(Struct, frozen=True):
    """The annotations of a deal's pledges, and the deals that superseded it as a whole."""

    pledges: dict[str, PledgeAnnotations] = {}
    superseded_by: tuple[str, ...] = ()


class Superseded(Struct, frozen=True):
    """The deals that were superseded as a whole, and the deal and the id of each superseded pledge."""

    deals: tuple[str, ...] = ()
    pledges: tuple[tuple[str, str], ...] = ()


def deal_annotations(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    point: Point,
    deals: Collection[str],
    merged: Mapping[str, str],
    rates: Rates,
) -> dict[str, DealAnnotations]:
    """The annotations of those of some deals that have relations, as totals decide them.

    Args:
        cursor: The copy.
        cache: What is cached of earlier questions.
        point: The point.
        deals: The slugs.
        merged: What each merged deal was merged into.
        rates: The exchange rates that amounts are compared at.
    """
    memory = cache.memory.prepare(cursor, merged)
    # Until a deal with relations changes.
    at = memory.unchanged(point)
    pairs = cache.value(
        ("pairs", msgspec.msgpack.encode((memory.reset, at, merged))), lambda: related_pairs(cursor, point, merged)
    )
    related = sorted(_reached(pairs, deals))
    if not related:
        return {}

    def make() -> dict[str, DealAnnotations]:
        with asking_memory(cursor) if memory.deals.issuperset(related) else nullcontext():
            rows = deal_rows(cursor, point, related, rates)
        return _related_annotations(rows, set(deals), merged, rates)

    key = msgspec.msgpack.encode((memory.reset, at, merged, rates.imports, sorted(set(deals).intersection(related))))
    return cache.value(("annotations", key), make)


def superseded(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> Superseded:
    """What was superseded, of all deals; arguments as of `deal_annotations`."""
    found = run(cursor, _SUPERSEDES.format(r=point.at("r")), point.parameters)
    if not found:
        return Superseded()
    deals = {survivor(other, merged) for _, _, other, _ in found}
    pledges: dict[str, list[str]] = {}
    parameters = {**point.parameters, "deals": sorted(deals)}
    for deal, pledge in run(cursor, _PLEDGES.format(p=point.at("p")), parameters):
        pledges.setdefault(deal, []).append(pledge)
    relations = Relations()
    for deal, pledge, *given in found:
        other = redirected("supersedes", tuple(given), merged, lambda into: pledges.get(into, ()))
        if other is not None and other != (deal, pledge):
            relations.declare("supersedes", (deal, pledge), other, "")
    keys = ((deal, pledge) for deal, of_deal in pledges.items() for pledge in of_deal)
    return Superseded(
        tuple(sorted(deal for deal in deals if relations.superseded_by((deal, None)))),
        tuple(sorted(key for key in keys if relations.superseded_by(key))),
    )


def _reached(pairs: Sequence[tuple[str, str]], deals: Collection[str]) -> set[str]:
    """The deals with relations among these, and the deals that their relations lead to."""
    neighbours: dict[str, set[str]] = {}
    for one, other in pairs:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    pending = [deal for deal in deals if deal in neighbours]
    reached = set(pending)
    while pending:
        found = neighbours[pending.pop()] - reached
        reached |= found
        pending += found
    return reached


def _related_annotations(
    rows: Sequence[DealRow], listed: set[str], merged: Mapping[str, str], rates: Rates
) -> dict[str, DealAnnotations]:
    builder = TotalsBuilder(TotalsQuery(merged=merged, lines=MAX_PLEDGES), rates)
    builder.add([row for row in rows if row.deal in listed], [row for row in rows if row.deal not in listed])
    annotations = {
        row.deal: DealAnnotations(
            {}, superseded_by=tuple(deal for deal, _ in builder.relations.superseded_by((row.deal, None)))
        )
        for row in rows
        if row.deal in listed
    }
    for line in builder.result([], 0).overall.lines:
        superseded_by = tuple(map(name_of, builder.relations.superseded_by((line.deal, line.pledge))))
        if line.flags or line.part_of or superseded_by:
            annotations[line.deal].pledges[line.pledge] = PledgeAnnotations(line.flags, line.part_of, superseded_by)
    return annotations
