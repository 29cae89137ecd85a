"""The blocks of a mapping, and the events that they become."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from registry.domain.deal import Deal, MetricState, MilestoneState
from registry.domain.fold.items import ListItem, item_types
from registry.events.types import (
    DealRegistered,
    DealRevised,
    Event,
    MetricReported,
    MetricRevised,
    StageChanged,
    StatusObserved,
)
from registry.events.values import AMOUNT_NOTES, Amount, Party
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
    **{name: struct_fields(Amount)[name] for name in ("qualifier", *AMOUNT_NOTES)},
}
"""The parts of an amount, which have columns of their own or are the same in all rows."""


def _block_of(name: str, item: type[ListItem], **more: Any) -> BlockType:
    """The block of a list's items. If these have an amount, a row without an amount states nothing."""
    assert item.announced_by is not None
    essential = ("amount",) if "amount" in item.__struct_fields__ else ()
    revised = item.revised_by[0] if item.revised_by else None
    return BlockType(item.announced_by, revised, name, item.id_fields, essential, starts_on=item.order[0], **more)


_OF_ITEMS = {
    item.id_fields[0]: _block_of(name, item)
    for name, item in item_types(Deal).items()
    if item.announced_by is not None and item is not MetricState
}

BLOCKS: dict[str, BlockType] = {
    "deal": BlockType(DealRegistered, DealRevised, essential=("title",)),
    "party": BlockType(Party, list="parties", ids=("organization", "role"), essential=("organization",)),
    "site": _OF_ITEMS["site"],
    "pledge": _OF_ITEMS["pledge"],
    "metric": BlockType(
        MetricReported,
        MetricRevised,
        "metrics",
        ("metric", "site", "basis", "date", "horizon"),
        ("value",),
        is_observation=True,
    ),
    **_OF_ITEMS,
    "milestone": _block_of("milestones", MilestoneState, extra={"reached": MappedField("loose_date")}),
    "stage": BlockType(StageChanged, essential=("stage",)),
    "status": BlockType(StatusObserved, essential=("stage",), is_observation=True),
}
"""In the order in which a row's events are recorded: a milestone may name the row's site."""
