"""Reads spreadsheet files row by row, as text. Every cell keeps its position, so that an error can name it.

A file is read as a stream: its size is not limited, and its memory does not grow with its rows. Values become text
without loss: whole numbers without a point, dates as ISO 8601, decimals by their digits. A formula that was never
calculated is an empty cell. The module does not know what the columns mean.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from msgspec import Struct

from registry.errors import UnreadableSheet
from registry.imports import xlsx_rows
from registry.imports.encodings import ENCODINGS, encoding_of
from registry.imports.messages import ImportText
from registry.imports.xlsx_rows import MergedRows

MAX_TEXTS_BYTES = 100 * 2**20
MAX_PART_BYTES = 8 * 2**20
"""Bytes of the table of an XLSX file's texts, and of another part that is read whole, such as the formats of cells."""

MAX_RATIO = 200
"""How many bytes a byte of a part over MAX_PART_BYTES may unpack to. Files of 200 kB whose elements repeat, at 400 and
more, were not read within 50 s."""

PICTURE_RATIO = 2
"""Up to this, a part is a picture or the like, which is not read."""

MAX_PARTS = 1_000
MAX_PROLOG_BYTES = 64 * 1024

MAX_PREAMBLE_ROWS = 50
"""The header is looked for in this many rows."""

ERROR_VALUES = frozenset(
    {"#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA"}
)
"""What a cell has in place of a value when its formula failed (ECMA-376 §18.17.3, and newer ones of Excel)."""


class CellError(Struct, frozen=True):
    """What is wrong in a cell, or in a row if `column` is empty.

    Attributes:
        sheet: The sheet's name.
        row: The row's number, from 1.
        column: The column's header.
        value: The cell's text.
        at: The position as spreadsheets write it: `Announcements!F12`.
    """

    at: str
    problem: ImportText
    sheet: str = ""
    row: int = 0
    column: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.at}: {self.problem}"


class SheetRow(Struct, frozen=True, gc=False):
    """A row that is not empty. `number` counts from 1, as spreadsheets do."""

    number: int
    cells: tuple[str, ...]

    def cell(self, column: int | None) -> str:
        """The text in a column, counted from 0; empty if the row or the sheet does not have the column."""
        return self.cells[column] if column is not None and column < len(self.cells) else ""


class Sheet(Struct, frozen=True):
    """A sheet whose rows can be read, several times if need be: first those above the header, if it has any.

    Attributes:
        name: The sheet's name.
        rows: Reads the rows.
        encoding: How the text of a CSV file is encoded; other files say it themselves.
        merged: The cells that were merged over several rows, when all rows have been read.
    """

    name: str
    rows: Callable[[], Iterator[SheetRow]]
    encoding: str = "utf-8"
    merged: Sequence[MergedRows] = ()

    def table(self, is_header: Callable[[Sequence[str]], bool] = any, header_row: int | None = None) -> Table | None:
        """The table of the sheet: its header is the first row that looks like one, or the row with the given number."""
        rows = self.rows()
        above: SheetRow | None = None
        for row in rows:
            header = header_of(row, above)
            if row.number == header_row if header_row is not None else is_header(header):
                return Table(self.name, header, row.number, rows, self.merged)
            if header_row is None and row.number > MAX_PREAMBLE_ROWS:
                return None
            above = row
        return None


def header_of(row: SheetRow, above: SheetRow | None) -> tuple[str, ...]:
    """The texts of a header. An empty one is that of the cell above it: headers in two rows have merged cells."""
    cells = row.cells
    if above is not None and above.number == row.number - 1:
        width = max(len(row.cells), len(above.cells))
        cells = tuple(row.cell(i) or above.cell(i) for i in range(width))
    while cells and not cells[-1]:
        cells = cells[:-1]
    return cells


class Table(Struct, frozen=True):
    """The texts of a header, the number of its row, and the rows below it, which can be read once.

    `merged` are the sheet's merged cells.
    """

    name: str
    header: tuple[str, ...]
    header_row: int
    rows: Iterable[SheetRow]
    merged: Sequence[MergedRows] = ()

    def at(self, row: int, column: int) -> str:
        """A cell's position, such as `Announcements!F12`; `column` counts from 0."""
        return position(self.name, row, column)

    def error(self, row: SheetRow, column: int | None, problem: ImportText) -> CellError:
        """An error in a cell of a row, or in the whole row."""
        header = self.header[column] if column is not None and column < len(self.header) else ""
        return CellError(self.at(row.number, column or 0), problem, self.name, row.number, header, row.cell(column))

    def column(self, names: tuple[str, ...]) -> int | None:
        """The first column whose header is one of these names, in the order of the names; None if there is none."""
        headers = [normalized(header) for header in self.header]
        return next((headers.index(name) for name in map(normalized, names) if name in headers), None)


def named_first(sheets: Sequence[Sheet], name: str) -> list[Sheet]:
    """The sheets whose name has a part, and first the one with exactly this name. A single sheet may have another."""
    if len(sheets) == 1:
        return list(sheets)
    named = [sheet for sheet in sheets if name.casefold() in sheet.name.casefold()]
    return sorted(named, key=lambda sheet: sheet.name.casefold() != name.casefold())


def position(sheet: str, row: int, column: int) -> str:
    """A cell's position, such as `Announcements!F12`; `column` counts from 0."""
    # Imported here and below: loading openpyxl is a sixth of the start of a command.
    from openpyxl.utils import get_column_letter

    name = sheet if re.fullmatch(r"\w+", sheet) else "'" + sheet.replace("'", "''") + "'"
    return f"{name}!{get_column_letter(column + 1)}{row}"


def normalized(header: str) -> str:
    """A header without differences of case and spaces."""
    return " ".join(header.split()).casefold()


@contextmanager
def open_sheets(
    paths: Sequence[Path], max_unpacked: int | None = None, encoding: str | None = None
) -> Iterator[list[Sheet]]:
    """The sheets of files, whose rows can be read until the context ends. A file's ending gives its format.

    Args:
        paths: CSV, TSV and XLSX files.
        max_unpacked: The most bytes that an XLSX file of someone else may unpack to.
        encoding: The encoding of CSV files; by default, it is found out.

    Raises:
        UnreadableSheet: A file has another format or encoding.
    """
    sheets: list[Sheet] = []
    with ExitStack() as stack:
        for path in paths:
            match path.suffix.lower():
                case ".csv" | ".tsv":
                    found = encoding_of(path, encoding)
                    sheets.append(Sheet(path.stem, _reader_of_csv(path, found), found))
                case ".xlsx":
                    book = _open_book(path.name, stack.enter_context(path.open("rb")), max_unpacked)
                    stack.callback(book.close)
                    sheets += map(_sheet_of_xlsx, book.worksheets)
                case _:
                    raise UnreadableSheet(file=path.name, why=ImportText("file-type-unknown"))
        yield sheets


def encodings_read(sheets: Sequence[Sheet]) -> Iterator[ImportText]:
    """A note about each sheet that is not in UTF-8."""
    for sheet in sheets:
        if sheet.encoding != "utf-8":
            yield ImportText("encoding-read", sheet=sheet.name, encoding=sheet.encoding.upper())


def _reader_of_csv(path: Path, encoding: str) -> Callable[[], Iterator[SheetRow]]:
    def rows() -> Iterator[SheetRow]:
        try:
            with path.open(encoding=ENCODINGS[encoding], newline="") as file:
                start = [file.readline() for _ in range(MAX_PREAMBLE_ROWS)]
                # The widest line: a title above the table has commas, but fewer than its header.
                delimiter = max(",;\t", key=lambda sign: max(line.count(sign) for line in start))
                file.seek(0)
                for number, cells in enumerate(csv.reader(file, delimiter=delimiter, strict=True), 1):
                    if texts := _texts(cells):
                        if len(texts) > xlsx_rows.MAX_COLUMNS:
                            raise csv.Error(f"row {number} has over {xlsx_rows.MAX_COLUMNS} columns")
                        yield SheetRow(number, texts)
        except csv.Error as error:
            raise UnreadableSheet(file=path.name, why=ImportText("csv-syntax", reason=str(error))) from None

    return rows


def _open_book(name: str, file: IO[bytes], max_unpacked: int | None) -> Any:
    import openpyxl

    try:
        with zipfile.ZipFile(file) as archive:
            _check_parts(name, archive, max_unpacked)
        return openpyxl.load_workbook(file, read_only=True, data_only=True)
    except (UnreadableSheet, OSError):
        raise
    except Exception as error:  # openpyxl raises errors of many types for malformed files.
        why = ImportText("xlsx-unreadable", reason=str(error) or type(error).__name__)
        raise UnreadableSheet(file=name, why=why) from None


def _check_parts(file: str, archive: zipfile.ZipFile, max_unpacked: int | None) -> None:
    """Check that the parts can be read in bounded memory. zipfile reads no more of a part than its stated size.

    Raises:
        UnreadableSheet: They are too many or unpack to too much, or one declares a document type, which can define
            entities.
    """
    parts = archive.infolist()
    if len(parts) > MAX_PARTS:
        raise UnreadableSheet(file=file, why=ImportText("too-many-parts", count=len(parts), limit=MAX_PARTS))
    unpacked = sum(part.file_size for part in parts)
    too_large = any(_is_too_large(part) for part in parts)
    if too_large or (max_unpacked is not None and unpacked > max_unpacked):
        raise UnreadableSheet(file=file, why=ImportText("unpacked-too-large", size=unpacked))
    for part in parts:
        # Of every name: the file itself says which of its parts is the table of texts.
        with archive.open(part) as content:
            if _has_doctype(content.read(MAX_PROLOG_BYTES)):
                raise UnreadableSheet(file=file, why=ImportText("xlsx-doctype", part=part.filename[:100]))


def _is_too_large(part: zipfile.ZipInfo) -> bool:
    """Whether a part takes too long to read. Worksheets are read row by row, and every other part whole."""
    if part.file_size <= MAX_PART_BYTES:
        return False
    if part.file_size > MAX_RATIO * part.compress_size:
        return True
    if "worksheets/" in part.filename:
        return False
    is_texts = part.filename.endswith("/sharedStrings.xml") or part.file_size <= PICTURE_RATIO * part.compress_size
    return part.file_size > (MAX_TEXTS_BYTES if is_texts else MAX_PART_BYTES)


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


def _sheet_of_xlsx(sheet: Any) -> Sheet:
    merged: list[MergedRows] = []

    def rows() -> Iterator[SheetRow]:
        try:
            for number, cells in xlsx_rows.rows_of(sheet, merged):
                if texts := _texts(cells):
                    yield SheetRow(number, texts)
        except xlsx_rows.MALFORMED as error:
            why = ImportText("xlsx-unreadable", reason=str(error) or type(error).__name__)
            raise UnreadableSheet(file=sheet.title, why=why) from None

    return Sheet(sheet.title, rows, merged=merged)


def _texts(cells: Iterable[str]) -> tuple[str, ...]:
    """The cells of a row without outer spaces and without empty cells at the end; empty if all are."""
    texts = [cell.strip() for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return tuple(texts)
