"""Strict decoding of request bodies into announcements. Each error names its field by a JSON pointer (RFC 6901).

msgspec checks the types, `validation.py` checks the values. This module also refuses duplicate keys, of which a JSON
decoder keeps the last.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from registry.errors import FieldError, Invalid, NotJson, RegistryError
from registry.events import json_scan, types, validation, values
from registry.events.codec import earliest_publication
from registry.events.edtf import effective_day
from registry.events.types import (
    EVENT_TYPES,
    AnnouncedKind,
    Announcement,
    AnyAnnouncement,
    OrganizationAnnouncement,
    PrincipalAnnouncement,
)
from registry.events.values import decode_hook
from registry.infra.freeing import empty_in_thread

A = TypeVar("A", bound=AnyAnnouncement)

_encode = msgspec.json.Encoder().encode

_items = msgspec.json.Decoder(list[msgspec.Raw])


class ImportLine(Announcement, frozen=True, kw_only=True):
    """One line of an import: an announcement, and the deal that it is for."""

    deal: values.Slug


class OrganizationImportLine(OrganizationAnnouncement, frozen=True, kw_only=True):
    """One line of an import: an announcement, and the organization that it is for."""

    organization: values.Slug


class _LineTarget(Struct):
    """The stream that a line of an import names."""

    deal: Any = None
    organization: Any = None


class AnnouncementDecoder(Generic[A]):
    """Decodes a body into one announcement or a list of them."""

    def __init__(self, shape: type[A]) -> None:
        self._one: msgspec.json.Decoder[A] = msgspec.json.Decoder(shape, dec_hook=decode_hook)

    def decode_one(self, body: bytes) -> A:
        """Decode a body that is one announcement.

        Raises:
            NotJson: The body is not JSON.
            Invalid: Fields are wrong.
        """
        announcement: A = decode(self._one, body)
        errors = list(validation.validate(announcement, ""))
        if errors:
            raise Invalid(errors)
        return _with_effective_day(announcement)

    def decode_many(self, body: bytes) -> list[A]:
        """Decode a body that is one announcement or a non-empty list of them.

        Raises:
            NotJson: The body is not JSON.
            Invalid: Fields are wrong.
        """
        if not body.lstrip(b" \t\r\n").startswith(b"["):
            return [self.decode_one(body)]
        items = _decode_once(_items, body)
        if not items:
            raise Invalid([FieldError("", "no_announcement")])
        announcements: list[A] = []
        try:
            announcements += self._decode_items(body, items)
            errors = [error for i, a in enumerate(announcements) for error in validation.validate(a, f"/{i}")]
            errors += _repeated_ids(announcements)
            if errors:
                raise Invalid(errors)
        except RegistryError:
            # The error refers to them: with it, thousands would be freed at once.
            empty_in_thread(items, announcements, depth=0)
            raise
        return list(map(_with_effective_day, announcements))

    def _decode_items(self, body: bytes, items: Sequence[msgspec.Raw]) -> Iterator[A]:
        """Decode the items of a list one by one, because no other thread runs during a call of the decoder."""
        end = 0
        for number, item in enumerate(items):
            text = bytes(item)
            end = body.index(text, end) + len(text)
            try:
                yield decode(self._one, text)
            except Invalid as error:
                raise Invalid([one.at(f"/{number}{one.pointer}") for one in error.field_errors]) from None
            except NotJson as error:
                raise NotJson(_below(error.field_error, f"/{number}", end - len(text))) from None


def _below(error: FieldError, pointer: str, start: int) -> FieldError:
    """An error in a part of a body that has this pointer and begins at this byte."""
    at = error.params.get("byte")
    places = {"byte": start + at} if isinstance(at, int) else {}
    return FieldError(pointer + error.pointer, error.code, **{**error.params, **places})


def _with_effective_day(announcement: A) -> A:
    """A valid announcement with the effective date that follows from its loose date."""
    if announcement.date is None:
        return announcement
    day = effective_day(announcement.date, earliest_publication(announcement.sources))
    return msgspec.structs.replace(announcement, effective_on=day)


def _repeated_ids(announcements: list[A]) -> Iterator[FieldError]:
    first: dict[UUID, int] = {}
    for i, announcement in enumerate(announcements):
        if announcement.id is not None and first.setdefault(announcement.id, i) != i:
            yield FieldError(f"/{i}/id", "id_repeated", index=first[announcement.id])


def decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """Decode a body strictly.

    Raises:
        NotJson: The body is not JSON.
        Invalid: A field has the wrong type, or a key is repeated.
    """
    decoded = _decode_once(decoder, body)
    # msgspec keeps the last of two equal keys. Without escapes, what was decoded has as many strings as the body unless
    # a key was dropped or a default was written out, so only those bodies are scanned.
    if b"\\" in body or body.count(b'"') != _encode(decoded).count(b'"'):
        _refuse_duplicates(body)
    return decoded


def _decode_once(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        _refuse_duplicates(body)
        raise Invalid([to_field_error(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(body, error) from None


def _refuse_duplicates(body: bytes) -> None:
    try:
        json_scan.refuse_duplicates(body)
    except json_scan.DuplicateKeyError:
        pointer = json_scan.duplicate_key_pointer(body)
        raise Invalid([FieldError(pointer, "duplicate_key")]) from None
    except (ValueError, RecursionError) as error:
        raise _not_json(body, error) from None


_BYTE = re.compile(r"^(?:JSON is malformed: )?(.*) \(byte (\d+)\)$")
_CHARACTER = re.compile(r"^(.*): line \d+ column \d+ \(char (\d+)\)$")


def _not_json(body: bytes, error: BaseException) -> NotJson:
    """Why a body is not JSON, and where decoding ended."""
    if not body.strip():
        return NotJson(FieldError("", "json_empty"))
    if isinstance(error, RecursionError):
        return NotJson(FieldError(json_scan.deepest_pointer(body), "json_nesting"))
    try:
        text = body.decode()
    except UnicodeDecodeError as undecodable:
        at = undecodable.start
        return NotJson(FieldError(json_scan.pointer_at(body, at), "json_not_utf8", byte=at))
    if match := _BYTE.match(str(error)):
        reason, at = match.group(1), int(match.group(2))
    elif match := _CHARACTER.match(str(error)):
        reason, at = match.group(1).lower(), len(text[: int(match.group(2))].encode())
    else:  # msgspec says of truncated data only that it is truncated.
        return NotJson(FieldError(json_scan.pointer_at(body, len(body) - 1), "json_truncated", byte=len(body)))
    return NotJson(FieldError(json_scan.pointer_at(body, at), "json_syntax", reason=reason, byte=at))


# --- msgspec's messages as codes --------------------------------------------------------------------------------------

_AT = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"Object (contains unknown|missing required) field `([^`]+)`")
_VALUE = re.compile(r"Invalid (?:enum )?value '((?:.|\n)*)'")
_PATTERN = re.compile(r"Expected `str` matching regex (.*)")

# Other messages, by pattern: the code, and the parameters that the groups are.
_CODES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Expected `str` of length >= 1"), "text_empty"),
    (re.compile(r"Expected `str` of length >= (?P<limit>\d+)"), "text_too_short"),
    (re.compile(r"Expected `str` of length <= (?P<limit>\d+)"), "text_too_long"),
    (re.compile(r"Expected `array` of length >= (?P<limit>\d+)"), "list_too_short"),
    (re.compile(r"Expected `array` of length <= (?P<limit>\d+)"), "list_too_long"),
    (re.compile(r"Expected `int` >= (?P<limit>-?\d+)"), "number_too_small"),
    (re.compile(r"Expected `int` <= (?P<limit>-?\d+)"), "number_too_large"),
    (re.compile(r"Integer value out of range"), "number_out_of_range"),
    (re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<given>[^`]+)`"), "type"),
    (re.compile(r"Expected `(?P<expected>[^`]+)`"), "type_expected"),
    (re.compile(r"Invalid RFC3339 encoded date"), "date"),
    (re.compile(r"Invalid UUID"), "uuid"),
)

# msgspec's names of types, and JSON's.
_JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def to_field_error(message: str) -> FieldError:
    """msgspec's message as a code. Its path becomes the pointer, with the field that it names at the end."""
    pointer = ""
    # The message of a decoding hook ends with a path of its own, below the path that msgspec adds.
    while at := _AT.search(message):
        message = message[: at.start()]
        pointer += "".join(f"/{json_scan.escape(name or index)}" for name, index in _STEP.findall(at.group(1)))
    if match := _FIELD.match(message):
        pointer += f"/{json_scan.escape(match.group(2))}"
        if "missing" in match.group(1):
            return FieldError(pointer, "required")
        return _unknown(pointer, "unknown_field", match.group(2), _fields())
    name = pointer.rsplit("/", 1)[-1]
    if match := _VALUE.fullmatch(message):
        value = match.group(1)
        if name == "type":
            return _unknown(pointer, "unknown_event_type", value, EVENT_TYPES)
        if name == "currency":
            return FieldError(pointer, "currency", value=value[:50])
        return FieldError(pointer, "choice", value=value[:50], known=_choices().get(name, ()))
    if (match := _PATTERN.fullmatch(message)) and match.group(1) in _patterns():
        return FieldError(pointer, _patterns()[match.group(1)])
    for pattern, code in _CODES:
        if match := pattern.fullmatch(message):
            return FieldError(pointer, code, **{key: _parameter(key, text) for key, text in match.groupdict().items()})
    return FieldError(pointer, "other", reason=message[0].lower() + message[1:])


def _parameter(name: str, text: str) -> str | int:
    if name == "limit":
        return int(text)
    return " | ".join(_JSON_TYPES.get(part, part) for part in text.split(" | "))


def _unknown(pointer: str, code: str, given: str, known: Collection[str]) -> FieldError:
    # A known name in the wrong place is spelled correctly: there is nothing to suggest.
    near = [] if given in known else difflib.get_close_matches(given[:100], known, 1, 0.7)
    if near:
        return FieldError(pointer, f"{code}_similar", value=given[:100], similar=near[0])
    return FieldError(pointer, code, value=given[:100])


@cache
def _structs() -> list[type[Struct]]:
    named = {**vars(values), **vars(types)}.values()
    return [v for v in named if isinstance(v, type) and issubclass(v, Struct) and v is not Struct]


@cache
def _fields() -> list[str]:
    """The names of all fields of all events."""
    return sorted({name for struct in _structs() for name in struct.__struct_encode_fields__})


@cache
def _choices() -> dict[str, tuple[str, ...]]:
    """The values that a vocabulary allows, by field name."""
    choices: dict[str, tuple[str, ...]] = {}
    for struct in _structs():
        for name, hint in get_type_hints(struct).items():
            for part in (hint, *get_args(hint)):
                if get_origin(part) is Literal:
                    choices[name] = tuple(dict.fromkeys((*choices.get(name, ()), *get_args(part))))
    return choices


@cache
def _patterns() -> dict[str, str]:
    """The code for a text that does not match a pattern, by the pattern as msgspec writes it.

    Types that share a pattern share the code of the first.
    """
    codes: dict[str, str] = {}
    for name, alias in vars(values).items():
        for meta in getattr(alias, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.pattern:
                codes.setdefault(repr(meta.pattern), f"format_{name.lower()}")
    return codes


announcements = AnnouncementDecoder(Announcement)
organization_announcements = AnnouncementDecoder(OrganizationAnnouncement)
principal_announcements = AnnouncementDecoder(PrincipalAnnouncement)
import_lines = AnnouncementDecoder(ImportLine)
organization_import_lines = AnnouncementDecoder(OrganizationImportLine)

_target = msgspec.json.Decoder(_LineTarget)


def import_line(line: bytes) -> tuple[AnnouncedKind, str, Announcement | OrganizationAnnouncement]:
    """Decode a line of an import into the kind and slug of its stream, and its announcement.

    Raises:
        NotJson: The line is not JSON.
        Invalid: Fields are wrong.
    """
    try:
        target = _target.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        target = _LineTarget(deal="")
    if target.organization is not None and target.deal is None:
        organization_line: OrganizationImportLine = organization_import_lines.decode_one(line)
        return "organization", organization_line.organization, organization_line
    announcement: ImportLine = import_lines.decode_one(line)
    return "deal", announcement.deal, announcement


def as_uuid(text: str) -> UUID | None:
    """Parse a UUID; None if the text is not one."""
    try:
        return UUID(text)
    except ValueError:
        return None
