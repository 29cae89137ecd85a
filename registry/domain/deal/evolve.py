"""How each event changes a deal.

`evolve` returns the deal after an event, or raises `RuleBroken` with the rule that the event breaks. The fold of
recorded events (`domain/fold/timeline.py`) leaves such an event unapplied and reports it; `domain/admission.py` refuses
to record a new one. An event changes few facts of the deal (`domain/deal/facts.py` says which), and the stage follows
from what events signal about it. Everything here is pure: the same events always make the same deal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, assert_never, get_args

from msgspec import UNSET
from msgspec.structs import replace

from registry.domain.deal.changes import (
    change_item,
    given_fields,
    is_relation,
    join_parties,
    leave,
    reclassify,
    relate,
    require_active_incentive,
    require_active_pledge,
    require_active_site,
    require_milestone,
    require_open_milestone,
    require_pledge,
)
from registry.domain.deal.state import (
    ConditionState,
    Deal,
    DealIdentifierState,
    Disbursement,
    IncentiveState,
    MetricState,
    MilestoneState,
    PartnershipState,
    PledgeState,
    SetbackState,
    SiteState,
)
from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.fold.claims import report_claim, retract_claim
from registry.domain.fold.items import find_item, insert_item, replace_item
from registry.domain.refusal import Refusal
from registry.domain.stages import BY_COMMITMENT, BY_MILESTONE, INSTRUMENT_SIGNED, StageSignal, next_stage
from registry.errors import RuleBroken
from registry.events.types.announcements import BookkeepingEvent
from registry.events.types.base import Event
from registry.events.types.deals import (
    ConditionLifted,
    ConditionSet,
    DealIdentified,
    DealRegistered,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    PartiesJoined,
    PartnershipFormed,
    PartyLeft,
    RelationEvent,
    SetbackReported,
    SetbackResolved,
    StageChanged,
    StatusObserved,
    WholeDealEvent,
)
from registry.events.types.pledges import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DisbursementReported,
    IncentiveEnded,
    IncentiveGranted,
    IncentiveRevised,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeEvent,
    PledgeRevised,
    PledgeWithdrawn,
)
from registry.events.types.record import DealMerged, DealUnmerged
from registry.events.types.sites import (
    MetricReported,
    MetricRevised,
    MilestoneCancelled,
    MilestoneReached,
    MilestoneRescheduled,
    MilestoneScheduled,
    SiteAnnounced,
    SiteDropped,
    SiteEvent,
    SiteRevised,
)
from registry.i18n import Label

_RecordEvent: TypeAlias = DealMerged | DealUnmerged | BookkeepingEvent


def register(slug: str, event: DealRegistered | None) -> Deal:
    """A newly registered deal. `event` is None if the registration's content was redacted."""
    return Deal(deal=slug, title=None) if event is None else Deal(deal=slug, **given_fields(event, Deal))


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


def evolve_facts(deal: Deal, applied: AppliedEvent) -> Deal:
    """The deal after an event, but for the stage. The deal may be a slice with the facts that the event touches.

    Raises:
        RuleBroken: The deal cannot take the event.
    """
    return _EVOLVE[type(applied.event)](deal, applied.event, applied)


def _evolve_deal(deal: Deal, event: WholeDealEvent, applied: AppliedEvent) -> Deal:  # noqa: C901 - one case for each event type
    """The deal after an event about it as a whole."""
    on = applied.effective_on
    match event:
        case DealRegistered():
            raise RuleBroken(Refusal("already-registered", slug=deal.deal))
        case DealRevised():
            given = given_fields(event, Deal)
            if isinstance(event.classifications, dict):
                given["classifications"] = reclassify(deal.classifications, event.classifications)
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

        case PartiesJoined():
            return join_parties(deal, event.parties, on)
        case PartyLeft():
            return leave(deal, event, on)
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

        case StageChanged() | StatusObserved():
            return deal
        case _:
            assert_never(event)


def _evolve_pledges(deal: Deal, event: PledgeEvent, applied: AppliedEvent) -> Deal:  # noqa: C901 - one case for each event type
    """The deal after an event about a pledge, an incentive or a claim."""
    on = applied.effective_on
    match event:
        case IncentiveGranted():
            if find_item(deal.incentives, "incentive", event.incentive):
                raise RuleBroken(Refusal("incentive-id-used", incentive=event.incentive))
            given = given_fields(event, IncentiveState)
            return insert_item(deal, "incentives", IncentiveState(status="granted", granted_on=on, **given))
        case IncentiveRevised():
            given = given_fields(event, IncentiveState)
            return change_item(deal, "incentives", require_active_incentive(deal, event.incentive), given)
        case IncentiveEnded():
            return change_item(deal, "incentives", require_active_incentive(deal, event.incentive), {"status": "ended"})

        case PledgeAnnounced():
            if find_item(deal.pledges, "pledge", event.pledge):
                raise RuleBroken(Refusal("pledge-id-used", pledge=event.pledge))
            given = given_fields(event, PledgeState)
            pledge = PledgeState(status="announced", announced_on=on, stated_on=on, **given)
            return insert_item(deal, "pledges", pledge)
        case PledgeRevised():
            given = given_fields(event, PledgeState)
            if "amount" in given:
                given["stated_on"] = on
            return change_item(deal, "pledges", require_active_pledge(deal, event.pledge), given)
        case PledgeConfirmed():
            given = given_fields(event, PledgeState)
            pledge = require_active_pledge(deal, event.pledge)
            return change_item(deal, "pledges", pledge, {**given, "status": "confirmed"})
        case PledgeWithdrawn():
            return change_item(deal, "pledges", require_active_pledge(deal, event.pledge), {"status": "withdrawn"})
        case DisbursementReported():
            pledge = require_pledge(deal, event.pledge)
            disbursement = Disbursement(event.amount, event.by, event.period, on)
            return change_item(deal, "pledges", pledge, {"disbursed": (*pledge.disbursed, disbursement)})

        case ClaimReported():
            return report_claim(deal, event, applied)
        case ClaimRetracted():
            return retract_claim(deal, event)
        case ClaimPreferred():
            return deal  # It changes which claim the state shows (claims.py).
        case _:
            assert_never(event)


def _evolve_sites(deal: Deal, event: SiteEvent, applied: AppliedEvent) -> Deal:  # noqa: C901 - one case for each event type
    """The deal after an event about a site, a milestone or a metric."""
    on = applied.effective_on
    match event:
        case SiteAnnounced():
            if find_item(deal.sites, "site", event.site):
                raise RuleBroken(Refusal("site-id-used", site=event.site))
            given = given_fields(event, SiteState)
            site = SiteState(status="announced", announced_on=on, **given)
            return insert_item(deal, "sites", site)
        case SiteRevised():
            return change_item(deal, "sites", require_active_site(deal, event.site), given_fields(event, SiteState))
        case SiteDropped():
            return change_item(deal, "sites", require_active_site(deal, event.site), {"status": "dropped"})

        case MilestoneScheduled():
            if find_item(deal.milestones, "milestone", event.milestone):
                raise RuleBroken(Refusal("milestone-id-used", milestone=event.milestone))
            if event.site is not None and not find_item(deal.sites, "site", event.site):
                raise RuleBroken(Refusal("site-unknown", site=event.site))
            given = given_fields(event, MilestoneState)
            milestone = MilestoneState(reached=None, status="planned", scheduled_on=on, **given)
            return insert_item(deal, "milestones", milestone)
        case MilestoneRescheduled():
            given = {**given_fields(event, MilestoneState), "status": "planned"}
            return change_item(deal, "milestones", require_open_milestone(deal, event.milestone), given)
        case MilestoneReached():
            reached = event.reached or on.isoformat()
            milestone = require_milestone(deal, event.milestone)
            if milestone.status == "reached" and milestone.reached == reached:
                return deal  # The same date reported twice is one fact; another date conflicts.
            milestone = require_open_milestone(deal, event.milestone)
            return change_item(deal, "milestones", milestone, {"reached": reached, "status": "reached"})
        case MilestoneCancelled():
            return change_item(
                deal, "milestones", require_open_milestone(deal, event.milestone), {"status": "cancelled"}
            )

        case MetricReported():
            if find_item(deal.metrics, "metric_id", event.metric_id):
                raise RuleBroken(Refusal("metric-reported", metric=event.metric_id))
            if event.site is not None and not find_item(deal.sites, "site", event.site):
                raise RuleBroken(Refusal("site-unknown", site=event.site))
            given = given_fields(event, MetricState)
            return insert_item(deal, "metrics", MetricState(metric_id=event.metric_id, stated_on=on, **given))
        case MetricRevised():
            metric = find_item(deal.metrics, "metric_id", event.metric_id)
            if metric is None:
                raise RuleBroken(Refusal("metric-unknown", metric=event.metric_id))
            given = given_fields(event, MetricState)
            if "value" in given:
                given["stated_on"] = on
            return change_item(deal, "metrics", metric, given)
        case _:
            assert_never(event)


def _evolve_relations(deal: Deal, event: RelationEvent, applied: AppliedEvent) -> Deal:
    """The deal after an event about a relation to another deal."""
    match event:
        case DealsRelated():
            return relate(deal, event, applied.effective_on, applied.id)
        case DealsUnrelated():
            relations = tuple(r for r in deal.relations if not is_relation(r, event))
            if len(relations) == len(deal.relations):
                relation = Label(f"relation/{event.relation}")
                raise RuleBroken(Refusal("relation-unknown", relation=relation, deal=event.deal))
            return replace(deal, relations=relations)
        case _:
            assert_never(event)


def _unchanged(deal: Deal, event: _RecordEvent, applied: AppliedEvent) -> Deal:
    """The deal after an event that changes which events are folded, and not the state (history.py)."""
    return deal


_EVOLVE: dict[type[Event], Callable[[Deal, Any, AppliedEvent], Deal]] = {
    event: evolve
    for topic, evolve in (
        (WholeDealEvent, _evolve_deal),
        (PledgeEvent, _evolve_pledges),
        (SiteEvent, _evolve_sites),
        (RelationEvent, _evolve_relations),
        (_RecordEvent, _unchanged),
    )
    for event in get_args(topic)
}
"""The function for each event type: that of its topic. The topics are together all events of a deal."""
