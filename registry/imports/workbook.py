"""Reads spreadsheet files as rows of text. Every cell keeps its position, so that an error can name it.

Values become text without loss: whole numbers without a point, dates as ISO 8601, decimals by their digits. A cell with
an error value, or with a formula that was never calculated, is an error rather than an empty cell. The module does not
know what the columns mean.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from xml.parsers import expat

import openpyxl
from msgspec import Struct
from openpyxl.utils import get_column_letter

from registry.errors import RegistryError, UnreadableSheet
from registry.imports.messages import ImportText

MAX_FILE_BYTES = 50 * 2**20
MAX_UNPACKED_BYTES = 10 * MAX_FILE_BYTES
MAX_PARTS = 1_000
MAX_PROLOG_BYTES = 64 * 1024
MAX_ROWS = 100_000
MAX_COLUMNS = 500


class CellError(Struct, frozen=True):
    """What is wrong in a cell; `at` is its position as spreadsheets write it: `Announcements!F12`."""

    at: str
    problem: ImportText

    def __str__(self) -> str:
        return f"{self.at}: {self.problem}"


class SheetErrors(RegistryError):
    """Cells of a workbook are wrong."""

    code = "sheet_errors"

    def __init__(self, errors: list[CellError]) -> None:
        super().__init__(summary="; ".join(map(str, errors)))
        self.errors = errors


class SheetRow(Struct, frozen=True):
    """A row that is not empty. `number` counts from 1, as spreadsheets do."""

    number: int
    cells: tuple[str, ...]

    def cell(self, column: int | None) -> str:
        """The text in a column, counted from 0; empty if the row or the sheet does not have the column."""
        return self.cells[column] if column is not None and column < len(self.cells) else ""


class Sheet(Struct, frozen=True):
    """A sheet: the texts of its header, the number of the header's row, and the rows below it."""

    name: str
    header: tuple[str, ...]
    header_row: int
    rows: tuple[SheetRow, ...]

    def at(self, row: int, column: int) -> str:
        """A cell's position, such as `Announcements!F12`; `column` counts from 0."""
        name = self.name if re.fullmatch(r"\w+", self.name) else "'" + self.name.replace("'", "''") + "'"
        return f"{name}!{get_column_letter(column + 1)}{row}"

    def column(self, names: tuple[str, ...]) -> int | None:
        """The first column whose header is one of these names, in the order of the names; None if there is none."""
        headers = [_normalized(header) for header in self.header]
        return next((headers.index(name) for name in map(_normalized, names) if name in headers), None)


def _normalized(header: str) -> str:
    return " ".join(header.split()).casefold()


def read(file: str, data: bytes) -> list[Sheet]:
    """The sheets of a file. The file name's extension (.csv, .tsv, .xlsx) gives its format.

    Raises:
        UnreadableSheet: The file has another format, or exceeds a limit.
        SheetErrors: Cells contain errors or formulas without a value.
    """
    stem, _, extension = file.replace("\\", "/").rpartition("/")[2].rpartition(".")
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableSheet(file=file, why=ImportText("file-too-large", limit=MAX_FILE_BYTES))
    match extension.lower():
        case "csv" | "tsv":
            return [_sheet(stem, _csv_rows(file, data))]
        case "xlsx":
            return _xlsx_sheets(file, data)
        case _:
            raise UnreadableSheet(file=file, why=ImportText("file-type-unknown"))


def _csv_rows(file: str, data: bytes) -> Iterator[tuple[str, ...]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableSheet(file=file, why=ImportText("not-utf8", position=error.start)) from None
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            yield tuple(cells)
    except csv.Error as error:
        raise UnreadableSheet(file=file, why=ImportText("csv-syntax", reason=str(error))) from None


def _xlsx_sheets(file: str, data: bytes) -> list[Sheet]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_parts(file, archive)
        with_values = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        with_formulas = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False)
    except RegistryError:
        raise
    except Exception as error:  # openpyxl raises errors of many types for malformed XML.
        why = ImportText("xlsx-unreadable", reason=str(error) or type(error).__name__)
        raise UnreadableSheet(file=file, why=why) from None
    errors: list[CellError] = []
    sheets = []
    try:
        for values, formulas in zip(with_values.worksheets, with_formulas.worksheets, strict=True):
            rows = _xlsx_rows(values.title, values.iter_rows(), formulas.iter_rows(), errors)
            sheets.append(_sheet(values.title, rows))
    finally:
        with_values.close()
        with_formulas.close()
    if errors:
        raise SheetErrors(errors)
    return sheets


def _check_parts(file: str, archive: zipfile.ZipFile) -> None:
    """Check that the parts can be read in bounded memory. zipfile reads no more of a part than its stated size.

    Raises:
        UnreadableSheet: They unpack to too much, or one declares a document type, which can define entities.
    """
    parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    # openpyxl reads worksheets row by row, and every other part whole.
    whole = max((part.file_size for part in parts if "worksheets/" not in part.filename), default=0)
    if unpacked > MAX_UNPACKED_BYTES or whole > MAX_FILE_BYTES or len(parts) > MAX_PARTS:
        raise UnreadableSheet(file=file, why=ImportText("unpacked-too-large", size=unpacked))
    for part in parts:
        if part.filename.endswith((".xml", ".rels")):
            with archive.open(part) as content:
                if _has_doctype(content.read(MAX_PROLOG_BYTES)):
                    raise UnreadableSheet(file=file, why=ImportText("xlsx-doctype", part=part.filename[:100]))


def _has_doctype(start: bytes) -> bool:
    """Whether an XML document declares a document type before its first element."""
    found: list[bool] = []
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = lambda *_: found.append(True)
    parser.StartElementHandler = lambda *_: found.append(False)
    for at in range(0, len(start), 1024):
        try:
            parser.Parse(start[at : at + 1024])
        except expat.ExpatError:
            # openpyxl reports what is malformed.
            return any(found)
        if found:
            return found[0]
    # Neither in so many bytes: only comments can do that.
    return len(start) == MAX_PROLOG_BYTES


def _xlsx_rows(name: str, values: Any, formulas: Any, errors: list[CellError]) -> Iterator[tuple[str, ...]]:
    sheet = Sheet(name, (), 0, ())
    for number, (value_cells, formula_cells) in enumerate(zip(values, formulas, strict=False), 1):
        texts = []
        for column, (cell, formula) in enumerate(zip(value_cells, formula_cells, strict=False)):
            if cell.data_type == "e":
                errors.append(CellError(sheet.at(number, column), ImportText("cell-error", value=str(cell.value))))
            elif cell.value is None and formula.data_type == "f":
                errors.append(CellError(sheet.at(number, column), ImportText("formula-without-value")))
            texts.append(_text(cell.value))
        yield tuple(texts)


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            is_midnight = value.time() == value.min.time()
            return value.date().isoformat() if is_midnight else value.isoformat()
        case date():
            return value.isoformat()
        case float():
            exact = Decimal(repr(value))
            return format(exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact, "f")
        case _:
            return str(value)


def _sheet(name: str, rows: Iterable[tuple[str, ...]]) -> Sheet:
    header: tuple[str, ...] | None = None
    header_row = 1
    sheet_rows: list[SheetRow] = []
    for number, cells in enumerate(rows, 1):
        texts = tuple(cell.strip() for cell in cells)
        if not any(texts):
            continue
        if header is None:
            header, header_row = texts, number
            while header and not header[-1]:
                header = header[:-1]
        else:
            sheet_rows.append(SheetRow(number, texts))
        if number > MAX_ROWS or len(texts) > MAX_COLUMNS:
            raise UnreadableSheet(file=name, why=ImportText("sheet-too-large", rows=MAX_ROWS, columns=MAX_COLUMNS))
    return Sheet(name, header or (), header_row, tuple(sheet_rows))
