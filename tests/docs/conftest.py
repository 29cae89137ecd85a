"""A service with the demo's deals, for the documents' examples."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.api.conftest import Service, cloned, running
from tests.conftest import Server


@pytest_asyncio.fixture(scope="session")
async def demo(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """The demo, as `make demo` starts it."""
    async with cloned(demo_server, admin, "docs") as settings, running(settings) as service:
        yield service
