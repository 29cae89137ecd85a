"""The service as its users meet it: over HTTP, on a loopback port, on a database of its own."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
import uvicorn
from msgspec import Struct

from registry import keys
from registry.app import create_app
from registry.settings import Settings
from tests.conftest import APP_ROLE, Server, at

ADMIN_KEY = "an-admin-key-for-the-tests-of-the-api"

numbers = itertools.count(1)


class Service(Struct):
    """A running service. `client` sends the admin key, `visitor` none."""

    url: str
    settings: Settings
    client: httpx.AsyncClient
    visitor: httpx.AsyncClient
    pool: Any
    app: Any

    async def size(self) -> int:
        """How many events the log holds."""
        return int(await self.pool.fetchval("SELECT count(*) FROM events"))

    async def key(self, *scopes: keys.Scope) -> dict[str, str]:
        """The headers of a new key with these scopes."""
        return {"Authorization": f"Bearer {await keys.create(self.pool, 'test', scopes)}"}


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """The service with these settings."""
    app = create_app(settings)
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="on", log_config=None, access_log=False, server_header=False
    )
    server = uvicorn.Server(config)
    # Signals are the test run's own to handle.
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server._serve([listening]))
        while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        if serving.done():
            await serving
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        admin = {"Authorization": f"Bearer {settings.admin_key}"}
        async with (
            httpx.AsyncClient(base_url=url, headers=admin, timeout=30) as client,
            httpx.AsyncClient(base_url=url, timeout=30) as visitor,
        ):
            registry = app.state.registry
            yield Service(url, settings, client, visitor, registry.pool, app)
        server.should_exit = True
        await serving


@asynccontextmanager
async def cloned(server: Server, admin: asyncpg.Connection[asyncpg.Record], name: str) -> AsyncIterator[Settings]:
    """Settings for a service on a fresh database, with redaction possible."""
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {server.template}")
    yield Settings(
        database_url=at(server.admin_url, name, APP_ROLE, server.app_password),
        owner_url=at(server.admin_url, name),
        data_dir=Path("/nonexistent"),
        signing_key=Path("/nonexistent/signing.key"),
        admin_key=ADMIN_KEY,
    )
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="session")
async def service(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """One service for all tests of the API: each works on deals of its own."""
    async with (
        cloned(server, admin, server.template.replace("template", "api")) as settings,
        running(settings) as service,
    ):
        yield service


@pytest.fixture
def client(service: Service) -> httpx.AsyncClient:
    """A client with the admin key."""
    return service.client


@pytest.fixture
def visitor(service: Service) -> httpx.AsyncClient:
    """A client without a key."""
    return service.visitor


@pytest.fixture
def new_slug() -> Callable[[], str]:
    """Names that no other test uses."""
    return lambda: f"deal-{next(numbers)}"


@pytest.fixture
def slug(new_slug: Callable[[], str]) -> str:
    """A deal's name that no other test uses."""
    return new_slug()
