"""Kill the primary of a synchronous cluster under load: no acknowledged event is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.errors import RegistryError
from registry.infra import migrations, postgres
from registry.infra.embedded.server import APP_ROLE, Embedded
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.databases import ScratchDatabase
from tests.faults.servers import answers, moved, standby

pytestmark = pytest.mark.drill

IN_STEP = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"


async def test_killed_primary_of_a_synchronous_cluster_loses_no_acknowledged_event(folder: Path) -> None:
    with Embedded(folder / "primary") as primary:
        await migrations.migrate(primary.owner_url, APP_ROLE)
        with standby(primary, folder / "copy") as standby_server:
            copy = standby_server.sockets
            owner = await asyncpg.connect(primary.owner_url)
            await (await answers(moved(primary.owner_url, copy))).close()
            await owner.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await owner.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(30):
                while not await owner.fetchval(IN_STEP):  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.05)
            acknowledged: dict[str, int] = {}
            open_: dict[str, AppendRequest] = {}

            async def write(recorder: Recorder, name: str) -> None:
                """Record one request after another until one is not acknowledged."""
                asked = request(name, REGISTERED, idempotency_key=f"{name}-0")
                for n in range(1, 100_000):
                    open_[name] = asked
                    outcome = await recorder.record(asked)
                    acknowledged[asked.idempotency_key or ""] = outcome.position
                    asked = request(name, pledged(f"p{n}", id=str(uuid4())), idempotency_key=f"{name}-{n}")

            async with running_recorder(primary.app_url) as recorder:
                writers = [asyncio.create_task(write(recorder, f"writer-{n}")) for n in range(10)]
                async with asyncio.timeout(60):
                    while len(acknowledged) < 100:  # noqa: ASYNC110 - the writers are another's clients
                        await asyncio.sleep(0.01)
                assert primary.pid is not None
                os.kill(primary.pid, signal.SIGKILL)
                await asyncio.to_thread(primary.stop)
                ended = await asyncio.gather(*writers, return_exceptions=True)
                assert all(isinstance(error, RegistryError) for error in ended)
            owner.terminate()
            promoting = await answers(moved(primary.owner_url, copy))
            assert await promoting.fetchval("SELECT pg_promote()")
            await promoting.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await promoting.execute("SELECT pg_reload_conf()")
            url = moved(primary.app_url, copy)
            async with running_recorder(url) as recorder:
                # A retry with the same key settles a request that was not acknowledged: it is replayed or recorded now.
                for name, asked in open_.items():
                    outcome = await recorder.record(asked)
                    acknowledged[asked.idempotency_key or ""] = outcome.position
                    assert (await recorder.record(request(name, pledged("last")))).position > outcome.position
            rows = await promoting.fetch("SELECT key, answer FROM idempotency")
            assert {row["key"] for row in rows} == acknowledged.keys()
            connections = await postgres.pool(url)
            async with connections:
                found = await positions(connections)
            assert found == list(range(1, len(acknowledged) + len(open_) + 1))
            assert set(acknowledged.values()) <= set(found)
            assert len(set(acknowledged.values())) == len(acknowledged)
            await promoting.close()
            await assert_projections_match_log(
                ScratchDatabase(name="registry", owner_url=moved(primary.owner_url, copy), app_url=url)
            )
