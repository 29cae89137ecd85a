"""The moments at which the answer about a deal changed: recordings and midnights."""

from __future__ import annotations

from datetime import UTC, datetime

from registry.domain.audit.change_points import ChangePoint, change_points
from registry.domain.calendar import Calendar
from registry.events.types import DealMerged, EventVoided, PledgeAnnounced, PledgeRevised
from registry.schemas import timemap
from tests.domain.builders import LogBuilder, article, day, usd
from tests.domain.pledges import pledged

UTC_DAYS = Calendar()


def points_of(log: LogBuilder, calendar: Calendar = UTC_DAYS) -> list[ChangePoint]:
    return list(change_points(log.events, calendar))


def test_stream_without_events_has_no_change_points() -> None:
    assert list(change_points([], UTC_DAYS)) == []


def test_two_of_three_recordings_and_a_day_in_2031_change_the_answer() -> None:
    log = LogBuilder()
    log.now = datetime(2026, 3, 1, 9, tzinfo=UTC)
    announced = log.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2025-01-01")
    log.admit(PledgeRevised(pledge="total", amount=usd("9")), "2031-05-01")
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("6")), "2025-06-01")
    points = points_of(log)
    assert [(p.position, p.is_recording) for p in points] == [
        (1, True),
        (announced.position, True),
        (revised.position, True),
        (revised.position, False),
    ]
    assert (points[-1].effective_on, points[-1].at) == (day("2031-05-01"), datetime(2031, 5, 1, tzinfo=UTC))
    in_2026, in_2032 = (timemap(log.slug, points, datetime(year, 12, 1, tzinfo=UTC)) for year in (2026, 2032))
    assert [m.effective_on for m in in_2026.upcoming] == [day("2031-05-01")]
    assert [m.uri for m in in_2032.mementos] == [
        *(f"/v1/deals/{log.slug}?position={n}" for n in (1, announced.position, revised.position)),
        f"/v1/deals/{log.slug}?recorded_at=2031-05-01T00%3A00%3A00Z",
    ]
    assert in_2032.upcoming == []


def test_day_begins_at_midnight_in_the_registry_zone() -> None:
    log = LogBuilder()
    log.now = datetime(2026, 3, 1, 9, tzinfo=UTC)
    log.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2026-06-01")
    assert points_of(log, Calendar("Asia/Seoul"))[-1].at == datetime(2026, 5, 31, 15, tzinfo=UTC)
    assert points_of(log, Calendar("America/New_York"))[-1].at == datetime(2026, 6, 1, 4, tzinfo=UTC)


def test_events_that_change_nothing_are_no_change_points() -> None:
    log, announced = pledged(effective="2024-06-16")
    again = log.admit(PledgeRevised(pledge="total"), "2024-06-20")
    log.admit(EventVoided(voids=again.id))
    assert [p.position for p in points_of(log)] == [1, announced.position]
    assert points_of(log)[1].recorded_at == announced.recorded_at


def test_event_that_only_adds_a_source_is_a_change_point() -> None:
    log, _ = pledged(effective="2024-06-16")
    other = log.admit(PledgeRevised(pledge="total"), "2024-06-20", sources=(article(day("2024-06-20"), "Another"),))
    assert points_of(log)[-1].position == other.position


def test_merge_is_a_change_point_and_ends_the_changes_by_day() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2031-01-01")
    merged = log.admit(DealMerged(into="other-deal"))
    assert (points_of(log)[-1].position, points_of(log)[-1].is_recording) == (merged.position, True)
