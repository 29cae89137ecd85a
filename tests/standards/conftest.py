"""A service with the demo deals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.api.conftest import Service, cloned, running
from tests.conftest import Server


@pytest_asyncio.fixture(scope="session")
async def demo(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that holds the demo deals."""
    async with cloned(demo_server, admin, "standards") as settings, running(settings) as service:
        yield service
