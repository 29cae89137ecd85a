"""What pages show of the domain's values: a field's name, a value in words, an event in a line, a deal in a sentence.

Turns values into plain text in a language, and nothing else: templates escape it, handlers choose it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from difflib import SequenceMatcher
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from registry.domain.claims import ClaimState
from registry.domain.deal import Deal, Disbursement, PledgeState
from registry.domain.plausibility import Flag, FlagText
from registry.domain.stages import StageState
from registry.events.types import (
    Amount,
    ClaimReported,
    DealsRelated,
    DealsUnrelated,
    Event,
    Horizon,
    Localized,
    Party,
    StatedAmount,
    tag_of,
)
from registry.i18n import Message, render
from registry.web.i18n import N_, Translations, words
from registry.web.numbers import NumberFormatter, figures

Names = Mapping[str, str]
"""What things are called in the reader's language: organizations by their slugs, deals by `deal/SLUG`, and the things
of the deal that a page is about by their paths, such as `milestones/first-phase`."""


class ChangeLine(Struct, frozen=True):
    """A change in words: of a field, or of a whole thing that came or went (`came`). A side that is empty is None."""

    label: str
    path: str
    before: str | None
    after: str | None
    causes: tuple[Any, ...] = ()
    came: bool = False


# What an event's one line leaves out: its things' ids, which only machines need, and what is shown elsewhere.
_KEYS = ("pledge", "site", "milestone", "condition", "claim")
_NOT_DISPLAYED = frozenset(
    {
        *_KEYS,
        "other_pledge",
        "amount",
        "amount_basis",
        "replacement",
        "summary",
        "corrects",
        "voids",
        "redacts",
        "also",
        "effects",
        "about",
    }
)

# Fields of a thing that only repeat its name, its first day, or the event that a reader is looking at.
_OMITTED_WHEN_EQUAL = frozenset(
    {
        *("pledge", "site", "milestone", "condition", "organization", "relation", "deal", "other_pledge", "role"),
        *("announced_on", "scheduled_on", "stated_on", "joined_on", "set_on", "since", "source", "claims"),
    }
)

LADDER = ("intention", "signed", "committed", "construction", "operating")
"""The stages a deal climbs, in order. The others stop it."""


def _causes(change: Any) -> tuple[Any, ...]:
    return tuple(getattr(change, "causes", ()))


# Which catalogue of tokens a field's values belong to.
_TOKENS = {
    "amount_basis": "amount_basis",
    "commitment": "commitment",
    "role": "role",
    "instrument": "instrument",
    "stage": "stage",
    "relation": "relation",
    "precision": "precision",
    "control": "control",
    "scheme": "scheme",
    "power_qualifier": "qualifier",
    "gpus_qualifier": "qualifier",
    "status": "status",
}
_ORGANIZATIONS = frozenset({"by", "members", "organization", "authority", "parent"})
# What the text of a field names, where that has another name for readers.
_NAMED = {
    **dict.fromkeys(("planned", "reached", "until", "from"), "date"),
    **dict.fromkeys(("place", "country"), "place"),
    **dict.fromkeys(("additional_to", "into", "merged_into"), "deal"),
    **dict.fromkeys(_ORGANIZATIONS, "organization"),
    "language": "language",
}

# Parameters of warnings, by the kind of value.
_SAID_NUMBERS = frozenset({"expected", "factor", "high", "kw", "limit", "low", "position", "size", "version"})
_SAID_DEALS = frozenset({"part", "whole"})
_SAID_DAYS = frozenset({"day", "other_day"})
_SAID_TOKENS = {
    "type": "event",
    "thing": "field",
    "same": "field",
    "relation": "relation",
    "role": "role",
    "scheme": "scheme",
}

# What a flag compares: amounts, days and numbers, as the domain writes them.
_STATED = re.compile(r"(?:([a-z_]+) )?([A-Z]{3}) (\d+(?:\.\d+)?)(?:–(\d+(?:\.\d+)?))?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

_ITEM_KINDS = ("pledges", "sites", "milestones", "parties", "relations", "conditions")


class ValueFormatter:
    """Values in one language."""

    def __init__(self, language: str) -> None:
        self.words: Translations = words(language)
        self.figures: NumberFormatter = figures(language)
        self._ = self.words.gettext

    # --- values -------------------------------------------------------------------------------------------------------

    def value(self, value: Any, field: str = "", names: Names | None = None) -> str:  # noqa: C901 - one case a type
        """A value in words. `field` is the field's own name, which says what kind of text a string is."""
        if type(value) is str:
            return self._text(value, field, names or {})
        match value:
            case None:
                return self._(N_("Not disclosed"))
            case Amount() | StatedAmount():
                also = self.figures.other_currencies(value) if isinstance(value, Amount) else ""
                text = self.figures.money(value)
                return f"{text} ({also})" if also else text
            case Localized():
                return self.words.localized(value)
            case Horizon():
                return self.figures.horizon(value) or self._(N_("Not disclosed"))
            case StageState():
                basis = self.words.label("basis_of_stage", value.basis)
                return f"{self.words.label('stage', value.value)} ({basis})"
            case Disbursement():
                return self.figures.money(value.amount)
            case ClaimState():
                return f"{self.value(value.value, value.field.rsplit('/', 1)[1], names)}"
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
            case Struct():
                said = zip(value.__struct_encode_fields__, msgspec.structs.astuple(value), strict=True)
                parts = [self.value(v, n, names) for n, v in said if v is not None and v != () and v is not UNSET]
                return " · ".join(parts)
            case tuple() | list():
                return ", ".join(self.value(item, field, names) for item in value) or self._(N_("none"))
            case _:
                return str(value)

    def _text(self, value: str, field: str, names: Names) -> str:
        if field in _TOKENS:
            return self.words.label(_TOKENS[field], value)
        if field in _NAMED:
            return self._name(value, _NAMED[field], names)
        if field == "kind":
            for kind in ("kind", "milestone", "name_kind"):
                if self.words.has_label(kind, value):
                    return self.words.label(kind, value)
        if field == "power_mw":
            return f"{self.figures.number(value)} MW"
        if field == "sectors":
            return self.words.label("sector", value)
        return value

    def _name(self, value: str, kind: str, names: Names) -> str:
        match kind:
            case "date":
                return self.figures.edtf_date(value)
            case "place":
                return self.figures.place(value)
            case "language":
                return self.figures.language_name(value)
            case "deal":
                deal, _, pledge = value.partition("/")
                name = names.get(f"deal/{deal}") or names.get(deal, deal)
                return f"{name} / {pledge}" if pledge else name
            case _:
                return names.get(value, value)

    def field(self, path: str, names: Names | None = None) -> str:
        """A field's name, with the thing it belongs to: `/pledges/total/amount` is "Pledge total · Amount"."""
        parts = path.strip("/").split("/")
        if len(parts) == 1:
            return self.words.label("field", parts[0])
        thing, key, *rest = parts
        head = f"{self.words.label('field', thing)} {self.called(thing, key, names)}"
        return " · ".join([head, *(self.words.label("field", name) for name in rest)])

    def called(self, thing: str, key: str, names: Names | None = None) -> str:
        """What one of a deal's things is called: `parties`, `aws:investor:…` is "AWS (Investor)"."""
        if thing == "parties":
            organization, _, tail = key.partition(":")
            role = tail.split(":")[0]
            name = (names or {}).get(organization, organization)
            return f"{name} ({self.words.label('role', role)})" if role else name
        if thing == "relations":
            relation, pledge, deal, other = [*key.split(":"), "", "", ""][:4]
            return self.related(relation, pledge, deal, other, names)
        return (names or {}).get(f"{thing}/{key}", key)

    def related(self, relation: str, pledge: str | None, deal: str, other: str | None, names: Names | None) -> str:
        """A relation in words: what stands in it, how, and to which deal or pledge."""
        this = self._(N_("this deal"))
        named = (names or {}).get(f"deal/{deal}", deal)
        to = other if other and named == this else f"{named} / {other}" if other else named
        return f"{pledge or self._(N_('This deal'))} {self.words.label('relation', relation)} {to}"

    def change(self, path: str, value: Any, names: Names | None = None) -> str:
        """One side of a change of a field."""
        return self.value(value, path.rsplit("/", 1)[1], names)

    def lines(self, changes: Iterable[Any], names: Names | None = None, apart: bool = False) -> list[ChangeLine]:
        """Changes in words, one line each; a thing that came or went with all its fields is one line.

        `apart`: of a list only what was added and what was taken out.
        """
        whole: dict[str, list[Any]] = {}
        found: list[ChangeLine | str] = []
        for change in changes:
            parts = change.path.strip("/").split("/")
            if change.path in ("/deal", "/organization") or parts[-1] in ("claims", "stated_on"):
                continue
            if len(parts) == 3 and parts[0] in _ITEM_KINDS:
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
        """Whether a change is of the field that names its thing: then the thing itself came or went."""
        named = {"parties": "organization", "relations": "relation"}.get(parts[0], parts[0].removesuffix("s"))
        return parts[2] == named and (change.before is None or change.after is None)

    def _thing(self, path: str, changes: list[Any], names: Names | None) -> ChangeLine:
        came = changes[0].before is None
        said = {c.path.rsplit("/", 1)[1]: c.after if came else c.before for c in changes}
        if path.startswith("/relations/"):
            text = self.called("relations", path.split("/")[2], names)
            before, after = (None, text) if came else (text, None)
            return ChangeLine(self.words.label("field", "relation"), path, before, after, _causes(changes[0]), came)
        parts = [] if "amount" not in said else [self.figures.money(said["amount"], said.get("amount_basis"))]
        for name, value in said.items():
            if (
                name in _OMITTED_WHEN_EQUAL
                or name in ("amount", "amount_basis")
                or (name == "status" and value in ("announced", "planned"))
            ):
                continue
            parts.append(self.value(value, name, names))
        text = " · ".join(parts) or self._(N_("recorded"))
        before, after = (None, text) if came else (text, None)
        return ChangeLine(self.field(path, names), path, before, after, _causes(changes[0]), came)

    def moment(self, value: date | datetime) -> str:
        """A day or an instant."""
        return self.figures.instant(value) if isinstance(value, datetime) else self.figures.day(value)

    # --- messages -----------------------------------------------------------------------------------------------------

    def translate_message(self, message: Message) -> str:
        """A message in the reader's language."""
        return render(message, self.words.language, self._parameter)

    def flag_text(self, flag: Flag, names: Names | None = None) -> str:
        """The explanation of a warning in the reader's language, with the names of the deals it mentions."""
        params = {name: self._varying(name, text, names) for name, text in flag.params.items()}
        return render(FlagText(flag.rule, **params), self.words.language)

    def _parameter(self, value: Any) -> str:
        """A message's parameter in the reader's language."""
        match value:
            case date():
                return self.moment(value)
            case int() | Decimal():
                return self.figures.number(value)
            case _:
                return str(value)

    def _of_deal(self, text: str, names: Names | None) -> str:
        """A deal or a pledge of it, as `DEAL/PLEDGE`, by the deal's name; a pledge of the page's own by itself."""
        deal, _, pledge = text.partition("/")
        own = (names or {}).get(f"deal/{deal}") == self._(N_("this deal"))
        return pledge if own and pledge else self._name(text, "deal", names or {})

    def _varying(self, name: str, text: str, names: Names | None) -> str:
        if name in _SAID_DEALS:
            return self._of_deal(text, names)
        if name in _SAID_TOKENS:
            kind = _SAID_TOKENS[name]
            return self.words.label(kind, text) if self.words.has_label(kind, text) else text
        if name == "field":
            return self.field(text)
        if name == "moment":
            return self._dated(text, datetime)
        if name == "until":
            return self.figures.edtf_date(text)
        if name in _SAID_DAYS:
            return self._dated(text, date)
        return self.figures.number(text) if name in _SAID_NUMBERS and _NUMBER.fullmatch(text) else text

    def _dated(self, text: str, kind: type[date]) -> str:
        try:
            return self.moment(kind.fromisoformat(text))
        except ValueError:
            return text

    def compared(self, figures: Mapping[str, str], names: Names | None = None) -> list[tuple[str, str]]:
        """What a flag compared: the name of each figure, or of the deal and pledge that it is of, and the figure."""
        return [
            (
                self.words.label("figure", name)
                if self.words.has_label("figure", name)
                else self._of_deal(name, names),
                self._figure(name, text),
            )
            for name, text in figures.items()
        ]

    def _figure(self, name: str, text: str) -> str:
        if name == "source":
            return text
        if name == "until":
            return self.figures.edtf_date(text)
        if _DAY.fullmatch(text):
            return self._dated(text, date)
        if name == "off by" and _NUMBER.fullmatch(text):
            return self.figures.percent(text)
        if _NUMBER.fullmatch(text):
            return self.figures.number(text)
        if found := _STATED.fullmatch(text):
            qualifier, currency, figure, high = found.groups()
            ends = {"low": figure, "high": high} if high else {"value": figure}
            return self.figures.money(Amount(currency=currency, qualifier=qualifier, **ends))  # type: ignore[arg-type]
        return text

    # --- events -------------------------------------------------------------------------------------------------------

    def summarize_event(self, event: Event | None, names: Names | None = None) -> str:
        """What an event says, in one line, without its type's name."""
        if event is None:
            return self._(N_("Its content was redacted."))
        if isinstance(event, ClaimReported):
            field = event.field.rsplit("/", 1)[1]
            return f"{self.field(event.field, names)}: {self._claimed(event.value, field, names)}"
        if isinstance(event, DealsRelated | DealsUnrelated):
            return self.related(event.relation, event.pledge, event.deal, event.other_pledge, names)
        amount = getattr(event, "amount", None)
        parts: list[str] = []
        if isinstance(amount, Amount):
            basis = getattr(event, "amount_basis", None)
            parts.append(self.figures.money(amount, None if basis is UNSET else basis))
            also = self.figures.other_currencies(amount)
            parts += [also] if also else []
        for name in event.__struct_fields__:
            value = getattr(event, name)
            if name in _NOT_DISPLAYED or value is UNSET or value is None or value == ():
                continue
            parts.append(self.value(value, name, names))
        if not parts:
            parts = [str(getattr(event, name)) for name in _KEYS if getattr(event, name, None)]
        return " · ".join(dict.fromkeys(p for p in parts if p))

    def _claimed(self, value: Any, field: str, names: Names | None) -> str:
        return self.value(value, field, names)

    def type_of(self, event: Event | str) -> str:
        """An event type's plain name."""
        return self.words.label("event", event if isinstance(event, str) else tag_of(event))

    # --- a deal -------------------------------------------------------------------------------------------------------

    def deal_summary(self, deal: Deal, names: Names) -> str:
        """What is so of a deal, in one sentence made from its state."""
        return " ".join(part for part in (self._pledged(deal, names), self._staged(deal), self._placed(deal)) if part)

    def _pledged(self, deal: Deal, names: Names) -> str:
        standing = [p for p in deal.pledges if p.status != "withdrawn"]
        inside = {r.pledge for r in deal.relations if r.relation == "part_of" and r.deal == deal.deal}
        main = next((p for p in standing if p.pledge not in inside), None)
        if main is None:
            who = [names.get(p.organization, p.organization) for p in deal.parties if p.left_on is None][:3]
            if not who:
                return self._(N_("Amount not disclosed."))
            return self._(N_("%(who)s: amount not disclosed.")) % {"who": self.listed(who)}
        return self._one_pledge(main, names, others=len(standing) - 1)

    def _one_pledge(self, pledge: PledgeState, names: Names, others: int) -> str:
        who = self.listed([names.get(slug, slug) for slug in pledge.by]) or self._(N_("An unnamed investor"))
        amount = self.figures.money(pledge.amount) if pledge.amount else ""
        if not amount:
            return self._(N_("%(who)s: amount not disclosed.")) % {"who": who}
        if pledge.amount_basis == "additional":
            amount = self._(N_("%(amount)s more")) % {"amount": amount}
        elif pledge.amount_basis == "annual":
            amount = self._(N_("%(amount)s a year")) % {"amount": amount}
        joint = len(pledge.by) > 1
        verb = (
            N_("%(who)s intends to invest %(amount)s%(time)s.")
            if pledge.commitment == "intention" and not joint
            else N_("%(who)s intend to invest %(amount)s%(time)s.")
            if pledge.commitment == "intention"
            else N_("%(who)s jointly pledge %(amount)s%(time)s; the split is not disclosed.")
            if joint
            else N_("%(who)s pledges %(amount)s%(time)s.")
        )
        time = self.figures.horizon(pledge.horizon)
        text = self._(verb) % {"who": who, "amount": amount, "time": f" {time}" if time else ""}
        if others:
            more = self.words.ngettext(
                "One more pledge stands beside it.", "%(n)s more pledges stand beside it.", others
            )
            text += " " + more % {"n": others}
        return text

    def _staged(self, deal: Deal) -> str:
        if deal.stage is None:
            return self._(N_("Stage not reported."))
        said = {
            "stage": self.words.label("stage", deal.stage.value),
            "basis": self.words.label("basis_of_stage", deal.stage.basis),
            "date": self.figures.day(deal.stage.since),
        }
        return self._(N_("Stage: %(stage)s since %(date)s (%(basis)s).")) % said

    def _placed(self, deal: Deal) -> str:
        sites = [s for s in deal.sites if s.status != "dropped"]
        named = [self.words.localized(s.name) or self.figures.place(s.place) for s in sites if s.precision != "country"]
        if not named:
            return self._(N_("Sites not disclosed."))
        return self._(N_("Sites: %(sites)s.")) % {"sites": self.listed(named)}

    def listed(self, items: Sequence[str]) -> str:
        """A list in a sentence: at most three by name, the rest counted."""
        if len(items) > 3:
            rest = self._(N_("%(n)s more")) % {"n": len(items) - 2}
            return self.listed([*items[:2], rest])
        return self.figures.listed(items)


def organizations_in(events: Iterable[Event | None]) -> set[str]:
    """The organizations that events speak of by their slugs alone."""
    found: set[str] = set()
    for event in events:
        for name in _ORGANIZATIONS & set(event.__struct_fields__) if event is not None else ():
            value = getattr(event, name)
            found.update((value,) if isinstance(value, str) else value or () if value is not UNSET else ())
    return found


def deals_in(events: Iterable[Event | None]) -> set[str]:
    """The deals that events speak of by their slugs alone."""
    found: set[str] = set()
    for event in events:
        for name in ("deal", "additional_to", "into"):
            value = getattr(event, name, None)
            if isinstance(value, str):
                found.add(value.partition("/")[0])
    return found


Marked = tuple[tuple[bool, str], ...]
"""A text in pieces, each with whether the other text lacks it."""

_WORDS = re.compile(r"\s+|\S+")
# So many pairs of words are laid side by side; longer texts are marked as a whole.
_PAIRS = 250_000


@lru_cache(1_000)
def word_diff(before: str | None, after: str | None) -> tuple[Marked, Marked]:
    """Two texts with the words that differ marked; texts with no word in common as a whole, one that is not as none."""
    old, new = _WORDS.findall(before or ""), _WORDS.findall(after or "")
    sides: tuple[list[tuple[bool, str]], list[tuple[bool, str]]] = ([], [])
    if 0 < len(old) * len(new) <= _PAIRS:
        for how, i, j, k, m in SequenceMatcher(str.isspace, old, new, autojunk=False).get_opcodes():
            # Two words that differ with a gap between them are one piece that differs.
            differs = how != "equal" or (all(map(str.isspace, old[i:j])) and 0 < i < j < len(old))
            for side, text in zip(sides, ("".join(old[i:j]), "".join(new[k:m])), strict=True):
                if text and side and side[-1][0] == differs:
                    side[-1] = (differs, side[-1][1] + text)
                elif text:
                    side.append((differs, text))
    if all(differs or text.isspace() for side in sides for differs, text in side):
        return (((True, before),) if before else ()), (((True, after),) if after else ())
    return tuple(sides[0]), tuple(sides[1])


@cache
def shown(language: str) -> ValueFormatter:
    """A language's way to show values."""
    return ValueFormatter(language)


def helpers(language: str) -> dict[str, Callable[..., Any]]:
    """What templates call by name."""
    here = shown(language)
    return {
        "value": here.value,
        "field": here.field,
        "change": here.change,
        "lines": here.lines,
        "happened": here.summarize_event,
        "type_of": here.type_of,
        "money": here.figures.money,
        "also": here.figures.other_currencies,
        "day": here.figures.day,
        "instant": here.figures.instant,
        "moment": here.moment,
        "in_words": here.translate_message,
        "flag_text": here.flag_text,
        "marked": word_diff,
        "compared": here.compared,
        "loosely": here.figures.edtf_date,
        "horizon": here.figures.horizon,
        "place": here.figures.place,
        "number": here.figures.number,
    }


def names_in(deal: Deal, language: str) -> dict[str, str]:
    """The organizations of a deal by the names they were announced with, in the reader's language."""
    spoken = words(language)
    return {p.organization: spoken.localized(p.name) for p in deal.parties if spoken.localized(p.name)}
