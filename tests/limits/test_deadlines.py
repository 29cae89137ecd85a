"""Reads that take too long are ended, with the work of the database; so are those whose client has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from registry.api import deadline
from tests.api.announcements import registered
from tests.api.conftest import Service
from tests.conftest import PATIENCE
from tests.limits.conftest import connected

WAITING = """
SELECT count(*)
  FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def blocked(service: Service) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Statements that read the content of events wait: another session has the lock of its table."""
    await service.client.post("/v1/deals/slow/events", json=registered())
    owner = await asyncpg.connect(service.settings.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE event_contents IN ACCESS EXCLUSIVE MODE")
            yield owner
    finally:
        await owner.close()


async def no_statement_waits(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await owner.fetchval(WAITING):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_read_without_a_key_that_takes_too_long_is_refused_and_its_statement_ended(
    limited: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "ANONYMOUS_SECONDS", 1.0)
    async with blocked(limited) as owner:
        answer = await limited.visitor.get("/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (400, "query_too_long")
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "limit" in answer.json()["detail"]
        await no_statement_waits(owner)
    assert (await limited.visitor.get("/v1/events")).status_code == 200


async def test_read_with_a_key_may_take_longer(limited: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "ANONYMOUS_SECONDS", 0.6)
    async with blocked(limited):
        reading = asyncio.create_task(limited.client.get("/v1/events"))
        refused = await limited.visitor.get("/v1/events")
        assert refused.status_code == 400
    assert (await reading).status_code == 200


async def test_statement_of_a_client_that_has_left_is_ended(limited: Service) -> None:
    async with blocked(limited) as owner:
        async with connected(limited) as client:
            await client.send(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                while not await owner.fetchval(WAITING):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        await no_statement_waits(owner)
