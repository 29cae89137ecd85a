"""Idempotency keys and event ids: a retry records nothing and is answered as before."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from registry.append.recorder import Recorder
from registry.errors import IdConflict, IdempotencyConflict, RuleBroken
from tests.append.conftest import Owner, Pool, event_ids
from tests.append_helpers import REGISTERED, pledged, positions, request, running_recorder
from tests.databases import ScratchDatabase


async def test_concurrent_requests_with_one_key_record_one_event(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    async with running_recorder(database.app_url) as other:
        asked = [request("plant", REGISTERED, idempotency_key="k1") for _ in range(8)]
        answers = await asyncio.gather(*(w.record(a) for a in asked for w in (recorder, other)))
    assert len({outcome.response for outcome in answers}) == 1
    assert [outcome.new for outcome in answers].count(True) == 1
    assert await positions(pool) == [1]


async def test_idempotency_key_with_another_body_is_refused(pool: Pool, recorder: Recorder) -> None:
    await recorder.record(request("plant", REGISTERED, idempotency_key="k1"))
    with pytest.raises(IdempotencyConflict):
        await recorder.record(request("plant", pledged(), idempotency_key="k1"))
    assert await positions(pool) == [1]


async def test_refusal_is_not_stored_under_its_idempotency_key(recorder: Recorder) -> None:
    with pytest.raises(RuleBroken):
        await recorder.record(request("plant", pledged(), idempotency_key="k1"))
    await recorder.record(request("plant", REGISTERED))
    assert (await recorder.record(request("plant", pledged(), idempotency_key="k1"))).new


async def test_concurrent_requests_with_one_event_id_record_one_event(
    database: ScratchDatabase, pool: Pool, recorder: Recorder
) -> None:
    await recorder.record(request("plant", REGISTERED))
    given = pledged(id=str(uuid4()))
    async with running_recorder(database.app_url) as other:
        answers = await asyncio.gather(
            *(w.record(request("plant", given)) for _ in range(5) for w in (recorder, other))
        )
    assert {tuple(event_ids(outcome)) for outcome in answers} == {(given["id"],)}
    assert [outcome.new for outcome in answers].count(True) == 1
    with pytest.raises(IdConflict):
        await recorder.record(request("plant", {**given, "note": "other words"}))
    assert await positions(pool) == [1, 2]


async def test_retry_of_a_valid_request_is_answered_as_before(pool: Pool, recorder: Recorder) -> None:
    await recorder.record_all([request("deal", REGISTERED), request("deal", pledged("total"))])
    moved = {
        "effective_on": "2025-07-01",
        "event": {"type": "pledge_revised", "pledge": "total", "amount": {"value": "1", "currency": "USD"}},
    }
    first = await recorder.record(request("deal", moved, idempotency_key="once"))
    await recorder.record(request("deal", {**moved, "effective_on": "2025-07-02"}))
    again = await recorder.record(request("deal", moved, idempotency_key="once"))
    assert (first.new, again.new, again.response) == (True, False, first.response)
    named = {**moved, "id": event_ids(first)[0]}
    assert not (await recorder.record(request("deal", named))).new
    assert await positions(pool) == [1, 2, 3, 4]


async def test_idempotency_records_are_kept_for_their_retention_time(
    database: ScratchDatabase, owner: Owner, pool: Pool
) -> None:
    async def age(hours: int) -> None:
        await owner.execute("UPDATE idempotency SET created_at = created_at - make_interval(hours => $1)", hours)

    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("old", REGISTERED, idempotency_key="old"))
        await age(30)
    async with running_recorder(database.app_url) as recorder:
        assert not (await recorder.record(request("old", REGISTERED, idempotency_key="old"))).new
        await recorder.record(request("plant", REGISTERED))
        assert await pool.fetchval("SELECT count(*) FROM idempotency") == 1
        await age(30)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("new", REGISTERED, idempotency_key="new"))
        async with asyncio.timeout(60):
            while await pool.fetchval("SELECT count(*) FROM idempotency") > 1:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.02)
    assert await pool.fetchval("SELECT key FROM idempotency") == "new"
