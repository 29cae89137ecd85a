"""Files of deals and of what belongs to them: the copy's rows, in a temporary file that is sent while it is written."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.errors import Overloaded
from registry.exports.csv import csv_text
from registry.exports.files import CHUNK_BYTES
from registry.exports.temporary import temporary_file
from registry.exports.xlsx import XlsxWriter
from registry.infra.fair_threads import current_client
from registry.projections.columnar.copy import CopyQuestion
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

MAX_FILES_OF_CLIENT = 16
"""Files of one client, so that one that reads slowly does not keep all others from theirs."""

_open_files: Counter[str | None] = Counter()


def require_open_file() -> None:
    """Check that another file may be written for the client; the file must begin without waiting for anything.

    Raises:
        Overloaded: As many as may be are being written or sent.
    """
    if _open_files.total() >= MAX_OPEN_FILES or _open_files[current_client()] >= MAX_FILES_OF_CLIENT:
        raise Overloaded("files")


Ask: TypeAlias = Callable[[CopyQuestion[None]], Awaitable[None]]
Cite: TypeAlias = Callable[[IO[bytes]], Awaitable[None]]


async def portfolio_file(
    export: PortfolioExport, format: str, ask: Ask, cite: Cite | None = None
) -> AsyncGenerator[bytes, None]:
    """Stream a file of the selected deals at a point, or of their items, such as pledges.

    Args:
        export: What is exported.
        format: The format of the file.
        ask: Asks the copy a question.
        cite: Writes the sources of the rows to a file; None: the table has no columns of sources.
    """
    loop, has_grown = asyncio.get_running_loop(), asyncio.Event()
    with _counted(), _temporary_file() as file, _temporary_file() as cited:
        if cite is not None:
            await cite(cited)
            export = replace(export, cited=cited.name)

        def write(cursor: DuckDBPyConnection, cache: QuestionCache) -> None:
            materialize_annotations(cursor, cache, export)
            # Without what was written before the copy found its file damaged and asked again. What was sent of it is
            # written again as it was.
            file.seek(0)
            file.truncate()
            for _ in _WRITERS[format](cursor, export, file):
                file.flush()
                loop.call_soon_threadsafe(has_grown.set)

        def ended(writing: asyncio.Future[None]) -> None:
            has_grown.set()
            if not writing.cancelled():
                writing.exception()  # retrieved, or asyncio logs it if the client is gone

        writing = asyncio.ensure_future(ask(write))
        writing.add_done_callback(ended)
        sent = 0
        try:
            while await has_grown.wait():
                has_grown.clear()
                is_written = writing.done()
                while chunk := await asyncio.to_thread(os.pread, file.fileno(), CHUNK_BYTES, sent):
                    sent += len(chunk)
                    yield chunk
                if is_written:
                    writing.result()
                    break
        finally:
            writing.cancel()


@contextmanager
def _temporary_file() -> Iterator[IO[bytes]]:
    """A file that a thread deletes: deleting one of 31 MB takes 7 ms, in which the event loop would do nothing else."""
    file = temporary_file()
    try:
        yield file
    finally:
        asyncio.get_running_loop().run_in_executor(None, file.close)


@contextmanager
def _counted() -> Iterator[None]:
    client = current_client()
    _open_files[client] += 1
    try:
        yield
    finally:
        _open_files.subtract([client])
        if not _open_files[client]:
            del _open_files[client]


def _write_csv(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes]) -> Iterator[None]:
    file.write(csv_text([[column.name for column in export.columns]]).encode())
    yield
    with temporary_file() as part:
        yield from write_csv(cursor, export, file, Path(part.name))


def _write_objects(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes]) -> Iterator[None]:
    for lines in exported_objects(cursor, export):
        file.write(lines.encode())
        yield


def _write_workbook(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes]) -> Iterator[None]:
    table = XlsxWriter(export.columns, export.table)
    try:
        for rows in exported_rows(cursor, export):
            file.write(table.write(rows))
        for part in table.end():
            file.write(part)
        yield
    finally:
        table.discard()


def _write_parquet(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes]) -> Iterator[None]:
    write_parquet(cursor, export, file.name)
    yield


_WRITERS = {"csv": _write_csv, "ndjson": _write_objects, "xlsx": _write_workbook, "parquet": _write_parquet}
"""Write the rows, and yield when a part of the file can be sent."""
