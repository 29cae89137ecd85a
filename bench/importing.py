"""An import as a client sends it: NDJSON over HTTP in one long request, while its results are read as they come."""

from __future__ import annotations

import asyncio
import tempfile
import time
from urllib.parse import urlsplit

from msgspec import Struct

from bench import plan, service
from bench.service import Database, Process

PIECE = 2**16


class Imported(Struct, frozen=True):
    """What an import came to: events per second, and what the service held in memory before it and at most, in MB."""

    rate: float
    before: float
    peak: float


async def histories(database: Database, deals: int, first: int = 0) -> Imported:
    """Imports the histories of so many deals through a service of their own. Raises when one line was refused."""
    key = await service.key(database)
    async with service.registry(database) as process:
        return await into(process, key, deals, first)


async def into(process: Process, key: str, deals: int, first: int = 0) -> Imported:
    """The same through a service that runs."""
    with tempfile.TemporaryFile() as lines:
        for line in plan.lines(deals, first):
            lines.write(line + b"\n")
        lines.seek(0)
        before = process.megabytes
        peaks = [before]
        parts = urlsplit(process.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
        start = time.perf_counter()
        head = plan.http("POST", "/v1/import", Authorization=f"Bearer {key}", Transfer_Encoding="chunked")
        writer.write(head.removesuffix(b"\r\n") + b"Content-Type: application/x-ndjson\r\nConnection: close\r\n\r\n")

        async def send() -> None:
            while piece := lines.read(PIECE):
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                await writer.drain()
                peaks.append(process.megabytes)
            writer.write(b"0\r\n\r\n")

        sending = asyncio.create_task(send())
        recorded, tail = 0, b""
        while piece := await reader.read(PIECE):
            # A result may be cut in two: what is too short to hold the word is looked at again.
            recorded += (tail + piece).count(b'"status":201') - tail.count(b'"status":201')
            tail = (tail + piece)[-11:]
        took = time.perf_counter() - start
        await sending
        writer.close()
    if recorded != deals * plan.ROUNDS:
        raise RuntimeError(f"{recorded} of {deals * plan.ROUNDS} lines were recorded")
    return Imported(recorded / took, before, max(peaks))
