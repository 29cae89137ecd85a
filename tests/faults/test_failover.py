"""Kill the primary of a synchronous cluster under load: no acknowledged event is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.errors import RegistryError
from registry.infra import postgres
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import APP_ROLE, OWNER_ROLE, Embedded
from registry.infra.embedded.user import User, environment, run
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.conftest import ScratchDatabase

IN_STEP = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path that the Postgres user can read."""
    made = Path(tempfile.mkdtemp(prefix="registry"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def moved(url: str, sockets: Path) -> str:
    """The URL of the same database on the server whose socket is in `folder`."""
    query = urlencode({"host": str(sockets), "port": 5432}, quote_via=quote)
    return urlunsplit(urlsplit(url)._replace(query=query))


@contextmanager
def standby(primary: Embedded, folder: Path) -> Iterator[Path]:
    """A running standby that streams from the primary; yields the folder of its socket."""
    binaries = find_binaries(User.for_data_dir())
    user = User.for_data_dir(primary.pgdata)
    os.chown(folder, user.uid, user.gid)
    # The standby runs under a user that must reach the primary's socket.
    primary.data_dir.chmod(0o755)
    copy = folder / "standby"
    source = primary.url(OWNER_ROLE, "postgres")
    command = [str(binaries.bin / "pg_basebackup"), "-D", str(copy), "-R", "-X", "stream", "-c", "fast", "-d", source]
    done = run(command, user)
    assert done.returncode == 0, done.stdout
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "port": "5432", "fsync": "off"}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "standby.log").open("wb") as log:
        server = subprocess.Popen(
            [str(binaries.bin / "postgres"), "-D", str(copy), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment(),
            user=user.uid if user.other else None,
            group=user.gid if user.other else None,
            extra_groups=() if user.other else None,
        )
    try:
        yield folder
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


async def answers(url: str) -> asyncpg.Connection[asyncpg.Record]:
    """Connect, as soon as the server accepts connections."""
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                return await asyncpg.connect(url)
            await asyncio.sleep(0.05)


async def test_killed_primary_of_a_synchronous_cluster_loses_no_acknowledged_event(folder: Path) -> None:
    with Embedded(folder / "primary") as primary:
        await postgres.migrate(primary.owner_url, APP_ROLE)
        with standby(primary, folder) as copy:
            owner = await asyncpg.connect(primary.owner_url)
            await (await answers(moved(primary.owner_url, copy))).close()
            await owner.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await owner.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(30):
                while not await owner.fetchval(IN_STEP):  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.05)
            acknowledged: dict[str, int] = {}
            open_: dict[str, AppendRequest] = {}

            async def write(recorder: Recorder, name: str) -> None:
                """Record one request after another until one is not acknowledged."""
                asked = request(name, REGISTERED, idempotency_key=f"{name}-0")
                for n in range(1, 100_000):
                    open_[name] = asked
                    outcome = await recorder.record(asked)
                    acknowledged[asked.idempotency_key or ""] = outcome.position
                    asked = request(name, pledged(f"p{n}", id=str(uuid4())), idempotency_key=f"{name}-{n}")

            async with running_recorder(primary.app_url) as recorder:
                writers = [asyncio.create_task(write(recorder, f"writer-{n}")) for n in range(10)]
                async with asyncio.timeout(60):
                    while len(acknowledged) < 100:  # noqa: ASYNC110 - the writers are another's clients
                        await asyncio.sleep(0.01)
                assert primary.pid is not None
                os.kill(primary.pid, signal.SIGKILL)
                await asyncio.to_thread(primary.stop)
                ended = await asyncio.gather(*writers, return_exceptions=True)
                assert all(isinstance(error, RegistryError) for error in ended)
            owner.terminate()
            promoting = await answers(moved(primary.owner_url, copy))
            assert await promoting.fetchval("SELECT pg_promote()")
            await promoting.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await promoting.execute("SELECT pg_reload_conf()")
            url = moved(primary.app_url, copy)
            async with running_recorder(url) as recorder:
                # A retry with the same key settles a request that was not acknowledged: it is replayed or recorded now.
                for name, asked in open_.items():
                    outcome = await recorder.record(asked)
                    acknowledged[asked.idempotency_key or ""] = outcome.position
                    assert (await recorder.record(request(name, pledged("last")))).position > outcome.position
            rows = await promoting.fetch("SELECT key, answer FROM idempotency")
            assert {row["key"] for row in rows} == acknowledged.keys()
            connections = await postgres.pool(url)
            async with connections:
                found = await positions(connections)
            assert found == list(range(1, len(acknowledged) + len(open_) + 1))
            assert set(acknowledged.values()) <= set(found)
            assert len(set(acknowledged.values())) == len(acknowledged)
            await promoting.close()
            await assert_projections_match_log(
                ScratchDatabase(name="registry", owner_url=moved(primary.owner_url, copy), app_url=url)
            )
