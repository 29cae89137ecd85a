"""The blocks of a mapping, and the events that they become."""

from __future__ import annotations

from msgspec import Struct

from registry.events.types import (
    ConditionSet,
    DealRegistered,
    DealRevised,
    Event,
    IncentiveGranted,
    IncentiveRevised,
    MetricReported,
    MetricRevised,
    MilestoneRescheduled,
    MilestoneScheduled,
    PledgeAnnounced,
    PledgeRevised,
    SetbackReported,
    SiteAnnounced,
    SiteRevised,
    StageChanged,
    StatusObserved,
)
from registry.events.values import Party
from registry.imports.mapping.fields import MappedField, struct_fields


class BlockType(Struct, frozen=True):
    """A kind of block.

    Attributes:
        event: The event that announces the block's thing; for parties, the party in it.
        revised: The event that changes it, if there is one.
        list: The list of the deal's state that has it.
        ids: The fields that identify it in the list.
        essential: Fields without which the row does not state the thing.
        extra: Fields of the block that are no field of `event`.
        starts_on: The field of the state that has the effective date of `event`.
        is_observation: Whether the effective date is that of the publication, if the block has none.
    """

    event: type[Struct]
    revised: type[Event] | None = None
    list: str = ""
    ids: tuple[str, ...] = ()
    essential: tuple[str, ...] = ()
    extra: dict[str, MappedField] = {}
    starts_on: str = ""
    is_observation: bool = False

    @property
    def fields(self) -> dict[str, MappedField]:
        """The fields that the block may have, by path."""
        own = struct_fields(Party) if self.event is Party else struct_fields(self.event)
        return {**own, **(AMOUNT_PARTS if "amount" in own else {}), **self.extra}


AMOUNT_PARTS = {
    "currency": MappedField("text"),
    "qualifier": MappedField("choice", choices=("exact", "about", "at_least", "more_than", "nearly", "up_to")),
    "figure": MappedField("choice", choices=("stated", "estimated", "modelled")),
    "price_year": MappedField("whole"),
}
"""The parts of an amount, which have columns of their own or are the same in all rows."""

BLOCKS: dict[str, BlockType] = {
    "deal": BlockType(DealRegistered, DealRevised, essential=("title",)),
    "party": BlockType(Party, list="parties", ids=("organization", "role"), essential=("organization",)),
    "site": BlockType(SiteAnnounced, SiteRevised, "sites", ("site",), starts_on="announced_on"),
    "pledge": BlockType(PledgeAnnounced, PledgeRevised, "pledges", ("pledge",), ("amount",), starts_on="announced_on"),
    "metric": BlockType(
        MetricReported,
        MetricRevised,
        "metrics",
        ("metric", "site", "basis", "date", "horizon"),
        ("value",),
        is_observation=True,
    ),
    "milestone": BlockType(
        MilestoneScheduled,
        MilestoneRescheduled,
        "milestones",
        ("milestone",),
        extra={"reached": MappedField("loose_date")},
        starts_on="scheduled_on",
    ),
    "incentive": BlockType(
        IncentiveGranted, IncentiveRevised, "incentives", ("incentive",), ("amount",), starts_on="granted_on"
    ),
    "setback": BlockType(SetbackReported, list="setbacks", ids=("setback",), starts_on="reported_on"),
    "condition": BlockType(ConditionSet, list="conditions", ids=("condition",), starts_on="set_on"),
    "stage": BlockType(StageChanged, essential=("stage",)),
    "status": BlockType(StatusObserved, essential=("stage",), is_observation=True),
}
"""In the order in which a row's events are recorded: a milestone may name the row's site."""
