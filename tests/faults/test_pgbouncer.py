"""The service behind PgBouncer in transaction mode: with prepared statements, where it supports them, and without."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE, Embedded
from registry.infra.settings import Settings
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged
from tests.databases import ScratchDatabase
from tests.faults.pgbouncer import PREPARED_SINCE, pgbouncer, program, version
from tests.missing import NO_PGBOUNCER
from tests.service import ADMIN_KEY, running

pytestmark = [pytest.mark.drill, pytest.mark.skipif(program() is None, reason=NO_PGBOUNCER)]


@pytest.mark.parametrize("prepared", [True, False])
async def test_two_services_record_and_read_behind_a_pooler_in_transaction_mode(prepared: bool, folder: Path) -> None:
    if prepared and version() < PREPARED_SINCE:
        pytest.skip(f"PgBouncer {version()} has no prepared statements in transaction mode")
    with Embedded(folder / "server") as server:
        await migrations.migrate(server.owner_url, APP_ROLE)
        server.data_dir.chmod(0o755)
        with pgbouncer(folder / "pooler", server.app_url) as url:
            settings = Settings(
                database_url=url,
                owner_url=server.owner_url,
                transaction_pooler=True,
                prepared_statements=prepared,
                data_dir=folder / "service",
                signing_key=folder / "service" / "signing.key",
                admin_key=ADMIN_KEY,
            )
            async with running(settings) as one, running(settings) as two:

                async def write(number: int) -> None:
                    service = (one, two)[number % 2]
                    for body in (REGISTERED, pledged("a"), pledged("b"), pledged("c")):
                        answer = await service.client.post(f"/v1/deals/plant-{number}/events", json=body)
                        assert answer.status_code == 201, answer.text
                        assert (await service.client.get(f"/v1/deals/plant-{number}")).status_code == 200
                        assert (await service.client.get("/v1/deals")).status_code == 200

                await asyncio.gather(*(write(number) for number in range(12)))
                for service in (one, two):
                    answer = await service.client.get("/v1/deals", params={"limit": 50})
                    assert [len(deal["pledges"]) for deal in answer.json()["deals"]] == [3] * 12
                    assert (await service.client.get("/log/checkpoint")).status_code == 200
                    assert (await service.client.get("/health/ready")).status_code == 200
                    assert (await service.client.get("/v1/totals")).status_code == 200
        await assert_projections_match_log(
            ScratchDatabase(name="registry", owner_url=server.owner_url, app_url=server.app_url)
        )
