"""A large batch has as much more time as it has events: it is recorded where a small one would count as stuck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import date, timedelta

import pytest

from registry.append import clock, commit_health
from registry.append.clock import ClockGuard
from registry.append.requests import AppendRequest
from registry.domain.calendar import Calendar
from registry.errors import DatabaseUnavailable
from registry.events import log_lock, write_batch
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
