"""EDTF dates: their first and last possible day, and texts that are refused."""

from __future__ import annotations

import re
from datetime import date

import pytest

from registry.events.edtf import first_day, last_day


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
