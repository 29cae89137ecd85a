"""Sessions of the pages: started by signing in, listed and ended by their owner, never a key in a cookie."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from html import unescape

import httpx
import pytest

from registry.append.principals import IssuedKey
from registry.infra.sessions import IDLE, LIFETIME, MAX_OF_PRINCIPAL
from tests.api.announcements import registered
from tests.service import NO_TLS, Service
from tests.web.html import text_of

COOKIE = "registry_session"


@asynccontextmanager
async def visit(service: Service, key: IssuedKey | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A browser, signed in if there is a key."""
    async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS, timeout=60) as client:
        if key is not None:
            answer = await client.post("/sign-in", data={"key": key.secret, "then": "/"})
            assert answer.status_code == 303
        yield client


async def csrf(client: httpx.AsyncClient) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await client.get("/sessions")).text)
    assert found is not None
    return found.group(1)


async def is_signed_in(client: httpx.AsyncClient) -> bool:
    return (await client.get("/sessions")).status_code == 200


@pytest.mark.parametrize(
    ("language", "name"),
    [("en", "System administrator"), ("ko", "시스템 관리자")],
)
async def test_administrator_key_has_a_name_in_the_language_of_the_reader(
    editor: httpx.AsyncClient, language: str, name: str
) -> None:
    for path in ("/", "/sessions", "/log", "/record"):
        html = (await editor.get(path, params={"lang": language})).text
        assert name in html
        assert "REGISTRY_ADMIN_KEY" not in html


async def test_cookie_holds_a_session_and_never_the_key(service: Service) -> None:
    key = await service.issue("record")
    async with visit(service, key) as client:
        secret = client.cookies[COOKIE]
        assert secret not in key.secret
        assert key.secret not in str(client.cookies)
        # The session's secret is no API key, and it is in no row of the database.
        headers = {"Authorization": f"Bearer {secret}"}
        assert (await client.post("/v1/deals/x/events", json=registered(), headers=headers)).status_code == 401
        rows = await service.pool.fetch("SELECT t::text AS text FROM sessions AS t")
        assert rows
        assert all(secret not in row["text"] and key.secret not in row["text"] for row in rows)


async def test_sign_out_ends_the_session_for_every_copy_of_the_cookie(service: Service) -> None:
    async with visit(service, await service.issue("record")) as client, visit(service) as thief:
        thief.cookies.set(COOKIE, client.cookies[COOKIE])
        assert await is_signed_in(thief)
        answer = await client.post("/sign-out", data={"csrf": await csrf(client)})
        assert (answer.status_code, answer.headers["clear-site-data"]) == (303, '"cache"')
        assert not await is_signed_in(thief)
        assert not await is_signed_in(client)


async def test_cookie_over_tls_belongs_to_this_host_only(service: Service) -> None:
    """A trusted proxy says that TLS is spoken. A cookie without the prefix, which a sibling host can plant, is none."""
    key = await service.issue("record")
    proxied = {"X-Forwarded-Proto": "https"}
    async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS, headers=proxied) as client:
        answer = await client.post("/sign-in", data={"key": key.secret, "then": "/"})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"__Host-{COOKIE}=")
        assert "; Secure" in cookie
        secret = cookie.partition("=")[2].partition(";")[0]
        named = {name: {"Cookie": f"{name}={secret}"} for name in (COOKIE, f"__Host-{COOKIE}")}
        assert (await client.get("/sessions", headers=named[f"__Host-{COOKIE}"])).status_code == 200
        assert (await client.get("/sessions", headers=named[COOKIE])).status_code == 303


async def test_signing_in_starts_another_session(service: Service) -> None:
    """A session that was planted before the sign-in is not taken over."""
    key = await service.issue("record")
    async with visit(service, key) as client:
        before = client.cookies[COOKIE]
        await client.post("/sign-in", data={"key": key.secret, "then": "/"})
        assert client.cookies[COOKIE] != before
        async with visit(service) as other:
            other.cookies.set(COOKIE, before)
            assert not await is_signed_in(other)


async def test_revoked_key_ends_its_sessions(service: Service) -> None:
    key = await service.issue("record")
    async with visit(service, key) as client:
        assert await is_signed_in(client)
        await service.revoke(key)
        assert not await is_signed_in(client)


async def test_session_ends_when_it_is_not_used(service: Service) -> None:
    key = await service.issue("record")
    async with visit(service, key) as client:
        assert await is_signed_in(client)
        await service.pool.execute(
            "UPDATE sessions SET seen_at = seen_at - $1::interval WHERE principal = $2",
            IDLE + timedelta(seconds=1),
            key.principal,
        )
        assert not await is_signed_in(client)


async def test_session_in_use_ends_after_its_lifetime(service: Service) -> None:
    key = await service.issue("record")
    sessions = service.app.state.services.sessions
    async with visit(service, key) as client:
        secret, now = client.cookies[COOKIE], datetime.now(UTC)
        for passed in (timedelta(0), LIFETIME - timedelta(minutes=1), LIFETIME + timedelta(minutes=1)):
            used = "UPDATE sessions SET seen_at = $1 WHERE principal = $2"
            await service.pool.execute(used, now + passed, key.principal)
            assert (await sessions.find(secret, now + passed) is None) == (passed > LIFETIME)


async def test_owner_lists_and_ends_sessions(service: Service) -> None:
    key = await service.issue("record")
    async with visit(service, key) as here, visit(service, key) as there, visit(service, key) as elsewhere:
        page = (await here.get("/sessions")).text
        ids = re.findall(r'action="/sessions/([0-9a-f]+)/end"', page)
        assert len(ids) == 3
        token = await csrf(here)
        own = await service.pool.fetchval(
            "SELECT id FROM sessions WHERE principal = $1 ORDER BY created_at OFFSET 1 LIMIT 1", key.principal
        )
        assert (await here.post(f"/sessions/{own}/end", data={"csrf": token})).status_code == 303
        assert [await is_signed_in(client) for client in (here, there, elsewhere)] == [True, False, True]
        assert (await here.post("/sessions/end-others", data={"csrf": token})).status_code == 303
        assert [await is_signed_in(client) for client in (here, elsewhere)] == [True, False]


async def test_session_of_another_principal_cannot_be_ended(service: Service) -> None:
    one, other = await service.issue("record"), await service.issue("record")
    async with visit(service, one) as mine, visit(service, other) as theirs:
        id = await service.pool.fetchval("SELECT id FROM sessions WHERE principal = $1", other.principal)
        answer = await mine.post(f"/sessions/{id}/end", data={"csrf": await csrf(mine)})
        assert answer.status_code == 404
        assert await is_signed_in(theirs)


async def test_token_of_another_session_of_the_same_key_is_refused(service: Service) -> None:
    key = await service.issue("record")
    async with visit(service, key) as one, visit(service, key) as other:
        assert (await one.post("/sign-out", data={"csrf": await csrf(other)})).status_code == 403
        assert await is_signed_in(one)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
            "Safari/537.36 Edg/140.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile "
            "Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
            "Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iOS",
        ),
        ("python-httpx/0.28.1", "python-httpx"),
        ("<b>unnamed</b>", "Unknown"),
        ("", "Unknown"),
    ],
)
async def test_sessions_name_the_browser(service: Service, agent: str, name: str) -> None:
    key = await service.issue("record")
    async with visit(service) as client:
        client.headers["User-Agent"] = agent
        assert (await client.post("/sign-in", data={"key": key.secret, "then": "/"})).status_code == 303
        page = (await client.get("/sessions")).text
    [cell] = re.findall(r'<td data-l="Browser">(.*?)</td>', page)
    assert text_of(cell).strip().removesuffix("This session").strip() == name
    assert (f'title="{agent}"' in cell) == (name != "Unknown")


async def test_signed_in_reader_is_told_so_instead_of_asked_for_a_key(service: Service) -> None:
    key = await service.issue("record", name="Kim Minji", kind="person")
    async with visit(service, key) as client:
        page = (await client.get("/sign-in?then=/log")).text
        assert "You have signed in as Kim Minji." in page
        assert '<a href="/log">Continue</a>' in page
        assert 'name="key"' not in page
        # Pages without data of the registry have the same links as others.
        assert 'href="/watches">Watches</a>' in page


async def test_sessions_of_a_principal_are_bounded(service: Service) -> None:
    key, other = await service.issue("record"), await service.issue("record")
    sessions = service.app.state.services.sessions
    async with visit(service, key) as first, visit(service, other) as another:
        now = datetime.now(UTC) + timedelta(seconds=1)
        for _ in range(MAX_OF_PRINCIPAL):
            await sessions.create(key.principal, key.key, "", now)
        assert len(await sessions.of_principal(key.principal, now)) == MAX_OF_PRINCIPAL
        assert not await is_signed_in(first)
        assert await is_signed_in(another)


@pytest.mark.parametrize(
    "path", ["/watches", "/record", "/sessions", "/proposals", "/import", "/watches/new?region=KR"]
)
async def test_language_is_kept_through_signing_in_and_out(service: Service, path: str) -> None:
    """The browser prefers English, the reader has chosen Korean."""
    key = await service.issue("read", "record")
    asked = f"{path}{'&' if '?' in path else '?'}lang=ko"
    async with visit(service) as client:
        page = await client.get(asked, follow_redirects=True)
        assert page.url.path == "/sign-in"
        assert '<html lang="ko">' in page.text
        [action] = re.findall(r'<form class="form" method="post" action="([^"]+)"', page.text)
        [then] = re.findall(r'name="then" value="([^"]+)"', page.text)
        refused = await client.post(action, data={"key": "none", "then": unescape(then)})
        assert '<html lang="ko">' in refused.text
        answer = await client.post(action, data={"key": key.secret, "then": unescape(then)})
        assert answer.headers["location"] == asked
        page = await client.get(asked)
        assert page.status_code == 200
        [action] = re.findall(r'<form method="post" action="(/sign-out[^"]*)"', page.text)
        answer = await client.post(action, data={"csrf": await csrf(client)})
        assert answer.headers["location"] == "/?lang=ko"


async def test_language_chosen_on_the_sign_in_page_is_that_of_the_next_page(service: Service) -> None:
    async with visit(service) as client:
        page = await client.get("/watches?lang=ko", follow_redirects=True)
        [english] = re.findall(r'<a href="([^"]+)" lang="en"', page.text)
        page = await client.get(unescape(english))
        assert '<html lang="en">' in page.text
        assert re.findall(r'name="then" value="([^"]+)"', page.text) == ["/watches?lang=en"]


async def test_links_of_an_error_keep_the_language(service: Service) -> None:
    async with visit(service) as client:
        page = await client.get("/deals/unknown-deal?lang=ko")
        assert page.status_code == 404
        header = page.text.partition("</header>")[0].partition("<body>")[2]
        paths = re.findall(r'href="(/[^"]*)"(?! lang)', header) + re.findall(
            r'<p class="tools">.*?href="([^"]+)"', page.text
        )
        assert paths
        assert all("lang=ko" in path for path in paths)
        assert 'name="lang" value="ko"' in header
