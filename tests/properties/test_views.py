"""Properties 7 and 8 on the real table: rectangles drawn event by event are those of a rebuild, corners the fold."""

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
from registry.projections.deal_versions import (
    END_OF_TIME,
    MAX_POSITION,
    DealVersions,
    ListRow,
    Rectangle,
    is_chronological,
    listed,
    rectangles,
    rectangles_published,
    rectangles_recorded,
)
from registry.projections.projection import AppliedChange
from tests.domain.builders import LogBuilder
from tests.properties.strategies import logs, logs_in_order

ROWS = """
SELECT clock, deal, effective_from, effective_to, known_from, known_to,
       state, array_to_string(terms, ' ') AS terms, title, row, totals, kind, amount::text, pledges
  FROM deal_versions
  JOIN deal_states USING (deal, state)
"""

INDEXES = """
SELECT array(SELECT t FROM deal_terms AS t ORDER BY t) AS terms,
       array(SELECT t FROM deal_titles AS t ORDER BY t) AS titles
"""

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def steps_of(log: LogBuilder) -> Iterator[AppliedChange]:
    """The log as it grew: each event with its stream before and after, as the recorder hands them to a view."""
    history: FoldedStream[Deal] = FoldedStream(log.slug, DEALS)
    erased = {e.id for e in log.events if e.event is None}
    for recorded in log.events:
        after = history.copy()
        after.append(recorded)
        erases = isinstance(recorded.event, EventRedacted) and recorded.event.redacts in erased
        yield AppliedChange(recorded, history, after, erased=erases)
        history = after


def groups(steps: Sequence[AppliedChange], cuts: set[int]) -> Iterator[list[AppliedChange]]:
    """The steps in the groups that a recorder may have committed them in."""
    group: list[AppliedChange] = []
    for i, step in enumerate(steps):
        if i in cuts and group:
            yield group
            group = []
        group.append(step)
    if group:
        yield group


async def drawn(connection: Any, log: LogBuilder, cuts: set[int]) -> list[Rectangle]:
    """The table's rows after the log was applied group by group; the table is as it was afterwards."""
    async with undone(connection):
        await apply(connection, log, cuts)
        return [_rectangle(row) for row in await connection.fetch(ROWS)]


@asynccontextmanager
async def undone(connection: Any) -> AsyncIterator[None]:
    """Whatever is done meanwhile is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def apply(connection: Any, log: LogBuilder, cuts: set[int]) -> None:
    for group in groups(list(steps_of(log)), cuts):
        writes, pending = WriteBatch(), DealVersions().start_batch()
        for step in group:
            pending.apply(step)
        pending.write(writes)
        await writes.execute(connection)


def _rectangle(row: Sequence[Any]) -> Rectangle:
    clock, deal, effective_from, effective_to, known_from, known_to, *what = row
    return Rectangle(clock, deal, effective_from, effective_to, known_from, known_to, ListRow(*what))


def order(rectangles: Sequence[Rectangle]) -> list[tuple[Any, ...]]:
    return sorted(msgspec.structs.astuple(r) for r in rectangles)


def covers(rectangle: Rectangle, effective: date, known: int) -> bool:
    return (
        rectangle.effective_from <= effective < rectangle.effective_to
        and rectangle.known_from <= known < rectangle.known_to
    )


def shown(log: LogBuilder, clocks: AsOf) -> Any:
    """What a list shows at a point in time, by the fold of everything."""
    seen = state_as_of(log.slug, log.events, clocks, DEALS)
    return listed(seen.state) if seen.state is not None and seen.merged_into is None else None


def corners(rectangles: Sequence[Rectangle]) -> Iterator[tuple[date, int]]:
    """Every corner of every rectangle, and the points right beside it."""
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
    found = await drawn(owner, log, cuts)

    history: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    assert order(rows_by_clock(found, b"r")) == order(rectangles_recorded(history))
    assert order(rows_by_clock(found, b"p")) == order(rectangles_published(history))
    assert order(found) == order(rectangles(history))


@QUICK
@given(log=logs_in_order(), cuts=st.sets(st.integers(1, 13)))
async def test_rows_of_events_in_order_are_written_once(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    history: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    assert is_chronological(history)
    found = order(rectangles(history))
    assert found == order([*rectangles_recorded(history), *rectangles_published(history)])
    assert found == order(await drawn(owner, log, cuts))


@QUICK
@given(log=logs(admitted=True), cuts=st.sets(st.integers(1, 13)))
async def test_index_terms_equal_those_of_a_rebuild_and_are_deleted_with_the_deal(
    owner: asyncpg.Connection[asyncpg.Record], log: LogBuilder, cuts: set[int]
) -> None:
    history: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    anew, gone = WriteBatch(), WriteBatch()
    DealVersions().delete_rows([history], gone)
    DealVersions().rebuild([history], anew)
    async with undone(owner):
        await apply(owner, log, cuts)
        found = await owner.fetchrow(INDEXES)
        await gone.execute(owner)
        forgotten = await owner.fetchrow(INDEXES)
        await anew.execute(owner)
        rebuilt = await owner.fetchrow(INDEXES)

    assert found == rebuilt
    assert forgotten is not None
    assert not any(forgotten)


@QUICK
@given(told=st.lists(logs(admitted=True), min_size=1, max_size=4), data=st.data())
async def test_list_pages_have_exactly_the_matching_deals_at_any_as_of_point(
    owner: asyncpg.Connection[asyncpg.Record], told: list[LogBuilder], data: st.DataObject
) -> None:
    histories: list[FoldedStream[Deal]] = [
        FoldedStream(slug, DEALS, [msgspec.structs.replace(event, slug=slug) for event in log.events])
        for slug, log in ((f"deal-{number}", log) for number, log in enumerate(told))
    ]
    clock = data.draw(st.sampled_from([b"r", b"p"]))
    every = [r for history in histories for r in rectangles(history)]
    terms = sorted({term for r in every for term in r.what.terms.split()} | {"sector:none"})
    day, known = data.draw(st.sampled_from(sorted(set(corners(rows_by_clock(every, clock))))))
    wanted = data.draw(st.lists(st.sampled_from(terms), unique=True, max_size=2))
    any_of = data.draw(st.none() | st.lists(st.sampled_from(terms), unique=True, min_size=1, max_size=2))
    text = data.draw(st.none() | st.sampled_from(["DEAL-1", "a deal", "nothing"]))
    descending, listed_first = data.draw(st.booleans()), data.draw(st.booleans())

    def fits(what: ListRow) -> bool:
        held = set(what.terms.split())
        return (
            held.issuperset(wanted)
            and (any_of is None or not held.isdisjoint(any_of))
            and (text is None or text.lower() in what.title.lower())
        )

    anew = WriteBatch()
    DealVersions().rebuild(histories, anew)
    deals: list[str] = []
    async with undone(owner):
        await anew.execute(owner)
        found = None
        if text is not None and listed_first:
            found = [row["deal"] for row in await owner.fetch(SELECT_TITLE_MATCHES, ilike_pattern(text))]
        page: Sequence[Any] = [None]
        while page:
            after = deals[-1] if deals else ""
            point = (clock.decode(), day, known)
            statement, arguments = page_query(
                point, after, 2, wanted, any_of, found, ilike_pattern(text), descending=descending
            )
            page = await owner.fetch(statement, *arguments)
            deals += [row["deal"] for row in page]

    held = {r.deal: r.what for r in rows_by_clock(every, clock) if covers(r, day, known)}
    assert deals == sorted((deal for deal, what in held.items() if fits(what)), reverse=descending)


@QUICK
@given(log=logs(admitted=True))
def test_each_corner_of_each_rectangle_equals_the_full_fold(log: LogBuilder) -> None:
    history: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)

    recorded = rectangles_recorded(history)
    for day, position in corners(recorded):
        expected = shown(log, AsOf(effective_on=day, position=position))
        assert _held(recorded, day, position) == ([] if expected is None else [expected])

    published = rectangles_published(history)
    for day, number in corners(published):
        clocks = AsOf(effective_on=day, published_on=date.fromordinal(max(1, number)))
        expected = shown(log, clocks)
        assert _held(published, day, number) == ([] if expected is None else [expected])


@QUICK
@given(log=logs(admitted=True))
def test_rectangles_of_a_deal_are_disjoint_half_open_and_not_empty(log: LogBuilder) -> None:
    history: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events)
    for drawn_ in (rectangles_recorded(history), rectangles_published(history)):
        for r in drawn_:
            assert r.effective_from < r.effective_to
            assert r.known_from < r.known_to
        for a, b in combinations(drawn_, 2):
            apart = a.effective_to <= b.effective_from or b.effective_to <= a.effective_from
            assert apart or a.known_to <= b.known_from or b.known_to <= a.known_from


def _held(rectangles: Sequence[Rectangle], day: date, known: int) -> list[Any]:
    return [r.what for r in rectangles if covers(r, day, known)]
