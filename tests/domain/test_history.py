"""How a history is read: three clocks, corrections and voids, preferred claims, merges, erasure, the strict door."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from registry.domain.admission import admit
from registry.domain.deal import Deal
from registry.domain.fold import DEALS, ORGANIZATIONS
from registry.domain.history import UNBOUNDED, AsOf, FoldedStream, state_as_of
from registry.domain.organization import Organization
from registry.errors import RuleBroken
from registry.events.types import (
    AnyEvent,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    DealRegistered,
    DealUnmerged,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Localized,
    MilestoneReached,
    MilestoneScheduled,
    OrganizationRegistered,
    PledgeAnnounced,
    PledgeRevised,
    Recorded,
    Replacement,
    SiteAnnounced,
    SiteRevised,
    StageChanged,
)
from tests.domain.builders import LogBuilder, article, day, usd

NOWHERE = UUID(int=404)


def pledged(amount: str = "5", effective: str = "2025-06-16", **more: Any) -> tuple[LogBuilder, Recorded]:
    log = LogBuilder()
    return log, log.admit(PledgeAnnounced(pledge="total", amount=usd(amount)), effective, **more)


def amount(log: LogBuilder, **clocks: Any) -> str | None:
    pledges = log.state(**clocks).pledges
    return pledges[0].amount.value if pledges and pledges[0].amount else None


def refused(log: LogBuilder, event: Any, effective: str | None = None) -> RuleBroken:
    """The refusal of an event, which must leave the log as it was."""
    before, state = list(log.events), log.history().state
    with pytest.raises(RuleBroken) as refusal:
        log.admit(event, effective)
    assert (log.events, log.history().state) == (before, state)
    return refusal.value


# --- the three clocks -------------------------------------------------------------------------------------------------


def test_each_clock_alone_hides_what_is_later_than_it() -> None:
    log, announced = pledged("5", "2025-06-16", published="2025-06-18")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-22")
    assert [amount(log, effective_on=d) for d in ("2025-06-15", "2025-06-16", "2025-06-20")] == [None, "5", "7"]
    assert [amount(log, published_on=d) for d in ("2025-06-17", "2025-06-18", "2025-06-22")] == [None, "5", "7"]
    assert [amount(log, position=n) for n in (1, 2, 3)] == [None, "5", "7"]
    assert amount(log, recorded_at=announced.recorded_at) == "5"
    assert amount(log, recorded_at=announced.recorded_at - timedelta(microseconds=1)) is None


def test_of_an_instant_and_a_position_the_earlier_counts() -> None:
    log, announced = pledged()
    assert amount(log, recorded_at=announced.recorded_at, position=1) is None
    assert amount(log, recorded_at=log.events[0].recorded_at, position=2) is None


def test_two_events_of_one_instant_are_told_apart_by_position() -> None:
    log, announced = pledged()
    log.now = announced.recorded_at
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-16")
    assert amount(log, recorded_at=announced.recorded_at) == "7"
    assert amount(log, recorded_at=announced.recorded_at, position=2) == "5"


def test_a_backdated_event_that_fits_joins_the_past() -> None:
    log, _ = pledged("7", "2025-06-22")
    log.admit(PledgeAnnounced(pledge="earlier"), "2024-09-27")
    assert [p.pledge for p in log.state(effective_on="2025-01-01").pledges] == ["earlier"]
    assert log.state(effective_on="2025-01-01", position=2).pledges == ()


def test_the_registration_applies_first_whatever_its_date() -> None:
    log = LogBuilder(effective="2025-10-29")
    log.admit(StageChanged(stage="signed"), "2024-09-27", published="2024-09-30")
    state = log.state(effective_on="2024-10-01")
    assert state.title == Localized(en="A deal")
    assert state.stage is not None


def test_a_deal_is_not_known_where_nothing_of_it_is_left_not_even_its_registration() -> None:
    log = LogBuilder(effective="2024-01-01")
    assert log.known(effective_on="2023-12-31") is None
    assert log.known(published_on="2023-12-31") is None
    assert log.known(position=0) is None
    assert log.known(effective_on="2024-01-01") is not None


def test_a_revision_published_before_its_own_pledge_is_accepted_and_flagged_where_it_has_no_ground() -> None:
    log, _ = pledged(published="2025-06-22")
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-20")
    assert log.history().timeline.refusals == {}
    seen = state_as_of(log.slug, log.events, AsOf(published_on=day("2025-06-21")), DEALS)
    assert [(r.recorded.id, refusal.code) for r, refusal in seen.unapplied] == [(revision.id, "pledge-unknown")]
    assert seen.state is not None
    assert seen.state.pledges == ()


def test_an_announcement_of_what_will_be_is_not_so_yet() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="operating"), "2027-11-01")
    assert log.state(effective_on="2027-10-31").stage is None
    assert log.state(effective_on="2027-11-01").stage is not None


# --- corrections and voids --------------------------------------------------------------------------------------------


def test_a_correction_changes_what_is_said_of_the_past_and_shows_in_the_recorded_history() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log, effective_on="2025-06-16") == "5"
    assert amount(log, effective_on="2025-06-16", position=2) == "50"


def test_a_correction_may_move_an_event_to_another_day_and_leaves_its_place_in_the_log() -> None:
    log, announced = pledged()
    log.correct(announced, effective_on=day("2025-06-20"))
    assert amount(log, effective_on="2025-06-19") is None
    assert amount(log, effective_on="2025-06-20") == "5"
    assert log.events[1] == announced


def test_a_correction_may_name_other_sources_and_so_another_day_of_publication() -> None:
    log, announced = pledged(published="2025-06-30")
    log.correct(announced, sources=(article(day("2025-06-16")),))
    assert amount(log, published_on="2025-06-16") == "5"


def test_what_a_correction_leaves_out_is_completed_from_the_event_as_it_then_reads() -> None:
    log, announced = pledged("50", published="2025-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    dated = log.correct(announced, effective_on=day("2025-06-20"))
    assert isinstance(dated.event, EventCorrected)
    assert dated.event.replacement == Replacement(
        effective_on=day("2025-06-20"),
        sources=announced.sources,
        event=PledgeAnnounced(pledge="total", amount=usd("5")),
    )


def test_corrections_hide_from_the_public_clocks_by_their_position_alone() -> None:
    log, announced = pledged("50", published="2025-06-16")
    log.now = log.now.replace(year=2026)
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log, published_on="2025-06-16") == "5"


def test_a_first_event_can_be_corrected() -> None:
    log = LogBuilder()
    title = Localized(en="SK–AWS Ulsan", ko="SK·AWS 울산")
    log.correct(log.events[0], event=DealRegistered(title=title), effective_on=day("2025-06-16"))
    assert log.state().title == title
    assert log.known(effective_on="2025-06-15") is None
    assert log.state(position=1).title == Localized(en="A deal")


def test_of_two_corrections_the_later_wins_and_correcting_a_correction_is_correcting_the_original() -> None:
    log, announced = pledged("50")
    first = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    log.correct(first, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log) == "5"
    assert [amount(log, position=n) for n in (2, 3, 4)] == ["50", "6", "5"]
    reading = log.history().record.by_id[announced.id]
    assert len(reading.corrections) == 2


def test_a_voided_correction_gives_way_to_the_one_before_and_at_last_to_the_original() -> None:
    log, announced = pledged("50")
    first = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    second = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.void(second)
    assert amount(log) == "6"
    void = log.void(first)
    assert amount(log) == "50"
    log.void(void)
    assert amount(log) == "6"


def test_a_void_takes_out_an_original_whatever_its_corrections_say_and_its_own_void_restores_it() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    void = log.void(announced)
    assert log.state().pledges == ()
    log.void(void)
    assert amount(log) == "5"


def test_a_voided_id_can_be_used_again_because_it_never_was() -> None:
    log, announced = pledged("50")
    log.void(announced)
    log.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2025-06-16")
    assert amount(log) == "5"


def test_a_correction_of_another_deals_event_is_refused() -> None:
    log, _ = pledged()
    assert refused(
        log, EventCorrected(corrects=NOWHERE, replacement=Replacement(effective_on=day("2025-01-01")))
    ).refusal.code == ("event-unknown")


def test_a_correction_that_changes_nothing_is_refused() -> None:
    log, announced = pledged()
    same = Replacement(event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert refused(log, EventCorrected(corrects=announced.id, replacement=same)).refusal.code == "corrects-nothing"


def test_a_correction_keeps_the_type_of_its_event() -> None:
    log, announced = pledged()
    other = Replacement(event=StageChanged(stage="signed"))
    assert refused(log, EventCorrected(corrects=announced.id, replacement=other)).refusal.code == "type-changed"


def test_a_voided_event_is_not_corrected_but_restored_first() -> None:
    log, announced = pledged()
    log.void(announced)
    change = Replacement(effective_on=day("2025-01-01"))
    assert refused(log, EventCorrected(corrects=announced.id, replacement=change)).refusal.code == "event-voided"


def test_a_void_or_a_merge_says_nothing_that_could_be_corrected() -> None:
    log, announced = pledged()
    void = log.void(announced)
    merge = log.admit(DealMerged(into="other-deal"))
    change = Replacement(effective_on=day("2025-01-01"))
    for record in (void, merge):
        assert refused(log, EventCorrected(corrects=record.id, replacement=change)).refusal.code == "not-correctable"


def test_a_corrected_claim_says_what_it_speaks_of() -> None:
    log, _ = pledged()
    claim = log.admit(ClaimReported(claim="c", field="/pledges/total/amount", value=usd("7")))
    words = Replacement(event=ClaimReported(claim="c", field="/pledges/total/amount", value=usd("8")))
    assert refused(log, EventCorrected(corrects=claim.id, replacement=words)).refusal.code == "claim-about-missing"


def test_voiding_twice_is_refused() -> None:
    log, announced = pledged()
    log.void(announced)
    assert refused(log, EventVoided(voids=announced.id)).refusal.code == "already-voided"


def test_a_void_of_what_is_not_there_is_refused() -> None:
    log, _ = pledged()
    assert refused(log, EventVoided(voids=NOWHERE)).refusal.code == "event-unknown"


def test_a_registration_is_never_voided() -> None:
    log = LogBuilder()
    assert refused(log, EventVoided(voids=log.events[0].id)).refusal.code == "registration-voided"


def test_what_would_leave_later_events_without_ground_is_refused_with_the_list_of_them() -> None:
    log, announced = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field="/pledges/total/amount", value=usd("8")))
    renamed = Replacement(event=PledgeAnnounced(pledge="sum", amount=usd("5")))
    moved = Replacement(effective_on=day("2025-06-21"))
    for event in (
        EventVoided(voids=announced.id),
        EventCorrected(corrects=announced.id, replacement=renamed),
    ):
        refusal = refused(log, event)
        assert refusal.refusal.code == "would-strand-events"
        assert refusal.events == (str(revision.id), str(claim.id))
        assert str(revision.id) in str(refusal)
    assert refused(log, EventCorrected(corrects=announced.id, replacement=moved)).events == (
        str(revision.id),
        str(claim.id),
    )


def test_a_backdated_event_that_leaves_a_later_one_without_ground_is_refused() -> None:
    log = LogBuilder()
    scheduled = log.admit(MilestoneScheduled(milestone="phase-1"), "2025-06-16")
    assert refused(log, MilestoneScheduled(milestone="phase-1"), "2025-01-01").events == (str(scheduled.id),)


def test_a_step_reached_before_it_was_known_is_refused_until_its_plan_is_backdated() -> None:
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="phase-1"), "2025-08-29")
    assert refused(log, MilestoneReached(milestone="phase-1"), "2025-06-16").refusal.code == "milestone-unknown"


# --- claims and the choice between them -------------------------------------------------------------------------------


def disputed() -> tuple[LogBuilder, Recorded]:
    log, _ = pledged("5")
    return log, log.admit(ClaimReported(claim="herald", field="/pledges/total/amount", value=usd("7")))


FIELD = "/pledges/total/amount"


def test_a_preferred_claim_is_shown_with_the_announced_value_beside_it() -> None:
    log, claim = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald", reason="The company's own figure."))
    (pledge,) = log.state().pledges
    assert pledge.amount == usd("7")
    assert [(c.event, c.followed, c.rule) for c in pledge.claims] == [
        (log.events[1].id, False, None),
        (claim.id, True, "preferred"),
    ]


def test_the_choice_of_a_claim_has_its_own_history() -> None:
    log, _ = disputed()
    chosen = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimPreferred(field=FIELD))
    assert [amount(log, position=chosen.position + n) for n in (-1, 0, 1)] == ["5", "7", "5"]


def test_a_preference_says_how_we_file_and_so_holds_for_the_past_too() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    assert amount(log, effective_on="2025-06-16") == "7"


def test_a_preferred_claim_is_followed_no_longer_once_its_source_took_it_back() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimRetracted(claim="herald"))
    assert amount(log) == "5"


def test_a_preference_ends_where_the_world_sets_the_field_anew() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(PledgeRevised(pledge="total", amount=usd("9")), "2025-06-20")
    assert amount(log) == "9"
    assert amount(log, effective_on="2025-06-19") == "7"


def test_a_preference_can_be_corrected_to_a_claim_that_came_later() -> None:
    log, _ = disputed()
    chosen = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimReported(claim="joongang", field=FIELD, value=usd("6")))
    log.correct(chosen, event=ClaimPreferred(field=FIELD, claim="joongang"))
    assert amount(log) == "6"


@pytest.mark.parametrize(
    ("preference", "rule"),
    [
        (ClaimPreferred(field=FIELD, claim="never"), "claim-unknown"),
        (ClaimPreferred(field="/sites/mipo/gpus", claim="herald"), "claim-unknown"),
        (ClaimPreferred(field="/sites/mipo/gpus"), "no-preference"),
        (ClaimPreferred(field=FIELD, claim="herald"), "already-preferred"),
        (ClaimPreferred(field=FIELD, claim="joongang"), "claim-retracted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_preference_for_what_is_not_there_or_is_so_already_is_refused(preference: ClaimPreferred, rule: str) -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimReported(claim="joongang", field=FIELD, value=usd("6")))
    log.admit(ClaimRetracted(claim="joongang"))
    assert refused(log, preference).refusal.code == rule


def test_a_claim_names_the_event_that_set_its_field_by_itself() -> None:
    log = LogBuilder()
    log.admit(SiteAnnounced(site="mipo", power_mw="103"), "2025-06-16")
    revised = log.admit(SiteRevised(site="mipo", power_mw="41"), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field="/sites/mipo/power_mw", value="40"))
    assert isinstance(claim.event, ClaimReported)
    assert claim.event.about == revised.id


def test_a_claim_about_an_event_that_is_voided_loses_its_ground() -> None:
    log, _ = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("6")), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field=FIELD, value=usd("7")))
    assert refused(log, EventVoided(voids=revision.id)).events == (str(claim.id),)


@pytest.mark.parametrize("which", [0, 2])
def test_a_claim_speaks_of_an_event_of_the_world(which: int) -> None:
    """Of no registration, and of no other claim: so places never go in circles."""
    log, _ = disputed()
    claim = ClaimReported(claim="c", field=FIELD, value=usd("8"), about=log.events[which].id)
    assert refused(log, claim).refusal.code == "event-unknown"


def test_claims_that_are_corrected_to_speak_of_each_other_are_refused_and_break_no_reading() -> None:
    log, first = disputed()
    second = log.admit(ClaimReported(claim="c", field=FIELD, value=usd("8")))
    circle = Replacement(event=ClaimReported(claim="herald", field=FIELD, value=usd("7"), about=second.id))
    assert refused(log, EventCorrected(corrects=first.id, replacement=circle)).refusal.code == "would-strand-events"
    log.record(EventCorrected(corrects=first.id, replacement=circle))
    back = Replacement(event=ClaimReported(claim="c", field=FIELD, value=usd("8"), about=first.id))
    log.record(EventCorrected(corrects=second.id, replacement=back))
    assert len(state_as_of(log.slug, log.events, UNBOUNDED, DEALS).unapplied) == 2


# --- merges -----------------------------------------------------------------------------------------------------------


def test_a_merged_deal_leads_to_the_other_until_it_is_unmerged_and_loses_no_event() -> None:
    log, _ = pledged()
    before = log.state()
    merge = log.admit(DealMerged(into="aws-korea-2031"))
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).merged_into == "aws-korea-2031"
    assert log.state() == before
    log.admit(DealUnmerged())
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).merged_into is None
    assert state_as_of(log.slug, log.events, AsOf(position=merge.position), DEALS).merged_into == "aws-korea-2031"


def test_a_voided_merge_never_was() -> None:
    log, _ = pledged()
    log.void(log.admit(DealMerged(into="aws-korea-2031")))
    assert log.history().record.merged_into is None
    log.admit(StageChanged(stage="signed"), "2025-07-01")


def test_the_refusals_of_merging() -> None:
    log, _ = pledged()
    assert refused(log, DealMerged(into=log.slug)).refusal.code == "merge-into-itself"
    assert refused(log, DealUnmerged()).refusal.code == "not-merged"
    log.admit(DealMerged(into="aws-korea-2031"))
    assert refused(log, DealMerged(into="other")).refusal.code == "already-merged"
    assert refused(log, StageChanged(stage="signed"), "2025-07-01").refusal.code == "merged"


def test_the_record_of_a_merged_deal_can_still_be_put_right() -> None:
    log, announced = pledged("50")
    log.admit(DealMerged(into="aws-korea-2031"))
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log) == "5"


# --- erasure ----------------------------------------------------------------------------------------------------------


def test_what_is_erased_is_gone_whatever_was_asked() -> None:
    log, announced = pledged()
    log.redact(announced)
    assert log.state().pledges == ()
    assert log.state(position=2).pledges == ()
    reading = log.history().record.by_id[announced.id]
    assert (reading.event, reading.sources, reading.recorded.leaf_hash) == (None, (), announced.leaf_hash)


def test_an_erasure_reaches_the_history_that_is_held_in_memory() -> None:
    log, announced = pledged()
    held = log.history()
    held.append(log.make(EventRedacted(redacts=announced.id, reason="By law.")))
    assert held.state.pledges == ()
    assert all(e.event is None for e in held.events if e.id == announced.id)


def test_an_erasure_is_never_refused_for_what_rests_on_the_erased() -> None:
    log, announced = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    log.redact(announced)
    seen = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    assert [r.recorded.id for r, _ in seen.unapplied] == [revision.id]


def test_no_correction_brings_an_erased_event_back() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.redact(announced)
    assert log.state().pledges == ()
    change = Replacement(effective_on=day("2025-01-01"))
    assert refused(log, EventCorrected(corrects=announced.id, replacement=change)).refusal.code == "event-redacted"


def test_what_an_erased_correction_called_wrong_does_not_become_true_again() -> None:
    log, announced = pledged("50")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.redact(correction)
    assert log.state().pledges == ()
    assert log.state(position=correction.position).pledges == ()
    assert amount(log, position=announced.position) == "50"
    reading = log.history().record.by_id[announced.id]
    assert (reading.event, reading.sources, reading.content_record.id) == (None, (), correction.id)
    later = Replacement(effective_on=day("2025-01-01"))
    refusal = refused(log, EventCorrected(corrects=announced.id, replacement=later))
    assert (refusal.refusal.code, str(correction.id) in str(refusal)) == ("event-redacted", True)
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    assert amount(log) == "6"


def test_the_void_of_an_erased_correction_lets_the_original_read_again() -> None:
    log, announced = pledged("50")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.correct(announced, effective_on=day("2025-01-02"))
    log.redact(correction)
    log.void(correction)
    assert log.state().pledges == ()  # the later one quoted it, and stands
    log.void(log.events[3])
    assert amount(log) == "50"


def test_what_was_voided_stays_voided_when_the_void_is_erased() -> None:
    log, announced = pledged()
    void = log.void(announced)
    restored = log.void(void)
    again = log.void(restored)
    later = log.admit(StageChanged(stage="signed"), "2025-07-01")
    states = [log.state(position=n) for n in range(1, later.position + 1)]
    for erased in (void, again, restored):
        held = log.history()
        redaction = log.redact(erased)
        held.append(redaction)
        assert [log.state(position=n) for n in range(1, later.position + 1)] == states
        assert log.state() == held.state == states[-1]
        reading = log.history().record.by_id[erased.id]
        assert (reading.recorded.erased, reading.event) == (True, EventVoided(voids=erased.event.voids))  # type: ignore[union-attr]
    assert refused(log, EventVoided(voids=announced.id)).refusal.code == "already-voided"


def test_a_merge_a_choice_and_a_retraction_hold_when_their_words_are_erased() -> None:
    log, _ = pledged()
    log.admit(ClaimReported(claim="daily", field="/pledges/total/amount", value=usd("6")))
    log.admit(ClaimReported(claim="weekly", field="/pledges/total/amount", value=usd("7")))
    acts: list[AnyEvent] = [
        ClaimPreferred(field="/pledges/total/amount", claim="weekly", reason="words"),
        ClaimRetracted(claim="daily", reason="words"),
        DealMerged(into="aws-korea-2031", reason="words"),
    ]
    recorded = [log.admit(event) for event in acts]
    before = log.history().state_as_of(UNBOUNDED)
    assert before.merged_into == "aws-korea-2031"
    for one in recorded:
        log.redact(one)
    after = log.history().state_as_of(UNBOUNDED)
    assert (after.state, after.merged_into) == (before.state, before.merged_into)
    assert amount(log) == "7"
    for number, event in enumerate(log.events[4:7]):
        assert (event.erased, event.event) == (True, replace(acts[number], reason=None))


def test_a_corrected_choice_holds_as_corrected_when_it_is_erased() -> None:
    log, _ = pledged()
    log.admit(ClaimReported(claim="daily", field="/pledges/total/amount", value=usd("6")))
    log.admit(ClaimReported(claim="weekly", field="/pledges/total/amount", value=usd("7")))
    chosen = log.admit(ClaimPreferred(field="/pledges/total/amount", claim="weekly"))
    slip = log.correct(chosen, event=ClaimPreferred(field="/pledges/total/amount", claim="daily", reason="words"))
    log.redact(chosen)
    assert amount(log, position=chosen.position) == "7"
    assert amount(log, position=slip.position) == "6"
    assert amount(log) == "6"


def test_a_redaction_of_before_effects_were_kept_still_reads() -> None:
    log, announced = pledged()
    void = log.void(announced)
    log.add(log.make(EventRedacted(redacts=void.id, reason="By law.")))
    assert log.history().record.by_id[void.id].event is None
    assert amount(log) == "5"


def test_the_refusals_of_erasing() -> None:
    log, announced = pledged()
    erasure = log.redact(announced)
    assert refused(log, EventRedacted(redacts=announced.id, reason="Again.")).refusal.code == "already-redacted"
    assert refused(log, EventRedacted(redacts=erasure.id, reason="Hide it.")).refusal.code == "redaction-redacted"
    assert refused(log, EventRedacted(redacts=NOWHERE, reason="What?")).refusal.code == "event-unknown"
    assert refused(log, EventVoided(voids=erasure.id)).refusal.code == "redaction-voided"


# --- the strict door --------------------------------------------------------------------------------------------------


def test_the_first_event_of_a_deal_registers_it() -> None:
    log = LogBuilder(registered=False)
    assert refused(log, StageChanged(stage="signed"), "2025-01-01").refusal.code == "not-registered"
    log.admit(DealRegistered(title=Localized(en="A deal")))
    assert refused(log, DealRegistered(title=Localized(en="A deal"))).refusal.code == "already-registered"


def test_the_door_leaves_the_history_it_was_asked_about_as_it_was() -> None:
    log, _ = pledged()
    history = log.history()
    answer = admit(history, log.make(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20"))
    assert history.state != answer.state
    assert history.version == 2
    assert history.state == log.history().state


def test_an_organizations_stream_is_read_by_the_same_rule() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK")), "2024-01-01")
    log.record(
        EventCorrected(
            corrects=log.events[0].id,
            replacement=Replacement(event=OrganizationRegistered(name=Localized(en="SK Group"))),
        )
    )
    held: FoldedStream[Organization] = FoldedStream("sk-group", ORGANIZATIONS, log.events)
    assert held.state.name == Localized(en="SK Group")


def test_a_history_held_at_a_date_goes_on_at_that_date() -> None:
    log, _ = pledged()
    later = log.make(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    held: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events, AsOf(effective_on=day("2025-06-19")))
    held.append(later)
    assert held.state.pledges[0].amount == usd("5")
