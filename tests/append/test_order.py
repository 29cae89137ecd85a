"""Order: positions, versions and instants, for readers that poll and for several writers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import asyncpg
import msgspec
import pytest

from registry.append.principals import record_events
from registry.append.recorder import Recorder
from registry.append.requests import AppendResult
from registry.domain.principal import Credential, Rights
from registry.errors import VersionConflict
from registry.events.types import PrincipalRegistered, ScopesChanged
from registry.http.import_session import ImportSession, NumberedLine
from tests.append.conftest import BREAK, Owner, Pool, event_ids, hold_appends, wait_until_append_is_held
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.databases import ScratchDatabase

IMPORTER = Credential("importer", "Importer", Rights(scopes=("record",)))

Way = Callable[[Recorder, str], Awaitable[object]]


async def post_one(held: Recorder, first: str) -> object:
    return await held.record(request("plant", pledged("held")))


async def post_list(held: Recorder, first: str) -> object:
    return await held.record(request("plant", pledged("held"), pledged("held-too")))


async def post_correction(held: Recorder, first: str) -> object:
    replacement = {"effective_on": "2025-06-17"}
    corrected = {"type": "event_corrected", "corrects": first, "replacement": replacement, "reason": "a slip"}
    return await held.record(request("plant", {"event": corrected}))


async def post_redaction(held: Recorder, first: str) -> object:
    return await held.record(
        request("plant", {"event": {"type": "event_redacted", "redacts": first, "reason": "a court's order"}})
    )


async def post_submission(held: Recorder, first: str) -> object:
    return await held.record_all([request("plant", pledged("held")), request("another", REGISTERED)])


async def import_lines(held: Recorder, first: str) -> object:
    async def lines() -> AsyncIterator[NumberedLine]:
        for n in range(3):
            yield NumberedLine(n + 1, msgspec.json.encode({"deal": f"imported-{n}", **REGISTERED}))

    results = b"".join([piece async for piece in ImportSession(held, IMPORTER, asyncio.Event()).run(lines())])
    assert results.count(b'"status":201') == 3
    return results


@pytest.mark.parametrize("way", [post_one, post_list, post_submission, import_lines, post_correction, post_redaction])
async def test_polling_reader_misses_no_event_while_a_writer_is_paused(
    way: Way, database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    """A writer is paused between its first statement and its commit, on every write path."""
    first = await recorder.record(request("plant", REGISTERED, pledged("first")))
    await record_events(
        recorder, IMPORTER.id, [PrincipalRegistered(name="Importer"), ScopesChanged(scopes=("record",))]
    )
    await hold_appends(owner)
    async with running_recorder(database.app_url, database.owner_url, name="held") as held:
        slow = asyncio.ensure_future(way(held, event_ids(first)[1]))
        await wait_until_append_is_held(owner)
        others = [asyncio.create_task(recorder.record(request(f"plant-{n}", REGISTERED))) for n in range(5)]
        seen: list[int] = []
        for _ in range(30):
            seen += await positions(pool, seen[-1] if seen else 0)
            await asyncio.sleep(0.01)
        assert not slow.done()
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(slow, *others)
        seen += await positions(pool, seen[-1])
    total = await pool.fetchval("SELECT count(*) FROM events")
    assert total >= 2 + 2 + 1 + 5
    assert seen == list(range(1, total + 1))


WRITER = """
import asyncio, sys
from tests.append_helpers import REGISTERED, pledged, request, running_recorder

async def write(url, name, count):
    async with running_recorder(url) as recorder:
        async def one(n):
            await recorder.record(request(f"{name}-{n}", REGISTERED))
            await recorder.record(request("shared", pledged(f"{name}-{n}")))
        for start in range(0, count, 5):
            await asyncio.gather(*(one(n) for n in range(start, start + 5)))

asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_polling_reader_misses_no_event_of_many_processes(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    await recorder.record(request("shared", REGISTERED))
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, database.app_url, f"writer-{n}", "20")
        for n in range(3)
    ]
    finished = asyncio.gather(*(writer.wait() for writer in writers))
    seen: list[int] = []
    while not finished.done():
        seen += await positions(pool, seen[-1] if seen else 0)
        await asyncio.sleep(0)
    assert await finished == [0, 0, 0]
    seen += await positions(pool, seen[-1])
    assert seen == list(range(1, 1 + 3 * 20 * 2 + 1))
    await assert_projections_match_log(database)


async def test_rolled_back_append_leaves_no_gap_and_blocks_no_other_request(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    await owner.execute(BREAK)
    for round_ in range(3):
        answers = await asyncio.gather(
            *(recorder.record(request(f"good-{round_}-{n}", REGISTERED)) for n in range(10)),
            recorder.record(request("bad", REGISTERED)),
            *(recorder.record(request(f"good-{round_}-{n}", REGISTERED)) for n in range(10, 20)),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers].count(AppendResult) == 20
        assert isinstance(answers[10], asyncpg.RaiseError)
    assert await positions(pool) == list(range(1, 61))
    await assert_projections_match_log(database)


async def test_of_writers_with_the_same_expected_version_exactly_one_succeeds(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    async with running_recorder(database.app_url) as other:
        await recorder.record(request("plant", REGISTERED))
        for version in range(1, 21):
            answers = await asyncio.gather(
                recorder.record(request("plant", pledged(f"a-{version}"), expected_version=version)),
                other.record(request("plant", pledged(f"b-{version}"), expected_version=version)),
                recorder.record(request("plant", pledged(f"c-{version}"), expected_version=version)),
                return_exceptions=True,
            )
            won = [answer for answer in answers if isinstance(answer, AppendResult)]
            assert [outcome.version for outcome in won] == [version + 1]
            assert sum(isinstance(answer, VersionConflict) for answer in answers) == 2
    rows = await pool.fetch("SELECT position, version FROM events ORDER BY position")
    assert [tuple(row) for row in rows] == [(n, n) for n in range(1, 22)]


async def test_version_order_equals_position_order_in_every_stream(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    async with running_recorder(database.app_url) as other:
        await asyncio.gather(*(recorder.record(request(f"plant-{n}", REGISTERED)) for n in range(4)))
        await asyncio.gather(
            *(
                writer.record(request(f"plant-{n % 4}", pledged(f"{name}-{n}")))
                for n in range(60)
                for name, writer in (("a", recorder), ("b", other))
            )
        )
    for n in range(4):
        rows = await pool.fetch("SELECT version FROM events WHERE stream = $1 ORDER BY position", f"deal/plant-{n}")
        assert [row["version"] for row in rows] == list(range(1, 32))
    assert await positions(pool) == list(range(1, 4 + 120 + 1))


async def test_recorded_at_never_decreases_when_the_clock_is_set_back(database: ScratchDatabase, pool: Pool) -> None:
    backwards = (datetime.now(UTC) - timedelta(seconds=n) for n in count())
    wild = (datetime.now(UTC) + timedelta(seconds=3 if n % 2 else -n) for n in count())
    async with (
        running_recorder(database.app_url, clock=lambda: next(backwards)) as one,
        running_recorder(database.app_url, clock=lambda: next(wild)) as other,
    ):
        for n in range(20):
            await (one if n % 3 else other).record(request(f"plant-{n}", REGISTERED))
    recorded = [row[0] for row in await pool.fetch("SELECT recorded_at FROM events ORDER BY position")]
    assert recorded == sorted(recorded)
    assert recorded[0] < recorded[-1]
