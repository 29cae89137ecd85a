"""Spreadsheet files as rows of text: every cell keeps its place, so that whatever is wrong can be pointed at.

Values are taken as a person sees them, without loss: whole numbers without a point, dates as ISO 8601, decimals by
their digits. A cell that shows an error, or a formula that was never calculated, is a fault and no empty cell. Nothing
here knows what the columns mean.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
from msgspec import Struct
from openpyxl.utils import get_column_letter

from registry.errors import RegistryError, UnreadableSheet

FILE_LIMIT = 50 * 2**20
"""A file may have this many bytes, and ten times as many when it is unpacked."""

ROW_LIMIT = 100_000
COLUMN_LIMIT = 500


class CellError(Struct, frozen=True, order=True):
    """What is wrong in a cell; `at` is its place as spreadsheets write it: `Announcements!F12`."""

    at: str
    detail: str

    def __str__(self) -> str:
        return f"{self.at}: {self.detail}"


class SheetErrors(RegistryError):
    """Cells of a workbook are wrong."""

    code = "sheet_errors"

    def __init__(self, faults: list[CellError]) -> None:
        super().__init__(summary="; ".join(map(str, faults)))
        self.faults = faults


class SheetRow(Struct, frozen=True):
    """A row that is not empty, with its number as spreadsheets count, from 1."""

    number: int
    cells: tuple[str, ...]


class Sheet(Struct, frozen=True):
    """A sheet: its header's texts by column, and the rows below it."""

    name: str
    header: tuple[str, ...]
    first: int
    rows: tuple[SheetRow, ...]

    def at(self, row: int, column: int) -> str:
        """A cell's place, such as `Announcements!F12`; `column` counts from 0."""
        name = self.name if re.fullmatch(r"\w+", self.name) else "'" + self.name.replace("'", "''") + "'"
        return f"{name}!{get_column_letter(column + 1)}{row}"

    def column(self, names: tuple[str, ...]) -> int | None:
        """The column with the first of these headers that there is."""
        wanted = [" ".join(n.split()).casefold() for n in names]
        texts = [" ".join(h.split()).casefold() for h in self.header]
        return next((texts.index(name) for name in wanted if name in texts), None)


def read(file: str, data: bytes) -> list[Sheet]:
    """The sheets of a file, by its ending (.csv, .tsv, .xlsx). Raises UnreadableSheet, and SheetFaults."""
    stem, _, ending = file.replace("\\", "/").rpartition("/")[2].rpartition(".")
    if len(data) > FILE_LIMIT:
        raise UnreadableSheet(file=file, why=f"it is larger than {FILE_LIMIT} bytes")
    match ending.lower():
        case "csv" | "tsv":
            rows: Iterator[tuple[str, ...]] = _csv(file, data)
            return [_sheet(stem, rows)]
        case "xlsx":
            return _xlsx(file, data)
        case _:
            raise UnreadableSheet(file=file, why="its name ends neither in .csv nor in .xlsx")


def _csv(file: str, data: bytes) -> Iterator[tuple[str, ...]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        why = f"byte {error.start} is not UTF-8: save it as 'CSV UTF-8'"
        raise UnreadableSheet(file=file, why=why) from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            yield tuple(cells)
    except csv.Error as error:
        raise UnreadableSheet(file=file, why=str(error)) from None


def _xlsx(file: str, data: bytes) -> list[Sheet]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            unpacked = sum(info.file_size for info in packed.infolist())
        if unpacked > 10 * FILE_LIMIT:
            raise UnreadableSheet(file=file, why=f"it unpacks to {unpacked} bytes")
        shown = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        written = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False)
    except RegistryError:
        raise
    except Exception as error:  # The library raises whatever the file's XML makes it stumble over.
        raise UnreadableSheet(file=file, why=str(error) or type(error).__name__) from None
    faults: list[CellError] = []
    sheets = []
    try:
        for values, formulas in zip(shown.worksheets, written.worksheets, strict=True):
            name = values.title
            rows = _cells(name, values.iter_rows(), formulas.iter_rows(), faults)
            sheets.append(_sheet(name, rows))
    finally:
        shown.close()
        written.close()
    if faults:
        raise SheetErrors(faults)
    return sheets


def _cells(name: str, shown: Any, written: Any, faults: list[CellError]) -> Iterator[tuple[str, ...]]:
    place = Sheet(name, (), 0, ())
    for number, (values, formulas) in enumerate(zip(shown, written, strict=False), 1):
        texts = []
        for column, (cell, formula) in enumerate(zip(values, formulas, strict=False)):
            if cell.data_type == "e":
                faults.append(CellError(place.at(number, column), f"shows the error {cell.value}"))
            elif cell.value is None and formula.data_type == "f":
                why = "holds a formula that was never calculated: open the file in a spreadsheet program and save it"
                faults.append(CellError(place.at(number, column), why))
            texts.append(_text(cell.value))
        yield tuple(texts)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            midnight = value.time() == value.min.time()
            return value.date().isoformat() if midnight else value.isoformat()
        case date():
            return value.isoformat()
        case float():
            exact = Decimal(repr(value))
            return format(exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact, "f")
        case _:
            return str(value)


def _sheet(name: str, rows: Iterator[tuple[str, ...]]) -> Sheet:
    header: tuple[str, ...] | None = None
    first = 1
    kept: list[SheetRow] = []
    for number, cells in enumerate(rows, 1):
        texts = tuple(cell.strip() for cell in cells)
        if not any(texts):
            continue
        if header is None:
            header, first = texts, number
            while header and not header[-1]:
                header = header[:-1]
        else:
            kept.append(SheetRow(number, texts))
        if number > ROW_LIMIT or len(texts) > COLUMN_LIMIT:
            raise UnreadableSheet(file=name, why=f"it has more than {ROW_LIMIT} rows or {COLUMN_LIMIT} columns")
    return Sheet(name, header or (), first, tuple(kept))
