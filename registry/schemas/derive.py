"""Derive the class of a response from the struct whose fields it has."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct

from registry.schemas.base import ResponseModel
from registry.schemas.values import RESPONSE_TYPES

R = TypeVar("R", bound=ResponseModel)


def response_to(struct: type[Struct]) -> Callable[[type[R]], type[R]]:
    """A class decorator: the response has every field of the struct, required, in the struct's order.

    A field whose type holds an event's values has the type of its response. A field that the class itself declares
    keeps that type.
    """

    def derive(declared: type[R]) -> type[R]:
        own = get_type_hints(declared, include_extras=True)
        fields = []
        for field in msgspec.structs.fields(struct):
            type_ = own[field.name] if field.name in own else response_type(field.type)
            name = None if field.encode_name == field.name else field.encode_name
            fields.append((field.name, type_, msgspec.field(default=NODEFAULT, name=name)))
        namespace = {"__doc__": declared.__doc__, "__module__": declared.__module__}
        response: Any = msgspec.defstruct(
            declared.__name__, fields, bases=(ResponseModel,), namespace=namespace, frozen=True, kw_only=True
        )
        RESPONSE_TYPES[struct] = response
        return response  # type: ignore[no-any-return]

    return derive


def with_fields(struct: type[Struct], names: Iterable[str]) -> Callable[[type[R]], type[R]]:
    """A class decorator: the response also has these fields of the struct, required, after those that it declares."""

    def derive(declared: type[R]) -> type[R]:
        missing = set(names) - set(declared.__struct_fields__)
        added = [(f.name, response_type(f.type)) for f in msgspec.structs.fields(struct) if f.name in missing]
        namespace = {"__doc__": declared.__doc__, "__module__": declared.__module__}
        return msgspec.defstruct(  # type: ignore[return-value]
            declared.__name__, added, bases=(declared,), namespace=namespace, frozen=True, kw_only=True
        )

    return derive


def response_type(hint: Any) -> Any:
    """The type of a field in a response, in depth. A struct of the state without a response class gets one here."""
    if isinstance(hint, type) and hint in RESPONSE_TYPES:
        return RESPONSE_TYPES[hint]
    if isinstance(hint, type) and issubclass(hint, Struct) and _holds_event_part(hint):
        name = f"{hint.__name__.removesuffix('State')}Response"
        return response_to(hint)(type(name, (ResponseModel,), {"__doc__": hint.__doc__}))
    arguments = tuple(map(response_type, get_args(hint)))
    if get_origin(hint) is tuple:
        return tuple[arguments]  # type: ignore[valid-type]
    return functools.reduce(operator.or_, arguments) if type(None) in arguments else hint


def _holds_event_part(hint: Any) -> bool:
    """Whether a value of this type holds an event's value, which would leave fields out."""
    parts: list[Any] = list(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Struct):
        parts += [field.type for field in msgspec.structs.fields(hint)]
    return hint in RESPONSE_TYPES or any(map(_holds_event_part, parts))
