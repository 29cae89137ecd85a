"""Reads the rows of a tracker's sheets through the mapping."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal

from registry.imports.mapping import ColumnRef, Mapping, MilestoneMapping
from registry.imports.messages import ImportText
from registry.imports.tracker.plan import CellText, PlannedMilestone, TrackedRow
from registry.imports.tracker.values import (
    SITE_FIELDS,
    ValueProblem,
    parse_date,
    parse_number,
    parse_site_value,
    slugify,
)
from registry.imports.workbook import Sheet, SheetRow

MAIN_SHEET = "things"
"""The mapping's name for the sheet with a row per deal."""


class RowReader:
    """Reads the rows of the main sheet with their values. `add_error` takes a cell and what is wrong in it."""

    def __init__(self, sheets: Sequence[Sheet], mapping: Mapping, add_error: Callable[[str, ImportText], None]) -> None:
        self.mapping = mapping
        self.add_error = add_error
        by_name = {name: _sheet_named(part, sheets) for name, part in mapping.sheets.items()}
        self.sheets = {name: sheet for name, sheet in by_name.items() if sheet is not None}
        self.missing = [name for name, sheet in by_name.items() if sheet is None]
        self._rows_by_key: dict[str, dict[str, list[SheetRow]]] = {}

    @property
    def main(self) -> Sheet:
        """The sheet with a row per deal."""
        return self.sheets[MAIN_SHEET]

    def slug_of(self, name: str) -> str:
        """The slug of a deal of this tracker."""
        return self.mapping.deal.slug + slugify(name)

    def rows(self) -> Iterator[TrackedRow]:
        """The rows with a unique name."""
        column = self.main.column(self.mapping.deal.name)
        if column is None:
            at = self.main.at(self.main.header_row, 0)
            self.add_error(at, ImportText("name-column-missing", columns=", ".join(self.mapping.deal.name)))
            return
        first_at: dict[str, str] = {}
        for sheet_row in self.main.rows:
            name = sheet_row.cell(column)
            at = self.main.at(sheet_row.number, column)
            if not name:
                self.add_error(at, ImportText("name-missing"))
                continue
            slug = self.slug_of(name)
            if slug == self.mapping.deal.slug:
                self.add_error(at, ImportText("name-without-latin", name=name))
                continue
            if slug in first_at:
                self.add_error(at, ImportText("name-repeated", name=name, other=first_at[slug]))
                continue
            first_at[slug] = at
            row = TrackedRow(name, sheet_row, at)
            self._read_values(row)
            yield row

    def names_of(self, row: TrackedRow) -> list[str]:
        """The names by which other sheets may refer to the row's deal."""
        columns = [self.main.column((also,)) for also in self.mapping.deal.also]
        return [row.name, *(text for column in columns if (text := row.sheet_row.cell(column)))]

    def lookup(self, ref: ColumnRef, row: TrackedRow, names: list[str]) -> CellText | None:
        """The text that a mapping's column has for a row, and its cell; None if it is empty."""
        if ref.sheet is None:
            column = self.main.column(ref.column)
            text = row.sheet_row.cell(column)
            return CellText(text, self.main.at(row.sheet_row.number, column)) if text and column is not None else None
        sheet = self.sheets.get(ref.sheet)
        if sheet is None:
            return None
        column, by = sheet.column(ref.column), sheet.column(ref.by or ref.column)
        if column is None or by is None:
            return None
        largest: tuple[Decimal, CellText] | None = None
        for sheet_row in self._rows_of(ref, sheet, names):
            number = parse_number(sheet_row.cell(by))
            if number is not None and sheet_row.cell(column) and (largest is None or number > largest[0]):
                largest = number, CellText(sheet_row.cell(column), sheet.at(sheet_row.number, column))
        return largest[1] if largest else None

    # --- the values of a row ------------------------------------------------------------------------------------------

    def _read_values(self, row: TrackedRow) -> None:
        names = self.names_of(row)
        for field in SITE_FIELDS if self.mapping.site else ():
            ref: ColumnRef | None = getattr(self.mapping.site, field)
            cell = self.lookup(ref, row, names) if ref is not None else None
            value = self._parse(field, cell) if cell else None
            if cell and value is not None:
                row.values[field] = CellText(value, cell.at)
        for milestone in self.mapping.milestones:
            self._read_milestone(milestone, row, names)
        self._read_parties(row)

    def _parse(self, field: str, cell: CellText) -> str | None:
        try:
            return parse_site_value(field, cell.text, self.mapping.places)
        except ValueProblem as problem:
            self.add_error(cell.at, ImportText("value-invalid", field=field, problem=problem.message))
            return None

    def _read_milestone(self, milestone: MilestoneMapping, row: TrackedRow, names: list[str]) -> None:
        cell = self.lookup(milestone.planned, row, names)
        if cell is None:
            return
        planned = parse_date(cell.text, self.mapping.dates)
        if planned is None:
            self.add_error(cell.at, ImportText("date-invalid", text=cell.text))
            return
        power = self.lookup(milestone.power_mw, row, names) if milestone.power_mw else None
        power_mw = self._parse("power_mw", power) if power else None
        row.planned[milestone.milestone] = PlannedMilestone(planned, power_mw)

    def _read_parties(self, row: TrackedRow) -> None:
        for party in self.mapping.parties:
            for text in re.split(r"[,;]", row.sheet_row.cell(self.main.column(party.column))):
                name = text.strip()
                if party.only is not None:
                    if not name.endswith(party.only):
                        continue
                    name = name.removesuffix(party.only).strip()
                if name:
                    row.parties.append((name, party.role))

    def _rows_of(self, ref: ColumnRef, sheet: Sheet, names: list[str]) -> list[SheetRow]:
        """The rows of another sheet whose key is one of the names."""
        assert ref.sheet is not None
        by_key = self._rows_by_key.get(ref.sheet)
        if by_key is None:
            by_key = self._rows_by_key[ref.sheet] = {}
            key = sheet.column(ref.key)
            for sheet_row in sheet.rows if key is not None else ():
                by_key.setdefault(sheet_row.cell(key), []).append(sheet_row)
        return [row for name in dict.fromkeys(names) for row in by_key.get(name, ())]


def _sheet_named(part: str, sheets: Iterable[Sheet]) -> Sheet | None:
    return next((sheet for sheet in sheets if part.casefold() in sheet.name.casefold()), None)
