"""Recording without HTTP, for tests of what stands below it: requests from announcements, what the log then holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from registry import postgres
from registry.draft import Request
from registry.events import intake, store
from registry.projections.rebuild import differences
from registry.recorder import Recorder
from tests.conftest import Database

REGISTERED = {"event": {"type": "deal_registered", "title": {"en": "A plant"}}}


def pledged(pledge: str = "total", value: str = "5000000000", day: str = "2025-06-16", **more: Any) -> dict[str, Any]:
    """An announcement of an amount."""
    amount = {"value": value, "currency": "USD"}
    return {"effective_on": day, "event": {"type": "pledge_announced", "pledge": pledge, "amount": amount}, **more}


def request(slug: str, *announcements: dict[str, Any], **more: Any) -> Request:
    """A request as the API would make it of this body."""
    body = msgspec.json.encode(announcements)
    read = intake.announcements.some(body)
    return Request(kind="deal", slug=slug, announcements=read, by="test", digest=body, size=len(body), **more)


@asynccontextmanager
async def recording(
    url: str, owner_url: str | None = None, *, name: str = "registry", **more: Any
) -> AsyncIterator[Recorder]:
    """A recorder with pools of its own, as another process would have."""
    pool = await postgres.pool(url, name=name, min_size=1, max_size=3)
    async with pool:
        if owner_url is None:
            async with Recorder(pool, **more) as recorder:
                yield recorder
        else:
            owner = await postgres.pool(owner_url, name=name, min_size=0, max_size=2)
            async with owner, Recorder(pool, owner, **more) as recorder:
                yield recorder


async def positions(pool: store.Pool, after: int = 0) -> list[int]:
    """Every position behind one, in pages, as a reader that polls asks for them."""
    found: list[int] = []
    while page := await store.feed(pool, after, 100):
        found += [stored.recorded.position for stored in page]
        after = found[-1]
    return found


async def assert_views_are_the_logs(database: Database) -> None:
    """Every row of every view is what the log says, and nothing is missing."""
    assert [difference async for difference in differences(database.owner_url)] == []
