"""Why a receiver did not take a message: a code for each reason, whatever the system or a library calls it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from registry.delivery.problems import DeliveryProblem
from registry.delivery.webhook_content import WebhookContent
from registry.delivery.webhook_sender import WebhookSender


async def problem_at(url: str) -> DeliveryProblem | None:
    sender = WebhookSender((ipaddress.ip_network("127.0.0.0/8"),), 1)
    try:
        return (await sender.send(url, (b"secret",), "message", None, WebhookContent(b"{}", {}), 1)).problem
    finally:
        await sender.close()


async def test_port_without_a_service_refuses_the_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert await problem_at(f"http://127.0.0.1:{unused.getsockname()[1]}/") == DeliveryProblem("connection_refused")


async def test_name_without_an_address_is_unknown() -> None:
    assert await problem_at("https://nowhere.invalid/") == DeliveryProblem("unknown_host")


async def test_address_that_is_not_public_is_named() -> None:
    assert await problem_at("https://10.0.0.1/") == DeliveryProblem("private_address", host="10.0.0.1")


async def test_receiver_without_tls_fails_the_handshake() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await problem_at(f"https://127.0.0.1:{port}/") == DeliveryProblem("tls")


async def test_receiver_that_closes_the_connection_gives_no_http_answer() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await problem_at(f"http://127.0.0.1:{port}/") == DeliveryProblem("not_http")
