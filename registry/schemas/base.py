"""What all responses share: the base class, the documented string formats, and the encoder."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, TypeVar, cast

import msgspec
from msgspec import Meta, Raw, Struct

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
