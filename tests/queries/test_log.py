"""Events of the log are found by position, type, deal, organization and source, also in combination."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.events.store import position_at
from registry.infra.postgres import Pool
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.databases import ScratchDatabase

ARTICLE = {"publisher": "The Example Times", "url": "https://news.example/one", "published_on": "2025-06-20"}


@pytest.fixture
async def log(database: ScratchDatabase, pool: Pool) -> AsyncIterator[LogQueries]:
    """The queries about a log of two deals: 1 and 3 register, 2 and 4 pledge (4 by AWS, citing an article)."""
    by_aws = pledged("total", sources=[ARTICLE])
    by_aws["event"]["by"] = ["aws"]
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("one", REGISTERED, pledged()))
        await recorder.record(request("two", REGISTERED, by_aws))
        yield LogQueries(StreamReader(pool))


async def positions(log: LogQueries, **filters: Any) -> list[int]:
    return [stored.recorded.position for stored in await log.events(0, 10, EventFilter(**filters))]


async def test_events_are_filtered_by_type_deal_organization_and_source(log: LogQueries) -> None:
    assert await positions(log) == [1, 2, 3, 4]
    assert await positions(log, type=("deal_registered",)) == [1, 3]
    assert await positions(log, deal="two") == [3, 4]
    assert await positions(log, organization="aws") == [4]
    assert await positions(log, source="http://www.news.example/one/") == [4]


async def test_filters_of_events_are_combined(log: LogQueries) -> None:
    assert await positions(log, organization="aws", source=ARTICLE["url"], deal="two") == [4]
    assert await positions(log, organization="aws", deal="one") == []
    assert await positions(log, source=ARTICLE["url"], type=("deal_registered",)) == []


async def test_events_come_in_order_after_a_position(log: LogQueries) -> None:
    assert [stored.recorded.position for stored in await log.events(1, 2)] == [2, 3]
    assert (await log.head()).position == 4


async def test_instant_is_found_among_events_of_the_same_and_of_other_instants(
    database: ScratchDatabase, pool: Pool
) -> None:
    assert await position_at(pool, datetime.now(UTC)) == 0
    async with running_recorder(database.app_url) as recorder:
        for number in range(12):
            # The events of a batch have one instant.
            await recorder.record(
                request(f"deal-{number}", REGISTERED, *[pledged(f"p-{n}") for n in range(number % 4)])
            )
    recorded = [row["recorded_at"] for row in await pool.fetch("SELECT recorded_at FROM events ORDER BY position")]
    assert len(recorded) > len(set(recorded)) > 2
    for instant in {at + timedelta(microseconds=moved) for at in recorded for moved in (-1, 0, 1)}:
        assert await position_at(pool, instant) == sum(at <= instant for at in recorded)
