"""A running service for the programs that talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.databases import Server
from tests.service import Service, cloned, running


@pytest_asyncio.fixture(scope="session")
async def service(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """Run one service for all tests of clients; each test uses deals of its own."""
    async with cloned(server, admin, "clients") as settings, running(settings) as service:
        yield service
