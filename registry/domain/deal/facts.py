"""The facts of a deal that each event reads and changes.

`evolve_facts` (`deal/evolve.py`) on a slice with these facts gives the same as on the whole deal. The stage follows
from what all events signal (`stages.py`). tests/properties/test_timeline.py compares the two, and the golden test does
for every event type.
"""

from __future__ import annotations

from registry.domain.deal.state import Deal
from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.fold.facts import HEADER, Touched, item_of_field
from registry.domain.fold.items import item_types
from registry.events.types import (
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealIdentified,
    DealMerged,
    DealRegistered,
    DealRevised,
    DealsRelated,
    DealsUnrelated,
    DealUnmerged,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    MetricReported,
    MetricRevised,
    MilestoneScheduled,
    PartiesJoined,
    PartnershipFormed,
    PartyLeft,
    StageChanged,
    StatusObserved,
)


def touches(slug: str, applied: AppliedEvent) -> Touched:  # noqa: C901 - one case for each kind of event
    """The facts that an event of a deal may change, and those that must exist for it.

    An event whose first field is the id of a list's items, as of `pledges` or `conditions`, changes that item alone.
    The other events have cases here.

    Args:
        slug: The deal.
        applied: The event. The claim that a retraction names decides on the item that it changes (`timeline.py`).
    """
    event = applied.event
    if (item := _ITEMS.get(type(event))) is not None:
        return Touched(((item[0], getattr(event, item[1])),))
    match event:
        case DealRevised():
            return Touched((HEADER,))
        case MilestoneScheduled():
            return Touched((("milestones", event.milestone),), (("sites", event.site),) if event.site else ())
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
            _ITEMS[type(event)] = _item_of_type(type(event))
            return touches(slug, applied)


# By the event types that have no case: what `_item_of_type` has found.
_ITEMS: dict[type[Event], tuple[str, str]] = {}


def _item_of_type(event: type[Event]) -> tuple[str, str]:
    """The list of the item that an event type changes, and the field with its id."""
    field = event.__struct_fields__[0]
    for name, item in item_types(Deal).items():
        if item.id_fields == (field,):
            return name, field
    raise TypeError(f"{event.__name__} needs a case in touches(): no list of a deal has items with the id {field!r}")
