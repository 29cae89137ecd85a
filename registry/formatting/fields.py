"""The meaning of the text fields of events and states, by name: tokens with labels, organizations, deals, dates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import UNSET

from registry.domain.organizations.mentions import ORGANIZATION_FIELDS
from registry.events.types import Event
from registry.schemas.deal_query import CODE_FILTERS, ITEM_FILTERS

LABEL_KINDS: dict[str, tuple[str, ...]] = {
    **{field: (name,) for name, field in CODE_FILTERS.items()},
    "amount_basis": ("amount_basis",),
    "basis": ("metric_basis",),
    "certainty": ("certainty",),
    "commitment": ("commitment",),
    "control": ("control",),
    "figure": ("amount_figure",),
    "gpus_qualifier": ("qualifier",),
    "instrument": ("instrument",),
    "kind": ("kind", "milestone", "name_kind", *(f"{name}_kind" for name in ITEM_FILTERS)),
    "metric": ("metric",),
    "power_qualifier": ("qualifier",),
    "precision": ("precision",),
    "qualifier": ("qualifier",),
    "relation": ("relation",),
    "role": ("role",),
    "scheme": ("scheme",),
    "scopes": ("scope",),
    "stage": ("stage",),
    "status": ("status",),
}
"""The kinds of labels that the tokens of a field may have."""

DEAL_FIELDS = frozenset({"additional_to", "deal", "into"})

REFERENCES: dict[str, str] = {
    **dict.fromkeys(("planned", "reached", "until", "from", "date"), "date"),
    **dict.fromkeys(("place", "country"), "place"),
    **dict.fromkeys(("additional_to", "into", "merged_into"), "deal"),
    **dict.fromkeys(ORGANIZATION_FIELDS, "organization"),
    "language": "language",
    "site": "sites",
}
"""What the text of a field stands for, if readers know it by another name."""


def organizations_in(events: Iterable[Event | None]) -> set[str]:
    """The slugs of the organizations that events name."""
    return set(_texts(events, ORGANIZATION_FIELDS))


def deals_in(events: Iterable[Event | None]) -> set[str]:
    """The slugs of the deals that events name."""
    return {text.partition("/")[0] for text in _texts(events, DEAL_FIELDS)}


def _texts(events: Iterable[Event | None], fields: frozenset[str]) -> Iterator[str]:
    for event in events:
        for name in fields.intersection(event.__struct_fields__) if event is not None else ():
            value: Any = getattr(event, name)
            if isinstance(value, str):
                yield value
            elif value is not None and value is not UNSET:
                yield from value
