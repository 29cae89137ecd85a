"""Answers of receivers are read within bounds, and not shown."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat

import pytest

from registry.delivery.webhook_content import WebhookContent
from registry.delivery.webhook_sender import WebhookSender
from registry.delivery.webhook_store import Delivery

ALLOWED = (ipaddress.ip_network("127.0.0.0/8"),)


@asynccontextmanager
async def answering(answer: bytes, times: int | None) -> AsyncIterator[str]:
    """A server that sends some bytes so often, or without end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            for part in repeat(answer) if times is None else repeat(answer, times):
                writer.write(part)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def delivered(url: str) -> Delivery:
    sender = WebhookSender(ALLOWED, 1)
    try:
        return (await sender.send(url, (b"secret",), "message", None, WebhookContent(b"{}", {}), 1)).delivery
    finally:
        await sender.close()


async def test_interim_answers_without_an_end_are_left() -> None:
    async with answering(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, None) as url:
        assert (await delivered(url)).error == "the answer is too long"


@pytest.mark.parametrize("answer", [b"220 mail.internal ESMTP\r\n\r\n", b"+OK secret\r\n\r\n" + b"x" * 60_000])
async def test_answer_of_another_protocol_is_not_shown(answer: bytes) -> None:
    """Any reader can make a watch, and sees its attempts."""
    async with answering(answer, 1) as url:
        assert (await delivered(url)).error == "gave no valid HTTP answer"


async def test_large_answer_that_is_accepted_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"
    async with answering(head + b"x" * 10_000_000, 1) as url:
        assert (await delivered(url)).succeeded
