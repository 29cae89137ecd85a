"""A commit that no standby has is not acknowledged, also when the service gives it up or finds it in the log."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from registry.errors import DatabaseUnavailable
from registry.events import log_lock
from registry.infra import migrations, postgres
from registry.infra.embedded.server import APP_ROLE, Embedded
from tests.append_helpers import REGISTERED, pledged, positions, request, running_recorder
from tests.faults.servers import Standby, standby

pytestmark = pytest.mark.drill

IN_STEP = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[tuple[Embedded, Standby]]:
    """A primary that commits only what its standby has."""
    with Embedded(folder / "primary", settings={"wal_sender_timeout": "0"}) as primary:
        await migrations.migrate(primary.owner_url, APP_ROLE)
        with standby(primary, folder / "copy") as copy:
            owner = await asyncpg.connect(primary.owner_url)
            await owner.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await owner.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(30):
                while not await owner.fetchval(IN_STEP):  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.05)
            await owner.close()
            try:
                yield primary, copy
            finally:
                signal_all(copy, signal.SIGCONT)


def signal_all(copy: Standby, number: int) -> None:
    """Send a signal to all processes of a standby."""
    for process in [psutil.Process(copy.process.pid), *psutil.Process(copy.process.pid).children(recursive=True)]:
        os.kill(process.pid, number)


async def test_commit_that_no_standby_has_is_neither_visible_nor_acknowledged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        cluster(folder) as (primary, copy),
        await postgres.pool(primary.app_url) as pool,
        running_recorder(primary.app_url) as recorder,
    ):
        await recorder.record(request("plant", REGISTERED))
        monkeypatch.setattr(log_lock, "LOCK_TIMEOUT_SECONDS", 1.0)
        monkeypatch.setattr(log_lock, "COMMIT_SECONDS", 1.0)
        signal_all(copy, signal.SIGSTOP)
        asked = request("plant", pledged(), idempotency_key="k1")
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                await recorder.record(asked)
            # Not visible, so no service reads, signs or acknowledges it.
            assert await positions(pool) == [1]
        signal_all(copy, signal.SIGCONT)
        monkeypatch.undo()
        outcome = await recorder.record(asked)
        assert (outcome.position, outcome.new) == (2, False)
        assert await positions(pool) == [1, 2]


async def test_event_that_is_visible_without_a_standby_is_repeated_only_when_the_standby_has_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that is terminated while it waits for the standby leaves its commit visible."""
    async with (
        cluster(folder) as (primary, copy),
        await postgres.pool(primary.app_url) as pool,
        running_recorder(primary.app_url) as recorder,
    ):
        await recorder.record(request("plant", REGISTERED))
        signal_all(copy, signal.SIGSTOP)
        monkeypatch.setattr(log_lock, "LOCK_TIMEOUT_SECONDS", 2.0)
        monkeypatch.setattr(log_lock, "COMMIT_SECONDS", 1.0)
        asked = request("plant", pledged(), idempotency_key="k1")
        first = asyncio.create_task(recorder.record(asked))
        owner = await asyncpg.connect(primary.owner_url)
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        async with asyncio.timeout(30):
            while (pid := await owner.fetchval(waiting)) is None:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.02)
        await owner.execute(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(DatabaseUnavailable):
            await first
        assert await positions(pool) == [1, 2]
        with pytest.raises(DatabaseUnavailable):
            await recorder.record(asked)
        await owner.close()
        signal_all(copy, signal.SIGCONT)
        monkeypatch.undo()
        assert (await recorder.record(asked)).position == 2
