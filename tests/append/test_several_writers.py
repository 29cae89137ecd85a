"""Several recorders on one database: each validates on what the others wrote."""

from __future__ import annotations

import asyncio

import pytest

from registry.append.recorder import Recorder
from registry.append.requests import AppendResult
from registry.errors import RuleBroken
from registry.events import log_lock
from tests.append.conftest import Owner, Pool
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.databases import ScratchDatabase


async def test_registering_a_deal_that_another_process_registered_is_refused(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    await recorder.record(request("taken", REGISTERED))
    async with running_recorder(database.app_url, name="another") as another:
        for slug in ("first", "second"):
            await another.record(request(slug, REGISTERED))
        requests = [request("taken", REGISTERED), request("third", REGISTERED), request("taken", pledged())]
        refused, third, pledge = await asyncio.gather(*map(another.record, requests), return_exceptions=True)
    assert isinstance(refused, RuleBroken)
    assert refused.refusal.code == "already-registered"
    assert isinstance(third, AppendResult)
    assert isinstance(pledge, AppendResult)
    assert (third.version, pledge.version) == (1, 2)
    assert await positions(pool) == [1, 2, 3, 4, 5]
    await assert_projections_match_log(database)


async def test_request_is_validated_on_what_another_process_wrote(
    database: ScratchDatabase, recorder: Recorder
) -> None:
    async with running_recorder(database.app_url) as other:
        await recorder.record(request("plant", REGISTERED))
        await other.record(request("plant", pledged("total")))
        with pytest.raises(RuleBroken, match="total"):
            await recorder.record(request("plant", pledged("total")))
        assert (await recorder.record(request("plant", pledged("more")))).version == 3
    await assert_projections_match_log(database)


async def test_serializable_default_isolation_does_not_hide_new_events(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    """The recorder sets READ COMMITTED itself, so that it reads the head after it has the lock."""
    await owner.execute(f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable'")
    async with running_recorder(database.app_url) as one, running_recorder(database.app_url) as other:
        await asyncio.gather(
            *(w.record(request(f"plant-{n}-{w is one}", REGISTERED)) for n in range(20) for w in (one, other))
        )
    assert await positions(pool) == list(range(1, 41))


async def test_recorder_waits_while_another_process_holds_the_lock(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    """A batch validated without the lock is written only if the lock is free and the head has not moved."""
    await recorder.record(request("deal", REGISTERED))
    await owner.execute(f"SELECT pg_advisory_lock({log_lock.LOG_LOCK_KEY})")
    waiting = asyncio.create_task(recorder.record(request("deal", pledged("late"))))
    while not await owner.fetchval(  # noqa: ASYNC110 - Postgres has no notification for it
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    ):
        await asyncio.sleep(0.01)
    assert await positions(pool) == [1]
    await owner.execute(f"SELECT pg_advisory_unlock({log_lock.LOG_LOCK_KEY})")
    assert (await waiting).version == 2
    async with running_recorder(database.app_url, name="another") as other:
        for n in range(3):
            assert (await other.record(request("deal", pledged(f"other-{n}")))).version == 2 * n + 3
            assert (await recorder.record(request("deal", pledged(f"own-{n}")))).version == 2 * n + 4
    assert await positions(pool) == list(range(1, 9))
    await assert_projections_match_log(database)


async def test_dry_run_needs_no_lock(database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder) -> None:
    """A long one does not keep other processes from recording."""
    await recorder.record(request("deal", REGISTERED))
    async with running_recorder(database.app_url, name="another") as other:
        await other.record(request("deal", pledged("total")))
    await owner.execute(f"SELECT pg_advisory_lock({log_lock.LOG_LOCK_KEY})")
    waiting = asyncio.create_task(recorder.record(request("deal", pledged("late"))))
    while not await owner.fetchval(  # noqa: ASYNC110 - Postgres has no notification for it
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    ):
        await asyncio.sleep(0.01)
    async with running_recorder(database.app_url, name="third") as third:
        tried = third.submit([request("deal", pledged("more"))], dry_run=True)
        assert [result.version for result in await tried] == [3]
        with pytest.raises(RuleBroken, match="total"):
            await third.record(request("deal", pledged("total"), dry_run=True))
    await owner.execute(f"SELECT pg_advisory_unlock({log_lock.LOG_LOCK_KEY})")
    assert (await waiting).version == 3
    assert await positions(pool) == [1, 2, 3]
