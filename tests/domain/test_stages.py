"""Declared and inferred stages stay apart; silence is a note of a named rule; the ladder keeps each step's day."""

from __future__ import annotations

from datetime import date
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.stages import GEM, IATI, INACTIVITY_RULE, LADDER, StageChange, StageState, inactivity, ladder
from registry.events.types import MilestoneReached, MilestoneScheduled, PledgeAnnounced, Stage, StageChanged
from tests.domain.builders import LogBuilder, day


def test_stage_shows_whether_it_was_declared_or_inferred() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", commitment="binding"), "2025-06-16")
    inferred = log.state().stage
    assert inferred == StageState("committed", "inferred", day("2025-06-16"), "amount-pledged")
    log.admit(StageChanged(stage="construction"), "2025-08-29")
    assert log.state().stage == StageState("construction", "declared", day("2025-08-29"))


def test_groundbreaking_implies_no_construction() -> None:
    """Hard case 12: breaking ground infers nothing; construction that was reported does."""
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="ceremony", kind="groundbreaking"), "2025-06-16")
    log.admit(MilestoneReached(milestone="ceremony"), "2025-08-29")
    assert log.state().stage is None
    log.admit(MilestoneScheduled(milestone="works", kind="construction_started"), "2025-06-16")
    log.admit(MilestoneReached(milestone="works"), "2025-10-01")
    assert log.state().stage == StageState("construction", "inferred", day("2025-10-01"), "construction-reported")


def test_ladder_gives_the_first_day_of_each_stage_that_was_reported() -> None:
    log = LogBuilder()
    events = [
        log.record(StageChanged(stage="signed"), "2024-09-27"),
        log.record(StageChanged(stage="construction"), "2025-08-29"),
        log.record(StageChanged(stage="suspended"), "2025-10-01"),
        log.record(StageChanged(stage="construction"), "2025-12-01"),
    ]
    timeline = log.history().timeline
    reached = zip(timeline.steps, timeline.states, strict=True)
    steps = [StageChange(s.applied.effective_on, state.stage, s.applied.id) for s, state in reached if state.stage]
    rungs = ladder(reversed(steps))
    assert [rung.stage for rung in rungs] == list(LADDER)
    assert [rung.on for rung in rungs] == [None, day("2024-09-27"), None, day("2025-08-29"), None]
    assert rungs[3].event == events[1].id
    assert rungs[3].basis == "declared"


COMMITTED = StageState("committed", "declared", day("2024-01-01"))


def test_deal_without_a_published_source_for_18_months_is_inactive() -> None:
    assert inactivity(COMMITTED, day("2024-01-31"), day("2025-07-30")) is None
    quiet = inactivity(COMMITTED, day("2024-01-31"), day("2025-07-31"))
    assert quiet is not None
    assert (quiet.since, quiet.rule, quiet.last_published) == (day("2025-07-31"), INACTIVITY_RULE, day("2024-01-31"))
    end_of_month = inactivity(None, day("2024-08-31"), day("2030-01-01"))
    assert end_of_month is not None
    assert end_of_month.since == day("2026-02-28")


@pytest.mark.parametrize("stage", ["operating", "suspended", "shelved", "withdrawn", "cancelled"])
def test_operating_or_stopped_deal_is_never_inactive(stage: Stage) -> None:
    settled = StageState(stage, "declared", day("2024-01-01"))
    assert inactivity(settled, day("2020-01-01"), day("2026-01-01")) is None
    assert inactivity(COMMITTED, None, day("2026-01-01")) is None


@given(st.dates(date(2000, 1, 1)), st.dates(date(2000, 1, 1)))
def test_inactivity_begins_18_months_after_the_last_source(published: date, asked: date) -> None:
    quiet = inactivity(COMMITTED, published, asked)
    if quiet is None:
        assert (asked - published).days < 550
    else:
        assert quiet.since <= asked
        assert 545 <= (quiet.since - published).days <= 550


def test_every_stage_has_external_codes() -> None:
    for table in (GEM, IATI):
        assert set(table) == set(get_args(Stage))
    assert {c.code for c in GEM.values()} <= {
        "announced",
        "pre-construction",
        "construction",
        "operating",
        "shelved",
        "cancelled",
    }
    assert {c.code: c.name for c in IATI.values()} == {
        "1": "Pipeline/identification",
        "2": "Implementation",
        "5": "Cancelled",
        "6": "Suspended",
    }
