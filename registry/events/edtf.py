"""Dates as precise as their source: EDTF (ISO 8601-2), as their first and last possible day, and their precision.

Levels 0 and 1, and the quarters of level 2: the third quarter of 2021 is `2021-35`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from functools import lru_cache
from typing import Literal, TypeAlias

# A date of levels 0 and 1, with a year of four digits.
_DATE = re.compile(
    r"(?:(?P<year>[0-9]{4})"
    r"(?:-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12][0-9]|3[01]|XX))?"
    r"|-(?P<part>2[1-4])|-(?P<any_month>XX)(?P<any_day>-XX)?)?"
    r"|(?P<decade>[0-9]{3})X|(?P<century>[0-9]{2})XX)(?P<about>[?~%]?)"
)
_PART = re.compile(r"(?P<year>[0-9]{4})-(?P<part>2[1-9]|3[0-9]|4[01])(?P<about>[?~%]?)")

_SPRING, _SUMMER, _AUTUMN, _WINTER = (3, 3), (6, 3), (9, 3), (12, 1)
_OF_YEAR = (
    *(_SPRING, _SUMMER, _AUTUMN, _WINTER),
    # Of the northern hemisphere, and of the southern one.
    *(_SPRING, _SUMMER, _AUTUMN, _WINTER),
    *(_AUTUMN, _WINTER, _SPRING, _SUMMER),
    # Quarters, thirds and halves.
    *((1, 3), (4, 3), (7, 3), (10, 3)),
    *((1, 4), (5, 4), (9, 4)),
    *((1, 6), (7, 6)),
)
_PARTS = dict(enumerate(_OF_YEAR, 21))
"""The first month of each part of a year, and how many months it has. Winter ends with the year."""

_MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Bound = Literal["first", "last"]
Day: TypeAlias = tuple[int, int, int]
"""A year, which may be one that `date` does not have, a month and a day."""

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
    return _last_or_first_day(text, "last")


@lru_cache(maxsize=10_000)
def first_day(text: str) -> date:
    """The first day that a date can mean: 2031-01-01 for "2031".

    Raises:
        ValueError: The text is not an EDTF date.
    """
    return _last_or_first_day(text, "first")


def _last_or_first_day(text: str, bound: Bound) -> date:
    start, slash, end = text.partition("/")
    day = _bound_of_interval(start, end, bound) if slash else _bound_of_date(text, bound)
    if isinstance(day, date):
        return day
    try:
        if day is not None:
            # There may be no such day, or no such year of `date`.
            return date(*day)
    except ValueError:
        pass
    raise ValueError(f"'{text}' is not an EDTF level 0 or 1 date")


def _bound_of_date(text: str, bound: Bound) -> Day | None:
    """A bound of a date that is no interval; None: it is not EDTF."""
    part = _PART.fullmatch(text)
    if part is not None:
        is_quarter = 33 <= int(part["part"]) <= 36
        return _bound(part, bound) if is_quarter or not part["about"] else None
    found = _date(text)
    return _bound(found, bound) if found is not None else None


def _bound_of_interval(start: str, end: str, bound: Bound) -> Day | date | None:
    """A bound of an interval; None: it is not EDTF.

    Its ends are open, unknown, or dates that may be uncertain (level 1); or both are dates of which a part may be
    unspecified (level 2).
    """
    if start == end == "..":
        return _OPEN[bound]
    ends = [(text, _date(text)) for text in (start, end)]
    dates = [found for _, found in ends if found is not None]
    if not dates or any(found is None and text not in ("", "..") for text, found in ends):
        return None
    is_level_1 = not any("X" in found[0] for found in dates)
    is_level_2 = len(dates) == 2 and not any(
        found["about"] or (found["any_month"] and not found["any_day"]) for found in dates
    )
    if not (is_level_1 or is_level_2):
        return None
    text, own = ends[0] if bound == "first" else ends[1]
    if own is not None:
        return _bound(own, bound)
    if text == "..":
        return _OPEN[bound]
    # An unknown end is ten years from the other one.
    year, month, day = _bound(dates[0], "last" if bound == "first" else "first")
    if day > monthrange(year, month)[1]:
        return None
    year += -10 if bound == "first" else 10
    return year, month, min(day, monthrange(year, month)[1])


_OPEN = {"first": date.min, "last": date.max}


def _date(text: str) -> re.Match[str] | None:
    found = _DATE.fullmatch(text)
    if found is None or found["day"] in (None, "XX"):
        return found
    return found if int(found["day"]) <= _MOST_DAYS[int(found["month"]) - 1] else None


def _bound(found: re.Match[str], bound: Bound) -> Day:
    """A bound of what a pattern found."""
    names = found.groupdict()
    if names.get("decade") or names.get("century"):
        years = 10 if names["decade"] else 100
        first = int(names["decade"] or names["century"]) * years
        return (first, 1, 1) if bound == "first" else (first + years - 1, 12, 31)
    year, month, day = int(names["year"]), names.get("month"), names.get("day")
    if month is not None and day not in (None, "XX"):
        return year, int(month), int(day)
    start, count = (int(month), 1) if month else _PARTS[int(names["part"])] if names["part"] else (1, 12)
    if bound == "first":
        return year, start, 1
    last = start + count - 1
    return year, last, monthrange(year, last)[1]


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
