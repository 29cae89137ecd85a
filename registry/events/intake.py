"""What is posted, from bytes to announcements: strict, with every fault named by its place (RFC 6901 pointer).

Shape is msgspec's to check, values are `validation.py`'s; what a lenient reader of JSON would let pass is refused here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from registry.errors import FieldError, Invalid, NotJson
from registry.events import json_scan, types, validation
from registry.events.codec import canonical
from registry.events.types import EVENT_TYPES, Announcement, OrganizationAnnouncement, StreamKind

A = TypeVar("A", bound=Announcement | OrganizationAnnouncement)


class ImportLine(Announcement, frozen=True, kw_only=True):
    """One line of an import: an announcement and the deal it is about."""

    deal: types.Slug


class OrganizationImportLine(OrganizationAnnouncement, frozen=True, kw_only=True):
    """The same for an organization."""

    organization: types.Slug


class _Names(Struct):
    """What a line says it is about, before anything else of it is looked at."""

    deal: Any = None
    organization: Any = None


class AnnouncementDecoder(Generic[A]):
    """Decodes one body into one announcement, or a list of them."""

    def __init__(self, shape: type[A]) -> None:
        self._one: msgspec.json.Decoder[A] = msgspec.json.Decoder(shape)
        self._list: msgspec.json.Decoder[list[A]] = msgspec.json.Decoder(list[shape])  # type: ignore[valid-type]

    def decode_one(self, body: bytes) -> A:
        """One announcement. Raises NotJson, or Invalid with each fault's pointer."""
        announcement: A = decode(self._one, body)
        faults = list(validation.validate(announcement, ""))
        if faults:
            raise Invalid(faults)
        return announcement

    def decode_many(self, body: bytes) -> list[A]:
        """The announcements of a body that is one object or a non-empty list. Raises NotJson, or Invalid."""
        if not body.lstrip(b" \t\r\n").startswith(b"["):
            return [self.decode_one(body)]
        announcements: list[A] = decode(self._list, body)
        if not announcements:
            raise Invalid([FieldError("", "the list is empty: give at least one announcement")])
        faults = [fault for i, a in enumerate(announcements) for fault in validation.validate(a, f"/{i}")]
        faults += _repeated_ids(announcements)
        if faults:
            raise Invalid(faults)
        return announcements


def _repeated_ids(announcements: list[A]) -> Iterator[FieldError]:
    first: dict[UUID, int] = {}
    for i, announcement in enumerate(announcements):
        if announcement.id is not None and first.setdefault(announcement.id, i) != i:
            yield FieldError(f"/{i}/id", f"stands at {first[announcement.id]} already: an id names one event")


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """A body, strictly. Raises NotJson, or Invalid with the fault's pointer."""
    try:
        decoded = decoder.decode(body)
    except msgspec.ValidationError as error:
        _refuse_duplicates(body)
        raise Invalid([_to_field_error(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(body, error) from None
    # Of two equal keys the decoder keeps the last, and the other's text would vanish unseen. Without escapes, every
    # string of the body that is not in the canonical form again is a dropped key, or a default that was spelled out:
    # only then look closely.
    if b"\\" in body or body.count(b'"') != canonical(decoded).count(b'"'):
        _refuse_duplicates(body)
    return decoded


def _refuse_duplicates(body: bytes) -> None:
    try:
        json_scan.refuse_duplicates(body)
    except json_scan.DuplicateKeyError:
        pointer = json_scan.duplicate_key_pointer(body)
        raise Invalid([FieldError(pointer, "the key stands twice in one object: which of them is meant?")]) from None
    except (ValueError, RecursionError) as error:
        raise _not_json(body, error) from None


_BYTE = re.compile(r"^(?:JSON is malformed: )?(.*) \(byte (\d+)\)$")
_CHARACTER = re.compile(r"^(.*): line \d+ column \d+ \(char (\d+)\)$")


def _not_json(body: bytes, error: BaseException) -> NotJson:
    """Why a body is no JSON, and where reading it ended."""
    if isinstance(error, RecursionError):
        return NotJson(reason="it is nested without end", pointer=json_scan.deepest_pointer(body))
    try:
        text = body.decode()
    except UnicodeDecodeError as undecodable:
        at = undecodable.start
        return NotJson(reason=f"byte {at} is not UTF-8", pointer=json_scan.pointer_at(body, at))
    found = _BYTE.match(str(error))
    if found:
        reason, at = found.group(1), int(found.group(2))
    elif found := _CHARACTER.match(str(error)):
        reason, at = found.group(1).lower(), len(text[: int(found.group(2))].encode())
    else:
        return NotJson(reason=str(error).lower(), pointer=json_scan.pointer_at(body, len(body) - 1))
    return NotJson(reason=f"{reason} at byte {at}", pointer=json_scan.pointer_at(body, at))


# --- msgspec's messages in the words of the field ---------------------------------------------------------------------


_AT = re.compile(r" - at `(?:key in )?\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"^Object (contains unknown|missing required) field `([^`]+)`")
_VALUE = re.compile(r"^Invalid (?:enum )?value '((?:.|\n)*)'$")
_PATTERN = re.compile(r"^Expected `str` matching regex (.*)$")


def _to_field_error(message: str) -> FieldError:
    """msgspec's message as a fault: its path as a pointer, with the field that it names at the end."""
    at = _AT.search(message)
    pointer = ""
    if at:
        message = message[: at.start()]
        pointer = "".join(f"/{json_scan.escape(name or index)}" for name, index in _STEP.findall(at.group(1)))
    if found := _FIELD.match(message):
        pointer += f"/{json_scan.escape(found.group(2))}"
        return FieldError(
            pointer, "is missing" if "missing" in found.group(1) else _unknown("field", found.group(2), _fields())
        )
    name = pointer.rsplit("/", 1)[-1]
    if found := _VALUE.match(message):
        value = found.group(1)
        if name == "type":
            return FieldError(pointer, _unknown("event type", value, EVENT_TYPES))
        if name == "currency":
            return FieldError(pointer, f"{value!r:.50} is no ISO 4217 currency")
        return FieldError(pointer, f"{value!r:.50} is none of {', '.join(_choices().get(name, ('the known values',)))}")
    if found := _PATTERN.match(message):
        return FieldError(pointer, f"does not fit: {_patterns().get(found.group(1), found.group(1))}")
    return FieldError(pointer, message[0].lower() + message[1:])


def _unknown(what: str, given: str, known: Any) -> str:
    # What is known, but elsewhere, was meant as it is written.
    near = [] if given in known else difflib.get_close_matches(given[:100], known, 1, 0.7)
    hint = f"; is '{near[0]}' meant?" if near else ""
    return f"there is no {what} '{given[:100]}'{hint}"


@cache
def _structs() -> list[type[Struct]]:
    return [v for v in vars(types).values() if isinstance(v, type) and issubclass(v, Struct) and v is not Struct]


@cache
def _fields() -> list[str]:
    """The names of all fields there are."""
    return sorted({name for struct in _structs() for name in struct.__struct_encode_fields__})


@cache
def _choices() -> dict[str, tuple[str, ...]]:
    """The words that fields of these names can have."""
    found: dict[str, tuple[str, ...]] = {}
    for struct in _structs():
        for name, hint in get_type_hints(struct).items():
            for part in (hint, *get_args(hint)):
                if get_origin(part) is Literal:
                    found[name] = tuple(dict.fromkeys((*found.get(name, ()), *get_args(part))))
    return found


@cache
def _patterns() -> dict[str, str]:
    """What is expected where a pattern stands, by the pattern as msgspec writes it."""
    found: dict[str, str] = {}
    for alias in vars(types).values():
        for meta in getattr(alias, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.pattern and meta.description:
                example = f" Such as {meta.examples[0]}." if meta.examples else ""
                found[repr(meta.pattern)] = meta.description + example
    return found


announcements = AnnouncementDecoder(Announcement)
organization_announcements = AnnouncementDecoder(OrganizationAnnouncement)
import_lines = AnnouncementDecoder(ImportLine)
organization_import_lines = AnnouncementDecoder(OrganizationImportLine)

_target = msgspec.json.Decoder(_Names)


def import_line(line: bytes) -> tuple[StreamKind, str, Announcement | OrganizationAnnouncement]:
    """One line of an import: which stream it is for, and what is announced. Raises NotJson, or Invalid."""
    try:
        names = _target.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        names = _Names(deal="")
    if names.organization is not None and names.deal is None:
        about: OrganizationImportLine = organization_import_lines.decode_one(line)
        return "organization", about.organization, about
    announcement: ImportLine = import_lines.decode_one(line)
    return "deal", announcement.deal, announcement


def as_uuid(text: str) -> UUID | None:
    """The UUID that a text spells, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None
