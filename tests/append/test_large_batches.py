"""A large batch has as much more time as it has events: it is recorded where a small one would count as stuck."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

import pytest

from registry.append import batch, clock, commit_health
from registry.append.clock import ClockGuard
from registry.append.requests import AppendRequest, SubmissionError
from registry.domain.calendar import Calendar
from registry.errors import DatabaseUnavailable, Invalid
from registry.events import log_lock, write_batch
from registry.infra import threads
from registry.projections.facts import changes, groups, projection
from tests.append.conftest import Owner, Pool
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.databases import ScratchDatabase

EVENTS = 1_000
"""They have five seconds more."""

SLOW_INSERT = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(1);
    RETURN NULL;
END
$$;
CREATE TRIGGER slow AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


def large(deal: str) -> AppendRequest:
    return request(deal, REGISTERED, *(pledged(f"p-{n}") for n in range(EVENTS - 1)))


class SlowCalendar(Calendar):
    """Validation asks for the day between the statements of a transaction that holds the log's lock."""

    seconds = 1.5

    def today(self) -> date:
        time.sleep(self.seconds)
        return super().today()


async def test_validation_under_the_lock(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lock, "IDLE_SECONDS", 1)
    # A recorder validates its first batch under the lock.
    async with running_recorder(database.app_url, calendar=SlowCalendar()) as first:
        with pytest.raises(DatabaseUnavailable):
            await first.record(request("small", REGISTERED))
        assert (await first.record(large("large"))).version == EVENTS
    assert len(await positions(pool)) == EVENTS


async def test_statement_that_writes(
    database: ScratchDatabase, owner: Owner, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("before", REGISTERED))
        await owner.execute(SLOW_INSERT)
        monkeypatch.setattr(log_lock, "LOCK_TIMEOUT_SECONDS", 0.5)
        with pytest.raises(DatabaseUnavailable):
            await recorder.record(request("small", REGISTERED))
        await wait_for(lambda: is_quiet(owner))
        before = len(await positions(pool))
        assert (await recorder.record(large("large"))).version == EVENTS
    assert len(await positions(pool)) == before + EVENTS


COUNT_ROWS = """
CREATE TABLE written (rows bigint);
GRANT INSERT ON written TO PUBLIC;
CREATE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO written SELECT count(*) FROM added;
    RETURN NULL;
END
$$;
"""

COUNT_INSERTS = f"""
{COUNT_ROWS}
CREATE TRIGGER count_rows AFTER INSERT ON mentions REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
"""

COUNT_CHANGES = f"""
{COUNT_ROWS}
CREATE TRIGGER count_rows AFTER UPDATE ON pledge_facts REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
"""


async def test_rows_are_written_by_several_statements_of_one_transaction(
    database: ScratchDatabase, owner: Owner, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The arguments of a statement are encoded on the event loop, so a statement has few rows."""
    monkeypatch.setattr(write_batch, "MAX_ROWS", 5)
    await owner.execute(COUNT_INSERTS)
    sources = [{"publisher": f"P {n}", "url": f"https://p.example/{n}"} for n in range(3)]
    many = [pledged(f"p-{n}", sources=sources) for n in range(9)]
    async with running_recorder(database.app_url) as first, running_recorder(database.app_url) as second:
        await first.record(request("a", REGISTERED, *many))
        # Validated without the lock, and refused by the head that the other recorder has moved.
        await second.record(request("b", REGISTERED, *many))
        # Each changes rows of the statements before, on both axes: the second is about an earlier day.
        for value, day in (("7", "2025-07-01"), ("8", "2025-06-20")):
            revised = [pledged(f"p-{n}", value, day, sources=sources) for n in range(9)]
            for one in revised:
                one["event"]["type"] = "pledge_revised"
            await first.record(request("a", *revised))
    rows = [row["rows"] for row in await owner.fetch("SELECT rows FROM written")]
    assert max(rows) == 5
    assert sum(rows) == 3 * 4 * 9
    assert await positions(pool) == list(range(1, 39))
    await assert_projections_match_log(database)


async def test_changes_of_a_deal_are_in_one_statement(
    database: ScratchDatabase, owner: Owner, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of several deals are not, because arguments are encoded on the event loop."""
    monkeypatch.setattr(write_batch, "MAX_ROWS", 5)
    pledges = [pledged(f"p-{n}") for n in range(9)]
    revised = [pledged(f"p-{n}", "7", "2025-07-01") for n in range(9)]
    for one in revised:
        one["event"]["type"] = "pledge_revised"
    async with running_recorder(database.app_url) as running:
        await running.record_all([request(deal, REGISTERED, *pledges) for deal in "abc"])
        await owner.execute(COUNT_CHANGES)
        await running.record_all([request(deal, *revised) for deal in "abc"])
    rows = [row["rows"] for row in await owner.fetch("SELECT rows FROM written WHERE rows > 0")]
    assert rows == [9, 9, 9]
    await assert_projections_match_log(database)


async def test_a_look_at_the_log_that_fails(
    database: ScratchDatabase, owner: Owner, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look may fail on a machine that is overloaded: it must not end a large batch that goes on."""
    monkeypatch.setattr(commit_health, "STUCK_SECONDS", 0.0)
    async with running_recorder(database.app_url) as running:
        await running.record(request("before", REGISTERED))
        await owner.execute(SLOW_INSERT)
        recording = asyncio.create_task(running.record(large("large")))
        await wait_for(lambda: is_writing(owner))
        await running.abandon_stuck_batch()
        assert (await recording).version == EVENTS
    assert len(await positions(pool)) == EVENTS + 1


def test_clock_of_the_database_may_go_on_while_a_batch_is_validated() -> None:
    now = clock.utc_now()
    seconds = 0.0
    guard = ClockGuard(timedelta(seconds=10), clock=lambda: now, monotonic=lambda: seconds)
    reading = guard.read()
    seconds = 120.0
    earliest, latest = guard.database_range(reading)
    assert earliest <= now + timedelta(seconds=120) <= latest
    assert not earliest <= now + timedelta(seconds=140) <= latest
    assert not earliest <= now + timedelta(seconds=100) <= latest


async def is_writing(owner: Owner) -> bool:
    return bool(await owner.fetchval("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"))


async def is_quiet(owner: Owner) -> bool:
    return not await is_writing(owner)


async def wait_for(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - Postgres has no notification for it
        await asyncio.sleep(0.02)


async def test_event_that_may_change_all_of_a_long_deal_is_projected_in_a_thread(
    database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    working: list[tuple[str, bool]] = []

    def spied(original: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*args: Any, **kwargs: Any) -> Any:
            working.append((original.__name__, threading.current_thread() is threading.main_thread()))
            return original(*args, **kwargs)

        return spy

    async with running_recorder(database.app_url, database.owner_url) as recorder:
        recorded = await recorder.record(request("plant", REGISTERED, *(pledged(f"p-{n}") for n in range(20))))
        registered, pledge = (str(event.id) for event in recorded.events[:2])
        monkeypatch.setattr(threads, "LONG", 10)
        monkeypatch.setattr(changes, "all_rectangles", spied(changes.all_rectangles))
        monkeypatch.setattr(projection, "replay", spied(projection.replay))
        renamed = {"type": "deal_registered", "title": {"en": "Another plant"}}
        corrected = {
            "type": "event_corrected",
            "corrects": registered,
            "replacement": {"event": renamed},
            "reason": "x",
        }
        await recorder.record(request("plant", {"event": corrected}))
        assert working == [("all_rectangles", False)] * 2
        working.clear()
        redacted = {"type": "event_redacted", "redacts": pledge, "reason": "law"}
        await recorder.record(request("plant", {"event": redacted}))
        assert working == [("replay", False), *[("all_rectangles", False)] * 2]
    await assert_projections_match_log(database)


async def test_list_that_takes_too_long_is_refused_before_it_holds_up_others(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_PROCESSOR_SECONDS", 0)
    async with running_recorder(database.app_url, name="held") as held:
        await held.record(request("first", REGISTERED))
        with pytest.raises(Invalid) as refused:
            await held.record(request("list", REGISTERED, pledged("one")))
        assert [error.pointer for error in refused.value.field_errors] == ["/1"]
        with pytest.raises(SubmissionError) as refused_line:
            await held.record_all([request("list", REGISTERED), request("another", REGISTERED)])
        assert refused_line.value.number == 1
        assert (await held.record(request("other", REGISTERED))).version == 1
    assert len(await positions(pool)) == 2


async def test_recorded_list_is_confirmed_although_it_would_take_too_long_now(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = request("list", REGISTERED, pledged("one"), idempotency_key="once")
    async with running_recorder(database.app_url) as recorder:
        recorded = await recorder.record(listed)
        monkeypatch.setattr(batch, "MAX_PROCESSOR_SECONDS", 0)
        repeated = await recorder.record(listed)
        assert not repeated.new
        assert [*repeated.events] == [*recorded.events]
    assert len(await positions(pool)) == 2


async def test_events_that_are_not_the_last_of_a_long_deal_are_projected_in_a_thread_once(
    database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    working: list[bool] = []
    original = groups.new_group

    def spy(*args: Any, **kwargs: Any) -> Any:
        working.append(threading.current_thread() is threading.main_thread())
        return original(*args, **kwargs)

    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("plant", REGISTERED, *(pledged(f"p-{n}") for n in range(20))))
        monkeypatch.setattr(threads, "LONG", 10)
        monkeypatch.setattr(changes, "new_group", spy)
        for n in range(2):
            await recorder.record(request("plant", pledged(f"earlier-{n}", day="2020-01-01")))
    # The second one finds what the first one has cached.
    assert working[0] is False
    assert working[-1] is True
    await assert_projections_match_log(database)
