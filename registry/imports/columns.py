"""The columns of a sheet of announcements, derived from the event types.

A column is a dotted path into the event: `title.ko` is the Korean title. `deal` (or `organization`), `type` and
`effective_on` identify the row; `source.url`, `source2.url` … are its sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args

from msgspec import inspect

from registry.events.types import AnnouncedKind, DealFact, Event, OrganizationFact, tag_of
from registry.events.values import Amount, Localized, Source, is_language_tag

ColumnKind = Literal["text", "whole", "list", "amount", "each", "claim"]

ROW_COLUMNS = {
    "deal": "The deal's name: lower-case letters, digits and hyphens.",
    "organization": "The organization's name, in a row about an organization.",
    "type": "The event type.",
    "effective_on": "The effective date: YYYY-MM-DD.",
    "note": "Why the event is recorded.",
    "id": "A UUID; if empty, it is derived from the row's content.",
}
"""The columns that every row may have, and what they hold."""

SOURCE_COLUMN = re.compile(r"source([2-9]?)\.(\w+)\Z")

_TEMPLATE_SOURCE_COLUMNS = (
    "source.publisher",
    "source.url",
    "source.title",
    "source.language",
    "source.published_on",
)


def importable_types(kind: AnnouncedKind) -> dict[str, type[Event]]:
    """The event types that a sheet may hold, by name. Corrections refer to recorded events and are not importable."""
    facts: tuple[type[Event], ...] = get_args(DealFact if kind == "deal" else OrganizationFact)
    return {tag_of(t): t for t in facts}


@cache
def columns_of(event: type[Event]) -> dict[str, ColumnKind]:
    """The columns of an event type."""
    return dict(_columns(inspect.type_info(event), ""))


def _columns(info: Any, prefix: str) -> Iterator[tuple[str, ColumnKind]]:
    for field in info.fields:
        path = prefix + field.encode_name
        if path in ROW_COLUMNS:
            path = f"event.{path}"  # The `deal` of a relation is not the deal of the row.
        options = getattr(field.type, "types", (field.type,))
        types = [t for t in options if not isinstance(t, inspect.NoneType)]
        structs = [t for t in types if isinstance(t, inspect.StructType)]
        lists = [t for t in types if isinstance(t, inspect.VarTupleType)]
        if len(types) > 1 and structs:
            yield path, "claim"
        elif structs and structs[0].cls is Amount:
            yield path, "amount"
            yield from ((p, k) for p, k in _columns(structs[0], f"{path}.") if k == "text")
        elif structs:
            yield from _columns(structs[0], f"{path}.")
        elif any(isinstance(t, inspect.CustomType) and t.cls is Localized for t in types):
            yield from ((f"{path}.{language}", "text") for language in ("ko", "en"))
        elif lists and isinstance(lists[0].item_type, inspect.StructType):
            yield from ((p, "each") for p, k in _columns(lists[0].item_type, f"{path}.") if k == "text")
        elif lists:
            yield path, "list"
        elif any(isinstance(t, inspect.IntType) for t in types):
            yield path, "whole"
        else:
            yield path, "text"


@cache
def known_columns() -> dict[str, list[str]]:
    """Every column with the event types that have it. Columns of the row and of sources have an empty list."""
    columns: dict[str, list[str]] = {name: [] for name in ROW_COLUMNS}
    columns |= {f"source.{name}": [] for name in Source.__struct_encode_fields__}
    for kind in get_args(AnnouncedKind):
        for name, event in importable_types(kind).items():
            for path in columns_of(event):
                columns.setdefault(path, []).append(name)
    return columns


def base_column(column: str) -> str:
    """The known column that a column is read like: `source.url` for `source2.url`, `title.en` for `title.zh-Hant`."""
    base = re.sub(r"^source[2-9]\.", "source.", column)
    path, _, language = base.rpartition(".")
    english = f"{path}.en"
    return english if is_language_tag(language) and english in known_columns() else base


def header(kind: AnnouncedKind) -> list[str]:
    """The header of an empty sheet: the columns of the row, of one source, and of all event types."""
    fields = dict.fromkeys(path for event in importable_types(kind).values() for path in columns_of(event))
    return [
        kind,
        "type",
        "effective_on",
        *_TEMPLATE_SOURCE_COLUMNS,
        "note",
        *(field for field in fields if field not in ROW_COLUMNS),
    ]
