"""Imports: each line is handled like a post, and a refused line does not stop the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from registry.append.submission_queue import MAX_IMPORT_BATCH_EVENTS
from registry.events.log_lock import LOG_LOCK_KEY
from registry.http import bodies, import_session
from tests.api.announcements import corrected, pledged, registered
from tests.conftest import PATIENCE
from tests.faults.servers import eventually
from tests.service import Service

TYPE = {"Content-Type": "application/x-ndjson"}


def ndjson(*lines: dict[str, Any] | bytes) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + b"\n"


async def send(client: httpx.AsyncClient, *lines: dict[str, Any] | bytes, query: str = "") -> list[dict[str, Any]]:
    """Import lines and return the results."""
    answer = await client.post(f"/v1/import{query}", content=ndjson(*lines), headers=TYPE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_each_line_has_a_result_and_refused_lines_do_not_stop_others(
    service: Service, client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    one, two = new_slug(), new_slug()
    given = str(uuid4())
    before = await service.size()
    results = await send(
        client,
        {"deal": one, **registered()},
        {"deal": one, **pledged(), "id": given},
        {"deal": two, **pledged()},
        b"{not json",
        b"",
        {"deal": one, **pledged(value="5e400", pledge="other")},
        {**registered()},
        {"deal": "No Slug", **registered()},
        {"deal": one, **pledged(), "id": given},
        {"deal": one, **corrected(given, effective_on="2025-06-15")},
        {"organization": one, "event": {"type": "organization_registered", "name": {"en": "A firm"}}},
    )
    assert [(r["line"], r["status"]) for r in results] == [
        (1, 201),
        (2, 201),
        (3, 409),
        (4, 400),
        (6, 422),
        (7, 422),
        (8, 422),
        (9, 200),
        (10, 201),
        (11, 201),
    ]
    assert [r["version"] for r in results if "version" in r] == [1, 2, 2, 3, 1]
    assert results[1]["id"] == results[7]["id"] == given
    assert results[2]["rule"] == "not-registered"
    assert results[4]["errors"][0]["pointer"] == "/event/amount/value"
    assert results[5]["errors"][0]["pointer"] == "/deal"
    assert await service.size() == before + 4
    assert (await client.get(f"/v1/deals/{one}")).json()["version"] == 3


async def test_repeated_import_changes_nothing(service: Service, client: httpx.AsyncClient, slug: str) -> None:
    lines = [{"deal": slug, **registered(), "id": str(uuid4())}]
    lines += [{"deal": slug, **pledged(pledge=f"p{n}"), "id": str(uuid4())} for n in range(20)]
    first = await send(client, *lines)
    size = await service.size()
    again = await send(client, *lines)
    assert {r["status"] for r in first} == {201}
    assert {r["status"] for r in again} == {200}
    assert [r["position"] for r in again] == [r["position"] for r in first]
    assert await service.size() == size


async def test_lines_of_one_deal_are_recorded_in_order(client: httpx.AsyncClient, slug: str) -> None:
    lines = [{"deal": slug, **pledged(pledge=f"p{n}")} for n in range(300)]
    results = await send(client, {"deal": slug, **registered()}, *lines)
    assert [r["version"] for r in results] == list(range(1, 302))


async def test_atomic_import_records_all_lines_or_none(
    service: Service, client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    one, two = new_slug(), new_slug()
    before = await service.size()
    good = [{"deal": one, **registered()}, {"deal": two, **registered()}, {"deal": one, **pledged()}]

    def post(*lines: dict[str, Any] | bytes) -> Any:
        return client.post("/v1/import?atomic=true", content=ndjson(*lines), headers=TYPE)

    broken = await post(*good, b"", {"deal": two, **pledged()}, {"deal": one, **pledged()})
    assert (broken.status_code, broken.json()["code"], broken.json()["line"]) == (409, "rule_broken", 6)
    assert broken.json()["detail"].startswith("Line 6: ")
    wrong = await post(good[0], {"deal": two}, b'{"deal": "x", "event": {"type": "no_such"}}')
    assert wrong.status_code == 422
    assert [fault["pointer"] for fault in wrong.json()["errors"]] == ["/1/event", "/2/event/type"]
    assert (await post(good[0], b"{")).status_code == 400
    assert (await post(b"")).status_code == 422
    assert await service.size() == before
    dry = await send(client, *good, query="?dry_run=true")
    assert [(r["status"], r["version"]) for r in dry] == [(200, 1), (200, 1), (200, 2)]
    assert dry[2]["changes"]
    assert await service.size() == before
    results = await send(client, *good, query="?atomic=true")
    assert [(r["status"], r["version"]) for r in results] == [(201, 1), (201, 1), (201, 2)]
    assert [r["position"] for r in results] == [before + 1, before + 2, before + 3]


async def test_results_arrive_while_lines_are_still_sent(
    service: Service, client: httpx.AsyncClient, slug: str
) -> None:
    """The client sends the second line after it has received the result of the first."""
    host, port = service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/import HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"
    head += f"Content-Type: application/x-ndjson\r\nAuthorization: {client.headers['Authorization']}\r\n\r\n"
    writer.write(head.encode())

    async def result() -> dict[str, Any]:
        while not (line := await reader.readline()).startswith(b"{"):
            assert line
        found: dict[str, Any] = json.loads(line)
        return found

    async with asyncio.timeout(PATIENCE):
        for version, announcement in enumerate((registered(), pledged(), pledged(pledge="more")), 1):
            line = ndjson({"deal": slug, **announcement})
            # A line may come in pieces.
            for piece in (line[:10], line[10:]):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(0.01)
            assert (await result())["version"] == version
        writer.write(b"0\r\n\r\n")
        while (await reader.readline()) != b"0\r\n":
            pass
    writer.close()
    await writer.wait_closed()


async def test_client_that_sends_everything_before_reading_is_not_blocked(
    client: httpx.AsyncClient, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most clients send the whole body first: results wait for them, on disk if they are many."""
    monkeypatch.setattr(import_session, "MAX_BUFFERED_BYTES", 1000)

    async def lines() -> AsyncIterator[bytes]:
        for n in range(20):
            wrong = [{"deal": f"{slug}-{n}-{i}", **pledged()} for i in range(100)]
            yield ndjson(*wrong)

    answer = await client.post("/v1/import", content=lines(), headers=TYPE)
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [r["line"] for r in results] == list(range(1, 2001))
    assert {r["status"] for r in results} == {409}


async def test_line_over_the_size_limit_is_refused_alone(
    client: httpx.AsyncClient, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_LIMIT", 2000)
    large = {"deal": slug, **registered("x" * 3000)}
    results = await send(client, large, {"deal": slug, **registered()}, large)
    assert [(r["line"], r["status"]) for r in results] == [(1, 413), (2, 201), (3, 413)]
    together = await client.post("/v1/import?atomic=true", content=ndjson(large), headers=TYPE)
    assert together.status_code == 413


async def test_lines_before_a_broken_connection_are_recorded(
    service: Service, client: httpx.AsyncClient, slug: str
) -> None:
    class Broken(Exception):
        pass

    async def lines() -> AsyncIterator[bytes]:
        yield ndjson({"deal": slug, **registered()}, {"deal": slug, **pledged()})
        yield b'{"deal": "'
        await asyncio.sleep(0.1)
        raise Broken

    before = await service.size()
    with pytest.raises(Broken):
        await client.post("/v1/import", content=lines(), headers=TYPE)
    async with asyncio.timeout(PATIENCE):
        while await service.size() < before + 2:  # noqa: ASYNC110 - the service has no event for it
            await asyncio.sleep(0.01)
    assert (await client.get(f"/v1/deals/{slug}")).json()["version"] == 2


@pytest.mark.parametrize("query", ["", "?atomic=true"])
async def test_import_line_needs_the_scope_of_its_event(
    service: Service, visitor: httpx.AsyncClient, slug: str, query: str
) -> None:
    body = ndjson({"deal": slug, **registered()}, {"deal": slug, **corrected(str(uuid4()), effective_on="2025-06-15")})
    path = f"/v1/import{query}"
    assert (await visitor.post(path, content=body, headers=TYPE)).status_code == 401
    key = await service.key("record")
    answer = await visitor.post(path, content=body, headers={**TYPE, **key})
    if query:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    else:
        assert [json.loads(line)["status"] for line in answer.text.splitlines()] == [201, 403]
    wrong = await visitor.post(path, content=body, headers={"Content-Type": "text/csv", **key})
    assert wrong.status_code == 415
    assert (await visitor.post("/v1/import?atomik=true", content=body, headers={**TYPE, **key})).status_code == 400


async def test_import_yields_to_single_posts(
    client: httpx.AsyncClient, new_slug: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits while the recorder's queue is full, and records every line in the end."""
    monkeypatch.setattr("registry.append.submission_queue.MAX_QUEUED_BYTES", 5_000)
    name = new_slug()
    lines = [{"deal": f"{name}-{n}", **registered()} for n in range(300)]
    results = await send(client, *lines)
    assert {r["status"] for r in results} == {201}


async def test_refused_lines_are_explained_in_the_language_of_the_client(
    client: httpx.AsyncClient, slug: str, new_slug: Callable[[], str]
) -> None:
    refused = ndjson({"deal": slug, **pledged()}, {"deal": new_slug(), **pledged()})
    headers = {"Content-Type": "application/x-ndjson", "Accept-Language": "ko"}
    streamed = await client.post("/v1/import", content=refused, headers=headers)
    atomic = await client.post("/v1/import?atomic=true", content=refused, headers=headers)
    for detail in (json.loads(streamed.content.splitlines()[0])["detail"], atomic.json()["detail"]):
        assert any("가" <= letter <= "힣" for letter in detail), detail
    assert atomic.headers["content-language"] == "ko"
    assert atomic.json()["line"] == 1


@pytest.mark.drill
async def test_import_whose_client_leaves_while_nothing_is_recorded_ends(
    service: Service, client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    lines = [{"deal": new_slug(), **registered()} for _ in range(2 * import_session.WINDOW)]

    recorder = service.app.state.services.recorder

    async def lines_wait() -> bool:
        return bool(recorder.queue_length >= import_session.WINDOW - MAX_IMPORT_BATCH_EVENTS)

    async def ended() -> bool:
        # This request is the only one.
        return "registry_http_requests_in_flight 1.0" in (await client.get("/metrics")).text

    writer = await asyncpg.connect(service.settings.owner_url)
    try:
        async with writer.transaction():
            await writer.execute("SELECT pg_advisory_xact_lock($1)", LOG_LOCK_KEY)
            importing = asyncio.create_task(send(client, *lines))
            # As many lines as an import may have in the queue: its reading waits.
            await eventually(lines_wait)
            importing.cancel()
            await eventually(ended)
    finally:
        await writer.close()
