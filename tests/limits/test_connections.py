"""Attacks on connections: what a client sends before it is answered is bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import AsyncExitStack

import pytest

from tests.conftest import drill
from tests.limits.conftest import LIMITS, connected
from tests.service import ADMIN_KEY, Service

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
BEGIN = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
MEBIBYTE = b"a" * 2**20


async def others_are_served(service: Service) -> bool:
    """Whether a new connection gets an answer."""
    async with connected(service) as other:
        await other.send(GET)
        return await other.status() == 200


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([BEGIN, b"x: ", *[MEBIBYTE] * 50], id="one growing value"),
        pytest.param([BEGIN, *[b"a" * 4096] * 100], id="one growing name"),
        pytest.param([BEGIN, *[b"".join(b"h%d: v\r\n" % n for n in range(1000))] * 100], id="100,000 fields"),
        pytest.param([b"GET /", *[MEBIBYTE] * 50], id="one growing address"),
        pytest.param([BEGIN, b"x: y\r\n" * (LIMITS.fields + 1), b"\r\n"], id="many short fields"),
    ],
)
async def test_header_over_the_limit_is_refused_and_the_connection_closed(limited: Service, parts: list[bytes]) -> None:
    async with connected(limited) as attacker:
        await attacker.send(*parts)
        assert await others_are_served(limited)
        answer = await attacker.answer()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in answer
    assert b'"code":"headers_too_large"' in answer
    assert b'"request_id":"' in answer


async def test_growing_trailer_is_refused(limited: Service) -> None:
    async with connected(limited) as attacker:
        await attacker.send(BEGIN, b"Transfer-Encoding: chunked\r\n\r\n0\r\nx: ", *[MEBIBYTE] * 4)
        answer = await attacker.answer()
    # The request itself was answered before its trailer ended.
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 431 "))
    assert await others_are_served(limited)


async def test_header_just_below_the_limit_is_accepted(limited: Service) -> None:
    room = LIMITS.head_size - len(BEGIN) - len(b"x: \r\n\r\n")
    async with connected(limited) as client:
        for _ in range(2):
            await client.send(BEGIN, b"x: ", b"a" * room, b"\r\n\r\n")
            assert await client.status() == 200
            await client.reader.readexactly(len(b'{"status":"live"}'))


async def test_pipelined_requests_of_more_bytes_than_a_header_may_have_are_answered(limited: Service) -> None:
    count = 2 * LIMITS.head_size // len(GET)
    async with connected(limited) as client:
        await client.send(GET * count + BEGIN + b"Connection: close\r\n\r\n")
        assert (await client.answer()).count(b"HTTP/1.1 200 ") == count + 1


@pytest.mark.parametrize("sent", [b"", drill(b"GET / HT"), BEGIN, drill(b"\r\n"), drill(GET), GET + b"GET / HT"])
async def test_connection_whose_header_does_not_end_is_closed(limited: Service, sent: bytes) -> None:
    async with connected(limited) as client:
        await client.send(sent)
        answer = await client.answer()
    assert answer == b"" or b'"code":"too_slow"' in answer or answer.startswith(b"HTTP/1.1 200 ")


async def test_header_that_arrives_byte_by_byte_is_refused(limited: Service) -> None:
    async def trickle(client: object) -> None:
        for _ in range(200):
            await attacker.send(b"x")
            await asyncio.sleep(0.05)

    async with connected(limited) as attacker:
        await attacker.send(BEGIN)
        sending = asyncio.create_task(trickle(attacker))
        answer = await attacker.answer()
        sending.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_body_that_arrives_after_its_answer_keeps_the_connection_open_for_a_moment_only(limited: Service) -> None:
    async with connected(limited) as attacker:
        await attacker.send(BEGIN, b"Content-Length: 1000000\r\n\r\n")
        assert await attacker.status() == 200

        async def trickle() -> None:
            while True:
                await attacker.send(b"x")
                await asyncio.sleep(0.05)

        sending = asyncio.create_task(trickle())
        await attacker.answer()
        sending.cancel()


@pytest.mark.parametrize("closing", [b"HTTP/1.1\r\nConnection: close", b"HTTP/1.0"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param(b"/v1/deals/x/events", 401, id="without a key"),
        pytest.param(b"/v1/compare", 405, id="a path that takes no POST"),
        pytest.param(b"/sign-in", 415, id="a body of no stated type"),
    ],
)
async def test_answer_before_the_end_of_the_body_reaches_a_client_that_closes(
    limited: Service, path: bytes, status: int, closing: bytes
) -> None:
    async with connected(limited) as client:
        await client.send(b"POST " + path + b" " + closing + b"\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        await asyncio.sleep(0.1)
        for _ in range(9):
            # The service discards it; a closed connection would be reset.
            client.writer.write(b"x" * 10_000)
            await asyncio.sleep(0.02)
        assert (await client.answer()).startswith(b"HTTP/1.1 %d " % status)


async def test_client_that_does_not_read_its_answers_is_disconnected(limited: Service) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for seconds in (3, 10, 30):  # A busy machine notices it later.
        async with connected(limited) as attacker:
            await attacker.send(request * 200)
            # The service writes no more than the sockets' buffers hold, so the end comes before all answers.
            await asyncio.sleep(seconds * LIMITS.write_seconds)
            if (await attacker.answer()).count(b"HTTP/1.1 200 ") < 200:
                break
    else:
        pytest.fail("all answers were sent")
    assert await others_are_served(limited)


@pytest.mark.drill
async def test_client_that_sends_all_lines_of_an_import_before_it_reads_is_not_disconnected(limited: Service) -> None:
    head = b"POST /v1/import HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer %s\r\n"
    wrong, lines = b"{}\n" * 1000, 25_000
    async with connected(limited) as client:
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        await client.send(head % ADMIN_KEY.encode(), b"Content-Type: application/x-ndjson\r\n")
        await client.send(b"Content-Length: %d\r\n\r\n" % (3 * lines + 20), *[wrong] * (lines // 1000))
        # The results are more than the sockets' buffers hold, so the service cannot send all of them meanwhile.
        for _ in range(20):
            await asyncio.sleep(LIMITS.write_seconds / 5)
            await client.send(b"\n")
        # The last chunk of the answer.
        assert (await client.answer()).endswith(b"\r\n0\r\n\r\n")


async def test_new_connection_replaces_the_one_that_is_idle_for_longest(limited: Service) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(connected(limited))
        await first.send(b"GET")
        for _ in range(3 * LIMITS.connections):
            other = await stack.enter_async_context(connected(limited))
            await other.send(BEGIN)
        assert await others_are_served(limited)
        assert await first.answer() == b""


async def test_connection_is_refused_while_all_have_requests_in_progress(limited: Service) -> None:
    stream = b"GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with AsyncExitStack() as stack:
        for _ in range(LIMITS.connections):
            follower = await stack.enter_async_context(connected(limited))
            await follower.send(stream)
            assert await follower.status() == 200
        refused = await stack.enter_async_context(connected(limited))
        answer = await refused.answer()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in answer
    while not await others_are_served(limited):  # noqa: ASYNC110 - until the service has seen the followers leave
        await asyncio.sleep(0.05)


async def test_refused_connections_that_stay_open_make_no_room_for_others(limited: Service) -> None:
    statuses = []
    async with AsyncExitStack() as stack:
        for _ in range(LIMITS.connections + 20):
            follower = await stack.enter_async_context(connected(limited))
            await follower.send(b"GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            statuses.append(await follower.status())
    assert statuses == [200] * LIMITS.connections + [503] * 20
    while not await others_are_served(limited):  # noqa: ASYNC110 - until the service has seen the followers leave
        await asyncio.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux are all of 127.0.0.0/8 addresses")
async def test_requests_of_one_address_in_progress_keep_out_no_other(limited: Service) -> None:
    async with AsyncExitStack() as stack:
        held = []
        for _ in range(LIMITS.connections):
            attacker = await stack.enter_async_context(connected(limited, "127.0.0.2"))
            await attacker.send(b"GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await attacker.status() == 200
            held.append(attacker)
        assert await others_are_served(limited)
        assert await held[0].answer() in (b"", b"retry: 1000\n\n", b"d\r\nretry: 1000\n\n\r\n")


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO counts segments on Linux")
async def test_head_and_body_of_an_answer_arrive_in_one_segment(limited: Service) -> None:
    async with connected(limited) as client:
        for answers in (1, 2):
            await client.send(GET)
            await client.reader.readuntil(b"}")
            info = client.writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
            # tcpi_data_segs_in of Linux' struct tcp_info.
            assert struct.unpack_from("I", info, 152) == (answers,)
