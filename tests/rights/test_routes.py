"""Every route, with every kind of key and session, answers as the table of rights says (table.py)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import urlencode

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar.routes import HTTPRoute
from msgspec import Struct
from msgspec.structs import replace

from registry.append.identities import principal_id
from registry.append.principals import record_events
from registry.events.types import KeyRevoked, ScopesChanged
from registry.events.values import Scope
from registry.web.page.request import csrf_token
from tests.conftest import PATIENCE, drill
from tests.databases import Server
from tests.rights.table import API, FILL, RULES, Rule
from tests.rights.tokens import AUDIENCE, Issuer, issuing
from tests.service import NO_TLS, Service, cloned, running

COOKIE = "registry_session"
SCOPES: tuple[Scope, ...] = get_args(Scope)

# Of the clients, how many `make test` tries on each route: other ones on each.
SAMPLE = 2


class Client(Struct, frozen=True):
    """What a client sends, and the scopes that this should give; None if it should count for nothing."""

    name: str
    scopes: frozenset[str] | None
    key: str | None = None
    cookie: str | None = None

    def may(self, rule: Rule, *, public_read: bool) -> int | None:
        """The status that refuses the client; None if it may use the route."""
        if not rule.needs_key(public_read=public_read):
            return None
        if self.scopes is None:
            return 401
        return None if rule.allows(self.scopes, public_read=public_read) else 403


class Registry(Struct):
    """A service with clients of every kind."""

    service: Service
    clients: list[Client]


async def _signed_in(service: Service, key: str) -> str:
    async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS, timeout=PATIENCE) as browser:
        assert (await browser.post("/sign-in", data={"key": key})).status_code == 303
        return browser.cookies[COOKIE]


async def _clients(service: Service, issuer: Issuer) -> list[Client]:
    recorder = service.app.state.services.recorder
    soon = datetime.now(UTC) + timedelta(seconds=2)
    clients = [Client("without a key", None), Client("with another key", None, "reg_" + "0" * 43, "0" * 43)]

    async def issued(name: str, scopes: frozenset[str] | None, *given: Scope, **more: Any) -> Any:
        issued = await service.issue(*given, **more)
        cookie = await _signed_in(service, issued.secret)
        clients.append(Client(name, scopes, issued.secret, cookie))
        return issued

    for scope in SCOPES:
        await issued(scope, frozenset({scope}), scope)
    await issued("of an editor", frozenset({"read", "record"}), "read", "record")
    await issued("expired", None, "admin", expires_at=soon)
    revoked = await issued("revoked", None, "admin")
    await service.revoke(revoked)
    rotated = await issued("rotated, in the overlap", frozenset({"admin"}), "admin")
    hour = KeyRevoked(key=rotated.key, revoked_at=datetime.now(UTC) + timedelta(hours=1))
    await record_events(recorder, rotated.principal, [hour])
    rotated = await issued("rotated, after the overlap", None, "admin")
    await record_events(recorder, rotated.principal, [KeyRevoked(key=rotated.key, revoked_at=soon)])
    narrowed = await issued("without a scope", frozenset(), "admin")
    await record_events(recorder, narrowed.principal, [ScopesChanged(key=narrowed.key, scopes=())])
    ended = await service.issue("admin")
    clients.append(Client("whose session ended", None, None, await _signed_in(service, ended.secret)))
    await service.pool.execute("DELETE FROM sessions WHERE principal = $1", ended.principal)
    clients += await _token_clients(service, issuer)
    await asyncio.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))
    return clients


async def _token_clients(service: Service, issuer: Issuer) -> list[Client]:
    """Clients with an access token of an OpenID provider, and the session of a person who has signed in there."""
    services = service.app.state.services
    clients = []

    async def signed_in(name: str, scopes: frozenset[str] | None, token: str) -> str:
        credential = await services.identities.find(token)
        now = datetime.now(UTC)
        cookie = await services.sessions.create(credential.id, None, "", now)
        clients.append(Client(name, scopes, token, cookie))
        return str(credential.id)

    for scope in SCOPES:
        await signed_in(f"with a token for {scope}", frozenset({scope}), issuer.token(f"has {scope}", scope))
    ended = await signed_in("with a token whose rights ended", None, issuer.token("left", "admin"))
    await record_events(services.recorder, ended, [ScopesChanged(scopes=())])
    changed = await signed_in("with a token of more than the log", frozenset({"record"}), issuer.token("less", "admin"))
    # An older token does not give back what was taken.
    await record_events(services.recorder, changed, [ScopesChanged(scopes=("record",))])
    clients[-1] = replace(clients[-1], key=issuer.token("less", "admin", "record", iat=int(time.time()) - 60))
    for reason, token in issuer.refused("admin").items():
        clients.append(Client(f"with a token {reason}", None, token, token))
    assert await services.principals.stream(principal_id(issuer.url, "forger")) is None
    return clients


@pytest_asyncio.fixture(scope="module")
async def registries(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[dict[bool, Registry]]:
    """A registry that is public to read, and one that is not. Each has clients with a key of the other."""
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(issuing())
        found: dict[bool, Registry] = {}
        for public_read in (True, False):
            settings = await stack.enter_async_context(cloned(server, admin, f"rights_{public_read}".lower()))
            settings = replace(
                settings,
                public_read=public_read,
                oidc_issuer=issuer.url,
                oidc_client_id="registry",
                oidc_rights={scope: (scope,) for scope in SCOPES},
                oidc_audience=AUDIENCE,
            )
            service = await stack.enter_async_context(running(settings))
            found[public_read] = Registry(service, await _clients(service, issuer))
        for public_read, registry in found.items():
            other = next(one for one in found[not public_read].clients if one.name == "admin")
            registry.clients.append(replace(other, name="of another registry", scopes=None))
        yield found


def test_every_route_has_a_rule(registries: dict[bool, Registry]) -> None:
    found = {
        f"{method} {route.path}"
        for route in registries[True].service.app.routes
        if isinstance(route, HTTPRoute)
        for method in route.route_handler_map
        # HEAD needs what GET needs, and OPTIONS nothing; both are tried beside the others.
        if method not in ("HEAD", "OPTIONS")
    }
    assert found == RULES.keys()


async def _status(browser: httpx.AsyncClient, method: str, path: str, rule: Rule, client: Client) -> int:
    """Send a client's request, with its session to a page and with its key to another route."""
    url = re.sub(r"{(\w+):\w+}", lambda found: FILL[found[1]], path)
    headers = {**rule.headers, "Accept": "*/*"}
    token = ""
    if f"{method} {path}" in API or f"GET {path}" in API:
        if client.key is not None:
            headers["Authorization"] = f"Bearer {client.key}"
    elif client.cookie is not None and not rule.ends_session:
        headers["Cookie"], token = f"{COOKIE}={client.cookie}", csrf_token(client.cookie)
    content = b""
    if rule.body is not None:
        headers["Content-Type"] = rule.media_type
        if rule.media_type.startswith("multipart"):
            content = f'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{token}\r\n--x--\r\n'.encode()
        elif "form" in rule.media_type:
            content = urlencode({**rule.body, "csrf": token}).encode()
        else:
            content = msgspec.json.encode(rule.body)
    # A client has the cookies of its own session only.
    browser.cookies.clear()
    async with browser.stream(
        method, f"{url}?{rule.query}" if rule.query else url, content=content, headers=headers
    ) as answer:
        if "event-stream" not in answer.headers.get("content-type", ""):
            await answer.aread()
        # Pages lead browsers without a session to the form that starts one.
        leads_to_sign_in = answer.headers.get("location", "").startswith("/sign-in?")
        return 401 if answer.status_code == 303 and leads_to_sign_in else answer.status_code


@pytest.mark.parametrize("public_read", [drill(True), False])
@pytest.mark.parametrize("count", [SAMPLE, drill(1_000)])
async def test_routes_allow_what_the_table_says(
    registries: dict[bool, Registry], count: int, *, public_read: bool
) -> None:
    registry = registries[public_read]
    wrong = []
    async with httpx.AsyncClient(base_url=registry.service.url, verify=NO_TLS, timeout=PATIENCE) as browser:
        for number, (route, rule) in enumerate(RULES.items()):
            method, _, path = route.partition(" ")
            for turn in range(min(count, len(registry.clients))):
                client = registry.clients[(number * SAMPLE + turn) % len(registry.clients)]
                refused = client.may(rule, public_read=public_read)
                for tried in (method, "HEAD") if method == "GET" and count > SAMPLE else (method,):
                    status = await _status(browser, tried, path, rule, client)
                    is_right = status == refused if refused else status not in (401, 403) and status < 500
                    if not is_right:
                        wrong.append(f"{tried} {path}, {client.name}: {status} instead of {refused or 'an answer'}")
    assert not wrong, "\n".join(wrong)


async def test_events_are_sent_to_principals_that_may_read_them(registries: dict[bool, Registry]) -> None:
    for public_read, registry in registries.items():
        principals = registry.service.app.state.services.principals
        for scope in SCOPES:
            key = await registry.service.issue(scope)
            assert await principals.has_right(key.principal) == (public_read or scope in ("read", "admin"))


async def test_access_token_starts_no_session(registries: dict[bool, Registry]) -> None:
    for registry in registries.values():
        for client in registry.clients:
            if client.name.startswith("with a token"):
                answer = await registry.service.visitor.post("/sign-in", data={"key": client.key})
                assert answer.status_code == 401, client.name
