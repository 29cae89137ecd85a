"""Dates as loosely as sources give them: EDTF (ISO 8601-2) level 0 and 1, compared by their last possible day."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from time import struct_time

from edtf import EDTFParseException, parse_edtf

# Levels 0 and 1, for years of four digits: a season is a month from 21 to 24; only what stands last may be unspecified.
_DATE = r"(?:[0-9]{4}(?:-[0-9]{2}(?:-(?:[0-9]{2}|XX))?|-XX(?:-XX)?)?|[0-9]{3}X|[0-9]{2}XX)[?~%]?"
_LEVEL_1 = re.compile(rf"{_DATE}|(?:{_DATE}|\.\.)?/(?:{_DATE}|\.\.)?")


@lru_cache(maxsize=10_000)
def last_day(text: str) -> date:
    """The last day that the date can mean ("2031" is 2031-12-31).

    An open end never ends. Raises ValueError when it is no EDTF.
    """
    return _last_or_first_day(text, "upper_strict", date.max)


@lru_cache(maxsize=10_000)
def first_day(text: str) -> date:
    """The first day that the date can mean ("2031" is 2031-01-01). Raises ValueError when it is no EDTF."""
    return _last_or_first_day(text, "lower_strict", date.min)


def _last_or_first_day(text: str, which: str, open_end: date) -> date:
    try:
        # Asked first: the library goes further, and talks on standard output when it fails there.
        if not _LEVEL_1.fullmatch(text):
            raise ValueError
        bound: struct_time | float = getattr(parse_edtf(text), which)()
        if isinstance(bound, float):
            return open_end
        day = date(bound.tm_year, bound.tm_mon, bound.tm_mday)
    except (EDTFParseException, ValueError, AttributeError, TypeError):
        raise ValueError(f"'{text}' is not an EDTF level 0 or 1 date") from None
    return day
