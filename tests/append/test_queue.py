"""The queue: bounded, interactive requests first, emptied when the recorder closes."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from msgspec.structs import replace

from registry.errors import Overloaded
from tests.append.conftest import Owner, Pool, hold_appends, wait_until_append_is_held
from tests.append_helpers import REGISTERED, pledged, positions, request, running_recorder
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
    monkeypatch.setattr("registry.append.submission_queue.PART_OF_PRINCIPAL", 1)
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


async def test_principal_that_fills_its_part_of_the_queue_keeps_no_other_out(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.submission_queue.MAX_QUEUED_REQUESTS", 10)
    monkeypatch.setattr("registry.append.submission_queue.MAX_QUEUED_BYTES", 10_000)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await wait_until_append_is_held(owner)
        many = [held.submit([request(f"many-{n}", REGISTERED)]) for n in range(5)]
        with pytest.raises(Overloaded):
            held.submit([request("many", REGISTERED)])
        big = [held.submit([replace(request("big", REGISTERED), by="big", size=4_999)])]
        with pytest.raises(Overloaded):
            held.submit([replace(request("big-2", REGISTERED), by="big", size=2)])
        other = held.submit([replace(request("other", REGISTERED), by="other")])
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(first, *many, *big, other)
        # What was recorded no longer counts.
        assert (await held.record(request("more", REGISTERED))).version == 1


async def test_principals_take_turns(database: ScratchDatabase, owner: Owner) -> None:
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await wait_until_append_is_held(owner)
        many = [held.submit([request(f"many-{n}", REGISTERED)]) for n in range(4)]
        other = [held.submit([replace(request(f"other-{n}", REGISTERED), by="other")]) for n in range(2)]
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await first
        assert [[one.position for one in await submission] for submission in (*many, *other)] == [
            [2],
            [4],
            [6],
            [7],
            [3],
            [5],
        ]


async def test_small_request_waits_for_one_redaction_at_most(database: ScratchDatabase, owner: Owner) -> None:
    ids = [str(uuid4()) for _ in range(2)]
    await hold_appends(owner)
    async with running_recorder(database.app_url, database.owner_url, name="held") as held:
        pledges = (pledged(id, id=id) for id in ids)
        first = asyncio.create_task(held.record(request("first", REGISTERED, *pledges)))
        await wait_until_append_is_held(owner)
        events = [{"type": "event_redacted", "redacts": id, "reason": "law"} for id in ids]
        redactions = [held.submit([request("first", {"event": event})]) for event in events]
        small = held.submit([request("small", REGISTERED)])
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await first
        assert [(await one)[0].position for one in (*redactions, small)] == [4, 6, 5]
