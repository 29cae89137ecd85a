"""The as-of controls: the address that their form stands for."""

from __future__ import annotations

from datetime import date

import pytest

from registry.web import as_of


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
    ],
)
def test_as_of_form_stands_for_a_canonical_address(sent: dict[str, str], meant: dict[str, str]) -> None:
    assert as_of.canonical_query({"q": "x", **sent}, date(2026, 1, 6)) == {"q": "x", **meant}
