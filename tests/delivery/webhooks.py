"""A service that may send to loopback, a receiver there, and what tests of webhooks ask of them."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
from msgspec.structs import replace

from registry.delivery.webhook_sender import sign
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import Service, cloned, running

Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver that is running."""
    made = Receiver()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield made


class Receiver:
    """An HTTP server on loopback that answers with the given statuses."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        status = self.answers.pop(0) if self.answers else 200
        if status:
            moved = "Location: http://127.0.0.1:9/\r\n" if status == 302 else ""
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{moved}Connection: close\r\n\r\n".encode())
        self.news.set()
        writer.close()

    async def has(self, count: int) -> list[Any]:
        """Wait for the first `count` messages."""
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < count:
                self.news.clear()
                await self.news.wait()
        return [json.loads(body) for _, body in self.got[:count]]


@asynccontextmanager
async def serving(server: Server, admin: Admin, **more: Any) -> AsyncIterator[Service]:
    async with (
        cloned(server, admin, "webhooks") as settings,
        running(replace(settings, **{"webhook_networks": LOOPBACK, **more})) as service,
    ):
        yield service


async def post(service: Service, slug: str, *announcements: dict[str, Any]) -> None:
    for announcement in announcements:
        answer = await service.client.post(f"/v1/deals/{slug}/events", json=announcement)
        assert answer.status_code == 201, answer.text


async def hook(service: Service, receiver: Receiver, **fields: Any) -> dict[str, Any]:
    answer = await service.client.post("/v1/webhooks", json={"url": receiver.url, **fields})
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    return webhook


async def deliveries(service: Service, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await service.client.get(f"/v1/webhooks/{webhook['id']}/deliveries")
    return list(answer.json()["deliveries"])


async def listed(service: Service, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the only webhook satisfies a condition."""
    async with asyncio.timeout(PATIENCE):
        while True:
            [webhook] = (await service.client.get("/v1/webhooks")).json()["webhooks"]
            if until(webhook):
                return dict(webhook)
            await asyncio.sleep(0.02)


def signed_by(webhook: dict[str, Any], headers: dict[str, str], body: bytes) -> bool:
    """Whether one of a message's signatures is by the webhook's secret."""
    secret = base64.b64decode(webhook["secret"].removeprefix("whsec_"))
    expected = sign(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    return expected in headers["webhook-signature"].split(" ")
