"""The audit trail and the provenance of fields."""

from __future__ import annotations

from typing import Any

from registry.domain.audit.diff import Change
from registry.domain.audit.entries import audit_trail
from registry.domain.audit.provenance import provenance
from registry.domain.calendar import Calendar
from registry.domain.history import UNBOUNDED, state_as_of
from registry.domain.organizations.organization import Organization
from registry.domain.stream_kinds import DEALS, ORGANIZATIONS
from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    OrganizationIdentified,
    OrganizationNamed,
    OrganizationRegistered,
    PledgeAnnounced,
    PledgeRevised,
    StageChanged,
    StatusObserved,
)
from registry.events.values import Localized, Source
from tests.domain.builders import LogBuilder, usd
from tests.domain.comparisons import FIELD, entries_by_id, pledged

# --- the audit trail -------------------------------------------------------------------------------------------------


def test_entry_lists_the_fields_that_its_event_changed() -> None:
    log, announced = pledged()
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    entries = entries_by_id(log)
    assert Change(FIELD, None, usd("5")) in entries[announced.id].changes
    assert Change(FIELD, usd("5"), usd("7")) in entries[revised.id].changes
    assert entries[log.events[0].id].changes[0] == Change("/deal", None, log.slug)


def test_backdated_entry_lists_the_changes_at_its_place_in_the_fold() -> None:
    log, announced = pledged("7", "2024-06-20")
    log.admit(StageChanged(stage="construction"), "2024-09-01")
    late = log.admit(StageChanged(stage="signed"), "2024-06-01")
    (change,) = entries_by_id(log)[late.id].changes
    assert (change.path, change.before) == ("/stage", None)
    assert change.after.value == "signed"
    assert announced.id in entries_by_id(log)


def test_audit_trail_distinguishes_a_correction_from_a_void() -> None:
    corrected, announced = pledged("50")
    correction = corrected.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    voided, wrong = pledged("50")
    void = voided.void(wrong)
    again = voided.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2024-06-16")
    assert corrected.state().pledges == voided.state().pledges

    one = entries_by_id(corrected)
    assert one[correction.id].changes == [Change(FIELD, usd("50"), usd("5"))]
    assert (one[correction.id].kind, one[correction.id].target_event) == ("record", announced.id)
    assert one[announced.id].superseded_by == correction.id
    assert Change(FIELD, None, usd("5")) in one[announced.id].changes

    two = entries_by_id(voided)
    assert two[wrong.id].changes == []
    assert two[wrong.id].effective.voided_by == void
    assert Change(FIELD, usd("50"), None) in two[void.id].changes
    assert (two[again.id].label, two[again.id].target_event) == ("re_recorded", None)


def test_chained_correction_supersedes_and_targets_the_original() -> None:
    log, announced = pledged("50")
    first = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    second = log.correct(first, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    entries = entries_by_id(log)
    assert (entries[second.id].target_event, entries[second.id].superseded_by) == (announced.id, None)
    assert entries[first.id].superseded_by == second.id
    void = log.void(second)
    entries = entries_by_id(log)
    assert (entries[first.id].superseded_by, entries[void.id].target_event) == (None, announced.id)
    assert entries[void.id].changes == [Change(FIELD, usd("5"), usd("6"))]


def test_claims_and_preferences_are_changes_at_a_source_and_never_corrections() -> None:
    log, _ = pledged()
    claim = log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    unchosen = log.admit(ClaimPreferred(field=FIELD))
    retracted = log.admit(ClaimRetracted(claim="herald"))
    entries = entries_by_id(log)
    events = (claim, preferred, unchosen, retracted)
    assert [entries[e.id].label for e in events] == ["claimed", "preferred", "preferred", "retracted"]
    assert {entries[e.id].kind for e in events} == {"source"}
    assert [c.path for c in entries[claim.id].changes] == ["/pledges/total/claims"]
    assert Change(FIELD, usd("5"), usd("7")) in entries[preferred.id].changes
    assert Change(FIELD, usd("7"), usd("5")) in entries[unchosen.id].changes
    assert entries[preferred.id].superseded_by == unchosen.id


def test_claim_that_agrees_with_the_value_shown_is_corroborated() -> None:
    log, _ = pledged("5")
    same = log.admit(ClaimReported(claim="times", field=FIELD, value=usd("5", qualifier="about")))
    other = log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    entries = entries_by_id(log)
    assert [entries[e.id].label for e in (same, other)] == ["corroborated", "claimed"]


def test_preferred_claim_is_compared_with_the_recorded_value_and_not_with_itself() -> None:
    log, _ = pledged("5")
    claim = log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    assert entries_by_id(log)[claim.id].label == "claimed"


def test_event_that_the_record_of_an_earlier_day_lacked_is_learned_late() -> None:
    log, _ = pledged("5", "2024-06-16")
    late = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    new = log.admit(PledgeRevised(pledge="total", amount=usd("8")), log.now.date())
    entries = entries_by_id(log)
    assert [entries[e.id].label for e in (late, new)] == ["learned_late", "world"]


def test_name_or_identifier_is_record_keeping_with_and_without_a_source() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK Group")), "2024-01-01")
    article = (Source(publisher="Korea Herald"),)
    described = [
        log.record(OrganizationIdentified(scheme="wikidata", identifier="Q487907"), "2024-01-01"),
        log.record(OrganizationNamed(name="SK그룹", language="ko"), "2024-01-01"),
        log.record(OrganizationNamed(name="SK", language="en", kind="short"), "2024-03-01", sources=article),
        log.record(OrganizationNamed(name="SK Holdings", language="en", kind="legal"), "2024-01-01", sources=article),
        log.record(OrganizationNamed(name="에스케이", language="ko", kind="legal"), "2024-04-01", sources=article),
    ]
    labels = {e.effective.recorded.id: e.label for e in audit_trail(log.events, UNBOUNDED, ORGANIZATIONS, Calendar())}
    assert [labels[e.id] for e in described] == ["record_keeping"] * 5


def test_legal_name_that_follows_another_is_a_change_of_the_world() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK Group")), "2024-01-01")
    first = log.record(OrganizationNamed(name="SK Holdings", language="en", kind="legal"), "2024-01-01")
    renamed = log.record(OrganizationNamed(name="SK Inc.", language="en", kind="legal"), "2099-01-01")
    labels = {e.effective.recorded.id: e.label for e in audit_trail(log.events, UNBOUNDED, ORGANIZATIONS, Calendar())}
    assert (labels[first.id], labels[renamed.id]) == ("record_keeping", "world")


def test_events_recorded_on_the_day_of_the_registration_are_not_learned_late() -> None:
    log = LogBuilder()
    log.now = log.events[0].recorded_at
    announced = log.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2024-06-16")
    assert entries_by_id(log)[announced.id].label == "world"


def test_first_observation_of_the_stage_is_a_change_at_a_source() -> None:
    log, _ = pledged()
    first = log.admit(StatusObserved(stage="construction"), log.now.date())
    second = log.admit(StatusObserved(stage="operating"), log.now.date())
    entries = entries_by_id(log)
    assert [entries[e.id].label for e in (first, second)] == ["observed", "world"]


def test_entry_of_a_merge_lists_the_redirect() -> None:
    log, _ = pledged()
    merge = log.admit(DealMerged(into="aws-korea-2031"))
    void = log.void(merge)
    entries = entries_by_id(log)
    assert entries[merge.id].changes == [Change("/merged_into", None, "aws-korea-2031")]
    assert entries[void.id].changes == [Change("/merged_into", "aws-korea-2031", None)]


def test_unapplied_event_is_listed_with_its_rule_and_without_changes() -> None:
    log, _ = pledged(published="2024-06-22")
    early = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20", published="2024-06-20")
    entries = entries_by_id(log, published_on="2024-06-21")
    refusal = entries[early.id].unapplied
    assert refusal is not None
    assert refusal.code == "pledge-unknown"
    assert entries[early.id].changes == []


def test_event_hidden_by_its_dates_is_listed_as_not_visible() -> None:
    log, announced = pledged("5", "2024-06-16")
    entries = entries_by_id(log, effective_on="2024-06-15")
    assert (entries[announced.id].visible, entries[announced.id].changes) == (False, [])
    assert entries_by_id(log, effective_on="2024-06-16")[announced.id].visible
    assert announced.id not in entries_by_id(log, position=1)


def test_redacted_event_is_listed_without_content() -> None:
    log, announced = pledged()
    erasure = log.redact(announced)
    entries = entries_by_id(log)
    assert (entries[announced.id].kind, entries[announced.id].changes) == ("learned_late", [])
    assert (entries[erasure.id].kind, entries[erasure.id].target_event) == ("record", announced.id)


def test_audit_trail_of_no_events_is_empty() -> None:
    assert audit_trail([], UNBOUNDED, DEALS, Calendar()) == []


def test_organization_has_an_audit_trail() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK Group")), "2024-01-01")
    named = log.record(OrganizationNamed(name="SK그룹", language="ko"), "2024-01-01")
    entries = audit_trail(log.events, UNBOUNDED, ORGANIZATIONS, Calendar())
    assert [a.label for a in entries] == ["record_keeping", "record_keeping"]
    assert [c.path for c in entries[1].changes] == ["/names"]
    snapshot = state_as_of("sk-group", log.events, UNBOUNDED, ORGANIZATIONS)
    assert isinstance(snapshot.state, Organization)
    assert {b.path: b.event for b in provenance(snapshot)}["/names"] == named.id


# --- provenance ------------------------------------------------------------------------------------------------------


def blamed(log: LogBuilder, **as_of: Any) -> dict[str, Any]:
    return {b.path: b for b in provenance(state_as_of(log.slug, log.events, log.at(**as_of), DEALS))}


def test_provenance_names_the_event_that_set_a_field_and_the_old_value() -> None:
    log, announced = pledged()
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    named = blamed(log)
    assert (named[FIELD].value, named[FIELD].before, named[FIELD].event) == (usd("7"), usd("5"), revised.id)
    assert named["/pledges/total/pledge"].event == announced.id
    assert named["/title"].event == log.events[0].id
    assert "/pledges/total/purpose" not in named
    assert blamed(log, effective_on="2024-06-19")[FIELD].event == announced.id


def test_provenance_of_a_corrected_field_is_the_original_event() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert (blamed(log)[FIELD].event, blamed(log)[FIELD].value) == (announced.id, usd("5"))


def test_provenance_of_a_preferred_claim_names_claim_and_preference() -> None:
    log, _ = pledged()
    claim = log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    named = blamed(log)[FIELD]
    assert (named.value, named.before, named.event, named.preferred_by) == (usd("7"), usd("5"), claim.id, preferred.id)
    assert blamed(log, position=claim.position)[FIELD].preferred_by is None


def test_provenance_after_a_retraction_is_the_event_that_set_the_value_shown() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimRetracted(claim="herald"))
    named = blamed(log)[FIELD]
    assert (named.value, named.before, named.event, named.preferred_by) == (usd("5"), None, announced.id, None)


def test_provenance_after_a_withdrawn_preference_is_the_event_that_set_the_value_shown() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimPreferred(field=FIELD))
    named = blamed(log)[FIELD]
    assert (named.value, named.before, named.event, named.preferred_by) == (usd("5"), None, announced.id, None)


def test_provenance_of_a_value_that_replaces_an_equal_preferred_claim_is_its_own_event() -> None:
    log, _ = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    assert (blamed(log)[FIELD].event, blamed(log)[FIELD].preferred_by) == (revised.id, None)


def test_provenance_of_an_inferred_stage_is_the_event_that_implies_it() -> None:
    log = LogBuilder()
    announced = log.admit(PledgeAnnounced(pledge="total", commitment="binding"), "2024-06-16")
    assert blamed(log)["/stage"].event == announced.id


def test_provenance_of_an_unknown_deal_is_empty() -> None:
    log, _ = pledged()
    assert blamed(log, effective_on="2000-01-01") == {}
