"""Fixtures: a running service with its own database and key directory for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from registry.infra.settings import Settings
from registry.transparency.checkpoint import Checkpoint, VerifierKey, open_checkpoint
from tests.api.announcements import pledged, registered, revised
from tests.databases import ScratchDatabase
from tests.service import ADMIN_KEY, Service, running

ORIGIN = "registry.example/log"


@pytest.fixture
def settings(database: ScratchDatabase, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database.app_url,
        owner_url=database.owner_url,
        data_dir=tmp_path,
        signing_key=tmp_path / "keys" / "signing.key",
        log_origin=ORIGIN,
        admin_key=ADMIN_KEY,
    )


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with running(settings) as service:
        yield service


async def post(
    service: Service, deal: str, *announcements: dict[str, Any], kind: str = "deals"
) -> list[dict[str, Any]]:
    """Record announcements in one request. Returns their receipts."""
    answer = await service.client.post(f"/v1/{kind}/{deal}/events", json=list(announcements))
    assert answer.status_code == 201, answer.text
    return list(answer.json()["events"])


async def append_until(service: Service, size: int) -> None:
    """Record events of several deals until the log has this size."""
    recorded = await service.size()
    number = 0
    while recorded < size:
        number += 1
        announcements = [
            registered(f"Plant {number}"),
            pledged(),
            *(revised(f"2025-07-{day:02}", str(day)) for day in range(1, 29)),
        ]
        batch = announcements[: min(1 + number % 30, size - recorded)]
        await post(service, f"plant-{number}-{recorded}", *batch)
        recorded += len(batch)


async def keys(service: Service) -> list[VerifierKey]:
    answer = await service.visitor.get("/v1/log/keys")
    assert answer.status_code == 200
    return [VerifierKey.parse(line) for line in answer.text.splitlines()]


async def head(service: Service) -> Checkpoint:
    """The newest checkpoint, verified."""
    return open_checkpoint((await service.visitor.get("/log/checkpoint")).content, await keys(service))


async def as_superuser(owner: asyncpg.Connection[asyncpg.Record], *statements: str) -> None:
    """Run statements that the database's triggers forbid, as its superuser can."""
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await owner.execute(statement)


Restart = Callable[[], Any]

__all__ = ["ORIGIN", "append_until", "as_superuser", "head", "keys", "post", "replace"]
