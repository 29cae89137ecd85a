"""The tables of a mapping from the inputs of its form (`form.py`), and the parts that its buttons add or remove."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from registry.imports.mapping.blocks import BLOCKS
from registry.imports.mapping.fields import MappedField
from registry.imports.mapping.form import (
    DAY,
    ITEMS,
    NAMES,
    NOTHING,
    OPTIONS,
    SINGLE,
    SOURCE_FIELDS,
    TEXT,
    TEXT_LIST,
)
from registry.imports.mapping.spec import placeholders

KEPT = ("joins", "gone")
"""Parts of a mapping that the form does not show; they stay as they are."""

TESTS = ("equals", "differs")

_POINTER = re.compile(r"[a-z_]+(/[A-Za-z0-9_-]+){0,5}")


def data_of(sent: Mapping[str, str], before: Mapping[str, Any], headers: Sequence[str] = ()) -> dict[str, Any]:
    """The tables of the mapping that a form was sent with.

    Args:
        sent: The inputs of the form.
        before: The mapping that was edited: parts that the form does not show stay.
        headers: The columns of the sheet; a name that contains the separator of names is one of them.
    """
    return _FormReader(sent, headers).data(before)


class _FormReader:
    def __init__(self, sent: Mapping[str, str], headers: Sequence[str]) -> None:
        self.sent = {name: text.strip() for name, text in sent.items()}
        self.headers = frozenset(headers)

    def data(self, before: Mapping[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {name: text for name in SINGLE if (text := self.sent.get(f"options/{name}", ""))}
        if dates := self._names(self.sent.get("options/dates", "")):
            data["dates"] = dates
        if empty := _split(self.sent.get("options/empty", "")):
            data["empty"] = empty
        sheet = {"name": self.sent.get("options/sheet", ""), "header": _whole(self.sent.get("options/header", ""))}
        if sheet := {name: value for name, value in sheet.items() if value}:
            data["sheet"] = sheet
        data |= {name: before[name] for name in KEPT if name in before}
        if skip := list(self._conditions("skip")):
            data["skip"] = skip
        for kind in ("source", *BLOCKS):
            if kind == "deal":
                data["deal"] = self._block("deal", "deal")
            elif tables := [table for at in self._places(kind) if (table := self._block(kind, at))]:
                data[kind] = tables
        return data

    def _places(self, kind: str) -> list[str]:
        found = {int(match[1]) for name in self.sent if (match := re.match(rf"{kind}/(\d{{1,3}})[/:]", name))}
        return [f"{kind}/{i}" for i in sorted(found)]

    def _block(self, kind: str, at: str) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for place in self._pointers(at):
            path = place.removeprefix(f"{at}/").split("/")
            field = _field(kind, path)
            value = self._value(place, field) if field is not None else None
            if value is not None:
                inner = table
                for part in path[:-1]:
                    inner = inner.setdefault(part, {})
                inner[path[-1]] = value
        if kind == "deal" and isinstance(key := table.get("key"), dict) and key.keys() == {"column"}:
            table["key"] = key["column"]
        if when := list(self._conditions(f"{at}/when")):
            table["when"] = when
        if policy := self.sent.get(f"{at}:on_change", ""):
            table["on_change"] = policy
        return table

    def _pointers(self, at: str) -> list[str]:
        """The places of a block's fields, in the order of the form."""
        places = (name.partition(":")[0] for name in self.sent if name.startswith(f"{at}/"))
        return [
            place
            for place in dict.fromkeys(places)
            if _POINTER.fullmatch(place) and not place.startswith(f"{at}/when/")
        ]

    def _value(self, at: str, field: MappedField) -> Any:
        column, text = self.sent.get(f"{at}:column", ""), self.sent.get(f"{at}:text", "")
        if column:
            return {"column": _one_or_all(self._names(column)), **self._column_options(at, field)}
        if not text:
            return None
        if placeholders(text) and field.kind != "amount":
            policy = self.sent.get(f"{at}:on_change", "")
            return {"text": text, **({"on_change": policy} if policy else {})}
        return _constant(text, field)

    def _column_options(self, at: str, field: MappedField) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if table := self._value_table(at, field):
            options["table"] = table
        for name in (*OPTIONS, "on_change"):
            if text := self.sent.get(f"{at}:{name}", ""):
                options[name] = _constant(text, field) if name == "default" else text
        if empty := _split(self.sent.get(f"{at}:empty", "")):
            options["empty"] = empty
        if dates := self._names(self.sent.get(f"{at}:dates", "")):
            options["dates"] = dates
        return options

    def _value_table(self, at: str, field: MappedField) -> dict[str, Any]:
        rows = sorted(int(match[1]) for name in self.sent if (match := re.fullmatch(rf"{at}:from\.(\d{{1,4}})", name)))
        pairs = ((self.sent[f"{at}:from.{i}"], self.sent.get(f"{at}:to.{i}", "")) for i in rows)
        stated = {source: meaning for source, meaning in pairs if source and meaning}
        meanings = {one: "" if text == NOTHING else _constant(text, field) for one, text in stated.items()}
        return {source: _one_or_all(one) if isinstance(one, list) else one for source, one in meanings.items()}

    def _conditions(self, at: str) -> Iterator[dict[str, Any]]:
        found = {int(match[1]) for name in self.sent if (match := re.match(rf"{at}/(\d{{1,3}}):", name))}
        for i in sorted(found):
            place = f"{at}/{i}"
            column = self._names(self.sent.get(f"{place}:column", ""))
            if column:
                condition: dict[str, Any] = {"column": _one_or_all(column)}
                if join := self.sent.get(f"{place}:join", ""):
                    condition["join"] = join
                condition |= {name: items for name in TESTS if (items := _split(self.sent.get(f"{place}:{name}", "")))}
                for name in ("empty", "future"):
                    if text := self.sent.get(f"{place}:{name}", ""):
                        condition[name] = text == "true"
                yield condition

    def _names(self, text: str) -> list[str]:
        return [text] if text in self.headers else [part for one in text.split(NAMES) if (part := one.strip())]


def _field(kind: str, path: Sequence[str]) -> MappedField | None:
    """The field at a place of a block; None if the block has no such field."""
    if kind == "source":
        return SOURCE_FIELDS.get(".".join(path))
    if path == ["effective_on"]:
        return DAY
    if kind == "deal" and len(path) == 1 and path[0] in ("key", "slug"):
        return TEXT
    fields = BLOCKS[kind].fields
    if found := fields.get(".".join(path)):
        return found
    outer = fields.get(path[0])
    if outer is None or len(path) != 2:
        return None
    return TEXT_LIST if outer.kind == "axes" else TEXT if outer.kind == "localized" else None


def _constant(text: str, field: MappedField) -> Any:
    if field.is_list:
        return _split(text)
    return _whole(text) if field.kind == "whole" else text


def _whole(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text


def _split(text: str) -> list[str]:
    return [part for one in text.split(ITEMS) if (part := one.strip())]


def _one_or_all(names: list[Any]) -> Any:
    return names[0] if len(names) == 1 else names


def edit(data: dict[str, Any], do: str) -> str:
    """Add or remove a part of a mapping, as a button of the form says. Returns the place to show afterwards."""
    action, _, place = do.partition(":")
    match action:
        case "block" if place in BLOCKS and place != "deal":
            blocks = data.setdefault(place, [])
            [*ids] = BLOCKS[place].ids[:1]
            blocks.append({ids[0]: f"{place}-{len(blocks) + 1}"} if ids and ids[0] == place else {})
            return f"{place}/{len(blocks) - 1}"
        case "condition":
            at = place.removesuffix("/when").split("/")
            table = data[at[0]][int(at[1])] if len(at) == 2 else data
            table.setdefault("when" if len(at) == 2 else "skip", []).append({"column": "", "empty": True})
            return place
        case "source":
            data.setdefault("source", []).append({})
            return f"source/{len(data['source']) - 1}"
        case "remove":
            kind, _, number = place.partition("/")
            tables = data.get(kind, [])
            if number.isdigit() and int(number) < len(tables):
                del tables[int(number)]
                if not tables:
                    del data[kind]
            return ""
        case _:
            return place
