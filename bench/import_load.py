"""An import as a client sends it: NDJSON over HTTP in one long request, and a result a line; or with the command."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator

import httpx
from msgspec import Struct

from bench import service, workload
from bench.service import BenchDatabase, Process

PIECE = 2**16


class ImportResult(Struct, frozen=True):
    """What an import came to: events per second, and what the service held in memory before it and at most, in MB."""

    rate: float
    before: float
    peak: float


async def histories(database: BenchDatabase, deals: int, first: int = 0) -> ImportResult:
    """Imports the histories of so many deals through a service of their own. Raises when one line was refused."""
    key = await service.key(database)
    async with service.registry(database) as process:
        return await import_into(process, key, deals, first)


async def import_into(process: Process, key: str, deals: int, first: int = 0) -> ImportResult:
    """The same through a service that runs."""
    with tempfile.TemporaryFile() as lines:
        for line in workload.lines(deals, first):
            lines.write(line + b"\n")
        lines.seek(0)
        before = process.megabytes
        peaks = [before]

        async def pieces() -> AsyncIterator[bytes]:
            while piece := lines.read(PIECE):
                yield piece
                peaks.append(process.megabytes)

        start = time.perf_counter()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        recorded = 0
        async with (
            httpx.AsyncClient(base_url=process.url, timeout=None) as client,
            client.stream("POST", "/v1/import", content=pieces(), headers=headers) as answer,
        ):
            async for result in answer.aiter_lines():
                recorded += '"status":201' in result
        took = time.perf_counter() - start
    if recorded != deals * workload.ROUNDS:
        raise RuntimeError(f"{recorded} of {deals * workload.ROUNDS} lines were recorded")
    return ImportResult(recorded / took, before, max(peaks))


async def by_command(database: BenchDatabase, deals: int, first: int = 0) -> float:
    """Events per second of `registry import`, its own start included. Raises when one line was refused."""
    key = await service.key(database)
    async with service.registry(database) as process:
        with tempfile.NamedTemporaryFile(suffix=".ndjson") as lines:
            for line in workload.lines(deals, first):
                lines.write(line + b"\n")
            lines.flush()
            start = time.perf_counter()
            command = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", "from registry.cli import main; main()", "import", lines.name, "--url", process.url),
                env={**os.environ, "REGISTRY_KEY": key},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            if await command.wait() != 0:
                raise RuntimeError("lines were refused")
            return deals * workload.ROUNDS / (time.perf_counter() - start)
