"""The as-of controls: the address that their form stands for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from registry.domain.calendar import Calendar
from registry.web.page import as_of


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"effective_on": "2026-01-06"}, {}),
        ({"known": "published", "known_on": "2026-01-06"}, {}),
        ({"known": "published", "known_on": "2025-06-21"}, {"published_on": "2025-06-21"}),
        ({"known": "recorded", "known_on": "2026-01-06"}, {"axis": "recorded"}),
        ({"known": "recorded", "known_on": "2025-06-21"}, {"recorded_at": "2025-06-21T23:59:59.999999Z"}),
        # The moment, and the position, that a page was at stay until another day is chosen.
        (
            {"known": "recorded", "known_on": "2025-06-21", "recorded_at": "2025-06-21T10:00:00Z"},
            {"recorded_at": "2025-06-21T10:00:00Z"},
        ),
        (
            {"known": "recorded", "known_on": "2025-06-22", "recorded_at": "2025-06-21T10:00:00Z"},
            {"recorded_at": "2025-06-22T23:59:59.999999Z"},
        ),
        (
            {"known": "published", "known_on": "2025-06-21", "recorded_at": "2025-06-21T10:00:00Z"},
            {"published_on": "2025-06-21"},
        ),
        ({"known": "recorded", "known_on": "", "position": "7"}, {"position": "7"}),
        ({"known": "recorded", "known_on": "2026-01-06", "position": "7"}, {"axis": "recorded"}),
        ({"known": "published", "known_on": "", "position": "7"}, {}),
        # What is recorded by an instant has a day of its own, so today is named.
        (
            {"effective_on": "2026-01-06", "known": "recorded", "known_on": "2025-06-21"},
            {"effective_on": "2026-01-06", "recorded_at": "2025-06-21T23:59:59.999999Z"},
        ),
    ],
)
def test_as_of_form_stands_for_a_canonical_address(sent: dict[str, str], meant: dict[str, str]) -> None:
    calendar = Calendar(clock=lambda: datetime(2026, 1, 6, 12, tzinfo=UTC))
    assert as_of.canonical_query({"q": "x", **sent}, calendar) == {"q": "x", **meant}


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"from.recorded_on": "2025-06-21"}, {"from.recorded_at": "2025-06-21T23:59:59.999999Z"}),
        ({"from.recorded_on": "", "from.recorded_at": "2025-06-21T10:00:00Z"}, {}),
        (
            {"to.recorded_on": "2025-06-21", "to.recorded_at": "2025-06-21T10:00:00Z"},
            {"to.recorded_at": "2025-06-21T10:00:00Z"},
        ),
        (
            {"to.recorded_on": "2025-06-22", "to.recorded_at": "2025-06-21T10:00:00Z"},
            {"to.recorded_at": "2025-06-22T23:59:59.999999Z"},
        ),
    ],
)
def test_form_of_two_points_stands_for_a_canonical_address(sent: dict[str, str], meant: dict[str, str]) -> None:
    calendar = Calendar(clock=lambda: datetime(2026, 1, 6, 12, tzinfo=UTC))
    assert as_of.canonical_query({"region": "KR", **sent}, calendar) == {"region": "KR", **meant}


def test_day_of_the_as_of_form_ends_in_the_registry_zone() -> None:
    seoul = Calendar("Asia/Seoul", clock=lambda: datetime(2026, 1, 6, 12, tzinfo=UTC))
    query = as_of.canonical_query({"known": "recorded", "known_on": "2025-06-21"}, seoul)
    assert query == {"recorded_at": "2025-06-21T14:59:59.999999Z"}
