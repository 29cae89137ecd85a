"""As-of states, corrections and voids, preferred claims, merges, redactions and admission."""

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

UNKNOWN_EVENT = UUID(int=404)


def pledged(amount: str = "5", effective: str = "2025-06-16", **more: Any) -> tuple[LogBuilder, Recorded]:
    log = LogBuilder()
    return log, log.admit(PledgeAnnounced(pledge="total", amount=usd(amount)), effective, **more)


def amount(log: LogBuilder, **as_of: Any) -> str | None:
    pledges = log.state(**as_of).pledges
    return pledges[0].amount.value if pledges and pledges[0].amount else None


def refuse(log: LogBuilder, event: Any, effective: str | None = None) -> RuleBroken:
    """The error with which admission refuses an event; the log stays unchanged."""
    before, state = list(log.events), log.history().state
    with pytest.raises(RuleBroken) as refusal:
        log.admit(event, effective)
    assert (log.events, log.history().state) == (before, state)
    return refusal.value


# --- the time axes ----------------------------------------------------------------------------------------------------


def test_each_time_axis_alone_hides_later_events() -> None:
    log, announced = pledged("5", "2025-06-16", published="2025-06-18")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-22")
    assert [amount(log, effective_on=d) for d in ("2025-06-15", "2025-06-16", "2025-06-20")] == [None, "5", "7"]
    assert [amount(log, published_on=d) for d in ("2025-06-17", "2025-06-18", "2025-06-22")] == [None, "5", "7"]
    assert [amount(log, position=n) for n in (1, 2, 3)] == [None, "5", "7"]
    assert amount(log, recorded_at=announced.recorded_at) == "5"
    assert amount(log, recorded_at=announced.recorded_at - timedelta(microseconds=1)) is None


def test_earlier_of_recorded_time_and_position_applies() -> None:
    log, announced = pledged()
    assert amount(log, recorded_at=announced.recorded_at, position=1) is None
    assert amount(log, recorded_at=log.events[0].recorded_at, position=2) is None


def test_position_separates_events_recorded_at_the_same_time() -> None:
    log, announced = pledged()
    log.now = announced.recorded_at
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-16")
    assert amount(log, recorded_at=announced.recorded_at) == "7"
    assert amount(log, recorded_at=announced.recorded_at, position=2) == "5"


def test_backdated_event_changes_the_past_from_its_effective_date() -> None:
    log, _ = pledged("7", "2025-06-22")
    log.admit(PledgeAnnounced(pledge="earlier"), "2024-09-27")
    assert [p.pledge for p in log.state(effective_on="2025-01-01").pledges] == ["earlier"]
    assert log.state(effective_on="2025-01-01", position=2).pledges == ()


def test_registration_applies_first_whatever_its_date() -> None:
    log = LogBuilder(effective="2025-10-29")
    log.admit(StageChanged(stage="signed"), "2024-09-27", published="2024-09-30")
    state = log.state(effective_on="2024-10-01")
    assert state.title == Localized(en="A deal")
    assert state.stage is not None


def test_deal_is_unknown_where_even_its_registration_is_hidden() -> None:
    log = LogBuilder(effective="2024-01-01")
    assert log.known(effective_on="2023-12-31") is None
    assert log.known(published_on="2023-12-31") is None
    assert log.known(position=0) is None
    assert log.known(effective_on="2024-01-01") is not None


def test_revision_published_before_its_pledge_is_unapplied_in_between() -> None:
    log, _ = pledged(published="2025-06-22")
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20", published="2025-06-20")
    assert log.history().timeline.refusals == {}
    snapshot = state_as_of(log.slug, log.events, AsOf(published_on=day("2025-06-21")), DEALS)
    assert [(r.recorded.id, refusal.code) for r, refusal in snapshot.unapplied] == [(revision.id, "pledge-unknown")]
    assert snapshot.state is not None
    assert snapshot.state.pledges == ()


def test_event_with_a_future_effective_date_does_not_apply_yet() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="operating"), "2027-11-01")
    assert log.state(effective_on="2027-10-31").stage is None
    assert log.state(effective_on="2027-11-01").stage is not None


# --- corrections and voids --------------------------------------------------------------------------------------------


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


# --- preferred claims -------------------------------------------------------------------------------------------------


def disputed() -> tuple[LogBuilder, Recorded]:
    log, _ = pledged("5")
    return log, log.admit(ClaimReported(claim="herald", field="/pledges/total/amount", value=usd("7")))


FIELD = "/pledges/total/amount"


def test_preferred_claim_is_shown_and_the_announced_value_is_listed() -> None:
    log, claim = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald", reason="The company's own figure."))
    (pledge,) = log.state().pledges
    assert pledge.amount == usd("7")
    assert [(c.event, c.followed, c.rule) for c in pledge.claims] == [
        (log.events[1].id, False, None),
        (claim.id, True, "preferred"),
    ]


def test_preferences_have_a_recorded_history() -> None:
    log, _ = disputed()
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimPreferred(field=FIELD))
    assert [amount(log, position=preferred.position + n) for n in (-1, 0, 1)] == ["5", "7", "5"]


def test_preference_applies_to_earlier_effective_dates_too() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    assert amount(log, effective_on="2025-06-16") == "7"


def test_retracted_claim_is_no_longer_shown_although_preferred() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimRetracted(claim="herald"))
    assert amount(log) == "5"


def test_preference_ends_when_a_later_event_sets_the_field() -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(PledgeRevised(pledge="total", amount=usd("9")), "2025-06-20")
    assert amount(log) == "9"
    assert amount(log, effective_on="2025-06-19") == "7"


def test_preference_can_be_corrected_to_a_later_claim() -> None:
    log, _ = disputed()
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimReported(claim="joongang", field=FIELD, value=usd("6")))
    log.correct(preferred, event=ClaimPreferred(field=FIELD, claim="joongang"))
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
def test_preference_that_is_unknown_or_already_in_force_is_refuse(preference: ClaimPreferred, rule: str) -> None:
    log, _ = disputed()
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimReported(claim="joongang", field=FIELD, value=usd("6")))
    log.admit(ClaimRetracted(claim="joongang"))
    assert refuse(log, preference).refusal.code == rule


def test_recorder_fills_in_the_event_that_a_claim_is_about() -> None:
    log = LogBuilder()
    log.admit(SiteAnnounced(site="mipo", power_mw="103"), "2025-06-16")
    revised = log.admit(SiteRevised(site="mipo", power_mw="41"), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field="/sites/mipo/power_mw", value="40"))
    assert isinstance(claim.event, ClaimReported)
    assert claim.event.about == revised.id


def test_void_of_the_event_that_a_claim_is_about_is_refuse() -> None:
    log, _ = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("6")), "2025-06-20")
    claim = log.admit(ClaimReported(claim="c", field=FIELD, value=usd("7")))
    assert refuse(log, EventVoided(voids=revision.id)).events == (str(claim.id),)


@pytest.mark.parametrize("which", [0, 2])
def test_claim_about_a_registration_or_another_claim_is_refuse(which: int) -> None:
    """Otherwise the places of two claims in the fold could depend on each other."""
    log, _ = disputed()
    claim = ClaimReported(claim="c", field=FIELD, value=usd("8"), about=log.events[which].id)
    assert refuse(log, claim).refusal.code == "event-unknown"


def test_claims_corrected_to_be_about_each_other_are_refused_or_unapplied() -> None:
    log, first = disputed()
    second = log.admit(ClaimReported(claim="c", field=FIELD, value=usd("8")))
    circle = Replacement(event=ClaimReported(claim="herald", field=FIELD, value=usd("7"), about=second.id))
    assert refuse(log, EventCorrected(corrects=first.id, replacement=circle)).refusal.code == "would-strand-events"
    log.record(EventCorrected(corrects=first.id, replacement=circle))
    back = Replacement(event=ClaimReported(claim="c", field=FIELD, value=usd("8"), about=first.id))
    log.record(EventCorrected(corrects=second.id, replacement=back))
    assert len(state_as_of(log.slug, log.events, UNBOUNDED, DEALS).unapplied) == 2


# --- merges -----------------------------------------------------------------------------------------------------------


def test_merged_deal_redirects_until_it_is_unmerged_and_keeps_its_events() -> None:
    log, _ = pledged()
    before = log.state()
    merge = log.admit(DealMerged(into="aws-korea-2031"))
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).merged_into == "aws-korea-2031"
    assert log.state() == before
    log.admit(DealUnmerged())
    assert state_as_of(log.slug, log.events, UNBOUNDED, DEALS).merged_into is None
    assert state_as_of(log.slug, log.events, AsOf(position=merge.position), DEALS).merged_into == "aws-korea-2031"


def test_voided_merge_does_not_redirect() -> None:
    log, _ = pledged()
    log.void(log.admit(DealMerged(into="aws-korea-2031")))
    assert log.history().record.merged_into is None
    log.admit(StageChanged(stage="signed"), "2025-07-01")


def test_merges_that_make_no_sense_are_refuse() -> None:
    log, _ = pledged()
    assert refuse(log, DealMerged(into=log.slug)).refusal.code == "merge-into-itself"
    assert refuse(log, DealUnmerged()).refusal.code == "not-merged"
    log.admit(DealMerged(into="aws-korea-2031"))
    assert refuse(log, DealMerged(into="other")).refusal.code == "already-merged"
    assert refuse(log, StageChanged(stage="signed"), "2025-07-01").refusal.code == "merged"


def test_merged_deal_can_still_be_corrected() -> None:
    log, announced = pledged("50")
    log.admit(DealMerged(into="aws-korea-2031"))
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert amount(log) == "5"


# --- redactions -------------------------------------------------------------------------------------------------------


def test_redacted_content_is_gone_at_every_as_of_point() -> None:
    log, announced = pledged()
    log.redact(announced)
    assert log.state().pledges == ()
    assert log.state(position=2).pledges == ()
    effective = log.history().record.by_id[announced.id]
    assert (effective.event, effective.sources, effective.recorded.leaf_hash) == (None, (), announced.leaf_hash)


def test_redaction_removes_the_content_from_a_cached_stream() -> None:
    log, announced = pledged()
    stream = log.history()
    stream.append(log.make(EventRedacted(redacts=announced.id, reason="By law.")))
    assert stream.state.pledges == ()
    assert all(e.event is None for e in stream.events if e.id == announced.id)


def test_redaction_is_admitted_although_later_events_depend_on_it() -> None:
    log, announced = pledged()
    revision = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    log.redact(announced)
    snapshot = state_as_of(log.slug, log.events, UNBOUNDED, DEALS)
    assert [r.recorded.id for r, _ in snapshot.unapplied] == [revision.id]


def test_correction_of_a_redacted_event_is_refuse() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.redact(announced)
    assert log.state().pledges == ()
    change = Replacement(effective_on=day("2025-01-01"))
    assert refuse(log, EventCorrected(corrects=announced.id, replacement=change)).refusal.code == "event-redacted"


def test_redacted_correction_does_not_restore_the_corrected_content() -> None:
    log, announced = pledged("50")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.redact(correction)
    assert log.state().pledges == ()
    assert log.state(position=correction.position).pledges == ()
    assert amount(log, position=announced.position) == "50"
    effective = log.history().record.by_id[announced.id]
    assert (effective.event, effective.sources, effective.content_record.id) == (None, (), correction.id)
    later = Replacement(effective_on=day("2025-01-01"))
    refusal = refuse(log, EventCorrected(corrects=announced.id, replacement=later))
    assert (refusal.refusal.code, str(correction.id) in str(refusal)) == ("event-redacted", True)
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    assert amount(log) == "6"


def test_void_of_a_redacted_correction_restores_the_original() -> None:
    log, announced = pledged("50")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.correct(announced, effective_on=day("2025-01-02"))
    log.redact(correction)
    log.void(correction)
    assert log.state().pledges == ()  # The later correction repeated it and is in force.
    log.void(log.events[3])
    assert amount(log) == "50"


def test_voided_event_stays_voided_when_the_void_is_redacted() -> None:
    log, announced = pledged()
    void = log.void(announced)
    restored = log.void(void)
    again = log.void(restored)
    later = log.admit(StageChanged(stage="signed"), "2025-07-01")
    states = [log.state(position=n) for n in range(1, later.position + 1)]
    for redacted in (void, again, restored):
        stream = log.history()
        redaction = log.redact(redacted)
        stream.append(redaction)
        assert [log.state(position=n) for n in range(1, later.position + 1)] == states
        assert log.state() == stream.state == states[-1]
        effective = log.history().record.by_id[redacted.id]
        assert (effective.recorded.erased, effective.event) == (True, EventVoided(voids=redacted.event.voids))  # type: ignore[union-attr]
    assert refuse(log, EventVoided(voids=announced.id)).refusal.code == "already-voided"


def test_redacted_merge_preference_and_retraction_still_apply() -> None:
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


def test_redacted_preference_still_applies_as_corrected() -> None:
    log, _ = pledged()
    log.admit(ClaimReported(claim="daily", field="/pledges/total/amount", value=usd("6")))
    log.admit(ClaimReported(claim="weekly", field="/pledges/total/amount", value=usd("7")))
    preferred = log.admit(ClaimPreferred(field="/pledges/total/amount", claim="weekly"))
    slip = log.correct(preferred, event=ClaimPreferred(field="/pledges/total/amount", claim="daily", reason="words"))
    log.redact(preferred)
    assert amount(log, position=preferred.position) == "7"
    assert amount(log, position=slip.position) == "6"
    assert amount(log) == "6"


def test_redaction_without_effects_can_be_read() -> None:
    log, announced = pledged()
    void = log.void(announced)
    log.add(log.make(EventRedacted(redacts=void.id, reason="By law.")))
    assert log.history().record.by_id[void.id].event is None
    assert amount(log) == "5"


def test_redactions_that_make_no_sense_are_refuse() -> None:
    log, announced = pledged()
    erasure = log.redact(announced)
    assert refuse(log, EventRedacted(redacts=announced.id, reason="Again.")).refusal.code == "already-redacted"
    assert refuse(log, EventRedacted(redacts=erasure.id, reason="Hide it.")).refusal.code == "redaction-redacted"
    assert refuse(log, EventRedacted(redacts=UNKNOWN_EVENT, reason="What?")).refusal.code == "event-unknown"
    assert refuse(log, EventVoided(voids=erasure.id)).refusal.code == "redaction-voided"


# --- admission --------------------------------------------------------------------------------------------------------


def test_first_event_of_a_deal_must_register_it() -> None:
    log = LogBuilder(registered=False)
    assert refuse(log, StageChanged(stage="signed"), "2025-01-01").refusal.code == "not-registered"
    log.admit(DealRegistered(title=Localized(en="A deal")))
    assert refuse(log, DealRegistered(title=Localized(en="A deal"))).refusal.code == "already-registered"


def test_admission_does_not_change_the_given_stream() -> None:
    log, _ = pledged()
    history = log.history()
    after = admit(history, log.make(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20"))
    assert history.state != after.state
    assert history.version == 2
    assert history.state == log.history().state


def test_organization_stream_follows_the_same_as_of_rule() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK")), "2024-01-01")
    log.record(
        EventCorrected(
            corrects=log.events[0].id,
            replacement=Replacement(event=OrganizationRegistered(name=Localized(en="SK Group"))),
        )
    )
    stream: FoldedStream[Organization] = FoldedStream("sk-group", ORGANIZATIONS, log.events)
    assert stream.state.name == Localized(en="SK Group")


def test_stream_folded_as_of_a_date_hides_later_events_as_it_grows() -> None:
    log, _ = pledged()
    later = log.make(PledgeRevised(pledge="total", amount=usd("7")), "2025-06-20")
    stream: FoldedStream[Deal] = FoldedStream(log.slug, DEALS, log.events, AsOf(effective_on=day("2025-06-19")))
    stream.append(later)
    assert stream.state.pledges[0].amount == usd("5")
