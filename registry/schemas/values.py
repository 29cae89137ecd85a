"""Values of events as responses show them: every field is present, and null means that nothing was stated.

A stored event leaves out what was not stated, so that equal statements have equal bytes. Each class here has the
fields of the class of `events/values.py` that its name begins with, all of them required. A quoted event keeps
its stored form: in a revision, a field that is left out and a field that is null mean different things.
"""

from __future__ import annotations

from datetime import date
from itertools import chain
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import replace

from registry.events.currencies import Currency
from registry.events.values import (
    Amount,
    Decimal,
    Edtf,
    Figure,
    Hash,
    Horizon,
    Language,
    Line,
    Localized,
    Qualifier,
    Quotation,
    Source,
    Url,
    Year,
    decode_hook,
    schema_hook,
)
from registry.schemas.base import ITEMS_PER_CALL, ResponseModel

T = TypeVar("T")
R = TypeVar("R", bound=Struct)


class LocalizedResponse(dict[str, str | None]):
    """A text by language. `ko` and `en` are always present, and null where there is no such text."""


class StatedAmountResponse(ResponseModel, frozen=True, kw_only=True):
    """The same amount as the source also stated it, in another currency."""

    value: Decimal
    currency: Currency
    qualifier: Qualifier | None


class AmountResponse(ResponseModel, frozen=True, kw_only=True):
    """Money as it was stated: an exact decimal in units of `currency` (ISO 4217).

    `low` and `high` bound a stated range. `wording` has the source's words where it gave no figure. `qualifier` is the
    source's own. `figure` is null or `stated` for a stated figure, else `estimated` or `modelled`; `price_year` is the
    year of constant prices.
    """

    currency: Currency
    value: Decimal | None
    qualifier: Qualifier | None
    low: Decimal | None
    high: Decimal | None
    stated_as: tuple[StatedAmountResponse, ...]
    wording: Line | None
    figure: Figure | None
    price_year: Year | None


class HorizonResponse(ResponseModel, frozen=True, kw_only=True):
    """The period in which an amount is to be spent."""

    from_: Edtf | None = field(name="from")
    until: Edtf | None


class SourceResponse(ResponseModel, frozen=True, kw_only=True):
    """A publication. `published_on` is the day on which the public could read it, `locator` the page or paragraph."""

    publisher: Line | None
    url: Url | None
    title: Line | None
    language: Language | None
    published_on: date | None
    archived_url: Url | None
    locator: Line | None
    content_hash: Hash | None
    quote: Quotation | None


# The response class of each value that a state holds and that leaves something out when it is encoded.
RESPONSE_TYPES: dict[type, type[Any]] = {
    Amount: AmountResponse,
    Horizon: HorizonResponse,
    Localized: LocalizedResponse,
    Source: SourceResponse,
}


def convert(value: Any, type: type[T]) -> T:
    """A value of the domain as a response type, field by field and in depth."""
    return msgspec.convert(value, type, from_attributes=True, dec_hook=response_hook)


def convert_long(value: Struct, type: type[R]) -> R:
    """The same for a struct whose tuples may have thousands of items, for a thread.

    `msgspec.convert` lets no other thread run during a call.
    """
    names = [name for name in type.__struct_fields__ if _is_long(getattr(value, name, None))]
    short = convert(replace(value, **dict.fromkeys(names, ())), type)
    hints = get_type_hints(type) if names else {}
    return replace(short, **{name: _in_slices(getattr(value, name), hints[name]) for name in names})


def _is_long(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > ITEMS_PER_CALL


def _in_slices(items: tuple[Any, ...], type: Any) -> tuple[Any, ...]:
    slices = (items[first : first + ITEMS_PER_CALL] for first in range(0, len(items), ITEMS_PER_CALL))
    return tuple(chain.from_iterable(convert(some, type) for some in slices))


def decode(data: bytes | Raw, type: type[T]) -> T:
    """The JSON of a response, such as a stored list row."""
    return msgspec.json.decode(data, type=type, dec_hook=response_hook)


def response_hook(type: type, value: Any) -> Any:
    """msgspec's `dec_hook` for response types."""
    if type is LocalizedResponse:
        return LocalizedResponse({"ko": None, "en": None, **value})
    return decode_hook(type, value)


def response_schema_hook(type: type) -> dict[str, Any]:
    """msgspec's `schema_hook` for response types."""
    return schema_hook(Localized if type is LocalizedResponse else type)


def convert_any(value: Any) -> Any:
    """A value whose type is known only when it is there, such as the value of a field before a change."""
    kind = type(value)
    if kind is tuple:
        return tuple(map(convert_any, value)) if value else value
    response = RESPONSE_TYPES.get(kind)
    return value if response is None else convert(value, response)
