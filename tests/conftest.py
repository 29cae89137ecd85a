"""One Postgres for the whole run, and a fresh migrated database for each test that asks for one.

The server is, in this order: the one that REGISTRY_TEST_DATABASE_URL names (as a superuser), one in Docker where an
engine answers, else the embedded one, from the programs in REGISTRY_TEST_POSTGRES_BIN if that is set. The run's header
says which. Where the tests are spread over several processes each has a server of its own, but for one that is named:
nothing on a server, neither a database nor a role, has the same name in two processes.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import secrets
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Generator, Iterator
from functools import cache
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio
import structlog
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import HealthCheck, settings
from msgspec import Struct
from msgspec.structs import replace

from registry.cli import demo
from registry.infra import migrations, postgres
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.server import OWNER_ROLE, Embedded
from registry.infra.embedded.user import User
from tests.hung import tasks_shown_after

if TYPE_CHECKING:
    from tests.api.conftest import Service


def examples(count: int) -> int:
    """How many examples a property is tried on: `count` in `make test`, ten times as many in `make drills`."""
    return count * int(os.environ.get("REGISTRY_TEST_EXAMPLES", "1"))


# No deadline: tests never assert a time.
settings.register_profile(
    "registry", max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("registry")


def drill(*values: Any) -> Any:
    """Parameters of a test that `make drills` runs, and `make test` runs only with others."""
    return pytest.param(*values, marks=pytest.mark.drill)


# The default writes tracebacks with all local variables, which takes seconds for an error in a template.
structlog.configure(
    [
        structlog.contextvars.merge_contextvars,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Seconds that a test waits for something to happen. Long, so that a busy machine does not make a test fail.
PATIENCE = 60.0

# A database has a thousand files: creating and dropping one is ten times as fast in memory.
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK | os.X_OK) and disk_usage(MEMORY).free > 4 * 2**30:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# Tests connect to this machine only, never through a proxy.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1", "localhost", "::1"]))

IMAGE = os.environ.get("REGISTRY_TEST_POSTGRES_IMAGE", "postgres:18-alpine")
APP_ROLE = "_".join(filter(None, ["registry_test_app", os.environ.get("PYTEST_XDIST_WORKER")]))

NO_CHROMIUM = "no Chromium was found: the pages were NOT walked in a browser (install chromium, or set CHROMIUM to it)"
NO_PGBOUNCER = "no PgBouncer was found: the service was NOT tried behind a pooler (install pgbouncer)"
NO_PROMTOOL = "no promtool was found: the alert rules were NOT checked (install prometheus)"
NO_GENERATOR = "not installed: the OpenAPI document was NOT read by every generator of clients (CONTRIBUTING.md)"
NO_PROVIDER = "no OpenID provider was found: signing in through one was NOT tried (node; npm ci --prefix tests/oidc)"
NO_PGBACKREST = "no pgBackRest or no Debian Postgres was found: NOTHING was restored to a point in time (install both)"
NO_KUSTOMIZE = "no kustomize was found: the Kubernetes example was NOT built (install kubectl or kustomize)"
NO_SCHEMAS = (
    "no schemas of Kubernetes were found: its example was NOT validated"
    " (pip install --no-deps -r tests/packaging/requirements-kubernetes.txt)"
)
NO_INSTALLER = "no index was asked: the README's commands for pipx and uv were NOT run"
NO_NETWORK = "root, ip, curl, caddy or haproxy is missing: NO proxy at another address was tried"
NO_CONTAINERS = "no container was started: the image and the compose file were NOT tested"

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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Report loudly what was skipped for want of a program."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    for title, notice in (
        ("the pages", NO_CHROMIUM),
        ("the containers", NO_CONTAINERS),
        ("the installation", NO_INSTALLER),
        ("the pooler", NO_PGBOUNCER),
        ("the proxies", NO_NETWORK),
        ("the alerts", NO_PROMTOOL),
        ("the point-in-time recovery", NO_PGBACKREST),
        ("the Kubernetes example", NO_KUSTOMIZE),
        ("the schemas of Kubernetes", NO_SCHEMAS),
        ("the OpenAPI document", NO_GENERATOR),
        ("signing in through OpenID", NO_PROVIDER),
    ):
        if any(notice in reason for reason in reasons):
            terminalreporter.section(title, sep="!", red=True, bold=True)
            terminalreporter.line(notice, red=True, bold=True)


def at(url: str, database: str, role: str | None = None, password: str = "") -> str:
    """The URL of another database, and optionally another role, of the same server."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    netloc = parts.netloc if role is None else f"{quote(role)}:{quote(password, safe='')}@{place}"
    # urlunsplit drops the empty host of a socket's URL.
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


# Whether an earlier run has compiled the tests.
COMPILED = any(Path(__file__).parent.glob("web/__pycache__/*-pytest-*.pyc"))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, None, None]:
    """Let one of several processes compile the tests of a new clone: each would do it for itself, at the same time."""
    worker = getattr(session.config, "workerinput", None)
    if COMPILED or worker is None:
        return (yield)
    done = Path(tempfile.gettempdir(), f"registry-tests-{worker['testrunuid']}-compiled")
    if worker["workerid"] == "gw0":
        try:
            return (yield)
        finally:
            done.touch()
            session.config.add_cleanup(done.unlink)
    deadline = time.monotonic() + PATIENCE
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return (yield)


# Until the tests are collected, nearly every object stays: the collector took a seventh of that time.
gc.disable()


def pytest_collection_finish() -> None:
    """Freeze the objects that exist now: the collector would spend a tenth of the run on them."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)


# Where several processes share the tests, the slowest files start first.
LONGEST = (
    "test_browser.py",
    "test_service.py",
    "test_tracker.py",
    "test_contradictions.py",
    "test_portfolio_pages.py",
    "test_log.py",
    "test_pages.py",
    "test_redaction.py",
    "test_mirror.py",
    "test_embedded.py",
    "test_webhooks.py",
    "test_signing.py",
    "test_articles.py",
    "test_certificate.py",
    "test_watches.py",
    "test_filtered_certificates.py",
    "test_auditors_page.py",
    "test_total_certificate.py",
    "test_columnar_copy.py",
    "test_watch_webhooks.py",
    "test_contract_fuzz.py",
    "test_witness.py",
    "test_cli.py",
    "test_rebuild.py",
    "test_cite_panel.py",
    "test_languages.py",
    "test_language.py",
    "test_access_tokens.py",
    "test_tampering.py",
    "test_order.py",
    "test_recording.py",
    "test_shared_key.py",
    "test_list_certificates.py",
    "test_lists.py",
    "test_principals.py",
    "test_walk.py",
    "test_alerts.py",
    "test_middleware.py",
    "test_files.py",
    "test_search_pages.py",
    "test_mementos.py",
    "test_asking.py",
    "test_backup.py",
    "test_exports.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, file by file, as the processes take them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Show the asyncio tasks of a test that hangs, before faulthandler ends the run."""
    seconds = float(item.config.getini("faulthandler_timeout")) - 20
    with tasks_shown_after(seconds, item.nodeid, item.config.stash[fault_handler_stderr_fd_key]):
        return (yield)


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


@pytest_asyncio.fixture(scope="session")
async def demo_server(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Server]:
    """The server with a template that contains the demo, replayed once."""
    # Imported here, because it imports this module.
    from tests.api.conftest import cloned, running

    async with cloned(server, admin, "demo") as settings:
        assert settings.database_url is not None
        async with await postgres.pool(settings.database_url, max_size=1) as pool:
            assert await demo.load(pool, settings)
        # Registers the administrator, and signs the log.
        async with running(settings):
            pass
        yield replace(server, template=f"{server.template}_demo", keys=settings.data_dir)


@pytest_asyncio.fixture(scope="session", name="demo")
async def demo_service(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that holds the demo, for packages whose tests record deals of their own beside it."""
    from tests.api.conftest import cloned, running

    async with cloned(demo_server, admin, "demo_service") as settings, running(settings) as service:
        yield service


def known_loggers() -> dict[str, logging.Logger]:
    """The loggers of this process, without the root."""
    known = logging.getLogger().manager.loggerDict
    return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Take back what a test changes in how this process logs."""
    configuration, root = structlog.get_config(), logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    levels = {name: logger.level for name, logger in known_loggers().items()}
    yield
    structlog.configure(**configuration)
    root.setLevel(level)
    root.handlers[:] = handlers
    for name, logger in known_loggers().items():
        logger.setLevel(levels.get(name, logging.NOTSET))


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
