"""What explains a state: what each event changed, what set each field, and the kinds of change between two points."""

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


def audited(log: LogBuilder, **clocks: Any) -> dict[UUID, AuditEntry]:
    return {a.effective.recorded.id: a for a in audit_trail(log.events, log.at(**clocks), DEALS)}


def compared(log: LogBuilder, at: dict[str, Any], then: dict[str, Any]) -> Comparison[Deal]:
    return compare(log.events, log.at(**at), log.at(**then), DEALS)


def kinds(made: Comparison[Deal], path: str = FIELD) -> list[tuple[str, Any, Any]]:
    """Each change of an amount: its kind, and the figures before and after."""
    return [(c.kind, c.before and c.before.value, c.after and c.after.value) for c in made.changes if c.path == path]


def whats(made: Comparison[Deal]) -> list[str]:
    return [movement.what for movement in portfolio_changes(made)]


# --- from one state to another ----------------------------------------------------------------------------------------


def test_an_amount_is_one_value_and_its_change_one_change() -> None:
    log, _ = pledged()
    before = log.state()
    log.admit(PledgeRevised(pledge="total", amount=usd("7", qualifier="about")), "2024-06-16")
    assert diff(before, log.state()) == [Change(FIELD, usd("5"), usd("7", qualifier="about"))]


def test_states_that_are_the_same_differ_in_nothing() -> None:
    log, _ = pledged()
    assert diff(log.state(), log.state()) == []
    assert diff(None, None) == []


def test_a_new_item_is_told_field_by_field_without_what_is_unknown() -> None:
    log = LogBuilder()
    before = log.state()
    log.admit(SiteAnnounced(site="mipo", place="KR-31"), "2024-06-16")
    assert {c.path: (c.before, c.after) for c in diff(before, log.state())} == {
        "/sites/mipo/site": (None, "mipo"),
        "/sites/mipo/place": (None, "KR-31"),
        "/sites/mipo/status": (None, "announced"),
        "/sites/mipo/announced_on": (None, day("2024-06-16")),
    }


def test_parties_and_relations_go_by_what_makes_them_one() -> None:
    log, _ = pledged()
    log.admit(PartiesJoined(parties=(Party(organization="sk", role="investor"),)), "2024-06-16")
    before = log.state()
    log.admit(PartyLeft(organization="sk"), "2024-06-20")
    log.admit(DealsRelated(relation="separate_from", deal="aws-korea-2031", pledge="total"), "2024-06-20")
    paths = {c.path for c in diff(before, log.state())}
    assert "/parties/sk:investor:2024-06-16/left_on" in paths
    assert "/relations/separate_from:total:aws-korea-2031:/since" in paths


def test_a_list_without_names_of_its_own_is_one_value() -> None:
    log = LogBuilder()
    before = log.state()
    log.admit(DealRevised(sectors=("cloud", "data-centers")), "2024-06-16")
    assert diff(before, log.state()) == [Change("/sectors", (), ("cloud", "data-centers"))]


def test_a_difference_can_be_made_and_unmade() -> None:
    log, _ = pledged()
    one = log.state()
    log.admit(PledgeAnnounced(pledge="more", amount=usd("1"), by=("sk", "amazon")), "2024-06-01")
    log.admit(PledgeWithdrawn(pledge="total"), "2024-07-01")
    two = log.state()
    for a, b in ((one, two), (two, one), (None, two), (two, None)):
        assert apply(a, diff(a, b)) == b


def test_an_organizations_states_are_compared_the_same_way() -> None:
    one = register("sk-group", OrganizationRegistered(name=Localized(en="SK")))
    two = msgspec.structs.replace(one, name=Localized(en="SK Group"))
    assert diff(one, two) == [Change("/name", one.name, two.name)]
    assert apply(None, diff(None, two)) == two


# --- what each event changed ------------------------------------------------------------------------------------------


def test_each_event_says_which_fields_it_changed_from_what_to_what() -> None:
    log, announced = pledged()
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    listed = audited(log)
    assert Change(FIELD, None, usd("5")) in listed[announced.id].changes
    assert Change(FIELD, usd("5"), usd("7")) in listed[revised.id].changes
    assert listed[log.events[0].id].changes[0] == Change("/deal", None, log.slug)


def test_a_backdated_event_says_what_it_changed_at_its_own_place() -> None:
    log, announced = pledged("7", "2024-06-20")
    log.admit(StageChanged(stage="construction"), "2024-09-01")
    late = log.admit(StageChanged(stage="signed"), "2024-06-01")
    (change,) = audited(log)[late.id].changes
    assert (change.path, change.before) == ("/stage", None)
    assert change.after.value == "signed"
    assert announced.id in audited(log)


def test_the_audit_tells_a_correction_from_a_void_and_a_new_record() -> None:
    corrected, announced = pledged("50")
    correction = corrected.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    voided, wrong = pledged("50")
    void = voided.void(wrong)
    again = voided.admit(PledgeAnnounced(pledge="total", amount=usd("5")), "2024-06-16")
    assert corrected.state().pledges == voided.state().pledges

    one = audited(corrected)
    assert one[correction.id].changes == [Change(FIELD, usd("50"), usd("5"))]
    assert (one[correction.id].change_of, one[correction.id].target_event) == ("record", announced.id)
    assert one[announced.id].superseded_by == correction.id
    assert Change(FIELD, None, usd("5")) in one[announced.id].changes

    two = audited(voided)
    assert two[wrong.id].changes == []
    assert two[wrong.id].effective.voided_by == void
    assert Change(FIELD, usd("50"), None) in two[void.id].changes
    assert (two[again.id].change_of, two[again.id].target_event) == ("world", None)


def test_a_correction_of_a_correction_supersedes_it_and_concerns_the_original() -> None:
    log, announced = pledged("50")
    first = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("6")))
    second = log.correct(first, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    listed = audited(log)
    assert (listed[second.id].target_event, listed[second.id].superseded_by) == (announced.id, None)
    assert listed[first.id].superseded_by == second.id
    void = log.void(second)
    listed = audited(log)
    assert (listed[first.id].superseded_by, listed[void.id].target_event) == (None, announced.id)
    assert listed[void.id].changes == [Change(FIELD, usd("5"), usd("6"))]


def test_claims_are_the_sources_and_preferences_the_records() -> None:
    log, _ = pledged()
    claim = log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    chosen = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    unchosen = log.admit(ClaimPreferred(field=FIELD))
    retracted = log.admit(ClaimRetracted(claim="herald"))
    listed = audited(log)
    assert [listed[e.id].change_of for e in (claim, chosen, unchosen, retracted)] == [
        "source",
        "record",
        "record",
        "source",
    ]
    assert [c.path for c in listed[claim.id].changes] == ["/pledges/total/claims"]
    assert Change(FIELD, usd("5"), usd("7")) in listed[chosen.id].changes
    assert Change(FIELD, usd("7"), usd("5")) in listed[unchosen.id].changes
    assert listed[chosen.id].superseded_by == unchosen.id


def test_a_merge_changes_where_the_record_leads() -> None:
    log, _ = pledged()
    merge = log.admit(DealMerged(into="aws-korea-2031"))
    void = log.void(merge)
    listed = audited(log)
    assert listed[merge.id].changes == [Change("/merged_into", None, "aws-korea-2031")]
    assert listed[void.id].changes == [Change("/merged_into", "aws-korea-2031", None)]


def test_an_event_without_ground_is_listed_with_the_rule_and_changes_nothing() -> None:
    log, _ = pledged(published="2024-06-22")
    early = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20", published="2024-06-20")
    listed = audited(log, published_on="2024-06-21")
    refusal = listed[early.id].unapplied
    assert refusal is not None
    assert refusal.code == "pledge-unknown"
    assert listed[early.id].changes == []


def test_what_the_dates_asked_for_hide_is_listed_as_hidden() -> None:
    log, announced = pledged("5", "2024-06-16")
    listed = audited(log, effective_on="2024-06-15")
    assert (listed[announced.id].visible, listed[announced.id].changes) == (False, [])
    assert audited(log, effective_on="2024-06-16")[announced.id].visible
    assert announced.id not in audited(log, position=1)


def test_an_erased_event_is_listed_with_its_kind_and_without_its_content() -> None:
    log, announced = pledged()
    erasure = log.redact(announced)
    listed = audited(log)
    assert (listed[announced.id].change_of, listed[announced.id].changes) == ("world", [])
    assert (listed[erasure.id].change_of, listed[erasure.id].target_event) == ("record", announced.id)


def test_the_audit_of_nothing_is_empty() -> None:
    assert audit_trail([], UNBOUNDED, DEALS) == []
    assert change_points([], DEALS) == []


def test_a_time_map_leaves_out_what_changed_nothing() -> None:
    log, announced = pledged()
    again = log.admit(PledgeRevised(pledge="total"), "2024-06-20")
    void = log.admit(EventVoided(voids=again.id))
    assert [m.position for m in change_points(log.events, DEALS)] == [1, announced.position]
    assert void.position == 4
    assert change_points(log.events, DEALS)[1].recorded_at == announced.recorded_at


def test_an_organizations_audit_reads_like_a_deals() -> None:
    log = LogBuilder(registered=False)
    log.record(OrganizationRegistered(name=Localized(en="SK Group")), "2024-01-01")
    named = log.record(OrganizationNamed(name="SK그룹", language="ko"), "2024-01-01")
    listed = audit_trail(log.events, UNBOUNDED, ORGANIZATIONS)
    assert [a.change_of for a in listed] == ["record", "world"]
    assert [c.path for c in listed[1].changes] == ["/names"]
    seen = state_as_of("sk-group", log.events, UNBOUNDED, ORGANIZATIONS)
    assert isinstance(seen.state, Organization)
    assert {b.path: b.event for b in provenance(seen, ORGANIZATIONS)}["/names"] == named.id


# --- what set each field ----------------------------------------------------------------------------------------------


def blamed(log: LogBuilder, **clocks: Any) -> dict[str, Any]:
    return {b.path: b for b in provenance(state_as_of(log.slug, log.events, log.at(**clocks), DEALS), DEALS)}


def test_blame_names_the_event_that_set_a_field_and_the_value_before() -> None:
    log, announced = pledged()
    revised = log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    named = blamed(log)
    assert (named[FIELD].value, named[FIELD].before, named[FIELD].event) == (usd("7"), usd("5"), revised.id)
    assert named["/pledges/total/pledge"].event == announced.id
    assert named["/title"].event == log.events[0].id
    assert "/pledges/total/purpose" not in named
    assert blamed(log, effective_on="2024-06-19")[FIELD].event == announced.id


def test_a_corrected_field_is_blamed_on_the_event_that_said_it_as_it_now_reads() -> None:
    log, announced = pledged("50")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    assert (blamed(log)[FIELD].event, blamed(log)[FIELD].value) == (announced.id, usd("5"))


def test_the_value_of_a_claim_that_is_followed_is_blamed_on_the_claim_and_on_the_choice() -> None:
    log, _ = pledged()
    claim = log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    chosen = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    named = blamed(log)[FIELD]
    assert (named.value, named.before, named.event, named.preferred_by) == (usd("7"), usd("5"), claim.id, chosen.id)
    assert blamed(log, position=claim.position)[FIELD].preferred_by is None


def test_an_inferred_stage_is_blamed_on_the_event_it_was_inferred_from() -> None:
    log = LogBuilder()
    announced = log.admit(PledgeAnnounced(pledge="total", commitment="binding"), "2024-06-16")
    assert blamed(log)["/stage"].event == announced.id


def test_where_a_deal_is_not_known_nothing_is_blamed() -> None:
    log, _ = pledged()
    assert blamed(log, effective_on="2000-01-01") == {}


# --- between two points in time ---------------------------------------------------------------------------------------


def test_what_took_effect_between_two_days_is_the_worlds() -> None:
    log, _ = pledged("5", "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-22")
    made = compared(log, {"effective_on": "2024-06-17"}, {"effective_on": "2024-06-23"})
    assert kinds(made) == [("world", "5", "7")]
    assert made.changes[0].causes == (log.events[2].id,)
    assert "grew" in whats(made)


def test_what_was_published_between_two_days_is_the_worlds() -> None:
    log, _ = pledged("5", "2024-06-16", published="2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-16", published="2024-06-25")
    log.admit(PledgeRevised(pledge="total", amount=usd("8")), "2024-06-20", published="2024-06-25")
    made = compared(log, {"published_on": "2024-06-17"}, {"published_on": "2024-06-30"})
    assert kinds(made) == [("world", "5", "8")]


def test_what_happened_and_was_recorded_between_two_positions_is_the_worlds() -> None:
    log, announced = pledged("5", "2025-01-02")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2025-01-05")
    assert kinds(compared(log, {"position": announced.position}, {"position": 3})) == [("world", "5", "7")]


def test_a_new_event_of_an_older_date_was_learned_late_and_is_growth_all_the_same() -> None:
    log, announced = pledged("5", "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-20")
    made = compared(log, {"position": announced.position}, {"position": 3})
    assert kinds(made) == [("learned_late", "5", "7")]
    assert {"grew", "learned_late"} <= set(whats(made))


def test_a_correction_is_the_records_and_never_growth() -> None:
    log, announced = pledged("5")
    correction = log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("50")))
    made = compared(log, {"position": announced.position}, {})
    assert kinds(made) == [("record", "5", "50")]
    assert made.changes[0].causes == (correction.id,)
    assert whats(made) == ["corrected"]


def test_a_correction_and_growth_of_one_amount_are_told_apart() -> None:
    log, announced = pledged("50", "2024-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.admit(PledgeRevised(pledge="total", amount=usd("50")), "2025-01-08")
    made = compared(log, {"position": announced.position}, {})
    assert kinds(made) == [("record", "50", "5"), ("world", "5", "50")]
    assert FIELD not in {d.path for d in made.differences}
    assert set(whats(made)) == {"corrected", "grew"}


def test_a_correction_of_what_was_not_yet_in_sight_is_no_news() -> None:
    log, announced = pledged("50", "2024-06-22")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    made = compared(log, {"effective_on": "2024-06-17", "position": 2}, {"effective_on": "2024-06-30"})
    assert kinds(made) == [("world", None, "5")]


def test_a_correction_that_moves_an_event_into_sight_is_the_records() -> None:
    log, announced = pledged("5", "2024-06-22")
    correction = log.correct(announced, effective_on=day("2024-06-12"))
    made = compared(log, {"effective_on": "2024-06-17", "position": 2}, {"effective_on": "2024-06-17"})
    assert kinds(made) == [("record", None, "5")]
    assert {c.causes for c in made.changes} == {(correction.id,)}


def test_a_correction_that_was_voided_again_is_no_change_at_all() -> None:
    log, announced = pledged("5")
    log.void(log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("50"))))
    assert compared(log, {"position": announced.position}, {}).changes == []


def test_what_was_voided_and_recorded_anew_is_no_growth() -> None:
    log, wrong = pledged("5")
    log.void(wrong)
    log.admit(PledgeAnnounced(pledge="total", amount=usd("7")), "2024-06-16")
    made = compared(log, {"position": wrong.position}, {})
    assert kinds(made) == [("record", "5", None), ("learned_late", None, "7")]
    assert not {"grew", "shrank"} & set(whats(made))


def test_a_claim_and_its_retraction_are_the_sources() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    reported = log.events[-1].position
    log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    log.admit(ClaimRetracted(claim="herald"))
    first = compared(log, {"position": announced.position}, {"position": reported})
    assert {(c.kind, c.path) for c in first.changes} == {("source", "/pledges/total/claims")}
    chosen = compared(log, {"position": reported}, {"position": reported + 1})
    assert kinds(chosen) == [("record", "5", "7")]
    taken_back = compared(log, {"position": reported + 1}, {})
    assert kinds(taken_back) == [("source", "7", "5")]
    assert set(whats(taken_back)) == {"claimed"}


def test_a_claim_that_is_new_and_preferred_at_once_is_told_as_a_claim_and_then_a_choice() -> None:
    log, announced = pledged()
    log.admit(ClaimReported(claim="herald", field=FIELD, value=usd("7")))
    chosen = log.admit(ClaimPreferred(field=FIELD, claim="herald"))
    made = compared(log, {"position": announced.position}, {})
    assert kinds(made) == [("record", "5", "7")]
    assert next(c for c in made.changes if c.path == FIELD).causes == (chosen.id,)


def test_backwards_the_same_changes_are_told_the_other_way_round() -> None:
    log, announced = pledged("50", "2024-06-16")
    log.correct(announced, event=PledgeAnnounced(pledge="total", amount=usd("5")))
    log.admit(PledgeRevised(pledge="total", amount=usd("7")), "2024-06-22")
    back = compared(log, {}, {"position": announced.position})
    assert kinds(back) == [("learned_late", "7", "5"), ("record", "5", "50")]


def test_a_deal_that_comes_into_sight_appeared_and_is_not_called_corrected() -> None:
    log, _ = pledged("5", "2024-06-16")
    made = compared(log, {"effective_on": "2023-12-31"}, {})
    assert whats(made) == ["appeared"]
    assert {c.kind for c in made.changes} == {"world"}
    assert whats(compared(log, {}, {"effective_on": "2023-12-31"})) == ["vanished"]
    assert whats(compared(log, {"position": 0}, {})) == ["appeared"]


def test_a_corrected_registration_is_the_records() -> None:
    log = LogBuilder()
    log.correct(log.events[0], event=DealRegistered(title=Localized(en="Another name")))
    (change,) = compared(log, {"position": 1}, {}).changes
    assert (change.path, change.kind, change.causes) == ("/title", "record", (log.events[1].id,))


def test_a_merge_stands_beside_the_changes() -> None:
    log, announced = pledged()
    log.admit(DealMerged(into="aws-korea-2031"))
    made = compared(log, {"position": announced.position}, {})
    assert made.merged_into == Change("/merged_into", None, "aws-korea-2031")
    assert made.changes == []


def test_two_points_of_nothing_compare_to_nothing() -> None:
    assert compare([], UNBOUNDED, AsOf(position=3), DEALS).changes == []


# --- what it means ----------------------------------------------------------------------------------------------------


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
def test_an_amount_grew_or_shrank_only_where_that_can_be_measured(
    before: Amount | None, after: Amount | None, what: str
) -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", amount=before), "2024-06-16")
    log.admit(PledgeRevised(pledge="total", amount=after), "2024-06-20")
    made = compared(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-20"})
    assert [m.what for m in portfolio_changes(made) if m.change and m.change.path == FIELD] == [what]


def test_the_first_amount_of_a_deal_is_stated_and_no_growth() -> None:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="silent"), "2024-06-10")
    log.admit(PledgeAnnounced(pledge="first", amount=usd("5")), "2024-06-16")
    assert whats(compared(log, {"effective_on": "2024-06-10"}, {"effective_on": "2024-06-16"})) == ["stated"]
    assert whats(compared(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-10"})) == ["unstated"]


def test_a_further_pledge_makes_a_deal_grow_and_a_withdrawn_one_makes_it_shrink() -> None:
    log, _ = pledged()
    log.admit(PledgeAnnounced(pledge="more", amount=usd("1")), "2024-06-20")
    log.admit(PledgeWithdrawn(pledge="more"), "2024-06-30")
    assert whats(compared(log, {"effective_on": "2024-06-16"}, {"effective_on": "2024-06-20"})) == ["grew"]
    assert whats(compared(log, {"effective_on": "2024-06-20"}, {"effective_on": "2024-06-16"})) == ["shrank"]
    assert whats(compared(log, {"effective_on": "2024-06-20"}, {})) == ["shrank"]


def test_a_part_that_is_told_apart_from_its_whole_is_no_growth() -> None:
    log, _ = pledged("7")
    log.admit(PledgeAnnounced(pledge="share", amount=usd("4")), "2024-06-22")
    log.admit(DealsRelated(relation="part_of", deal=log.slug, pledge="share", other_pledge="total"), "2024-06-22")
    log.admit(PledgeAnnounced(pledge="other-share", amount=usd("1")), "2024-06-22")
    log.admit(
        DealsRelated(relation="includes", deal=log.slug, pledge="total", other_pledge="other-share"), "2024-06-22"
    )
    assert whats(compared(log, {"effective_on": "2024-06-20"}, {})) == []


@pytest.mark.parametrize(("planned", "what"), [("2028", "slipped"), ("2026", "brought_forward"), ("2027-12", None)])
def test_a_plan_slipped_by_its_last_possible_day(planned: str, what: str | None) -> None:
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="phase-1", planned="2027"), "2024-06-16")
    log.admit(MilestoneRescheduled(milestone="phase-1", planned=planned), "2024-06-20")
    made = compared(log, {"effective_on": "2024-06-16"}, {})
    assert whats(made) == ([what] if what else [])


def test_a_stage_that_moved_in_the_world_is_said_to_have_moved() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="construction"), "2024-06-16")
    assert whats(compared(log, {"effective_on": "2024-06-15"}, {})) == ["stage_moved"]


def test_what_explains_a_state_can_be_shown_as_json() -> None:
    log, announced = pledged()
    log.correct(announced, effective_on=day("2024-06-17"))
    made = compared(log, {"position": 2}, {})
    for found in (
        audit_trail(log.events, UNBOUNDED, DEALS)[1].changes,
        provenance(state_as_of("d", log.events, UNBOUNDED, DEALS), DEALS),
        made,
    ):
        assert msgspec.json.decode(msgspec.json.encode(found))
