"""Corrections and voids."""

from __future__ import annotations

from registry.events.types import (
    ClaimReported,
    DealMerged,
    DealRegistered,
    EventCorrected,
    EventVoided,
    MilestoneReached,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeRevised,
    Replacement,
    StageChanged,
)
from registry.events.values import Localized
from tests.domain.builders import LogBuilder, article, day, usd
from tests.domain.pledges import UNKNOWN_EVENT, amount, pledged, refuse


def test_correction_changes_the_past_but_not_earlier_records() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log, effective_on="2025-06-16") == "5"
    assert amount(log, effective_on="2025-06-16", position=2) == "50"


def test_correction_can_change_the_effective_date() -> None:
    log, announced = pledged()
    log.correct(announced, effective_on=day("2025-06-20"))
    assert amount(log, effective_on="2025-06-19") is None
    assert amount(log, effective_on="2025-06-20") == "5"
    assert log.events[1] == announced


def test_correction_of_sources_changes_the_publication_date() -> None:
    log, announced = pledged(published="2025-06-30")
    log.correct(announced, sources=(article(day("2025-06-16")),))
    assert amount(log, published_on="2025-06-16") == "5"


def test_partial_correction_is_completed_from_the_effective_event() -> None:
    log, announced = pledged("50", published="2025-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    dated = log.correct(announced, effective_on=day("2025-06-20"))
    assert isinstance(dated.event, EventCorrected)
    assert dated.event.replacement == Replacement(
        effective_on=day("2025-06-20"),
        sources=announced.sources,
        event=PledgeAnnounced(pledge="total", amount=usd("5")),
    )


def test_publication_date_does_not_hide_a_correction() -> None:
    log, announced = pledged("50", published="2025-06-16")
    log.now = log.now.replace(year=2026)
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log, published_on="2025-06-16") == "5"


def test_registration_can_be_corrected() -> None:
    log = LogBuilder()
    title = Localized(en="SK–AWS Ulsan", ko="SK·AWS 울산")
    log.correct(log.events[0], event=DealRegistered(title=title), effective_on=day("2025-06-16"))
    assert log.state().title == title
    assert log.known(effective_on="2025-06-15") is None
    assert log.state(position=1).title == Localized(en="A deal")


def test_latest_correction_applies_and_a_chain_belongs_to_the_original() -> None:
    log, announced = pledged("50")
    first = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    log.correct(first, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log) == "5"
    assert [amount(log, position=n) for n in (2, 3, 4)] == ["50", "6", "5"]
    effective = log.history().record.by_id[announced.id]
    assert len(effective.corrections) == 2


def test_voided_correction_restores_the_previous_content() -> None:
    log, announced = pledged("50")
    first = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    second = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.void(second)
    assert amount(log) == "6"
    void = log.void(first)
    assert amount(log) == "50"
    log.void(void)
    assert amount(log) == "6"


def test_void_removes_a_corrected_event_and_voiding_it_restores_it() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    void = log.void(announced)
    assert log.state().pledges == ()
    log.void(void)
    assert amount(log) == "5"


def test_id_of_a_voided_pledge_can_be_used_again() -> None:
    log, announced = pledged("50")
    log.void(announced)
    log.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2025-06-16")
    assert amount(log) == "5"


def test_correction_of_another_stream_is_refuse() -> None:
    log, _ = pledged()
    assert refuse(
        log, EventCorrected(corrects=UNKNOWN_EVENT, replacement=Replacement(effective_on=day("2025-01-01")))
    ).refusal.code == ("event-unknown")


def test_correction_without_a_change_is_refuse() -> None:
    log, announced = pledged()
    same = Replacement(event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert refuse(log, EventCorrected(corrects=announced.id, replacement=same)).refusal.code == "corrects-nothing"


def test_correction_to_another_event_type_is_refuse() -> None:
    log, announced = pledged()
    other = Replacement(event=StageChanged(stage="signed"))
    assert refuse(log, EventCorrected(corrects=announced.id, replacement=other)).refusal.code == "type-changed"


def test_correction_of_a_voided_event_is_refuse() -> None:
    log, announced = pledged()
    log.void(announced)
    change = Replacement(effective_on=day("2025-01-01"))
    assert refuse(log, EventCorrected(corrects=announced.id, replacement=change)).refusal.code == "event-voided"


def test_correction_of_a_void_or_a_merge_is_refuse() -> None:
    log, announced = pledged()
    void = log.void(announced)
    merge = log.admit(DealMerged(into="other-deal"))
    change = Replacement(effective_on=day("2025-01-01"))
    for record in (void, merge):
        assert refuse(log, EventCorrected(corrects=record.id, replacement=change)).refusal.code == "not-correctable"


def test_corrected_claim_must_name_the_event_it_is_about() -> None:
    log, _ = pledged()
    claim = log.admit(ClaimReported(claim="c", field="/pledges/total/amount", value=usd("7")))
    words = Replacement(event=ClaimReported(claim="c", field="/pledges/total/amount", value=usd("8")))
    assert refuse(log, EventCorrected(corrects=claim.id, replacement=words)).refusal.code == "claim-about-missing"


def test_second_void_of_an_event_is_refuse() -> None:
    log, announced = pledged()
    log.void(announced)
    assert refuse(log, EventVoided(voids=announced.id)).refusal.code == "already-voided"


def test_void_of_an_unknown_event_is_refuse() -> None:
    log, _ = pledged()
    assert refuse(log, EventVoided(voids=UNKNOWN_EVENT)).refusal.code == "event-unknown"


def test_void_of_a_registration_is_refuse() -> None:
    log = LogBuilder()
    assert refuse(log, EventVoided(voids=log.events[0].id)).refusal.code == "registration-voided"


def test_change_that_makes_later_events_unapplied_is_refused_with_their_ids() -> None:
    log, announced = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field="/pledges/total/amount", value=usd("8")))
    renamed = Replacement(event=PledgeAnnounced(pledge="sum", amount=usd("5")))
    moved = Replacement(effective_on=day("2025-06-21"))
    for event in (
        EventVoided(voids=announced.id),
        EventCorrected(corrects=announced.id, replacement=renamed),
    ):
        refusal = refuse(log, event)
        assert refusal.refusal.code == "would-strand-events"
        assert refusal.events == (str(revision.id), str(claim.id))
        assert str(revision.id) in str(refusal)
    assert refuse(log, EventCorrected(corrects=announced.id, replacement=moved)).events == (
        str(revision.id),
        str(claim.id),
    )


def test_backdated_event_that_makes_a_later_one_unapplied_is_refuse() -> None:
    log = LogBuilder()
    scheduled = log.admit(MilestoneScheduled(milestone="phase-1"), "2025-06-16")
    assert refuse(log, MilestoneScheduled(milestone="phase-1"), "2025-01-01").events == (str(scheduled.id),)


def test_milestone_reached_before_its_plan_needs_a_backdated_plan() -> None:
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="phase-1"), "2025-08-29")
    assert refuse(log, MilestoneReached(milestone="phase-1"), "2025-06-16").refusal.code == "milestone-unknown"
