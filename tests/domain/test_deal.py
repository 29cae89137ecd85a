"""How each event changes a deal, and which events a deal refuses.

Every rule of `registry/domain/deal` has a test here; hence the length of the file.
"""

from __future__ import annotations

import contextlib
from datetime import date
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from registry.domain.deal import Deal, evolve, register
from registry.domain.fold.applied_event import AppliedEvent
from registry.errors import RuleBroken
from registry.events.sample import sample_event
from registry.events.types import (
    AnyEvent,
    ClaimReported,
    ClaimRetracted,
    ConditionLifted,
    ConditionSet,
    DealEvent,
    DealRegistered,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    DisbursementReported,
    Event,
    MilestoneCancelled,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    PartiesJoined,
    PartnershipFormed,
    PartyLeft,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
    PledgeWithdrawn,
    SiteAnnounced,
    SiteDropped,
    SiteRevised,
    StageChanged,
)
from registry.events.values import Horizon, Localized, Party, decode_hook
from tests.domain.builders import FIRST_INSTANT, LogBuilder, day, usd

ANNOUNCED = "2025-06-16"
LATER = "2025-06-22"


def with_pledge(**fields: Any) -> LogBuilder:
    log = LogBuilder()
    log.admit(PledgeAnnounced(pledge="total", **fields), ANNOUNCED)
    return log


def with_site() -> LogBuilder:
    log = LogBuilder()
    log.admit(SiteAnnounced(site="mipo", place="KR-31", power_mw="103"), ANNOUNCED)
    return log


def with_milestone(**fields: Any) -> LogBuilder:
    log = LogBuilder()
    log.admit(MilestoneScheduled(milestone="phase-1", planned="2027", **fields), ANNOUNCED)
    return log


# --- events -----------------------------------------------------------------------------------------------------------


def test_registered_deal_has_only_the_fields_of_its_registration() -> None:
    registered = DealRegistered(title=Localized(en="Ulsan", ko="울산"), kind="investment", sectors=("cloud",))
    deal = register("sk-aws-ulsan", registered)
    assert (deal.title, deal.kind, deal.sectors) == (registered.title, "investment", ("cloud",))
    assert (deal.stage, deal.pledges, deal.sites, deal.parties) == (None, (), (), ())


def test_deal_with_redacted_registration_keeps_only_its_slug() -> None:
    assert register("sk-aws-ulsan", None) == Deal(deal="sk-aws-ulsan", title=None)


def test_pledge_has_the_announced_fields_and_leaves_others_unknown() -> None:
    stated = usd("5000000000", qualifier="about")
    log = LogBuilder()
    log.admit(
        PledgeAnnounced(pledge="p", amount=stated, amount_basis="additional", horizon=Horizon(until="2031")), ANNOUNCED
    )
    (pledge,) = log.state().pledges
    assert (pledge.amount, pledge.amount_basis, pledge.horizon) == (stated, "additional", Horizon(until="2031"))
    assert (pledge.commitment, pledge.purpose, pledge.by) == (None, None, ())
    assert (pledge.status, pledge.announced_on) == ("announced", day(ANNOUNCED))


def test_undisclosed_amount_is_unknown_and_not_zero() -> None:
    assert with_pledge().state().pledges[0].amount is None


def test_revision_keeps_omitted_fields_and_clears_null_fields() -> None:
    log = with_pledge(amount=usd("5"), commitment="pledge", by=("amazon", "sk"))
    log.admit(PledgeRevised(pledge="total", amount=None), LATER)
    (pledge,) = log.state().pledges
    assert (pledge.amount, pledge.commitment, pledge.by) == (None, "pledge", ("amazon", "sk"))


def test_list_cleared_by_a_revision_is_empty() -> None:
    log = with_pledge(by=("amazon", "sk"))
    log.admit(PledgeRevised(pledge="total", by=None), LATER)
    log.admit(DealRevised(sectors=None), LATER)
    assert log.state().pledges[0].by == ()
    assert log.state().sectors == ()


def test_confirmation_sets_the_status_and_may_raise_the_commitment() -> None:
    log = with_pledge(commitment="intention")
    log.admit(PledgeConfirmed(pledge="total", commitment="binding"), LATER)
    (pledge,) = log.state().pledges
    assert (pledge.status, pledge.commitment) == ("confirmed", "binding")


def test_withdrawn_pledge_keeps_its_amount() -> None:
    log = with_pledge(amount=usd("5"))
    log.admit(PledgeWithdrawn(pledge="total"), LATER)
    (pledge,) = log.state().pledges
    assert (pledge.status, pledge.amount) == ("withdrawn", usd("5"))


def test_disbursements_are_listed_in_effective_order() -> None:
    log = with_pledge()
    log.admit(DisbursementReported(pledge="total", amount=usd("2")), "2026-02-01")
    log.admit(DisbursementReported(pledge="total", amount=usd("1")), "2026-01-01")
    spent = log.state().pledges[0].disbursed
    assert [s.amount for s in spent] == [usd("1"), usd("2")]


def test_site_keeps_unrevised_capacity_and_its_name_when_dropped() -> None:
    log = with_site()
    log.admit(SiteRevised(site="mipo", power_mw="41", gpus=60_000), LATER)
    log.admit(SiteDropped(site="mipo"), "2025-07-01")
    (site,) = log.state().sites
    assert (site.place, site.power_mw, site.gpus, site.status) == ("KR-31", "41", 60_000, "dropped")


def test_rescheduled_and_reached_milestone_keeps_its_planned_date() -> None:
    log = with_milestone(kind="operations_started")
    log.admit(MilestoneRescheduled(milestone="phase-1", planned="2028"), LATER)
    log.admit(MilestoneReached(milestone="phase-1"), "2028-03-01")
    (step,) = log.state().milestones
    assert (step.planned, step.reached, step.status) == ("2028", "2028-03-01", "reached")


def test_milestone_reached_twice_on_one_date_is_one_milestone() -> None:
    log = with_milestone()
    log.admit(MilestoneReached(milestone="phase-1", reached="2027-11"), "2027-11-30")
    before = log.state()
    log.admit(MilestoneReached(milestone="phase-1", reached="2027-11"), "2027-12-02")
    assert log.state() == before


def test_cancelled_milestone_can_be_rescheduled() -> None:
    log = with_milestone()
    log.admit(MilestoneCancelled(milestone="phase-1"), LATER)
    assert log.state().milestones[0].status == "cancelled"
    log.admit(MilestoneRescheduled(milestone="phase-1", planned="2030"), "2026-01-01")
    assert log.state().milestones[0].status == "planned"


def test_party_with_two_roles_can_leave_one() -> None:
    log = LogBuilder()
    log.admit(
        PartiesJoined(parties=(Party(organization="sk", role="investor"), Party(organization="sk", role="operator"))),
        ANNOUNCED,
    )
    log.admit(PartyLeft(organization="sk", role="operator"), LATER)
    assert {p.role: p.left_on for p in log.state().parties} == {"investor": None, "operator": day(LATER)}


def test_current_party_that_joins_again_is_listed_once() -> None:
    log = LogBuilder()
    party = Party(organization="sk", role="investor")
    log.admit(PartiesJoined(parties=(party, party)), ANNOUNCED)
    log.admit(PartiesJoined(parties=(party,)), LATER)
    assert len(log.state().parties) == 1
    log.admit(PartiesJoined(parties=(replace(party, name=Localized(en="SK Holdings")),)), LATER)
    log.admit(PartiesJoined(parties=(party,)), LATER)
    assert [(p.name, p.joined_on) for p in log.state().parties] == [(Localized(en="SK Holdings"), day(ANNOUNCED))]
    assert [p.name for p in log.state(effective_on=ANNOUNCED).parties] == [None]


def test_party_can_rejoin_also_on_the_day_it_left() -> None:
    log = LogBuilder()
    party = Party(organization="sk", role="investor")
    log.admit(PartiesJoined(parties=(party,)), ANNOUNCED)
    log.admit(PartyLeft(organization="sk"), ANNOUNCED)
    log.admit(PartiesJoined(parties=(party,)), ANNOUNCED)
    assert [(p.joined_on, p.left_on) for p in log.state().parties] == [(day(ANNOUNCED), None)]
    log.admit(PartyLeft(organization="sk"), LATER)
    log.admit(PartiesJoined(parties=(party,)), "2025-07-01")
    assert [(p.joined_on, p.left_on) for p in log.state().parties] == [
        (day(ANNOUNCED), day(LATER)),
        (day("2025-07-01"), None),
    ]


def test_condition_applies_until_it_is_lifted() -> None:
    log = LogBuilder()
    log.admit(ConditionSet(condition="data-stays", text=Localized(en="Customer data stays in Korea.")), ANNOUNCED)
    log.admit(ConditionLifted(condition="data-stays"), LATER)
    (condition,) = log.state().conditions
    assert (condition.set_on, condition.lifted_on) == (day(ANNOUNCED), day(LATER))


def test_relation_names_its_event_and_ends_when_it_is_revoked() -> None:
    log = with_pledge()
    related = log.admit(DealsRelated(relation="separate_from", deal="aws-korea-2031", pledge="total"), LATER)
    assert [r.source for r in log.state().relations] == [related.id]
    log.admit(DealsUnrelated(relation="separate_from", deal="aws-korea-2031", pledge="total"), "2025-07-01")
    assert log.state().relations == ()


def test_relation_declared_twice_is_listed_once() -> None:
    log = LogBuilder()
    for on in (ANNOUNCED, LATER):
        log.admit(DealsRelated(relation="part_of", deal="korea-ai-highway"), on)
    assert [r.since for r in log.state().relations] == [day(ANNOUNCED)]


def test_order_of_lists_does_not_depend_on_the_order_of_events() -> None:
    one, two = LogBuilder(), LogBuilder()
    fields = [
        (PledgeAnnounced(pledge="b"), ANNOUNCED),
        (PledgeAnnounced(pledge="a"), ANNOUNCED),
        (PledgeAnnounced(pledge="c"), "2025-01-01"),
    ]
    for event, on in fields:
        one.admit(event, on)
    for event, on in reversed(fields):
        two.admit(event, on)
    assert [p.pledge for p in one.state().pledges] == ["c", "a", "b"]
    assert one.state() == two.state()


# --- stages: declared and inferred ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commitment", "stage", "rule"),
    [
        ("intention", "intention", "intention-announced"),
        ("pledge", "committed", "amount-pledged"),
        ("binding", "committed", "amount-pledged"),
        ("budget", "committed", "amount-budgeted"),
    ],
)
def test_stage_inferred_from_a_commitment_names_its_rule(commitment: Any, stage: str, rule: str) -> None:
    state = with_pledge(commitment=commitment).state()
    assert state.stage is not None
    assert (state.stage.value, state.stage.basis, state.stage.rule, state.stage.since) == (
        stage,
        "inferred",
        rule,
        day(ANNOUNCED),
    )


def test_pledge_without_a_commitment_implies_no_stage() -> None:
    assert with_pledge(amount=usd("5")).state().stage is None


@pytest.mark.parametrize(
    ("kind", "stage"), [("construction_started", "construction"), ("operations_started", "operating")]
)
def test_reached_milestone_implies_a_stage(kind: Any, stage: str) -> None:
    log = with_milestone(kind=kind)
    assert log.state().stage is None
    log.admit(MilestoneReached(milestone="phase-1"), "2027-11-01")
    assert log.state().stage.value == stage  # type: ignore[union-attr]


def test_groundbreaking_implies_no_construction() -> None:
    log = with_milestone(kind="groundbreaking")
    log.admit(MilestoneReached(milestone="phase-1"), "2025-08-29")
    assert log.state().stage is None


def test_partnership_implies_signed_only_with_an_instrument() -> None:
    log = LogBuilder()
    log.admit(PartnershipFormed(members=("microsoft", "kt")), ANNOUNCED)
    assert log.state().stage is None
    log.admit(PartnershipFormed(members=("microsoft", "kt"), instrument="contract"), LATER)
    assert log.state().stage.rule == "instrument-signed"  # type: ignore[union-attr]


def test_inferred_stage_never_goes_back_or_replaces_a_stop() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="construction"), ANNOUNCED)
    log.admit(PledgeAnnounced(pledge="a", commitment="binding"), LATER)
    assert log.state().stage.value == "construction"  # type: ignore[union-attr]
    log.admit(StageChanged(stage="shelved"), "2025-07-01")
    log.admit(PledgeAnnounced(pledge="b", commitment="binding"), "2025-07-02")
    assert (log.state().stage.value, log.state().stage.basis) == ("shelved", "declared")  # type: ignore[union-attr]


def test_declared_stage_can_go_back() -> None:
    log = LogBuilder()
    log.admit(StageChanged(stage="construction"), ANNOUNCED)
    log.admit(StageChanged(stage="signed"), LATER)
    assert log.state().stage.value == "signed"  # type: ignore[union-attr]


# --- refused events ---------------------------------------------------------------------------------------------------


def ulsan() -> LogBuilder:
    """A deal with one item of each kind, in states that refuse further events."""
    log = LogBuilder()
    for pledge in ("total", "gone"):
        log.admit(PledgeAnnounced(pledge=pledge), ANNOUNCED)
    log.admit(PledgeWithdrawn(pledge="gone"), LATER)
    for site in ("mipo", "left"):
        log.admit(SiteAnnounced(site=site), ANNOUNCED)
    log.admit(SiteDropped(site="left"), LATER)
    for step in ("phase-1", "done"):
        log.admit(MilestoneScheduled(milestone=step), ANNOUNCED)
    log.admit(MilestoneReached(milestone="done"), LATER)
    log.admit(ConditionSet(condition="held"), ANNOUNCED)
    log.admit(ConditionSet(condition="lifted"), ANNOUNCED)
    log.admit(ConditionLifted(condition="lifted"), LATER)
    log.admit(ClaimReported(claim="other", field="/pledges/total/amount", value=usd("5")), LATER)
    log.admit(ClaimReported(claim="taken-back", field="/sites/mipo/gpus", value=60_000), LATER)
    log.admit(ClaimRetracted(claim="taken-back"), LATER)
    return log


REFUSED: list[tuple[AnyEvent, str]] = [
    (PledgeAnnounced(pledge="total"), "pledge-id-used"),
    (PledgeAnnounced(pledge="gone"), "pledge-id-used"),
    (PledgeRevised(pledge="never"), "pledge-unknown"),
    (PledgeRevised(pledge="gone"), "pledge-withdrawn"),
    (PledgeConfirmed(pledge="never"), "pledge-unknown"),
    (PledgeConfirmed(pledge="gone"), "pledge-withdrawn"),
    (PledgeWithdrawn(pledge="never"), "pledge-unknown"),
    (PledgeWithdrawn(pledge="gone"), "pledge-withdrawn"),
    (DisbursementReported(pledge="never"), "pledge-unknown"),
    (SiteAnnounced(site="left"), "site-id-used"),
    (SiteRevised(site="never"), "site-unknown"),
    (SiteRevised(site="left", gpus=1), "site-dropped"),
    (SiteDropped(site="never"), "site-unknown"),
    (SiteDropped(site="left"), "site-dropped"),
    (MilestoneScheduled(milestone="phase-1"), "milestone-id-used"),
    (MilestoneScheduled(milestone="new", site="never"), "site-unknown"),
    (MilestoneRescheduled(milestone="never"), "milestone-unknown"),
    (MilestoneRescheduled(milestone="done", planned="2030"), "milestone-reached"),
    (MilestoneReached(milestone="never"), "milestone-unknown"),
    (MilestoneReached(milestone="done", reached="2026"), "milestone-reached"),
    (MilestoneCancelled(milestone="never"), "milestone-unknown"),
    (MilestoneCancelled(milestone="done"), "milestone-reached"),
    (PartyLeft(organization="never"), "party-unknown"),
    (ConditionSet(condition="lifted"), "condition-id-used"),
    (ConditionLifted(condition="never"), "condition-unknown"),
    (ConditionLifted(condition="lifted"), "condition-lifted"),
    (DealsRelated(relation="part_of", deal="sk-aws-ulsan"), "relation-to-itself"),
    (DealsRelated(relation="part_of", deal="other", pledge="never"), "pledge-unknown"),
    (
        DealsRelated(relation="part_of", deal="sk-aws-ulsan", pledge="total", other_pledge="never"),
        "pledge-unknown",
    ),
    (DealsUnrelated(relation="part_of", deal="other"), "relation-unknown"),
    (ClaimReported(claim="new", field="/pledges/never/amount", value=usd("5")), "pledge-unknown"),
    (ClaimReported(claim="new", field="/sites/mipo/name", value="Mipo"), "field-not-claimable"),
    (ClaimReported(claim="new", field="/pledges/total/amount", value="5"), "claim-of-wrong-type"),
    (ClaimReported(claim="new", field="/sites/mipo/gpus", value="60000"), "claim-of-wrong-type"),
    (ClaimReported(claim="new", field="/milestones/phase-1/planned", value="2027-99"), "claim-of-wrong-type"),
    (ClaimReported(claim="other", field="/sites/mipo/gpus", value=1), "claim-id-used"),
    (ClaimRetracted(claim="never"), "claim-unknown"),
    (ClaimRetracted(claim="taken-back"), "claim-retracted"),
    (DealRegistered(title=Localized(en="Again")), "already-registered"),
]


@pytest.mark.parametrize(("event", "rule"), REFUSED, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_refused_event_names_the_broken_rule_and_changes_nothing(event: AnyEvent, rule: str) -> None:
    log = ulsan()
    before, count = log.state(), len(log.events)
    with pytest.raises(RuleBroken) as refused:
        log.admit(event, "2026-01-01")
    assert refused.value.refusal.code == rule
    assert (log.state(), len(log.events)) == (before, count)


def test_fold_names_the_same_rules_as_admission() -> None:
    deal = ulsan().state()
    for event, rule in REFUSED:
        applied = AppliedEvent(ulsan().events[0].id, event, day("2026-01-01"), day("2026-01-01"), (), FIRST_INSTANT)
        with pytest.raises(RuleBroken) as refused:
            evolve(deal, applied)
        assert refused.value.refusal.code == rule


@pytest.mark.parametrize("kind", get_args(DealEvent), ids=lambda kind: kind.__name__)
def test_fold_of_an_event_type_gives_a_deal_or_a_broken_rule(kind: type[Event]) -> None:
    event = msgspec.convert(sample_event(kind), kind, dec_hook=decode_hook)
    applied = AppliedEvent(ulsan().events[0].id, event, date.max, date.max, (), FIRST_INSTANT)
    for deal in (register("d", None), ulsan().state()):
        with contextlib.suppress(RuleBroken):
            assert isinstance(evolve(deal, applied), Deal)
