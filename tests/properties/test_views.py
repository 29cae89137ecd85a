"""Properties 7 and 8 on the real table: incremental rows equal those of a rebuild, and each row equals the fold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from itertools import combinations
from typing import Any

import asyncpg
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.domain.deal import Deal
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream, state_as_of
from registry.events.types import EventRedacted
from registry.events.write_batch import WriteBatch
from registry.projections.deal_lists import SELECT_TITLE_MATCHES, ilike_pattern, page_query
from registry.projections.deal_versions import DealVersions
from registry.projections.list_rows import ListRow, list_row
from registry.projections.projection import AppliedChange
from registry.projections.rectangles import (
    END_OF_TIME,
    MAX_POSITION,
    Rectangle,
    is_chronological,
    published_rectangles,
    recorded_rectangles,
    rectangles,
)
from tests.domain.builders import LogBuilder
from tests.properties.strategies import logs, logs_in_order

ROWS = """
SELECT clock, deal, effective_from, effective_to, known_from, known_to,
       state, array_to_string(terms, E'\n') AS terms, title, row, totals, kind, amount::text, pledges
  FROM deal_versions
  JOIN deal_states USING (deal, state)
"""

INDEXES = """
SELECT array(SELECT t FROM deal_terms AS t ORDER BY t) AS terms,
       array(SELECT t FROM deal_titles AS t ORDER BY t) AS titles
"""

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


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


async def rows_after(connection: Any, log: LogBuilder, cuts: set[int]) -> list[Rectangle]:
    """The table's rows after the log was applied batch by batch; the changes are rolled back."""
    async with rolled_back(connection):
        await apply(connection, log, cuts)
        return [_rectangle(row) for row in await connection.fetch(ROWS)]


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
    for batch in batches(list(steps_of(log)), cuts):
        writes, projector = WriteBatch(), DealVersions().start_batch()
        for step in batch:
            projector.apply(step)
        projector.write(writes)
        await writes.execute(connection)


def _rectangle(row: Sequence[Any]) -> Rectangle:
    clock, deal, effective_from, effective_to, known_from, known_to, *content = row
    return Rectangle(clock, deal, effective_from, effective_to, known_from, known_to, ListRow(*content))


def order(rectangles: Sequence[Rectangle]) -> list[tuple[Any, ...]]:
    return sorted(msgspec.structs.astuple(r) for r in rectangles)


def covers(rectangle: Rectangle, effective: date, known: int) -> bool:
    return (
        rectangle.effective_from <= effective < rectangle.effective_to
        and rectangle.known_from <= known < rectangle.known_to
    )


def expected_row(log: LogBuilder, as_of: AsOf) -> Any:
    """The list row as of a point, by a full fold."""
    snapshot = state_as_of(log.slug, log.events, as_of, DEALS)
    return list_row(snapshot.state) if snapshot.state is not None and snapshot.merged_into is None else None


def corners(rectangles: Sequence[Rectangle]) -> Iterator[tuple[date, int]]:
    """Every corner of every rectangle, and the points next to it."""
    days = {d for r in rectangles for d in (r.effective_from, r.effective_to) if date.min < d < END_OF_TIME}
    knowns = {k for r in rectangles for k in (r.known_from, r.known_to) if k < MAX_POSITION}
    for day in {d + timedelta(days=n) for d in days for n in (-1, 0)} | {date(2100, 1, 1)}:
        for known in {k + n for k in knowns for n in (-1, 0)} | {max(knowns, default=1) + 1}:
            yield day, known


def rows_by_clock(rectangles: Sequence[Rectangle], clock: bytes) -> list[Rectangle]:
    return [r for r in rectangles if r.clock == clock]


@QUICK
@given(log=logs(admitted=True), cuts=st.sets(st.integers(1, 13)))
async def test_incremental_rows_equal_the_rows_of_a_rebuild(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    rows = await rows_after(owner, log, cuts)

    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    assert order(rows_by_clock(rows, b"r")) == order(recorded_rectangles(stream))
    assert order(rows_by_clock(rows, b"p")) == order(published_rectangles(stream))
    assert order(rows) == order(rectangles(stream))


@QUICK
@given(log=logs_in_order(), cuts=st.sets(st.integers(1, 13)))
async def test_rows_of_events_in_order_are_written_once(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    assert is_chronological(stream)
    rows = order(rectangles(stream))
    assert rows == order([*recorded_rectangles(stream), *published_rectangles(stream)])
    assert rows == order(await rows_after(owner, log, cuts))


@QUICK
@given(log=logs(admitted=True), cuts=st.sets(st.integers(1, 13)))
async def test_index_terms_equal_those_of_a_rebuild_and_are_deleted_with_the_deal(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    rebuild_batch, delete_batch = WriteBatch(), WriteBatch()
    DealVersions().delete_rows([stream], delete_batch)
    DealVersions().rebuild([stream], rebuild_batch)
    async with rolled_back(owner):
        await apply(owner, log, cuts)
        rows = await owner.fetchrow(INDEXES)
        await delete_batch.execute(owner)
        after_delete = await owner.fetchrow(INDEXES)
        await rebuild_batch.execute(owner)
        rebuilt = await owner.fetchrow(INDEXES)

    assert rows == rebuilt
    assert after_delete is not None
    assert not any(after_delete)


@QUICK
@given(deal_logs=st.lists(logs(admitted=True), min_size=1, max_size=4), data=st.data())
async def test_list_pages_have_exactly_the_matching_deals_at_any_as_of_point(
    owner: asyncpg.Connection[asyncpg.Record], deal_logs: list[LogBuilder], data: st.DataObject
) -> None:
    streams: list[FoldedStream[Deal]] = [
        FoldedStream(slug, DEALS, [msgspec.structs.replace(event, slug=slug) for event in log.events])
        for slug, log in ((f"deal-{number}", log) for number, log in enumerate(deal_logs))
    ]
    clock = data.draw(st.sampled_from([b"r", b"p"]))
    all_rows = [r for stream in streams for r in rectangles(stream)]
    terms = sorted({term for r in all_rows for term in r.row.terms.split()} | {"sector:none"})
    day, known = data.draw(st.sampled_from(sorted(set(corners(rows_by_clock(all_rows, clock))))))
    required_terms = data.draw(st.lists(st.sampled_from(terms), unique=True, max_size=2))
    any_of = data.draw(st.none() | st.lists(st.sampled_from(terms), unique=True, min_size=1, max_size=2))
    text = data.draw(st.none() | st.sampled_from(["DEAL-1", "a deal", "nothing"]))
    descending, listed_first = data.draw(st.booleans()), data.draw(st.booleans())

    def matches(content: ListRow) -> bool:
        terms_of_row = set(content.terms.split())
        return (
            terms_of_row.issuperset(required_terms)
            and (any_of is None or not terms_of_row.isdisjoint(any_of))
            and (text is None or text.lower() in content.title.lower())
        )

    rebuild_batch = WriteBatch()
    DealVersions().rebuild(streams, rebuild_batch)
    deals: list[str] = []
    async with rolled_back(owner):
        await rebuild_batch.execute(owner)
        rows = None
        if text is not None and listed_first:
            rows = [row["deal"] for row in await owner.fetch(SELECT_TITLE_MATCHES, ilike_pattern(text))]
        page: Sequence[Any] = [None]
        while page:
            after = deals[-1] if deals else ""
            point = (clock.decode(), day, known)
            statement, arguments = page_query(
                point, after, 2, required_terms, any_of, rows, ilike_pattern(text), descending=descending
            )
            page = await owner.fetch(statement, *arguments)
            deals += [row["deal"] for row in page]

    terms_of_row = {r.deal: r.row for r in rows_by_clock(all_rows, clock) if covers(r, day, known)}
    assert deals == sorted((deal for deal, content in terms_of_row.items() if matches(content)), reverse=descending)


@QUICK
@given(log=logs(admitted=True))
def test_each_corner_of_each_rectangle_equals_the_full_fold(log: LogBuilder) -> None:
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)

    recorded = recorded_rectangles(stream)
    for day, position in corners(recorded):
        expected = expected_row(log, AsOf(effective_on=day, position=position))
        assert _rows_at(recorded, day, position) == ([] if expected is None else [expected])

    published = published_rectangles(stream)
    for day, number in corners(published):
        as_of = AsOf(effective_on=day, published_on=date.fromordinal(max(1, number)))
        expected = expected_row(log, as_of)
        assert _rows_at(published, day, number) == ([] if expected is None else [expected])


@QUICK
@given(log=logs(admitted=True))
def test_rectangles_of_a_deal_are_disjoint_half_open_and_not_empty(log: LogBuilder) -> None:
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    for drawn_rectangles in (recorded_rectangles(stream), published_rectangles(stream)):
        for r in drawn_rectangles:
            assert r.effective_from < r.effective_to
            assert r.known_from < r.known_to
        for a, b in combinations(drawn_rectangles, 2):
            apart = a.effective_to <= b.effective_from or b.effective_to <= a.effective_from
            assert apart or a.known_to <= b.known_from or b.known_to <= a.known_from


def _rows_at(rectangles: Sequence[Rectangle], day: date, known: int) -> list[Any]:
    return [r.row for r in rectangles if covers(r, day, known)]
