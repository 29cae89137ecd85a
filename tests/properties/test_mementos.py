"""Properties of the calendar and of the TimeMap over random logs. A number in a test's name is the property's."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.audit.change_points import change_points, representation
from registry.domain.calendar import Calendar
from registry.domain.history import AsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.schemas import timemap
from tests.domain.builders import LogBuilder
from tests.properties import oracle
from tests.properties.strategies import DAYS, logs
from tests.properties.test_time import quick

ZONES = ("UTC", "Asia/Seoul", "America/New_York", "Pacific/Kiritimati")

zones = st.sampled_from(ZONES)


def oracle_answer(log: LogBuilder, instant: datetime, calendar: Calendar) -> tuple[Any, Any]:
    """The redirect target, or else the state, that a plain request at an instant shows."""
    position = sum(event.recorded_at <= instant for event in log.events)
    into: Any = None
    for event in log.events[:position]:
        if event.type in ("deal_merged", "deal_unmerged") and not oracle.is_voided(log.events[:position], event.id):
            into = getattr(event.event, "into", None)
    if into is not None:
        return into, None
    return None, oracle.state_of(log.slug, log.events, effective=calendar.day_of(instant), position=position)


def answer(log: LogBuilder, as_of: AsOf) -> Any:
    return representation(state_as_of(log.slug, log.events, as_of, DEALS))


def instants(log: LogBuilder, calendar: Calendar) -> list[datetime]:
    """The instants at which the answer may change, and those between."""
    days = {DAYS[0] - timedelta(days=1), *DAYS, *(event.published_on for event in log.events)}
    edges = {calendar.start_of(day + timedelta(days=n)) for day in days for n in (0, 1)}
    edges |= {event.recorded_at for event in log.events}
    return sorted(edges | {edge + timedelta(hours=1) for edge in edges})


@quick
@given(st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)), zones)
def test_26_today_is_the_day_in_the_registry_zone_on_both_sides_of_midnight(now: datetime, zone: str) -> None:
    calendar = Calendar(zone, clock=lambda: now)
    day = calendar.today()
    assert day == now.astimezone(calendar.zone).date()
    begins, ends = calendar.start_of(day), calendar.end_of(day)
    assert begins <= now <= ends
    assert Calendar(zone, clock=lambda: begins).today() == day
    assert Calendar(zone, clock=lambda: ends).today() == day
    assert Calendar(zone, clock=lambda: begins - timedelta(microseconds=1)).today() == day - timedelta(days=1)
    assert Calendar(zone, clock=lambda: ends + timedelta(microseconds=1)).today() == day + timedelta(days=1)


@quick
@given(logs(max_events=20), zones)
def test_28_the_timemap_is_complete_and_minimal(log: LogBuilder, zone: str) -> None:
    calendar = Calendar(zone)
    points = list(change_points(log.events, calendar))
    shown = [answer(log, AsOf(position=p.position, effective_on=p.effective_on)) for p in points]
    assert all(one != other for one, other in pairwise(shown)), "neighbours differ"
    assert [p.at for p in points] == sorted(p.at for p in points)
    for instant in instants(log, calendar):
        position = sum(event.recorded_at <= instant for event in log.events)
        now = answer(log, AsOf(position=position, effective_on=calendar.day_of(instant))) if position else None
        before = [state for point, state in zip(points, shown, strict=True) if point.at <= instant]
        assert now == (before[-1] if before else None)


@quick
@given(logs(max_events=20), zones)
def test_28_between_two_entries_the_oracle_shows_the_earlier_ones_state(log: LogBuilder, zone: str) -> None:
    calendar = Calendar(zone)
    points = list(change_points(log.events, calendar))
    for instant in instants(log, calendar):
        before = [point for point in points if point.at <= instant]
        expected = oracle_answer(log, instant, calendar)
        if not before:
            assert expected == (None, None)
        else:
            assert expected == oracle_answer(log, before[-1].at, calendar)


@quick
@given(logs(max_events=12), zones, st.sampled_from(DAYS))
def test_28_mementos_are_the_moments_that_have_passed(log: LogBuilder, zone: str, today: date) -> None:
    calendar = Calendar(zone)
    now = max(calendar.start_of(today), log.events[-1].recorded_at)
    points = list(change_points(log.events, calendar))
    listed = timemap(log.slug, points, now)
    assert [m.datetime for m in listed.mementos] == [p.at for p in points if p.at <= now]
    assert [m.datetime for m in listed.upcoming] == [p.at for p in points if p.at > now]
