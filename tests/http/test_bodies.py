"""Request bodies on the wire: content types, sizes, slow and broken connections."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from registry.http import bodies
from tests.api.announcements import pledged, registered
from tests.service import Service

VALID_BODY = json.dumps(pledged()).encode()


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("application/json-patch+json", None),
        ("application/json; charset=iso-8859-1", None),
        ("application/json", "gzip"),
        (None, None),
    ],
)
async def test_unsupported_content_type_is_refused(
    service: Service, slug: str, content_type: str | None, encoding: str | None
) -> None:
    size = await service.size()
    headers = {"Content-Type": content_type} if content_type else {}
    headers |= {"Content-Encoding": encoding} if encoding else {}
    answer = await service.client.post(f"/v1/deals/{slug}/events", content=VALID_BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert await service.size() == size


async def test_json_with_charset_utf_8_is_accepted(client: httpx.AsyncClient, slug: str) -> None:
    headers = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    answer = await client.post(f"/v1/deals/{slug}/events", content=json.dumps(registered()).encode(), headers=headers)
    assert answer.status_code == 201


async def test_body_of_20_megabytes_is_refused_after_it_is_read(service: Service, slug: str) -> None:
    size = await service.size()
    body = b'{"note": "' + b"x" * (20 * 2**20) + b'"}'
    headers = {"Content-Type": "application/json"}
    answer = await service.client.post(f"/v1/deals/{slug}/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    # The connection is as good as before: what was sent has been read.
    assert (await service.client.post(f"/v1/deals/{slug}/events", json=registered())).status_code == 201
    assert await service.size() == size + 1


async def test_body_below_the_size_limit_is_accepted(client: httpx.AsyncClient, slug: str) -> None:
    body = b" " * (bodies.BODY_LIMIT - 500) + json.dumps(registered()).encode()
    headers = {"Content-Type": "application/json"}
    assert (await client.post(f"/v1/deals/{slug}/events", content=body, headers=headers)).status_code == 201


async def raw(service: Service, *sent: bytes, end: bool = True) -> bytes:
    """Send bytes over a new connection and return what the service sends until it closes it.

    With `end` the client closes its side after the bytes; uvicorn then drops an answer that is not written yet.
    """
    place = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    for part in sent:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.02)
    if end:
        writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        await writer.wait_closed()


def head(service: Service, slug: str, *headers: str) -> bytes:
    """Return the header block of a post."""
    lines = (
        f"POST /v1/deals/{slug}/events HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {service.settings.admin_key}",
        "Content-Type: application/json",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_incomplete_body_records_nothing(service: Service, slug: str, caplog: pytest.LogCaptureFixture) -> None:
    size = await service.size()
    body = json.dumps(registered()).encode()
    await raw(service, head(service, slug, f"Content-Length: {len(body)}"), body[:20])
    await raw(service, head(service, slug, "Transfer-Encoding: chunked"), b"5\r\n{")
    assert (await service.client.get("/health/live")).status_code == 200
    assert await service.size() == size
    assert "request failed" not in caplog.text


async def test_slow_body_is_recorded(service: Service, slug: str) -> None:
    body = json.dumps(registered()).encode()
    parts = [body[i : i + 10] for i in range(0, len(body), 10)]
    headers = head(service, slug, f"Content-Length: {len(body)}", "Connection: close")
    answer = await raw(service, headers, *parts, end=False)
    assert answer.startswith(b"HTTP/1.1 201")


async def test_stalled_body_times_out(service: Service, slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    place = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(head(service, slug, "Content-Length: 1000") + b"{")
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"too_slow"' in answer
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "sent", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /v1/deals?\xff HTTP/1.1\r\nHost: a\r\n\r\n"]
)
async def test_bytes_that_are_not_http_are_refused(service: Service, sent: bytes) -> None:
    answer = await raw(service, sent)
    assert answer == b"" or answer.split()[1].startswith(b"4"), answer
    assert (await service.client.get("/health/live")).status_code == 200


async def test_client_that_disconnects_does_not_affect_other_clients(service: Service, slug: str) -> None:
    """Its request is recorded whole or not at all; the other requests of the batch are recorded."""
    place = urlsplit(service.url)
    body = json.dumps(registered()).encode()
    for _ in range(5):
        with socket.create_connection((place.hostname, place.port)) as client:
            client.sendall(head(service, slug, f"Content-Length: {len(body)}") + body)
    answers = await asyncio.gather(
        *(service.client.post(f"/v1/deals/{slug}-{n}/events", json=registered()) for n in range(5))
    )
    assert [answer.status_code for answer in answers] == [201] * 5
    state = await service.client.get(f"/v1/deals/{slug}")
    assert state.status_code == 404 or state.json()["version"] == 1
