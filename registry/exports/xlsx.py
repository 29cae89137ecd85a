"""Tables as Excel workbooks (Office Open XML)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import xlsxwriter

from registry.exports.files import read_chunks
from registry.exports.rows import Row

# The limits of a sheet of Excel: rows, and characters in a cell.
MAX_SHEET_ROWS = 1_048_576
MAX_CELL_CHARACTERS = 32_767


class XlsxWriter:
    """Write a table as a workbook of as many sheets as it needs, row by row, to a temporary file."""

    def __init__(self, columns: Sequence[str], title: str) -> None:
        self._columns = columns
        self._title = title
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - discard() closes it
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        self._book = xlsxwriter.Workbook(self._file, options)
        self._bold = self._book.add_format({"bold": True})
        self._sheets = 0
        self._row = MAX_SHEET_ROWS

    def write(self, rows: Sequence[Row]) -> bytes:
        """Add rows. Nothing of the file can be sent before its end."""
        for row in rows:
            at = self._next_row()
            for column, value in enumerate(row):
                if isinstance(value, (int, bool)):
                    self._sheet.write(at, column, value)
                elif value is not None:
                    fits = len(value) <= MAX_CELL_CHARACTERS
                    self._sheet.write_string(at, column, value if fits else f"{value[: MAX_CELL_CHARACTERS - 1]}…")
        return b""

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
            self._sheet.freeze_panes(1, 0)
            for column, heading in enumerate(self._columns):
                self._sheet.set_column(column, column, 12 + len(heading) // 2)
                self._sheet.write_string(0, column, heading, self._bold)
            self._row = 1
        self._row += 1
        return self._row - 1
