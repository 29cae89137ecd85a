"""Files of deals and of what belongs to them: the copy's rows are written to a temporary file, which is then sent."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.errors import Overloaded
from registry.exports.csv import csv_text
from registry.exports.files import read_chunks
from registry.exports.xlsx import XlsxWriter
from registry.projections.columnar.copy import Question
from registry.projections.columnar.exported import (
    PortfolioExport,
    exported_objects,
    exported_rows,
    materialize_annotations,
    write_csv,
    write_parquet,
)
from registry.projections.columnar.question_cache import QuestionCache

MAX_OPEN_FILES = 64
"""Files that are being written or sent. Each takes disk space until its client has read it, however slowly."""

_open_files: set[object] = set()


def require_open_file() -> None:
    """Check that another file may be written.

    Raises:
        Overloaded: As many as may be are being written or sent.
    """
    if len(_open_files) >= MAX_OPEN_FILES:
        raise Overloaded("files")


Ask: TypeAlias = Callable[[Question[None]], Awaitable[None]]
Cite: TypeAlias = Callable[[IO[bytes]], Awaitable[None]]


async def portfolio_file(
    export: PortfolioExport, format: str, ask: Ask, cite: Cite | None = None
) -> AsyncIterator[bytes]:
    """Stream a file of the selected deals at a point, or of their items, such as pledges.

    Args:
        export: What is exported.
        format: The format of the file.
        ask: Asks the copy a question.
        cite: Writes the sources of the rows to a file; None: the table has no columns of sources.
    """
    with (
        _counted(),
        tempfile.NamedTemporaryFile(prefix="registry-export-") as file,
        tempfile.NamedTemporaryFile(prefix="registry-export-") as cited,
    ):
        if cite is not None:
            await cite(cited)
            export = replace(export, cited=cited.name)

        def write(cursor: DuckDBPyConnection, cache: QuestionCache) -> None:
            materialize_annotations(cursor, cache, export)
            if format == "parquet":
                write_parquet(cursor, export, file.name)
            else:
                # Without what was written before the copy found its file damaged and asked again.
                file.seek(0)
                file.truncate()
                _WRITERS[format](cursor, export, file)

        await ask(write)
        chunks = read_chunks(file)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            yield chunk


@contextmanager
def _counted() -> Iterator[None]:
    mark = object()
    _open_files.add(mark)
    try:
        yield
    finally:
        _open_files.discard(mark)


def _write_csv(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes]) -> None:
    file.write(csv_text([[column.name for column in export.columns]]).encode())
    with tempfile.NamedTemporaryFile(prefix="registry-export-") as part:
        write_csv(cursor, export, file, Path(part.name))


def _write_objects(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes]) -> None:
    for lines in exported_objects(cursor, export):
        file.write(lines.encode())


def _write_workbook(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes]) -> None:
    table = XlsxWriter(export.columns, export.table)
    try:
        for rows in exported_rows(cursor, export):
            file.write(table.write(rows))
        for part in table.end():
            file.write(part)
    finally:
        table.discard()


_WRITERS = {"csv": _write_csv, "ndjson": _write_objects, "xlsx": _write_workbook}
