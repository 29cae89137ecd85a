"""Files of deals and pledges: the copy's rows are written to a temporary file, which is then sent."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import IO, Any, TypeAlias

from duckdb import DuckDBPyConnection

from registry.exports.csv import csv_text
from registry.exports.files import TableWriter, read_chunks
from registry.exports.rows import column_names
from registry.projections.columnar.exported import PortfolioTable, exported_lines, exported_rows
from registry.projections.columnar.selection import Point, Selection

Ask: TypeAlias = Callable[[Callable[[DuckDBPyConnection], None]], Awaitable[None]]


async def portfolio_file(
    kind: PortfolioTable, writer: Callable[[], TableWriter] | None, point: Point, selection: Selection, ask: Ask
) -> AsyncIterator[bytes]:
    """Stream a file of the selected deals at a point, or of their pledges.

    Args:
        kind: What the rows are.
        writer: Makes the writer of the file's format; None: CSV.
        point: The point.
        selection: Which deals.
        ask: Asks the copy a question.
    """
    with tempfile.TemporaryFile() as file:

        def write(cursor: DuckDBPyConnection) -> None:
            if writer is None:
                _write_csv(cursor, kind, point, selection, file)
            else:
                _write_table(cursor, kind, point, selection, writer(), file)

        await ask(write)
        chunks = read_chunks(file)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk


def _write_csv(
    cursor: DuckDBPyConnection, kind: PortfolioTable, point: Point, selection: Selection, file: IO[bytes]
) -> None:
    file.write(csv_text([column_names(kind)]).encode())
    for lines in exported_lines(cursor, kind, point, selection):
        file.write(lines.encode())


def _write_table(
    cursor: DuckDBPyConnection, kind: Any, point: Point, selection: Selection, table: TableWriter, file: IO[bytes]
) -> None:
    try:
        for rows in exported_rows(cursor, kind, point, selection):
            file.write(table.write(rows))
        for part in table.end():
            file.write(part)
    finally:
        table.discard()
