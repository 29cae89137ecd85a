"""Record without HTTP: requests from announcements, recorders, and checks of the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.events import intake, store
from registry.events.types import StreamKind
from registry.infra import postgres
from registry.projections.rebuild import compare
from tests.databases import ScratchDatabase

REGISTERED = {"event": {"type": "deal_registered", "title": {"en": "A plant"}}}


def pledged(pledge: str = "total", value: str = "5000000000", day: str = "2025-06-16", **more: Any) -> dict[str, Any]:
    """An announcement of a pledge."""
    amount = {"value": value, "currency": "USD"}
    return {"effective_on": day, "event": {"type": "pledge_announced", "pledge": pledge, "amount": amount}, **more}


def request(slug: str, *announcements: dict[str, Any], kind: StreamKind = "deal", **more: Any) -> AppendRequest:
    """The request that the API makes of these announcements."""
    body = msgspec.json.encode(announcements)
    deals, organizations = intake.announcements.decode_many, intake.organization_announcements.decode_many
    read: Any = deals(body) if kind == "deal" else organizations(body)
    return AppendRequest(kind=kind, slug=slug, announcements=read, by="test", digest=body, size=len(body), **more)


@asynccontextmanager
async def running_recorder(
    url: str, owner_url: str | None = None, *, name: str = "registry", **more: Any
) -> AsyncIterator[Recorder]:
    """A recorder with its own pools, as in another process."""
    pool = await postgres.pool(url, name=name, min_size=1, max_size=3)
    async with pool:
        if owner_url is None:
            async with Recorder(pool, **more) as recorder:
                yield recorder
        else:
            owner = await postgres.pool(owner_url, name=name, min_size=0, max_size=2)
            async with owner, Recorder(pool, owner, **more) as recorder:
                yield recorder


async def positions(pool: postgres.Pool, after: int = 0) -> list[int]:
    """Every position after one, read in pages as a polling reader does."""
    found: list[int] = []
    while page := await store.feed(pool, after, 100):
        found += [stored.recorded.position for stored in page]
        after = found[-1]
    return found


async def assert_projections_match_log(database: ScratchDatabase) -> None:
    """Assert that the projections have exactly the rows that a rebuild from the log gives."""
    assert [difference async for difference in compare(database.owner_url)] == []
