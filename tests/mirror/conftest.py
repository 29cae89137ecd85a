"""An origin with the demo deals, mirrors of it, and a machine in the middle that changes what it answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import asyncpg
import httpx
import pytest
import pytest_asyncio
from msgspec.structs import replace

from registry.events.mirror_state import MirrorStatus
from registry.http.server import HttpServer
from registry.infra import postgres
from registry.infra.postgres import Pool
from registry.infra.settings import Settings
from registry.infra.sockets import bind
from registry.mirror.follower import Follower
from registry.mirror.origin import Origin
from registry.mirror.prepare import prepare
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import NO_TLS, Service, cloned, running

numbers = itertools.count(1)

# Changes the body of an answer: it gets the path, the query and the body.
Lie = Callable[[str, dict[str, str], bytes], bytes]


@pytest.fixture
async def origin(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A registry with the demo deals."""
    async with cloned(demo_server, admin, f"origin_{next(numbers)}") as settings, running(settings) as service:
        yield service


@pytest_asyncio.fixture(scope="session")
async def still_origin(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A registry with the demo deals, in which tests record nothing."""
    async with cloned(demo_server, admin, "still_origin") as settings, running(settings) as service:
        yield service


@asynccontextmanager
async def following(settings: Settings) -> AsyncIterator[tuple[Follower, Pool]]:
    """The follower of a mirror without its service: a test runs its rounds."""
    assert settings.database_url is not None
    assert settings.owner_url is not None
    assert settings.follow is not None
    async with (
        await postgres.pool(settings.database_url, min_size=1, max_size=4) as pool,
        await postgres.pool(settings.owner_url, min_size=1, max_size=2) as owner,
        Origin(settings.follow) as origin,
    ):
        yield Follower(pool, owner, origin, MirrorStatus(url=settings.follow)), pool


@pytest.fixture
def mirror_settings(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> Callable[..., Any]:
    """A function that makes an empty database and the settings of a mirror of an address."""

    @asynccontextmanager
    async def make(url: str, **more: Any) -> AsyncIterator[Settings]:
        async with cloned(server, admin, f"mirror_{next(numbers)}") as settings:
            settings = replace(settings, follow=url, follow_seconds=1, admin_key=None, **more)
            await prepare(settings)
            yield settings

    return make


@pytest.fixture
def mirror(mirror_settings: Callable[..., Any]) -> Callable[..., Any]:
    """A function that runs a mirror of an address."""

    @asynccontextmanager
    async def run(url: str, **more: Any) -> AsyncIterator[Service]:
        async with mirror_settings(url, **more) as settings, running(settings) as service:
            yield service

    return run


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE):
        while not (found if isinstance(found := condition(), bool) else await found):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def caught_up(mirror: Service, origin: Service) -> None:
    """Wait until a mirror has every event of its origin, and has verified it."""
    size = await origin.size()
    status = mirror.app.state.services.mirror
    await until(lambda: status.is_complete and status.position == size)


async def halted(mirror: Service) -> Any:
    """Wait until a contradiction has stopped a mirror, and return it."""
    status = mirror.app.state.services.mirror
    await until(lambda: status.incident is not None)
    return status.incident


class Middle:
    """A proxy that forwards requests to a registry and may lie in its answers. `to` may change at any time."""

    def __init__(self, to: str) -> None:
        self.to = to
        self.lie: Lie = lambda path, query, body: body
        self.url = ""
        self.requests = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer as an ASGI application."""
        if scope["type"] != "http":
            return
        self.requests += 1
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path, query = scope["path"], scope["query_string"].decode()
        async with httpx.AsyncClient(base_url=self.to, verify=NO_TLS, timeout=PATIENCE) as client:
            headers = {"accept": dict(scope["headers"]).get(b"accept", b"*/*").decode()}
            answer = await client.request(scope["method"], f"{path}?{query}", content=body, headers=headers)
        content = self.lie(path, dict(parse_qsl(query)), answer.content)
        kept = [(b"content-type", answer.headers["content-type"].encode())]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
        await send({"type": "http.response.body", "body": content})


@asynccontextmanager
async def in_the_middle(to: str) -> AsyncIterator[Middle]:
    """Run a proxy before a registry."""
    middle = Middle(to)
    server = HttpServer(middle, ())
    with bind("127.0.0.1", 0) as bound:
        serving = asyncio.create_task(server._serve([bound]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        middle.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        try:
            yield middle
        finally:
            server.should_exit = True
            await serving
