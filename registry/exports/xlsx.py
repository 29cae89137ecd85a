"""Tables as Excel workbooks (Office Open XML)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from registry.exports.files import read_chunks
from registry.exports.rows import Cell, Row
from registry.projections.columnar.exported_columns import ExportedColumn

# The limits of a sheet of Excel: rows, and characters in a cell.
MAX_SHEET_ROWS = 1_048_576
MAX_CELL_CHARACTERS = 32_767


SHEET_BUFFER = 2**20
"""Bytes of rows that are written to a sheet's temporary file at once."""

# The first day that Excel's calendar has.
FIRST_DAY = "1900-01-01"
EXACT = "_exact"
"""The end of the heading beside a column of numbers: Excel keeps 15 digits of a number, and this column has all."""


class XlsxWriter:
    """Write a table as a workbook of as many sheets as it needs, row by row, to a temporary file.

    Numbers and days are such cells, so that a sheet can add them up and sort them.
    """

    def __init__(self, columns: Sequence[ExportedColumn], title: str) -> None:
        self._types = [column.type for column in columns]
        self._headings = [
            heading
            for column in columns
            for heading in ((column.name, f"{column.name}{EXACT}") if column.type == "number" else (column.name,))
        ]
        self._title = title
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - discard() closes it
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = xlsxwriter.Workbook(self._file, options)
        self._bold = self._book.add_format({"bold": True})
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._sheets = 0
        self._row = MAX_SHEET_ROWS

    def write(self, rows: Sequence[Row]) -> bytes:
        """Add rows. Nothing of the file can be sent before its end."""
        for row in rows:
            at, column = self._next_row(), 0
            for type, value in zip(self._types, row, strict=True):
                self._write(at, column, type, value)
                column += 1
                if type == "number":
                    self._write(at, column, "text", value)
                    column += 1
        return b""

    def _write(self, row: int, column: int, type: str, value: Cell) -> None:
        """Write a cell; one without a value stays empty."""
        if isinstance(value, (int, bool)):
            self._sheet.write(row, column, value)
        elif value is None:
            return
        elif type == "number":
            self._sheet.write_number(row, column, float(value))
        elif type == "date" and value >= FIRST_DAY:
            self._sheet.write_datetime(row, column, date.fromisoformat(value), self._day)
        else:
            fits = len(value) <= MAX_CELL_CHARACTERS
            self._sheet.write_string(row, column, value if fits else f"{value[: MAX_CELL_CHARACTERS - 1]}…")

    def end(self) -> Iterator[bytes]:
        """Return the file."""
        if not self._sheets:
            self._next_row()
        self._book.close()
        yield from read_chunks(self._file)

    def discard(self) -> None:
        """Close the temporary files."""
        if not self._book.fileclosed:
            # Until the workbook is closed, each sheet has a temporary file of its own.
            self._book.close()
        self._file.close()

    def _next_row(self) -> int:
        """The number of the next free row, on a new sheet where the last one is full."""
        if self._row >= MAX_SHEET_ROWS:
            self._sheets += 1
            name = self._title if self._sheets == 1 else f"{self._title} {self._sheets}"
            self._sheet = self._book.add_worksheet(name)
            _buffer_rows(self._sheet)
            self._sheet.freeze_panes(1, 0)
            for column, heading in enumerate(self._headings):
                self._sheet.set_column(column, column, 12 + len(heading) // 2)
                self._sheet.write_string(0, column, heading, self._bold)
            self._row = 1
        self._row += 1
        return self._row - 1


def _buffer_rows(sheet: Worksheet) -> None:
    """Write a sheet's rows to its temporary file in long parts.

    Python releases its lock during each write. A write of 8 KiB takes some µs, which is too short for the event loop to
    get the lock, and the loop's wait of SWITCH_SECONDS (`cli/server.py`), after which it would get it, begins again.
    With Python's buffer of 8 KiB, a write came every 0.5 ms, and a thread beside 8,000 rows waited for 21 to 108 ms;
    with this one for 1.2 to 3.5 (the most of four tries each, undisturbed by other processes).
    """
    sheet.row_data_fh.close()
    file = Path(sheet.row_data_filename)
    sheet.row_data_fh = sheet.fh = file.open("w+", SHEET_BUFFER, encoding="utf-8")
