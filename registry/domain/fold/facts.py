"""Facts: the parts of a state that events read and change, each with a key of its own.

A pledge, a site, a milestone, a condition, a relation, and all memberships of one organization are facts; the key names
the list and the id, `("pledges", "total")`. The stage is a fact, and the fields that are no lists are one fact together
(HEADER). A slice is a state that holds some facts only. If an event touches only these facts, it changes the slice as
it changes the whole state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.fold.items import ListItem, order_key
from registry.infra.threads import sorted_in_groups

S = TypeVar("S", bound=Struct)

FactKey: TypeAlias = tuple[str, ...]
"""The list and the ids of a fact; an id that is not stated is empty."""

FactValue: TypeAlias = Any
"""The items of a fact of a list, empty where there is none; a state without lists for HEADER; the stage for STAGE."""

HEADER: FactKey = ("header",)
STAGE: FactKey = ("stage",)


class Touched(Struct, frozen=True, gc=False):
    """The facts that an event may change, and those that must exist for it."""

    writes: tuple[FactKey, ...]
    reads: tuple[FactKey, ...] = ()


def key_of(name: str, item: ListItem) -> FactKey:
    """The fact that an item of a list belongs to."""
    values = (getattr(item, field) for field in item.fact_fields or item.id_fields)
    return (name, *("" if value is None else str(value) for value in values))


def gather(header: S, values: Mapping[FactKey, FactValue]) -> S:
    """The slice with these facts and this header."""
    lists: dict[str, tuple[Any, ...]] = {}
    joined: set[str] = set()
    for key, items in values.items():
        name = key[0]
        if len(key) == 1 or not items:
            continue
        if name in lists:
            lists[name] += items
            joined.add(name)
        else:
            lists[name] = items
    for name in joined:
        lists[name] = in_order(lists[name])
    return replace(header, **lists) if lists else header


def in_order(items: Iterable[Any]) -> tuple[Any, ...]:
    """The items of a list in its order; items without an order of their own stay in theirs."""
    found = list(items)
    if found and isinstance(found[0], ListItem):
        found = sorted_in_groups(found, _first_in_order, order_key)
    return tuple(found)


def _first_in_order(item: ListItem) -> Any:
    first = getattr(item, item.order[0])
    return "" if first is None else first


def split(state: S, keys: Sequence[FactKey], blank: S) -> dict[FactKey, FactValue]:
    """The values of facts in a slice. `blank` is a state without any fact of a list."""
    names = [key[0] for key in keys]
    values: dict[FactKey, FactValue] = {}
    for key in keys:
        if key == HEADER:
            others = {name: getattr(blank, name) for name in names if name != HEADER[0]}
            values[key] = replace(state, **others) if others else state
        elif names.count(key[0]) == 1:
            values[key] = getattr(state, key[0])
        else:
            values[key] = tuple(item for item in getattr(state, key[0]) if key_of(key[0], item) == key)
    return values


def item_of_field(path: str) -> FactKey:
    """The item that a field belongs to, such as `/pledges/total/amount`."""
    _, name, item, _ = path.split("/")
    return (name, item)
