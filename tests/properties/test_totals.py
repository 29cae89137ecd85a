"""Property 52 for totals: at any point of each axis, the total of the copy is that of the folded deals."""

from __future__ import annotations

from datetime import date
from typing import Any

import asyncpg
import duckdb
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.domain.checks.doubted_amounts import checks_of, doubts_of
from registry.domain.history import AsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.domain.totals import DealRow, Estimates, Totals, TotalsQuery, compute_totals, measured, row_of
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import Selection
from registry.projections.columnar.tables import copied_tables
from registry.projections.columnar.totals import totals
from registry.projections.point import Point
from tests.conftest import examples
from tests.domain.builders import LogBuilder
from tests.properties.strategies import DAYS, logs
from tests.properties.test_fact_rows import apply, rolled_back
from tests.reference_rates import reference_rates

ROWS = "SELECT json_agg(r)::text FROM (SELECT {columns} FROM {table} AS t) AS r"
INSERT = """
INSERT INTO {table} SELECT {columns} FROM (SELECT unnest(from_json($rows, $structure), max_depth := 2))
"""


async def copy_of(connection: Any) -> duckdb.DuckDBPyConnection:
    """The fact tables in DuckDB, with all their columns."""
    copy = duckdb.connect()
    copy.execute("ATTACH ':memory:' AS cache")
    copy.execute("CREATE TABLE copied AS SELECT 0::BIGINT AS position, 0::BIGINT AS reset")
    copy.execute("CREATE TABLE deal_events (deal VARCHAR, position BIGINT)")
    for table in await copied_tables(connection):
        copy.execute(table.create)
        rows = await connection.fetchval(ROWS.format(table=table.name, columns=table.select))
        if rows is not None:
            structure = msgspec.json.encode([dict.fromkeys(table.sent, "VARCHAR")]).decode()
            copy.execute(INSERT.format(table=table.name, columns=table.typed), {"rows": rows, "structure": structure})
    return copy


def rows_as_of(log: LogBuilder, as_of: AsOf, measure: str) -> list[DealRow]:
    """What totals need of the folded deal; none where it is in no list."""
    found = state_as_of(log.slug, log.events, as_of, DEALS)
    if found.state is None or found.merged_into is not None:
        return []
    steps = zip(found.states, (step.applied for step in found.steps), strict=True)
    checks = checks_of(found.base, steps, {reading.recorded.id for reading, _ in found.unapplied})
    row = row_of(found.state, doubts_of(found.state, checks, reference_rates()))
    return [row if measure == "amount" else measured(found.state, row, measure)]


def figures(found: Totals) -> Any:
    """All that a total says, but for the order of its lines."""
    groups = [
        (group.keys, group.columns, group.without_estimates, group.rules, sorted(map(msgspec.json.encode, group.lines)))
        for group in (found.overall, *found.groups)
    ]
    return groups, found.rates


@settings(max_examples=examples(4), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    log=logs(admitted=True),
    cuts=st.sets(st.integers(1, 13)),
    day=st.sampled_from(DAYS),
    known=st.sampled_from(DAYS) | st.integers(1, 14),
    measure=st.sampled_from(["amount", "amount", "amount", "power_mw", "gpus", "jobs"]),
    currency=st.sampled_from([None, "USD", "KRW"]),
    group_by=st.sampled_from([(), ("organization",), ("region",), ("stage", "year"), ("classification:mode",)]),
    estimates=st.sampled_from(["include", "exclude", "both"]),
)
async def test_52_totals_at_any_point_equal_those_of_the_folded_deals(
    owner: asyncpg.Connection[asyncpg.Record],
    log: LogBuilder,
    cuts: set[int],
    day: date,
    known: date | int,
    measure: str,
    currency: Any,
    group_by: tuple[str, ...],
    estimates: Estimates,
) -> None:
    async with rolled_back(owner):
        await apply(owner, log, cuts)
        copy = await copy_of(owner)
    on_recorded = isinstance(known, int)
    point = Point("recorded" if on_recorded else "published", known, day, len(log.events))
    as_of = (
        AsOf(effective_on=day, position=known) if isinstance(known, int) else AsOf(effective_on=day, published_on=known)
    )
    query = TotalsQuery(
        measure=measure,
        currency=currency if measure == "amount" else None,
        group_by=group_by,
        estimates=estimates,
        effective_on=day,
        weights={"USD": 900_000, "KRW": 670, "": 1},
    )
    with copy.cursor() as cursor:
        cursor.execute("BEGIN")
        found = totals(cursor, QuestionCache(), point, Selection(), query, reference_rates())
    copy.close()
    assert figures(found) == figures(compute_totals(rows_as_of(log, as_of, measure), query, reference_rates()))
