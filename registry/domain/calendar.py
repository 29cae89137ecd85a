"""The registry's calendar: which day it is, on which day an instant falls, and when a day begins.

Instants are UTC everywhere. A day needs a time zone, the one of `REGISTRY_TIME_ZONE`. The dates of announcements are
never shifted by it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def _now() -> datetime:
    return datetime.now(UTC)


class Calendar:
    """Days in one time zone.

    Args:
        zone: The IANA name of the time zone.
        clock: Returns the current instant.
    """

    def __init__(self, zone: str = "UTC", clock: Callable[[], datetime] = _now) -> None:
        self.zone = ZoneInfo(zone)
        self.now = clock

    def today(self) -> date:
        """The current day."""
        return self.day_of(self.now())

    def day_of(self, instant: datetime) -> date:
        """The day on which an instant falls; the first or last day there is for an instant outside of them."""
        try:
            return instant.astimezone(self.zone).date()
        except OverflowError:
            return date.min if instant.year == 1 else date.max

    def start_of(self, day: date) -> datetime:
        """The first instant of a day, in UTC.

        Where clocks skip or repeat midnight, it is the instant of the change or the earlier midnight (PEP 495, fold 0).
        """
        try:
            return datetime.combine(day, time.min, self.zone).astimezone(UTC)
        except OverflowError:
            return datetime.combine(day, time.min, UTC)

    def end_of(self, day: date) -> datetime:
        """The last instant of a day, in UTC: the microsecond before the next day begins."""
        if day == date.max:
            return datetime.max.replace(tzinfo=UTC)
        return self.start_of(day + DAY) - MICROSECOND
