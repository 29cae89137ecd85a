"""EDTF dates: their first and last possible day, and texts that are refused."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from datetime import date
from io import StringIO

import pytest
from edtf import EDTFParseException, parse_edtf
from hypothesis import assume, example, given, strategies

from registry.events.edtf import effective_day, first_day, last_day, precision, quarter_as_edtf


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2031", "2031-01-01", "2031-12-31"),
        ("2027-11", "2027-11-01", "2027-11-30"),
        ("2025-08-29", "2025-08-29", "2025-08-29"),
        ("2027~", "2027-01-01", "2027-12-31"),
        ("2027-02?", "2027-02-01", "2027-02-28"),
        ("202X", "2020-01-01", "2029-12-31"),
        ("20XX", "2000-01-01", "2099-12-31"),
        ("2025-XX", "2025-01-01", "2025-12-31"),
        ("2025-02-XX", "2025-02-01", "2025-02-28"),
        ("2025-07/2025-09", "2025-07-01", "2025-09-30"),
        ("2025-07/..", "2025-07-01", "9999-12-31"),
        ("../2025-07", "0001-01-01", "2025-07-31"),
        ("2021-33", "2021-01-01", "2021-03-31"),
        ("2021-35~", "2021-07-01", "2021-09-30"),
        ("2021-36", "2021-10-01", "2021-12-31"),
    ],
)
def test_edtf_date_has_a_first_and_a_last_day(text: str, first: str, last: str) -> None:
    assert (first_day(text), last_day(text)) == (date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    "text",
    [
        "0000",
        "2025-13",
        "2025-02-30",
        "2025-00",
        "2025-X7",
        "2025-1X",
        "XXXX",
        "2025-XX-01",
        "soon",
        "2025-7",
        "12025",
        "2025/2026/2027",
        "..",
        "////",
    ],
)
def test_text_that_is_not_edtf_is_refused(text: str) -> None:
    for day in (first_day, last_day):
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            day(text)


YEARS = ("0000", "0009", "2021", "2024", "9995")
PARTS = (
    *("", "-00", "-02", "-12", "-13", "-02-29", "-02-30", "-04-31"),
    *("-XX", "-XX-XX", "-02-XX"),
    *(f"-{part}" for part in (20, 21, 24, 25, 32, 35, 41, 42)),
)
FORMS = (*(year + part for year in YEARS for part in PARTS), "202X", "20XX", "999X")
DATES = ("", "..", *(form + about for form in FORMS for about in ("", "?", "~", "%")))


def library_days(text: str) -> list[date | None]:
    """The first and the last day that the library gives a date."""
    # It also parses level 2, and prints to stdout when that fails.
    with redirect_stdout(StringIO()):
        return [_library_day(text, name, end) for name, end in (("lower_strict", date.min), ("upper_strict", date.max))]


def _library_day(text: str, name: str, open_end: date) -> date | None:
    try:
        bound = getattr(parse_edtf(text), name)()
        return open_end if isinstance(bound, float) else date(bound.tm_year, bound.tm_mon, bound.tm_mday)
    except (EDTFParseException, ValueError, AttributeError, TypeError):
        return None


def our_days(text: str) -> list[date | None]:
    found: list[date | None] = []
    for day in (first_day, last_day):
        try:
            found.append(day.__wrapped__(text))
        except ValueError:
            found.append(None)
    return found


@given(strategies.one_of(strategies.sampled_from(DATES), strategies.tuples(*[strategies.sampled_from(DATES)] * 2)))
@example(("2023-02-29", ""))
@example(("", "2023-02-29"))
def test_dates_have_the_days_that_the_library_gives_them(given: str | tuple[str, str]) -> None:
    text = given if isinstance(given, str) else "/".join(given)
    assume(text not in ("..", "") and not QUARTER.search(text))
    assert our_days(text) == library_days(text)


QUARTER = re.compile(r"-3[3-6]")
"""The library does not read an uncertain quarter."""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2025-08-29", "day"),
        ("2025-08-29?", "day"),
        ("2027-11~", "month"),
        ("2025-02-XX", "month"),
        ("2021-35", "quarter"),
        ("2021-21", "season"),
        ("2031", "year"),
        ("2025-XX", "year"),
        ("202X", "decade"),
        ("20XX", "century"),
        ("2025-07/2025-09", "interval"),
    ],
)
def test_precision_follows_from_the_form_of_a_date(text: str, name: str) -> None:
    assert precision(text) == name


@pytest.mark.parametrize(
    ("text", "published", "day"),
    [
        ("2025", None, "2025-12-31"),
        # A report of something done cannot be about the future.
        ("2025", "2025-06-16", "2025-06-16"),
        # A plan published before the date can mean any day of it.
        ("2027", "2025-06-16", "2027-12-31"),
        ("2025-05", "2025-06-16", "2025-05-31"),
        ("2025-34", "2025-04-01", "2025-04-01"),
    ],
)
def test_effective_day_of_a_loose_date(text: str, published: str | None, day: str) -> None:
    published_on = date.fromisoformat(published) if published else None
    assert effective_day(text, published_on) == date.fromisoformat(day)


@pytest.mark.parametrize(("text", "edtf"), [("2021-Q3", "2021-35"), ("2021q1", "2021-33"), ("2021-05", "2021-05")])
def test_quarter_as_people_write_it_is_read(text: str, edtf: str) -> None:
    assert quarter_as_edtf(text) == edtf
