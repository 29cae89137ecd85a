"""A deal's state follows every event, whatever the queries cached, and past states stay as they were."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from registry.append.recorder import Recorder
from registry.domain.calendar import Calendar
from registry.domain.history import AsOf
from registry.errors import NotFound
from registry.infra.postgres import Pool
from registry.queries.deals import DealQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.databases import ScratchDatabase

TODAY = date(2026, 1, 1)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def recorder(database: ScratchDatabase) -> AsyncIterator[Recorder]:
    async with running_recorder(database.app_url, database.owner_url) as recorder:
        yield recorder


@pytest.fixture
def deals(pool: Pool) -> DealQueries:
    return DealQueries(StreamReader(pool, calendar=Calendar(clock=lambda: NOW)))


def pledges(body: bytes) -> list[Any]:
    return [pledge["pledge"] for pledge in msgspec.json.decode(body)["pledges"]]


async def test_current_state_follows_the_events_of_another_process(recorder: Recorder, deals: DealQueries) -> None:
    await recorder.record(request("plant", REGISTERED, pledged("one")))
    first = await deals.state_now("plant")
    assert (pledges(first.body), first.etag) == (["one"], '"2;2026-01-01"')
    assert await deals.state_now("plant") == first
    await recorder.record(request("plant", pledged("two")))
    second = await deals.state_now("plant")
    assert (pledges(second.body), second.etag) == (["one", "two"], '"3;2026-01-01"')


async def test_state_at_a_position_stays_the_same_and_is_final(recorder: Recorder, deals: DealQueries) -> None:
    await recorder.record(request("plant", REGISTERED, pledged("one")))
    as_of = AsOf(effective_on=TODAY, position=2)
    before = await deals.state("plant", as_of)
    await recorder.record(request("plant", pledged("two")))
    after = await deals.state("plant", as_of)
    assert after.body == before.body
    assert (after.position, after.final) == (2, True)


async def test_state_on_a_day_shows_what_is_in_effect_by_then(recorder: Recorder, deals: DealQueries) -> None:
    await recorder.record(request("plant", REGISTERED, pledged("one"), pledged("later", day="2026-06-01")))
    on_the_day = await deals.state("plant", AsOf(effective_on=date(2026, 6, 1)))
    today = await deals.state("plant", AsOf())
    assert (pledges(on_the_day.body), pledges(today.body)) == (["one", "later"], ["one"])
    # The state will change without a new event, so the entity tag names the day.
    assert today.etag == f'"3;{TODAY}"'


async def test_redacted_content_is_gone_from_the_current_state(recorder: Recorder, deals: DealQueries) -> None:
    secret = pledged("one", id="0197a5a0-0000-7000-8000-000000000001")
    secret["event"]["purpose"] = {"en": "a secret"}
    await recorder.record(request("plant", REGISTERED, secret))
    assert b"a secret" in (await deals.state_now("plant")).body
    redaction = {"event": {"type": "event_redacted", "redacts": secret["id"], "reason": "a court's order"}}
    await recorder.record(request("plant", redaction))
    assert b"a secret" not in (await deals.state_now("plant")).body


async def test_deal_that_was_never_registered_is_not_found(deals: DealQueries) -> None:
    with pytest.raises(NotFound):
        await deals.state_now("plant")
    with pytest.raises(NotFound):
        await deals.history("plant", AsOf())


async def test_deal_is_not_found_before_it_was_recorded(recorder: Recorder, deals: DealQueries) -> None:
    await recorder.record(request("other", REGISTERED))
    await recorder.record(request("plant", REGISTERED))
    with pytest.raises(NotFound):
        await deals.state("plant", AsOf(position=1))
