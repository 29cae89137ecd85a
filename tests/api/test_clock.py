"""The clock guard over HTTP: the answer to a post, and readiness."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from registry.append.clock import ClockGuard
from tests.service import Service


@pytest.mark.parametrize(
    ("language", "text"), [("en", "ahead of the database's"), ("ko", "데이터베이스 시각보다 3600초 빠릅니다")]
)
async def test_post_with_a_wrong_clock_is_answered_503_until_the_clock_is_set_right(
    service: Service, visitor: httpx.AsyncClient, language: str, text: str
) -> None:
    log_writer = service.app.state.services.recorder.log_writer
    right = log_writer.clock_guard
    slug, body = f"wrong-clock-{language}", {"event": {"type": "deal_registered", "title": {"en": "A plant"}}}
    post: dict[str, Any] = {"json": body, "headers": {"Accept-Language": language}}
    try:
        log_writer.clock_guard = ClockGuard(clock=lambda: datetime.now(UTC) + timedelta(hours=1))
        size = await service.size()
        refused = await service.client.post(f"/v1/deals/{slug}/events", **post)
        assert (refused.status_code, refused.json()["code"]) == (503, "clock_unsafe")
        assert text in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) > 0
        ready = await visitor.get("/health/ready")
        assert (ready.status_code, ready.json()["clock"], ready.json()["database"]) == (503, False, True)
        assert "ahead of the database's" in ready.json()["reason"]
        assert await service.size() == size
    finally:
        log_writer.clock_guard = right
    assert (await visitor.get("/health/ready")).json()["clock"] is True
    assert (await service.client.post(f"/v1/deals/{slug}/events", **post)).status_code == 201
