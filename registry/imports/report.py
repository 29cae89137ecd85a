"""The report of refused rows: a CSV file with each row as it was, to correct and import again."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from registry.imports.messages import ImportText
from registry.imports.workbook import CellError, Sheet

PROBLEM_COLUMNS = ("#sheet", "#row", "#column", "#value", "#problem")
"""Columns that the report adds. Imports do not read columns whose names start with '#'."""


def write_report(
    file: Path,
    sheets: Sequence[Sheet],
    header_rows: dict[str, int],
    errors: Sequence[CellError],
    render: Callable[[ImportText], str],
) -> int:
    """Write the refused rows, each once, with its problems. The sheets are read again, so no row is kept in memory.

    Args:
        file: The CSV file.
        sheets: The sheets that were imported.
        header_rows: The number of the header's row of each sheet.
        errors: What is wrong, with the sheet and the row.
        render: Renders a problem in the reader's language.

    Returns:
        How many rows were written.
    """
    by_row: dict[tuple[str, int], list[CellError]] = defaultdict(list)
    for error in errors:
        by_row[error.sheet, error.row].append(error)
    written = 0
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out)
        for sheet in sheets:
            if not any(name == sheet.name for name, _ in by_row):
                continue
            width = 0
            if (table := sheet.table(header_row=header_rows.get(sheet.name, 0))) is not None:
                width = len(table.header)
                writer.writerow([*table.header, *PROBLEM_COLUMNS])
            for row in sheet.rows():
                if wrong := by_row.get((sheet.name, row.number)):
                    cells = [*row.cells, *[""] * (width - len(row.cells))][:width]
                    texts = ["; ".join(dict.fromkeys(map(str, values))) for values in _columns(wrong, render)]
                    writer.writerow([*cells, sheet.name, row.number, *texts])
                    written += 1
    return written


def _columns(errors: Sequence[CellError], render: Callable[[ImportText], str]) -> list[list[str]]:
    return [
        [error.column for error in errors],
        [error.value for error in errors],
        [render(error.problem) for error in errors],
    ]
