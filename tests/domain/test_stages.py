"""Declared and inferred stages, the ladder, inactivity, and external stage codes."""

from __future__ import annotations

from datetime import date
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.stages import (
    GEM,
    IATI,
    INACTIVITY_RULE,
    LADDER,
    StageChange,
    StageState,
    inactivity,
    ladder,
)
from registry.events.types import (
    MilestoneReached,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeRevised,
    PledgeWithdrawn,
    StageChanged,
)
from registry.events.values import Stage
from tests.domain.builders import LogBuilder, day
from tests.domain.comparisons import compare_at, whats


def test_stage_shows_whether_it_was_declared_or_inferred() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", commitment="binding"), "2025-06-16")
    inferred = log.state().stage
    assert inferred == StageState("committed", "inferred", day("2025-06-16"), "amount-pledged")
    log.admit(StageChanged(stage="construction"), "2025-08-29")
    assert log.state().stage == StageState("construction", "declared", day("2025-08-29"))


def test_declaring_the_current_stage_again_does_not_move_its_first_day() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="signed"), "2025-06-16")
    log.admit(StageChanged(stage="signed"), "2025-08-29")
    assert log.state().stage == StageState("signed", "declared", day("2025-06-16"))
    comparison = compare_at(log, {"effective_on": "2025-06-16"}, {"effective_on": "2025-08-29"})
    assert whats(comparison) == []


def test_declaring_an_inferred_stage_makes_it_declared_since_the_same_day_and_moves_nothing() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", commitment="binding"), "2025-06-16")
    log.admit(StageChanged(stage="committed"), "2025-08-29")
    assert log.state().stage == StageState("committed", "declared", day("2025-06-16"))
    comparison = compare_at(log, {"effective_on": "2025-06-16"}, {"effective_on": "2025-08-29"})
    assert "stage_moved" not in whats(comparison)


WITHDRAWN = StageState("withdrawn", "inferred", day("2025-10-01"), "all-pledges-withdrawn")


def test_inferred_stage_is_withdrawn_with_the_last_standing_pledge() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="one", commitment="binding"), "2025-06-16")
    log.admit(PledgeAnnounced(pledge="two", commitment="intention"), "2025-06-16")
    log.admit(PledgeWithdrawn(pledge="one"), "2025-09-01")
    assert log.state().stage == StageState("committed", "inferred", day("2025-06-16"), "amount-pledged")
    log.admit(PledgeWithdrawn(pledge="two"), "2025-10-01")
    assert log.state().stage == WITHDRAWN


def test_stage_of_a_deal_whose_only_pledge_implied_none_is_withdrawn_with_it() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="one"), "2025-06-16")
    log.admit(PledgeWithdrawn(pledge="one"), "2025-10-01")
    assert log.state().stage == WITHDRAWN


@pytest.mark.parametrize("kind", ["construction_started", "operations_started"])
def test_inferred_construction_or_operation_outlasts_the_pledges(kind: Any) -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="one", commitment="binding"), "2025-06-16")
    log.admit(MilestoneScheduled(milestone="m", kind=kind), "2025-06-16")
    log.admit(MilestoneReached(milestone="m"), "2025-09-01")
    before = log.state().stage
    log.admit(PledgeWithdrawn(pledge="one"), "2025-10-01")
    assert log.state().stage == before


@pytest.mark.parametrize("stage", ["intention", "signed", "committed", "suspended"])
def test_declared_stage_outlasts_the_pledges(stage: Stage) -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="one", commitment="intention"), "2025-06-16")
    log.admit(StageChanged(stage=stage), "2025-09-01")
    before = log.state().stage
    log.admit(PledgeWithdrawn(pledge="one"), "2025-10-01")
    assert log.state().stage == before


def test_stage_of_a_withdrawn_deal_is_inferred_again_from_a_later_pledge() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="one", commitment="binding"), "2025-06-16")
    log.admit(PledgeWithdrawn(pledge="one"), "2025-10-01")
    log.admit(PledgeAnnounced(pledge="two"), "2025-11-01")
    assert log.state().stage is None
    log.admit(PledgeRevised(pledge="two", commitment="intention"), "2025-12-01")
    assert log.state().stage == StageState("intention", "inferred", day("2025-12-01"), "intention-announced")


def test_groundbreaking_implies_no_construction() -> None:
    """Hard case 12: a groundbreaking implies nothing; reported construction does."""
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
    steps_of_ladder = ladder(reversed(steps))
    assert [step.stage for step in steps_of_ladder] == list(LADDER)
    assert [step.on for step in steps_of_ladder] == [None, day("2024-09-27"), None, day("2025-08-29"), None]
    assert steps_of_ladder[3].event == events[1].id
    assert steps_of_ladder[3].basis == "declared"


COMMITTED = StageState("committed", "declared", day("2024-01-01"))


def test_deal_without_a_published_source_for_18_months_is_inactive() -> None:
    assert inactivity(COMMITTED, day("2024-01-31"), day("2025-07-30")) is None
    inactive = inactivity(COMMITTED, day("2024-01-31"), day("2025-07-31"))
    assert inactive is not None
    assert (inactive.since, inactive.rule, inactive.last_published) == (
        day("2025-07-31"),
        INACTIVITY_RULE,
        day("2024-01-31"),
    )
    end_of_month = inactivity(None, day("2024-08-31"), day("2030-01-01"))
    assert end_of_month is not None
    assert end_of_month.since == day("2026-02-28")


@pytest.mark.parametrize("stage", ["operating", "suspended", "shelved", "withdrawn", "cancelled"])
def test_operating_or_stopped_deal_is_never_inactive(stage: Stage) -> None:
    settled = StageState(stage, "declared", day("2024-01-01"))
    assert inactivity(settled, day("2020-01-01"), day("2026-01-01")) is None
    assert inactivity(COMMITTED, None, day("2026-01-01")) is None


@given(st.dates(date(2000, 1, 1)), st.dates(date(2000, 1, 1)))
def test_inactivity_begins_18_months_after_the_last_source(published: date, on: date) -> None:
    inactive = inactivity(COMMITTED, published, on)
    if inactive is None:
        assert (on - published).days < 550
    else:
        assert inactive.since <= on
        assert 545 <= (inactive.since - published).days <= 550


def test_every_stage_has_external_codes() -> None:
    for table in (GEM, IATI):
        assert set(table) == set(get_args(Stage))
    assert {c.code for c in GEM.values()} <= {
        "announced",
        "pre-construction",
        "construction",
        "operating",
        "retired",
        "shelved",
        "cancelled",
    }
    assert {c.code: c.name for c in IATI.values()} == {
        "1": "Pipeline/identification",
        "2": "Implementation",
        "4": "Closed",
        "5": "Cancelled",
        "6": "Suspended",
    }
