"""Decode answers into the structs of `registry.schemas`.

A service may be newer than the client, and fields are added to answers: what the client does not know is left out.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from registry.schemas.values import decode as decode_strictly
from registry.schemas.values import response_hook

T = TypeVar("T")


def decode(content: bytes, type: type[T]) -> T:
    """Decode the JSON of an answer.

    Raises:
        msgspec.ValidationError: The answer is not of this type, even without what it has in addition.
    """
    try:
        return decode_strictly(content, type)
    except msgspec.ValidationError as error:
        if not str(error).startswith("Object contains unknown field"):
            raise
    known = _without_unknown(msgspec.json.decode(content), inspect.type_info(type))
    return msgspec.convert(known, type, dec_hook=response_hook)


def _without_unknown(value: Any, type: inspect.Type) -> Any:
    """A JSON value without the fields that its type does not have."""
    match type, value:
        case inspect.UnionType(types=types), _:
            return _without_unknown(value, _member(value, types))
        case inspect.StructType(fields=fields), dict():
            own = {field.encode_name: field.type for field in fields}
            tag = {type.tag_field} if type.tag_field else set()
            return {
                name: _without_unknown(item, own.get(name, inspect.AnyType()))
                for name, item in value.items()
                if name in own or name in tag
            }
        case inspect.DictType(value_type=value_type), dict():
            return {name: _without_unknown(item, value_type) for name, item in value.items()}
        case ((inspect.ListType(item_type=item_type) | inspect.VarTupleType(item_type=item_type)), list()):
            return [_without_unknown(item, item_type) for item in value]
        case _:
            return value


def _member(value: Any, types: tuple[inspect.Type, ...]) -> inspect.Type:
    """The member of a union that a JSON value is of: structs by their tag, else by the kind of JSON."""
    kinds: tuple[type[inspect.Type], ...] = (inspect.ListType, inspect.VarTupleType)
    if isinstance(value, dict):
        structs = [one for one in types if isinstance(one, inspect.StructType)]
        for struct in structs:
            if struct.tag_field is None or value.get(struct.tag_field) == struct.tag:
                return struct
        kinds = (inspect.DictType,)
    return next((one for one in types if isinstance(one, kinds)), inspect.AnyType())
