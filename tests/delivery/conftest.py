"""Fixtures: a receiver of webhooks on loopback, and a service that may send to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from registry.delivery import webhook_delivery as module
from tests.api.conftest import Service
from tests.conftest import Server
from tests.delivery.webhooks import Admin, Receiver, serving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield made


@pytest.fixture
async def service(server: Server, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A service that may send to loopback, with short delays."""
    monkeypatch.setattr(module, "RETRY_DELAYS", (0, 0, 0))
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    async with serving(server, admin) as service:
        yield service
