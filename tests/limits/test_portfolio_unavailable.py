"""Questions about all deals while the service makes its copy of them: 503, and the answer as soon as there is one.

A service that starts with a copy prepares what the first question needs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest

from registry import services
from registry.infra.settings import Settings
from registry.projections.columnar import copy as columnar_copy
from registry.projections.columnar import search_index
from registry.queries import preparation
from registry.web import router
from tests.api.announcements import pledged, registered
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import Service, cloned, running


@asynccontextmanager
async def impatient(server: Server, admin: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service with a deal, whose questions wait for a moment only."""
    monkeypatch.setattr(services, "PATIENCE_SECONDS", 0.2)
    async with cloned(server, admin, "unavailable") as settings, running(settings) as service:
        assert (await service.client.post("/v1/deals/a/events", json=registered())).status_code == 201
        yield service


async def answer(service: Service, path: str) -> httpx.Response:
    """The answer once there is one."""
    async with asyncio.timeout(PATIENCE):
        while (found := await service.visitor.get(path)).status_code == 503:
            assert found.headers["retry-after"] == "5"
            assert "portfolio_unavailable" in found.text or path == "/"
    return found


async def test_questions_are_refused_while_the_copy_waits_for_postgres(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with impatient(server, admin, monkeypatch) as service:
        async with without_copies(service.settings):
            for path in ("/v1/deals", "/v1/totals", "/v1/search?q=a", "/v1/export/deals.csv"):
                refused = await service.visitor.get(path)
                assert (refused.status_code, refused.json()["code"]) == (503, "portfolio_unavailable"), path
                assert refused.headers["retry-after"] == "5"
            page = await service.visitor.get("/")
            assert (page.status_code, page.headers["retry-after"]) == (503, "5")
            assert (await service.visitor.get("/v1/deals/a")).status_code == 200
        assert [deal["deal"] for deal in (await answer(service, "/v1/deals")).json()["deals"]] == ["a"]
        assert (await answer(service, "/")).status_code == 200


async def test_searches_are_refused_while_the_index_of_texts_is_made(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()

    def waits(connection: Any) -> tuple[int, int] | None:
        may_go_on.wait()
        return search_index.index_some(connection)

    monkeypatch.setattr(columnar_copy, "index_some", waits)
    async with impatient(server, admin, monkeypatch) as service:
        try:
            for path in ("/v1/deals?q=a", "/v1/search?q=a"):
                refused = await service.visitor.get(path)
                assert (refused.status_code, refused.json()["code"]) == (503, "portfolio_unavailable")
            assert (await answer(service, "/v1/deals")).status_code == 200
        finally:
            may_go_on.set()
        assert (await answer(service, "/v1/search?q=a")).json()["counts"]["deal"] == 1


@asynccontextmanager
async def with_a_deal(server: Server, admin: Any, name: str) -> AsyncIterator[Settings]:
    """Settings for a database that has a deal."""
    async with cloned(server, admin, name) as settings:
        async with running(settings) as service:
            assert (await service.client.post("/v1/deals/a/events", json=registered())).status_code == 201
        yield settings


@asynccontextmanager
async def without_copies(settings: Settings) -> AsyncIterator[None]:
    """Let no service read a table that it copies."""
    owner = await asyncpg.connect(settings.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE party_facts IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await owner.close()


async def ready(service: Service) -> None:
    """Wait until the service is ready."""
    async with asyncio.timeout(PATIENCE):
        while (await service.visitor.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - it is asked over HTTP
            await asyncio.sleep(0.01)


async def test_service_that_starts_prepares_the_first_question_about_amounts(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with with_a_deal(server, admin, "prepares") as settings, running(settings) as service:
        await ready(service)
        cache = service.app.state.services.parts.copy._cache
        assert cache.memory.state is not None
        assert cache.doubts
        made = set(cache._tables)
        assert (await service.visitor.get("/v1/totals?lines=0&group_by=organization")).status_code == 200
        assert set(cache._tables) == made


async def test_service_is_ready_when_its_copy_is_made(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with with_a_deal(server, admin, "is_ready") as settings:
        async with without_copies(settings), running(settings) as service:
            health = await service.visitor.get("/health/ready")
            assert health.status_code == 503
            assert [name for name, value in health.json().items() if value is False] == ["portfolio"]
            assert (await service.visitor.get("/health/live")).status_code == 200
            assert (await service.visitor.get("/v1/deals/a")).status_code == 200
            assert (await service.client.post("/v1/deals/a/events", json=pledged())).status_code == 201
        async with running(settings) as service:
            await ready(service)
            assert (await service.visitor.get("/v1/totals")).status_code == 200


async def test_service_has_prepared_its_pages_when_it_listens(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[bool] = []
    monkeypatch.setattr(router, "prepare_pages", lambda: prepared.append(True))
    async with with_a_deal(server, admin, "pages_ready") as settings:
        prepared.clear()
        async with running(settings):
            assert prepared


async def test_service_whose_copy_takes_long_is_ready_without_it(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "PREPARATION_SECONDS", 0.5)
    monkeypatch.setattr(services, "PATIENCE_SECONDS", 0.2)
    async with (
        with_a_deal(server, admin, "ready_anyway") as settings,
        without_copies(settings),
        running(settings) as service,
    ):
        await ready(service)
        assert (await service.visitor.get("/v1/totals")).status_code == 503
