"""Recorded exchange rates as rows: what a file states, and what one import recorded.

The released migration 0001 imports this module by its name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

from msgspec import Struct

ISO_DAY = len("2025-10-29")


class RateRow(Struct, frozen=True):
    """A rate that a file states: units of `currency` for one unit of `base` on `day`."""

    source: str
    base: str
    currency: str
    day: date
    value: Decimal


class Quotes(Struct, frozen=True, kw_only=True):
    """The rates of one currency that one import recorded: units of `currency` for one unit of `base`.

    `number` counts the imports; 0 is the packaged history, which counts as recorded before position 1. An import
    applies to every later position than `position`, the log's head when it was made. `days` and `values` are
    comma-separated, in ascending order of the days; they are parsed on first use.
    """

    number: int
    position: int
    recorded_at: datetime | None
    source: str
    base: str
    currency: str
    days: str
    values: str

    def parsed(self) -> Iterable[tuple[date, Decimal]]:
        """Each day with its rate."""
        return zip(map(date.fromisoformat, self.days.split(",")), map(Decimal, self.values.split(",")), strict=True)

    def last_before(self, day: date) -> tuple[date, Decimal] | None:
        """The last rate on or before a day."""
        # Days have the same length, and most questions are about recent ones: a question needs a rate of each of some
        # thirty currencies, and splitting both texts held the event loop for 12 ms.
        number = (len(self.days) + 1) // (ISO_DAY + 1)
        at = bisect_right(range(number), day.isoformat(), key=self._day)
        if not at:
            return None
        later = number - at
        return date.fromisoformat(self._day(at - 1)), Decimal(self.values.rsplit(",", later + 1)[-later - 1])

    def _day(self, number: int) -> str:
        start = number * (ISO_DAY + 1)
        return self.days[start : start + ISO_DAY]


class Quote(Struct, frozen=True, kw_only=True):
    """One recorded rate: units of `currency` for one unit of `base`.

    `position` and `recorded_at` say when it was recorded: after that log position, at that instant; `recorded_at` is
    None for the packaged history.
    """

    source: str
    day: date
    base: str
    currency: str
    value: Decimal
    position: int
    recorded_at: datetime | None


def group_rows(
    rows: Iterable[RateRow], *, number: int = 0, position: int = 0, recorded_at: datetime | None = None
) -> list[Quotes]:
    """The rows as one import: `Quotes` for each source, base and currency. See `Quotes` for the arguments."""
    by_series: dict[tuple[str, str, str], dict[date, Decimal]] = {}
    for row in rows:
        by_series.setdefault((row.source, row.base, row.currency), {})[row.day] = row.value
    return [
        Quotes(
            number=number,
            position=position,
            recorded_at=recorded_at,
            source=source,
            base=base,
            currency=currency,
            days=",".join(str(day) for day in sorted(values)),
            values=",".join(f"{values[day]:f}" for day in sorted(values)),
        )
        for (source, base, currency), values in sorted(by_series.items())
    ]
