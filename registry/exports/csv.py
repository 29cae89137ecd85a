"""Tables as CSV (RFC 4180) in UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from registry.exports.rows import Cell, Row
from registry.infra.spreadsheets import FORMULA_STARTS

ROWS_AT_ONCE = 1_000


class CsvWriter:
    """Write a table as CSV."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._head: list[Sequence[Cell]] = [columns]

    def write(self, rows: Sequence[Row]) -> bytes:
        """Return the next rows; before the first of them, the headings."""
        head, self._head = self._head, []
        return csv_text([*head, *rows]).encode()

    def end(self) -> Iterator[bytes]:
        """Return the rest of the file."""
        yield self.write(())

    def discard(self) -> None:
        """There is nothing to discard."""


def csv_text(rows: Iterable[Sequence[Cell]]) -> str:
    """Rows as CSV, their formulas escaped."""
    text = io.StringIO()
    csv.writer(text).writerows([escape_formula(cell) for cell in row] for row in rows)
    return text.getvalue()


def csv_bytes(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Rows as CSV in UTF-8, made in parts, because no other thread runs while Python joins the texts of one."""
    remaining = iter(rows)
    return b"".join(iter(lambda: csv_text(islice(remaining, ROWS_AT_ONCE)).encode(), b""))


def escape_formula(cell: Cell) -> Cell:
    """The cell, after an apostrophe where a spreadsheet may run its text as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
