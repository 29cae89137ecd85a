"""The fields of events that a mapping can fill, derived from the event types: a new field needs nothing here."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from msgspec import Meta, Struct, inspect

from registry.events import values
from registry.events.values import Amount, Classifications, Localized

Kind = Literal[
    "text",
    "line",
    "localized",
    "amount",
    "decimal",
    "whole",
    "loose_date",
    "day",
    "place",
    "degrees",
    "slug",
    "choice",
    "axes",
]

_KIND_BY_ALIAS: dict[str, Kind] = {
    "Slug": "slug",
    "Line": "line",
    "Decimal": "decimal",
    "Percent": "decimal",
    "Degrees": "degrees",
    "Edtf": "loose_date",
    "Place": "place",
}


class MappedField(Struct, frozen=True):
    """What a field of an event holds; `is_list` if it holds several. `choices` are the values of a vocabulary."""

    kind: Kind
    is_list: bool = False
    choices: tuple[str, ...] = ()


@cache
def struct_fields(struct: type[Struct]) -> dict[str, MappedField]:
    """The fields of an event type, or of a value such as a source, by their path: `horizon.until`."""
    return dict(_fields(inspect.type_info(struct), ""))


def _fields(info: Any, prefix: str) -> Any:
    for field in info.fields:
        path = prefix + field.encode_name
        options = getattr(field.type, "types", (field.type,))
        types = [_plain(option) for option in options if not isinstance(option, inspect.NoneType)]
        is_list = isinstance(types[0], inspect.VarTupleType)
        kind = _plain(types[0].item_type) if is_list else types[0]
        if isinstance(kind, inspect.StructType) and kind.cls is not Amount and not is_list:
            yield from _fields(kind, f"{path}.")
        elif found := _field(kind, is_list=is_list):
            yield path, found


def _plain(kind: Any) -> Any:
    """A type without its description."""
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _field(kind: Any, *, is_list: bool) -> MappedField | None:
    match kind:
        case inspect.StructType(cls=cls) if cls is Amount:
            return MappedField("amount")
        case inspect.CustomType(cls=cls) if cls is Localized:
            return MappedField("localized")
        case inspect.CustomType(cls=cls) if cls is Classifications:
            return MappedField("axes")
        case inspect.LiteralType():
            return MappedField("choice", is_list, tuple(map(str, kind.values)))
        case inspect.IntType():
            return MappedField("whole", is_list)
        case inspect.DateType():
            return MappedField("day", is_list)
        case inspect.StrType():
            return MappedField(_kinds_by_pattern().get(kind.pattern or "", "text"), is_list)
        case _:
            return None


@cache
def _kinds_by_pattern() -> dict[str, Kind]:
    return {
        meta.pattern: kind
        for alias, kind in _KIND_BY_ALIAS.items()
        for meta in getattr(values, alias).__metadata__
        if isinstance(meta, Meta) and meta.pattern
    }
