"""An attacker with a key looks for another way to what the key does not allow; one without, for a page that helps."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import Any

import httpx
import msgspec
import pytest

from registry.exports import portfolio
from tests.api.announcements import pledged, registered, revised
from tests.limits.conftest import connected
from tests.service import ADMIN_KEY, NO_TLS, Service, bearer, numbers


@pytest.fixture
def slug() -> str:
    return f"attacked-{next(numbers)}"


LINES = {"Content-Type": "application/x-ndjson"}


def approve(service: Service, proposal: httpx.Response, headers: dict[str, str]) -> Any:
    return service.visitor.post(
        f"/v1/proposals/{proposal.json()['proposal']}/approve",
        headers={**headers, "If-Match": proposal.headers["etag"]},
    )


async def test_key_for_one_deal_reaches_no_other_by_any_way(limited: Service, slug: str) -> None:
    other = f"{slug}-other"
    made = await limited.client.post(f"/v1/deals/{other}/events", json=[registered(), pledged()])
    assert made.status_code == 201, made.text
    pledge = made.json()["events"][1]["id"]
    own = bearer(await limited.issue("record", "correct", "redact", "propose", deals=(slug,)))
    size = await limited.size()
    line = msgspec.json.encode({"deal": other, **revised("2025-08-01", "9")})
    imported = await limited.visitor.post("/v1/import", content=line, headers={**own, **LINES})
    assert '"code":"forbidden"' in imported.text, imported.text
    atomic = msgspec.json.encode({"deal": slug, **registered()}) + b"\n" + line
    await limited.visitor.post("/v1/import?atomic=true", content=atomic, headers={**own, **LINES})
    for event in (
        {"type": "event_corrected", "corrects": pledge, "replacement": {"effective_on": "2025-01-01"}, "reason": "x"},
        {"type": "event_voided", "voids": pledge, "reason": "x"},
    ):
        for deal in (slug, other):
            answer = await limited.visitor.post(f"/v1/deals/{deal}/events", json={"event": event}, headers=own)
            assert answer.status_code in (403, 404, 409, 422), answer.text
    proposal = await limited.client.post(
        "/v1/proposals", json={"deal": other, "announcements": [revised("2025-08-01", "9")]}
    )
    assert (await approve(limited, proposal, own)).status_code in (403, 404)
    proposed = await limited.visitor.post(
        "/v1/proposals", json={"deal": other, "announcements": [revised("2025-08-01", "9")]}, headers=own
    )
    assert proposed.status_code == 403
    for path, body in (
        ("/v1/organization-merges", {"merges": [{"organization": "a", "into": "b"}], "reason": "x"}),
        ("/v1/organizations/a/events", {"event": {"type": "organization_registered", "name": {"en": "A"}}}),
        (
            f"/v1/principals/kim-{slug}/events",
            {"event": {"type": "principal_registered", "name": "K", "kind": "person"}},
        ),
    ):
        assert (await limited.visitor.post(path, json=body, headers=own)).status_code in (403, 422), path
    assert await limited.size() == size


async def test_idempotency_key_of_another_principal_shows_and_records_nothing(limited: Service, slug: str) -> None:
    again = {"Idempotency-Key": f"retry-{slug}"}
    first = await limited.client.post(f"/v1/deals/{slug}/events", json=registered(), headers=again)
    assert first.status_code == 201
    other = bearer(await limited.issue("record", deals=(f"{slug}-other",)))
    replayed = await limited.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers={**other, **again})
    assert replayed.status_code == 403
    reader = bearer(await limited.issue("read"))
    replayed = await limited.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers={**reader, **again})
    assert replayed.status_code == 403
    # The id of an event that another principal has recorded is no way round the check either.
    known = {**registered(), "id": first.json()["events"][0]["id"]}
    replayed = await limited.visitor.post(f"/v1/deals/{slug}/events", json=known, headers=other)
    assert replayed.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/?known=published&known_on=2025-01-01",
        "//evil.example/deals?q=",
        "/\\evil.example?q=",
        "//evil.example//?lang=",
        "/%2F%2Fevil.example/?q=",
        "/sign-in?then=//evil.example",
        "/sign-in?then=/%09/evil.example",
        "/sign-in?then=https:evil.example",
        "/sign-in?then=/\\evil.example",
    ],
)
async def test_no_address_redirects_to_another_site(limited: Service, path: str) -> None:
    async with connected(limited) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head = (await client.answer()).partition(b"\r\n\r\n")[0].lower()
    for line in head.split(b"\r\n"):
        if line.startswith((b"location:", b"refresh:")):
            assert b"evil.example" not in line.split(b"?")[0], line


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/deals/x%0d%0aSet-Cookie:a=b?q=", b"/deals/x%0D%0ASet-Cookie:a=b"),
        ("/deals/%E2%80%A8?q=", b"/deals/%E2%80%A8"),
        ("/organizations/%0aX-Injected:1?q=", b"/organizations/%0AX-Injected:1"),
    ],
)
async def test_redirects_escape_what_no_address_contains(limited: Service, path: str, target: bytes) -> None:
    async with connected(limited) as client:
        await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await client.answer()
    assert answer.startswith(b"HTTP/1.1 303 ")
    assert b"\r\nlocation: " + target + b"\r\n" in answer


async def test_sign_in_leads_to_a_path_in_any_script(limited: Service) -> None:
    sent = {"key": ADMIN_KEY, "then": "/search?q=\u2028삼성"}
    async with httpx.AsyncClient(base_url=limited.url, verify=NO_TLS) as reader:
        answer = await reader.post("/sign-in", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/search?q=%E2%80%A8%EC%82%BC%EC%84%B1")


async def test_path_with_an_empty_segment_is_unknown(limited: Service, slug: str) -> None:
    await limited.client.post(f"/v1/deals/{slug}/events", json=registered())
    for path in (f"//v1/deals/{slug}", f"/v1//deals/{slug}", f"/deals//{slug}", "//metrics"):
        assert (await limited.visitor.get(f"{limited.url}{path}")).status_code == 404, path


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Host"])
async def test_no_header_changes_the_host_or_the_path_of_an_answer(limited: Service, slug: str, name: str) -> None:
    await limited.client.post(f"/v1/deals/{slug}/events", json=registered())
    value = "host=evil.example" if name == "Forwarded" else "/evil.example" if "URL" in name else "evil.example"
    for path in (f"/deals/{slug}", "/v1/export/deals.datapackage.json", f"/v1/deals/{slug}", "/v1/events.atom"):
        answer = await limited.visitor.get(path, headers={name: value, "Accept": "*/*"})
        assert answer.status_code == 200, path
        assert "evil.example" not in answer.text + str(answer.headers)
        # Nor is it kept for others.
        assert "evil.example" not in (await limited.visitor.get(path)).text


async def test_page_of_another_host_is_kept_for_that_host_only(limited: Service, slug: str) -> None:
    await limited.client.post(f"/v1/deals/{slug}/events", json=registered())
    poisoned = await limited.visitor.get(f"/deals/{slug}", headers={"Host": "evil.localhost"})
    assert poisoned.status_code == 200
    assert "evil.localhost" not in (await limited.visitor.get(f"/deals/{slug}")).text


async def test_key_in_an_address_or_a_cookie_is_no_key(limited: Service, slug: str) -> None:
    key = await limited.issue("record")
    for query in ("key", "api_key", "access_token", "token"):
        answer = await limited.visitor.post(f"/v1/deals/{slug}/events?{query}={key.secret}", json=registered())
        assert answer.status_code in (400, 401)
    for cookie in ("registry_session", "__Host-registry_session", "key", "Authorization"):
        headers = {"Cookie": f"{cookie}={key.secret}"}
        assert (
            await limited.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=headers)
        ).status_code == 401


@pytest.mark.drill
async def test_slow_readers_of_exports_and_streams_delay_no_other(limited: Service, slug: str) -> None:
    note = "x" * 2_000
    first = [{**registered(), "note": note}, pledged()]
    more = [{**revised(f"2025-07-{n % 28 + 1:02}", str(n + 1)), "note": note} for n in range(200)]
    assert (await limited.client.post(f"/v1/deals/{slug}/events", json=[*first, *more])).status_code == 201

    async def read_slowly(path: str) -> None:
        async with connected(limited) as attacker:
            attacker.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await attacker.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 20)
            for _ in range(100):
                await attacker.reader.read(1)
                await asyncio.sleep(0.1)

    paths = ("/v1/export/events.ndjson", "/v1/export/events.csv", "/openapi.json", "/v1/events/stream?after=0")
    slow = [asyncio.create_task(read_slowly(path)) for path in paths * 5]
    try:
        for _ in range(5):
            assert (await limited.visitor.get(f"/v1/deals/{slug}")).status_code == 200
            await asyncio.sleep(0.2)
    finally:
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_files_that_are_not_read_are_bounded(limited: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portfolio, "MAX_OPEN_FILES", 0)
    answer = await limited.visitor.get("/v1/export/deals.csv")
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert "retry-after" in answer.headers
    monkeypatch.undo()
    assert (await limited.visitor.get("/v1/export/deals.csv")).status_code == 200


async def test_client_that_reads_slowly_leaves_files_to_others(
    limited: Service, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are larger than what the sockets hold are asked for at once."""
    title = dict.fromkeys(("en", "ko"), "x" * 300)
    lines = [
        {"deal": f"{slug}-{number}", **registered(), "event": {"type": "deal_registered", "title": title}}
        for number in range(3_000)
    ]
    content = b"\n".join(map(msgspec.json.encode, lines))
    imported = await limited.client.post("/v1/import?atomic=true", content=content, headers=LINES)
    assert imported.status_code == 200, imported.text[:500]
    monkeypatch.setattr(portfolio, "MAX_FILES_OF_CLIENT", 3)
    async with AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connected(limited)) for _ in range(8)]
        for attacker in slow:
            attacker.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            attacker.writer.write(b"GET /v1/export/deals.csv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        statuses = [(await attacker.reader.readline()).split()[1] for attacker in slow]
        assert sorted(statuses) == [b"200"] * 3 + [b"503"] * 5
        assert (await limited.visitor.get("/v1/export/deals.csv")).status_code == 503
        assert (await limited.client.get("/v1/export/deals.csv")).status_code == 200
    for _ in range(100):
        if (await limited.visitor.get("/v1/export/deals.csv")).status_code == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the files of clients that have left stay open")
