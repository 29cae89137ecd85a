"""Scales and ticks that the charts share."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

from msgspec import Struct


class Frame(Struct, frozen=True):
    """The size of a drawing and the edges of the plot inside it, in the drawing's units.

    A page has each chart twice: a wide window shows the first, a narrow one the second, so that text keeps its size.
    """

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def is_narrow(self) -> bool:
        return self.width < NARROW_BELOW


NARROW_BELOW = 640.0

# The range of days that a linear scale covers; earlier and later days stand at its ends.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 12, 31)
# Ticks stand this many months apart, at the smallest distance that fits.
_TICK_MONTHS = (1, 3, 6, 12, 24, 36, 60, 120, 240, 360, 600, 1200, 2400)
# Room for one tick's label.
_TICK_WIDTH = 78.0


class Tick(Struct, frozen=True):
    """A tick on the time axis: its position, and its month or year in EDTF."""

    x: float
    date: str


def clamp_day(day: date) -> date:
    """A day, or the nearest one that a linear scale covers."""
    return min(max(day, FIRST_DAY), LAST_DAY)


class LinearScale:
    """A linear scale of days between two positions. Days beyond its ends stand at the ends."""

    def __init__(self, first: date, last: date, left: float, right: float) -> None:
        self.first, self.last, self.left, self.right = first, last, left, right
        self._days = max(1, (last - first).days)

    def x(self, day: date) -> float:
        """The position of a day."""
        share = min(1.0, max(0.0, (day - self.first).days / self._days))
        return round(self.left + share * (self.right - self.left), 1)

    def ticks(self) -> list[Tick]:
        """Years, or months where the scale covers few."""
        first, last = (day.year * 12 + day.month - 1 for day in (self.first, self.last))
        most = max(2, (self.right - self.left) // _TICK_WIDTH)
        step = next(months for months in _TICK_MONTHS if (last - first) / months <= most)
        ticks: list[Tick] = []
        for index in range(first, last + 1):
            year, month = divmod(index, 12)
            day = date(year, month + 1, 1)
            if index % step == 0 and day >= self.first:
                yearly = step >= 12 or (month == 0 and step > 1)
                ticks.append(Tick(self.x(day), str(year) if yearly else f"{year}-{month + 1:02}"))
        return ticks


def day_number(moment: date | datetime) -> float:
    """A day or an instant as days since 1 January of year 1, in UTC."""
    if not isinstance(moment, datetime):
        return float(moment.toordinal())
    utc = moment.astimezone(UTC)
    midnight = datetime.combine(utc.date(), time.min, UTC)
    return utc.toordinal() + (utc - midnight) / timedelta(days=1)


class ChangeScale:
    """A scale on which every change has room.

    The distance between two changes grows with the logarithm of the days between them, so that years without a change
    take little room. Values are shares of the axis, from 0 to 1.
    """

    # Room before the first change, and after the last one, where its value continues.
    _LEAD, _TAIL = 0.35, 1.6

    def __init__(self, numbers: Iterable[float]) -> None:
        self._numbers = sorted(set(numbers))
        self._places = [0.0]
        for before, after in pairwise(self._numbers):
            self._places.append(self._places[-1] + 1 + 0.45 * math.log1p(after - before))

    def share(self, number: float) -> float:
        """The position of a number as a share of the axis."""
        numbers, places = self._numbers, self._places
        if number < numbers[0]:
            return 0.0
        if number > numbers[-1]:
            place = places[-1] + self._TAIL / 2
        else:
            i = bisect_right(numbers, number) - 1
            place = places[i]
            if number != numbers[i]:
                part = (number - numbers[i]) / (numbers[i + 1] - numbers[i])
                place += part * (places[i + 1] - places[i])
        return (place + self._LEAD) / (self._LEAD + places[-1] + self._TAIL)
