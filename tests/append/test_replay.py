"""A replay records at stated instants, into an empty log only, and says so in the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from registry.append.clock import ClockGuard
from registry.append.replay import ReplayedAnnouncement, replay
from registry.domain.calendar import Calendar
from registry.domain.principal import REGISTRY, REPLAYER
from registry.errors import ClockUnsafe, Forbidden, RuleBroken
from registry.events import intake, store
from registry.queries.log import begins_with_replay
from registry.queries.principals import Principals
from tests.append.conftest import Pool
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, request, running_recorder
from tests.databases import ScratchDatabase

FIRST = datetime(2025, 6, 16, 9, tzinfo=UTC)
SECOND = FIRST + timedelta(days=4)


def revised(pledge: str) -> dict[str, Any]:
    amount = {"value": "7000000000000", "currency": "KRW"}
    event = {"type": "pledge_revised", "pledge": pledge, "amount": amount}
    return {"effective_on": "2025-06-20", "event": event}


def replayed(instant: datetime, announcement: dict[str, Any]) -> ReplayedAnnouncement:
    decoded = intake.announcements.decode_one(msgspec.json.encode(announcement))
    return ReplayedAnnouncement("deal", "plant", instant, decoded)


PLANT = [replayed(FIRST, REGISTERED), replayed(FIRST, pledged()), replayed(SECOND, revised("total"))]


async def replay_plant(pool: Pool, announcements: list[ReplayedAnnouncement] = PLANT, **clock: Any) -> bool:
    return await replay(pool, announcements, "Archive", calendar=Calendar(), clock_guard=ClockGuard(**clock))


async def log_of(pool: Pool) -> list[store.StoredEvent]:
    return await store.feed(pool, 0, 100)


async def test_events_have_the_stated_instants_and_the_replayer_as_author(pool: Pool) -> None:
    assert await replay_plant(pool)
    recorded = [stored.recorded for stored in await log_of(pool)]
    assert [(r.slug, r.recorded_by, r.recorded_at) for r in recorded] == [
        (REPLAYER, REGISTRY, FIRST),
        (REPLAYER, REGISTRY, FIRST),
        ("plant", REPLAYER, FIRST),
        ("plant", REPLAYER, FIRST),
        ("plant", REPLAYER, SECOND),
        (REPLAYER, REGISTRY, SECOND),
    ]
    assert await begins_with_replay(pool)


async def test_replayer_has_no_rights_after_the_replay(pool: Pool) -> None:
    await replay_plant(pool)
    assert await Principals(pool).credential(REPLAYER, None) is None


async def test_second_replay_records_nothing(pool: Pool) -> None:
    assert await replay_plant(pool)
    before = await log_of(pool)
    assert not await replay_plant(pool)
    assert await log_of(pool) == before


async def test_log_with_an_event_takes_no_replay(database: ScratchDatabase, pool: Pool) -> None:
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("other", REGISTERED))
    assert not await replay_plant(pool)
    assert [stored.recorded.slug for stored in await log_of(pool)] == ["other"]
    assert await begins_with_replay(pool) is False


async def test_later_events_are_recorded_now_after_the_replayed_ones(database: ScratchDatabase, pool: Pool) -> None:
    await replay_plant(pool)
    before = datetime.now(UTC)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("plant", pledged("second")))
    instants = [stored.recorded.recorded_at for stored in await log_of(pool)]
    assert instants == sorted(instants)
    assert instants[-1] >= before


async def test_projections_of_a_replay_match_its_log(database: ScratchDatabase, pool: Pool) -> None:
    await replay_plant(pool)
    await assert_projections_match_log(database)


@pytest.mark.parametrize(
    ("announcements", "error"),
    [
        ([*PLANT, replayed(datetime.now(UTC) + timedelta(hours=1), pledged("late"))], ValueError),
        (PLANT[::-1], ValueError),
        ([*PLANT, replayed(SECOND, revised("none"))], RuleBroken),
        (
            [*PLANT, replayed(SECOND, {"event": {"type": "event_redacted", "reason": "x", "redacts": f"{0:032x}"}})],
            Forbidden,
        ),
    ],
)
async def test_refused_replay_records_nothing(
    pool: Pool, announcements: list[ReplayedAnnouncement], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await replay_plant(pool, announcements)
    assert await log_of(pool) == []


async def test_unsafe_clock_replays_nothing(pool: Pool) -> None:
    with pytest.raises(ClockUnsafe):
        await replay_plant(pool, clock=lambda: datetime.now(UTC) + timedelta(minutes=40))
    assert await log_of(pool) == []
