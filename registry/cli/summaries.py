"""The parts of a deal's state in a line of a table each: amounts, parties, pledges, sites, milestones, changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from registry.cli.texts import language
from registry.domain.deal import Deal
from registry.domain.items import item_types
from registry.events.values import AMOUNT_NOTES, text_in

LISTS_WITH_OWN_ROWS = ("parties", "pledges", "sites", "milestones", "relations")
"""The lists of a deal that `show` prints in words of their own. It prints the fields of all others by name."""


def localized(names: dict[str, str | None] | None) -> str | None:
    """A text in the command's language, else in another one."""
    return text_in(names, language.get())


def thousands(figure: str) -> str:
    """A decimal with thousands separators."""
    whole, point, rest = figure.partition(".")
    return f"{int(whole):,}{point}{rest}"


def amount(stated: dict[str, Any] | None) -> str:
    """An amount as stated."""
    if stated is None:
        return "not disclosed"
    ends = [stated["value"]] if stated.get("value") else [e for e in (stated.get("low"), stated.get("high")) if e]
    figure = "–".join(thousands(end) for end in ends) or stated.get("wording") or ""
    qualifier = stated.get("qualifier")
    estimate = stated.get("figure") if stated.get("figure") != "stated" else None
    year = f"({stated['price_year']} prices)" if stated.get("price_year") else None
    others = [name for name in AMOUNT_NOTES if name not in ("figure", "price_year") and stated.get(name)]
    notes = (f"({name.replace('_', ' ')}: {stated[name]})" for name in others)
    return " ".join(
        w for w in (estimate, qualifier and qualifier.replace("_", " "), stated["currency"], figure, year, *notes) if w
    )


def stage_text(stage: dict[str, Any]) -> str:
    """A stage in one line. An observed one has no first day."""
    if stage["since"] is None:
        return " ".join(
            part for part in (stage["value"], "observed on", stage["observed_on"], stage["certainty"]) if part
        )
    return f"{stage['value']} since {stage['since']}, {stage['basis']}"


def party(stated: dict[str, Any]) -> str:
    """A party in one line."""
    share = f"{stated['share']} %" if stated["share"] else None
    name = localized(stated["name"]) or stated["organization"]
    return ", ".join(str(part) for part in (name, stated["role"], share, stated["certainty"]) if part)


def pledge(stated: dict[str, Any]) -> str:
    """A pledge in one line."""
    until = (stated["horizon"] or {}).get("until")
    also = [amount(other) for other in (stated["amount"] or {}).get("stated_as", ())]
    parts = [
        amount(stated["amount"]) + (f" ({', '.join(also)})" if also else ""),
        stated["amount_basis"],
        stated["commitment"],
        stated["status"] if stated["status"] != "announced" else None,
        f"by {until}" if until else None,
        f"from {' and '.join(stated['by'])}" if stated["by"] else None,
    ]
    return ", ".join(part for part in parts if part)


def site(stated: dict[str, Any]) -> str:
    """A site in one line."""
    parts = [
        localized(stated["name"]),
        *(stated["address"], stated["locality"], stated["district_code"]),
        stated["place"],
        f"{stated['power_mw']} MW" if stated["power_mw"] else None,
        f"{stated['gpus']:,} GPUs" if stated["gpus"] else None,
        stated["status"] if stated["status"] != "announced" else None,
    ]
    return ", ".join(part for part in parts if part) or "–"


def milestone(stated: dict[str, Any]) -> str:
    """A milestone in one line."""
    when = f"reached {stated['reached']}" if stated["reached"] else f"planned {stated['planned'] or 'without a date'}"
    capacity = f"{stated['power_mw']} MW" if stated["power_mw"] else None
    return ", ".join(part for part in (stated["kind"], when, capacity) if part)


def relation(stated: dict[str, Any]) -> str:
    """A relation in one line."""
    ours = stated["pledge"] or "this deal"
    theirs = stated["deal"] + (f"/{stated['other_pledge']}" if stated["other_pledge"] else "")
    return f"{ours} {stated['relation'].replace('_', ' ')} {theirs}"


def other_items(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The items of the lists without rows of their own: each by its id, with the fields that have a value."""
    for name, item_type in item_types(Deal).items():
        if name in LISTS_WITH_OWN_ROWS:
            continue
        id_field = item_type.id_fields[0]
        for item in state[name]:
            values = [(field, short(value)) for field, value in item.items() if field != id_field and value is not None]
            yield f"{id_field} {item[id_field]}", ", ".join(f"{field.replace('_', ' ')} {v}" for field, v in values)


def source(sources: list[dict[str, Any]]) -> str | None:
    """The publishers of the sources."""
    named = [s.get("publisher") or s.get("url") or s.get("title") or s.get("locator") or "" for s in sources]
    return ", ".join(dict.fromkeys(named)) or None


def change(changed: dict[str, Any]) -> str:
    """A change in one line."""
    return f"{changed['field']}: {short(changed['before'])} → {short(changed['after'])}"


def short(value: Any) -> str:
    """A value of a state in a few words."""
    match value:
        case None:
            return "–"
        case {"currency": _}:
            return amount(value)
        case {"ko": _} | {"en": _}:
            return localized(value) or "–"
        case {"value": value, "basis": basis}:
            return f"{value} ({basis})"
        case dict():
            return ", ".join(f"{k} {short(v)}" for k, v in value.items() if v is not None)
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value) or "–"
        case list():
            return "1 entry" if len(value) == 1 else f"{len(value)} entries"
        case _:
            return str(value)
