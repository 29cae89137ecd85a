"""A looked-up head is never older than the question, whichever process records, also after a failover."""

from __future__ import annotations

import asyncio
import sys
from typing import TypeAlias

import asyncpg
import pytest
from msgspec.structs import replace

from registry.domain.history import AsOf
from registry.events import stream_heads, write_batch
from registry.infra import freeing
from registry.infra.threads import LONG
from registry.projections import stream_cache
from registry.projections.stream_cache import HeadLookup, StreamCache, fold_stream
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.databases import ScratchDatabase

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STREAMS = ("deal/one", "deal/two", "deal/unknown")


async def assert_current(heads: HeadLookup, pool: Pool) -> None:
    """The looked-up heads of the streams and of the log are those of the database."""
    found, log_head = await stream_heads.current_stream_heads(pool, STREAMS), await write_batch.head(pool)
    for stream in STREAMS:
        assert await heads.of_stream(stream) == (found.get(stream), log_head)
    assert await heads.of_log() == log_head


async def test_heads_follow_the_events_of_two_recorders(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_cache, "MAX_INCREMENTAL_EVENTS", 4)
    heads = HeadLookup(pool)
    await assert_current(heads, pool)
    async with running_recorder(database.app_url) as one, running_recorder(database.app_url) as two:
        for number in range(3):
            await one.record(request("one", *([] if number else [REGISTERED]), pledged(f"p{number}")))
            await assert_current(heads, pool)
        await two.record(request("two", REGISTERED))
        await assert_current(heads, pool)
        # More new events than the lookup reads one by one.
        for number in range(3, 9):
            await two.record(request("one", pledged(f"p{number}")))
        await assert_current(heads, pool)


async def test_heads_stay_correct_above_the_cache_limit(
    database: ScratchDatabase, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_cache, "MAX_CACHED_HEADS", 1)
    heads = HeadLookup(pool)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("one", REGISTERED))
        await recorder.record(request("two", REGISTERED))
        for number, slug in enumerate(("one", "two", "one")):
            await recorder.record(request(slug, pledged(f"p{number}")))
            await assert_current(heads, pool)


async def test_heads_are_read_again_after_a_failover_to_another_log(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    heads = HeadLookup(pool)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("one", REGISTERED, pledged("p")))
        await assert_current(heads, pool)
    # As after a failover that lost the last event and recorded another one in its place.
    for change in (
        "UPDATE events SET leaf_hash = sha256(leaf_hash) WHERE position = 2",
        "DELETE FROM events WHERE position = 2",
    ):
        async with owner.transaction():
            await owner.execute("SET LOCAL session_replication_role = replica")
            await owner.execute(change)
        await assert_current(heads, pool)


async def test_cached_stream_grows_by_the_events_since(database: ScratchDatabase, pool: Pool) -> None:
    cache = StreamCache()
    async with running_recorder(database.app_url, database.owner_url) as recorder:
        for number in range(4):
            result = await recorder.record(request("one", *([] if number else [REGISTERED]), pledged(f"p{number}")))
            if number == 3:
                redaction = {
                    "type": "event_redacted",
                    "redacts": str(result.events[0].id),
                    "reason": "A court's order.",
                }
                await recorder.record(request("one", {"event": redaction}))
            before = cache.get("deal/one")
            grown, _ = await cache.load_current(pool, "deal/one")
            loaded, _ = await StreamCache().load_current(pool, "deal/one")
            assert grown is not None
            assert loaded is not None
            assert list(grown.events) == list(loaded.events)
            assert grown.state == loaded.state
            assert grown.state_as_of(AsOf()).states == loaded.state_as_of(AsOf()).states
            assert before is None or before.version < grown.version, "the former stream stays what it was"


async def test_evicted_stream_of_many_events_is_freed_later(database: ScratchDatabase, pool: Pool) -> None:
    cache = StreamCache(limit=10)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("one", REGISTERED, *(pledged(f"p{number}") for number in range(LONG))))
        await recorder.record(request("two", REGISTERED))
        stream, _ = await cache.load_current(pool, "deal/one")
        assert stream is not None
        event = stream.events[-1]
        del stream
        await cache.load_current(pool, "deal/two")
        assert cache.get("deal/one") is None
        assert sys.getrefcount(event) > freeing.ONLY_OWN
        async with asyncio.timeout(60):
            while sys.getrefcount(event) > freeing.ONLY_OWN:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_cached_stream_of_another_log_is_read_again(database: ScratchDatabase, pool: Pool) -> None:
    cache = StreamCache()
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("one", REGISTERED, pledged("p0")))
        cached, _ = await cache.load_current(pool, "deal/one")
        assert cached is not None
        forged = [*cached.events[:-1], replace(cached.events[-1], leaf_hash=bytes(32))]
        cache.put("deal/one", fold_stream("deal/one", forged))
        await recorder.record(request("one", pledged("p1")))
        found, _ = await cache.load_current(pool, "deal/one")
        assert found is not None
        assert [event.leaf_hash for event in found.events[:2]] == [event.leaf_hash for event in cached.events]
        assert found.version == 3
