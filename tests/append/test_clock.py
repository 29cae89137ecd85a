"""A wrong clock cannot poison the log: appends are refused while the service's clock cannot be trusted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

import registry
from registry.append.clock import ClockGuard
from registry.append.recorder import Recorder
from registry.errors import ClockUnsafe
from tests.append.conftest import Owner, Pool
from tests.append_helpers import REGISTERED, pledged, positions, request, running_recorder
from tests.databases import ScratchDatabase

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


class WrongClock:
    """A clock that is ahead of this machine's by a duration, which a test may change."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self.ahead = ahead

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.mark.parametrize(
    ("ahead", "case"),
    [
        (timedelta(days=3653), "ahead"),
        (timedelta(minutes=40), "ahead"),
        (timedelta(seconds=7), "ahead"),
        (-timedelta(minutes=2), "behind"),
        (-timedelta(days=3653), "before_release"),
    ],
)
async def test_wrong_clock_records_nothing_in_an_empty_log(
    database: ScratchDatabase, pool: Pool, ahead: timedelta, case: str
) -> None:
    async with running_recorder(database.app_url, clock=WrongClock(ahead)) as recorder:
        for _ in range(2):
            with pytest.raises(ClockUnsafe) as refused:
                await recorder.record(request("plant", REGISTERED))
            assert refused.value.case == case
        with pytest.raises(ClockUnsafe):
            await recorder.log_writer.clock_guard.check(pool)
    assert await positions(pool) == []


async def test_of_two_services_40_minutes_apart_the_wrong_one_refuses(database: ScratchDatabase, pool: Pool) -> None:
    async with (
        running_recorder(database.app_url) as right,
        running_recorder(database.app_url, clock=WrongClock(timedelta(minutes=40))) as wrong,
    ):
        for n in range(3):
            await right.record(request(f"plant-{n}", REGISTERED))
            with pytest.raises(ClockUnsafe):
                await wrong.record(request(f"plant-{n}", pledged()))
    assert await positions(pool) == [1, 2, 3]
    assert await pool.fetchval("SELECT max(recorded_at) FROM events") <= datetime.now(UTC)


@pytest.mark.parametrize("ahead", [timedelta(days=3653), timedelta(minutes=40), timedelta(seconds=7)])
async def test_clock_set_wrong_between_appends_is_noticed_by_the_one_statement(
    database: ScratchDatabase, pool: Pool, ahead: timedelta
) -> None:
    """The second append needs no look under the lock: the statement itself compares the clocks."""
    clock = WrongClock()
    async with running_recorder(database.app_url, clock=clock) as recorder:
        await recorder.record(request("plant", REGISTERED))
        clock.ahead = ahead
        with pytest.raises(ClockUnsafe):
            await recorder.record(request("plant", pledged()))
        clock.ahead = timedelta(0)
        assert (await recorder.record(request("plant", pledged()))).version == 2
        assert await recorder.log_writer.clock_guard.check(pool) is None


async def test_every_queued_request_is_refused_and_the_recorder_goes_on(database: ScratchDatabase, pool: Pool) -> None:
    clock = WrongClock(timedelta(hours=1))
    async with running_recorder(database.app_url, clock=clock) as recorder:
        outcomes = await asyncio.gather(
            *(recorder.record(request(f"plant-{n}", REGISTERED)) for n in range(50)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {ClockUnsafe}
        clock.ahead = timedelta(0)
        assert (await recorder.record(request("plant", REGISTERED))).new
    assert await positions(pool) == [1]


async def test_tolerance_widens_how_far_the_clock_may_be_behind_but_not_ahead(
    database: ScratchDatabase, pool: Pool
) -> None:
    clock = WrongClock(-timedelta(minutes=2))
    hour = timedelta(hours=1)
    async with running_recorder(database.app_url, clock=clock, clock_tolerance=hour) as recorder:
        assert (await recorder.record(request("plant", REGISTERED))).new
        clock.ahead = timedelta(minutes=2)
        with pytest.raises(ClockUnsafe):
            await recorder.record(request("plant", pledged()))


async def test_log_that_ends_in_the_future_is_reported_and_can_be_appended_to(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    await recorder.record(request("plant", REGISTERED))
    assert await recorder.log_writer.clock_guard.check(pool) is None
    await owner.execute("ALTER TABLE events DISABLE TRIGGER events_are_immutable")
    await owner.execute("UPDATE events SET recorded_at = recorded_at + interval '10 years'")
    async with running_recorder(database.app_url) as later:
        warning = await later.log_writer.clock_guard.check(pool)
        assert warning is not None
        assert warning.code == "log_in_future"
        assert (await later.record(request("plant", pledged()))).version == 2
    first, second = await pool.fetch("SELECT recorded_at FROM events ORDER BY position")
    assert first == second


class Clocks:
    """The wall clock and the monotonic clock of a machine."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 100.0

    def sleep(self, seconds: float, wall: float | None = None) -> None:
        self.seconds += seconds
        self.now += timedelta(seconds=seconds if wall is None else wall)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def guard(clocks: Clocks) -> ClockGuard:
    return ClockGuard(clock=lambda: clocks.now, monotonic=lambda: clocks.seconds)


@pytest.mark.parametrize("wall", [3600.0 + 61, 3600.0 - 61])
def test_wall_clock_that_jumps_after_an_append_is_unsafe_until_it_is_set_back(
    clocks: Clocks, guard: ClockGuard, wall: float
) -> None:
    guard.read()
    clocks.sleep(10, wall=10_000)
    guard.read()
    guard.appended()
    clocks.sleep(3600, wall)
    with pytest.raises(ClockUnsafe) as refused:
        guard.read()
    assert refused.value.case == "jumped"
    clocks.sleep(10, wall=10 + 3600 - wall)
    guard.read()


def test_wall_clock_that_is_slewed_within_the_tolerance_is_safe(clocks: Clocks, guard: ClockGuard) -> None:
    for _ in range(10):
        guard.read()
        guard.appended()
        clocks.sleep(86_400, wall=86_400 - 50)
    guard.read()


def test_clock_before_the_release_date_is_unsafe() -> None:
    day = datetime(registry.RELEASED_ON.year, registry.RELEASED_ON.month, registry.RELEASED_ON.day, tzinfo=UTC)
    with pytest.raises(ClockUnsafe):
        ClockGuard(clock=lambda: day - timedelta(seconds=1)).read()
    assert ClockGuard(clock=lambda: day).read().now == day


@pytest.mark.parametrize(("difference", "is_safe"), [(5, True), (6, False), (-60, True), (-61, False)])
def test_clock_is_compared_with_the_databases(
    clocks: Clocks, guard: ClockGuard, difference: int, is_safe: bool
) -> None:
    database_now = NOW - timedelta(seconds=difference)
    earliest, latest = guard.database_range(guard.read())
    assert (earliest <= database_now <= latest) is is_safe
    if is_safe:
        assert guard.read_beside(database_now).now == NOW
    else:
        with pytest.raises(ClockUnsafe):
            guard.read_beside(database_now)
