"""The faults that `make faults` injects, each a few lines that do the damage and undo it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import msgspec
import psutil
from msgspec import Struct

from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE, Embedded
from tests.append_helpers import REGISTERED, pledged
from tests.faults.load import ADMIN_KEY, REQUEST_SECONDS, ServiceProcess, run_command, serving, verify
from tests.faults.test_faults import a_free_port

FROZEN_SECONDS = 3.0
# Longer than a service waits for the lock of the log and for a commit.
LONG_FROZEN_SECONDS = 20.0
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'registry%'"
DISK_MB = 1000


class Missing(Exception):
    """Something that the fault needs is not on this machine."""


class Bench(Struct):
    """What the faults are injected into."""

    folder: Path
    server: Embedded
    services: Sequence[ServiceProcess]
    environ: dict[str, str]

    async def owner(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection of the superuser, as soon as Postgres answers."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError, asyncpg.PostgresError):
                    return await asyncpg.connect(self.server.owner_url)
                await asyncio.sleep(0.05)


class Injection(Struct, frozen=True):
    """A fault: its name, what is done, the injection, and what it needs instead of the common server."""

    name: str
    effect: str
    inject: Callable[[Bench], Awaitable[None]]
    needs: Callable[[Bench], contextlib.AbstractAsyncContextManager[Bench]] | None = None

    @asynccontextmanager
    async def prepared(self, bench: Bench) -> AsyncIterator[Bench]:
        """The bench for this fault."""
        if self.needs is None:
            yield bench
            return
        async with self.needs(bench) as own:
            yield own


# --- processes --------------------------------------------------------------------------------------------------------


async def kill_service(bench: Bench) -> None:
    service = random.choice(bench.services)
    service.kill()
    service.start()
    await service.ready()


async def kill_all_services(bench: Bench) -> None:
    for service in bench.services:
        service.kill()
    for service in bench.services:
        service.start()
    for service in bench.services:
        await service.ready()


async def kill_postgres(bench: Bench) -> None:
    assert bench.server.pid is not None
    os.kill(bench.server.pid, signal.SIGKILL)
    await (await bench.owner()).close()


async def backend_that_writes(owner: asyncpg.Connection[asyncpg.Record]) -> int:
    """The process of a backend that writes a batch at this moment."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'registry recorder' AND state = 'active'"
        " ORDER BY (wait_event LIKE 'Wal%' OR wait_event LIKE 'WAL%') DESC NULLS LAST, wait_event IS NULL LIMIT 1"
    )
    async with asyncio.timeout(30):
        while (pid := await owner.fetchval(query)) is None:  # noqa: ASYNC110 - it lasts for a millisecond
            await asyncio.sleep(0)
    assert isinstance(pid, int)
    return pid


async def kill_backend_in_commit(bench: Bench) -> None:
    owner = await bench.owner()
    os.kill(await backend_that_writes(owner), signal.SIGKILL)
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await owner.close(timeout=1)
    await (await bench.owner()).close()


async def freeze_backend_in_commit(bench: Bench) -> None:
    """Stop a backend that holds the lock of the log for longer than the services wait for the lock and for a COMMIT."""
    owner = await bench.owner()
    holds = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND locktype = 'advisory' AND granted)"
    async with asyncio.timeout(30):
        while True:
            backend = psutil.Process(await backend_that_writes(owner))
            backend.suspend()
            if await owner.fetchval(holds, backend.pid):
                break
            backend.resume()
    try:
        await asyncio.sleep(LONG_FROZEN_SECONDS)
    finally:
        backend.resume()
    await owner.close()


async def freeze_service(bench: Bench) -> None:
    service = random.choice(bench.services)
    service.send_signal(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_SECONDS)
    service.send_signal(signal.SIGCONT)


async def freeze_service_with_lock(bench: Bench) -> None:
    """Stop a service between two statements of a transaction that holds the lock of the log."""
    owner = await bench.owner()
    service = bench.services[0]
    holder = """
    SELECT pid
      FROM pg_locks
           JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND granted
       AND state = 'idle in transaction' AND application_name = 'registry recorder'
    """
    async with asyncio.timeout(60):
        while True:
            await asyncio.sleep(random.uniform(0, 0.02))
            service.send_signal(signal.SIGSTOP)
            # What the other service holds, it does not hold for long.
            if (pid := await owner.fetchval(holder)) is not None:
                await asyncio.sleep(0.5)
                if await owner.fetchval(holder) == pid:
                    break
            service.send_signal(signal.SIGCONT)
    await asyncio.sleep(LONG_FROZEN_SECONDS)
    service.send_signal(signal.SIGCONT)
    await owner.close()


async def freeze_postgres(bench: Bench) -> None:
    await freeze_all_of_postgres(bench, FROZEN_SECONDS)


async def freeze_postgres_in_commit(bench: Bench) -> None:
    """Stop Postgres for so long that the services give up a batch without knowing whether it was recorded."""
    owner = await bench.owner()
    await backend_that_writes(owner)
    await freeze_all_of_postgres(bench, LONG_FROZEN_SECONDS)
    await owner.close()


async def freeze_all_of_postgres(bench: Bench, seconds: float) -> None:
    assert bench.server.pid is not None
    server = psutil.Process(bench.server.pid)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    await asyncio.sleep(seconds)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


# --- connections ------------------------------------------------------------------------------------------------------


async def cut_connections(bench: Bench) -> None:
    owner = await bench.owner()
    await owner.fetch(CUT)
    await owner.close()


async def exhaust_connections(bench: Bench) -> None:
    """Cut the services' connections and take every slot for two seconds."""
    owner = await bench.owner()
    taken: list[asyncpg.Connection[asyncpg.Record]] = []
    deadline = asyncio.get_running_loop().time() + 2

    async def take() -> None:
        while asyncio.get_running_loop().time() < deadline:
            try:
                taken.append(await asyncpg.connect(bench.server.app_url, server_settings={"application_name": "taken"}))
            except (OSError, asyncpg.PostgresError):
                async with turn:
                    await owner.fetch(CUT)

    turn = asyncio.Lock()
    await asyncio.gather(*(take() for _ in range(10)))
    for connection in taken:
        await connection.close()
    await owner.close()


# --- disk and clock ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def small_disk(bench: Bench) -> AsyncIterator[Bench]:
    """A server whose data directory is a small file system of its own."""
    disk = bench.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        raise Missing("a file system can be mounted only by root")
    try:
        settings = {"max_wal_size": "64MB", "wal_recycle": "off"}
        with Embedded(disk / "server", settings=settings) as server:
            async with own_bench(bench, server, "full") as own:
                yield own
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)


@asynccontextmanager
async def own_bench(bench: Bench, server: Embedded, name: str, prefix: Sequence[str] = ()) -> AsyncIterator[Bench]:
    """Two services of their own on a server."""
    await migrations.migrate(server.owner_url, APP_ROLE)
    environ = {
        **bench.environ,
        "REGISTRY_DATABASE_URL": server.app_url,
        "REGISTRY_OWNER_URL": server.owner_url,
    }
    folders = [bench.folder / f"{name}-one", bench.folder / f"{name}-two"]
    services = [ServiceProcess(a_free_port(), folder, environ, prefix=prefix) for folder in folders]
    async with serving(*services):
        yield Bench(bench.folder, server, services, environ)


async def fill_disk(bench: Bench) -> None:
    filler = bench.server.data_dir / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * 2**16)
            file.flush()
    await asyncio.sleep(FROZEN_SECONDS)
    filler.unlink(missing_ok=True)
    await (await bench.owner()).close()


@asynccontextmanager
async def settable_clock(bench: Bench) -> AsyncIterator[Bench]:
    """Services whose clock libfaketime shifts by what is in a file."""
    if shutil.which("faketime") is None:
        raise Missing("faketime is not installed (apt-get install faketime)")
    libraries = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        raise Missing("libfaketime.so.1 was not found")
    file = bench.folder / "clock"
    file.write_text("+0\n")
    prefix = ["env", f"LD_PRELOAD={libraries[0]}", f"FAKETIME_TIMESTAMP_FILE={file}", "FAKETIME_NO_CACHE=1"]
    # Without the last one, libfaketime 0.9.10 converts the deadlines of waits by the monotonic clock, and threads that
    # wait for the interpreter never sleep: a service was not ready after 60 s.
    prefix += ["FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_FORCE_MONOTONIC_FIX=0"]
    with Embedded(bench.folder / "clocked") as server:
        async with own_bench(bench, server, "clocked", prefix) as own:
            yield own
            connection = await own.owner()
            ahead = await connection.fetchval("SELECT count(*) FROM events WHERE recorded_at > now() + interval '6 s'")
            await connection.close()
            assert ahead == 0, f"{ahead} events are dated in the future"


async def jump_clock(bench: Bench) -> None:
    """One hour ahead or back, for two seconds."""
    file = bench.folder / "clock"
    file.write_text(random.choice(["+3600\n", "-3600\n"]))
    await asyncio.sleep(2)
    file.write_text("+0\n")


# --- during other work ------------------------------------------------------------------------------------------------


async def kill_service_during_import(bench: Bench) -> None:
    """Import 400 lines; the service is killed on the way, and the same file is sent again until it is in."""
    deal = f"import-{uuid4().hex[:8]}"
    lines = [{**REGISTERED, "deal": deal, "id": str(uuid4())}]
    lines += [{**pledged(f"p{number}"), "deal": deal, "id": str(uuid4())} for number in range(400)]
    body = b"\n".join(msgspec.json.encode(line) for line in lines)
    service = bench.services[0]

    async def send() -> list[str]:
        """What was not recorded."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/x-ndjson"}
        async with httpx.AsyncClient(timeout=REQUEST_SECONDS, trust_env=False) as client:
            answer = await client.post(f"{service.url}/v1/import", content=body, headers=headers)
        answers = answer.text.splitlines()
        assert len(answers) == len(lines), answers[-1:]
        return [line for line in answers if msgspec.json.decode(line)["status"] not in (200, 201)]

    first = asyncio.create_task(send())
    await asyncio.sleep(random.uniform(0.05, 0.4))
    service.kill()
    await asyncio.gather(first, return_exceptions=True)
    service.start()
    await service.ready()
    refused = await send()
    assert not refused, refused[:3]


async def kill_command(bench: Bench, *arguments: str) -> None:
    """Start a command and kill it on the way."""
    task = asyncio.create_task(run_killed(arguments, bench.environ, random.uniform(0.6, 1.6)))
    await task


async def run_killed(arguments: Sequence[str], environ: dict[str, str], seconds: float) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from registry.cli import main; main()",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=inherited | environ,
        cwd="/",
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), seconds)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def kill_rebuild(bench: Bench) -> None:
    await kill_command(bench, "rebuild", "--data-dir", str(bench.services[0].data_dir))


async def kill_backup(bench: Bench) -> None:
    """Kill a backup; then take one, which must be complete."""
    file = bench.folder / f"{uuid4().hex}.backup"
    await kill_command(bench, "backup", str(file), "--data-dir", str(bench.services[0].data_dir))
    file.unlink(missing_ok=True)
    code, output = await run_command(
        ["backup", str(file), "--data-dir", str(bench.services[0].data_dir)], bench.environ
    )
    assert code == 0, output
    file.unlink()


async def kill_restore(bench: Bench) -> None:
    """Kill a restore into an empty database; then restore again, and verify the copy."""
    file = bench.folder / f"{uuid4().hex}.backup"
    code, output = await run_command(
        ["backup", str(file), "--data-dir", str(bench.services[0].data_dir)], bench.environ
    )
    assert code == 0, output
    owner = await bench.owner()
    name = f"restored_{uuid4().hex[:8]}"
    await owner.execute(f"CREATE DATABASE {name}")
    urls = [url.replace("/registry?", f"/{name}?") for url in (bench.server.app_url, bench.server.owner_url)]
    await migrations.migrate(urls[1], APP_ROLE)
    environ = {**bench.environ, "REGISTRY_DATABASE_URL": urls[0], "REGISTRY_OWNER_URL": urls[1]}
    # A backup is signed with the key in a file; the services of this run share one in the database.
    arguments = ["restore", str(file), "--unverified", "--data-dir", str(bench.folder / name)]
    await run_killed(arguments, environ, random.uniform(0.6, 1.6))
    copy = await asyncpg.connect(urls[1])
    if not await copy.fetchval("SELECT count(*) FROM events"):
        code, output = await run_command(arguments, environ)
        assert code == 0, output
    await copy.close()
    wrong = await verify(bench.services[0], environ, bench.folder / name)
    assert not wrong, wrong
    file.unlink()
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


INJECTIONS = (
    Injection("service killed", "`kill -9` of one of the two services, restarted", kill_service),
    Injection("all services killed", "`kill -9` of both services at once, restarted", kill_all_services),
    Injection("Postgres killed", "`kill -9` of the postmaster", kill_postgres),
    Injection("backend killed in COMMIT", "`kill -9` of a backend while it writes a batch", kill_backend_in_commit),
    Injection(
        "backend frozen in COMMIT",
        "SIGSTOP of a backend for 20 s while it writes a batch and holds the lock of the log",
        freeze_backend_in_commit,
    ),
    Injection("service frozen", "SIGSTOP of a service for 3 s", freeze_service),
    Injection(
        "service frozen with the lock",
        "SIGSTOP of a service for 20 s while it holds the lock of the log between two statements. Postgres ends its"
        " transaction after 10 s; a client whose retry goes to the frozen service waits for it",
        freeze_service_with_lock,
    ),
    Injection("Postgres frozen", "SIGSTOP of all processes of Postgres for 3 s", freeze_postgres),
    Injection(
        "Postgres frozen in COMMIT",
        "SIGSTOP of all processes of Postgres for 20 s while a backend writes a batch",
        freeze_postgres_in_commit,
    ),
    Injection("connections cut", "every connection of the services terminated", cut_connections),
    Injection("connections exhausted", "every slot of the server taken for 2 s", exhaust_connections),
    Injection("disk full", "the file system of Postgres filled for 3 s", fill_disk, small_disk),
    Injection("clock jumps", "the services' clock an hour off for 2 s", jump_clock, settable_clock),
    Injection(
        "killed during an import",
        "`kill -9` of the service while 401 lines arrive; sent again",
        kill_service_during_import,
    ),
    Injection("killed during a rebuild", "`kill -9` of `registry rebuild`", kill_rebuild),
    Injection("killed during a backup", "`kill -9` of `registry backup`; then a whole one", kill_backup),
    Injection("killed during a restore", "`kill -9` of `registry restore`; then again, verified", kill_restore),
)
