"""What all responses share: the base class, the documented string formats, and the encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, Raw, Struct
from msgspec.structs import fields

T = TypeVar("T")

Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256, in hex.")]
Link = Annotated[str, Meta(pattern="^/", description="A path of this service.")]

_encode = msgspec.json.Encoder().encode


def pre_encoded(items: Iterable[Raw], type: type[T]) -> tuple[T, ...]:
    """Items that were stored as the JSON of a type: the encoder copies them into a response."""
    return cast("tuple[T, ...]", tuple(items))


def encode(response: Any) -> bytes:
    """A response as JSON."""
    return _encode(response)


ITEMS_PER_CALL = 500
"""Items of a list that one call of msgspec takes: it lets no other thread run meanwhile."""


def encode_long(response: Struct | dict[str, Any]) -> bytes:
    """The same JSON of a response whose lists may have thousands of items, for a thread.

    The encoder holds the interpreter for the time of a call: 10 ms and more for the state of a deal of 10,000 pledges.
    """
    return b"".join(_pieces(response))


def _members(response: Struct | dict[str, Any]) -> Iterator[tuple[str | None, Any]]:
    if isinstance(response, dict):
        yield from response.items()
        return
    config = response.__struct_config__
    if config.tag is not None:
        yield config.tag_field, config.tag
    for name, encode_name in _names(type(response)):
        yield encode_name, getattr(response, name)


@cache
def _names(kind: type[Struct]) -> tuple[tuple[str, str], ...]:
    """The fields of a struct and their names in JSON. To find them takes 0.1 ms."""
    return tuple((field.name, field.encode_name) for field in fields(kind))


def _is_long(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > ITEMS_PER_CALL


def _pieces(response: Struct | dict[str, Any]) -> Iterator[bytes]:
    separator = b"{"
    for name, value in _members(response):
        if value is UNSET:
            continue
        yield separator + _encode(name) + b":"
        separator = b","
        if isinstance(value, Struct) and any(_is_long(part) for _, part in _members(value)):
            yield from _pieces(value)
            continue
        if not _is_long(value):
            yield _encode(value)
            continue
        for first in range(0, len(value), ITEMS_PER_CALL):
            yield (b"," if first else b"[") + _encode(value[first : first + ITEMS_PER_CALL])[1:-1]
        yield b"]"
    yield b"}"


class ResponseModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object with these fields and no others. A value that is not known is null or empty, never left out."""


class RequestedAsOf(ResponseModel, frozen=True, kw_only=True):
    """The point in time that the response is about; null: no bound on that axis."""

    effective_on: date | None
    published_on: date | None
    recorded_at: datetime | None


class RequestedPoint(RequestedAsOf, frozen=True, kw_only=True):
    """A point in time of a comparison."""

    position: int | None
