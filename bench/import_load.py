"""Imports as a client sends them: NDJSON in one streamed request, or with the command `registry import`."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import httpx
from msgspec import Struct

from bench import service, workload
from bench.service import BenchDatabase, Process

CHUNK_BYTES = 2**16
DEALS_PER_REQUEST = 2_560
"""The client reads no result before it has sent the last line, and the service closes a connection that it cannot
write to for a minute (`write_seconds`): a request must be sent within that time on a slow machine, too."""


class ImportResult(Struct, frozen=True):
    """The result of an import: events per second, and the service's memory before it and its peak, in MB."""

    rate: float
    before: float
    peak: float


@asynccontextmanager
async def ready_service(database: BenchDatabase) -> AsyncIterator[Process]:
    """A service that is ready: it has made its copy of all deals, which takes both processors for some seconds."""
    async with service.registry(database) as process:
        async with httpx.AsyncClient(base_url=process.url, timeout=600) as client:
            await service.ready(process, client)
        yield process


async def histories(database: BenchDatabase, deals: int, first: int = 0) -> ImportResult:
    """Import the histories of `deals` deals through a new service once it is ready. Raises if a line is rejected."""
    key = await service.key(database)
    async with ready_service(database) as process:
        return await import_into(process, key, deals, first)


async def import_into(process: Process, key: str, deals: int, first: int = 0) -> ImportResult:
    """Import the histories of `deals` deals through a running service. Raises if a line is rejected."""
    results, took = [], 0.0
    for part in range(first, first + deals, DEALS_PER_REQUEST):
        some = min(DEALS_PER_REQUEST, first + deals - part)
        results.append(await import_lines(process, key, workload.lines(some, part)))
        # Without the time in which the lines were made.
        took += some * workload.ROUNDS / results[-1].rate
    return ImportResult(deals * workload.ROUNDS / took, results[0].before, max(result.peak for result in results))


async def import_lines(process: Process, key: str, announcements: Iterable[bytes]) -> ImportResult:
    """Import announcements through a running service. Raises if a line is rejected."""
    sent = 0
    with tempfile.TemporaryFile() as lines:
        for line in announcements:
            lines.write(line + b"\n")
            sent += 1
        lines.seek(0)
        before = process.megabytes
        peaks = [before]

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := lines.read(CHUNK_BYTES):
                yield chunk
                peaks.append(process.megabytes)

        start = time.perf_counter()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        recorded = 0
        async with (
            httpx.AsyncClient(base_url=process.url, timeout=None) as client,
            client.stream("POST", "/v1/import", content=chunks(), headers=headers) as answer,
        ):
            async for result in answer.aiter_lines():
                recorded += '"status":201' in result
        took = time.perf_counter() - start
    if recorded != sent:
        raise RuntimeError(f"{recorded} of {sent} lines were recorded")
    return ImportResult(recorded / took, before, max(peaks))


async def import_with_command(database: BenchDatabase, deals: int, first: int = 0) -> float:
    """Events per second of `registry import`, including the command's start. Raises if a line is rejected."""
    key = await service.key(database)
    async with ready_service(database) as process:
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
                raise RuntimeError("the service rejected lines")
            return deals * workload.ROUNDS / (time.perf_counter() - start)
