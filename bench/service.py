"""The processes under test: the registry as an operator runs it, and the baseline application, on one Postgres."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg
import psutil
from msgspec import Struct

from registry.append.principals import issue_key
from registry.append.recorder import Recorder
from registry.domain.principal import Rights
from registry.infra import postgres
from registry.infra.embedded.server import APP_ROLE, OWNER_ROLE, Embedded

_serial = count(1)
ROOT = Path(__file__).parent.parent


class BenchDatabase(Struct, frozen=True):
    """A database: the URLs of its owner and of the application's role, and the data directory of its services."""

    name: str
    owner_url: str
    app_url: str
    folder: str


@asynccontextmanager
async def database(server: Embedded, *, migrated: bool = True) -> AsyncIterator[BenchDatabase]:
    """Create a database, and drop it afterwards."""
    name = f"bench_{next(_serial)}"
    admin = server.url(OWNER_ROLE, "postgres")
    await _execute(admin, f"CREATE DATABASE {name}")
    try:
        # The signer refuses to sign a second log with the same key, so each database has its own folder.
        with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
            made = BenchDatabase(name, server.url(OWNER_ROLE, name), server.url(APP_ROLE, name), folder)
            if migrated:
                await postgres.migrate(made.owner_url, APP_ROLE)
            else:
                await _execute(made.owner_url, f"GRANT ALL ON SCHEMA public TO {APP_ROLE}")
            yield made
    finally:
        await _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def key(made: BenchDatabase) -> str:
    """Create an API key with the scopes to record and correct."""
    async with await postgres.pool(made.app_url, min_size=1, max_size=2) as pool, Recorder(pool) as recorder:
        rights = Rights(scopes=("record", "correct"))
        return (await issue_key(recorder, pool, rights, name="bench", kind="system")).secret


class Process:
    """A process that has printed its ready line."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url
        self._process_info = psutil.Process(process.pid)

    @property
    def megabytes(self) -> float:
        """Its resident memory in MB (2^20 bytes)."""
        return float(self._process_info.memory_info().rss) / 2**20


@asynccontextmanager
async def _running(*command: str, **environment: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=ROOT,
        env={**os.environ, "REGISTRY_RATE_LIMITS": "off", **environment},
        stdout=asyncio.subprocess.PIPE,
        # The service writes its access log as in production; the pipe's other end must not slow it down.
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()
        if not line.startswith("ready "):
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield Process(process, line.split()[1])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


@asynccontextmanager
async def registry(made: BenchDatabase) -> AsyncIterator[Process]:
    """`registry serve` on a database."""
    command = ("-c", "from registry.cli import main; main()", "serve", "--port", "0")
    async with _running(
        *command,
        REGISTRY_DATABASE_URL=made.app_url,
        REGISTRY_OWNER_URL=made.owner_url,
        REGISTRY_DATA_DIR=made.folder,
    ) as process:
        yield process


@asynccontextmanager
async def baseline(made: BenchDatabase) -> AsyncIterator[Process]:
    """The baseline application on a database that is not migrated."""
    from bench.baseline import TABLE

    await _execute(made.app_url, TABLE)
    async with _running("-m", "bench.baseline", made.app_url) as process:
        yield process
