"""The audit trail, provenance, and comparisons between two points in time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest

from registry.domain.audit.change_points import change_points
from registry.domain.audit.comparison import Comparison, compare
from registry.domain.audit.diff import Change, apply, diff
from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.audit.portfolio_changes import portfolio_changes
from registry.domain.audit.provenance import provenance
from registry.domain.deal import Deal
from registry.domain.fold import DEALS, ORGANIZATIONS
from registry.domain.history import UNBOUNDED, AsOf, state_as_of
from registry.domain.organization import Organization, register
from registry.events.types import (
    Amount,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    DealRegistered,
    DealRevised,
    DealsRelated,
    EventVoided,
    Localized,
    MilestoneRescheduled,
    MilestoneScheduled,
    OrganizationNamed,
    OrganizationRegistered,
    PartiesJoined,
    Party,
    PartyLeft,
    PledgeAnnounced,
    PledgeRevised,
    PledgeWithdrawn,
    Recorded,
    SiteAnnounced,
    StageChanged,
)
from tests.domain.builders import LogBuilder, day, usd

FIELD = "/pledges/total/amount"


def pledged(amount: str = "5", effective: str = "2024-06-16", **more: Any) -> tuple[LogBuilder, Recorded]:
    log = LogBuilder()
    return log, log.admit(PledgeAnnounced(pledge="total", amount=usd(amount)), effective, **more)


def entries_by_id(log: LogBuilder, **as_of: Any) -> dict[UUID, AuditEntry]:
    return {a.effective.recorded.id: a for a in audit_trail(log.events, log.at(**as_of), DEALS)}


def compare_at(log: LogBuilder, at: dict[str, Any], then: dict[str, Any]) -> Comparison[Deal]:
    return compare(log.events, log.at(**at), log.at(**then), DEALS)


def kinds(comparison: Comparison[Deal], path: str = FIELD) -> list[tuple[str, Any, Any]]:
    """Each change of an amount: its kind, and the values before and after."""
    return [
        (c.kind, c.before and c.before.value, c.after and c.after.value) for c in comparison.changes if c.path == path
    ]


def whats(comparison: Comparison[Deal]) -> list[str]:
    return [movement.what for movement in portfolio_changes(comparison)]


# --- differences ------------------------------------------------------------------------------------------------------


def test_change_of_an_amount_is_one_change() -> None:
    log, _ = pledged()
    before = log.state()
    log.admit(PledgeRevised(pledge="total", amount=usd("7", qualifier="about")), "2024-06-16")
    assert diff(before, log.state()) == [Change(FIELD, usd("5"), usd("7", qualifier="about"))]


def test_equal_states_have_no_differences() -> None:
    log, _ = pledged()
    assert diff(log.state(), log.state()) == []
    assert diff(None, None) == []


def test_new_item_is_listed_by_its_known_fields() -> None:
    log = LogBuilder()
    before = log.state()
    log.admit(SiteAnnounced(site="mipo", place="KR-31"), "2024-06-16")
    assert {c.path: (c.before, c.after) for c in diff(before, log.state())} == {
        "/sites/mipo/site": (None, "mipo"),
        "/sites/mipo/place": (None, "KR-31"),
        "/sites/mipo/status": (None, "announced"),
        "/sites/mipo/announced_on": (None, day("2024-06-16")),
    }


def test_parties_and_relations_have_composite_ids() -> None:
    log, _ = pledged()
    log.admit(PartiesJoined(parties=(Party(organization="sk", role="investor"),)), "2024-06-16")
    before = log.state()
    log.admit(PartyLeft(organization="sk"), "2024-06-20")
    log.admit(DealsRelated(relation="separate_from", deal="aws-korea-2031", pledge="total"), "2024-06-20")
    paths = {c.path for c in diff(before, log.state())}
    assert "/parties/sk:investor:2024-06-16/left_on" in paths
    assert "/relations/separate_from:total:aws-korea-2031:/since" in paths


def test_list_of_items_without_ids_is_one_value() -> None:
    log = LogBuilder()
    before = log.state()
    log.admit(DealRevised(sectors=("cloud", "data-centers")), "2024-06-16")
    assert diff(before, log.state()) == [Change("/sectors", (), ("cloud", "data-centers"))]


def test_differences_can_be_applied_and_reverted() -> None:
    log, _ = pledged()
    one = log.state()
    log.admit(PledgeAnnounced(pledge="more", amount=usd("1"), by=("sk", "amazon")), "2024-06-01")
    log.admit(PledgeWithdrawn(pledge="total"), "2024-07-01")
    two = log.state()
    for a, b in ((one, two), (two, one), (None, two), (two, None)):
        assert apply(a, diff(a, b)) == b


def test_states_of_an_organization_have_differences() -> None:
    one = register("sk-group", OrganizationRegistered(name=Localized(en="SK")))
    two = msgspec.structs.replace(one, name=Localized(en="SK Group"))
    assert diff(one, two) == [Change("/name", one.name, two.name)]
    assert apply(None, diff(None, two)) == two


# --- the audit trail --------------------------------------------------------------------------------------------------


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
    assert (one[correction.id].change_of, one[correction.id].target_event) == ("record", announced.id)
    assert one[announced.id].superseded_by == correction.id
    assert Change(FIELD, None, usd("5")) in one[announced.id].changes

    two = entries_by_id(voided)
    assert two[wrong.id].changes == []
    assert two[wrong.id].effective.voided_by == void
    assert Change(FIELD, usd("50"), None) in two[void.id].changes
    assert (two[again.id].change_of, two[again.id].target_event) == ("world", None)


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


def test_claim_is_a_source_change_and_preference_a_record_change() -> None:
    log, _ = pledged()
    claim = log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    unchosen = log.admit(ClaimPreferred(field=FIELD))
    retracted = log.admit(ClaimRetracted(claim="herald"))
    entries = entries_by_id(log)
    assert [entries[e.id].change_of for e in (claim, preferred, unchosen, retracted)] == [
        "source",
        "record",
        "record",
        "source",
    ]
    assert [c.path for c in entries[claim.id].changes] == ["/pledges/total/claims"]
    assert Change(FIELD, usd("5"), usd("7")) in entries[preferred.id].changes
    assert Change(FIELD, usd("7"), usd("5")) in entries[unchosen.id].changes
    assert entries[preferred.id].superseded_by == unchosen.id


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
    assert (entries[announced.id].change_of, entries[announced.id].changes) == ("world", [])
    assert (entries[erasure.id].change_of, entries[erasure.id].target_event) == ("record", announced.id)


def test_audit_trail_of_no_events_is_empty() -> None:
    assert audit_trail([], UNBOUNDED, DEALS) == []
    assert change_points([], DEALS) == []


def test_change_points_omit_events_that_change_nothing() -> None:
    log, announced = pledged()
    again = log.admit(PledgeRevised(pledge="total"), "2024-06-20")
    void = log.admit(EventVoided(voids=again.id))
    assert [m.position for m in change_points(log.events, DEALS)] == [1, announced.position]
    assert void.position == 4
    assert change_points(log.events, DEALS)[1].recorded_at == announced.recorded_at


def test_organization_has_an_audit_trail() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK Group")), "2024-01-01")
    named = log.record(OrganizationNamed(name="SK그룹", language="ko"), "2024-01-01")
    entries = audit_trail(log.events, UNBOUNDED, ORGANIZATIONS)
    assert [a.change_of for a in entries] == ["record", "world"]
    assert [c.path for c in entries[1].changes] == ["/names"]
    snapshot = state_as_of("sk-group", log.events, UNBOUNDED, ORGANIZATIONS)
    assert isinstance(snapshot.state, Organization)
    assert {b.path: b.event for b in provenance(snapshot, ORGANIZATIONS)}["/names"] == named.id


# --- provenance -------------------------------------------------------------------------------------------------------


def blamed(log: LogBuilder, **as_of: Any) -> dict[str, Any]:
    return {b.path: b for b in provenance(state_as_of(log.slug, log.events, log.at(**as_of), DEALS), DEALS)}


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


def test_provenance_of_an_inferred_stage_is_the_event_that_implies_it() -> None:
    log = LogBuilder()
    announced = log.admit(PledgeAnnounced(pledge="total", commitment="binding"), "2024-06-16")
    assert blamed(log)["/stage"].event == announced.id


def test_provenance_of_an_unknown_deal_is_empty() -> None:
    log, _ = pledged()
    assert blamed(log, effective_on="2000-01-01") == {}


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_event_that_took_effect_in_between_is_a_world_change() -> None:
    log, _ = pledged("5", "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-22")
    comparison = compare_at(log, {"effective_on": "2024-06-17"}, {"effective_on": "2024-06-23"})
    assert kinds(comparison) == [("world", "5", "7")]
    assert comparison.changes[0].causes == (log.events[2].id,)
    assert "grew" in whats(comparison)


def test_event_published_in_between_is_a_world_change() -> None:
    log, _ = pledged("5", "2024-06-16", published="2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-16", published="2024-06-25")
    log.admit(PledgeRevised(pledge="total", amount=usd("8")), "2024-06-20", published="2024-06-25")
    comparison = compare_at(log, {"published_on": "2024-06-17"}, {"published_on": "2024-06-30"})
    assert kinds(comparison) == [("world", "5", "8")]


def test_event_that_happened_and_was_recorded_in_between_is_a_world_change() -> None:
    log, announced = pledged("5", "2025-01-02")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-01-05")
    assert kinds(compare_at(log, {"position": announced.position}, {"position": 3})) == [("world", "5", "7")]


def test_backdated_event_is_learned_late_and_also_growth() -> None:
    log, announced = pledged("5", "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    comparison = compare_at(log, {"position": announced.position}, {"position": 3})
    assert kinds(comparison) == [("learned_late", "5", "7")]
    assert {"grew", "learned_late"} <= set(whats(comparison))


def test_correction_is_a_record_change_and_never_growth() -> None:
    log, announced = pledged("5")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("50")))
    comparison = compare_at(log, {"position": announced.position}, {})
    assert kinds(comparison) == [("record", "5", "50")]
    assert comparison.changes[0].causes == (correction.id,)
    assert whats(comparison) == ["corrected"]


def test_correction_and_growth_of_one_amount_are_separate_changes() -> None:
    log, announced = pledged("50", "2024-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.admit(PledgeRevised(pledge="total", amount=usd("50")), "2025-01-08")
    comparison = compare_at(log, {"position": announced.position}, {})
    assert kinds(comparison) == [("record", "50", "5"), ("world", "5", "50")]
    assert FIELD not in {d.path for d in comparison.differences}
    assert set(whats(comparison)) == {"corrected", "grew"}


def test_correction_of_an_event_not_yet_visible_is_not_a_record_change() -> None:
    log, announced = pledged("50", "2024-06-22")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    comparison = compare_at(log, {"effective_on": "2024-06-17", "position": 2}, {"effective_on": "2024-06-30"})
    assert kinds(comparison) == [("world", None, "5")]


def test_correction_that_makes_an_event_visible_is_a_record_change() -> None:
    log, announced = pledged("5", "2024-06-22")
    correction = log.correct(announced, effective_on=day("2024-06-12"))
    comparison = compare_at(log, {"effective_on": "2024-06-17", "position": 2}, {"effective_on": "2024-06-17"})
    assert kinds(comparison) == [("record", None, "5")]
    assert {c.causes for c in comparison.changes} == {(correction.id,)}


def test_voided_correction_is_no_change() -> None:
    log, announced = pledged("5")
    log.void(log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("50"))))
    assert compare_at(log, {"position": announced.position}, {}).changes == []


def test_voided_event_recorded_again_is_not_growth() -> None:
    log, wrong = pledged("5")
    log.void(wrong)
    log.admit(PledgeAnnounced(pledge="total", amount=usd("7")), "2024-06-16")
    comparison = compare_at(log, {"position": wrong.position}, {})
    assert kinds(comparison) == [("record", "5", None), ("learned_late", None, "7")]
    assert not {"grew", "shrank"} & set(whats(comparison))


def test_claim_and_its_retraction_are_source_changes() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    reported = log.events[-1].position
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimRetracted(claim="herald"))
    first = compare_at(log, {"position": announced.position}, {"position": reported})
    assert {(c.kind, c.path) for c in first.changes} == {("source", "/pledges/total/claims")}
    preferred = compare_at(log, {"position": reported}, {"position": reported + 1})
    assert kinds(preferred) == [("record", "5", "7")]
    taken_back = compare_at(log, {"position": reported + 1}, {})
    assert kinds(taken_back) == [("source", "7", "5")]
    assert set(whats(taken_back)) == {"claimed"}


def test_new_preferred_claim_is_a_source_change_and_then_a_record_change() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    preferred = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    comparison = compare_at(log, {"position": announced.position}, {})
    assert kinds(comparison) == [("record", "5", "7")]
    assert next(c for c in comparison.changes if c.path == FIELD).causes == (preferred.id,)


def test_reversed_comparison_reverses_the_changes() -> None:
    log, announced = pledged("50", "2024-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-22")
    back = compare_at(log, {}, {"position": announced.position})
    assert kinds(back) == [("learned_late", "7", "5"), ("record", "5", "50")]


def test_deal_that_becomes_known_has_appeared_and_is_not_corrected() -> None:
    log, _ = pledged("5", "2024-06-16")
    comparison = compare_at(log, {"effective_on": "2023-12-31"}, {})
    assert whats(comparison) == ["appeared"]
    assert {c.kind for c in comparison.changes} == {"world"}
    assert whats(compare_at(log, {}, {"effective_on": "2023-12-31"})) == ["vanished"]
    assert whats(compare_at(log, {"position": 0}, {})) == ["appeared"]


def test_corrected_registration_is_a_record_change() -> None:
    log = LogBuilder()
    log.correct(log.events[0], event=DealRegistered(title=Localized(en="Another name")))
    (change,) = compare_at(log, {"position": 1}, {}).changes
    assert (change.path, change.kind, change.causes) == ("/title", "record", (log.events[1].id,))


def test_comparison_lists_a_merge_apart_from_the_changes() -> None:
    log, announced = pledged()
    log.admit(DealMerged(into="aws-korea-2031"))
    comparison = compare_at(log, {"position": announced.position}, {})
    assert comparison.merged_into == Change("/merged_into", None, "aws-korea-2031")
    assert comparison.changes == []


def test_comparison_of_no_events_is_empty() -> None:
    assert compare([], UNBOUNDED, AsOf(position=3), DEALS).changes == []


# --- portfolio changes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (usd("5"), usd("7"), "grew"),
        (usd("7"), usd("5"), "shrank"),
        (usd("5"), usd("5", qualifier="about"), "restated"),
        (usd("5"), Amount(value="7", currency="KRW"), "restated"),
        (usd("5"), None, "unstated"),
        (None, usd("5"), "stated"),
        (Amount(currency="USD", low="1", high="2"), Amount(currency="USD", low="1", high="3"), "grew"),
        (Amount(currency="USD", low="1", high="2"), Amount(currency="USD", low="0", high="3"), "restated"),
        (Amount(currency="USD", wording="several billion"), usd("5"), "restated"),
        (usd("9.5"), usd("10"), "grew"),
    ],
    ids=str,
)
def test_amount_grew_or_shrank_only_if_the_amounts_are_comparable(
    before: Amount | None, after: Amount | None, what: str
) -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", amount=before), "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=after), "2024-06-20")
    comparison = compare_at(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-20"})
    assert [m.what for m in portfolio_changes(comparison) if m.change and m.change.path == FIELD] == [what]


def test_first_amount_of_a_deal_is_stated_and_not_growth() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="silent"), "2024-06-10")
    log.admit(PledgeAnnounced(pledge="first", amount=usd("5")), "2024-06-16")
    assert whats(compare_at(log, {"effective_on": "2024-06-10"}, {"effective_on": "2024-06-16"})) == ["stated"]
    assert whats(compare_at(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-10"})) == ["unstated"]


def test_further_pledge_is_growth_and_a_withdrawal_shrinks_the_deal() -> None:
    log, _ = pledged()
    log.admit(PledgeAnnounced(pledge="more", amount=usd("1")), "2024-06-20")
    log.admit(PledgeWithdrawn(pledge="more"), "2024-06-30")
    assert whats(compare_at(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-20"})) == ["grew"]
    assert whats(compare_at(log, {"effective_on": "2024-06-20"}, {"effective_on": "2024-06-16"})) == ["shrank"]
    assert whats(compare_at(log, {"effective_on": "2024-06-20"}, {})) == ["shrank"]


def test_pledge_that_is_part_of_another_is_not_growth() -> None:
    log, _ = pledged("7")
    log.admit(PledgeAnnounced(pledge="share", amount=usd("4")), "2024-06-22")
    log.admit(DealsRelated(relation="part_of", deal=log.slug, pledge="share", other_pledge="total"), "2024-06-22")
    log.admit(PledgeAnnounced(pledge="other-share", amount=usd("1")), "2024-06-22")
    log.admit(
        DealsRelated(relation="includes", deal=log.slug, pledge="total", other_pledge="other-share"), "2024-06-22"
    )
    assert whats(compare_at(log, {"effective_on": "2024-06-20"}, {})) == []


@pytest.mark.parametrize(("planned", "what"), [("2028", "slipped"), ("2026", "brought_forward"), ("2027-12", None)])
def test_milestone_slips_by_the_last_day_of_its_planned_date(planned: str, what: str | None) -> None:
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="phase-1", planned="2027"), "2024-06-16")
    log.admit(MilestoneRescheduled(milestone="phase-1", planned=planned), "2024-06-20")
    comparison = compare_at(log, {"effective_on": "2024-06-16"}, {})
    assert whats(comparison) == ([what] if what else [])


def test_world_change_of_the_stage_is_a_stage_move() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="construction"), "2024-06-16")
    assert whats(compare_at(log, {"effective_on": "2024-06-15"}, {})) == ["stage_moved"]


def test_explanations_can_be_encoded_as_json() -> None:
    log, announced = pledged()
    log.correct(announced, effective_on=day("2024-06-17"))
    comparison = compare_at(log, {"position": 2}, {})
    for found in (
        audit_trail(log.events, UNBOUNDED, DEALS)[1].changes,
        provenance(state_as_of("d", log.events, UNBOUNDED, DEALS), DEALS),
        comparison,
    ):
        assert msgspec.json.decode(msgspec.json.encode(found))
