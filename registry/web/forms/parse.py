"""An event as the text of a form, and the text of a form as an announcement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, get_origin

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.domain import money
from registry.domain.fold.claims import CLAIMABLE
from registry.errors import FieldError
from registry.events.edtf import quarter_as_edtf
from registry.events.types import Announcement, ClaimReported, Event
from registry.events.values import AMOUNT_NOTES, Amount, Classifications, Localized, Source, is_language_tag
from registry.formatting.numbers import figures
from registry.i18n import DEFAULT_LANGUAGE, LANGUAGES
from registry.web.forms.structure import AMOUNT_PARTS, StructField, nested_struct, repeated_struct, struct_fields

MAX_INTEGER_DIGITS = 18
CLEAR = "clear:"
"""The prefix of the checkbox that clears the value of a field."""

FRAME = tuple(
    field for field in struct_fields(Announcement) if field.name in ("effective_on", "date", "sources", "note")
)
"""The fields of an announcement beside its event."""


def form_values(
    event: Event,
    effective_on: date | None,
    sources: Iterable[Source],
    loose: str | None = None,
    language: str = DEFAULT_LANGUAGE,
) -> dict[str, str]:
    """The text of a form that a correction starts from. A day that follows from a loose date is left out."""
    typed: dict[str, str] = {"effective_on": str(effective_on or "") if loose is None else "", "date": loose or ""}
    for field in struct_fields(type(event)):
        value = getattr(event, field.name)
        pointer = f"event/{field.encoded_name}"
        if value is None or value is UNSET:
            continue
        if isinstance(value, Amount):
            typed[pointer] = amount_text(value, language)
            for part in AMOUNT_PARTS:
                typed[f"{pointer}/{part.name}"] = str(getattr(value, part.name) or "")
        elif isinstance(value, Classifications):
            typed[pointer] = "\n".join(f"{axis}: {', '.join(codes)}" for axis, codes in value.items())
        elif repeated_struct(field.type):
            typed |= _flatten(pointer, msgspec.to_builtins(dict(enumerate(value)), str_keys=True))
        elif isinstance(value, (Struct, Localized)):
            typed |= _flatten(pointer, msgspec.to_builtins(value))
        else:
            typed[pointer] = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return typed | _flatten("sources", msgspec.to_builtins(dict(enumerate(sources)), str_keys=True))


def amount_text(amount: Amount, language: str = DEFAULT_LANGUAGE) -> str:
    """An amount as a reader types it, which `registry.domain.money` parses: as the press writes it in the language."""
    formatter = figures(language)
    text = formatter.money(replace(amount, **dict.fromkeys(AMOUNT_NOTES)))
    if amount.stated_as:
        text += f" ({formatter.other_currencies(amount)})"
    return re.sub("[\u200b\u2060]", "", text).replace("\u00a0", " ")


def _flatten(pointer: str, value: Mapping[str, Any]) -> dict[str, str]:
    """A nested value as text by pointer."""
    flat: dict[str, str] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flatten(f"{pointer}/{key}", inner)
        else:
            flat[f"{pointer}/{key}"] = str(inner)
    return flat


class ParsedForm(Struct):
    """The content of a form.

    Args:
        announcement: The announcement, as JSON has it.
        readings: The amounts that were parsed, by their form field.
        field_errors: What could not be parsed.
    """

    announcement: dict[str, Any]
    readings: dict[str, Amount]
    field_errors: list[FieldError]


def parse(kind: type[Event], typed: Mapping[str, str], original: Event | None = None) -> ParsedForm:
    """The announcement that a form contains.

    Args:
        kind: The event type.
        typed: The text of each form field.
        original: The event that the form corrects. What the editor did not change keeps its exact value.
    """
    return _FormParser(typed, original).parse(kind)


class _FormParser:
    """Parses one form."""

    def __init__(self, typed: Mapping[str, str], original: Event | None) -> None:
        self.typed = typed
        self.original = original
        # The form was filled in one of the languages.
        self.before = [form_values(original, None, (), language=one) for one in LANGUAGES] if original else []
        self.parsed = ParsedForm({}, {}, [])

    def parse(self, kind: type[Event]) -> ParsedForm:
        event: dict[str, Any] = {"type": str(kind.__struct_config__.tag)}
        basis: str | None = None
        fields = struct_fields(kind)
        for field in fields:
            pointer = f"event/{field.encoded_name}"
            if self.typed.get(f"{CLEAR}{pointer}"):
                event[field.encoded_name] = None
            elif field.type is Amount:
                basis = self._amount(pointer, field.encoded_name, event) or basis
            elif field.name == "about":
                if about := getattr(self.original, "about", None):
                    event["about"] = str(about)
            elif (value := self._value(pointer, field)) is not None:
                event[field.encoded_name] = value
        if kind is ClaimReported and "value" in event:
            self._claimed_value(event)
        if basis and not event.get("amount_basis") and any(field.name == "amount_basis" for field in fields):
            event["amount_basis"] = basis
        frame = {field.encoded_name: self._value(field.encoded_name, field) for field in FRAME}
        self.parsed.announcement = {"event": event, **{name: value for name, value in frame.items() if value}}
        if loose := self.parsed.announcement.get("date"):
            self.parsed.announcement["date"] = quarter_as_edtf(loose)
        return self.parsed

    def _value(self, pointer: str, field: StructField) -> Any:
        """The value of a field, as JSON has it; None for an empty one."""
        if struct := nested_struct(field.type):
            return self._struct(pointer, struct) or None
        if struct := repeated_struct(field.type):
            return [self._struct(f"{pointer}/{row}", struct) for row in filled_rows(pointer, self.typed)]
        if field.type is Localized:
            self._check_further_language(pointer)
            return {tag: self.typed[f"{pointer}/{tag}"].strip() for tag in typed_languages(pointer, self.typed)} or None
        text = self.typed.get(pointer, "").strip()
        return _plain(field.type, text) if text else None

    def _check_further_language(self, pointer: str) -> None:
        """Refuse a text whose language is missing or is not one (`with_further_languages` has taken the others)."""
        tag, text = (self.typed.get(f"{pointer}/{end}", "").strip() for end in (FURTHER_LANGUAGE, FURTHER_TEXT))
        if not text and not tag:
            return
        known = self.typed.get(f"{pointer}/{canonical_case(tag)}", "").strip()
        code = "further_text" if not text else "language_twice" if known else "language_tag"
        end = FURTHER_LANGUAGE if text else FURTHER_TEXT
        self.parsed.field_errors.append(FieldError(f"/{pointer}/{end}", code))

    def _struct(self, pointer: str, struct: type[Struct]) -> dict[str, Any]:
        fields = struct_fields(struct)
        values = {field.encoded_name: self._value(f"{pointer}/{field.encoded_name}", field) for field in fields}
        return {name: value for name, value in values.items() if value is not None}

    def _amount(self, pointer: str, name: str, event: dict[str, Any]) -> str | None:
        """Parse an amount into the event. Returns the amount basis that its text states."""
        text = self.typed.get(pointer, "").strip()
        parts = {part.name: self._value(f"{pointer}/{part.name}", part) for part in AMOUNT_PARTS}
        if not text and not any(parts.values()):
            return None
        if self.original is not None and any(before.get(pointer) == text for before in self.before):
            self._set_amount(pointer, name, event, getattr(self.original, name), parts)
            return None
        try:
            parsed = money.parse(text)
        except money.AmountParseError as error:
            self.parsed.field_errors.append(FieldError(f"/{pointer}", "amount", problem=error.message))
            return None
        self._set_amount(pointer, name, event, parsed.amount, parts)
        return parsed.basis

    def _set_amount(
        self, pointer: str, name: str, event: dict[str, Any], amount: Amount, parts: Mapping[str, Any]
    ) -> None:
        """Put an amount into the event, with what the form has beside its text."""
        plain = msgspec.to_builtins(replace(amount, **dict.fromkeys(AMOUNT_NOTES)))
        event[name] = plain | {part: value for part, value in parts.items() if value is not None}
        self.parsed.readings[pointer] = amount

    def _claimed_value(self, event: dict[str, Any]) -> None:
        """Give a claimed value the type of the field that it belongs to."""
        text = str(event["value"])
        if isinstance(self.original, ClaimReported) and any(one.get("event/value") == text for one in self.before):
            event["value"] = msgspec.to_builtins(self.original.value)
            return
        _, item, _, field = [*str(event.get("field", "")).split("/"), "", "", "", ""][:4]
        shape = CLAIMABLE.get((item, field))
        if shape is Amount:
            try:
                event["value"] = msgspec.to_builtins(money.parse(text).amount)
            except money.AmountParseError as error:
                self.parsed.field_errors.append(FieldError("/event/value", "amount", problem=error.message))
        elif shape is int:
            event["value"] = _plain(int, text)


def filled_rows(pointer: str, typed: Mapping[str, str]) -> list[int]:
    """The rows of a list that have text. A form has at most a hundred rows."""
    tails = (
        name.removeprefix(f"{pointer}/").partition("/")[0]
        for name, text in typed.items()
        if text.strip() and name.startswith(f"{pointer}/")
    )
    return sorted({int(row) for row in tails if re.fullmatch(r"[0-9]{1,2}", row)})


FURTHER_LANGUAGE, FURTHER_TEXT = "+language", "+text"
"""What the names of the two fields end with that take a text in one more language."""


def with_further_languages(typed: Mapping[str, str]) -> dict[str, str]:
    """The text of each field, where a text in one more language has become one of its language.

    The two fields stay as they were typed where the language is not a tag or has another text, or where one is empty.
    """
    fields = dict(typed)
    for name in typed:
        pointer, _, end = name.rpartition("/")
        if end != FURTHER_LANGUAGE:
            continue
        tag, text = canonical_case(typed[name].strip()), typed.get(f"{pointer}/{FURTHER_TEXT}", "").strip()
        known = typed.get(f"{pointer}/{tag}", "").strip()
        if text and is_language_tag(tag) and known in ("", text):
            del fields[name], fields[f"{pointer}/{FURTHER_TEXT}"]
            fields[f"{pointer}/{tag}"] = text
    return fields


def canonical_case(tag: str) -> str:
    """A language tag in the case that RFC 5646 recommends (section 2.1.1)."""
    first, *others = tag.replace("_", "-").split("-")
    cased, is_extension = [first.lower()], False
    for part in others:
        is_extension = is_extension or len(part) == 1
        if is_extension or len(part) not in (2, 4) or part[0].isdigit():
            cased.append(part.lower())
        else:
            cased.append(part.upper() if len(part) == 2 else part.title())
    return "-".join(cased)


def typed_languages(pointer: str, typed: Mapping[str, str]) -> list[str]:
    """The languages of a text that a form has."""
    named = ((name.removeprefix(f"{pointer}/"), text) for name, text in typed.items() if name.startswith(f"{pointer}/"))
    return [language for language, text in named if text.strip() and language not in (FURTHER_LANGUAGE, FURTHER_TEXT)]


def _plain(core: Any, text: str) -> Any:
    """Text as a value of its type; text that the type does not allow stays text, and the decoder refuses it."""
    if core is Classifications:
        lines = (line.partition(":") for line in text.splitlines() if line.strip())
        return {axis.strip(): [code.strip() for code in codes.split(",") if code.strip()] for axis, _, codes in lines}
    if core is int:
        digits = text.replace(",", "")
        return int(digits) if digits.isdigit() and len(digits) <= MAX_INTEGER_DIGITS else text
    if get_origin(core) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text
