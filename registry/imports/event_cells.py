"""Builds an event's JSON from the cells of its columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from registry.domain import money
from registry.events.types import Event, tag_of
from registry.imports.columns import ROW_COLUMNS, SOURCE_COLUMN, ColumnKind, base_column, columns_of
from registry.imports.messages import ImportText


class EventCells:
    """The cells of one row that belong to its event. `add_error` takes a column and what is wrong in its cell."""

    def __init__(
        self, event: type[Event], cells: Mapping[str, str], add_error: Callable[[str, ImportText], None]
    ) -> None:
        self.type = tag_of(event)
        self.columns = columns_of(event)
        self.cells = cells
        self.add_error = add_error

    def read(self) -> dict[str, Any]:
        """The event's fields, without its type."""
        fields: dict[str, Any] = {}
        items: dict[str, dict[str, list[str]]] = {}
        for name, text in self.cells.items():
            if name in ROW_COLUMNS or SOURCE_COLUMN.match(name):
                continue
            kind = self.columns.get(base_column(name))
            if kind is None:
                columns = ", ".join(self.columns)
                self.add_error(name, ImportText("field-unknown", type=self.type, column=name, columns=columns))
            elif text == "null":
                put_at(fields, name.removeprefix("event."), None)
            elif kind == "each":
                outer, _, inner = name.partition(".")
                items.setdefault(outer, {})[inner] = [part.strip() for part in text.split(";")]
            else:
                self._put_value(fields, name, kind, text)
        for outer, columns_of_items in items.items():
            fields[outer] = self._items(outer, columns_of_items)
        return fields

    def _items(self, outer: str, columns: dict[str, list[str]]) -> list[dict[str, Any]]:
        """The items of a list. Each column of their fields has one part for each item, or one for all."""
        count = max(map(len, columns.values()))
        items: list[dict[str, Any]] = [{} for _ in range(count)]
        for inner, parts in columns.items():
            if len(parts) not in (1, count):
                problem = ImportText("parts-differ", parts=len(parts), expected=count)
                self.add_error(f"{outer}.{inner}", problem)
                continue
            for item, part in zip(items, parts * count if len(parts) == 1 else parts, strict=True):
                if part:
                    put_at(item, inner, part)
        return items

    def _put_value(self, fields: dict[str, Any], name: str, kind: ColumnKind, text: str) -> None:
        path = name.removeprefix("event.")
        match kind:
            case "list":
                put_at(fields, path, [part.strip() for part in text.split(";") if part.strip()])
            case "whole":
                digits = text.replace(",", "")
                if re.fullmatch(r"[0-9]{1,12}", digits, re.ASCII):
                    put_at(fields, path, int(digits))
                else:
                    self.add_error(path, ImportText("not-an-integer", text=text))
            case "amount":
                self._put_amount(fields, path, text, has_basis="amount_basis" in self.columns)
            case "claim":
                field = self.cells.get("field", "")
                if field.endswith("/amount"):
                    self._put_amount(fields, path, text, has_basis=False)
                else:
                    put_at(fields, path, int(text) if field.endswith("/gpus") and text.isdecimal() else text)
            case _:
                put_at(fields, path, text)

    def _put_amount(self, fields: dict[str, Any], path: str, text: str, *, has_basis: bool) -> None:
        try:
            parsed = money.parse(text)
        except money.AmountParseError as error:
            self.add_error(path, ImportText("amount-invalid", problem=error.message))
            return
        for field, value in msgspec.to_builtins(parsed.amount).items():
            put_at(fields, f"{path}.{field}", value)
        stated_basis = self.cells.get("amount_basis")
        if parsed.basis is None or stated_basis == parsed.basis:
            return
        if stated_basis is not None:
            problem = ImportText("basis-conflict", text=text, basis=parsed.basis, stated=stated_basis)
            self.add_error(path, problem)
        elif has_basis:
            fields["amount_basis"] = parsed.basis
        else:
            self.add_error(path, ImportText("basis-not-expressible", text=text, basis=parsed.basis))


def put_at(target: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, with the objects on the way to it."""
    *outer, last = path.split(".")
    for name in outer:
        target = target.setdefault(name, {})
    target[last] = value


# The fields of events that hold a required name.
_NAMES = {"pledge", "site", "milestone", "claim", "condition", "organization", "deal", "parent", "into"}


def remove_at(target: Any, pointer: str) -> None:
    """Remove the value at a JSON pointer, or replace it with a valid name where a name is required."""
    *outer, last = pointer.split("/")[1:] or [""]
    for name in outer:
        target = target[int(name)] if isinstance(target, list) else target.get(name, {})
    if isinstance(target, list):
        target[int(last)] = "x"
    elif last in _NAMES:
        target[last] = "x"
    else:
        target.pop(last, None)
