"""A primary and its standbys, made of the embedded server's programs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import OWNER_ROLE, Embedded
from registry.infra.embedded.user import User, environment, run


def moved(url: str, *sockets: Path, attributes: str = "any") -> str:
    """The URL of the same database on the servers whose sockets are in these folders."""
    place = {"host": ",".join(map(str, sockets)), "port": ",".join("5432" for _ in sockets)}
    query = urlencode({**place, "target_session_attrs": attributes}, quote_via=quote)
    return urlunsplit(urlsplit(url)._replace(query=query))


class Standby(Struct):
    """A running standby: the folder of its socket, and its process."""

    sockets: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a power failure does."""
        self.process.kill()
        self.process.wait(30)


@contextmanager
def standby(primary: Embedded, folder: Path) -> Iterator[Standby]:
    """A running standby that streams from the primary. Its socket is in the folder, which must have a short path."""
    folder.mkdir(exist_ok=True)
    user = User.for_data_dir(primary.pgdata)
    os.chown(folder, user.uid, user.gid)
    # The standby runs under a user that must reach the primary's socket.
    primary.data_dir.chmod(0o755)
    copy = folder / "standby"
    source = primary.url(OWNER_ROLE, "postgres")
    binaries = find_binaries(User.for_data_dir())
    command = [str(binaries.bin / "pg_basebackup"), "-D", str(copy), "-R", "-X", "stream", "-c", "fast", "-d", source]
    done = run(command, user)
    assert done.returncode == 0, done.stdout
    running = Standby(folder, start(copy, folder, user))
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            running.process.wait(30)


def start(pgdata: Path, folder: Path, user: User) -> subprocess.Popen[bytes]:
    """Start the server of a data directory, with its socket in the folder."""
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "port": "5432", "fsync": "off"}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "standby.log").open("ab") as log:
        return subprocess.Popen(
            [str(find_binaries(User.for_data_dir()).bin / "postgres"), "-D", str(pgdata), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment(),
            user=user.uid if user.other else None,
            group=user.gid if user.other else None,
            extra_groups=() if user.other else None,
        )


async def answers(url: str) -> asyncpg.Connection[asyncpg.Record]:
    """Connect, as soon as the server accepts connections."""
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                return await asyncpg.connect(url)
            await asyncio.sleep(0.05)


async def execute(url: str, *statements: str) -> None:
    """Run statements on the server of a URL."""
    connection = await answers(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def caught_up(owner_url: str, standby_url: str) -> None:
    """Wait until a standby has replayed what its primary has written."""
    primary, copy = await answers(owner_url), await answers(standby_url)
    written = await primary.fetchval("SELECT pg_current_wal_lsn()")
    async with asyncio.timeout(60):
        while not await copy.fetchval("SELECT pg_last_wal_replay_lsn() >= $1", written):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await primary.close()
    await copy.close()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - servers have no event for it
            await asyncio.sleep(0.05)
