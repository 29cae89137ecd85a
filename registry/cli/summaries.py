"""What the tables of the command show, in its language, with the labels and formats of the pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from registry.cli.texts import Text, language, rendered
from registry.domain.audit.labels import claim_changes
from registry.domain.deal import Deal, Disbursement, PartnershipState
from registry.domain.fold.claims import ClaimState
from registry.domain.fold.items import item_types
from registry.domain.stages import StageState
from registry.events.values import Amount, Classifications, Horizon, Localized, StatedAmount, text_in
from registry.formatting.language import DOT
from registry.formatting.messages import messages
from registry.formatting.values import MEASURES, Names, ValueFormatter, names_in, shown
from registry.schemas.values import response_hook

# The changes of an event that a line of its history shows.
_MAX_CHANGES = 4

# How the JSON of a value tells its type: by its fields.
_STRUCTS: dict[frozenset[str], Any] = {
    frozenset(type.__struct_encode_fields__): type
    for type in (Amount, StatedAmount, Horizon, StageState, PartnershipState, Disbursement)
}


def formatter() -> ValueFormatter:
    """The formatter of the pages in the command's language."""
    return shown(language.get())


def label(kind: str, token: Any) -> str | None:
    """The plain name of a token, None for none."""
    return None if token is None else formatter().words.label(kind, token)


def localized(names: dict[str, str | None] | None) -> str | None:
    """A text in the command's language, else in another one."""
    return text_in(names, language.get())


def amount(stated: dict[str, Any] | None, basis: str | None = None) -> str:
    """An amount as stated."""
    return formatter().figures.money(None if stated is None else _typed(stated), basis)


def stage(stated: dict[str, Any] | None) -> str | None:
    """A stage with what it rests on and its first day. An observed one has the day of the observation instead."""
    if stated is None:
        return None
    words = formatter()
    day = stated["since"] or stated["observed_on"]
    return ", ".join(
        part for part in (words.value(_typed(stated)), _day(day), label("certainty", stated["certainty"])) if part
    )


def _day(text: str | None) -> str | None:
    return formatter().figures.edtf_date(text) if text else None


def names_of(state: dict[str, Any], titles: Names) -> dict[str, str]:
    """The names of what a deal refers to: its organizations, sites, amounts and related deals."""
    words, deal = formatter(), _converted(state, Deal)
    names = names_in(deal, language.get()) | dict(titles)
    names |= {f"sites/{site.site}": words.words.localized(site.name) or site.site for site in deal.sites}
    for one in deal.relations:
        names |= _pledges_of(f":{one.pledge or ''}:{one.deal}:{one.other_pledge or ''}", deal.deal)
    return names | _own(deal.deal)


def _own(deal: str) -> dict[str, str]:
    """What the deal itself is called."""
    return {f"deal/{deal}": formatter().words.gettext("this deal")}


def related_deals(found: Iterable[Any], own: str) -> set[str]:
    """The other deals that values name: by relations, and by amounts that are added to theirs.

    Args:
        found: Structs or lists of JSON: a deal's relations and pledges, or changes of fields.
        own: The deal itself.
    """
    related: set[str] = set()
    for one in found:
        path = str(one.get("field") or "").split("/")
        if path[1:2] == ["relations"]:
            related.add(path[2].split(":")[2])
        elif path[-1] == "additional_to":
            related |= {str(one[side]).partition("/")[0] for side in ("before", "after", "value") if one.get(side)}
        elif "relation" in one:
            related.add(one["deal"])
        elif one.get("additional_to"):
            related.add(one["additional_to"].partition("/")[0])
    return related - {own}


def items(state: dict[str, Any], titles: Names) -> Iterator[tuple[str, str]]:
    """The items of a deal's lists: each by its name and id, with what it states."""
    words, deal = formatter(), _converted(state, Deal)
    names = names_of(state, titles)
    for name, type in item_types(Deal).items():
        for item in getattr(deal, name):
            id = ":".join(str(getattr(item, field) or "") for field in type.id_fields)
            if name == "relations":
                yield words.words.label("field", "relation"), words.called(name, id, names)
            elif name == "identifiers":
                yield words.words.label("field", name), f"{item.scheme}: {item.value}"
            elif name == "parties":
                called, stated = words.called(name, id, names), words.item(name, asdict(item) | {"name": None}, names)
                yield words.words.label("field", name), DOT.join(filter(None, (called, stated)))
            else:
                # Of the two days of a milestone that was reached, only one is a fact.
                past = {"planned": None} if getattr(item, "reached", None) else {}
                yield words.field(f"/{name}/{id}"), words.item(name, asdict(item) | past, names) or "–"


def _pledge(id: str) -> str:
    """What a pledge is called, which has no name but its id here."""
    return f"{label('field', 'pledges')} {id}"


def _pledges_of(relation: str, own_deal: str) -> dict[str, str]:
    """The pledges that a relation names."""
    _, pledge, deal, other = [*relation.split(":"), "", "", ""][:4]
    own = {f"pledges/{pledge}": _pledge(pledge)} if pledge else {}
    return own | ({f"deal/{deal}/{other}": _pledge(other) if deal == own_deal else other} if other else {})


def fields(state: dict[str, Any], names: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    """Some fields of a deal that have a value."""
    organizations = names_in(_converted(state, Deal), language.get())
    return ((label("field", name), value(name, state[name], organizations)) for name in names if state[name])


def warning(flag: dict[str, Any], names: Names) -> str:
    """A warning of a deal: the service's explanation, which is in English; else its name with its figures."""
    if language.get() == "en":
        return str(flag["detail"])
    figures = messages(language.get()).figures(flag["figures"], names)
    return DOT.join([str(label("flag", flag["rule"])), *(f"{name}: {text}" for name, text in figures)])


def source(sources: list[dict[str, Any]]) -> str | None:
    """The publishers of the sources."""
    named = [s.get("publisher") or s.get("url") or s.get("title") or s.get("locator") or "" for s in sources]
    return ", ".join(dict.fromkeys(named)) or None


def changed(event: dict[str, Any], names: Names) -> str | None:
    """What an event of a history changed; where it changes nothing, why."""
    lines = [f"{field}: {before} → {after}" for _, field, before, after in changes(event["changes"], names)]
    if lines:
        return "; ".join(lines[:_MAX_CHANGES]) + (" …" if len(lines) > _MAX_CHANGES else "")
    if event["voided_by"] is not None:
        return rendered(Text("history_voided"))
    if event["unapplied"] is not None:
        return rendered(Text("history_unapplied", why=event["unapplied"]["detail"]))
    return None if event["visible"] else rendered(Text("history_later"))


def names_in_changes(found: Iterable[dict[str, Any]], deal: str) -> dict[str, str]:
    """The names of the organizations that joined a deal, and of related pledges, from its changes or its fields."""
    named = _own(deal)
    for one in found:
        path = one["field"].split("/")
        if path[1] == "relations":
            named |= _pledges_of(path[2], deal)
        text = localized(one.get("after") or one.get("value")) if path[1] == "parties" and path[-1] == "name" else None
        if text:
            named[path[2].partition(":")[0]] = text
    return named


def changes(found: Iterable[dict[str, Any]], names: Names | None = None) -> Iterator[tuple[str, str, str, str]]:
    """Changes as text: each with its label if it is part of a comparison, its field, and the values before and after.

    A list of claims gives a change for each claim that was added or retracted.
    """
    words = formatter()
    given = [
        SimpleNamespace(
            path=one.get("field") or "",
            before=_typed(one["before"]),
            after=_typed(one["after"]),
            causes=(one.get("label") or one.get("kind") or "",),
        )
        for one in found
    ]
    for line in words.lines(given, names):
        yield line.causes[0], line.label, line.before or "–", line.after or "–"
    for one in given:
        if not one.path.endswith("/claims"):
            continue
        for name, claim in claim_changes(one.before, one.after):
            value = words.change(claim.field, claim.value, names)
            before, after = (value, "–") if name == "retracted" else ("–", value)
            yield name, words.field(claim.field, names), before, after


def value(path: str | None, found: Any, names: Names | None = None) -> str | None:
    """A value of a field of a state."""
    return None if found is None else formatter().change(f"/{path}", _typed(found), names)


def _typed(found: Any) -> Any:
    """A value of JSON as the struct that it is."""
    if isinstance(found, list):
        return tuple(_typed(item) for item in found)
    if not isinstance(found, dict):
        return found
    if found.keys() >= {"claim", "field", "value"}:
        return replace(_converted(found, ClaimState), value=_typed(found["value"]))
    if (struct := _STRUCTS.get(frozenset(found))) is not None:
        return _converted(found, struct)
    if all(isinstance(item, list) for item in found.values()):
        return Classifications(found)
    return Localized(found) if all(isinstance(item, str | None) for item in found.values()) else found


def _converted(found: Any, type: Any) -> Any:
    return msgspec.convert(found, type, dec_hook=response_hook)


def field(path: str | None) -> str | None:
    """The name of a field of a deal."""
    return None if path is None else formatter().field(path)


def place(code: str) -> str:
    """The name of a place."""
    return formatter().figures.place(code)


def nature(column: dict[str, Any], measure: str | None) -> str | None:
    """What a sum is of: commitments or intentions, once or a year; of another measure, whether it is planned."""
    if measure not in (None, "amount"):
        return formatter().words.with_note(
            label("metric", measure) or "", label("metric_basis", column["nature"]) or ""
        )
    annual = label("basis", "annual") if column["basis"] == "annual" else None
    return ", ".join(filter(None, (label("nature", column["nature"]), annual)))


def bound(column: dict[str, Any], end: str, measure: str | None) -> str:
    """A bound of a sum, in full."""
    figures = formatter().figures
    if column["currency"]:
        text = figures.currency_amount(column[end], column["currency"])
    else:
        unit = MEASURES.get(measure or "")
        if unit:
            text = figures.measure(column[end], None, unit)
        else:
            text = figures.quantity(measure, column[end], column["unit"])
    if not column[f"{end}_open"]:
        return text
    return rendered(Text("bound_high_open", bound=text) if end == "high" else Text("bound_low_open", bound=text))


def group(dimension: str, key: Any) -> str | None:
    """The name of a group of totals."""
    words = formatter()
    parts = key if isinstance(key, list) else [key]
    names = []
    for name, part in zip(dimension.split(","), parts, strict=False):
        if name in ("region", "country"):
            names.append(words.figures.place(part))
        elif part is not None and words.words.has_label(name, part):
            names.append(words.words.label(name, part))
        else:
            names.append(words.words.gettext("Not disclosed") if part is None else str(part))
    return ", ".join(names)
