"""Rebuilds while the service runs: the new tables agree with the log, and the old ones serve until then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import pytest

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.domain.history import AsOf, FoldedStream
from registry.events import intake
from registry.events.write_batch import WriteBatch
from registry.projections import PROJECTIONS, BatchProjector
from registry.projections import rebuild as module
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.lists import Order
from registry.projections.columnar.selection import Selection
from registry.projections.rebuild import RebuildRunning, compare, rebuild
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, request, running_recorder
from tests.conftest import drill
from tests.databases import ScratchDatabase

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

TABLES = [table for projection in PROJECTIONS for table in projection.tables]

SHAPE = """
SELECT c.oid, c.oid::regclass::text, c.reloptions, c.relacl::text,
       (SELECT array_agg(pg_get_indexdef(indexrelid) ORDER BY indexrelid::regclass::text)
          FROM pg_index WHERE indrelid = c.oid),
       (SELECT array_agg(conname || ' ' || pg_get_constraintdef(oid) ORDER BY conname)
          FROM pg_constraint WHERE conrelid = c.oid),
       (SELECT array_agg((attname, atttypid::regtype, attnotnull, attcollation::regcollation, attstorage)::text
                         ORDER BY attnum)
          FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)
  FROM pg_class AS c
 WHERE c.oid = ANY ($1::regclass[])
 ORDER BY 2
"""


@pytest.fixture
async def recorder(database: ScratchDatabase) -> AsyncIterator[Recorder]:
    async with running_recorder(database.app_url, database.owner_url) as recorder:
        yield recorder


async def record_deal(recorder: Recorder, slug: str) -> None:
    """Record a deal with backdated, corrected, voided and redacted events."""
    given = [str(uuid4()) for _ in range(3)]
    source = {"publisher": "The Example Times", "url": f"https://news.example/{slug}", "published_on": "2025-06-20"}
    joined = {"type": "parties_joined", "parties": [{"organization": "aws", "role": "investor"}]}
    moved = {"effective_on": "2025-07-01"}
    for announcement in (
        REGISTERED,
        pledged("one", id=given[0], sources=[source]),
        {"effective_on": "2025-05-01", "event": joined, "sources": [source]},
        pledged("two", day="2025-01-01", id=given[1]),
        pledged("three", id=given[2]),
        {"event": {"type": "event_corrected", "corrects": given[0], "replacement": moved, "reason": "a slip"}},
        {"event": {"type": "event_voided", "voids": given[1], "reason": "another deal's"}},
        {"event": {"type": "event_redacted", "redacts": given[2], "reason": "a court's order"}},
    ):
        await recorder.record(request(slug, announcement))


async def contents(owner: Owner) -> dict[str, list[Any]]:
    """Every row of every projection."""
    return {t: sorted(str(tuple(row)) for row in await owner.fetch(f"SELECT * FROM {t}")) for t in TABLES}


async def side_tables(owner: Owner) -> int:
    found = await owner.fetchval(
        "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('rebuilding')::oid"
    )
    return int(found)


async def test_rebuild_during_appends_gives_the_same_rows_as_the_appends(
    database: ScratchDatabase,
    owner: Owner,
    pool: Pool,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", 10)
    await asyncio.gather(*(record_deal(recorder, f"old-{n}") for n in range(10)))
    streams = StreamReader(pool)
    copy = ColumnarCopy(pool, tmp_path)
    portfolio = PortfolioQueries(streams, OrganizationQueries(streams), copy)
    stop = asyncio.Event()
    rounds = Counter[str]()

    async def write(name: str) -> None:
        async with running_recorder(database.app_url, database.owner_url) as other:
            for n in count():
                await asyncio.gather(
                    record_deal(other, f"{name}-{n}"), other.record(request("old-0", pledged(f"{name}-{n}")))
                )
                rounds[name] += 1
                if stop.is_set():
                    return

    async def ask() -> None:
        # The same connections query before and after the replacement.
        while not stop.is_set():
            point = await portfolio.point(AsOf(effective_on=date(2026, 1, 1)))
            page = await portfolio.page(point, Selection(), Order(), None, 1000)
            assert len(page.deals) >= 10
            rounds["asked"] += 1
            await asyncio.sleep(0.01)

    work = [asyncio.create_task(write("a")), asyncio.create_task(write("b")), asyncio.create_task(ask())]
    rebuilt = 0
    # On a busy machine a rebuild may be faster than a round of the writers.
    while not any(task.done() for task in work) and (rebuilt < 3 or len(rounds) < len(work)):
        await rebuild(database.owner_url)
        rebuilt += 1
        await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*work)
    assert len(rounds) == len(work)
    before = await contents(owner)
    await assert_projections_match_log(database)
    await rebuild(database.owner_url)
    assert await contents(owner) == before
    await record_deal(recorder, "later")
    await assert_projections_match_log(database)
    await copy.close()


async def test_rebuild_keeps_the_tables_with_their_indexes_and_grants(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    await record_deal(recorder, "plant")
    before = await owner.fetch(SHAPE, TABLES)
    assert len(before) == len(TABLES)
    rows = await contents(owner)
    for table in TABLES:
        await owner.execute(f"DELETE FROM {table}")
    await rebuild(database.owner_url)
    assert await owner.fetch(SHAPE, TABLES) == before
    assert await contents(owner) == rows
    assert await side_tables(owner) == 0


@pytest.mark.parametrize("events", [drill(0), 8, drill(16)])
async def test_old_tables_serve_after_a_rebuild_was_cancelled(
    events: int, database: ScratchDatabase, owner: Owner, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVENTS_AT_ONCE", 8)
    for n in range(4):
        await record_deal(recorder, f"plant-{n}")
    before = await contents(owner)
    begun = asyncio.Event()

    def on_progress(done: int, total: int) -> None:
        assert total == 32
        if done >= events:
            begun.set()

    async def interrupted() -> None:
        running = asyncio.create_task(rebuild(database.owner_url, on_progress))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    await interrupted()
    assert await contents(owner) == before
    await record_deal(recorder, "later")
    await assert_projections_match_log(database)
    await rebuild(database.owner_url)
    assert await side_tables(owner) == 0


async def test_rebuild_that_fails_while_replacing_changes_nothing(
    database: ScratchDatabase, owner: Owner, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record_deal(recorder, "plant")
    right = await contents(owner)
    await owner.execute("DELETE FROM pledge_facts")
    await owner.execute("UPDATE organizations SET version = 7")
    before = await contents(owner)
    monkeypatch.setattr(module, "RESET_COPIES", "SELECT pg_terminate_backend(pg_backend_pid()) -- {table}")
    with pytest.raises(asyncpg.PostgresError):
        await rebuild(database.owner_url)
    monkeypatch.undo()
    assert await contents(owner) == before
    assert await side_tables(owner) > 0
    await rebuild(database.owner_url)
    assert (await contents(owner), await side_tables(owner)) == (right, 0)


async def test_rebuild_replaces_only_rows_that_differ_and_names_their_deals(
    database: ScratchDatabase, owner: Owner, recorder: Recorder
) -> None:
    for slug in ("plant", "other"):
        await record_deal(recorder, slug)
    right = await contents(owner)
    versions = {t: await owner.fetch(f"SELECT xmin::text FROM {t} AS t ORDER BY t") for t in TABLES}
    resets = await owner.fetchval("SELECT count(*) FROM fact_resets")
    await rebuild(database.owner_url)
    assert {t: await owner.fetch(f"SELECT xmin::text FROM {t} AS t ORDER BY t") for t in TABLES} == versions

    await owner.execute("UPDATE pledge_facts SET value = 1, changed_at = 0 WHERE deal = 'plant'")
    await rebuild(database.owner_url)
    assert await contents(owner) == right
    assert [row[0] for row in await owner.fetch("SELECT deal FROM fact_resets OFFSET $1", resets)] == ["plant"]


async def test_check_reports_missing_and_unexpected_rows(
    database: ScratchDatabase, owner: Owner, recorder: Recorder
) -> None:
    for name in ("plant", "other"):
        await record_deal(recorder, name)
    table = "mentions"
    key = list(await owner.fetchrow(f"SELECT term, position FROM {table} WHERE position < 9 ORDER BY 1, 2 LIMIT 1"))
    await owner.execute(f"DELETE FROM {table} WHERE (term, position) = ($1, $2)", *key)
    await owner.execute(f"INSERT INTO {table} VALUES ('organization:unknown', 3)")
    found = [(d.table, d.key, d.actual is None, d.expected is None) async for d in compare(database.owner_url)]
    assert found == sorted([(table, key, True, False), (table, ["organization:unknown", 3], False, True)], key=str)
    await rebuild(database.owner_url)
    assert [d async for d in compare(database.owner_url)] == []


async def test_check_reports_the_columns_that_differ(
    database: ScratchDatabase, owner: Owner, recorder: Recorder
) -> None:
    registered = b'{"event": {"type": "organization_registered", "name": {"en": "A firm"}}}'
    read = intake.organization_announcements.decode_many(registered)
    await recorder.record(AppendRequest(kind="organization", slug="firm", announcements=read, by="test"))
    await owner.execute("UPDATE organizations SET names = '{x}', version = 7")
    [found] = [d async for d in compare(database.owner_url)]
    assert (found.table, found.key, found.columns) == ("organizations", ["firm"], ["names", "version"])


async def test_second_rebuild_is_refused_while_one_runs(database: ScratchDatabase, owner: Owner) -> None:
    assert await owner.fetchval(module.TRY_REBUILD_LOCK)
    with pytest.raises(RebuildRunning):
        await rebuild(database.owner_url)
    await owner.execute("SELECT pg_advisory_unlock_all()")
    assert await rebuild(database.owner_url) == 0


async def test_rebuild_replaces_rows_beside_a_long_query(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    await record_deal(recorder, "plant")
    right = await contents(owner)
    await owner.execute("UPDATE pledge_facts SET value = 1")
    wrong = await contents(owner)
    async with pool.acquire() as connection:
        reading = connection.transaction(isolation="repeatable_read")
        await reading.start()
        seen = await connection.fetch("SELECT * FROM pledge_facts AS t ORDER BY t")
        await rebuild(database.owner_url)
        assert await connection.fetch("SELECT * FROM pledge_facts AS t ORDER BY t") == seen
        await reading.rollback()
    assert await contents(owner) == right
    assert right != wrong


class Lengths:
    """An added projection: the number of events of each stream."""

    name = "lengths"
    tables = ("lengths",)

    def start_batch(self) -> BatchProjector:
        raise NotImplementedError

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite("DELETE FROM lengths WHERE slug = ANY ($1)", [stream.slug for stream in streams])

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        add = "measured AS (INSERT INTO lengths (slug, version) SELECT * FROM unnest($1::text[], $2::int[]))"
        writes.add(add, [stream.slug for stream in streams], [stream.version for stream in streams])


async def test_added_projection_is_filled_from_the_log(
    database: ScratchDatabase, owner: Owner, recorder: Recorder
) -> None:
    await record_deal(recorder, "plant")
    await recorder.record(request("other", REGISTERED))
    await owner.execute("CREATE TABLE lengths (slug text PRIMARY KEY, version int NOT NULL)")
    assert await rebuild(database.owner_url, projections=[Lengths()]) == 9
    assert [tuple(row) for row in await owner.fetch("SELECT * FROM lengths ORDER BY slug")] == [
        ("other", 1),
        ("plant", 8),
    ]


@pytest.mark.parametrize("title", [{"ko": "울산", "en": "Ulsan"}, {"en": "Ulsan", "ko": "울산"}])
async def test_rebuild_agrees_whatever_the_order_of_languages_in_a_post(
    recorder: Recorder, database: ScratchDatabase, title: dict[str, str]
) -> None:
    registered = {**REGISTERED, "event": {"type": "deal_registered", "title": title, "kind": "investment"}}
    await recorder.record(request("ulsan", registered))
    await assert_projections_match_log(database)
