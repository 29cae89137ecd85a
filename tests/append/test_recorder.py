"""What the recorder promises: order, grouping, one answer to one request. Each test is named after its promise."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeAlias
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from registry.api.imports import ImportSession, NumberedLine
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult, SubmissionError
from registry.domain import history
from registry.domain.deal import Deal
from registry.errors import IdConflict, IdempotencyConflict, Overloaded, RuleBroken, VersionConflict
from registry.events import store
from registry.events.types import PledgeAnnounced, Recorded
from registry.infra.keys import Key
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.conftest import ScratchDatabase

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# An append by whoever is named 'held' stops between its first statement and its commit, for as long as a test wants.
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') = 'held' THEN
        PERFORM pg_advisory_xact_lock(1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER hold AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION hold();
"""

# An append that a bad event is in fails in the database.
BREAK = """
CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this one breaks';
END
$$;
CREATE TRIGGER break BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.stream = 'deal/bad') EXECUTE FUNCTION break();
"""


# The registration of a bad deal waits, then fails, wherever it stands in its group.
BREAK_LATE = """
CREATE FUNCTION break_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    RAISE EXCEPTION 'this one breaks';
END
$$;
CREATE TRIGGER break_late BEFORE INSERT ON events
FOR EACH ROW WHEN (NEW.stream = 'deal/bad' AND NEW.version = 1) EXECUTE FUNCTION break_late();
"""


@pytest.fixture
async def recorder(database: ScratchDatabase) -> AsyncIterator[Recorder]:
    """A recorder with the application's rights, and the owner's for redaction."""
    async with running_recorder(database.app_url, database.owner_url) as recorder:
        yield recorder


def ids(outcome: AppendResult) -> list[str]:
    return [event["id"] for event in msgspec.json.decode(outcome.response)["events"]]


async def hold_appends(owner: Owner) -> None:
    await owner.execute(HOLD)
    await owner.execute("SELECT pg_advisory_lock(1)")


async def append_is_held(owner: Owner) -> None:
    """Returns when an append stands between its first statement and its commit."""
    while not await owner.fetchval(  # noqa: ASYNC110 - the database has no event for it
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 1)"
    ):
        await asyncio.sleep(0.01)


Way = Callable[[Recorder, str], Awaitable[object]]


async def single(held: Recorder, first: str) -> object:
    return await held.record(request("plant", pledged("held")))


async def several(held: Recorder, first: str) -> object:
    return await held.record(request("plant", pledged("held"), pledged("held-too")))


async def correction(held: Recorder, first: str) -> object:
    replacement = {"effective_on": "2025-06-17"}
    corrected = {"type": "event_corrected", "corrects": first, "replacement": replacement, "reason": "a slip"}
    return await held.record(request("plant", {"event": corrected}))


async def redaction(held: Recorder, first: str) -> object:
    return await held.record(
        request("plant", {"event": {"type": "event_redacted", "redacts": first, "reason": "a court's order"}})
    )


async def together(held: Recorder, first: str) -> object:
    return await held.record_all([request("plant", pledged("held")), request("another", REGISTERED)])


async def imported(held: Recorder, first: str) -> object:
    async def lines() -> AsyncIterator[NumberedLine]:
        for n in range(3):
            yield NumberedLine(n + 1, msgspec.json.encode({"deal": f"imported-{n}", **REGISTERED}))

    key = Key("test", "test", frozenset({"record"}))
    results = b"".join([piece async for piece in ImportSession(held, key).answer(lines())])
    assert results.count(b'"status":201') == 3
    return results


@pytest.mark.parametrize("way", [single, several, together, imported, correction, redaction])
async def test_a_reader_that_polls_misses_nothing(
    way: Way, database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    """However long one writer is held between its first statement and its commit, for every way in."""
    first = await recorder.record(request("plant", REGISTERED, pledged("first")))
    await hold_appends(owner)
    async with running_recorder(database.app_url, database.owner_url, name="held") as held:
        slow = asyncio.ensure_future(way(held, ids(first)[1]))
        await append_is_held(owner)
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
    assert total >= 2 + 1 + 5
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


async def test_a_reader_that_polls_misses_nothing_while_many_processes_write(
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


async def test_a_rolled_back_append_leaves_no_hole_and_stalls_nobody(
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


async def test_a_fault_in_judging_one_request_reaches_its_author_alone(
    pool: Pool, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = history.admit

    def breaks(known: history.FoldedStream[Deal], recorded: Recorded) -> object:
        if known.slug == "bad":
            raise ZeroDivisionError
        return judge(known, recorded)

    monkeypatch.setattr("registry.append.batch.admit", breaks)
    answers = await asyncio.gather(
        *(recorder.record(request(slug, REGISTERED)) for slug in ("one", "bad", "two")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [AppendResult, ZeroDivisionError, AppendResult]
    assert await positions(pool) == [1, 2]


async def test_of_two_writers_with_the_same_expected_version_exactly_one_wins(
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


async def test_in_every_stream_version_order_and_position_order_agree(
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


async def test_recorded_at_never_decreases_also_when_the_clock_goes_back(database: ScratchDatabase, pool: Pool) -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    backwards = (start - timedelta(minutes=n) for n in count())
    wild = (start + timedelta(hours=n if n % 2 else -n) for n in count())
    async with (
        running_recorder(database.app_url, clock=lambda: next(backwards)) as one,
        running_recorder(database.app_url, clock=lambda: next(wild)) as other,
    ):
        for n in range(20):
            await (one if n % 3 else other).record(request(f"plant-{n}", REGISTERED))
    recorded = [row[0] for row in await pool.fetch("SELECT recorded_at FROM events ORDER BY position")]
    assert recorded == sorted(recorded)
    assert recorded[0] < recorded[-1]


async def test_the_same_key_and_body_at_once_is_one_event_and_one_answer(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    async with running_recorder(database.app_url) as other:
        asked = [request("plant", REGISTERED, idempotency_key="k1") for _ in range(8)]
        answers = await asyncio.gather(*(w.record(a) for a in asked for w in (recorder, other)))
    assert len({outcome.response for outcome in answers}) == 1
    assert [outcome.new for outcome in answers].count(True) == 1
    assert await positions(pool) == [1]


async def test_the_same_key_with_another_body_is_refused(pool: Pool, recorder: Recorder) -> None:
    await recorder.record(request("plant", REGISTERED, idempotency_key="k1"))
    with pytest.raises(IdempotencyConflict):
        await recorder.record(request("plant", pledged(), idempotency_key="k1"))
    assert await positions(pool) == [1]


async def test_what_was_refused_is_not_remembered_under_its_key(recorder: Recorder) -> None:
    with pytest.raises(RuleBroken):
        await recorder.record(request("plant", pledged(), idempotency_key="k1"))
    await recorder.record(request("plant", REGISTERED))
    assert (await recorder.record(request("plant", pledged(), idempotency_key="k1"))).new


async def test_the_same_id_at_once_is_one_event(database: ScratchDatabase, pool: Pool, recorder: Recorder) -> None:
    await recorder.record(request("plant", REGISTERED))
    given = pledged(id=str(uuid4()))
    async with running_recorder(database.app_url) as other:
        answers = await asyncio.gather(
            *(w.record(request("plant", given)) for _ in range(5) for w in (recorder, other))
        )
    assert {tuple(ids(outcome)) for outcome in answers} == {(given["id"],)}
    assert [outcome.new for outcome in answers].count(True) == 1
    with pytest.raises(IdConflict):
        await recorder.record(request("plant", {**given, "note": "other words"}))
    assert await positions(pool) == [1, 2]


async def test_a_list_is_recorded_whole_or_not_at_all(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    with pytest.raises(RuleBroken):
        await recorder.record(request("plant", REGISTERED, pledged("a"), pledged("b"), pledged("a")))
    assert await positions(pool) == []
    assert (await recorder.record(request("plant", REGISTERED, pledged("a"), pledged("b")))).version == 3
    await assert_projections_match_log(database)


async def test_a_dry_run_records_nothing(database: ScratchDatabase, pool: Pool, recorder: Recorder) -> None:
    dry = await recorder.record(request("plant", REGISTERED, pledged(), dry_run=True, idempotency_key="k1"))
    assert (dry.version, dry.new) == (2, False)
    assert await positions(pool) == []
    assert (await recorder.record(request("plant", REGISTERED, idempotency_key="k1"))).version == 1
    await assert_projections_match_log(database)


async def test_a_cancelled_request_never_spoils_its_group(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    asked = [asyncio.create_task(recorder.record(request(f"plant-{n}", REGISTERED))) for n in range(30)]
    await asyncio.sleep(0)
    for task in asked[::3]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    stayed = [answer for n, answer in enumerate(answers) if n % 3]
    assert all(isinstance(answer, AppendResult) for answer in stayed)
    # Who went away before the group was begun was not recorded.
    assert await positions(pool) == list(range(1, 21))
    await assert_projections_match_log(database)


async def test_a_request_cancelled_while_its_group_commits_is_recorded(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        asked = [asyncio.create_task(held.record(request(f"plant-{n}", REGISTERED))) for n in range(3)]
        await append_is_held(owner)
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
        await append_is_held(owner)
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


async def test_what_was_built_on_a_group_that_came_to_nothing_is_judged_anew(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    await owner.execute(BREAK_LATE)
    for slug in ("another", "plant"):
        await recorder.record(request(slug, REGISTERED))
    await owner.execute("SELECT pg_advisory_lock(1)")
    bad = asyncio.create_task(recorder.record(request("bad", REGISTERED)))
    await append_is_held(owner)
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


async def test_single_requests_go_before_those_of_a_bulk(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.recorder.MAX_IMPORT_BATCH_EVENTS", 2)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await append_is_held(owner)
        bulk = [asyncio.create_task(held.record(request(f"bulk-{n}", REGISTERED, low_priority=True))) for n in range(5)]
        await asyncio.sleep(0.05)
        single = asyncio.create_task(held.record(request("single", REGISTERED)))
        await asyncio.sleep(0)
        await owner.execute("SELECT pg_advisory_unlock(1)")
        outcomes = await asyncio.gather(first, single, *bulk)
    assert [outcome.position for outcome in outcomes] == [1, 2, 3, 4, 5, 6, 7]
    assert [outcome.response == b"" for outcome in outcomes] == [False, False, True, True, True, True, True]


async def test_a_bulk_goes_on_however_many_single_requests_there_are(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, events in (("MAX_BATCH_EVENTS", 4), ("MAX_IMPORT_BATCH_EVENTS", 2), ("MIN_IMPORT_EVENTS", 1)):
        monkeypatch.setattr(f"registry.append.recorder.{limit}", events)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await append_is_held(owner)
        bulk = [asyncio.create_task(held.record(request(f"bulk-{n}", REGISTERED, low_priority=True))) for n in range(2)]
        single = [asyncio.create_task(held.record(request(f"single-{n}", REGISTERED))) for n in range(12)]
        await asyncio.sleep(0.05)
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(first, *single)
        assert [(await one).position for one in bulk] == [6, 11]


KNOWN = [uuid4() for _ in range(10)]


def anything(chance: random.Random, name: str) -> AppendRequest:
    """Something that is asked of one of a dozen deals: new, or asked before, and more or less likely to be refused."""
    slug, number, low = f"plant-{chance.randrange(12)}", chance.randrange(10), chance.random() < 0.3
    match chance.randrange(8):
        case 0 | 1:
            return request(slug, REGISTERED, low_priority=low)
        case 2:
            return request(slug, REGISTERED, pledged(name), low_priority=low)
        case 3:
            return request(f"plant-{number}", pledged(f"same-{number}", id=str(KNOWN[number])), low_priority=low)
        case 4:
            return request(
                f"plant-{number}", pledged(f"kept-{number}"), low_priority=low, idempotency_key=f"key-{number}"
            )
        case 5:
            return request(slug, pledged(name), low_priority=low, expected_version=chance.randrange(1, 20))
        case _:
            return request(slug, pledged(name), low_priority=low)


@pytest.mark.parametrize("seed", range(4))
async def test_of_a_wild_mix_each_is_recorded_once_or_not_at_all(
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
        asked = anything(chance, name)
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
        # Alone, then by turns with another process.
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
    said = [stored.recorded.event.pledge for stored in log if isinstance(stored.recorded.event, PledgeAnnounced)]
    assert len(set(said)) == len(said)
    assert refused.isdisjoint(said)
    await assert_projections_match_log(database)


async def test_who_ends_the_recorder_waits_for_all_that_was_asked(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        asked = [asyncio.create_task(held.record(request("first", REGISTERED)))]
        await append_is_held(owner)
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


async def test_a_full_queue_sheds_load_at_once(
    database: ScratchDatabase, owner: Owner, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.recorder.MAX_QUEUED_REQUESTS", 10)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await append_is_held(owner)
        asked = [asyncio.create_task(held.record(request(f"plant-{n}", REGISTERED))) for n in range(25)]
        await asyncio.sleep(0)
        shed = [task for task in asked if task.done()]
        assert len(shed) == 15
        assert all(isinstance(task.exception(), Overloaded) for task in shed)
        await owner.execute("SELECT pg_advisory_unlock(1)")
        answers = await asyncio.gather(first, *(task for task in asked if task not in shed))
    assert len(answers) == 11
    assert await positions(pool) == list(range(1, 12))


async def test_large_bodies_fill_the_queue_too(
    database: ScratchDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.append.recorder.MAX_QUEUED_BYTES", 1000)
    await hold_appends(owner)
    async with running_recorder(database.app_url, name="held") as held:
        first = asyncio.create_task(held.record(request("first", REGISTERED)))
        await append_is_held(owner)
        large = {**REGISTERED, "note": "x" * 2000}
        alone = asyncio.create_task(held.record(request("second", large)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await held.record(request("third", REGISTERED))
        await owner.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.gather(first, alone)
        assert (await held.record(request("third", REGISTERED))).position == 3


async def test_what_another_process_wrote_is_what_the_next_request_is_judged_on(
    database: ScratchDatabase, recorder: Recorder
) -> None:
    async with running_recorder(database.app_url) as other:
        await recorder.record(request("plant", REGISTERED))
        await other.record(request("plant", pledged("total")))
        with pytest.raises(RuleBroken, match="total"):
            await recorder.record(request("plant", pledged("total")))
        assert (await recorder.record(request("plant", pledged("more")))).version == 3
    await assert_projections_match_log(database)


async def test_a_serializable_default_does_not_make_the_log_stale(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    """Whatever isolation an operator gives the database: what is read under the lock is the log's true end."""
    await owner.execute(f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'serializable'")
    async with running_recorder(database.app_url) as one, running_recorder(database.app_url) as other:
        await asyncio.gather(
            *(w.record(request(f"plant-{n}-{w is one}", REGISTERED)) for n in range(20) for w in (one, other))
        )
    assert await positions(pool) == list(range(1, 41))


async def test_who_finds_the_log_in_other_hands_waits_for_its_turn(
    database: ScratchDatabase, owner: Owner, pool: Pool, recorder: Recorder
) -> None:
    """What is drafted before the lock is written only where the lock is free and the log ends as it was then."""
    await recorder.record(request("deal", REGISTERED))
    await owner.execute(f"SELECT pg_advisory_lock({store.LOG_LOCK_KEY})")
    waiting = asyncio.create_task(recorder.record(request("deal", pledged("late"))))
    while not await owner.fetchval(  # noqa: ASYNC110 - the database has no event for it
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    ):
        await asyncio.sleep(0.01)
    assert await positions(pool) == [1]
    await owner.execute(f"SELECT pg_advisory_unlock({store.LOG_LOCK_KEY})")
    assert (await waiting).version == 2
    async with running_recorder(database.app_url, name="another") as other:
        for n in range(3):
            assert (await other.record(request("deal", pledged(f"other-{n}")))).version == 2 * n + 3
            assert (await recorder.record(request("deal", pledged(f"own-{n}")))).version == 2 * n + 4
    assert await positions(pool) == list(range(1, 9))
    await assert_projections_match_log(database)


async def test_a_retry_that_would_be_taken_again_is_answered_as_before(pool: Pool, recorder: Recorder) -> None:
    await recorder.record_all([request("deal", REGISTERED), request("deal", pledged("total"))])
    moved = {
        "effective_on": "2025-07-01",
        "event": {"type": "pledge_revised", "pledge": "total", "amount": {"value": "1", "currency": "USD"}},
    }
    first = await recorder.record(request("deal", moved, idempotency_key="once"))
    await recorder.record(request("deal", {**moved, "effective_on": "2025-07-02"}))
    again = await recorder.record(request("deal", moved, idempotency_key="once"))
    assert (first.new, again.new, again.response) == (True, False, first.response)
    named = {**moved, "id": ids(first)[0]}
    assert not (await recorder.record(request("deal", named))).new
    assert await positions(pool) == [1, 2, 3, 4]


async def test_keys_are_remembered_for_their_promised_life(database: ScratchDatabase, owner: Owner, pool: Pool) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)

    async with running_recorder(database.app_url, clock=lambda: now) as recorder:
        await recorder.record(request("old", REGISTERED, idempotency_key="old"))
        now += timedelta(hours=30)
        assert not (await recorder.record(request("old", REGISTERED, idempotency_key="old"))).new
        now += timedelta(hours=30)
        await recorder.record(request("new", REGISTERED, idempotency_key="new"))
        async with asyncio.timeout(60):
            while await pool.fetchval("SELECT count(*) FROM idempotency") > 1:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
    assert await pool.fetchval("SELECT key FROM idempotency") == "new"


async def test_requests_that_belong_together_are_recorded_all_or_none(
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
