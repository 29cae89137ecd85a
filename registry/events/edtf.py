"""Dates as precise as their source: EDTF (ISO 8601-2), as their first and last possible day, and their precision.

Levels 0 and 1, and the quarters of level 2: the third quarter of 2021 is `2021-35`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta
from functools import lru_cache
from time import struct_time
from typing import Literal

# Levels 0 and 1 with years of four digits. A season is a month from 21 to 24. Only the last part may be unspecified.
_DATE = r"(?:[0-9]{4}(?:-[0-9]{2}(?:-(?:[0-9]{2}|XX))?|-XX(?:-XX)?)?|[0-9]{3}X|[0-9]{2}XX)[?~%]?"
_LEVEL_1 = re.compile(rf"{_DATE}|(?:{_DATE}|\.\.)?/(?:{_DATE}|\.\.)?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COMMON = re.compile(r"([0-9]{4})(?:-([01][0-9])(?:-([0-9]{2}))?)?[?~%]?")
"""A year, a month or a day, also uncertain or approximate."""

_QUARTER = re.compile(r"([0-9]{4})-3([3-6])([?~%]?)")

Precision = Literal["day", "month", "quarter", "season", "year", "decade", "century", "interval"]
"""How precise a loose date is."""

# By the form of the text, without "about" and "uncertain".
_PRECISIONS: tuple[tuple[re.Pattern[str], Precision], ...] = (
    (re.compile(r".*/.*"), "interval"),
    (re.compile(r"[0-9]{4}-3[3-6]"), "quarter"),
    (re.compile(r"[0-9]{4}-2[1-4]"), "season"),
    (_DAY, "day"),
    (re.compile(r"[0-9]{4}-[0-9]{2}(-XX)?"), "month"),
    (re.compile(r"[0-9]{4}(-XX){0,2}"), "year"),
    (re.compile(r"[0-9]{3}X"), "decade"),
    (re.compile(r"[0-9]{2}XX"), "century"),
)


@lru_cache(maxsize=10_000)
def last_day(text: str) -> date:
    """The last day that a date can mean: 2031-12-31 for "2031", the last date of all for an open end.

    Raises:
        ValueError: The text is not an EDTF date.
    """
    return _last_or_first_day(text, "upper_strict", date.max)


@lru_cache(maxsize=10_000)
def first_day(text: str) -> date:
    """The first day that a date can mean: 2031-01-01 for "2031".

    Raises:
        ValueError: The text is not an EDTF date.
    """
    return _last_or_first_day(text, "lower_strict", date.min)


def _last_or_first_day(text: str, which: str, open_end: date) -> date:
    # Most dates are not given to the library, which takes 4 to 10 ms of processor time for one.
    try:
        days = _days(text)
    except ValueError:
        raise _not_edtf(text) from None
    if days is not None:
        return days[0] if which == "lower_strict" else days[1]

    # Imported here, because the library compiles its grammar then: a sixth of the start of a command.
    from edtf import EDTFParseException, parse_edtf

    try:
        if quarter := _QUARTER.fullmatch(text):
            return _quarter_bound(int(quarter[1]), int(quarter[2]) - 3, which)
        # Checked before parsing: the library also parses level 2, and prints to stdout when that fails.
        if not _LEVEL_1.fullmatch(text):
            raise ValueError
        bound: struct_time | float = getattr(parse_edtf(text), which)()
        if isinstance(bound, float):
            return open_end
        day = date(bound.tm_year, bound.tm_mon, bound.tm_mday)
    except (EDTFParseException, ValueError, AttributeError, TypeError):
        raise _not_edtf(text) from None
    return day


def _days(text: str) -> tuple[date, date] | None:
    """The first and the last day of a date in a common form, or of an interval of two such; None for other forms.

    Raises:
        ValueError: There is no such date.
    """
    start, slash, end = text.partition("/")
    if not slash:
        return _days_of_part(text)
    try:
        first, last = (_OPEN if part == ".." else _days_of_part(part) for part in (start, end))
    except ValueError:
        return None
    return (first[0], last[1]) if first is not None and last is not None else None


_OPEN = date.min, date.max


def _days_of_part(text: str) -> tuple[date, date] | None:
    found = _COMMON.fullmatch(text)
    if found is None:
        return None
    year, month, day = int(found[1]), found[2], found[3]
    if day is not None:
        return date(year, int(month), int(day)), date(year, int(month), int(day))
    if month is None:
        return date(year, 1, 1), date(year, 12, 31)
    first = date(year, int(month), 1)
    return first, first.replace(day=monthrange(year, first.month)[1])


def _not_edtf(text: str) -> ValueError:
    return ValueError(f"'{text}' is not an EDTF level 0 or 1 date")


def _quarter_bound(year: int, quarter: int, which: str) -> date:
    """The first or the last day of a quarter; `quarter` counts from 0."""
    if which == "lower_strict":
        return date(year, 3 * quarter + 1, 1)
    after = date(year, 3 * quarter + 4, 1) if quarter < 3 else date(year + 1, 1, 1)
    return after - timedelta(days=1)


@lru_cache(maxsize=10_000)
def precision(text: str) -> Precision:
    """How precise an EDTF date is.

    Raises:
        ValueError: The text is not an EDTF date.
    """
    last_day(text)
    plain = text.rstrip("?~%")
    return next(name for pattern, name in _PRECISIONS if pattern.fullmatch(plain))


def quarter_as_edtf(text: str) -> str:
    """A quarter as people write it (`2021-Q3`, `2021Q3`) in EDTF; any other text as it is."""
    quarter = re.fullmatch(r"([0-9]{4})[- ]?[Qq]([1-4])", text.strip())
    return text if quarter is None else f"{quarter[1]}-3{int(quarter[2]) + 2}"


def effective_day(text: str, published_on: date | None) -> date:
    """The day from which a statement with a loose date holds: the last day that the date can mean.

    A report of something done cannot be about the future, so it is not later than the day of publication, unless that
    lies before the first possible day.

    Args:
        text: The EDTF date. It has a last day.
        published_on: The earliest day on which a source was published; None if no source is dated.

    Raises:
        ValueError: The text is not an EDTF date.
    """
    last = last_day(text)
    if published_on is None or published_on < first_day(text):
        return last
    return min(last, published_on)
