"""Write a table to a file page by page, and stream the file while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import IO, Any, Protocol

from registry.exports.rows import Row, event_rows
from registry.schemas import ExportedEvent

CHUNK_BYTES = 2**18


class TableWriter(Protocol):
    """A file that is written page by page. `discard` is called last, also when the client stopped reading."""

    def write(self, rows: Sequence[Row]) -> bytes:
        """Add rows and return the part of the file that is complete."""
        ...

    def end(self) -> Iterator[bytes]:
        """Return the rest of the file."""
        ...

    def discard(self) -> None:
        """Release what the writer holds."""
        ...


async def stream_table(table: TableWriter, pages: AsyncIterator[Sequence[ExportedEvent]]) -> AsyncIterator[bytes]:
    """Stream a table's file while the pages of its events are read.

    The writer runs in a thread: a page takes some milliseconds, and the end of a large file takes seconds.
    """
    work: asyncio.Future[Any] | None = None
    try:
        async for page in pages:
            work = asyncio.ensure_future(asyncio.to_thread(lambda page: table.write(event_rows(page)), page))
            if part := await asyncio.shield(work):
                yield part
        parts = table.end()
        while True:
            work = asyncio.ensure_future(asyncio.to_thread(next, parts, b""))
            part = await asyncio.shield(work)
            if not part:
                break
            yield part
    finally:
        # The client may have closed the connection while the thread works. A thread cannot be stopped, so the table is
        # discarded when it is done (tests/api/test_exports.py).
        if work is None or work.done():
            table.discard()
        else:
            work.add_done_callback(lambda done: _discard(done, table))


def _discard(done: asyncio.Future[Any], table: TableWriter) -> None:
    if not done.cancelled():
        done.exception()  # retrieved, or asyncio logs it: the client is gone
    table.discard()


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a file from its beginning, in chunks."""
    file.seek(0)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
