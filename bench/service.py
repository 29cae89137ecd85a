"""The processes under test: the registry as an operator runs it, and the baseline application, on one Postgres."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg
import httpx
import psutil
from msgspec import Struct

from registry.append.principals import issue_key
from registry.append.recorder import Recorder
from registry.domain.principal import Rights
from registry.infra import migrations, postgres
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
async def database(
    server: Embedded, *, migrated: bool = True, template: BenchDatabase | None = None
) -> AsyncIterator[BenchDatabase]:
    """Create a database, empty or as a copy of another one, and drop it afterwards."""
    name = f"bench_{next(_serial)}"
    admin = server.url(OWNER_ROLE, "postgres")
    await _execute(admin, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await _execute(admin, f"CREATE DATABASE {name}" + (f" TEMPLATE {template.name}" if template else ""))
    try:
        # The signer refuses to sign a second log with the same key, so each database has its own folder.
        with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
            made = BenchDatabase(name, server.url(OWNER_ROLE, name), server.url(APP_ROLE, name), folder)
            if migrated and template is None:
                await migrations.migrate(made.owner_url, APP_ROLE)
            elif not migrated:
                await _execute(made.owner_url, f"GRANT ALL ON SCHEMA public TO {APP_ROLE}")
            yield made
    finally:
        await _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


async def kept_database(server: Embedded, name: str, folder: Path) -> BenchDatabase:
    """Create a database that stays, with the folder of its services; an earlier one of that name is dropped."""
    admin = server.url(OWNER_ROLE, "postgres")
    await _execute(admin, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await _execute(admin, f"CREATE DATABASE {name}")
    folder.mkdir()
    made = existing_database(server, name, folder)
    await migrations.migrate(made.owner_url, APP_ROLE)
    return made


async def kept_copy(server: Embedded, template: BenchDatabase, name: str, folder: Path) -> BenchDatabase:
    """Create a database that stays, as a copy of another one, with the signing key of its log."""
    admin = server.url(OWNER_ROLE, "postgres")
    await _execute(admin, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await _execute(admin, f"CREATE DATABASE {name} TEMPLATE {template.name}")
    folder.mkdir()
    for file in Path(template.folder).glob("signing.key*"):
        shutil.copy(file, folder)
    return existing_database(server, name, folder)


def existing_database(server: Embedded, name: str, folder: Path) -> BenchDatabase:
    """A database that `kept_database` or `kept_copy` created."""
    return BenchDatabase(name, server.url(OWNER_ROLE, name), server.url(APP_ROLE, name), str(folder))


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


class Hold(Struct, frozen=True, order=True):
    """What held an event loop: the longest hold, how long of it the loop waited for a processor and how long it worked,
    the longest work of its own thread, and where (`bench/served.py`)."""

    held: float
    waited: float
    own: float
    worked: float
    place: str

    @property
    def blocked(self) -> float:
        """How long of the hold the loop waited for the interpreter."""
        return max(0.0, self.held - self.waited - self.own)


class Process:
    """A process that has printed its ready line, `started_in` seconds after its start."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, started_in: float) -> None:
        self._process = process
        self.url = url
        self.started_in = started_in
        self._process_info = psutil.Process(process.pid)

    @property
    def megabytes(self) -> float:
        """Its resident memory in MB (2^20 bytes)."""
        return float(self._process_info.memory_info().rss) / 2**20

    async def hold(self) -> Hold:
        """What held the event loop since the last call (`bench/served.py`)."""
        self._process.send_signal(signal.SIGUSR1)
        assert self._process.stdout is not None
        parts = (await self._process.stdout.readline()).decode().split(maxsplit=9)[1::2]
        held, waited, own, worked = map(float, parts[:4])
        return Hold(held, waited, own, worked, parts[4].strip())

    @property
    def processor_seconds(self) -> float:
        """The processor time that the process has used."""
        times = self._process_info.cpu_times()
        return float(times.user + times.system)


@asynccontextmanager
async def _running(*command: str, **environment: str) -> AsyncIterator[Process]:
    begin = time.perf_counter()
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
        yield Process(process, line.split()[1], time.perf_counter() - begin)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


@asynccontextmanager
async def registry(made: BenchDatabase, *, watched: bool = False, **environment: str) -> AsyncIterator[Process]:
    """`registry serve` on a database; with `watched`, its event loop is (`bench/served.py`)."""
    served = ("-m", "bench.served")
    command = served if watched else ("-c", "from registry.cli import main; main()", "serve")
    async with _running(
        *command,
        REGISTRY_PORT="0",
        REGISTRY_DATABASE_URL=made.app_url,
        REGISTRY_OWNER_URL=made.owner_url,
        REGISTRY_DATA_DIR=made.folder,
        **environment,
    ) as process:
        yield process


async def ready(process: Process, client: httpx.AsyncClient) -> float:
    """Wait as a load balancer does until the service is ready, and return the seconds since its start."""
    begin = time.perf_counter()
    while (await client.get("/health/ready")).status_code == 503:  # noqa: ASYNC110 - it is asked over HTTP
        await asyncio.sleep(0.05)
    return process.started_in + time.perf_counter() - begin


async def answered(client: httpx.AsyncClient, path: str) -> None:
    """Ask until the service answers: it refuses while it makes its copy of all deals, or the index for search."""
    while (answer := await client.get(path)).status_code == 503:
        pass
    answer.raise_for_status()


@asynccontextmanager
async def baseline(made: BenchDatabase) -> AsyncIterator[Process]:
    """The baseline application on a database that is not migrated."""
    from bench.baseline import TABLE

    await _execute(made.app_url, TABLE)
    async with _running("-m", "bench.baseline", made.app_url) as process:
        yield process
