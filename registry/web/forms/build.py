"""Build the form of an event type from its struct fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import count
from typing import Any, Literal, get_args, get_origin

from msgspec import Struct, structs

from registry.domain.deal import Deal
from registry.domain.fold.claims import CLAIMABLE, LISTS, ClaimState
from registry.domain.fold.items import item_id, item_types
from registry.domain.organizations.mentions import ORGANIZATION_FIELDS
from registry.errors import FieldError
from registry.events.types import EVENT_TYPES, Event
from registry.events.values import Amount, Localized
from registry.formatting.fields import LABEL_KINDS
from registry.formatting.language import DOT, N_
from registry.formatting.values import ValueFormatter, capitalized, shown
from registry.i18n import LANGUAGES
from registry.web.forms.parse import CLEAR, FRAME, FURTHER_LANGUAGE, FURTHER_TEXT, filled_rows, typed_languages
from registry.web.forms.structure import AMOUNT_PARTS, StructField, nested_struct, repeated_struct, struct_fields

MIN_ROWS = {"parties": 3, "sources": 1}
"""The rows that a list has at least."""
EMPTY_ROWS = {"parties": 1, "sources": 0}
"""The empty rows that follow the filled ones."""
MAX_OPTIONS = 40
"""A choice of more values, such as that of a currency, is a text field."""

# The list of a deal's state that an id refers to, and the events that introduce a new id: the first type that has it.
_ITEMS = {item.id_fields[0]: name for name, item in item_types(Deal).items() if len(item.id_fields) == 1}
# The id of a metric is no field of an event: it is made from several.
_INTRODUCES = {
    tag: id_field
    for id_field in _ITEMS
    for tag in [tag for tag, event in EVENT_TYPES.items() if id_field in event.__struct_fields__][:1]
} | {"claim_reported": "claim"}
_LONG_TEXTS = frozenset({"note", "reason", "quote", "classifications"})
_ADDRESSES = frozenset({"archived_url", "url"})

_HINTS = {
    "amount": N_("As written in the source: 약 2조4천억 원, $5bn, more than US$5 billion, 연간 1천억 원"),
    "planned": N_("As precise as the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "reached": N_("As precise as the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "from": N_("As precise as the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "until": N_("As precise as the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "by": N_("Names or ids of organizations, separated by commas"),
    "members": N_("Names or ids of organizations, separated by commas"),
    "sectors": N_("Sector ids in lower-case letters and hyphens, separated by commas"),
    "place": N_("Country or subdivision (ISO 3166): KR, KR-31"),
    "country": N_("Country (ISO 3166): KR"),
    "additional_to": N_("DEAL or DEAL/PLEDGE; leave empty if not disclosed"),
    "classifications": N_("One axis a line: technology: solar, wind"),
    "date": N_("If the source states no day: 2031, 2027-11, 2021-Q3, 2025-07/2025-09, 2029~"),
    "scheme": N_("The register that the identifier comes from, such as ocid or gem"),
    "power_mw": N_("Megawatts, as announced"),
}
_VALUE_HINTS = {
    "claim_reported": N_("The other source’s value, in the format of the field"),
    "metric_reported": N_("A number without its unit: 1200, 0.5"),
    "metric_revised": N_("A number without its unit: 1200, 0.5"),
}
"""Hints of the field `value`, by the type of the event."""
_LANGUAGE_HINT = N_("BCP 47 tag: ja, zh-Hant, pt-BR")
_NEW_ID_HINT = N_("A short name by which later announcements refer to it: lower-case letters, digits and hyphens")
_KNOWN_ID_HINT = N_("The id that it was announced with")


class InputField(Struct, frozen=True):
    """One field of a form.

    Args:
        name: Its JSON pointer in the announcement, without the first slash.
        label: Its name.
        value: The text in it.
        kind: `text`, `textarea`, `date`, `url` or `amount`.
        required: Whether it must be filled in.
        hint: How to fill it in.
        options: The values to choose from, each with its label.
        suggestions: Values that the field offers while the editor types.
        lookup: What the field names, `deals` or `organizations`: it offers those that match while the editor types.
        clear: The name of the checkbox that clears the current value.
        is_cleared: Whether that box is checked.
        lang: The language of the text.
    """

    name: str
    label: str
    value: str
    kind: str = "text"
    required: bool = False
    hint: str = ""
    options: tuple[tuple[str, str], ...] | None = None
    suggestions: tuple[str, ...] = ()
    lookup: Literal["deals", "organizations"] | None = None
    clear: str | None = None
    is_cleared: bool = False
    lang: str | None = None


class FormContext(Struct, frozen=True):
    """What a form offers to choose from: the deal's items, their names, and the ids that announcements before it
    introduce.
    """

    deal: Deal | None
    names: Mapping[str, str] = {}
    introduced: Mapping[str, tuple[str, ...]] = {}


class Section(Struct, frozen=True):
    """Fields under a heading."""

    title: str
    fields: list[InputField]


def sections(
    kind: type[Event], typed: Mapping[str, str], context: FormContext, language: str, *, correcting: bool = False
) -> list[Section]:
    """The form of an event type.

    Args:
        kind: The event type.
        typed: The text of each field.
        context: What the form offers to choose from.
        language: The interface language.
        correcting: Whether the form corrects an event; then it has no boxes that clear a value.
    """
    say = shown(language).words.gettext
    content = content_fields(kind, typed, context, language, correcting=correcting)
    form = [Section(say(N_("Date and source")), frame_fields(typed, language))]
    return [Section(say(N_("Content")), content), *form] if content else form


def content_fields(
    kind: type[Event], typed: Mapping[str, str], context: FormContext, language: str, *, correcting: bool = False
) -> list[InputField]:
    """The fields of an event type."""
    builder = _FormBuilder(str(kind.__struct_config__.tag), typed, context, language, correcting)
    return [field for f in struct_fields(kind) if f.name != "about" for field in builder.fields("event", f)]


def frame_fields(typed: Mapping[str, str], language: str) -> list[InputField]:
    """The fields of an announcement beside its event: the date, the sources and the note."""
    builder = _FormBuilder("", typed, FormContext(None), language, correcting=False)
    return [field for f in FRAME for field in builder.fields("", f)]


def introduced_id(tag: str) -> str | None:
    """The field of an event type that introduces a new id, such as the pledge of `pledge_announced`."""
    return _INTRODUCES.get(tag)


def free_id(id_field: str, context: FormContext) -> str:
    """An id that no item of the deal has yet: `pledge-3` after two pledges."""
    items = _claims(context.deal) if id_field == "claim" else getattr(context.deal, _ITEMS[id_field], ())
    known = {*(getattr(item, id_field) for item in items), *context.introduced.get(id_field, ())}
    return next(id for n in count(len(known) + 1) if (id := f"{id_field}-{n}") not in known)


class _FormBuilder:
    """Builds the fields of one form."""

    def __init__(
        self, tag: str, typed: Mapping[str, str], context: FormContext, language: str, correcting: bool
    ) -> None:
        self.tag = tag
        self.typed = typed
        self.context = context
        self.correcting = correcting
        self.here: ValueFormatter = shown(language)

    def fields(self, parent: str, field: StructField, kind: str = "field") -> Iterator[InputField]:
        """The form fields of a struct field: of a nested struct or a list its fields, else one.

        Args:
            parent: The pointer of the struct.
            field: The struct field.
            kind: The kind of labels that its name has.
        """
        pointer = f"{parent}/{field.encoded_name}".lstrip("/")
        label = self.here.words.label(kind, field.name.rstrip("_"))
        if row := repeated_struct(field.type):
            filled = max(filled_rows(pointer, self.typed), default=-1) + 1
            rows = max(MIN_ROWS.get(field.name, 1), filled + EMPTY_ROWS.get(field.name, 0))
            for number in range(rows):
                for nested in struct_fields(row):
                    # Only the first row must be filled in.
                    cell = nested if number == 0 else structs.replace(nested, required=False)
                    yield from self.fields(f"{pointer}/{number}", cell, _label_kind(field.name))
        elif field.type is Localized:
            yield from self._texts(pointer, label, field)
        elif struct := nested_struct(field.type):
            clear = self._clear(pointer, field)
            for nested in struct_fields(struct):
                for built in self.fields(pointer, nested):
                    yield InputField(built.name, built.label, built.value, built.kind, hint=built.hint, **clear)
                    clear = {}
        else:
            yield self._input(pointer, label, field)
            for part in AMOUNT_PARTS if field.type is Amount else ():
                yield from self.fields(pointer, part)

    def _texts(self, pointer: str, label: str, field: StructField) -> Iterator[InputField]:
        """The form fields of a text: one for each language that it or the pages have, and two for a further one."""
        clear = self._clear(pointer, field)
        for language in dict.fromkeys((*LANGUAGES, *typed_languages(pointer, self.typed))):
            name = self.here.words.with_note(label, self.here.figures.language_name(language))
            value = self.typed.get(f"{pointer}/{language}", "")
            yield InputField(f"{pointer}/{language}", name, value, lang=language, **clear)
            clear = {}
        say = self.here.words.translate
        tag, text = f"{pointer}/{FURTHER_LANGUAGE}", f"{pointer}/{FURTHER_TEXT}"
        name, hint = say(N_("%(field)s: another language"), field=label), self.here.words.gettext(_LANGUAGE_HINT)
        yield InputField(tag, name, self.typed.get(tag, ""), hint=hint)
        yield InputField(text, say(N_("%(field)s in that language"), field=label), self.typed.get(text, ""))

    def _input(self, pointer: str, label: str, field: StructField) -> InputField:
        """The form field of a value that is one text."""
        options = self._options(field)
        return InputField(
            pointer,
            self.here.words.translate(N_("%(item)s id"), item=label) if self._introduces(field) else label,
            self.typed.get(pointer, ""),
            kind=_input_kind(field),
            required=field.required,
            hint="" if options else self._hint(field),
            options=options,
            suggestions=tuple(LANGUAGES) if field.name == "language" else (),
            lookup=self._lookup(field.name),
            **self._clear(pointer, field),
        )

    def _introduces(self, field: StructField) -> bool:
        """Whether the field has the id of an item that the event adds to the deal."""
        return _INTRODUCES.get(self.tag) == field.name

    def _hint(self, field: StructField) -> str:
        if field.name in (*_ITEMS, "claim"):
            return self.here.words.gettext(_NEW_ID_HINT if self._introduces(field) else _KNOWN_ID_HINT)
        hint = _VALUE_HINTS.get(self.tag) if field.name == "value" else _HINTS.get(field.encoded_name)
        return self.here.words.gettext(hint) if hint is not None else ""

    def _clear(self, pointer: str, field: StructField) -> dict[str, Any]:
        if not field.clearable or self.correcting:
            return {}
        return {"clear": f"{CLEAR}{pointer}", "is_cleared": bool(self.typed.get(f"{CLEAR}{pointer}"))}

    def _options(self, field: StructField) -> tuple[tuple[str, str], ...] | None:
        words, deal = self.here.words, self.context.deal
        if get_origin(field.type) is Literal:
            tokens = get_args(field.type)
            if len(tokens) > MAX_OPTIONS:
                return None
            kinds = LABEL_KINDS.get(field.name, ())
            kind = next((kind for kind in kinds if all(words.has_label(kind, token) for token in tokens)), "")
            return tuple((token, words.label(kind, token)) for token in tokens)
        if field.name in _ITEMS and not self._introduces(field):
            items = getattr(deal, _ITEMS[field.name]) if deal is not None else ()
            options = self._item_labels(items, field.name)
            new = {id: id for id in self.context.introduced.get(field.name, ()) if id not in options}
            return tuple((options | new).items()) if options or new or deal is not None else None
        if deal is None:
            return None
        if field.name == "field":
            return tuple((path, self.here.field(path, self.context.names)) for path in _claimable_fields(deal))
        if field.name == "claim" and self.tag != "claim_reported":
            return tuple((claim.claim, self._claim_label(claim)) for claim in _claims(deal) if claim.claim)
        return None

    def _item_labels(self, items: Iterable[Any], id_field: str) -> dict[str, str]:
        """What items are called, by their ids; those that would be called the same have their id too."""
        called = {getattr(item, id_field): self._item_label(item, getattr(item, id_field), id_field) for item in items}
        shared = Counter(called.values())
        return {id: text if shared[text] == 1 else f"{text} ({id})" for id, text in called.items()}

    def _item_label(self, item: Any, id: str, id_field: str) -> str:
        localized = self.here.words.localized
        name = self.context.names.get(f"{_ITEMS[id_field]}/{id}") or localized(getattr(item, "name", None))
        amount = getattr(item, "amount", None)
        texts = (
            capitalized(name or localized(getattr(item, "text", None))),
            self.here.figures.money(amount) if amount else "",
        )
        return DOT.join(filter(None, texts)) or id

    def _claim_label(self, claim: ClaimState) -> str:
        value = self.here.change(claim.field, claim.value, self.context.names)
        publishers = ", ".join(source.publisher for source in claim.sources if source.publisher)
        return DOT.join(filter(None, (self.here.field(claim.field, self.context.names), value, publishers)))

    def _lookup(self, name: str) -> Literal["deals", "organizations"] | None:
        of_organization = self.tag.startswith("organization")
        if name in ORGANIZATION_FIELDS or (name == "into" and of_organization):
            return "organizations"
        return "deals" if name in ("deal", "into") else None


def _label_kind(list_name: str) -> str:
    return "source" if list_name == "sources" else "field"


def _input_kind(field: StructField) -> str:
    if field.type is Amount:
        return "amount"
    if field.type is date:
        return "date"
    if field.name in _ADDRESSES:
        return "url"
    return "textarea" if field.name in _LONG_TEXTS else "text"


def _claimable_fields(deal: Deal) -> list[str]:
    """The fields of a deal that several sources may report."""
    return [f"/{items}/{item_id(item)}/{field}" for items, field in CLAIMABLE for item in getattr(deal, items)]


def _claims(deal: Deal | None) -> list[ClaimState]:
    return [] if deal is None else [claim for name in LISTS for item in getattr(deal, name) for claim in item.claims]


def reason_section(typed: Mapping[str, str], language: str, *, redacting: bool) -> Section:
    """The reason for correcting, voiding or redacting another event."""
    say = shown(language).words.gettext
    warning = N_("The reason stays in the log permanently. Do not include content that must be removed.")
    field = InputField(
        "reason",
        say(N_("Reason (kept in the history)")),
        typed.get("reason", ""),
        kind="textarea",
        required=True,
        hint=say(warning) if redacting else "",
    )
    return Section(say(N_("Record keeping")), [field])


def field_error(field: InputField, errors: Sequence[FieldError]) -> FieldError | None:
    """The first error whose pointer is that of a form field or lies inside it."""
    for error in errors:
        pointer = error.pointer.lstrip("/").removeprefix("replacement/").removeprefix("event/replacement/")
        if pointer == field.name or pointer.startswith(f"{field.name}/"):
            return error
    return None
