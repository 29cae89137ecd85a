"""The lists of a state: pledges, sites, milestones, parties, relations and conditions, each in a fixed order."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import replace

from registry.events.types.base import Event

S = TypeVar("S", bound=Struct)
T = TypeVar("T", bound=Struct)


class ListItem(Struct, frozen=True, gc=False):
    """An item of a list of a state, with a path of its own: `/pledges/{pledge}`.

    Attributes:
        id_fields: The fields that make the item's id in its list. A single one has the list's name without its "s".
        order: The fields by which the list is ordered: the item's first day, then its id. The order depends on the
            items alone, so the same events always show the same list.
        fact_fields: The fields that tell the list's facts apart (`facts.py`), if these are only some of `id_fields`.
        announced_by: The event that makes an item.
        revised_by: The events that state an item's fields again.
        ended_by: The field and the value by which an item has ended; no value: the field has the day of the end.
    """

    id_fields: ClassVar[tuple[str, ...]]
    order: ClassVar[tuple[str, ...]]
    fact_fields: ClassVar[tuple[str, ...]] = ()
    announced_by: ClassVar[type[Event] | None] = None
    revised_by: ClassVar[tuple[type[Event], ...]] = ()
    ended_by: ClassVar[tuple[str, str | None] | None] = None


def order_key(item: ListItem) -> tuple[Any, ...]:
    """The place of an item in its list."""
    return tuple("" if value is None else value for value in attrgetter(*item.order)(item))


def has_ended(item: ListItem) -> bool:
    """Whether an item has ended."""
    if item.ended_by is None:
        return False
    field, value = item.ended_by
    shown = getattr(item, field)
    return shown is not None if value is None else bool(shown == value)


def item_id(item: ListItem) -> str:
    """The id of an item in its list, as paths have it: `amazon:investor:2025-06-16`."""
    if len(item.id_fields) == 1:
        return str(getattr(item, item.id_fields[0]))
    values = (getattr(item, field) for field in item.id_fields)
    return ":".join("" if value is None else str(value) for value in values)


@cache
def item_types(state: type[Struct]) -> dict[str, type[ListItem]]:
    """The lists of a state whose items have paths of their own, each with the type of its items."""
    types: dict[str, type[ListItem]] = {}
    for name, hint in get_type_hints(state).items():
        item = get_args(hint)[0] if get_origin(hint) is tuple else None
        if isinstance(item, type) and issubclass(item, ListItem):
            types[name] = item
    return types


@cache
def tuple_fields(struct: type[Struct]) -> frozenset[str]:
    """The fields of a struct that are empty, not None, where nothing is known."""
    return frozenset(name for name, hint in get_type_hints(struct).items() if get_origin(hint) is tuple)


def find_item(items: tuple[T, ...], field: str, value: str) -> T | None:
    """The first item whose field has the value."""
    for item in items:
        if getattr(item, field) == value:
            return item
    return None


def insert_item(state: S, name: str, new: ListItem) -> S:
    """The state with one more item in the list `name`."""
    items = getattr(state, name)
    index = bisect_right(items, order_key(new), key=order_key)
    return replace(state, **{name: (*items[:index], new, *items[index:])})


def replace_item(state: S, name: str, old: Struct, new: Struct) -> S:
    """The state with `new` instead of `old` in the list `name`."""
    return replace(state, **{name: tuple(new if item is old else item for item in getattr(state, name))})
