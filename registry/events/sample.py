"""An example of an event type, made from the types of its fields: for documentation and for tests."""

from __future__ import annotations

from datetime import date, datetime
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, UnsetType

from registry.events.types import Event, tag_of
from registry.events.values import Classifications, Localized, Slug

_OF_TYPE: dict[Any, Any] = {
    str: "An example.",
    int: 1,
    bool: True,
    date: "2025-11-06",
    datetime: "2027-11-06T00:00:00Z",
    UUID: "01a22396-62a1-7c3e-8a54-5d0f6b3f9c10",
    Localized: {"ko": "예시", "en": "Example"},
    Classifications: {"mode": ["expansion"], "technology": ["solar"]},
}


def sample_event(event: type[Event]) -> dict[str, Any]:
    """The JSON of an event with every field."""
    return {"type": tag_of(event), **_sample_fields(event)}


def _sample_fields(struct: type[Struct]) -> dict[str, Any]:
    hints = get_type_hints(struct, include_extras=True)
    return {f.encode_name: _sample(hints[f.name], f.encode_name) for f in msgspec.structs.fields(struct)}


def _sample(hint: Any, name: str) -> Any:
    """An example of a value; `name` is the name of its field."""
    if hint == Slug:
        return f"example-{name.replace('_', '-')}"
    if hint in _OF_TYPE:
        return _OF_TYPE[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        examples = [example for meta in arguments[1:] if isinstance(meta, Meta) for example in meta.examples or ()]
        return examples[0] if examples else _sample(arguments[0], name)
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return [_sample(arguments[0], name)]
    if origin in (Union, UnionType):
        return _sample(next(a for a in arguments if a not in (type(None), UnsetType)), name)
    return sample_event(hint) if issubclass(hint, Event) else _sample_fields(hint)
