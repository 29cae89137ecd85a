"""One Postgres for the whole run, and a fresh migrated database for each test that asks for one.

The server is, in this order: the one that REGISTRY_TEST_DATABASE_URL names (as a superuser), one in Docker where an
engine answers, else the embedded one, from the programs in REGISTRY_TEST_POSTGRES_BIN if that is set. The run's header
says which. Where the tests are spread over several processes each has a server of its own, but for one that is named:
nothing on a server, neither a database nor a role, has the same name in two processes.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio
from msgspec import Struct

from registry.infra import migrations, postgres
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import OWNER_ROLE, Embedded
from registry.infra.embedded.user import User

IMAGE = os.environ.get("REGISTRY_TEST_POSTGRES_IMAGE", "postgres:18-alpine")
APP_ROLE = "_".join(filter(None, ["registry_test_app", os.environ.get("PYTEST_XDIST_WORKER")]))

# Tests kill processes, not the machine, so fsync is not needed; creating a database is three times as fast without it.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB", "max_connections": "200"}


class Server(Struct, frozen=True):
    """The server of the test run and its template; `keys` is the folder of the keys that signed the template."""

    admin_url: str
    template: str
    app_password: str
    keys: Path | None = None


class ScratchDatabase(Struct, frozen=True):
    """A database of one test, migrated and empty."""

    name: str
    owner_url: str
    app_url: str


@cache
def docker_answers() -> bool:
    """Whether a Docker engine answers."""
    scheme, _, place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").partition("://")
    # Plain sockets, because an HTTP client that cannot connect leaves a socket open, which is an error here.
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
    """The Postgres programs that the environment names instead of the packaged ones."""
    given = os.environ.get("REGISTRY_TEST_POSTGRES_BIN")
    return Path(given) if given else None


def pytest_report_header() -> str:
    """Report which Postgres the tests run on."""
    if os.environ.get("REGISTRY_TEST_DATABASE_URL"):
        return "postgres: the one of REGISTRY_TEST_DATABASE_URL"
    if installation() is None and docker_answers():
        return f"postgres: {IMAGE} in Docker"
    return f"postgres: embedded {find_binaries(User.for_data_dir(), installation()).version}"


def at(url: str, database: str, role: str | None = None, password: str = "") -> str:
    """The URL of another database, and optionally another role, of the same server."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    netloc = parts.netloc if role is None else f"{quote(role)}:{quote(password, safe='')}@{place}"
    # urlunsplit drops the empty host of a socket's URL.
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


async def copy_database(admin: asyncpg.Connection[asyncpg.Record], template: str, name: str) -> None:
    """Create a database that is a copy of another one."""
    # Copying the files takes half the processor time of writing them to the log, which Postgres does by default.
    strategy = "STRATEGY file_copy" if admin.get_server_version().major >= 15 else ""
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")


@pytest.fixture(scope="session")
def admin_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A superuser's URL on a server for this run."""
    given = os.environ.get("REGISTRY_TEST_DATABASE_URL")
    if given:
        yield given
    elif installation() is None and docker_answers():
        # Slow to import, and not needed without an engine.
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
    """The server with a template: a database that is migrated once and copied for every test."""
    template = f"registry_template_{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(16)
    admin = await asyncpg.connect(admin_url)
    try:
        if not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", APP_ROLE):
            await admin.execute(f"CREATE ROLE {APP_ROLE} LOGIN")
        await admin.execute(f"ALTER ROLE {APP_ROLE} PASSWORD '{password}'")
        await admin.execute(f"CREATE DATABASE {template}")
        await migrations.migrate(at(admin_url, template), APP_ROLE)
        yield Server(admin_url=admin_url, template=template, app_password=password)
        await admin.execute(f"DROP DATABASE {template} WITH (FORCE)")
    finally:
        await admin.close()


@pytest_asyncio.fixture(scope="session")
async def admin(server: Server) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The superuser's connection that creates and drops databases."""
    connection = await asyncpg.connect(server.admin_url)
    yield connection
    await connection.close()


serial = itertools.count(1)


@pytest.fixture
async def database(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[ScratchDatabase]:
    """An empty registry for one test."""
    name = f"{server.template.replace('template', 'test')}_{next(serial)}"
    await copy_database(admin, server.template, name)
    yield ScratchDatabase(
        name=name,
        owner_url=at(server.admin_url, name),
        app_url=at(server.admin_url, name, APP_ROLE, server.app_password),
    )
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def owner(database: ScratchDatabase) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the role that owns the tables."""
    connection = await asyncpg.connect(database.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database: ScratchDatabase) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """A pool with the rights of the application's role."""
    connections = await postgres.pool(database.app_url, name="registry tests")
    yield connections
    await connections.close()
