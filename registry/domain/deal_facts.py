"""The facts of a deal that each event reads and changes.

`evolve_facts` (`deal/evolve.py`) on a slice with these facts gives the same as on the whole deal. The stage follows
from what all events signal (`stages.py`). tests/properties/test_timeline.py compares the two.
"""

from __future__ import annotations

from typing import assert_never

from registry.domain.applied_event import AppliedEvent
from registry.domain.facts import HEADER, FactKey, Touched
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


def touches(slug: str, applied: AppliedEvent) -> Touched:  # noqa: C901 - one case for each event type
    """The facts that an event of a deal may change, and those that must exist for it.

    Args:
        slug: The deal.
        applied: The event. The claim that a retraction names decides on the item that it changes (`timeline.py`).
    """
    event: DealEvent = applied.event  # type: ignore[assignment]
    match event:
        case DealRevised():
            return Touched((HEADER,))
        case PledgeAnnounced() | PledgeRevised() | PledgeConfirmed() | PledgeWithdrawn() | DisbursementReported():
            return Touched((("pledges", event.pledge),))
        case SiteAnnounced() | SiteRevised() | SiteDropped():
            return Touched((("sites", event.site),))
        case MilestoneScheduled():
            return Touched((("milestones", event.milestone),), (("sites", event.site),) if event.site else ())
        case MilestoneRescheduled() | MilestoneReached() | MilestoneCancelled():
            return Touched((("milestones", event.milestone),))
        case PartiesJoined():
            return Touched(tuple(dict.fromkeys(("parties", party.organization) for party in event.parties)))
        case PartyLeft():
            return Touched((("parties", event.organization),))
        case PartnershipFormed():
            # Partnerships have no ids, and a change of their list shows the whole list: together they are one fact.
            return Touched((("partnerships", "all"),))
        case DealIdentified():
            return Touched(tuple(dict.fromkeys(("identifiers", i.scheme, i.value) for i in event.identifiers)))
        case MetricReported():
            return Touched((("metrics", event.metric_id),), (("sites", event.site),) if event.site else ())
        case MetricRevised():
            return Touched((("metrics", event.metric_id),))
        case IncentiveGranted() | IncentiveRevised() | IncentiveEnded():
            return Touched((("incentives", event.incentive),))
        case SetbackReported() | SetbackResolved():
            return Touched((("setbacks", event.setback),))
        case ConditionSet() | ConditionLifted():
            return Touched((("conditions", event.condition),))
        case DealsRelated() | DealsUnrelated():
            relation = ("relations", event.relation, event.pledge or "", event.deal, event.other_pledge or "")
            pledges = (event.pledge, event.other_pledge if event.deal == slug else None)
            reads = tuple(("pledges", pledge) for pledge in dict.fromkeys(pledges) if pledge is not None)
            return Touched((relation,), reads if isinstance(event, DealsRelated) else ())
        case ClaimReported():
            return Touched((item_of_field(event.field),))
        case (
            StageChanged()
            | StatusObserved()
            | ClaimRetracted()
            | ClaimPreferred()
            | DealRegistered()
            | DealMerged()
            | DealUnmerged()
            | EventCorrected()
            | EventVoided()
            | EventRedacted()
        ):
            return Touched(())
        case _:
            assert_never(event)


def item_of_field(path: str) -> FactKey:
    """The item that a field belongs to, such as `/pledges/total/amount`."""
    _, name, item, _ = path.split("/")
    return (name, item)
