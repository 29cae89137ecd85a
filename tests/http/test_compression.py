"""Compression: what is compressed, what caches are told, and what an ETag says about it."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.response import Stream

from registry.http.compression import AnswerSender, accepts_gzip
from tests.api.announcements import registered
from tests.service import Service


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"*", True),
        (b"x-gzip", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000, *", False),
        (b"identity", False),
        (b"br", False),
        (b"", False),
    ],
)
def test_gzip_is_accepted_by_name_and_weight(header: bytes, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


async def test_etag_of_a_compressed_state_is_that_of_the_plain_one(client: httpx.AsyncClient, slug: str) -> None:
    await client.post(f"/v1/deals/{slug}/events", json=[{**registered(), "note": "n" * 2000}])
    path = f"/v1/deals/{slug}"
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == plain.headers["etag"]
    assert packed.content == plain.content
    assert "Accept-Encoding" in packed.headers["vary"]
    assert "Accept-Encoding" in plain.headers["vary"]
    for etag in (plain.headers["etag"], packed.headers["etag"]):
        again = await client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": etag})
        assert again.status_code == 304
        again = await client.get(path, headers={"Accept-Encoding": "identity", "If-None-Match": etag})
        assert again.status_code == 304


async def test_static_files_are_compressed_revalidated_and_vary(visitor: httpx.AsyncClient) -> None:
    for path in ("/static/style.css", "/docs/static/swagger-ui-bundle.js"):
        packed = await visitor.get(path, headers={"Accept-Encoding": "gzip"})
        plain = await visitor.get(path, headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip", path
        assert packed.content == plain.content
        for answer in (packed, plain):
            assert answer.headers["vary"] == "Accept-Encoding"
            assert "max-age" in answer.headers["cache-control"]
            again = await visitor.get(path, headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"]
        other = await visitor.get(path, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200


async def test_a_page_is_compressed_unless_the_client_refuses_it(service: Service, visitor: httpx.AsyncClient) -> None:
    # The page states the newest checkpoint. Until the signer has signed the last events, the next one changes the page.
    while int((await visitor.get("/log/checkpoint")).text.splitlines()[1]) < await service.size():
        pass
    for path in ("/", "/search"):  # the first is cached with its compressed bytes
        for _ in range(2):
            packed = await visitor.get(path, headers={"Accept-Encoding": "gzip"})
            plain = await visitor.get(path, headers={"Accept-Encoding": "gzip;q=0"})
            assert packed.headers["content-encoding"] == "gzip", path
            assert "content-encoding" not in plain.headers, path
            assert packed.content == plain.content


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
async def test_head_of_an_export_states_no_length(visitor: httpx.AsyncClient, form: str) -> None:
    head = await visitor.head(f"/v1/export/deals.{form}")
    whole = await visitor.get(f"/v1/export/deals.{form}")
    assert head.status_code == 200
    assert "content-length" not in head.headers
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert head.headers["content-disposition"] == whole.headers["content-disposition"]


LARGE = json.dumps([random.Random(1).random()] * 400_000).encode()


@get("/large", media_type="application/json")
async def large() -> bytes:
    return LARGE


@get("/parts", media_type="application/x-ndjson")
async def parts() -> Stream:
    async def lines() -> Any:
        for n in range(1000):
            yield b'{"n": %d}\n' % n

    return Stream(lines(), media_type="application/x-ndjson")


@get("/picture", media_type="image/png")
async def picture() -> bytes:
    return b"\x89PNG" * 1000


@pytest.fixture
async def small_app() -> Any:
    # Litestar's default configures the logging of the whole process, and so of later tests.
    app = Litestar([large, parts, picture], logging_config=None)

    async def compressing(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, AnswerSender(send, scope))

    transport = httpx.ASGITransport(compressing)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_large_answer_is_compressed_beside_the_event_loop(small_app: httpx.AsyncClient) -> None:
    """While seven megabytes are compressed, which takes a second, other tasks run."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    counting = asyncio.create_task(count())
    answer = await small_app.get("/large", headers={"Accept-Encoding": "gzip"})
    counting.cancel()
    assert answer.content == LARGE
    # Without a thread the counter would get the few turns between the messages.
    assert turns > 5


async def test_stream_is_compressed_and_a_picture_is_not(small_app: httpx.AsyncClient) -> None:
    async with small_app.stream("GET", "/parts", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw).count(b"\n") == 1000
    image = await small_app.get("/picture", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in image.headers
