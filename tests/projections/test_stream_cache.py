"""Where streams end is never older than what was asked, whoever has recorded meanwhile, and whichever log it is."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg
import pytest

from registry.events import store, write_batch
from registry.projections import stream_cache
from registry.projections.stream_cache import HeadLookup
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.conftest import ScratchDatabase

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STREAMS = ("deal/one", "deal/two", "deal/nobody-told-of")


async def told(heads: HeadLookup, pool: Pool) -> None:
    """What it says of each stream and of the log is what the database says."""
    ends, log = await store.current_stream_heads(pool, STREAMS), await write_batch.head(pool)
    for stream in STREAMS:
        assert await heads.of_stream(stream) == (ends.get(stream), log)
    assert await heads.of_log() == log


async def test_ends_move_on_with_what_others_record(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_cache, "MAX_INCREMENTAL_EVENTS", 4)
    heads = HeadLookup(pool)
    await told(heads, pool)
    async with running_recorder(database.app_url) as one, running_recorder(database.app_url) as two:
        for number in range(3):
            await one.record(request("one", *([] if number else [REGISTERED]), pledged(f"p{number}")))
            await told(heads, pool)
        await two.record(request("two", REGISTERED))
        await told(heads, pool)
        # More than are told one by one.
        for number in range(3, 9):
            await two.record(request("one", pledged(f"p{number}")))
        await told(heads, pool)


async def test_few_ends_are_kept(database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_cache, "MAX_CACHED_HEADS", 1)
    heads = HeadLookup(pool)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("one", REGISTERED))
        await recorder.record(request("two", REGISTERED))
        for number, slug in enumerate(("one", "two", "one")):
            await recorder.record(request(slug, pledged(f"p{number}")))
            await told(heads, pool)


async def test_another_log_is_not_taken_for_the_one_that_was_read(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    heads = HeadLookup(pool)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("one", REGISTERED, pledged("p")))
        await told(heads, pool)
    # As after a failover that lost the last event, and another one took its place.
    for change in (
        "UPDATE events SET leaf_hash = sha256(leaf_hash) WHERE position = 2",
        "DELETE FROM events WHERE position = 2",
    ):
        async with owner.transaction():
            await owner.execute("SET LOCAL session_replication_role = replica")
            await owner.execute(change)
        await told(heads, pool)
