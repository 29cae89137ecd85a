"""The queue: bounded, interactive requests first, emptied when the recorder closes."""

from __future__ import annotations

import asyncio

import pytest

from registry.errors import Overloaded
from tests.append.conftest import Owner, Pool, hold_appends, wait_until_append_is_held
from tests.append_helpers import REGISTERED, positions, request, running_recorder
from tests.databases import ScratchDatabase


async def test_interactive_requests_are_recorded_before_queued_imports(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.submission_queue.MAX_IMPORT_BATCH_EVENTS", 2)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await wait_until_append_is_held(owner)
        bulk = [asyncio.create_task(held.record(request(f"bulk-{n}", REGISTERED, low_priority=True))) for n in range(5)]
        await asyncio.sleep(0.05)
        single = asyncio.create_task(held.record(request("single", REGISTERED)))
        await asyncio.sleep(0)
        await owner.execute("SELECT pg_advisory_unlock(1)")
        outcomes = await asyncio.gather(first, single, *bulk)
    assert [outcome.position for outcome in outcomes] == [1, 2, 3, 4, 5, 6, 7]
    assert [outcome.response == b"" for outcome in outcomes] == [False, False, True, True, True, True, True]


async def test_import_proceeds_under_any_number_of_interactive_requests(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, events in (("MAX_BATCH_EVENTS", 4), ("MAX_IMPORT_BATCH_EVENTS", 2), ("MIN_IMPORT_EVENTS", 1)):
        monkeypatch.setattr(f"registry.append.submission_queue.{limit}", events)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await wait_until_append_is_held(owner)
        bulk = [asyncio.create_task(held.record(request(f"bulk-{n}", REGISTERED, low_priority=True))) for n in range(2)]
        single = [asyncio.create_task(held.record(request(f"single-{n}", REGISTERED))) for n in range(12)]
        await asyncio.sleep(0.05)
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(first, *single)
        assert [(await one).position for one in bulk] == [6, 11]


async def test_small_request_waits_for_one_large_submission_at_most(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.submission_queue.MAX_SMALL_EVENTS", 1)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await wait_until_append_is_held(owner)
        # Atomic imports are large as well.
        large = [
            held.submit([request(f"large-{n}-{deal}", REGISTERED, low_priority=n == 1) for deal in range(2)])
            for n in range(3)
        ]
        small = held.submit([request("small", REGISTERED)])
        line = held.submit([request("line", REGISTERED, low_priority=True)])
        await owner.execute("SELECT pg_advisory_unlock(1)")
        recorded = [[one.position for one in await submission] for submission in (*large, small, line)]
        assert (await first).position == 1
    assert recorded == [[2, 3], [6, 7], [8, 9], [4], [5]]


async def test_full_queue_refuses_requests_at_once(
    database: ScratchDatabase, owner: Owner, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.submission_queue.MAX_QUEUED_REQUESTS", 10)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await wait_until_append_is_held(owner)
        asked = [asyncio.create_task(held.record(request(f"plant-{n}", REGISTERED))) for n in range(25)]
        await asyncio.sleep(0)
        shed = [task for task in asked if task.done()]
        assert len(shed) == 15
        assert all(isinstance(task.exception(), Overloaded) for task in shed)
        await owner.execute("SELECT pg_advisory_unlock(1)")
        answers = await asyncio.gather(first, *(task for task in asked if task not in shed))
    assert len(answers) == 11
    assert await positions(pool) == list(range(1, 12))


async def test_queue_is_bounded_by_bytes_too(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.submission_queue.MAX_QUEUED_BYTES", 1000)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await wait_until_append_is_held(owner)
        large = {**REGISTERED, "note": "x" * 2000}
        alone = asyncio.create_task(held.record(request("second", large)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await held.record(request("third", REGISTERED))
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(first, alone)
        assert (await held.record(request("third", REGISTERED))).position == 3


async def test_closing_recorder_commits_what_is_queued(database: ScratchDatabase, owner: Owner, pool: Pool) -> None:
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        asked = [asyncio.create_task(held.record(request("first", REGISTERED)))]
        await wait_until_append_is_held(owner)
        asked += [asyncio.create_task(held.record(request(f"plant-{n}", REGISTERED))) for n in range(3)]
        await asyncio.sleep(0)
        ending = asyncio.create_task(held.__aexit__(None, None, None))
        await asyncio.sleep(0.05)
        assert not ending.done()
        with pytest.raises(Overloaded):
            await held.record(request("late", REGISTERED))
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await ending
        assert all(task.done() for task in asked)
    assert await positions(pool) == [1, 2, 3, 4]
