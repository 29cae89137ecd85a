"""Fixtures: a receiver of webhooks on loopback, and a service that may send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from registry.delivery import webhook_delivery as module
from tests.databases import Server
from tests.delivery.webhooks import Admin, Receiver, receiving, serving
from tests.service import Service


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def service(server: Server, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service that may send to loopback, with short delays."""
    monkeypatch.setattr(module, "RETRY_DELAYS", (0, 0, 0))
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    async with serving(server, admin) as service:
        yield service
