"""An origin that redirects, packs, trickles or floods its answers: the mirror leaves them, within bounds."""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from registry.mirror import origin as module
from registry.mirror.contradiction import OriginUnreadable
from registry.mirror.origin import Origin
from registry.transparency import checkpoint_store
from registry.transparency.checkpoint import parse_note
from registry.transparency.cosignatures import CosigningKey
from tests.conftest import PATIENCE
from tests.mirror.conftest import following, in_the_middle
from tests.service import Service

Writes = Callable[[asyncio.StreamWriter], Awaitable[None]]

MIB = 2**20


@asynccontextmanager
async def answering(write: Writes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers every request with what `write` sends: its address, and the request lines that it got."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            got.append(head.partition(b"\r\n")[0])
            await write(writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got


async def problem_of(url: str) -> str:
    """Why the checkpoint of an origin cannot be read."""
    async with asyncio.timeout(PATIENCE), Origin(url) as origin:
        with pytest.raises(OriginUnreadable) as error:
            await origin.checkpoint()
    return str(error.value)


def answer(status: int, header: str, body: bytes = b"") -> Writes:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\n{header}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()

    return write


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(status: int) -> None:
    async with answering(answer(200, "X-Of: inside", b"a secret of the mirror's own network")) as (inside, got):
        away = answer(status, f"Location: {inside}/latest/meta-data/\r\nContent-Length: 0")
        async with answering(away) as (outside, asked):
            problem = await problem_of(outside)
    assert (len(asked), got) == (1, [])
    assert "secret" not in problem


@pytest.mark.parametrize("status", [200, 503])
async def test_answer_that_was_packed_twice_is_not_unpacked(status: int) -> None:
    packed = io.BytesIO()
    with gzip.open(packed, "wb") as file:
        for _ in range(128):
            file.write(bytes(MIB))
    bomb = gzip.compress(packed.getvalue())
    header = f"Content-Encoding: gzip, gzip\r\nContent-Length: {len(bomb)}"
    async with answering(answer(status, header, bomb)) as (url, _):
        tracemalloc.start()
        try:
            await problem_of(url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 20 * MIB


@pytest.mark.parametrize("status", [200, 503])
async def test_answer_without_an_end_is_left(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 2 * MIB)
    sent = 0

    async def write(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n".encode())
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with answering(write) as (url, _):
        await problem_of(url)
        # Beyond the limit only what was on its way.
        assert sent < 32 * MIB


async def test_answer_that_trickles_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.5)

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with answering(write) as (url, _):
        assert "TimeoutError" in await problem_of(url)


async def test_cosignatures_of_unknown_witnesses_do_not_make_a_checkpoint_unreadable(
    still_origin: Service, mirror_settings: Callable[..., Any]
) -> None:
    async with (
        in_the_middle(still_origin.url) as middle,
        mirror_settings(middle.url) as settings,
        following(settings) as (follower, pool),
    ):
        names = itertools.count()

        def lie(path: str, query: dict[str, str], body: bytes) -> bytes:
            lines = "".join(CosigningKey.generate(f"w{next(names)}.example").cosign("", 1) for _ in range(30))
            if path == "/v1/log/checkpoint":
                return body + lines.encode()
            if path == "/v1/log/checkpoints":
                return body.replace(b'\\n","heads"', b"\\n" + lines.replace("\n", "\\n").encode() + b'","heads"')
            return body

        middle.lie = lie
        for _ in range(3):
            await follower.follow_once()
            assert follower.status.is_ready, follower.status.problem
        newest = await checkpoint_store.load_newest(pool, still_origin.settings.log_origin)
        assert newest is not None
        assert len(parse_note(newest.note).signatures) > 30
