"""A running service on a loopback port, with a database of its own, and one that holds the demo."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jsonschema_rs
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar
from msgspec import Struct
from msgspec.structs import replace

from registry.app import create_app
from registry.append.principals import IssuedKey, issue_key, record_events
from registry.cli import demo
from registry.domain.principal import Rights
from registry.events.types import KeyRevoked
from registry.events.values import Scope
from registry.http.protocol import ConnectionLimits
from registry.http.server import HttpServer
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.infra.sockets import bind
from tests.conftest import PATIENCE
from tests.databases import APP_ROLE, Server, at, copy_database

ADMIN_KEY = "an-admin-key-for-the-tests-of-the-api"

# The tests use no TLS, so clients need not load the default authorities, which is slow.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

numbers = itertools.count(1)

# The answer to an unknown path or method.
UNDOCUMENTED: dict[str, Any] = {
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
}


class Service(Struct):
    """A running service. `client` sends the admin key, `visitor` none."""

    url: str
    settings: Settings
    client: httpx.AsyncClient
    visitor: httpx.AsyncClient
    pool: Any
    app: Any

    async def size(self) -> int:
        """Return the number of events in the log."""
        return int(await self.pool.fetchval("SELECT count(*) FROM events"))

    async def issue(self, *scopes: Scope, **more: Any) -> IssuedKey:
        """Issue a key with these scopes to a new principal."""
        services = self.app.state.services
        limits = {name: more.pop(name) for name in ("deals", "organizations", "sources") if name in more}
        rights = Rights(scopes=scopes, **limits)
        more = {"name": "test", "kind": "system"} | more
        return await issue_key(services.recorder, services.pool, rights, **more)

    async def revoke(self, key: IssuedKey) -> None:
        """Revoke a key."""
        await record_events(self.app.state.services.recorder, key.principal, [KeyRevoked(key=key.key)])

    async def key(self, *scopes: Scope) -> dict[str, str]:
        """Return the headers of a new key with these scopes."""
        return bearer(await self.issue(*scopes))


def bearer(key: IssuedKey) -> dict[str, str]:
    """Return the headers of a request with a key."""
    return {"Authorization": f"Bearer {key.secret}"}


class Contract:
    """The OpenAPI document; every response that a test's client receives must conform to it."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._components = {"components": document["components"]}
        # A path without parameters goes before one that could match it (OpenAPI 3.1 §4.8.8).
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path) + "$"), item)
            for path, item in sorted(document["paths"].items(), key=lambda entry: "{" in entry[0])
        ]
        self._validators: dict[str, Any] = {}

    async def check(self, response: httpx.Response) -> None:
        """Check that the status, the media type and the JSON of a response are documented."""
        path, method, status = response.request.url.path, response.request.method.lower(), str(response.status_code)
        item = next((item for pattern, item in self._paths if pattern.match(path)), None)
        if item is None or method not in item:
            if status not in ("404", "405"):
                return
            documented: dict[str, Any] | None = UNDOCUMENTED
        else:
            documented = item[method]["responses"].get(status)
        assert documented is not None, f"{method} {path} answered {status}, which is not documented"
        content = documented.get("content", {})
        if not content or method == "head":
            return
        media = response.headers["content-type"].partition(";")[0]
        assert media in content, f"{method} {path} answered {status} as {media}, which is not documented"
        if media.endswith("json") and "$ref" in str(content[media]["schema"]):
            await response.aread()
            self._validator(content[media]["schema"]).validate(response.json())

    def _validator(self, schema: dict[str, Any]) -> Any:
        key = str(schema)
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.Draft202012Validator({**schema, **self._components})
        return self._validators[key]


# Applications that were not started, or were stopped, and can be started with other settings. Making one takes 0.4 s of
# processor time, and the tests start hundreds.
stopped: list[Litestar] = []


@cache
def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document as clients get it."""
    app = create_app(Settings(data_dir=Path(), signing_key=Path("signing.key")))
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    # The first service of the tests runs this application.
    stopped.append(app)
    return document


@cache
def contract() -> Contract:
    """Return the contract, parsed once."""
    return Contract(openapi_document())


@asynccontextmanager
async def running(
    settings: Settings, limits: ConnectionLimits | None = None, *, port: int = 0
) -> AsyncIterator[Service]:
    """Run the service with these settings, with the application of a stopped one where it can be given them."""
    is_reusable = settings.otlp_endpoint is None and not settings.cors_origins
    if is_reusable and stopped:
        app = stopped.pop()
        app.state.settings = settings
    else:
        app = create_app(settings)
    async with served(app, settings, limits, port=port) as service:
        yield service
    if is_reusable:
        del app.state.services
        stopped.append(app)


@asynccontextmanager
async def served(
    app: Litestar, settings: Settings, limits: ConnectionLimits | None = None, *, port: int = 0
) -> AsyncIterator[Service]:
    """Serve an application that has these settings."""
    server = HttpServer(app, settings.trusted_proxies, limits)
    with bind("127.0.0.1", port) as bound:
        # Not `serve`, which installs signal handlers.
        serving = asyncio.create_task(server._serve([bound]))
        while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        if serving.done():
            await serving
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        admin = {"Authorization": f"Bearer {settings.admin_key}"}
        hooks = {"response": [contract().check]}
        how: dict[str, Any] = {"base_url": url, "timeout": PATIENCE, "event_hooks": hooks, "verify": NO_TLS}
        try:
            async with httpx.AsyncClient(headers=admin, **how) as client, httpx.AsyncClient(**how) as visitor:
                yield Service(url, settings, client, visitor, app.state.services.pool, app)
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def cloned(server: Server, admin: asyncpg.Connection[asyncpg.Record], name: str) -> AsyncIterator[Settings]:
    """Return settings for a new database, a copy of the server's template, with redaction configured."""
    name = f"{server.template}_{name}"
    await copy_database(admin, server.template, name)
    try:
        with tempfile.TemporaryDirectory() as directory:
            if server.keys is not None:
                shutil.copytree(server.keys, directory, dirs_exist_ok=True)
            yield Settings(
                database_url=at(server.admin_url, name, APP_ROLE, server.app_password),
                owner_url=at(server.admin_url, name),
                data_dir=Path(directory),
                signing_key=Path(directory, "signing.key"),
                admin_key=ADMIN_KEY,
                # Tests send as fast as they can. tests/limits sets limits.
                rate_limits={},
            )
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="session")
async def service(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """Run one service for all tests of the API; each test uses deals of its own."""
    async with cloned(server, admin, "api") as settings, running(settings) as service:
        yield service


@pytest.fixture
def client(service: Service) -> httpx.AsyncClient:
    """Return a client with the admin key."""
    return service.client


@pytest.fixture
def visitor(service: Service) -> httpx.AsyncClient:
    """Return a client without a key."""
    return service.visitor


@pytest.fixture
def new_slug() -> Callable[[], str]:
    """Return a function that makes unused slugs."""
    return lambda: f"deal-{next(numbers)}"


@pytest.fixture
def slug(new_slug: Callable[[], str]) -> str:
    """Return an unused slug."""
    return new_slug()


@pytest_asyncio.fixture(scope="session")
async def demo_server(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Server]:
    """The server with a template that contains the demo, replayed once."""
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
    async with cloned(demo_server, admin, "demo_service") as settings, running(settings) as service:
        yield service
