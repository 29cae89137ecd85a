"""The difference between two states, field by field.

A field's path is a JSON Pointer (RFC 6901) that names a list's item by its id: `/title`, `/pledges/{pledge}/amount`,
`/parties/{organization}:{role}:{joined_on}/left_on`. An amount is one value; its parts have no paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct, field
from msgspec.structs import astuple, replace
from msgspec.structs import fields as struct_fields

from registry.domain.deal import Deal
from registry.domain.fold.items import ListItem, item_id, item_types, order_key, tuple_fields
from registry.domain.organizations.organization import Organization

STATES: dict[str, type[Struct]] = {"/deal": Deal, "/organization": Organization}
"""The path of a state's own slug. A change of it means that the whole state appeared or vanished."""


class Change(Struct, frozen=True, gc=False):
    """A field's value before and after; None where it has none. JSON calls the path `field`."""

    path: str = field(name="field")
    before: Any
    after: Any


class FieldChange(Protocol):
    """Any struct that describes a change of a field."""

    @property
    def path(self) -> str:
        """The field's path."""

    @property
    def after(self) -> Any:
        """The field's value afterwards."""


def diff(before: Struct | None, after: Struct | None) -> list[Change]:
    """Every field in which two states of a deal or an organization differ. None is a state that is not known."""
    changes: list[Change] = []
    if before is after:
        return changes
    if before is None or after is None:
        known = before if before is not None else after
        assert known is not None
        items = item_types(type(known))
        for name in known.__struct_fields__:
            value = getattr(known, name)
            if name in items:
                old, new = (value, ()) if after is None else ((), value)
                _diff_items(name, old, new, changes)
            elif value is not None and value != ():
                changes.append(Change(f"/{name}", value, None) if after is None else Change(f"/{name}", None, value))
        return changes
    items = item_types(type(before))
    for name, old, new in zip(before.__struct_fields__, astuple(before), astuple(after), strict=True):
        if old is new or old == new:
            continue
        if name in items:
            _diff_items(name, old, new, changes)
        else:
            changes.append(Change(f"/{name}", old, new))
    return changes


def _diff_items(name: str, before: tuple[ListItem, ...], after: tuple[ListItem, ...], changes: list[Change]) -> None:
    # Both lists have the same order and share most objects, so equal items at both ends are skipped.
    shared = min(len(before), len(after))
    start = 0
    while start < shared and before[start] is after[start]:
        start += 1
    end = 0
    while end < shared - start and before[-1 - end] is after[-1 - end]:
        end += 1
    old_items = {item_id(item): item for item in before[start : len(before) - end]}
    new_items = {item_id(item): item for item in after[start : len(after) - end]}
    for key, item in old_items.items():
        if key not in new_items:
            changes += [Change(f"/{name}/{key}/{field}", value, None) for field, value in _values(item)]
    for key, item in new_items.items():
        old = old_items.get(key)
        if old is None:
            changes += [Change(f"/{name}/{key}/{field}", None, value) for field, value in _values(item)]
        elif old is not item:
            changes += [
                Change(f"/{name}/{key}/{field}", x, y)
                for field, x, y in zip(item.__struct_fields__, astuple(old), astuple(item), strict=True)
                if x is not y and x != y
            ]


def _values(item: Struct) -> list[tuple[str, Any]]:
    """The fields of an item that have a value."""
    fields = zip(item.__struct_fields__, astuple(item), strict=True)
    return [(field, value) for field, value in fields if value is not None and value != ()]


def apply(state: Struct | None, changes: Iterable[FieldChange]) -> Struct | None:
    """The state with changes made, one after the other: `apply(a, diff(a, b)) == b`."""
    fields: dict[str, Any] = {}
    lists: dict[str, dict[str, dict[str, Any]]] = {}
    kind: type[Struct] | None = type(state) if state is not None else None
    known = state is not None
    for change in changes:
        _, name, *rest = change.path.split("/", 3)
        if change.path in STATES:
            kind, known = STATES[change.path], change.after is not None
        if not rest:
            fields[name] = change.after
            continue
        if name not in lists:
            lists[name] = {item_id(i): _as_dict(i) for i in getattr(state, name, ())}
        key, field = rest
        lists[name].setdefault(key, {})[field] = change.after
    if not known or kind is None:
        return None
    for name, items in lists.items():
        rebuilt = (_make_item(item_types(kind)[name], values) for values in items.values())
        fields[name] = tuple(sorted((item for item in rebuilt if item is not None), key=order_key))
    if state is not None:
        return replace(state, **fields)
    return kind(**{**{field.name: None for field in struct_fields(kind) if field.required}, **fields})


def _as_dict(item: Struct) -> dict[str, Any]:
    return dict(zip(item.__struct_fields__, astuple(item), strict=True))


def _make_item(kind: type[ListItem], values: dict[str, Any]) -> ListItem | None:
    """The item with these values; None if its id was cleared, which removes it from the list."""
    if values.get(kind.id_fields[0]) is None:
        return None
    blank = dict.fromkeys(kind.__struct_fields__)
    return kind(**{f: () if v is None and f in tuple_fields(kind) else v for f, v in {**blank, **values}.items()})
