"""Every route, with every kind of key and session, answers as the table of rights says (table.py)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
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
from registry.append.principals import issue_key, record_events
from registry.domain.principal import Rights
from registry.domain.sources.identity import source_id
from registry.events.types import KeyRevoked, ScopesChanged
from registry.events.values import Scope, Source
from registry.web.page.request import csrf_token
from tests.api.announcements import SOURCE, pledged, registered
from tests.conftest import PATIENCE, drill
from tests.databases import Server
from tests.rights.table import API, DEAL, FILL, ORGANIZATION, PAGES, RULES, Rule
from tests.rights.tokens import AUDIENCE, Issuer, issuing
from tests.service import NO_TLS, Service, cloned, running
from tests.web.test_import_pages import upload
from tests.web.test_sessions import visit

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
    kept = await issue_key(services.recorder, services.pool, Rights(scopes=("record",)), principal=ended)
    await record_events(services.recorder, ended, [ScopesChanged(scopes=())])
    # A key has rights of its own, which end with the key.
    name = "with a key whose principal lost its own rights"
    clients.append(Client(name, frozenset({"record"}), kept.secret, await _signed_in(service, kept.secret)))
    suspended = await signed_in("with a token of a suspended principal", None, issuer.token("suspended", "admin"))
    key = await issue_key(services.recorder, services.pool, Rights(scopes=("admin",)), principal=suspended)
    cookie = await _signed_in(service, key.secret)
    await record_events(services.recorder, suspended, [ScopesChanged(scopes=()), KeyRevoked(key=key.key)])
    clients.append(Client("with the key of a suspended principal", None, key.secret, cookie))
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


@asynccontextmanager
async def _sent(
    browser: httpx.AsyncClient, method: str, path: str, rule: Rule, client: Client, fill: Mapping[str, str] = FILL
) -> AsyncIterator[httpx.Response]:
    """Send a client's request, with its session to a page and with its key to another route."""
    url = re.sub(r"{(\w+):\w+}", lambda found: fill[found[1]], path)
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
        yield answer


async def _status(browser: httpx.AsyncClient, method: str, path: str, rule: Rule, client: Client) -> int:
    async with _sent(browser, method, path, rule, client) as answer:
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


async def _things(service: Service) -> dict[str, str]:
    """The values of path parameters: things that exist, of the administrator and of an editor."""
    await service.client.post(f"/v1/deals/{DEAL}/events", json=[registered(), pledged()])
    organization = {"event": {"type": "organization_registered", "name": {"en": "A"}}}
    await service.client.post(f"/v1/organizations/{ORGANIZATION}/events", json=organization)
    proposal = await service.client.post("/v1/proposals", json={"deal": DEAL, "announcements": [pledged()]})
    url = {"url": "https://receiver.example/"}
    watch = (await service.client.post("/v1/watches", json=url)).json()["id"]
    webhook = (await service.client.post("/v1/webhooks", json=url)).json()["id"]
    event = await service.pool.fetchval("SELECT id FROM events WHERE stream = $1 LIMIT 1", f"deal/{DEAL}")
    key = await service.issue("read", "record")
    async with visit(service, key) as editor:
        imported = (await upload(editor, "sheet.csv", b"a,b\n1,2\n")).rpartition("/")[2]
    session = await service.pool.fetchval("SELECT id FROM sessions WHERE principal = $1", key.principal)
    return {
        **FILL,
        "source": source_id(msgspec.convert(SOURCE, Source)),
        "principal": key.principal,
        "proposal": proposal.json()["proposal"],
        "watch": watch,
        "webhook": webhook,
        # Of each kind of page that has one; the others find nothing there.
        "/events": str(event),
        "/import": imported,
        "/proposals": proposal.json()["proposal"],
        "/sessions": session,
        "/watches": watch,
        "/v1/events": str(event),
    }


def _shown(answer: httpx.Response, sent: Iterable[str]) -> tuple[int, str]:
    """What a client sees of an answer, without what it has sent and what differs from request to request."""
    varies = ("x-request-id", "date", "content-length")
    headers = sorted(f"{name}: {value}" for name, value in answer.headers.items() if name not in varies)
    shown = "\n".join(
        [*headers, "" if answer.headers.get("content-type", "").startswith("text/event") else answer.text]
    )
    for value in sent:
        shown = shown.replace(value, "")
    return answer.status_code, re.sub("[0-9a-f]{32,64}", "", shown)


async def test_answers_do_not_tell_what_exists_to_who_may_not_read(registries: dict[bool, Registry]) -> None:
    registry = registries[False]
    things = await _things(registry.service)
    nothing = {name: f"{value[:-4]}0000" for name, value in things.items() if value != FILL.get(name)}
    nothing = {**FILL, **nothing, "deal": "b-deal", "organization": "bn-organization"}
    elsewhere = await registry.service.issue(
        *("propose", "record", "correct", "redact"), deals=("elsewhere",), organizations=("elsewhere",)
    )
    limited = Client("limited", None, elsewhere.secret, await _signed_in(registry.service, elsewhere.secret))
    clients = [one for one in registry.clients if one.name in ("without a key", "propose", "revoked")]
    differing = []
    async with httpx.AsyncClient(base_url=registry.service.url, verify=NO_TLS, timeout=PATIENCE) as browser:
        for route, rule in RULES.items():
            method, _, path = route.partition(" ")
            if "{" not in path or "{tile" in path or "_path:" in path:
                continue
            own = path[: path.index("/{")]
            for client in (*clients, limited):
                for tried in (method, "HEAD", "OPTIONS") if method == "GET" else (method,):
                    seen = []
                    for fill in (things, nothing):
                        filled = {**fill, "id": fill.get(own, fill["id"])}
                        names = re.findall(r"{(\w+):", path)
                        async with _sent(browser, tried, path, rule, client, filled) as answer:
                            seen.append(_shown(answer, [filled[name] for name in names if len(filled[name]) > 5]))
                    if seen[0] != seen[1]:
                        differing.append(f"{tried} {path}, {client.name}: {seen[0][:300]} and {seen[1][:300]}")
    assert not differing, "\n".join(differing)


async def test_pages_that_need_a_session_are_not_for_shared_caches(registries: dict[bool, Registry]) -> None:
    registry = registries[False]
    things = await _things(registry.service)
    admin = next(one for one in registry.clients if one.name == "admin")
    shared, found = [], 0
    async with httpx.AsyncClient(base_url=registry.service.url, verify=NO_TLS, timeout=PATIENCE) as browser:
        for route, rule in PAGES.items():
            method, _, path = route.partition(" ")
            if method != "GET" or not rule.needs_key(public_read=False):
                continue
            filled = {**things, "id": things.get(path.partition("/{")[0], "")}
            async with _sent(browser, method, path, rule, admin, filled) as answer:
                found += answer.status_code == 200
                caching = answer.headers.get("cache-control", "")
                if answer.status_code == 200 and not any(word in caching for word in ("private", "no-store")):
                    shared.append(f"{path}: {caching}")
    assert found > 20
    assert not shared, "\n".join(shared)


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
