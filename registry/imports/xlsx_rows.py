"""Reads the rows of a worksheet of an XLSX file as text, with expat (ECMA-376 part 1, §18.3.1).

openpyxl makes an element of each cell and several objects of each inline text: 12 µs a cell, which was most of the
time of a second import of a sheet. The names of the sheets, the table of texts and the formats of dates are openpyxl's.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from xml.parsers import expat
from zipfile import BadZipFile

from msgspec import Struct

PART_BYTES = 2**16

MAX_COLUMNS = 2000
"""A wider row is not a row of a table: some programs write thousands of empty formatted cells."""

MAX_ROW_NUMBER = 2**20
"""The most rows that a sheet of an XLSX file can have."""

MAX_CELLS = 2**28
"""Cells of a sheet, with the empty ones before the last of each row: a file of 100 kB can have as many."""

MAX_MERGED = 1_000
"""Merged ranges of a sheet that are kept."""

MALFORMED = (ArithmeticError, ValueError, LookupError, TypeError, EOFError, BadZipFile, zlib.error, expat.ExpatError)
"""What reading a malformed worksheet raises."""

_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main "
_ROW, _CELL, _VALUE, _TEXT, _PHONETIC, _MERGED = (
    _NAMESPACE + name for name in ("row", "c", "v", "t", "rPh", "mergeCell")
)
_ROWS_OF_RANGE = re.compile(r"[A-Z]+([0-9]+):[A-Z]+([0-9]+)", re.ASCII)


class MergedRows(Struct, frozen=True):
    """Cells that were merged over several rows: only the first row has their text. `cells` is such as `B6:B7`."""

    cells: str
    first: int


def rows_of(sheet: Any, merged: list[MergedRows]) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each row of a worksheet that openpyxl has opened for reading.

    Args:
        sheet: The worksheet.
        merged: Has the cells that were merged over several rows when all rows are read.

    Raises:
        One of `MALFORMED`.
    """
    handlers = _Handlers(sheet, merged)
    merged.clear()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = handlers.start
    parser.EndElementHandler = handlers.end
    parser.CharacterDataHandler = handlers.characters
    with sheet._get_source() as source:
        while part := source.read(PART_BYTES):
            parser.Parse(part)
            yield from handlers.rows
            handlers.rows.clear()
        parser.Parse(b"", True)


class _Handlers:
    """Makes rows of the elements of a worksheet; `rows` are those that are complete."""

    def __init__(self, sheet: Any, merged: list[MergedRows]) -> None:
        self.rows: list[tuple[int, list[str]]] = []
        self._merged = merged
        self._book = sheet.parent
        self._texts: list[str] = sheet._shared_strings
        self._cell_count = 0
        self._number = 0
        self._cells: list[str] = []
        self._column = 0
        self._type, self._style = "n", 0
        self._parts: list[str] = []
        # Whether characters are a part of the value. How a text is pronounced is not.
        self._is_value = self._is_phonetic = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        if name == _CELL:
            at = attributes.get("r")
            self._column = _column_of(at.rstrip("0123456789")) if at else self._column + 1
            self._type = attributes.get("t", "n")
            self._style = int(attributes.get("s", 0))
            self._parts = []
        elif name == _VALUE:
            self._is_value = self._type != "inlineStr"
        elif name == _TEXT:
            self._is_value = self._type == "inlineStr" and not self._is_phonetic
        elif name == _ROW:
            self._number = int(float(attributes["r"])) if "r" in attributes else self._number + 1
            if self._number > MAX_ROW_NUMBER:
                raise ValueError(f"a row has a number over {MAX_ROW_NUMBER}")
            self._cells, self._column = [], 0
        elif name == _PHONETIC:
            self._is_phonetic = True
        elif name == _MERGED:
            rows = _ROWS_OF_RANGE.fullmatch(attributes.get("ref", ""))
            if rows is not None and rows[1] != rows[2] and len(self._merged) < MAX_MERGED:
                self._merged.append(MergedRows(rows[0], int(rows[1])))

    def characters(self, text: str) -> None:
        """Handle characters."""
        if self._is_value:
            self._parts.append(text)

    def end(self, name: str) -> None:
        """Handle the end of an element."""
        if name == _CELL:
            if self._parts and self._column <= MAX_COLUMNS:
                missing = self._column - len(self._cells)
                if missing > 0:
                    self._cells += [""] * missing
                self._cells[self._column - 1] = self._text("".join(self._parts))
        elif name in (_VALUE, _TEXT):
            self._is_value = False
        elif name == _ROW:
            self._cell_count += len(self._cells)
            if self._cell_count > MAX_CELLS:
                raise ValueError(f"the sheet has over {MAX_CELLS} cells")
            self.rows.append((self._number, self._cells))
        elif name == _PHONETIC:
            self._is_phonetic = False

    def _text(self, value: str) -> str:
        """The value of the cell as text, by the type of the cell (§18.18.11)."""
        match self._type:
            case "s":
                return self._texts[int(value)]
            case "n":
                return self._date(value) if self._style in self._book._date_formats else _number(value)
            case "b":
                return "true" if int(value) else "false"
            case "d":
                from openpyxl.utils.datetime import from_ISO8601

                return _date_text(from_ISO8601(value))  # type: ignore[no-untyped-call]
            case _:
                return value

    def _date(self, value: str) -> str:
        from openpyxl.utils.datetime import from_excel

        is_duration = self._style in self._book._timedelta_formats
        try:
            return _date_text(from_excel(float(value), self._book.epoch, timedelta=is_duration))
        except (OverflowError, ValueError):
            # Excel shows such a cell as ########.
            return "#VALUE!"


@lru_cache(maxsize=MAX_COLUMNS)
def _column_of(letters: str) -> int:
    """The number of a column, from 1."""
    from openpyxl.utils import column_index_from_string

    return column_index_from_string(letters)


def _number(text: str) -> str:
    """A number by the fewest digits that state its value, without an exponent, and without a point if it is whole."""
    try:
        return str(int(text))
    except ValueError:
        exact = Decimal(repr(float(text)))
    whole = exact.to_integral_value()
    return format(whole if whole == exact else exact, "f")


def _date_text(value: Any) -> str:
    match value:
        case datetime():
            is_midnight = value.time() == value.min.time()
            return value.date().isoformat() if is_midnight else value.isoformat()
        case date():
            return value.isoformat()
        case _:
            return str(value)
