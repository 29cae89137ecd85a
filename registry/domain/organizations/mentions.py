"""The organizations that an event or a state names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import fields

ORGANIZATION_FIELDS = frozenset({"organization", "authority", "parent", "by", "members"})
"""The names of the fields whose values are slugs of organizations, one or several."""


def mentioned_organizations(value: Struct) -> Iterator[str]:
    """The slugs of the organizations that an event or a state names, in any of its parts. One may come twice."""
    for name in _naming_fields(type(value)):
        field = getattr(value, name)
        for item in field if isinstance(field, tuple) else (field,):
            if isinstance(item, Struct):
                yield from mentioned_organizations(item)
            elif isinstance(item, str) and name in ORGANIZATION_FIELDS:
                yield item


@cache
def _naming_fields(kind: type[Struct]) -> tuple[str, ...]:
    """The fields of a type that may name organizations. Most events have none."""
    return tuple(f.name for f in fields(kind) if f.name in ORGANIZATION_FIELDS or _may_name(f.type, frozenset({kind})))


def _may_name(hint: Any, above: frozenset[type]) -> bool:
    """Whether a value of this type may name organizations."""
    if isinstance(hint, type) and issubclass(hint, Struct) and hint not in above:
        return bool(_naming_fields(hint))
    return any(_may_name(part, above) for part in get_args(hint))
