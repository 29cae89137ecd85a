"""Format the values, fields and changes of deals and organizations as plain text in an interface language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import asdict

from registry.domain.audit.diff import Change
from registry.domain.audit.entries import AuditEntry
from registry.domain.deal import Deal, Disbursement, MetricState
from registry.domain.fold.claims import ClaimState
from registry.domain.fold.items import item_types
from registry.domain.stages import StageState
from registry.events.types import Event, tag_of
from registry.events.values import Amount, Classifications, Horizon, Localized, Party, StatedAmount
from registry.formatting.fields import LABEL_KINDS, REFERENCES
from registry.formatting.language import DOT, N_, Translations, words, written_in
from registry.formatting.numbers import NumberFormatter, figures

Names = Mapping[str, str]
"""Names in the reader's language: of organizations by slug, of deals by `deal/SLUG`, of their pledges by
`deal/SLUG/PLEDGE`, and of the items of the page's own deal by their path, such as `milestones/first-phase`."""


RELATED = {
    "part_of": N_("%(one)s is part of %(other)s"),
    "includes": N_("%(one)s includes %(other)s"),
    "overlaps": N_("%(one)s may overlap with %(other)s"),
    "additional_to": N_("%(one)s is additional to %(other)s"),
    "separate_from": N_("%(one)s is separate from %(other)s"),
    "supersedes": N_("%(one)s supersedes %(other)s"),
}
"""Each relation as a sentence about two deals or pledges."""


class ChangeLine(Struct, frozen=True):
    """A change as text: of a field, or of an item that was added or removed as a whole.

    Args:
        label: The name of the field or item.
        path: Its path in the state.
        before: The earlier value; None for none.
        after: The later value; None for none.
        causes: The ids of the events behind the change.
        is_added: Whether an item was added.
    """

    label: str
    path: str
    before: str | None
    after: str | None
    causes: tuple[Any, ...] = ()
    is_added: bool = False


# The fields of an item that repeat its id, its first day or the event that the page shows, by the list of the item.
_OMITTED = {
    name: frozenset((*item.id_fields, *item.order, "stated_on", "source", "claims"))
    for name, item in item_types(Deal).items()
}


MEASURES = {"power_mw": "MW", "gpus": "GPU"}
"""The measures of a site, each with its unit."""

# The fields of an event or of an item that are shown with another field, or that only say how exact one is.
_STATED_WITH_ANOTHER = frozenset(
    {"amount", "amount_basis", "additional_to", "power_qualifier", "gpus_qualifier", "precision"}
)
_OF_METRIC = frozenset({"value", "unit", "qualifier"})
"""The fields of a metric that are shown as one quantity."""


def _causes(change: Any) -> tuple[Any, ...]:
    return tuple(getattr(change, "causes", ()))


class ValueFormatter:
    """Formats values in one language."""

    def __init__(self, language: str) -> None:
        self.words: Translations = words(language)
        self.figures: NumberFormatter = figures(language)
        self._ = self.words.gettext

    # --- values -------------------------------------------------------------------------------------------------------

    def value(self, value: Any, field: str = "", names: Names | None = None) -> str:  # noqa: C901 - one case a type
        """A value as text.

        Args:
            value: The value.
            field: The name of its field, which tells what a string stands for.
            names: The names of organizations, deals and items.
        """
        if type(value) is str:
            return self._text(value, field, names or {})
        match value:
            case None:
                return self._(N_("Not disclosed"))
            case Amount() | StatedAmount():
                also = self.figures.other_currencies(value) if isinstance(value, Amount) else ""
                text = self.figures.money(value)
                return self.words.with_note(text, also)
            case Localized():
                return self.words.localized(value)
            case Classifications():
                axes = ((self.words.label("axis", axis), axis, codes) for axis, codes in value.items())
                return "; ".join(f"{axis}: {', '.join(self._code(key, c) for c in codes)}" for axis, key, codes in axes)
            case Horizon():
                return self.figures.horizon(value) or self._(N_("Not disclosed"))
            case StageState():
                basis = self.words.label("basis_of_stage", value.basis)
                return self.words.with_note(self.words.label("stage", value.value), basis)
            case Disbursement():
                return self.figures.money(value.amount)
            case ClaimState():
                return self.change(value.field, value.value, names)
            case Party():
                return (names or {}).get(value.organization) or self.words.localized(value.name, value.organization)
            case datetime():
                return self.figures.instant(value)
            case date():
                return self.figures.day(value)
            case bool():
                return self._(N_("yes")) if value else self._(N_("no"))
            case int() | Decimal():
                return self.figures.measure(value, None, "GPU") if field == "gpus" else self.figures.number(value)
            case UUID():
                return str(value)
            case MetricState():
                stated = {n: v for n, v in asdict(value).items() if n not in ("metric_id", "claims")}
                return DOT.join(self.parts(stated, names))
            case Struct():
                fields = zip(value.__struct_encode_fields__, msgspec.structs.astuple(value), strict=True)
                parts = [self.value(v, n, names) for n, v in fields if v is not None and v != () and v is not UNSET]
                return DOT.join(parts)
            case tuple() | list():
                return ", ".join(self.value(item, field, names) for item in value) or self._(N_("none"))
            case _:
                return str(value)

    def _code(self, axis: str, code: str) -> str:
        """A code of an axis as text: those of `mode` have labels."""
        return self.words.label(axis, code) if self.words.has_label(axis, code) else code

    def _text(self, value: str, field: str, names: Names) -> str:
        for kind in LABEL_KINDS.get(field, ()):
            if self.words.has_label(kind, value):
                return self.words.label(kind, value)
        if field in REFERENCES:
            return self._name(value, REFERENCES[field], names)
        if field == "power_mw":
            return self.figures.measure(value, None, "MW")
        return self.words.label(LABEL_KINDS[field][0], value) if field in LABEL_KINDS else value

    def _name(self, value: str, kind: str, names: Names) -> str:
        match kind:
            case "date":
                return self.figures.edtf_date(value)
            case "place":
                return self.figures.place(value)
            case "language":
                return self.figures.language_name(value)
            case "sites":
                return names.get(f"sites/{value}", value)
            case "deal":
                deal, _, pledge = value.partition("/")
                name = names.get(f"deal/{deal}") or names.get(deal, deal)
                called = names.get(f"deal/{deal}/{pledge}", pledge)
                return self.words.with_note(name, called)
            case _:
                return names.get(value, value)

    def effective_date(self, stated: Any) -> str:
        """The effective date of an event or a replacement, as loose as its source states it; empty for none."""
        loose, day = stated.date, stated.effective_on
        if isinstance(loose, str):
            return self.figures.edtf_date(loose)
        return self.figures.day(day) if isinstance(day, date) else ""

    def parts(self, values: Mapping[str, Any], names: Names | None = None) -> list[str]:
        """The values of an event or of an item as text: the amount with what it is of, each measure as it is stated.

        Args:
            values: The values by the names of their fields.
            names: The names of organizations, deals and items.
        """
        found: list[str] = []
        if isinstance(amount := values.get("amount"), Amount):
            basis = values.get("amount_basis")
            text = self.figures.money(amount, "annual" if basis == "annual" else None)
            also = self.figures.other_currencies(amount)
            found.append(self.words.with_note(text, also))
            if basis == "additional":
                found.append(self.addition(values.get("additional_to"), names))
        metric = values.get("metric") if isinstance(values.get("value"), str) else None
        for name, value in values.items():
            if name in _STATED_WITH_ANOTHER or value is None or value is UNSET or value == ():
                continue
            if metric is not None and name in _OF_METRIC:
                if name == "value":
                    stated = (values.get("unit") or None, values.get("qualifier") or None)
                    found.append(self.figures.quantity(metric, value, *stated))
                continue
            if name in MEASURES:
                qualifier = values.get(f"{name.removesuffix('_mw')}_qualifier")
                found.append(self.figures.measure(value, qualifier or None, MEASURES[name]))
            elif name == "reason":
                found.append(self.noted(value))
            else:
                found.append(self.value(value, name, names))
        return found

    def addition(self, to: Any, names: Names | None = None) -> str:
        """What an additional amount is added to."""
        if not isinstance(to, str):
            return self._(N_("In addition to an unspecified amount"))
        return self.words.translate(N_("In addition to %(what)s"), what=self._name(to, "deal", names or {}))

    def noted(self, text: str) -> str:
        """A note or a reason, which is in one language: the language is named where it is not the reader's."""
        return text + self.language_mark(text)

    def language_mark(self, text: str) -> str:
        """The name of the language of a text in brackets; nothing for the reader's language and for no text."""
        tongue = written_in(text)
        if not text or tongue == self.words.language:
            return ""
        language = self.figures.language_name(tongue)
        return self.words.with_note("", self.words.translate(N_("in %(language)s"), language=language))

    def field(self, path: str, names: Names | None = None) -> str:
        """The name of a field with its item: `/milestones/first/planned` is "Milestone: first phase · Planned for"."""
        parts = path.strip("/").split("/")
        if len(parts) == 1:
            return self.words.label("field", parts[0])
        thing, key, *rest = parts
        head, called = self.words.label("field", thing), self.called(thing, key, names)
        if thing != "pledges":
            head = f"{head}: {called}"
        else:
            head = capitalized(called) or head if called != key else f"{head} {called}"
        return DOT.join([head, *(self.words.label("field", name) for name in rest)])

    def called(self, thing: str, key: str, names: Names | None = None) -> str:
        """The name of an item of a deal: `parties`, `aws:investor:…` is "AWS (Investor)"."""
        if thing == "parties":
            organization, _, tail = key.partition(":")
            role = tail.split(":")[0]
            name = (names or {}).get(organization, organization)
            return self.words.with_note(name, self.words.label("role", role)) if role else name
        if thing == "relations":
            relation, pledge, deal, other = [*key.split(":"), "", "", ""][:4]
            return self.related(relation, pledge, deal, other, names)
        return (names or {}).get(f"{thing}/{key}", key)

    def related(self, relation: str, pledge: str | None, deal: str, other: str | None, names: Names | None) -> str:
        """A relation as text: this deal or pledge, the relation, the other deal or pledge."""
        known = names or {}
        this = self._(N_("this deal"))
        to = known.get(f"deal/{deal}", deal)
        # An id is shown only where nothing else tells two pledges of one deal apart.
        is_within = to == this
        called = known.get(f"deal/{deal}/{other}", other if is_within else "") if other else ""
        if called:
            to = called if is_within else self.words.with_note(to, called)
        own = known.get(f"pledges/{pledge}", pledge if is_within else "") if pledge else ""
        subject = own or self._(N_("This deal"))
        return self.words.translate(RELATED[relation], one=capitalized(subject), other=to)

    def change(self, path: str, value: Any, names: Names | None = None) -> str:
        """One side of a change of a field."""
        if isinstance(value, str):
            match path.strip("/").split("/"):
                case "metrics", key, "value":
                    # `metric_id` writes `h100_equivalents` as `h100-equivalents--planned`.
                    return self.figures.quantity(key.partition("--")[0].replace("-", "_"), value)
                case "relations", key, ("deal" | "pledge" | "other_pledge") as field:
                    named = {"deal": "deal/", "pledge": "pledges/"}.get(field, f"deal/{key.split(':')[2]}/")
                    return (names or {}).get(named + value, value)
        return self.value(value, path.rsplit("/", 1)[1], names)

    def lines(self, changes: Iterable[Any], names: Names | None = None, apart: bool = False) -> list[ChangeLine]:
        """Changes as text, one line each; an item that was added or removed with all its fields is one line.

        Args:
            changes: The changes.
            names: The names of organizations, deals and items.
            apart: Whether to show of a list only what was added and removed.
        """
        whole: dict[str, list[Any]] = {}
        found: list[ChangeLine | str] = []
        for change in changes:
            parts = change.path.strip("/").split("/")
            if change.path in ("/deal", "/organization") or parts[-1] in ("claims", "stated_on"):
                continue
            if len(parts) == 3 and parts[0] in item_types(Deal):
                thing = f"/{parts[0]}/{parts[1]}"
                if thing in whole or self._names_thing(parts, change):
                    if thing not in whole:
                        whole[thing] = []
                        found.append(thing)
                    whole[thing].append(change)
                    continue
            before, after = change.before, change.after
            if apart and isinstance(before, tuple) and isinstance(after, tuple):
                gone, new = [tuple(v for v in a if v not in b) for a, b in ((before, after), (after, before))]
                before, after = (gone, new) if gone or new else (before, after)
            sides = [None if v is None or v == () else self.change(change.path, v, names) for v in (before, after)]
            found.append(ChangeLine(self.field(change.path, names), change.path, sides[0], sides[1], _causes(change)))
        return [line if isinstance(line, ChangeLine) else self._thing(line, whole[line], names) for line in found]

    def _names_thing(self, parts: list[str], change: Any) -> bool:
        """Whether a change is of the id of an item, which was added or removed then."""
        named = item_types(Deal)[parts[0]].id_fields[0]
        return parts[2] == named and (change.before is None or change.after is None)

    def _thing(self, path: str, changes: list[Any], names: Names | None) -> ChangeLine:
        is_added = changes[0].before is None
        values = {c.path.rsplit("/", 1)[1]: c.after if is_added else c.before for c in changes}
        if path.startswith("/relations/"):
            text = self.called("relations", path.split("/")[2], names)
            before, after = (None, text) if is_added else (text, None)
            return ChangeLine(self.words.label("field", "relation"), path, before, after, _causes(changes[0]), is_added)
        text = self.item(path.split("/")[1], values, names) or self._(N_("recorded"))
        before, after = (None, text) if is_added else (text, None)
        return ChangeLine(self.field(path, names), path, before, after, _causes(changes[0]), is_added)

    def item(self, thing: str, values: Mapping[str, Any], names: Names | None = None) -> str:
        """What an item of a list of a deal states, without its id, its first day and the status that all begin with."""
        stated = {
            name: value
            for name, value in values.items()
            if name not in _OMITTED[thing] and not (name == "status" and value in ("announced", "planned"))
        }
        return DOT.join(self.parts(stated, names))

    def moment(self, value: date | datetime) -> str:
        """A day or an instant."""
        return self.figures.instant(value) if isinstance(value, datetime) else self.figures.day(value)

    def type_of(self, event: Event | str) -> str:
        """The name of an event type."""
        return self.words.label("event", event if isinstance(event, str) else tag_of(event))


def capitalized(text: str) -> str:
    """A text with its first letter as at the beginning of a sentence; "kW" stays as it is."""
    if text[1:2].isupper():
        return text
    return text[:1].upper() + text[1:]


_PREDICATES = ("is ", "must ", "needs ", "has ", "may ", "contains ", "repeats ", "ends ", "takes ", "does ")
"""How an English text about a field begins that continues the field's name."""


def fault_of(label: str, text: str) -> str:
    """What is wrong with a field, as a sentence: "is required" continues the field's name."""
    return f"{label} {text}" if text.startswith(_PREDICATES) else capitalized(text)


def own_changes(entry: AuditEntry) -> list[Change]:
    """What an event of a history changed. A claim adds a value; the one shown changes when it is selected."""
    if entry.label in ("claimed", "corroborated", "retracted"):
        return [change for change in entry.changes if change.path.endswith("/claims")]
    return entry.changes


@cache
def shown(language: str) -> ValueFormatter:
    """The formatter of an interface language."""
    return ValueFormatter(language)


def names_in(deal: Deal, language: str) -> dict[str, str]:
    """The names under which the organizations of a deal were announced, by slug, in the reader's language."""
    spoken = words(language)
    return {p.organization: spoken.localized(p.name) for p in deal.parties if spoken.localized(p.name)}
