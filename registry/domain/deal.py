"""A deal: its state, and how each event changes it.

`evolve` returns the deal after an event, or raises `RuleBroken` with the rule that the event breaks. The fold of
recorded events (`timeline.py`) leaves such an event unapplied and reports it; `admission.py` refuses to record a new
one. An event changes few facts of the deal (`deal_facts.py`), and the stage follows from what events signal about it.
Everything here is pure: the same events always make the same deal. The whole state and the case of every event type are
in this file, so it is a little long.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any, TypeAlias, assert_never
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.domain.applied_event import AppliedEvent
from registry.domain.claims import ClaimState, report_claim, retract_claim, supersede_claims
from registry.domain.items import ListItem, find_item, insert_item, replace_item, tuple_fields
from registry.domain.refusal import Refusal
from registry.domain.stages import (
    BY_COMMITMENT,
    BY_MILESTONE,
    INSTRUMENT_SIGNED,
    StageSignal,
    StageState,
    next_stage,
)
from registry.errors import RuleBroken
from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    ConditionLifted,
    ConditionSet,
    DealEvent,
    DealIdentified,
    DealMerged,
    DealRegistered,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    DealUnmerged,
    DisbursementReported,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    IncentiveEnded,
    IncentiveGranted,
    IncentiveRevised,
    MetricReported,
    MetricRevised,
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
    SetbackReported,
    SetbackResolved,
    SiteAnnounced,
    SiteDropped,
    SiteRevised,
    StageChanged,
    StatusObserved,
)
from registry.events.values import (
    Amount,
    AmountBasis,
    Certainty,
    Classifications,
    Commitment,
    DealKind,
    Decimal,
    Edtf,
    Horizon,
    IncentiveKind,
    Instrument,
    Localized,
    MetricBasis,
    MetricName,
    MilestoneKind,
    Party,
    Place,
    Precision,
    Qualifier,
    Relation,
    Role,
    SetbackKind,
)
from registry.i18n import Label

# --- the state --------------------------------------------------------------------------------------------------------

# `MetricState` has a field of the type's name.
DayOfStatement: TypeAlias = date


class PartyState(ListItem, frozen=True, gc=False):
    """An organization's part in the deal, from `joined_on` until `left_on`."""

    id_fields = ("organization", "role", "joined_on")
    fact_fields = ("organization",)
    order = ("joined_on", "organization", "role")

    organization: str
    name: Localized | None
    role: Role | None
    joined_on: date
    left_on: date | None = None
    share: Decimal | None = None
    certainty: Certainty | None = None


class DealIdentifierState(ListItem, frozen=True, gc=False):
    """An identifier of the deal in another register or list."""

    id_fields = ("scheme", "value")
    order = ("scheme", "value")

    scheme: str
    value: str


class PartnershipState(Struct, frozen=True, gc=False):
    """An agreement between organizations, by an instrument such as a memorandum of understanding."""

    members: tuple[str, ...]
    instrument: Instrument | None
    name: Localized | None
    formed_on: date


class ConditionState(ListItem, frozen=True, gc=False):
    """A condition that an authority set for the deal."""

    id_fields = ("condition",)
    order = ("set_on", "condition")

    condition: str
    text: Localized | None
    authority: str | None
    set_on: date
    lifted_on: date | None = None


class SetbackState(ListItem, frozen=True, gc=False):
    """Something that stands in the way of the deal, from `reported_on` until `resolved_on`."""

    id_fields = ("setback",)
    order = ("reported_on", "setback")

    setback: str
    kind: SetbackKind | None
    text: Localized | None
    reported_on: date
    resolved_on: date | None = None


class Disbursement(Struct, frozen=True, gc=False):
    """An amount reported as spent."""

    amount: Amount | None
    by: tuple[str, ...]
    period: Horizon | None
    reported_on: date


class PledgeState(ListItem, frozen=True, kw_only=True, gc=False):
    """An amount that parties say they will invest. `status` is announced, confirmed or withdrawn.

    Two or more organizations in `by` pledge jointly; how they split the amount is not disclosed. `stated_on` is the day
    from which the present amount applies.
    """

    id_fields = ("pledge",)
    order = ("announced_on", "pledge")

    pledge: str
    amount: Amount | None
    amount_basis: AmountBasis | None
    commitment: Commitment | None
    status: str
    additional_to: str | None
    by: tuple[str, ...]
    horizon: Horizon | None
    purpose: Localized | None
    announced_on: date
    stated_on: date
    claims: tuple[ClaimState, ...] = ()
    disbursed: tuple[Disbursement, ...] = ()


class IncentiveState(ListItem, frozen=True, kw_only=True, gc=False):
    """Public support of the deal. `status` is granted or ended."""

    id_fields = ("incentive",)
    order = ("granted_on", "incentive")

    incentive: str
    kind: IncentiveKind | None
    amount: Amount | None
    authority: str | None
    text: Localized | None
    status: str
    granted_on: date
    claims: tuple[ClaimState, ...] = ()


class SiteState(ListItem, frozen=True, kw_only=True, gc=False):
    """A place with planned capacity: MW as an exact decimal, GPUs as a count. `status` is announced or dropped."""

    id_fields = ("site",)
    order = ("announced_on", "site")

    site: str
    name: Localized | None
    place: Place | None
    address: str | None = None
    locality: str | None = None
    district_code: str | None = None
    latitude: str | None
    longitude: str | None
    precision: Precision | None
    power_mw: Decimal | None
    power_qualifier: Qualifier | None
    gpus: int | None
    gpus_qualifier: Qualifier | None
    status: str
    announced_on: date
    claims: tuple[ClaimState, ...] = ()


class MilestoneState(ListItem, frozen=True, kw_only=True, gc=False):
    """A dated step. `status` is planned, reached or cancelled; dates keep the precision of their source (EDTF)."""

    id_fields = ("milestone",)
    order = ("scheduled_on", "milestone")

    milestone: str
    kind: MilestoneKind | None
    site: str | None
    name: Localized | None
    planned: Edtf | None
    reached: Edtf | None
    power_mw: Decimal | None
    status: str
    scheduled_on: date
    claims: tuple[ClaimState, ...] = ()


class MetricState(ListItem, frozen=True, kw_only=True, gc=False):
    """A quantity other than money, of the deal or of a site. `metric_id` names it in paths."""

    id_fields = ("metric_id",)
    order = ("metric_id",)

    metric_id: str
    metric: MetricName
    site: str | None
    basis: MetricBasis
    date: Edtf | None
    horizon: Horizon | None
    value: Decimal | None
    unit: str | None
    qualifier: Qualifier | None
    stated_on: DayOfStatement
    claims: tuple[ClaimState, ...] = ()


class RelationState(ListItem, frozen=True, gc=False):
    """This deal (or its `pledge`) is `relation` to `deal` (or its `other_pledge`); `source` is the declaring event."""

    id_fields = ("relation", "pledge", "deal", "other_pledge")
    order = ("since", "relation", "deal", "pledge", "other_pledge")

    relation: Relation
    deal: str
    pledge: str | None
    other_pledge: str | None
    since: date
    source: UUID


class Deal(Struct, frozen=True, kw_only=True, gc=False):
    """The state of a deal: the fold of its events. Unknown is None or empty, never zero."""

    deal: str
    title: Localized | None
    kind: DealKind | None = None
    summary: Localized | None = None
    sectors: tuple[str, ...] = ()
    classifications: Classifications | None = None
    identifiers: tuple[DealIdentifierState, ...] = ()
    stage: StageState | None = None
    parties: tuple[PartyState, ...] = ()
    partnerships: tuple[PartnershipState, ...] = ()
    pledges: tuple[PledgeState, ...] = ()
    sites: tuple[SiteState, ...] = ()
    milestones: tuple[MilestoneState, ...] = ()
    metrics: tuple[MetricState, ...] = ()
    incentives: tuple[IncentiveState, ...] = ()
    setbacks: tuple[SetbackState, ...] = ()
    relations: tuple[RelationState, ...] = ()
    conditions: tuple[ConditionState, ...] = ()


Item = PledgeState | SiteState | MilestoneState | IncentiveState | MetricState

# --- the events -------------------------------------------------------------------------------------------------------


def register(slug: str, event: DealRegistered | None) -> Deal:
    """A newly registered deal. `event` is None if the registration's content was redacted."""
    return Deal(deal=slug, title=None) if event is None else Deal(deal=slug, **_given_fields(event, Deal))


def evolve(deal: Deal, applied: AppliedEvent) -> Deal:
    """The deal after an event.

    Raises:
        RuleBroken: The deal cannot take the event.
    """
    after = evolve_facts(deal, applied)
    signal = stage_signal(deal, after, applied)
    if signal is None:
        return after
    is_pledged = any(pledge.status != "withdrawn" for pledge in after.pledges)
    stage = next_stage(deal.stage, signal, applied.effective_on, is_pledged=is_pledged)
    return after if stage is deal.stage else replace(after, stage=stage)


def stage_signal(before: Deal, after: Deal, applied: AppliedEvent) -> StageSignal | None:
    """What an event says about the stage. Both deals may be slices with the facts that the event touches."""
    event = applied.event
    match event:
        case StageChanged():
            return StageSignal(declared=event.stage)
        case StatusObserved():
            return StageSignal(observed=event.stage, certainty=event.certainty)
        case PledgeAnnounced():
            return StageSignal(inference=BY_COMMITMENT.get(event.commitment), pledges=1)
        case PledgeRevised() | PledgeConfirmed():
            inference = None if event.commitment is UNSET else BY_COMMITMENT.get(event.commitment)
            return StageSignal(inference=inference) if inference else None
        case PledgeWithdrawn():
            return StageSignal(pledges=-1)
        case MilestoneReached() if after is not before:
            milestone = find_item(after.milestones, "milestone", event.milestone)
            inference = BY_MILESTONE.get(milestone.kind) if milestone else None
            return StageSignal(inference=inference) if inference else None
        case PartnershipFormed() if event.instrument:
            return StageSignal(inference=INSTRUMENT_SIGNED)
        case _:
            return None


def evolve_facts(deal: Deal, applied: AppliedEvent) -> Deal:  # noqa: C901 - one case for each event type
    """The deal after an event, but for the stage. The deal may be a slice with the facts that the event touches.

    Raises:
        RuleBroken: The deal cannot take the event.
    """
    event: DealEvent = applied.event  # type: ignore[assignment]
    on = applied.effective_on
    match event:
        case DealRegistered():
            raise RuleBroken(Refusal("already-registered", slug=deal.deal))
        case DealRevised():
            given = _given_fields(event, Deal)
            if isinstance(event.classifications, dict):
                given["classifications"] = _reclassify(deal.classifications, event.classifications)
            return replace(deal, **given)
        case DealIdentified():
            known = {(i.scheme, i.value) for i in deal.identifiers}
            for scheme, value in dict.fromkeys((i.scheme, i.value) for i in event.identifiers):
                if (scheme, value) not in known:
                    deal = insert_item(deal, "identifiers", DealIdentifierState(scheme, value))
            return deal
        case SetbackReported():
            if find_item(deal.setbacks, "setback", event.setback):
                raise RuleBroken(Refusal("setback-id-used", setback=event.setback))
            return insert_item(deal, "setbacks", SetbackState(event.setback, event.kind, event.text, on))
        case SetbackResolved():
            setback = find_item(deal.setbacks, "setback", event.setback)
            if setback is None:
                raise RuleBroken(Refusal("setback-unknown", setback=event.setback))
            if setback.resolved_on is not None:
                refusal = Refusal("setback-resolved", setback=event.setback, resolved_on=setback.resolved_on)
                raise RuleBroken(refusal)
            return replace_item(deal, "setbacks", setback, replace(setback, resolved_on=on))

        case IncentiveGranted():
            if find_item(deal.incentives, "incentive", event.incentive):
                raise RuleBroken(Refusal("incentive-id-used", incentive=event.incentive))
            given = _given_fields(event, IncentiveState)
            return insert_item(deal, "incentives", IncentiveState(status="granted", granted_on=on, **given))
        case IncentiveRevised():
            given = _given_fields(event, IncentiveState)
            return _change(deal, "incentives", _standing_incentive(deal, event.incentive), given)
        case IncentiveEnded():
            return _change(deal, "incentives", _standing_incentive(deal, event.incentive), {"status": "ended"})

        case PledgeAnnounced():
            if find_item(deal.pledges, "pledge", event.pledge):
                raise RuleBroken(Refusal("pledge-id-used", pledge=event.pledge))
            given = _given_fields(event, PledgeState)
            pledge = PledgeState(status="announced", announced_on=on, stated_on=on, **given)
            return insert_item(deal, "pledges", pledge)
        case PledgeRevised():
            given = _given_fields(event, PledgeState)
            if "amount" in given:
                given["stated_on"] = on
            return _change(deal, "pledges", _standing_pledge(deal, event.pledge), given)
        case PledgeConfirmed():
            given = _given_fields(event, PledgeState)
            return _change(deal, "pledges", _standing_pledge(deal, event.pledge), {**given, "status": "confirmed"})
        case PledgeWithdrawn():
            return _change(deal, "pledges", _standing_pledge(deal, event.pledge), {"status": "withdrawn"})
        case DisbursementReported():
            pledge = _pledge(deal, event.pledge)
            disbursement = Disbursement(event.amount, event.by, event.period, on)
            return _change(deal, "pledges", pledge, {"disbursed": (*pledge.disbursed, disbursement)})

        case SiteAnnounced():
            if find_item(deal.sites, "site", event.site):
                raise RuleBroken(Refusal("site-id-used", site=event.site))
            given = _given_fields(event, SiteState)
            site = SiteState(status="announced", announced_on=on, **given)
            return insert_item(deal, "sites", site)
        case SiteRevised():
            return _change(deal, "sites", _standing_site(deal, event.site), _given_fields(event, SiteState))
        case SiteDropped():
            return _change(deal, "sites", _standing_site(deal, event.site), {"status": "dropped"})

        case MilestoneScheduled():
            if find_item(deal.milestones, "milestone", event.milestone):
                raise RuleBroken(Refusal("milestone-id-used", milestone=event.milestone))
            if event.site is not None and not find_item(deal.sites, "site", event.site):
                raise RuleBroken(Refusal("site-unknown", site=event.site))
            given = _given_fields(event, MilestoneState)
            milestone = MilestoneState(reached=None, status="planned", scheduled_on=on, **given)
            return insert_item(deal, "milestones", milestone)
        case MilestoneRescheduled():
            given = _given_fields(event, MilestoneState)
            return _change(deal, "milestones", _open_milestone(deal, event.milestone), {**given, "status": "planned"})
        case MilestoneReached():
            reached = event.reached or on.isoformat()
            milestone = _milestone(deal, event.milestone)
            if milestone.status == "reached" and milestone.reached == reached:
                return deal  # The same date reported twice is one fact; another date conflicts.
            milestone = _open_milestone(deal, event.milestone)
            return _change(deal, "milestones", milestone, {"reached": reached, "status": "reached"})
        case MilestoneCancelled():
            return _change(deal, "milestones", _open_milestone(deal, event.milestone), {"status": "cancelled"})

        case MetricReported():
            if find_item(deal.metrics, "metric_id", event.metric_id):
                raise RuleBroken(Refusal("metric-reported", metric=event.metric_id))
            if event.site is not None and not find_item(deal.sites, "site", event.site):
                raise RuleBroken(Refusal("site-unknown", site=event.site))
            given = _given_fields(event, MetricState)
            return insert_item(deal, "metrics", MetricState(metric_id=event.metric_id, stated_on=on, **given))
        case MetricRevised():
            metric = find_item(deal.metrics, "metric_id", event.metric_id)
            if metric is None:
                raise RuleBroken(Refusal("metric-unknown", metric=event.metric_id))
            given = _given_fields(event, MetricState)
            if "value" in given:
                given["stated_on"] = on
            return _change(deal, "metrics", metric, given)

        case PartiesJoined():
            return _join_parties(deal, event.parties, on)
        case PartyLeft():
            return _leave(deal, event, on)
        case PartnershipFormed():
            partnership = PartnershipState(event.members, event.instrument, event.name, on)
            return replace(deal, partnerships=(*deal.partnerships, partnership))

        case ConditionSet():
            if find_item(deal.conditions, "condition", event.condition):
                raise RuleBroken(Refusal("condition-id-used", condition=event.condition))
            return insert_item(deal, "conditions", ConditionState(event.condition, event.text, event.authority, on))
        case ConditionLifted():
            condition = find_item(deal.conditions, "condition", event.condition)
            if condition is None:
                raise RuleBroken(Refusal("condition-unknown", condition=event.condition))
            if condition.lifted_on is not None:
                refusal = Refusal("condition-lifted", condition=event.condition, lifted_on=condition.lifted_on)
                raise RuleBroken(refusal)
            return replace_item(deal, "conditions", condition, replace(condition, lifted_on=on))

        case DealsRelated():
            return _relate(deal, event, on, applied.id)
        case DealsUnrelated():
            relations = tuple(r for r in deal.relations if not _is_relation(r, event))
            if len(relations) == len(deal.relations):
                relation = Label(f"relation/{event.relation}")
                raise RuleBroken(Refusal("relation-unknown", relation=relation, deal=event.deal))
            return replace(deal, relations=relations)

        case ClaimReported():
            return report_claim(deal, event, applied)
        case ClaimRetracted():
            return retract_claim(deal, event)

        case StageChanged() | StatusObserved():
            return deal
        case ClaimPreferred() | DealMerged() | DealUnmerged() | EventCorrected() | EventVoided() | EventRedacted():
            return deal  # They change which events are folded, not the state (history.py).
        case _:
            assert_never(event)


def _given_fields(event: Event, state: type[Struct]) -> dict[str, Any]:
    """The fields of a state that an event gives: absent ones (UNSET) are left out, and null clears one."""
    given: dict[str, Any] = {}
    for name in _shared_fields(type(event), state):
        value = getattr(event, name)
        if value is not UNSET:
            given[name] = () if value is None and name in tuple_fields(state) else value
    return given


@cache
def _shared_fields(event: type[Event], state: type[Struct]) -> tuple[str, ...]:
    """The names of the fields that an event's struct and a state's struct both have."""
    return tuple(name for name in state.__struct_fields__ if name in event.__struct_fields__)


def _change(deal: Deal, name: str, item: Item, changes: dict[str, Any]) -> Deal:
    """The deal with an item's fields set; claims about the fields that are set again are superseded."""
    return replace_item(deal, name, item, replace(item, claims=supersede_claims(item.claims, changes), **changes))


def _reclassify(known: Classifications | None, given: Classifications) -> Classifications | None:
    """The classifications after a revision: the axes that it gives replace the known ones; one without codes goes."""
    axes = Classifications(sorted({**(known or {}), **given}.items()))
    return Classifications((axis, codes) for axis, codes in axes.items() if codes) or None


def _standing_incentive(deal: Deal, key: str) -> IncentiveState:
    incentive = find_item(deal.incentives, "incentive", key)
    if incentive is None:
        raise RuleBroken(Refusal("incentive-unknown", incentive=key))
    if incentive.status == "ended":
        raise RuleBroken(Refusal("incentive-ended", incentive=key))
    return incentive


def _pledge(deal: Deal, key: str) -> PledgeState:
    pledge = find_item(deal.pledges, "pledge", key)
    if pledge is None:
        raise RuleBroken(Refusal("pledge-unknown", pledge=key))
    return pledge


def _standing_pledge(deal: Deal, key: str) -> PledgeState:
    pledge = _pledge(deal, key)
    if pledge.status == "withdrawn":
        raise RuleBroken(Refusal("pledge-withdrawn", pledge=key))
    return pledge


def _standing_site(deal: Deal, key: str) -> SiteState:
    site = find_item(deal.sites, "site", key)
    if site is None:
        raise RuleBroken(Refusal("site-unknown", site=key))
    if site.status == "dropped":
        raise RuleBroken(Refusal("site-dropped", site=key))
    return site


def _milestone(deal: Deal, key: str) -> MilestoneState:
    milestone = find_item(deal.milestones, "milestone", key)
    if milestone is None:
        raise RuleBroken(Refusal("milestone-unknown", milestone=key))
    return milestone


def _open_milestone(deal: Deal, key: str) -> MilestoneState:
    milestone = _milestone(deal, key)
    if milestone.status == "reached":
        raise RuleBroken(Refusal("milestone-reached", milestone=key, reached=milestone.reached or ""))
    return milestone


# What an organization that joins again in the same role states again: all fields but those that identify the party.
_RESTATED = tuple(
    name
    for name in PartyState.__struct_fields__
    if name in Party.__struct_fields__ and name not in ("organization", "role")
)


def _join_parties(deal: Deal, joining: tuple[Party, ...], on: date) -> Deal:
    for party in joining:
        memberships = [p for p in deal.parties if (p.organization, p.role) == (party.organization, party.role)]
        # A membership that ended on the day that it began goes on if the organization joins again on that day.
        current = next((p for p in memberships if p.left_on is None or p.joined_on == on), None)
        if current is not None:
            stated = {name: value for name in _RESTATED if (value := getattr(party, name)) is not None}
            deal = replace_item(deal, "parties", current, replace(current, left_on=None, **stated))
        else:
            joined = PartyState(
                party.organization, party.name, party.role, on, share=party.share, certainty=party.certainty
            )
            deal = insert_item(deal, "parties", joined)
    return deal


def _leave(deal: Deal, event: PartyLeft, on: date) -> Deal:
    leaving = [
        party
        for party in deal.parties
        if party.organization == event.organization
        and party.left_on is None
        and (event.role is None or party.role == event.role)
    ]
    if not leaving:
        role = (Label(f"role/{event.role}"),) if event.role else ()
        raise RuleBroken(Refusal("party-unknown", party=(event.organization, *role)))
    return replace(deal, parties=tuple(replace(p, left_on=on) if p in leaving else p for p in deal.parties))


def _relate(deal: Deal, event: DealsRelated, on: date, source: UUID) -> Deal:
    if event.pledge is not None:
        _pledge(deal, event.pledge)
    if event.deal == deal.deal:
        if event.pledge == event.other_pledge:
            raise RuleBroken(Refusal("relation-to-itself"))
        if event.other_pledge is not None:
            _pledge(deal, event.other_pledge)
    if any(_is_relation(r, event) for r in deal.relations):
        return deal
    relation = RelationState(event.relation, event.deal, event.pledge, event.other_pledge, on, source)
    return insert_item(deal, "relations", relation)


def _is_relation(state: RelationState, event: DealsRelated | DealsUnrelated) -> bool:
    related = (event.relation, event.deal, event.pledge, event.other_pledge)
    return (state.relation, state.deal, state.pledge, state.other_pledge) == related
