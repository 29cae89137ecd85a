"""Refuse appends while the service's clock cannot be trusted.

`recorded_at` never decreases: one append by a clock that is ten years ahead would date every later event ten years
ahead. The clock is therefore checked on each append, without a round trip of its own:

- against the release date of the software and against the monotonic clock, in this process, before anything is sent;
- against the database's clock, in the statement that appends, or in the query that reads the log's head under its lock.

Where the service and the database run on one host, both clocks can be wrong together. Then only the first two checks
are left; docs/operating.md says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

import registry
from registry.errors import ClockUnsafe, HealthWarning
from registry.infra.postgres import Connection, Pool

MAX_AHEAD = timedelta(seconds=5)
"""How far the service's clock may be ahead of the database's: an instant in the future stays in the log."""

DEFAULT_TOLERANCE = timedelta(seconds=60)

SELECT_CLOCK = """
SELECT clock_timestamp() AS now,
       (SELECT recorded_at FROM events ORDER BY position DESC LIMIT 1) AS last_recorded_at
"""


def utc_now() -> datetime:
    """The time of this machine's clock."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds of a clock that is never set, and that goes on while the machine sleeps where there is such a clock."""
    if hasattr(time, "clock_gettime"):
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    return time.monotonic()


class Reading(Struct, frozen=True):
    """The wall clock and the monotonic clock at one moment."""

    now: datetime
    monotonic: float


class ClockGuard:
    """Compare the service's clock with the release date, the monotonic clock and the database's clock.

    Args:
        tolerance: How far the clock may differ from the database's, and jump against the monotonic clock.
        clock: The clock to check.
        monotonic: Seconds of the monotonic clock.
    """

    def __init__(
        self,
        tolerance: timedelta = DEFAULT_TOLERANCE,
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._tolerance = tolerance
        self._clock = clock
        self._monotonic = monotonic
        self._last_reading: Reading | None = None
        self._last_append: Reading | None = None

    def read(self) -> Reading:
        """Read the clock.

        Raises:
            ClockUnsafe: It lies before the release date, or has jumped since the last append of this process.
        """
        reading = Reading(self._clock(), self._monotonic())
        if reading.now.date() < registry.RELEASED_ON:
            raise ClockUnsafe("before_release", now=reading.now, released_on=registry.RELEASED_ON)
        if self._last_append is not None:
            elapsed = timedelta(seconds=reading.monotonic - self._last_append.monotonic)
            jump = reading.now - self._last_append.now - elapsed
            if abs(jump) > self._tolerance:
                raise ClockUnsafe("jumped", seconds=_seconds(jump), limit=_seconds(self._tolerance))
        self._last_reading = reading
        return reading

    def database_range(self, reading: Reading) -> tuple[datetime, datetime]:
        """The earliest and the latest time that the database's clock may show now for this reading to be safe.

        A large batch is validated for some time after the reading.
        """
        now = reading.now + timedelta(seconds=self._monotonic() - reading.monotonic)
        return now - min(MAX_AHEAD, self._tolerance), now + self._tolerance

    def read_beside(self, database_now: datetime) -> Reading:
        """Read the clock, and compare it with what the database's clock has just shown.

        Raises:
            ClockUnsafe: As for `read`, or the two clocks differ too much.
        """
        reading = self.read()
        earliest, latest = self.database_range(reading)
        difference = reading.now - database_now
        if database_now < earliest:
            raise ClockUnsafe("ahead", seconds=_seconds(difference), limit=_seconds(min(MAX_AHEAD, self._tolerance)))
        if database_now > latest:
            raise ClockUnsafe("behind", seconds=_seconds(-difference), limit=_seconds(self._tolerance))
        return reading

    def appended(self) -> None:
        """Note that events were appended with the last reading."""
        self._last_append = self._last_reading

    async def check(self, connection: Connection | Pool) -> HealthWarning | None:
        """Check the clock for readiness and `registry doctor`.

        Returns:
            A warning if the last event's `recorded_at` lies in the future.

        Raises:
            ClockUnsafe: An append would be refused.
        """
        row = await connection.fetchrow(SELECT_CLOCK)
        assert row is not None
        self.read_beside(row["now"])
        last: datetime | None = row["last_recorded_at"]
        if last is None or last - row["now"] <= MAX_AHEAD:
            return None
        return HealthWarning("log_in_future", recorded_at=last, seconds=_seconds(last - row["now"]))


def _seconds(duration: timedelta) -> int:
    return round(duration.total_seconds())
