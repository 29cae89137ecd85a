"""Dates as precise as their source: EDTF (ISO 8601-2) level 0 and 1, as their first and last possible day."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from time import struct_time

from edtf import EDTFParseException, parse_edtf

# Levels 0 and 1 with years of four digits. A season is a month from 21 to 24. Only the last part may be unspecified.
_DATE = r"(?:[0-9]{4}(?:-[0-9]{2}(?:-(?:[0-9]{2}|XX))?|-XX(?:-XX)?)?|[0-9]{3}X|[0-9]{2}XX)[?~%]?"
_LEVEL_1 = re.compile(rf"{_DATE}|(?:{_DATE}|\.\.)?/(?:{_DATE}|\.\.)?")


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
    try:
        # Checked before parsing: the library also parses level 2, and prints to stdout when that fails.
        if not _LEVEL_1.fullmatch(text):
            raise ValueError
        bound: struct_time | float = getattr(parse_edtf(text), which)()
        if isinstance(bound, float):
            return open_end
        day = date(bound.tm_year, bound.tm_mon, bound.tm_mday)
    except (EDTFParseException, ValueError, AttributeError, TypeError):
        raise ValueError(f"'{text}' is not an EDTF level 0 or 1 date") from None
    return day
