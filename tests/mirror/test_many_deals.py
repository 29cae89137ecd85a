"""A mirror of many deals that is killed while it copies: it goes on where it was, and answers as its origin does.

`make mirror` runs it with 10,000 deals; `REGISTRY_MIRROR_DEALS` sets the number.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from msgspec.structs import replace

from bench import workload
from registry.projections.rebuild import compare
from tests.databases import Server
from tests.mirror.questions import answers, differences, questions
from tests.service import Service, cloned, running

pytestmark = pytest.mark.drill

DEALS = int(os.environ.get("REGISTRY_MIRROR_DEALS", "1000"))

EVERY = 10
"""One of so many deals, organizations and events of the first pages is asked about."""

LATER = (
    "/v1/deals?limit=100&facets=true&sort=-amount",
    "/v1/deals?q=data&sort=-updated&limit=100",
    "/v1/deals?q=data&sort=relevance&limit=100",
    "/v1/compare?from.effective_on=2021-06-01&to.effective_on=2022-03-01",
    "/v1/search?q=organization",
    "/log/tile/1/000.p/4",
    *(f"/v1/events?limit=1000&after={after}" for after in range(0, DEALS * 10, DEALS)),
)
"""Questions about what only a long log has."""


@pytest_asyncio.fixture
async def many(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A registry of generated deals."""
    async with cloned(server, admin, "many") as settings, running(settings) as service:
        lines = list(workload.lines(DEALS))
        for start in range(0, len(lines), 5000):
            headers = {"Content-Type": "application/x-ndjson"}
            content = b"\n".join(lines[start : start + 5000])
            answer = await service.client.post("/v1/import", content=content, headers=headers, timeout=600)
            assert answer.status_code == 200
            assert b'"error"' not in answer.content
        yield service


async def test_killed_mirror_of_many_deals_goes_on_and_answers_the_same(
    many: Service, mirror_settings: Callable[..., Any]
) -> None:
    size = await many.size()
    async with mirror_settings(many.url) as settings:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        options = {
            "database-url": settings.database_url,
            "owner-url": settings.owner_url,
            "data-dir": settings.data_dir,
            "port": "0",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        connection = await asyncpg.connect(settings.owner_url)
        for part in (3, 2):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "registry", "follow", many.url, *words, env=environment, stdout=-3, stderr=-3
            )
            while await connection.fetchval("SELECT count(*) FROM events") < size // part:
                assert process.returncode is None
                await asyncio.sleep(0.05)
            process.kill()
            await process.wait()
        await connection.close()
        async with running(replace(settings, follow_seconds=1)) as copy:
            status = copy.app.state.services.mirror
            while not (status.is_complete and status.position == size):
                assert status.incident is None
                await asyncio.sleep(0.1)
            asked = [*await questions(many, EVERY), *LATER]
            found = differences(await answers(many, asked), await answers(copy, asked))
            assert not found, "\n".join(found)
        assert [line async for line in compare(str(settings.owner_url))] == []
