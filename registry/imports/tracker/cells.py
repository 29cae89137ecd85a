"""Reads the values of a row's cells through the mapping: each field's value, or what is wrong in its cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from registry.domain import money
from registry.imports import values
from registry.imports.mapping.patterns import MAX_TEXT
from registry.imports.mapping.spec import ColumnValue, Condition, Constant, Join, Leaf, Mapping, TextValue
from registry.imports.messages import ImportText
from registry.imports.values import ValueProblem
from registry.imports.workbook import ERROR_VALUES, CellError, SheetRow, Table

MAX_CACHED_VALUES = 20_000
MAX_LISTED_CHOICES = 12

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


class JoinedRows:
    """The rows of a joined sheet by the deal that they name. Only the cells that the mapping reads are kept."""

    def __init__(self, table: Table, join: Join, decimal_sign: str) -> None:
        self.table = table
        key, by = table.column(join.key), table.column(join.largest)
        self._rows: dict[str, SheetRow] = {}
        largest: dict[str, Decimal] = {}
        for row in table.rows if key is not None else ():
            name = row.cell(key)
            if by is not None:
                try:
                    number = values.parse_number(row.cell(by), decimal_sign)
                except ValueProblem:
                    continue
                if name in largest and number <= largest[name]:
                    continue
                largest[name] = number
            self._rows[name] = row

    def find(self, names: Iterable[str]) -> SheetRow | None:
        """The row that belongs to a deal with one of these names."""
        return next((row for name in names if (row := self._rows.get(name)) is not None), None)


class RowCells(Struct):
    """A row of the main sheet and the rows of joined sheets that belong to it."""

    row: SheetRow
    joined: dict[str, SheetRow | None]


class CellReader:
    """Reads the cells of the rows of one sheet through a mapping."""

    def __init__(self, mapping: Mapping, table: Table, joined: dict[str, JoinedRows], published_on: date) -> None:
        self.mapping = mapping
        self.table = table
        self.published_on = published_on
        self._joined = joined
        self._empty = frozenset(mapping.empty)
        self._columns: dict[tuple[str | None, tuple[str, ...]], int | None] = {}
        self._converted: dict[int, dict[str, Any]] = {}
        self._matches = {
            name: [self.column(None, (column,)) for column in join.matches or mapping.key_columns[0]]
            for name, join in mapping.joins.items()
        }

    def column(self, join: str | None, names: tuple[str, ...]) -> int | None:
        """The number of a column in the sheet or in a joined one."""
        at = (join, names)
        if at not in self._columns:
            table = self._joined[join].table if join is not None and join in self._joined else self.table
            self._columns[at] = table.column(names)
        return self._columns[at]

    def cells(self, row: SheetRow) -> RowCells:
        """A row with the rows of joined sheets that belong to it."""
        joined = {
            name: rows.find(text for column in self._matches[name] if (text := row.cell(column)))
            for name, rows in self._joined.items()
        }
        return RowCells(row, joined)

    def text(self, cells: RowCells, join: str | None, names: tuple[str, ...]) -> str:
        """The text of a cell; empty if it or its column is missing."""
        row = cells.row if join is None else cells.joined.get(join)
        return row.cell(self.column(join, names)) if row is not None else ""

    def error(
        self, cells: RowCells, value: ColumnValue | TextValue | Constant | None, problem: ImportText
    ) -> CellError:
        """An error in the cell that a value comes from, or in the whole row."""
        if not isinstance(value, ColumnValue):
            return self.table.error(cells.row, None, problem)
        column = self.column(value.join, value.column)
        row = cells.joined.get(value.join) if value.join is not None else None
        if value.join is not None and row is not None:
            error = self._joined[value.join].table.error(row, column, problem)
            return msgspec.structs.replace(error, sheet=self.table.name, row=cells.row.number)
        return self.table.error(cells.row, column, problem)

    # --- conditions ---------------------------------------------------------------------------------------------------

    def holds(self, conditions: Sequence[Condition], cells: RowCells) -> bool:
        """Whether a row meets all conditions."""
        return all(self._holds(condition, cells) for condition in conditions)

    def _holds(self, condition: Condition, cells: RowCells) -> bool:
        text = self.text(cells, condition.join, condition.column)
        is_empty = text == "" or text in self._empty
        return (
            (not condition.equals or text in condition.equals)
            and (not condition.differs or text not in condition.differs)
            and (condition.empty is None or condition.empty == is_empty)
            and (condition.future is None or condition.future == self._is_future(text))
        )

    def _is_future(self, text: str) -> bool:
        try:
            loose = values.loose_date(text, self.mapping.dates)
            return values.effective_day(loose, None) > self.published_on
        except (ValueProblem, ValueError):
            return False

    # --- values -------------------------------------------------------------------------------------------------------

    def value(self, leaf: Leaf, cells: RowCells) -> Any:
        """The value of a field; None if the cell is empty.

        Raises:
            ValueProblem: The cell's text is no value of the field.
        """
        source = leaf.value
        if isinstance(source, Constant):
            return self._constant(leaf, source.value)
        if isinstance(source, TextValue):
            return self._convert(leaf, None, self.filled_text(source, cells)) or None
        text = self.text(cells, source.join, source.column)
        cache = self._converted.setdefault(id(leaf), {})
        if text not in cache:
            if len(cache) >= MAX_CACHED_VALUES:
                cache.clear()
            cache[text] = self._column_value(leaf, source, text)
        return cache[text]

    def stated_text(self, leaf: Leaf, cells: RowCells) -> str:
        """The text of a field, from which its value is read."""
        match leaf.value:
            case ColumnValue(join=join, column=column):
                return self.text(cells, join, column)
            case TextValue():
                return self.filled_text(leaf.value, cells)
            case Constant(value=value):
                return str(value)

    def filled_text(self, value: TextValue, cells: RowCells) -> str:
        """The text with the values of the columns that it names."""
        filled = _PLACEHOLDER.sub(lambda name: self.text(cells, None, (name[1],)), value.text)
        return re.sub(r"\s*(\(\)|\[\])", "", " ".join(filled.split()))

    def _column_value(self, leaf: Leaf, source: ColumnValue, text: str) -> Any:
        if text in ERROR_VALUES:
            raise ValueProblem(ImportText("cell-error", value=text))
        if text == "" or text in self._empty or text in source.empty:
            return self._constant(leaf, source.default) if source.default is not None else None
        if len(text) > MAX_TEXT and (source.split or source.only is not None or source.remove is not None):
            raise ValueProblem(ImportText("cell-too-long", limit=MAX_TEXT))
        items = re.split(source.split, text) if source.split else [text]
        if source.only is not None:
            items = [item for item in items if re.search(source.only, item)]
        if source.remove is not None:
            items = [re.sub(source.remove, "", item) for item in items]
        found = [self._item(leaf, source, item) for one in items if (item := one.strip())]
        found = [one for one in found if one is not None]
        if leaf.field.is_list:
            flat = [part for one in found for part in (one if isinstance(one, list) else [one])]
            return list(dict.fromkeys(flat)) or None
        if source.split is not None and leaf.path in SPLIT_FIELDS:
            return found or None
        if len(found) > 1:
            raise ValueProblem(ImportText("several-values", text=text))
        return found[0] if found else None

    def _item(self, leaf: Leaf, source: ColumnValue, text: str) -> Any:
        if source.table is None:
            return self._convert(leaf, source, text)
        if text not in source.table:
            raise ValueProblem(ImportText("not-in-table", text=text, known=tuple(source.table)[:MAX_LISTED_CHOICES]))
        meaning = source.table[text]
        return None if meaning == "" else self._constant(leaf, meaning)

    def _constant(self, leaf: Leaf, value: Any) -> Any:
        """A value that the mapping states. Texts stand for dates, numbers and names as in cells."""
        if leaf.field.is_list:
            return value if isinstance(value, list) else [value]
        if isinstance(value, list):
            return value
        if isinstance(value, date):
            return value.isoformat()
        match leaf.field.kind:
            case "localized" | "amount":
                return self._convert(leaf, None, str(value))
            case "whole":
                return int(value)
            case _:
                return str(value)

    def _convert(self, leaf: Leaf, source: ColumnValue | None, text: str) -> Any:  # noqa: C901 - one case for each kind
        mapping = self.mapping
        times = Decimal(source.times) if source is not None and source.times is not None else None
        formats = (source.dates if source is not None else ()) or mapping.dates
        match leaf.field.kind:
            case "localized":
                return values.localized(text, mapping.language)
            case "amount":
                return self._amount(text, times)
            case "decimal":
                return values.decimal_text(text, mapping.decimal, times)
            case "whole":
                return values.whole_number(text, mapping.decimal, times)
            case "loose_date":
                return values.loose_date(text, formats)
            case "day":
                return values.effective_day(values.loose_date(text, formats), None).isoformat()
            case "place":
                return values.place_code(text, (source.country if source is not None else None) or mapping.country)
            case "degrees":
                return values.degrees(text)
            case "slug":
                # The name of an organization is kept beside its slug.
                return text if leaf.path in SPLIT_FIELDS else values.slugify(text)
            case "choice":
                folded = re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_")
                if folded not in leaf.field.choices:
                    raise ValueProblem(ImportText("not-a-choice", text=text, known=leaf.field.choices))
                return folded
            case "line":
                return " ".join(text.split())
            case "text" | "axes":
                return text

    def _amount(self, text: str, times: Decimal | None) -> dict[str, Any]:
        """The parts of an amount: of a plain number its value, of a press text its currency and qualifier as well.

        The mapping states the currency of a text that names none. `basis` is that of the text, which is no part of an
        amount ("연간 1천억 원").
        """
        try:
            return {"value": values.decimal_text(text, self.mapping.decimal, times)}
        except ValueProblem as no_number:
            if not re.search(r"[^\d\s.,+-]", text):
                raise
            try:
                parsed = money.parse(text, otherwise="KRW", unit=times)
            except money.AmountParseError as error:
                if no_number.message.code == "number-negative":
                    raise no_number from None
                raise ValueProblem(ImportText("amount-invalid", problem=error.message)) from None
            amount: dict[str, Any] = msgspec.to_builtins(parsed.amount)
            if not parsed.names_currency:
                del amount["currency"]
            return amount if parsed.basis is None else {**amount, "basis": parsed.basis}


SPLIT_FIELDS = frozenset({("organization",)})
"""Fields of which a row may state several: one party for each organization of the cell."""
