"""Requests whose end two servers could see at different places: no bytes of one request are answered as another."""

from __future__ import annotations

import asyncio

import pytest

from tests.limits.conftest import connected
from tests.service import ADMIN_KEY, Service

POST = (
    b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer %s\r\n" % ADMIN_KEY.encode()
)
HIDDEN = b"GET /v1/hidden-in-another-request HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answers(service: Service, sent: bytes) -> bytes:
    """What the service answers to bytes of a client that then waits."""
    async with connected(service) as client:
        await client.send(sent)
        return await client.answer()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", id="length and chunks"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", id="chunks and length"),
        pytest.param(b"Content-Length: 0\r\nContent-Length: 4\r\n", id="two lengths"),
        pytest.param(b"Content-Length: 4\r\nContent-Length: 4\r\n", id="a length twice"),
        pytest.param(b"Content-Length: 0, 4\r\n", id="a list of lengths"),
        pytest.param(b"Content-Length: +4\r\n", id="a length with a sign"),
        pytest.param(b"Content-Length: -4\r\n", id="a negative length"),
        pytest.param(b"Content-Length: 0x4\r\n", id="a hexadecimal length"),
        pytest.param(b"Content-Length: 4 4\r\n", id="a length with a space"),
        pytest.param(b"Content-Length: " + b"9" * 40 + b"\r\n", id="a length beyond integers"),
        pytest.param(b"Content-Length:\r\n", id="no length"),
        pytest.param(b"Content-Length : 4\r\n", id="a space before the colon"),
        pytest.param(b"Transfer-Encoding : chunked\r\n", id="a space before the colon of the encoding"),
        pytest.param(b"Transfer-Encoding: xchunked\r\n", id="an unknown encoding"),
        pytest.param(b"Transfer-Encoding: chunked, identity\r\n", id="an encoding after chunked"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", id="two encodings"),
        pytest.param(b"Transfer-Encoding: gzip, chunked\r\n", id="an encoding before chunked"),
        pytest.param(b"Transfer-Encoding:\r\n", id="an empty encoding"),
        pytest.param(b"Transfer-Encoding: \x0bchunked\r\n", id="a vertical tab"),
        pytest.param(b"X: a\r\n Transfer-Encoding: chunked\r\n", id="a folded line"),
        pytest.param(b"X: a\rTransfer-Encoding: chunked\r\n", id="a bare CR"),
        pytest.param(b"X: a\nTransfer-Encoding: chunked\r\n", id="a bare LF"),
        pytest.param(b"X: a\x00b\r\n", id="a NUL"),
        pytest.param(b"Content-Length\r\n", id="a field without a colon"),
        pytest.param(b": 4\r\n", id="a field without a name"),
    ],
)
async def test_ambiguous_length_is_refused_and_the_connection_closed(limited: Service, head: bytes) -> None:
    answer = await answers(limited, POST + head + b"\r\n0\r\n\r\n" + HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:100]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


async def test_chunks_in_http_1_0_are_refused(limited: Service) -> None:
    head = POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await answers(limited, head + b"0\r\n\r\n" + HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"3;a=b\nxyz\r\n0\r\n\r\n", id="a bare LF after an extension"),
        pytest.param(b"3\nxyz\r\n0\r\n\r\n", id="a bare LF after the size"),
        pytest.param(b"3\r\nxyz\n0\r\n\r\n", id="a bare LF after the data"),
        pytest.param(b"3\r\nxyzw\r\n0\r\n\r\n", id="more data than the size"),
        pytest.param(b"-3\r\nxyz\r\n0\r\n\r\n", id="a negative size"),
        pytest.param(b"0x3\r\nxyz\r\n0\r\n\r\n", id="a size with a prefix"),
        pytest.param(b"f" * 17 + b"\r\nxyz\r\n0\r\n\r\n", id="a size beyond integers"),
        pytest.param(b" 3\r\nxyz\r\n0\r\n\r\n", id="a space before the size"),
        pytest.param(b"\r\nxyz\r\n0\r\n\r\n", id="no size"),
    ],
)
async def test_wrong_chunk_ends_the_connection(limited: Service, chunks: bytes) -> None:
    answer = await answers(limited, POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + HIDDEN)
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert b"404" not in answer.split(b"\r\n")[0]


async def test_extensions_of_chunks_are_ignored_and_bounded(limited: Service) -> None:
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await answers(limited, head + b'2;a="b;c"\r\n{}\r\n0\r\n\r\n')
    assert answer.startswith(b"HTTP/1.1 4"), "the body lacks a text"
    assert b'"code":"invalid"' in answer
    async with connected(limited) as attacker:
        await attacker.send(head + b"2;", *[b"x" * 2**16] * 64)
        # The request is in progress, so the connection is closed without an answer.
        assert await attacker.answer() == b""


async def test_body_of_a_get_is_no_second_request(limited: Service) -> None:
    head = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    answer = await answers(limited, head % len(HIDDEN) + HIDDEN)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_length_that_is_too_short_makes_no_request_of_the_rest(limited: Service) -> None:
    body = b'{"text": "x"}'
    async with connected(limited) as client:
        await client.send(POST + b"Content-Length: 2\r\n\r\n" + body)
        answer = await client.answer()
    # The rest ends the connection, if it comes before the answer to the request.
    assert answer.count(b"HTTP/1.1 ") <= 2
    assert answer.split(b"HTTP/1.1 ")[-1].startswith(b"400 ") or not answer


async def test_length_that_is_too_long_takes_the_next_request_as_its_body(limited: Service) -> None:
    async with connected(limited) as client:
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % (len(HIDDEN) + 10) + HIDDEN)
        await asyncio.sleep(0.2)
        await client.send(b"x" * 10 + HIDDEN)
        assert await client.status() in (400, 422)


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"HTTP/2.0"])
async def test_upgrade_is_not_taken(limited: Service, protocol: bytes) -> None:
    head = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
    async with connected(limited) as client:
        await client.send(head + HIDDEN)
        assert await client.status() == 200


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/deals\r\n",
        b"GET /v1/deals HTTP/0.9\r\n",
        b"GET /v1/deals HTTP/1.1 HTTP/1.1\r\n",
        b"GET /v1/de als HTTP/1.1\r\n",
        b"GET /v1/deals HTTP/9.9\r\n",
        b"GET\t/v1/deals\tHTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    ],
)
async def test_malformed_request_line_is_refused(limited: Service, line: bytes) -> None:
    answer = await answers(limited, line + b"Host: localhost\r\n\r\n" + HIDDEN)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert answer.count(b"HTTP/1.1 ") <= 1


async def test_address_in_the_request_line_is_that_of_the_host(limited: Service) -> None:
    """Of `GET http://other/` the host counts that is in the address (RFC 9112 section 3.2.2)."""
    line = b"GET http://other.example/v1/deals?limit=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    answer = await answers(limited, line + b"Authorization: Bearer %s\r\n\r\n" % ADMIN_KEY.encode())
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
