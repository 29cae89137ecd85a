"""What is posted, from bytes to announcements: strict, with every fault named by its place (RFC 6901 pointer).

Shape is msgspec's to check; what a type cannot say is checked here: duplicate keys, real places, real dates, ranges
the right way round. These checks hold for what comes in, never for what is stored: a code that a register withdraws
must still be readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
import pycountry
from msgspec import Struct

from registry.errors import Fault, Invalid, NotJson
from registry.events.codec import canonical
from registry.events.edtf import first_day, last_day
from registry.events.types import (
    RECORDS_OWN,
    Amount,
    Announcement,
    ClaimReported,
    ClaimRetracted,
    Event,
    EventCorrected,
    EventRedacted,
    Horizon,
    OrganizationAnnouncement,
    OrganizationIdentified,
    Source,
)

A = TypeVar("A", bound=Struct)


class ImportLine(Announcement, frozen=True):
    """One line of an import: an announcement and the deal it is about."""

    deal: str = msgspec.field(default="")


class Intake(Generic[A]):
    """Decodes one body into one announcement, or a list of them."""

    def __init__(self, shape: type[A]) -> None:
        self._one: msgspec.json.Decoder[A] = msgspec.json.Decoder(shape)
        self._list: msgspec.json.Decoder[list[A]] = msgspec.json.Decoder(list[shape])  # type: ignore[valid-type]

    def one(self, body: bytes) -> A:
        """One announcement. Raises NotJson, or Invalid with each fault's pointer."""
        announcement = _decode(self._one, body)
        faults = list(check(announcement, ""))
        if faults:
            raise Invalid(faults)
        return announcement

    def some(self, body: bytes) -> list[A]:
        """The announcements of a body that is one object or a non-empty list. Raises NotJson, or Invalid."""
        if not body.lstrip(b" \t\r\n").startswith(b"["):
            return [self.one(body)]
        announcements = _decode(self._list, body)
        if not announcements:
            raise Invalid([Fault("", "the list is empty: give at least one announcement")])
        faults = [fault for i, a in enumerate(announcements) for fault in check(a, f"/{i}")]
        if faults:
            raise Invalid(faults)
        return announcements


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        decoded = decoder.decode(body)
    except msgspec.ValidationError as error:
        _refuse_nonsense(body)
        raise Invalid([_fault(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(reason=_why(error)) from None
    # Of two equal keys the decoder keeps the last, and the other's text would vanish unseen. Without escapes, every
    # string of the body that is not in the canonical form again is a dropped key, or a default that was spelled out:
    # only then look closely.
    if b"\\" in body or body.count(b'"') != canonical(decoded).count(b'"'):
        _refuse_nonsense(body)
    return decoded


def _refuse_nonsense(body: bytes) -> None:
    """Refuse what a lenient JSON reader takes: duplicate keys, NaN, nesting without end."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = dict(pairs)
        if len(keys) != len(pairs):
            names = [k for k, _ in pairs]
            twice = next(k for k in names if names.count(k) > 1)
            raise Invalid([Fault(f"/{_escape(twice)}", f"the key '{twice}' stands twice in one object")])
        return keys

    def no_constant(name: str) -> Any:
        raise NotJson(reason=f"{name} is no JSON number")

    try:
        json.loads(body, object_pairs_hook=once, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise NotJson(reason=_why(error)) from None


def _why(error: BaseException) -> str:
    match error:
        case UnicodeDecodeError():
            return f"byte {error.start} is not UTF-8"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return str(error)


_AT = re.compile(r" - at `(?:key in )?\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_NAMED = re.compile(r"(?:unknown|required) field `([^`]+)`")
_NO_TYPE = re.compile(r"^Invalid value '(.*)'$")


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _fault(message: str) -> Fault:
    """msgspec's message as a fault: its path as a pointer, with the field it names at the end."""
    at = _AT.search(message)
    pointer = ""
    if at:
        message = message[: at.start()]
        pointer = "".join(f"/{_escape(name or index)}" for name, index in _STEP.findall(at.group(1)))
    named = _NAMED.search(message)
    if named:
        pointer += f"/{_escape(named.group(1))}"
    if pointer.endswith("/type") and _NO_TYPE.match(message):
        message = f"unknown event type {message.removeprefix('Invalid value ')}"
    return Fault(pointer, message)


# --- what a type cannot say -------------------------------------------------------------------------------------------


def check(announcement: Struct, at: str) -> Iterator[Fault]:
    """The faults of a well-shaped announcement. `at` is the pointer of the announcement in the body."""
    event: Event = announcement.event  # type: ignore[attr-defined]
    undated = isinstance(event, (*RECORDS_OWN, ClaimReported, ClaimRetracted))
    if not undated and announcement.effective_on is None:  # type: ignore[attr-defined]
        yield Fault(f"{at}/effective_on", "is missing: from which day is it so in the world? (a whole date)")
    for i, source in enumerate(announcement.sources):  # type: ignore[attr-defined]
        yield from _check_source(source, f"{at}/sources/{i}")
    yield from _check_values(event, f"{at}/event")
    if isinstance(event, EventRedacted) and event.also:
        yield Fault(f"{at}/event/also", "is the registry's to fill in: leave it out")
    if isinstance(event, EventCorrected):
        replacement = event.replacement
        if all(getattr(replacement, f) is msgspec.UNSET for f in replacement.__struct_fields__):
            yield Fault(f"{at}/event/replacement", "replaces nothing: give effective_on, sources or event")
        if not isinstance(replacement.sources, msgspec.UnsetType):
            for i, source in enumerate(replacement.sources):
                yield from _check_source(source, f"{at}/event/replacement/sources/{i}")
        if not isinstance(replacement.event, msgspec.UnsetType):
            yield from _check_values(replacement.event, f"{at}/event/replacement/event")
        if replacement.effective_on is None and not isinstance(replacement.event, RECORDS_OWN):
            yield Fault(f"{at}/event/replacement/effective_on", "may be null only where the event is the record's own")


def _check_source(source: Source, at: str) -> Iterator[Fault]:
    if source.publisher is source.url is source.title is source.locator is None:
        yield Fault(at, "names nobody: give at least a publisher, url, title or locator")


def _check_values(value: Struct, at: str) -> Iterator[Fault]:
    """Walks an event's fields and checks each value by its name or its type."""
    for name, encoded in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
        field = getattr(value, name)
        if field is None or field is msgspec.UNSET or isinstance(value, EventCorrected):
            continue
        here = f"{at}/{encoded}"
        match field:
            case Amount():
                yield from _check_amount(field, here)
            case Struct():
                yield from _check_values(field, here)
            case tuple():
                for i, item in enumerate(field):
                    if isinstance(item, Struct):
                        yield from _check_values(item, f"{here}/{i}")
            case str() if name in _CHECKS:
                wrong = _CHECKS[name](field)
                if wrong:
                    yield Fault(here, wrong)
            case _:
                pass
    if (
        isinstance(value, Horizon)
        and value.from_
        and value.until
        and not any(_date(d) for d in (value.from_, value.until))
    ):
        if first_day(value.from_) > last_day(value.until):
            yield Fault(f"{at}/until", "lies before 'from'")
    if isinstance(value, OrganizationIdentified):
        wrong = _identifier(value.scheme, value.identifier)
        if wrong:
            yield Fault(f"{at}/identifier", wrong)


def _check_amount(amount: Amount, at: str) -> Iterator[Fault]:
    if amount.value is amount.low is amount.high is amount.wording is None:
        yield Fault(
            f"{at}/value",
            "is missing: give value, or low and high, or the wording; leave the whole amount out if none was stated",
        )
    bounds = [b for b in (amount.low, amount.value, amount.high) if b is not None]
    numbers = [msgspec.convert(b, _Decimal) for b in bounds]
    if numbers != sorted(numbers):
        yield Fault(f"{at}/low", "low, value and high are not in rising order")
    stated = [amount.currency, *(s.currency for s in amount.stated_as)]
    if len(stated) != len(set(stated)):
        yield Fault(f"{at}/stated_as", "states one currency twice")


from decimal import Decimal as _Decimal  # noqa: E402


@lru_cache(maxsize=10_000)
def _date(text: str) -> str | None:
    try:
        last_day(text)
    except ValueError as error:
        return str(error)
    return None


@lru_cache(maxsize=10_000)
def _place(code: str) -> str | None:
    known = pycountry.subdivisions.get(code=code) if "-" in code else pycountry.countries.get(alpha_2=code)
    return None if known else f"'{code}' is no ISO 3166 country or subdivision"


def _latitude(text: str) -> str | None:
    return None if abs(_Decimal(text)) <= 90 else "lies beyond ±90 degrees"


def _longitude(text: str) -> str | None:
    return None if abs(_Decimal(text)) <= 180 else "lies beyond ±180 degrees"


def _identifier(scheme: str, identifier: str) -> str | None:
    from stdnum import lei
    from stdnum.kr import brn

    checks: dict[str, Callable[[str], bool]] = {
        "lei": lei.is_valid,
        "kr-brn": brn.is_valid,
        "wikidata": lambda q: re.fullmatch(r"Q[1-9]\d*", q) is not None,
    }
    return None if checks[scheme](identifier) else f"'{identifier}' is no valid {scheme}: check its digits"


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "planned": _date,
    "reached": _date,
    "from_": _date,
    "until": _date,
    "place": _place,
    "country": _place,
    "latitude": _latitude,
    "longitude": _longitude,
}

announcements = Intake(Announcement)
organization_announcements = Intake(OrganizationAnnouncement)
import_lines = Intake(ImportLine)


def as_uuid(text: str) -> UUID | None:
    """The UUID that a text spells, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None
