"""Forms for announcements, made from the event types themselves: their fields out, and what was typed back in.

A field goes by its JSON pointer in the announcement without the first slash (`event/pledge`), so that a fault that the
strict intake finds leads to its field. Amounts are typed as the press writes them. Nothing here records anything.
"""

from __future__ import annotations

import re
import types as python_types
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Struct, UnsetType

from registry.domain import money
from registry.domain.claims import CLAIMABLE
from registry.domain.deal import Deal, Item
from registry.errors import FieldError
from registry.events.types import EVENT_TYPES, Amount, ClaimReported, Event, Horizon, Localized, Party, Role, Source
from registry.web.format import shown
from registry.web.i18n import N_
from registry.web.numbers import figures

ROWS = 3
"""Empty rows that a list of parties begins with."""

GROUPS: dict[str, tuple[str, ...]] = {
    N_("Amounts"): (
        *("pledge_announced", "pledge_revised", "pledge_confirmed", "pledge_withdrawn", "disbursement_reported"),
    ),
    N_("Sites and milestones"): (
        *("site_announced", "site_revised", "site_dropped", "milestone_scheduled", "milestone_rescheduled"),
        *("milestone_reached", "milestone_cancelled"),
    ),
    N_("Deal and parties"): (
        *("stage_changed", "parties_joined", "party_left", "partnership_formed", "condition_set", "condition_lifted"),
        "deal_revised",
    ),
    N_("Conflicting sources"): ("claim_reported", "claim_preferred", "claim_retracted"),
    N_("Relations"): ("deals_related", "deals_unrelated"),
    N_("Record keeping"): ("deal_merged", "deal_unmerged"),
}
"""The event types of a deal by what they are about."""

ORGANIZATION_GROUPS: dict[str, tuple[str, ...]] = {
    N_("Names and parents"): ("organization_named", "organization_identified", "parent_set", "parent_ended"),
    N_("Record keeping"): ("organization_merged", "organization_unmerged"),
}

# Which of a deal's things a field names, where the event does not bring a new one.
_THINGS = {"pledge": "pledges", "site": "sites", "milestone": "milestones", "condition": "conditions"}
_BRINGS = {
    "pledge_announced": "pledge",
    "site_announced": "site",
    "milestone_scheduled": "milestone",
    "condition_set": "condition",
}
_CATALOGUE = {
    "kind": ("kind", "milestone", "name_kind"),
    "stage": ("stage",),
    "role": ("role",),
    "instrument": ("instrument",),
    "commitment": ("commitment",),
    "amount_basis": ("amount_basis",),
    "relation": ("relation",),
    "precision": ("precision",),
    "power_qualifier": ("qualifier",),
    "gpus_qualifier": ("qualifier",),
    "control": ("control",),
    "scheme": ("scheme",),
}
_HINTS = {
    "amount": N_("As written in the source: 약 2조4천억 원, $5bn, more than US$5 billion, 연간 1천억 원"),
    "planned": N_("With the precision of the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "reached": N_("With the precision of the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "from": N_("With the precision of the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "until": N_("With the precision of the source: 2031, 2027-11, 2025-07/2025-09, 2029~"),
    "by": N_("Organization ids, separated by commas"),
    "members": N_("Organization ids, separated by commas"),
    "sectors": N_("Sector ids in lower-case letters and hyphens, separated by commas"),
    "place": N_("Country or subdivision (ISO 3166): KR, KR-31"),
    "country": N_("Country (ISO 3166): KR"),
    "additional_to": N_("DEAL or DEAL/PLEDGE; leave empty if not disclosed"),
    "pledge": N_("An id in lower-case letters, digits and hyphens"),
    "site": N_("An id in lower-case letters, digits and hyphens"),
    "milestone": N_("An id in lower-case letters, digits and hyphens"),
    "condition": N_("An id in lower-case letters, digits and hyphens"),
    "claim": N_("An id in lower-case letters, digits and hyphens"),
    "power_mw": N_("Megawatts, as announced"),
    "value": N_("The other source’s value, in the format of the field"),
}


class Field(Struct, frozen=True):
    """One field of a form. `options` make it a choice; `suggestions` are offered; `unsay` names its "no longer" box."""

    name: str
    label: str
    value: str
    kind: str = "text"
    required: bool = False
    hint: str = ""
    options: tuple[tuple[str, str], ...] | None = None
    suggestions: tuple[str, ...] = ()
    clear: str | None = None
    is_cleared: bool = False
    lang: str | None = None
    now: str = ""


class FormContext(Struct, frozen=True):
    """What a form offers to choose from: the deal as it is, organizations, and other deals."""

    deal: Deal | None
    organizations: tuple[str, ...] = ()
    deals: tuple[str, ...] = ()


class Section(Struct, frozen=True):
    """Some fields under a heading."""

    title: str
    fields: list[Field]


def unwrap_type(hint: Any) -> tuple[Any, bool, bool]:
    """A field's type without what may be left out: the type, whether null unsays it, whether it may be unset."""
    if get_origin(hint) is Annotated:
        return unwrap_type(get_args(hint)[0])
    if get_origin(hint) in (Union, python_types.UnionType):
        args = [a for a in get_args(hint) if a not in (type(None), UnsetType)]
        nullable, unset = type(None) in get_args(hint), UnsetType in get_args(hint)
        if len(args) == 1:
            return unwrap_type(args[0])[0], nullable, unset
        return Union[tuple(args)], nullable, unset  # noqa: UP007 - built from values
    return hint, False, False


def event_fields(kind: type[Event]) -> list[tuple[str, str, Any, bool, bool]]:
    """An event type's fields: name, name in JSON, type, whether it must be given, whether it can be unsaid."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for f in msgspec.structs.fields(kind):
        core, nullable, unset = unwrap_type(hints[f.name])
        found.append((f.name, f.encode_name, core, f.required, nullable and unset))
    return found


# --- out --------------------------------------------------------------------------------------------------------------


def sections(
    kind: type[Event], typed: Mapping[str, str], known: FormContext, language: str, *, correcting: bool = False
) -> list[Section]:
    """The form of an event type, holding what was typed."""
    here = shown(language)
    fields: list[Field] = []
    tag = str(kind.__struct_config__.tag)
    for name, encoded, core, required, unsayable in event_fields(kind):
        if name == "about":
            continue
        at = f"event/{encoded}"
        label = here.words.label("field", name.rstrip("_"))
        hint = here.words.gettext(_HINTS[encoded]) if encoded in _HINTS else ""
        unsay = f"unsay:{at}" if unsayable and not correcting else None
        common: dict[str, Any] = {"clear": unsay, "is_cleared": bool(unsay and typed.get(unsay))}
        if core is Localized:
            for lang in ("ko", "en"):
                spoken = here.words.gettext(N_("in Korean")) if lang == "ko" else here.words.gettext(N_("in English"))
                fields.append(
                    Field(f"{at}/{lang}", f"{label} ({spoken})", typed.get(f"{at}/{lang}", ""), lang=lang, **common)
                )
                common = {}
        elif core is Horizon:
            for end, text in (("from", N_("Not before")), ("until", N_("Until"))):
                fields.append(
                    Field(
                        f"{at}/{end}",
                        here.words.gettext(text),
                        typed.get(f"{at}/{end}", ""),
                        hint=here.words.gettext(_HINTS[end]),
                        **common,
                    )
                )
                common = {}
        elif get_origin(core) is tuple and get_args(core)[0] is Party:
            fields += _party_rows(at, typed, known, language)
        else:
            options = _options(tag, name, core, known, language)
            fields.append(
                Field(
                    at,
                    label,
                    typed.get(at, ""),
                    kind=_kind(name, core),
                    required=required,
                    hint="" if options else hint,
                    options=options,
                    suggestions=_suggestions(tag, name, known),
                    **common,
                )
            )
    found = [Section(here.words.gettext(N_("Content")), fields)] if fields else []
    found.append(Section(here.words.gettext(N_("Date and source")), _frame(typed, language)))
    return found


def _kind(name: str, core: Any) -> str:
    if core is Amount:
        return "amount"
    if core is date:
        return "date"
    return "textarea" if name in ("reason", "note") else "text"


def _options(tag: str, name: str, core: Any, known: FormContext, language: str) -> tuple[tuple[str, str], ...] | None:
    here = shown(language)
    if get_origin(core) is Literal:
        tokens = get_args(core)
        if len(tokens) > 40:
            return None
        catalogue = next((c for c in _CATALOGUE.get(name, ()) if all(here.words.has_label(c, t) for t in tokens)), "")
        return tuple((t, here.words.label(catalogue, t)) for t in tokens)
    if known.deal is None:
        return None
    if name in _THINGS and _BRINGS.get(tag) != name:
        items = getattr(known.deal, _THINGS[name])
        keys = [getattr(i, name) for i in items]
        return tuple((k, _called(i, k, here)) for i, k in zip(items, keys, strict=True))
    if name == "field":
        return tuple((path, here.field(path)) for path in claimable(known.deal))
    if name == "claim" and tag != "claim_reported":
        return tuple((c, c) for c in _claims(known.deal))
    return None


def _called(item: Any, key: str, here: Any) -> str:
    amount = getattr(item, "amount", None)
    name = here.words.localized(getattr(item, "name", None)) or here.words.localized(getattr(item, "text", None))
    text = here.figures.money(amount) if amount else name
    return f"{key} · {text}" if text else key


def claimable(deal: Deal) -> list[str]:
    """The fields of a deal that another source may say otherwise about."""
    found: list[str] = []
    for thing, field in CLAIMABLE:
        found += [f"/{thing}/{getattr(item, thing.removesuffix('s'))}/{field}" for item in getattr(deal, thing)]
    return found


def _claims(deal: Deal) -> list[str]:
    items: tuple[Item, ...] = (*deal.pledges, *deal.sites, *deal.milestones)
    return [c.claim for i in items for c in i.claims if c.claim]


def _suggestions(tag: str, name: str, known: FormContext) -> tuple[str, ...]:
    if name in ("organization", "authority", "parent") or (name == "into" and tag.startswith("organization")):
        return known.organizations
    if name in ("deal", "into"):
        return known.deals
    return ()


def _rows(at: str, typed: Mapping[str, str]) -> list[int]:
    """The rows of a list in which something was typed; a form has no more than a hundred."""
    tails = (
        name.removeprefix(f"{at}/").partition("/")[0]
        for name, text in typed.items()
        if text.strip() and name.startswith(f"{at}/")
    )
    return sorted({int(row) for row in tails if re.fullmatch(r"[0-9]{1,2}", row)})


def _party_rows(at: str, typed: Mapping[str, str], known: FormContext, language: str) -> list[Field]:
    here = shown(language)
    filled = _rows(at, typed)
    rows = max(ROWS, max(filled, default=-1) + 2)
    roles = tuple((role, here.words.label("role", role)) for role in get_args(Role))
    fields: list[Field] = []
    for i in range(rows):
        row = f"{at}/{i}"
        fields += [
            Field(
                f"{row}/organization",
                here.words.label("field", "organization"),
                typed.get(f"{row}/organization", ""),
                required=i == 0,
                suggestions=known.organizations,
            ),
            Field(f"{row}/role", here.words.label("field", "role"), typed.get(f"{row}/role", ""), options=roles),
            Field(
                f"{row}/name/ko", here.words.gettext(N_("Name in Korean")), typed.get(f"{row}/name/ko", ""), lang="ko"
            ),
            Field(
                f"{row}/name/en", here.words.gettext(N_("Name in English")), typed.get(f"{row}/name/en", ""), lang="en"
            ),
        ]
    return fields


def _frame(typed: Mapping[str, str], language: str) -> list[Field]:
    here = shown(language)
    say = here.words.gettext
    rows = 1 + max(_rows("sources", typed), default=0)
    fields = [Field("effective_on", say(N_("Effective date")), typed.get("effective_on", ""), kind="date")]
    for i in range(rows):
        at = f"sources/{i}"
        fields += [
            Field(f"{at}/publisher", say(N_("Publisher")), typed.get(f"{at}/publisher", "")),
            Field(f"{at}/url", say(N_("Source URL")), typed.get(f"{at}/url", ""), kind="url"),
            Field(f"{at}/title", say(N_("Source title")), typed.get(f"{at}/title", "")),
            Field(
                f"{at}/language",
                say(N_("Source language")),
                typed.get(f"{at}/language", ""),
                suggestions=("ko", "en"),
            ),
            Field(f"{at}/published_on", say(N_("Published on")), typed.get(f"{at}/published_on", ""), kind="date"),
        ]
    fields.append(Field("note", say(N_("Note (optional)")), typed.get("note", ""), kind="textarea"))
    return fields


def reason_section(typed: Mapping[str, str], language: str, *, redacting: bool) -> Section:
    """The reason for correcting, voiding or redacting another event."""
    say = shown(language).words.gettext
    warning = N_("The reason stays in the log permanently. Do not include content that must be removed.")
    field = Field(
        "reason",
        say(N_("Reason (kept in the history)")),
        typed.get("reason", ""),
        kind="textarea",
        required=True,
        hint=say(warning) if redacting else "",
    )
    return Section(say(N_("Record keeping")), [field])


def form_values(event: Event, effective_on: date | None, sources: Iterable[Source]) -> dict[str, str]:
    """An event as it would have been typed: what a correction starts from."""
    typed: dict[str, str] = {"effective_on": str(effective_on or "")}
    for name, encoded, core, _, _ in event_fields(type(event)):
        value = getattr(event, name)
        if value is None or value is UNSET:
            continue
        at = f"event/{encoded}"
        if isinstance(value, Amount):
            typed[at] = as_typed(value)
        elif isinstance(value, (Localized, Horizon)):
            typed.update({f"{at}/{k}": str(v) for k, v in msgspec.to_builtins(value).items()})
        elif get_origin(core) is tuple and get_args(core)[0] is Party:
            for i, party in enumerate(value):
                typed.update(flatten(f"{at}/{i}", msgspec.to_builtins(party)))
        elif isinstance(value, tuple):
            typed[at] = ", ".join(map(str, value))
        else:
            typed[at] = str(value)
    for i, source in enumerate(sources):
        typed.update(flatten(f"sources/{i}", msgspec.to_builtins(source)))
    return typed


def as_typed(amount: Amount) -> str:
    """An amount as the press would write it in English, so that it can be read back."""
    english = figures("en")
    return english.money(amount) + (f" ({english.other_currencies(amount)})" if amount.stated_as else "")


def flatten(at: str, value: Mapping[str, Any]) -> dict[str, str]:
    """A nested value by its pointers."""
    found: dict[str, str] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found.update(flatten(f"{at}/{key}", inner))
        else:
            found[f"{at}/{key}"] = str(inner)
    return found


# --- in ---------------------------------------------------------------------------------------------------------------


class ParsedForm(Struct):
    """What a form's text comes to: an announcement as JSON would have it, the readings of amounts, and the faults."""

    announcement: dict[str, Any]
    readings: dict[str, Amount]
    faults: list[FieldError]


def read(  # noqa: C901 - one case a type of field
    kind: type[Event], typed: Mapping[str, str], original: Event | None = None
) -> ParsedForm:
    """The announcement that a form holds. `original` is the event a correction started from: text that was not touched
    stays what it was, to the letter."""
    tag = str(kind.__struct_config__.tag)
    event: dict[str, Any] = {"type": tag}
    found = ParsedForm({}, {}, [])
    before = form_values(original, None, ()) if original is not None else {}
    basis: str | None = None
    for name, encoded, core, _, _ in event_fields(kind):
        at = f"event/{encoded}"
        if typed.get(f"unsay:{at}"):
            event[encoded] = None
        elif core is Amount:
            basis = _read_amount(at, encoded, typed, event, found, before, original) or basis
        elif core in (Localized, Horizon):
            inner = {
                k: typed[f"{at}/{k}"].strip()
                for k in ("ko", "en", "from", "until")
                if typed.get(f"{at}/{k}", "").strip()
            }
            if inner:
                event[encoded] = inner
        elif get_origin(core) is tuple and get_args(core)[0] is Party:
            event[encoded] = _read_parties(at, typed)
        elif name == "about" and original is not None and getattr(original, "about", None):
            event[encoded] = str(original.about)  # type: ignore[attr-defined]
        elif text := typed.get(at, "").strip():
            event[encoded] = _plain(core, text)
    if tag == "claim_reported" and "value" in event:
        _read_claimed(event, found, original if before.get("event/value") == event["value"] else None)
    if basis and not event.get("amount_basis") and any(n == "amount_basis" for n, *_ in event_fields(kind)):
        event["amount_basis"] = basis
    found.announcement = {"event": event, **_read_frame(typed)}
    return found


def _read_amount(
    at: str,
    encoded: str,
    typed: Mapping[str, str],
    event: dict[str, Any],
    found: ParsedForm,
    before: Mapping[str, str],
    original: Event | None,
) -> str | None:
    text = typed.get(at, "").strip()
    if not text:
        return None
    if original is not None and before.get(at) == text:
        amount: Amount = getattr(original, encoded)
        event[encoded], found.readings[at] = msgspec.to_builtins(amount), amount
        return None
    try:
        parsed = money.parse(text)
    except money.AmountParseError as error:
        found.faults.append(FieldError(f"/{at}", "amount", problem=error.message))
        return None
    event[encoded], found.readings[at] = msgspec.to_builtins(parsed.amount), parsed.amount
    return parsed.basis


def _read_claimed(event: dict[str, Any], found: ParsedForm, untouched: Event | None) -> None:
    """The claimed value in the type of the field that it is claimed of."""
    if isinstance(untouched, ClaimReported):
        event["value"] = msgspec.to_builtins(untouched.value)
        return
    _, thing, _, field = [*str(event.get("field", "")).split("/"), "", "", "", ""][:4]
    shape = CLAIMABLE.get((thing, field))
    text = str(event["value"])
    if shape is Amount:
        try:
            event["value"] = msgspec.to_builtins(money.parse(text).amount)
        except money.AmountParseError as error:
            found.faults.append(FieldError("/event/value", "amount", problem=error.message))
    elif shape is int and text.replace(",", "").isdigit():
        event["value"] = int(text.replace(",", ""))


def _read_parties(at: str, typed: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = _rows(at, typed)
    parties = []
    for i in rows:
        row = f"{at}/{i}"
        party: dict[str, Any] = {
            k: typed[f"{row}/{k}"].strip() for k in ("organization", "role") if typed.get(f"{row}/{k}", "").strip()
        }
        name = {k: typed[f"{row}/name/{k}"].strip() for k in ("ko", "en") if typed.get(f"{row}/name/{k}", "").strip()}
        parties.append({**party, **({"name": name} if name else {})})
    return parties


def _plain(core: Any, text: str) -> Any:
    if core is int:
        digits = text.replace(",", "")
        return int(digits) if digits.isdigit() and len(digits) < 19 else text
    if get_origin(core) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _read_frame(typed: Mapping[str, str]) -> dict[str, Any]:
    frame: dict[str, Any] = {}
    if typed.get("effective_on", "").strip():
        frame["effective_on"] = typed["effective_on"].strip()
    rows = _rows("sources", typed)
    sources = [
        {n.split("/")[2]: text.strip() for n, text in typed.items() if n.startswith(f"sources/{i}/") and text.strip()}
        for i in rows
    ]
    if sources:
        frame["sources"] = sources
    if typed.get("note", "").strip():
        frame["note"] = typed["note"].strip()
    return frame


def field_error(field: Field, faults: Sequence[FieldError]) -> FieldError | None:
    """What is wrong with a field: the fault whose pointer is its own, or lies inside or right around it."""
    for fault in faults:
        pointer = fault.pointer.lstrip("/").removeprefix("replacement/").removeprefix("event/replacement/")
        if pointer == field.name or pointer.startswith(f"{field.name}/"):
            return fault
    return None


def known_type(tag: str | None) -> type[Event] | None:
    """The event type of a tag that people may record by a form; None for others."""
    chosen = {t for group in (*GROUPS.values(), *ORGANIZATION_GROUPS.values()) for t in group}
    chosen |= {"deal_registered", "organization_registered"}
    return EVENT_TYPES[tag] if tag in chosen else None
