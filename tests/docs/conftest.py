"""A service with the demo's deals, for the documents' examples."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from registry.cli.demo import post_all
from tests.api.conftest import ADMIN_KEY, Service, cloned, running
from tests.conftest import Server


@pytest_asyncio.fixture(scope="session")
async def demo(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """The demo, as `make demo` starts it."""
    async with cloned(server, admin, "demo") as settings, running(settings) as service:
        await post_all(service.url, ADMIN_KEY)
        yield service
