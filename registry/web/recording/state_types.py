"""The types of the fields of a deal's or organization's state, by which a dry run's changes are read back from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.fold.items import item_types
from registry.domain.organizations.organization import Organization
from registry.events.values import decode_hook


class TypedChange(Struct, frozen=True):
    """A change of a field, with typed values."""

    path: str
    before: Any
    after: Any


def typed_change(change: Mapping[str, Any]) -> TypedChange:
    """A change of a dry run with amounts, texts and dates as such."""
    type_ = field_type(change["field"])
    sides = (change["before"], change["after"])
    before, after = (None if v is None else msgspec.convert(v, type_, dec_hook=decode_hook) for v in sides)
    return TypedChange(change["field"], before, after)


def field_type(path: str) -> Any:
    """The type of a field of a deal's or organization's state."""
    _, name, *rest = path.split("/", 3)
    items = item_types(Deal)
    if rest and name in items:
        return _hints(items[name]).get(rest[1], Any)
    return _hints(Deal).get(name) or _hints(Organization).get(name, Any)


@cache
def _hints(struct: type[Struct]) -> dict[str, Any]:
    return get_type_hints(struct)
