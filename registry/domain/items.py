"""The lists of a state: pledges, sites, milestones, parties, relations and conditions, each in a fixed order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

S = TypeVar("S", bound=Struct)
T = TypeVar("T", bound=Struct)

# Each list is ordered by its items' first day and then by their id. The order depends on the items alone, so the same
# events always show the same list, and a comparison can put a list together again.
ORDER: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "parties": lambda p: (p.joined_on, p.organization, p.role or ""),
    "pledges": lambda p: (p.announced_on, p.pledge),
    "sites": lambda s: (s.announced_on, s.site),
    "milestones": lambda m: (m.scheduled_on, m.milestone),
    "relations": lambda r: (r.since, r.relation, r.deal, r.pledge or "", r.other_pledge or ""),
    "conditions": lambda c: (c.set_on, c.condition),
}


def find_item(items: tuple[T, ...], field: str, value: str) -> T | None:
    """The first item whose field has the value."""
    for item in items:
        if getattr(item, field) == value:
            return item
    return None


def insert_item(state: S, name: str, new: Struct) -> S:
    """The state with one more item in the list `name`."""
    items, order = getattr(state, name), ORDER[name]
    index = bisect_right(items, order(new), key=order)
    return replace(state, **{name: (*items[:index], new, *items[index:])})


def replace_item(state: S, name: str, old: Struct, new: Struct) -> S:
    """The state with `new` instead of `old` in the list `name`."""
    return replace(state, **{name: tuple(new if item is old else item for item in getattr(state, name))})
