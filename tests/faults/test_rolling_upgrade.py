"""Migrate and replace services under load: the release before serves before, during and after the migration."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from msgspec import Struct, field

from registry.infra.embedded.server import Embedded
from tests.faults.load import ADMIN_KEY, Load, ServiceProcess, run_command, serving, verify
from tests.faults.releases import TOP, first_release, migrate, next_release, previous_release, replace_services
from tests.faults.test_faults import a_free_port

pytestmark = pytest.mark.drill

QUESTIONS = ("/health/ready", "/v1/deals?limit=5", "/v1/totals", "/v1/events?limit=5", "/", "/v1/log/checkpoint")


class Visitor(Struct):
    """Asks services over and over, and keeps what did not answer 200."""

    urls: list[str]
    asked: int = 0
    failed: list[tuple[str, int, str]] = field(default_factory=list)

    @asynccontextmanager
    async def visiting(self) -> AsyncIterator[None]:
        """Ask until the context ends."""
        task = asyncio.create_task(self._ask())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _ask(self) -> None:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx.AsyncClient(trust_env=False, timeout=20, headers=headers) as client:
            while True:
                question = random.choice(QUESTIONS)
                answer = await client.get(random.choice(self.urls) + question)
                self.asked += 1
                if answer.status_code != 200:
                    self.failed.append((question, answer.status_code, answer.text[:200]))
                await asyncio.sleep(0.05)


async def test_release_before_serves_before_during_and_after_the_migration_to_the_next(folder: Path) -> None:
    before, after = previous_release(folder / "before"), next_release(folder / "after")
    with Embedded(folder / "server") as server:
        environ = {
            "REGISTRY_DATABASE_URL": server.app_url,
            "REGISTRY_OWNER_URL": server.owner_url,
            "REGISTRY_SIGNING_SECRET": "the secret of the services of this test",
        }
        await migrate(before, environ)
        services = [ServiceProcess(a_free_port(), folder / name, environ, checkout=before) for name in ("one", "two")]
        urls = [service.url for service in services]
        async with serving(*services):
            async with Load(urls, writers=4) as load:
                visitor = Visitor(urls)
                async with visitor.visiting():
                    await load.more(40)
                    began = time.monotonic()
                    await migrate(after, environ)
                    ended = time.monotonic()
                    await load.more(40)
                assert sum(began < one.at < ended for one in load.ledger.acknowledged) > 0
                assert visitor.asked > 10
                assert visitor.failed == []
                assert load.ledger.refused == {}

                await replace_services(services[:1], after)
                # Now a service of each release writes.
                visitor = Visitor(urls)
                async with visitor.visiting():
                    for service in (0, 1):
                        await _acknowledges(load, service)
                assert visitor.failed == []

                await replace_services(services[1:], after)
                await load.more(40)
                # Back to the release before, on the schema of the next one.
                await replace_services(services[:1], before)
                visitor = Visitor(urls)
                async with visitor.visiting():
                    for service in (0, 1):
                        await _acknowledges(load, service)
                assert visitor.failed == []
            # Clients were refused only by a service that was not there, and waited only for one that was starting.
            allowed = {"ConnectError", "ReadError", "RemoteProtocolError", "ReadTimeout"}
            assert set(load.ledger.refused) <= allowed, load.ledger.refused
            account = await load.ledger.examine(server.owner_url)
            assert account.is_clean, account
            assert await verify(services[0], environ) == ""
        owner = await asyncpg.connect(server.owner_url)
        assert await owner.fetchval("SELECT version_num FROM alembic_version") == "9002"
        assert await owner.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'events_made_up'::regclass")
        await owner.close()


@pytest.mark.skipif(not (TOP / ".git").exists(), reason="a source distribution has no history")
async def test_rows_that_the_first_release_wrote_are_complete_after_the_upgrade(folder: Path) -> None:
    with Embedded(folder / "server") as server:
        environ = {"REGISTRY_DATABASE_URL": server.app_url, "REGISTRY_OWNER_URL": server.owner_url}
        released = first_release(folder / "released")
        await migrate(released, environ)
        service = ServiceProcess(a_free_port(), folder / "one", environ, checkout=released)
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with (
            serving(service),
            httpx.AsyncClient(base_url=service.url, headers=headers, trust_env=False, timeout=20) as client,
        ):

            async def grant(deal: str) -> None:
                events = [
                    {"event": {"type": "deal_registered", "title": {"en": deal}}},
                    {"event": {"type": "incentive_granted", "incentive": "land", "kind": "land"}, "date": "2025"},
                    {"event": {"type": "site_announced", "site": "a", "district_code": "31140"}, "date": "2025"},
                ]
                answer = await client.post(f"/v1/deals/{deal}/events", json=events)
                assert answer.status_code == 201, answer.text

            async def granted() -> list[str]:
                answer = await client.get("/v1/deals?incentive=land")
                assert answer.status_code == 200, answer.text
                return [deal["deal"] for deal in answer.json()["deals"]]

            await grant("before")
            code, output = await run_command(["migrate"], environ)
            assert code == 0, output
            # A service of the release before goes on; it does not fill what the new release has added.
            await grant("between")
            await replace_services([service], None)
            await grant("with-it")
            assert await granted() == ["before", "with-it"]
            code, output = await run_command(["rebuild"], environ)
            assert code == 0, output
            async with asyncio.timeout(30):
                # The service sees within seconds what a rebuild has replaced.
                while await granted() != ["before", "between", "with-it"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            codes = (await client.get("/v1/export/sites.ndjson")).text
            assert codes.count('"district_code":"31140"') == 3
            code, output = await run_command(["rebuild", "--check"], environ)
            assert code == 0, output


async def _acknowledges(load: Load, service: int) -> None:
    """Wait until a service has acknowledged ten more events."""
    enough = sum(one.service == service for one in load.ledger.acknowledged) + 10
    async with asyncio.timeout(60):
        while sum(one.service == service for one in load.ledger.acknowledged) < enough:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
