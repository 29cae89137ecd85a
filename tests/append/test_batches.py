"""Batches: requests are validated one after another, and each succeeds or fails by itself."""

from __future__ import annotations

import asyncio
import gc
import random
from datetime import UTC, datetime
from itertools import count
from uuid import uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult, SubmissionError
from registry.domain.history import FoldedStream
from registry.domain.money.rates import Rates
from registry.errors import RuleBroken, VersionConflict
from registry.events import store
from registry.events.types import PledgeAnnounced
from registry.infra import postgres
from registry.projections.exchange_rates import RateCache
from registry.projections.facts.sweep_line import Folding
from tests.append.conftest import BREAK_LATE, Owner, Pool, hold_appends, wait_until_append_is_held
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.databases import ScratchDatabase


async def test_internal_error_in_validation_fails_only_its_own_request(pool: Pool, recorder: Recorder) -> None:
    # Every decoder refuses an announcement without an event.
    bad = request("bad", REGISTERED)
    bad = replace(bad, announcements=[replace(bad.announcements[0], event=None)])
    answers = await asyncio.gather(
        recorder.record(request("one", REGISTERED)),
        recorder.record(bad),
        recorder.record(request("two", REGISTERED)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [AppendResult, AttributeError, AppendResult]
    assert await positions(pool) == [1, 2]


async def test_list_of_announcements_is_recorded_whole_or_not_at_all(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    with pytest.raises(RuleBroken):
        await recorder.record(request("plant", REGISTERED, pledged("a"), pledged("b"), pledged("a")))
    assert await positions(pool) == []
    assert (await recorder.record(request("plant", REGISTERED, pledged("a"), pledged("b")))).version == 3
    await assert_projections_match_log(database)


async def test_submission_is_recorded_whole_or_not_at_all(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    alone = asyncio.create_task(recorder.record(request("alone", REGISTERED)))
    with pytest.raises(SubmissionError) as refused:
        await recorder.record_all(
            [
                request("one", REGISTERED),
                request("two", REGISTERED),
                request("one", pledged("a")),
                request("three", pledged()),
            ]
        )
    assert (refused.value.number, type(refused.value.error)) == (3, RuleBroken)
    await alone
    dry = await recorder.record_all([request("one", REGISTERED), request("one", pledged("a"))], dry_run=True)
    assert [(outcome.version, outcome.new) for outcome in dry] == [(1, False), (2, False)]
    assert await positions(pool) == [1]
    together, other = await asyncio.gather(
        recorder.record_all([request("one", REGISTERED), request("two", REGISTERED), request("one", pledged("a"))]),
        recorder.record(request("one", pledged("b"))),
    )
    assert [(outcome.version, outcome.position) for outcome in (*together, other)] == [(1, 2), (1, 3), (2, 4), (3, 5)]
    await assert_projections_match_log(database)


async def test_dry_run_records_nothing(database: ScratchDatabase, pool: Pool, recorder: Recorder) -> None:
    dry = await recorder.record(request("plant", REGISTERED, pledged(), dry_run=True, idempotency_key="k1"))
    assert (dry.version, dry.new) == (2, False)
    assert await positions(pool) == []
    assert (await recorder.record(request("plant", REGISTERED, idempotency_key="k1"))).version == 1
    await assert_projections_match_log(database)


class HeldRates(RateCache):
    """The first batch waits for its exchange rates."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.released = asyncio.Event(), asyncio.Event()

    async def latest(self, connection: postgres.Connection | postgres.Pool) -> Rates:
        if not self.asked.is_set():
            self.asked.set()
            await self.released.wait()
        return await super().latest(connection)


async def test_dry_run_delays_no_request_that_writes(database: ScratchDatabase, pool: Pool) -> None:
    rates = HeldRates()
    async with running_recorder(database.app_url, rates=rates) as recorder:
        dry = asyncio.ensure_future(recorder.record(request("plant", REGISTERED, pledged(), dry_run=True)))
        await rates.asked.wait()
        async with asyncio.timeout(60):
            assert (await recorder.record(request("plant", REGISTERED))).position == 1
            assert (await recorder.record(request("other", REGISTERED))).position == 2
        assert not dry.done()
        rates.released.set()
        # It is validated on the log as it was when it began.
        assert ((await dry).version, (await dry).position, (await dry).new) == (2, 2, False)
        with pytest.raises(RuleBroken):
            await recorder.record(request("plant", REGISTERED, dry_run=True))
        assert (await recorder.record(request("plant", pledged(), dry_run=True))).version == 2
    assert await positions(pool) == [1, 2]
    await assert_projections_match_log(database)


async def test_cancelled_requests_leave_the_others_of_their_batch_intact(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    asked = [asyncio.create_task(recorder.record(request(f"plant-{n}", REGISTERED))) for n in range(30)]
    await asyncio.sleep(0)
    for task in asked[::3]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    stayed = [answer for n, answer in enumerate(answers) if n % 3]
    assert all(isinstance(answer, AppendResult) for answer in stayed)
    # A request that was cancelled before its batch began is not recorded.
    assert await positions(pool) == list(range(1, 21))
    await assert_projections_match_log(database)


async def test_request_cancelled_during_its_commit_is_recorded(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        asked = [asyncio.create_task(held.record(request(f"plant-{n}", REGISTERED))) for n in range(3)]
        await wait_until_append_is_held(owner)
        asked[1].cancel()
        await owner.execute("SELECT pg_advisory_unlock(1)")
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [AppendResult, asyncio.CancelledError, AppendResult]
    assert await positions(pool) == [1, 2, 3]


async def test_requests_that_arrive_during_a_commit_are_validated_on_its_result(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("plant", REGISTERED, pledged("first"))))
        await wait_until_append_is_held(owner)
        arrived_at = datetime.now(UTC)
        refused = asyncio.create_task(held.record(request("plant", pledged("first"))))
        later = [asyncio.create_task(held.record(request("plant", pledged(f"p{n}")))) for n in range(3)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in (first, refused, *later))
        await owner.execute("SELECT pg_advisory_unlock(1)")
        assert [result.version for result in await asyncio.gather(first, *later)] == [2, 3, 4, 5]
        with pytest.raises(RuleBroken, match="first"):
            await refused
        assert (await later[0]).events[0].recorded_at >= arrived_at
    assert await positions(pool) == [1, 2, 3, 4, 5]
    await assert_projections_match_log(database)


async def test_requests_after_a_failed_batch_are_validated_without_it(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    await owner.execute(BREAK_LATE)
    for slug in ("another", "plant"):
        await recorder.record(request(slug, REGISTERED))
    await owner.execute("SELECT pg_advisory_lock(1)")
    bad = asyncio.create_task(recorder.record(request("bad", REGISTERED)))
    await wait_until_append_is_held(owner)
    after = [
        asyncio.create_task(recorder.record(asked))
        for asked in (request("bad", pledged()), request("plant", pledged()), request("good", REGISTERED))
    ]
    await asyncio.sleep(0.05)
    await owner.execute("SELECT pg_advisory_unlock(1)")
    answers = await asyncio.gather(bad, *after, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncpg.RaiseError, RuleBroken, AppendResult, AppendResult]
    assert await positions(pool) == [1, 2, 3, 4]
    await assert_projections_match_log(database)


KNOWN_IDS = [uuid4() for _ in range(10)]


def random_request(chance: random.Random, name: str) -> AppendRequest:
    """A request for one of a dozen deals: new or repeated, valid or not."""
    slug, number, low = f"plant-{chance.randrange(12)}", chance.randrange(10), chance.random() < 0.3
    match chance.randrange(8):
        case 0 | 1:
            return request(slug, REGISTERED, low_priority=low)
        case 2:
            return request(slug, REGISTERED, pledged(name), low_priority=low)
        case 3:
            return request(f"plant-{number}", pledged(f"same-{number}", id=str(KNOWN_IDS[number])), low_priority=low)
        case 4:
            return request(
                f"plant-{number}", pledged(f"kept-{number}"), low_priority=low, idempotency_key=f"key-{number}"
            )
        case 5:
            return request(slug, pledged(name), low_priority=low, expected_version=chance.randrange(1, 20))
        case _:
            return request(slug, pledged(name), low_priority=low)


@pytest.mark.parametrize("seed", range(4))
async def test_random_requests_are_each_recorded_once_or_not_at_all(
    database: ScratchDatabase, pool: Pool, recorder: Recorder, seed: int
) -> None:
    chance = random.Random(seed)
    names = count()
    granted: dict[str, AppendResult] = {}
    refused: set[str] = set()
    answers: dict[str, set[bytes]] = {}

    async def ask(writer: Recorder) -> None:
        await asyncio.sleep(chance.random() / 4)
        name = f"p{next(names)}"
        asked = random_request(chance, name)
        try:
            if chance.random() < 0.05:
                await writer.record_all([asked], dry_run=True)
                refused.add(name)
                return
            outcome = await asyncio.wait_for(writer.record(asked), 0.002 if chance.random() < 0.1 else None)
        except (RuleBroken, VersionConflict, SubmissionError):
            refused.add(name)
        except TimeoutError:
            pass
        else:
            granted[name] = outcome
            if asked.idempotency_key is not None:
                answers.setdefault(asked.idempotency_key, set()).add(outcome.response)

    async with running_recorder(database.app_url) as other:
        # First one recorder, then two that take turns.
        await asyncio.gather(*(ask(recorder) for _ in range(150)))
        await asyncio.gather(*(ask(writer) for _ in range(75) for writer in (recorder, other)))
    assert granted
    assert refused
    assert all(len(same) == 1 for same in answers.values())
    log = await store.feed(pool, 0, 1_000)
    assert [stored.recorded.position for stored in log] == list(range(1, len(log) + 1))
    versions: dict[str, int] = {}
    for stored in log:
        assert stored.recorded.version == versions.get(stored.recorded.slug, 0) + 1
        versions[stored.recorded.slug] = stored.recorded.version
    there = {stored.recorded.id: stored.recorded for stored in log}
    for outcome in granted.values():
        assert all(there[event.id].position == event.position for event in outcome.events)
    pledges = [stored.recorded.event.pledge for stored in log if isinstance(stored.recorded.event, PledgeAnnounced)]
    assert len(set(pledges)) == len(pledges)
    assert refused.isdisjoint(pledges)
    await assert_projections_match_log(database)


async def test_refused_requests_leave_no_state_in_memory(recorder: Recorder) -> None:
    await recorder.record(request("plant", REGISTERED, pledged("a")))
    # An exception refers to the frames that raised it: without a garbage collection, what is in a cycle stays.
    gc.collect()
    gc.disable()
    try:
        before = _in_memory(FoldedStream)
        for number in range(20):
            with pytest.raises(RuleBroken):
                await recorder.record(request("plant", pledged(f"b{number}"), pledged("a")))
            with pytest.raises(SubmissionError):
                await recorder.record_all([request("plant", pledged(f"c{number}")), request("plant", pledged("a"))])
        # Forty refusals.
        assert _in_memory(FoldedStream) - before < 20
    finally:
        gc.enable()


async def test_recorded_requests_leave_no_garbage_of_their_rows(recorder: Recorder) -> None:
    await recorder.record(request("plant", REGISTERED, pledged("a")))
    gc.collect()
    gc.disable()
    try:
        before = _in_memory(Folding)
        for number in range(5):
            await recorder.record(request("plant", pledged(f"b{number}", day=f"2025-06-1{5 - number}")))
        assert _in_memory(Folding) == before
    finally:
        gc.enable()


def _in_memory(kind: type) -> int:
    return sum(isinstance(found, kind) for found in gc.get_objects())
