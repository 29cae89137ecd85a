"""The fields of a struct as a form sees them."""

from __future__ import annotations

import types as python_types
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, UnsetType

from registry.events.values import AMOUNT_NOTES, Amount


class StructField(Struct, frozen=True):
    """One field of a struct.

    Args:
        name: Its name.
        encoded_name: Its name in JSON.
        type: Its type, without what stands for an absent value.
        required: Whether it must be given.
        clearable: Whether null clears the value that an earlier event gave.
    """

    name: str
    encoded_name: str
    type: Any
    required: bool
    clearable: bool


@cache
def struct_fields(struct: type[Struct]) -> tuple[StructField, ...]:
    """The fields of a struct, in their order."""
    hints = get_type_hints(struct, include_extras=True)
    fields = []
    for field in msgspec.structs.fields(struct):
        core, nullable, unset = unwrap_type(hints[field.name])
        fields.append(StructField(field.name, field.encode_name, core, field.required, nullable and unset))
    return tuple(fields)


def unwrap_type(hint: Any) -> tuple[Any, bool, bool]:
    """A type without metadata and absent values, whether it allows null, and whether it may be unset."""
    if get_origin(hint) is Annotated:
        return unwrap_type(get_args(hint)[0])
    if get_origin(hint) in (Union, python_types.UnionType):
        args = [a for a in get_args(hint) if a not in (type(None), UnsetType)]
        nullable, unset = type(None) in get_args(hint), UnsetType in get_args(hint)
        if len(args) == 1:
            return unwrap_type(args[0])[0], nullable, unset
        return Union[tuple(args)], nullable, unset  # noqa: UP007 - built from values
    return hint, False, False


AMOUNT_PARTS = tuple(field for field in struct_fields(Amount) if field.name in AMOUNT_NOTES)
"""The fields of an amount that are not in its text."""


def nested_struct(core: Any) -> type[Struct] | None:
    """The struct whose fields a form shows one by one. An amount is one field: it is typed as text."""
    return core if isinstance(core, type) and issubclass(core, Struct) and core is not Amount else None


def repeated_struct(core: Any) -> type[Struct] | None:
    """The struct of a list of structs, such as the parties of a deal."""
    return nested_struct(get_args(core)[0]) if get_origin(core) is tuple else None
