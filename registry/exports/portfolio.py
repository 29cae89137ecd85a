"""Files of deals and of what belongs to them: the copy's rows are written to a temporary file, which is then sent."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import IO, TypeAlias

from duckdb import DuckDBPyConnection

from registry.exports.csv import csv_text
from registry.exports.files import read_chunks
from registry.exports.rows import COLUMNS, column_names
from registry.exports.xlsx import XlsxWriter
from registry.projections.columnar.copy import Question
from registry.projections.columnar.exported import (
    PortfolioTable,
    exported_lines,
    exported_objects,
    exported_rows,
    write_parquet,
)
from registry.projections.columnar.kept import Kept
from registry.projections.columnar.selection import Point, Selection

Ask: TypeAlias = Callable[[Question[None]], Awaitable[None]]


async def portfolio_file(
    kind: PortfolioTable, format: str, point: Point, selection: Selection, ask: Ask
) -> AsyncIterator[bytes]:
    """Stream a file of the selected deals at a point, or of their pledges, sites or metrics.

    Args:
        kind: What the rows are.
        format: The format of the file.
        point: The point.
        selection: Which deals.
        ask: Asks the copy a question.
    """
    with tempfile.NamedTemporaryFile(prefix="registry-export-") as file:

        def write(cursor: DuckDBPyConnection, _: Kept) -> None:
            if format == "parquet":
                write_parquet(cursor, kind, point, selection, file.name)
            else:
                _WRITERS[format](cursor, kind, point, selection, file)

        await ask(write)
        chunks = read_chunks(file)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk


def _write_csv(
    cursor: DuckDBPyConnection, kind: PortfolioTable, point: Point, selection: Selection, file: IO[bytes]
) -> None:
    file.write(csv_text([column_names(kind)]).encode())
    _write_lines(exported_lines(cursor, kind, point, selection), file)


def _write_objects(
    cursor: DuckDBPyConnection, kind: PortfolioTable, point: Point, selection: Selection, file: IO[bytes]
) -> None:
    _write_lines(exported_objects(cursor, kind, point, selection), file)


def _write_lines(lines: Iterator[str], file: IO[bytes]) -> None:
    for some in lines:
        file.write(some.encode())


def _write_workbook(
    cursor: DuckDBPyConnection, kind: PortfolioTable, point: Point, selection: Selection, file: IO[bytes]
) -> None:
    table = XlsxWriter(COLUMNS[kind], kind)
    try:
        for rows in exported_rows(cursor, kind, point, selection):
            file.write(table.write(rows))
        for part in table.end():
            file.write(part)
    finally:
        table.discard()


_WRITERS = {"csv": _write_csv, "ndjson": _write_objects, "xlsx": _write_workbook}
