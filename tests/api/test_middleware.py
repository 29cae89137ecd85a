"""What operators see: ids, a line a request, figures; and what nobody sees: a key, a body."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import httpx
import pytest
import structlog

from registry.cli.server import log_to_stderr
from registry.infra import keys
from tests.api.announcements import pledged, registered
from tests.api.conftest import Service


async def test_every_answer_has_an_id_and_no_type_is_guessed(client: httpx.AsyncClient, slug: str) -> None:
    for url in ("/v1/deals", f"/v1/deals/{slug}", "/nothing", "/docs", "/metrics"):
        answer = await client.get(url)
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


async def test_a_request_id_is_taken_over_when_it_is_one(visitor: httpx.AsyncClient) -> None:
    given = await visitor.get("/health/live", headers={"X-Request-Id": "proxy-1234567"})
    assert given.headers["x-request-id"] == "proxy-1234567"
    for text in ("short", "x" * 65, 'a"b,c{d}e f'):
        assert (await visitor.get("/health/live", headers={"X-Request-Id": text})).headers["x-request-id"] != text


async def test_the_figures_tell_of_requests_the_recorder_and_the_log(service: Service, slug: str) -> None:
    await service.client.post(f"/v1/deals/{slug}/events", json=[registered(), pledged()])
    await service.client.get(f"/v1/deals/{slug}")
    await service.client.get(f"/v1/no-such-thing/{slug}")
    answer = await service.visitor.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(lines['registry_http_requests_total{method="POST",route="/v1/deals/{deal}/events",status="201"}']) >= 1
    assert float(lines['registry_http_request_seconds_count{method="GET",route="/v1/deals/{deal}"}']) >= 1
    assert float(lines["registry_recorder_group_events_count"]) >= 1
    assert float(lines["registry_recorder_waiting"]) == 0
    assert float(lines["registry_log_position"]) == await service.size()
    assert slug not in answer.text


async def test_the_service_says_that_it_lives_and_is_ready(visitor: httpx.AsyncClient) -> None:
    assert (await visitor.get("/health/live")).json() == {"status": "live"}
    ready = await visitor.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


@pytest.fixture
def logged(
    service: Service, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], str]]:
    """What the service logs as `serve` sets it up, but to the test instead of standard error."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    log_to_stderr()
    root.handlers[:] = handlers

    def told() -> str:
        service.app.state.access_log.write()
        return caplog.text + capsys.readouterr().err

    yield told
    root.setLevel(level)
    structlog.reset_defaults()


async def test_a_request_is_one_line_without_key_or_question(
    service: Service, slug: str, logged: Callable[[], str]
) -> None:
    announcement = {**registered("A secret title"), "note": "a secret note"}
    await service.client.post(f"/v1/deals/{slug}/events", json=announcement)
    await service.client.get("/v1/deals", params={"q": "a-secret-question"})
    await service.client.post(
        f"/v1/deals/{slug}/events", content=b'{"a secret body"', headers={"Content-Type": "application/json"}
    )
    told = logged()
    lines = [line for line in told.splitlines() if "answered" in line]
    assert len(lines) == 3
    assert '"path":"/v1/deals",' in told
    assert '"status":201,' in told
    assert "secret" not in told
    assert service.settings.admin_key is not None
    assert service.settings.admin_key not in told


async def test_a_key_is_never_stored_or_logged(service: Service, slug: str, logged: Callable[[], str]) -> None:
    """Property 25: in no row of any table, and in no line of the log, whatever comes of the request."""
    token = await keys.create(service.pool, "whose", ("record",))
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
