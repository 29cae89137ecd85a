"""One Postgres for the whole run, and a fresh migrated database for each test that asks for one.

The server is, in this order: the one that REGISTRY_TEST_DATABASE_URL names (as a superuser), one in Docker where an
engine answers, else the embedded one, from the programs in REGISTRY_TEST_POSTGRES_BIN if that is set. The run's header
says which. Where the tests are spread over several processes each has a server of its own, but for one that is named:
nothing on a server, neither a database nor a role, has the same name in two processes.
"""

from __future__ import annotations

import gc
import itertools
import os
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from shutil import disk_usage
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from msgspec import Struct
from msgspec.structs import replace

from registry.cli.demo import announcements
from registry.infra import postgres
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import OWNER_ROLE, Embedded
from registry.infra.embedded.user import User

# No test asserts a time: how long an example takes says something of the machine, nothing of the registry.
settings.register_profile("registry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("registry")

# Seconds after which what a test waits for is not coming. So long because nothing follows from how fast it comes: on a
# machine that does much else it comes late.
PATIENCE = 60.0

# A database is a thousand files: on a disk, to make and to drop one takes ten times as long as in memory.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK | os.X_OK) and disk_usage(MEMORY).free > 4 * 2**30:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# Tests, and what they start, talk to this machine alone: a proxy that the environment names has no part in it.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1", "localhost", "::1"]))

IMAGE = "postgres:18-alpine"
APP_ROLE = "_".join(filter(None, ["registry_test_app", os.environ.get("PYTEST_XDIST_WORKER")]))

NO_CHROMIUM = "no Chromium was found: the pages were NOT walked in a browser (install chromium, or set CHROMIUM to it)"

# Tests kill processes, never the machine: nothing is lost without fsync, and a database is made three times as fast.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB", "max_connections": "200"}


class Server(Struct, frozen=True):
    """Where the tests' databases are made, and what of: `keys` is the folder of the keys that signed the template."""

    admin_url: str
    template: str
    app_password: str
    keys: Path | None = None


class ScratchDatabase(Struct, frozen=True):
    """One test's own database, migrated and empty."""

    name: str
    owner_url: str
    app_url: str


@cache
def docker_answers() -> bool:
    """Whether a Docker engine can be asked to start a container."""
    scheme, _, place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    # Plain sockets: an HTTP client that cannot connect leaves one open, which is an error here.
    address: str | tuple[str, int] = place
    family = socket.AF_UNIX
    if scheme != "unix":
        host, _, port = place.rstrip("/").rpartition(":")
        address, family = (host, int(port)), socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(3)
        try:
            client.connect(address)
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in client.recv(64)
        except OSError:
            return False


def installation() -> Path | None:
    """The programs to use instead of the packaged ones, if the environment names some."""
    given = os.environ.get("REGISTRY_TEST_POSTGRES_BIN")
    return Path(given) if given else None


def pytest_report_header() -> str:
    """Says which Postgres the tests run on."""
    if os.environ.get("REGISTRY_TEST_DATABASE_URL"):
        return "postgres: the one of REGISTRY_TEST_DATABASE_URL"
    if installation() is None and docker_answers():
        return f"postgres: {IMAGE} in Docker"
    return f"postgres: embedded {find_binaries(User.for_data_dir(), installation()).version}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says loudly when no browser looked at the pages."""
    if any(NO_CHROMIUM in str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.section("the pages", sep="!", red=True, bold=True)
        terminalreporter.line(NO_CHROMIUM, red=True, bold=True)


def at(url: str, database: str, role: str | None = None, password: str = "") -> str:
    """The same server's URL for another database, and another role if one is given."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    netloc = parts.netloc if role is None else f"{quote(role)}:{quote(password, safe='')}@{place}"
    # Not urlunsplit alone: it drops the empty host of a socket's URL.
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: a tenth of the run would go into looking through it for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


# The files that take longest come first, where several processes share the tests: the others fill up what is left.
LONGEST = (
    "test_bench.py",
    "test_browser.py",
    "test_service.py",
    "test_document.py",
    "test_tracker.py",
    "test_faults.py",
    "test_signing.py",
    "test_pages.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order in which the processes take them, file by file."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def admin_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A superuser's URL on a server that is there for this run."""
    given = os.environ.get("REGISTRY_TEST_DATABASE_URL")
    if given:
        yield given
    elif installation() is None and docker_answers():
        # Imported here: without an engine it is not needed, and it is slow to import.
        from testcontainers.community.postgres import PostgresContainer

        container = PostgresContainer(IMAGE, username=OWNER_ROLE, dbname="postgres", driver=None)
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        with container.with_command(f"postgres {options}") as running:
            yield running.get_connection_url()
    else:
        data = tmp_path_factory.mktemp("server")
        with Embedded(data, binaries=installation(), settings=SETTINGS) as server:
            yield server.url(OWNER_ROLE, "postgres")


@pytest_asyncio.fixture(scope="session")
async def server(admin_url: str) -> AsyncIterator[Server]:
    """The server with its template: a database migrated once, which every test's own is a copy of."""
    template = f"registry_template_{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(16)
    admin = await asyncpg.connect(admin_url)
    try:
        if not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", APP_ROLE):
            await admin.execute(f"CREATE ROLE {APP_ROLE} LOGIN")
        await admin.execute(f"ALTER ROLE {APP_ROLE} PASSWORD '{password}'")
        await admin.execute(f"CREATE DATABASE {template}")
        await postgres.migrate(at(admin_url, template), APP_ROLE)
        yield Server(admin_url=admin_url, template=template, app_password=password)
        await admin.execute(f"DROP DATABASE {template} WITH (FORCE)")
    finally:
        await admin.close()


@pytest_asyncio.fixture(scope="session")
async def admin(server: Server) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The superuser's connection that makes and drops databases."""
    connection = await asyncpg.connect(server.admin_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="session")
async def demo_server(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Server]:
    """The server with a template that holds the demo's deals: they are posted once, for all who begin with them."""
    # Imported here: it imports this module.
    from tests.api.conftest import cloned, running

    async with cloned(server, admin, "demo") as settings:
        async with running(settings) as service:
            for path, announcement in announcements():
                answer = await service.client.post(path, json=announcement)
                assert answer.status_code == 201, answer.text
        yield replace(server, template=f"{server.template}_demo", keys=settings.data_dir)


serial = itertools.count(1)


@pytest.fixture
async def database(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[ScratchDatabase]:
    """An empty registry of this test's own."""
    name = f"{server.template.replace('template', 'test')}_{next(serial)}"
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {server.template}")
    yield ScratchDatabase(
        name=name,
        owner_url=at(server.admin_url, name),
        app_url=at(server.admin_url, name, APP_ROLE, server.app_password),
    )
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def owner(database: ScratchDatabase) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the tables' owner."""
    connection = await asyncpg.connect(database.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database: ScratchDatabase) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """The application's pool, with the application's rights and no others."""
    connections = await postgres.pool(database.app_url, name="registry tests")
    yield connections
    await connections.close()
