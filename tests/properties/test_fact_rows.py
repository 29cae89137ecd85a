"""Properties 7, 8 and 20 on the fact tables: at every point they hold the facts of the fold, as after a rebuild."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.domain.checks.doubted_amounts import checks_of
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.types import EventRedacted
from registry.events.write_batch import WriteBatch
from registry.projections.facts import FACT_TABLES, DealFacts, FactTable
from registry.projections.facts.sweep_line import END_OF_TIME
from registry.projections.point import END_OF_LOG
from registry.projections.projection import AppliedChange
from tests.conftest import examples
from tests.domain.builders import LogBuilder
from tests.properties.strategies import logs, logs_in_order

QUICK = settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Row = Mapping[str, Any]
Tables = dict[str, list[Row]]


def steps_of(log: LogBuilder) -> Iterator[AppliedChange]:
    """Each event of a log with the stream before and after it, as the recorder passes them to a projection."""
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS)
    redacted = {e.id for e in log.events if e.event is None}
    for recorded in log.events:
        after = stream.copy()
        after.append(recorded)
        is_redaction = isinstance(recorded.event, EventRedacted) and recorded.event.redacts in redacted
        yield AppliedChange(recorded, stream, after, erased=is_redaction)
        stream = after


def batches(steps: Sequence[AppliedChange], cuts: set[int]) -> Iterator[list[AppliedChange]]:
    """The steps in batches, as a recorder may have committed them."""
    batch: list[AppliedChange] = []
    for i, step in enumerate(steps):
        if i in cuts and batch:
            yield batch
            batch = []
        batch.append(step)
    if batch:
        yield batch


@asynccontextmanager
async def rolled_back(connection: Any) -> AsyncIterator[None]:
    """Roll back the changes of the block."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def apply(connection: Any, log: LogBuilder, cuts: set[int]) -> None:
    """Write the events of a log in batches."""
    for batch in batches(list(steps_of(log)), cuts):
        writes, projector = WriteBatch(), DealFacts().start_batch()
        for step in batch:
            projector.apply(step)
        projector.write(writes)
        await writes.execute(connection)


async def fact_rows(connection: Any) -> Tables:
    """All rows of the fact tables."""
    return {
        table.name: [dict(row) for row in await connection.fetch(f"SELECT * FROM {table.name} AS t ORDER BY t")]
        for table in FACT_TABLES
    }


async def incremental_and_rebuilt(connection: Any, log: LogBuilder, cuts: set[int]) -> tuple[Tables, Tables]:
    """The rows after the log was applied batch by batch, and after a rebuild; both are rolled back."""
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    async with rolled_back(connection):
        await apply(connection, log, cuts)
        incremental = await fact_rows(connection)
        writes = WriteBatch()
        DealFacts().delete_rows([stream], writes)
        DealFacts().rebuild([stream], writes)
        await writes.execute(connection)
        return incremental, await fact_rows(connection)


def corners(rows: Sequence[Row], first: str, last: str) -> Iterator[tuple[date, Any]]:
    """Every corner of every row on one axis of knowledge, and the points next to it."""
    one: Any = timedelta(days=1) if first == "published_from" else 1
    ends = (END_OF_TIME, END_OF_LOG, date.min)
    days = {d for r in rows for d in (r["effective_from"], r["effective_to"]) if d not in ends}
    knowns = {k for r in rows for k in (r[first], r[last]) if k not in ends}
    for day in sorted({d - timedelta(days=n) for d in days for n in (0, 1)} | {date(2100, 1, 1)}):
        for known in sorted({k - n for k in knowns for n in (0 * one, one)}):
            yield day, known


def facts_at(tables: Tables, day: date, known: Any, first: str, last: str) -> list[tuple[Any, ...]]:
    """The facts in the tables at a point on one axis."""
    return sorted(
        (table.name, *(_comparable(row[c.name]) for c in (*table.ids, *table.values)))
        for table in FACT_TABLES
        for row in tables[table.name]
        if row["effective_from"] <= day < row["effective_to"] and row[first] <= known < row[last]
    )


def facts_of_fold(log: LogBuilder, as_of: AsOf) -> list[tuple[Any, ...]]:
    """The facts as of a point, by a full fold."""
    found = state_as_of(log.slug, log.events, as_of, DEALS)
    if found.state is None or found.merged_into is not None:
        return []
    return sorted(
        (table.name, *map(_comparable, (*ids, *values)))
        for table in FACT_TABLES
        for ids, values in _facts(table, found)
    )


def _facts(table: FactTable, found: StateAsOf[Deal]) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    assert found.state is not None
    steps = zip(found.states, (step.applied for step in found.steps), strict=True)
    refused = {reading.recorded.id for reading, _ in found.unapplied}
    return list(table.facts(found.state, checks_of(found.base, steps, refused)))


def _comparable(value: Any) -> str:
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


async def assert_rows_equal_the_fold(connection: Any, log: LogBuilder, cuts: set[int]) -> None:
    incremental, rebuilt = await incremental_and_rebuilt(connection, log, cuts)

    assert incremental == rebuilt
    rows = [row for of_table in incremental.values() for row in of_table]
    for day, position in corners(rows, "recorded_from", "recorded_to"):
        found = facts_at(incremental, day, position, "recorded_from", "recorded_to")
        assert found == facts_of_fold(log, AsOf(effective_on=day, position=position))
    for day, published in corners(rows, "published_from", "published_to"):
        found = facts_at(incremental, day, published, "published_from", "published_to")
        assert found == facts_of_fold(log, AsOf(effective_on=day, published_on=published))


@QUICK
@given(log=logs(admitted=True), cuts=st.sets(st.integers(1, 13)))
async def test_fact_rows_equal_a_rebuild_and_the_fold_at_every_point(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    await assert_rows_equal_the_fold(owner, log, cuts)


@QUICK
@given(log=logs_in_order(), cuts=st.sets(st.integers(1, 13)))
async def test_fact_rows_of_events_in_order_serve_both_axes(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    await assert_rows_equal_the_fold(owner, log, cuts)


@QUICK
@given(log=logs(admitted=True), cuts=st.sets(st.integers(1, 13)))
async def test_versions_of_a_fact_are_as_long_and_as_few_as_possible(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    tables, _ = await incremental_and_rebuilt(owner, log, cuts)
    for table in FACT_TABLES:
        columns = [column.name for column in (*table.ids, *table.values)]
        for first, last in (("recorded_from", "recorded_to"), ("published_from", "published_to")):
            rows = [
                ([_comparable(r[c]) for c in columns], r["effective_from"], r["effective_to"], r[first], r[last])
                for r in tables[table.name]
                if r[first] < r[last]
            ]
            for value, since, until, published_from, published_to in rows:
                assert since < until
                # The same value directly after it on either axis would be one longer version.
                assert not any(r[:3] == (value, since, until) and r[3] == published_to for r in rows)
                assert not any(
                    r[0] == value and r[1] == until and r[3] < published_to and published_from < r[4] for r in rows
                )
