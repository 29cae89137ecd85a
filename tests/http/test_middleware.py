"""Middleware: request ids, security headers, the access log, metrics, compression; and no keys in logs."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable

import asyncpg
import httpx
import pytest
import structlog
from msgspec.structs import replace

from registry.api.health import failed_check
from registry.app import create_app
from registry.append import commit_health
from registry.cli.server import log_to_stderr
from registry.events import log_lock
from registry.events.log_lock import LOG_LOCK_KEY
from registry.http import deadline
from registry.http.compression import AnswerSender
from registry.http.deadline import Deadline
from registry.infra import postgres
from tests.api.announcements import pledged, registered
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.limits.conftest import connected
from tests.service import Service, cloned, running, served


async def test_every_response_has_a_request_id_and_security_headers(client: httpx.AsyncClient, slug: str) -> None:
    for url in ("/v1/deals", f"/v1/deals/{slug}", "/nothing", "/docs", "/metrics"):
        answer = await client.get(url)
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


async def test_security_headers_are_sent_once(client: httpx.AsyncClient) -> None:
    for url in ("/", "/v1/deals", "/nothing", "/docs", "/docs/static/swagger-ui.css", "/static/style.css"):
        answer = await client.get(url)
        for name in ("x-content-type-options", "referrer-policy", "content-security-policy", "x-request-id"):
            assert len(answer.headers.get_list(name)) == 1, (url, name)


async def test_hsts_is_sent_when_a_trusted_proxy_speaks_tls(visitor: httpx.AsyncClient) -> None:
    secure = await visitor.get("/v1/deals", headers={"X-Forwarded-Proto": "https"})
    assert secure.headers["strict-transport-security"].startswith("max-age=")
    assert "strict-transport-security" not in (await visitor.get("/v1/deals")).headers


@pytest.mark.parametrize(
    "hosts",
    [
        "", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host:\r\n", "Host: [::\r\n", "Host: [.]\r\n",
        "Host: localhost:65536\r\n", "Host: localhost:99999\r\n", "Host: localhost:100000\r\n",
    ],
)  # fmt: skip
async def test_request_without_one_valid_host_is_refused(service: Service, hosts: str) -> None:
    async with connected(service) as client:
        await client.send(f"GET /v1/deals HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        answer = await client.answer()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"bad_request"' in answer
    assert b"x-request-id" in answer


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:65535", "localhost.", "a.localhost:"]
)
async def test_valid_host_is_accepted(visitor: httpx.AsyncClient, host: str) -> None:
    assert (await visitor.get("/v1/deals", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("watch_after", [deadline.WATCH_AFTER, 0])
async def test_answered_requests_are_freed_without_the_garbage_collector(
    service: Service, monkeypatch: pytest.MonkeyPatch, watch_after: float
) -> None:
    monkeypatch.setattr(deadline, "WATCH_AFTER", watch_after)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            async with connected(service) as client:
                await client.send(b"GET /v1/deals HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert (await client.answer()).startswith(b"HTTP/1.1 200 ")
        # The client can have the last answer before the task of its request has ended.
        async with asyncio.timeout(PATIENCE):
            while any(isinstance(kept, Deadline | AnswerSender) for kept in gc.get_objects()):  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)
    finally:
        gc.enable()


async def test_stopped_service_is_freed(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> None:
    async with cloned(server, admin, "stopped") as settings:
        async with served(create_app(settings), settings) as service:
            feed = weakref.ref(service.app.state.services.feed)
            for path in ("/v1/deals?limit=1", "/v1/totals", "/openapi.json", "/", "/portfolio"):
                await service.client.get(path)
        del service
        gc.collect()
        assert feed() is None


async def test_unsupported_method_has_a_request_id(visitor: httpx.AsyncClient) -> None:
    for method in ("PUT", "PATCH", "TRACE", "BREW"):
        for path in ("/", "/v1/deals", "/static/style.css", "/docs"):
            answer = await visitor.request(method, path)
            assert answer.status_code in (400, 404, 405), (method, path)
            if answer.content:
                assert answer.json()["request_id"] == answer.headers["x-request-id"], (method, path)


async def test_valid_request_id_of_a_proxy_is_kept(visitor: httpx.AsyncClient) -> None:
    given = await visitor.get("/health/live", headers={"X-Request-Id": "proxy-1234567"})
    assert given.headers["x-request-id"] == "proxy-1234567"
    for text in ("short", "x" * 65, 'a"b,c{d}e f'):
        assert (await visitor.get("/health/live", headers={"X-Request-Id": text})).headers["x-request-id"] != text


async def test_options_lists_every_method_of_a_path(visitor: httpx.AsyncClient, slug: str) -> None:
    answer = await visitor.options(f"/v1/deals/{slug}/events")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert (await visitor.options("/sign-in")).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await visitor.options("/v1/import")).headers["allow"] == "OPTIONS, POST"


async def test_health_ignores_the_query(visitor: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/health/ready"):
        assert (await visitor.get(path, params={"probe": "1"})).status_code == 200


async def test_metrics_count_requests_batches_and_the_log(service: Service, slug: str) -> None:
    await service.client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged()])
    await service.client.get(f"/v1/deals/{slug}")
    await service.client.get(f"/v1/no-such-thing/{slug}")
    answer = await service.visitor.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(lines['registry_http_requests_total{method="POST",route="/v1/deals/{deal}/events",status="201"}']) >= 1
    assert float(lines['registry_http_request_seconds_count{method="GET",route="/v1/deals/{deal}"}']) >= 1
    assert float(lines["registry_recorder_group_events_count"]) >= 1
    assert float(lines["registry_projection_seconds_count"]) >= 1
    assert float(lines['registry_problems_total{code="not_found"}']) >= 1
    assert float(lines['registry_pool_waits{pool="recorder"}']) >= 0
    assert float(lines["registry_copy_position"]) >= 0
    assert float(lines["registry_recorder_waiting"]) == 0
    assert float(lines["registry_log_position"]) == await service.size()
    assert slug not in answer.text


async def test_answers_are_compressed_on_request_and_streams_are_not(service: Service, slug: str) -> None:
    await service.client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged()])
    for path in (f"/v1/deals/{slug}", "/v1/events", "/v1/export/deals.csv"):
        compressed = await service.visitor.get(path, headers={"Accept-Encoding": "gzip"})
        plain = await service.visitor.get(path, headers={"Accept-Encoding": "identity"})
        assert compressed.headers["content-encoding"] == "gzip", path
        assert "Accept-Encoding" in compressed.headers["vary"]
        assert "content-encoding" not in plain.headers
        assert compressed.content == plain.content
    async with service.visitor.stream("GET", "/v1/events/stream", headers={"Accept-Encoding": "gzip"}) as stream:
        assert "content-encoding" not in stream.headers


async def test_pages_of_configured_origins_may_call_the_api(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    asked = {"Origin": "https://pages.example", "Access-Control-Request-Method": "POST"}
    async with (
        cloned(server, admin, "cors") as settings,
        running(replace(settings, cors_origins=("https://pages.example",))) as service,
    ):
        allowed = await service.visitor.options("/v1/deals/a-deal/events", headers=asked)
        other = await service.visitor.get("/v1/deals", headers={"Origin": "https://other.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://pages.example"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in other.headers


async def test_cross_origin_calls_are_not_allowed_by_default(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/v1/deals", headers={"Origin": "https://pages.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_running_service_is_live_and_ready(visitor: httpx.AsyncClient) -> None:
    assert (await visitor.get("/health/live")).json() == {"status": "live"}
    ready = await visitor.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_service_whose_commits_wait_is_not_ready(
    service: Service, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk or a standby that does not answer shows in commits only: reads, and so the other checks, work."""
    monkeypatch.setattr(commit_health, "LATE_SECONDS", 0.1)
    writer = await asyncpg.connect(service.settings.owner_url)
    try:
        async with writer.transaction(), asyncio.timeout(PATIENCE):
            await writer.execute("SELECT pg_advisory_xact_lock($1)", LOG_LOCK_KEY)
            posted = asyncio.create_task(service.client.post(f"/v1/deals/{slug}/events", json=registered()))
            while (ready := await service.visitor.get("/health/ready")).status_code == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (ready.json()["database"], ready.json()["recorder"]) == (True, False)
        assert "commit" in ready.json()["reason"]
        assert (await posted).status_code == 201
        assert (await service.visitor.get("/health/ready")).status_code == 200
        # After a batch was given up, the next one waits as well: readiness does not change in between.
        monkeypatch.setattr(commit_health, "STUCK_SECONDS", 0.1)
        monkeypatch.setattr(log_lock, "LOCK_TIMEOUT_SECONDS", 2.0)
        async with writer.transaction():
            await writer.execute("SELECT pg_advisory_xact_lock($1)", LOG_LOCK_KEY)
            posted = asyncio.create_task(service.client.post(f"/v1/deals/{slug}/events", json=pledged()))
            while not posted.done():
                await asyncio.sleep(0.05)
                await service.app.state.services.recorder.abandon_stuck_batch()
            given_up = await posted
            assert (given_up.status_code, given_up.json()["code"]) == (503, "database_lost")
            assert (await service.visitor.get("/health/ready")).json()["recorder"] is False
    finally:
        await writer.close()
    monkeypatch.undo()
    assert (await service.client.post(f"/v1/deals/{slug}/events", json=pledged())).status_code == 201
    assert (await service.visitor.get("/health/ready")).status_code == 200


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://registry_app@/registry?host=/no/such/folder", "database_down"),
        ("postgresql://registry_app@127.0.0.1:9/registry", "database_down"),
        (None, "database_refuses"),
    ],
)
async def test_readiness_says_in_words_why_postgres_cannot_be_used(
    service: Service, url: str | None, code: str
) -> None:
    with pytest.raises(postgres.ERRORS) as error:
        await asyncpg.connect(url or str(service.settings.database_url), password="wrong")
    warning = failed_check(error.value)
    assert warning.code == code
    # Readiness is public.
    assert error.type.__name__ not in str(warning)
    assert "registry_app" not in str(warning)


@pytest.fixture
def logged(
    service: Service, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], own_logging: None
) -> Callable[[], str]:
    """Configure logging as `serve` does, and return a function that reads the log."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    log_to_stderr()
    root.handlers[:] = handlers
    # A logger that is kept on first use would keep this configuration in later tests.
    structlog.configure(cache_logger_on_first_use=False)
    # The requests of other tests.
    service.app.state.access_log.write()
    capsys.readouterr()

    def read_log() -> str:
        service.app.state.access_log.write()
        return caplog.text + capsys.readouterr().err

    return read_log


async def test_request_is_one_log_line_without_key_body_or_query(
    service: Service, slug: str, logged: Callable[[], str]
) -> None:
    announcement = {**registered("A secret title"), "note": "a secret note"}
    await service.client.post(f"/v1/deals/{slug}/events", json=announcement)
    await service.client.get("/v1/deals", params={"q": "a-secret-question"})
    await service.client.post(
        f"/v1/deals/{slug}/events", content=b'{"a secret body"', headers={"Content-Type": "application/json"}
    )
    log = logged()
    lines = [line for line in log.splitlines() if "answered" in line]
    assert len(lines) == 3
    assert '"path":"/v1/deals","route":"/v1/deals",' in log
    assert '"route":"/v1/deals/{deal}/events",' in log
    assert '"address":"127.0.0.1","principal":"admin",' in log
    assert '"status":201,' in log
    assert "secret" not in log
    assert service.settings.admin_key is not None
    assert service.settings.admin_key not in log


async def test_wrong_keys_and_sign_ins_are_logged_without_the_key(service: Service, logged: Callable[[], str]) -> None:
    key = (await service.key("record"))["Authorization"].removeprefix("Bearer ")
    await service.visitor.get("/v1/deals", headers={"Authorization": "Bearer reg_wrong-key"})
    await service.visitor.post("/sign-in", data={"key": "reg_wrong-key", "then": "/"})
    await service.visitor.post("/sign-in", data={"key": key, "then": "/"})
    service.visitor.cookies.clear()
    log = logged()
    for event in ("invalid key", "sign-in failed", "signed in"):
        [line] = [line for line in log.splitlines() if event in line]
        assert "127.0.0.1" in line
    assert "reg_wrong" not in log
    assert key not in log


async def test_key_is_never_stored_or_logged(service: Service, slug: str, logged: Callable[[], str]) -> None:
    """Property 25: in no row of any table and in no line of the log, whatever the result of the request."""
    token = (await service.issue("record")).secret
    headers = {"Authorization": f"Bearer {token}"}
    recorded = await service.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=headers)
    assert recorded.status_code == 201
    for bad in ({"Authorization": f"Basic {token}"}, {"Authorization": f"Bearer {token}x"}, {"Authorization": token}):
        assert (await service.visitor.post(f"/v1/deals/{slug}/events", json=pledged(), headers=bad)).status_code == 401
    await service.visitor.post(f"/v1/deals/{slug}/events", json=registered(), headers=headers)
    await service.visitor.post(f"/v1/deals/{slug}/events?{token}=1", json=pledged(), headers=headers)
    assert token not in logged()
    tables = await service.pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = {}
    for table in (row["tablename"] for row in tables):
        rows = await service.pool.fetch(f'SELECT t::text AS text FROM "{table}" AS t')
        found[table] = len(rows)
        whole = "\n".join(row["text"] for row in rows)
        for form in (token, token.encode().hex(), token.removeprefix("reg_")):
            assert form not in whole, table
    assert found["keys"] > 0
    assert found["events"] > 0
