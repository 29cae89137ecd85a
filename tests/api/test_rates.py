"""Exchange rates over HTTP: the list, converted totals as of a position, entity tags, and the age of the rates."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import httpx

from registry.append.clock import ClockGuard
from registry.append.rates import import_rates
from registry.domain.quotes import RateRow
from registry.projections.exchange_rates import REFRESH_SECONDS
from tests.service import Service


async def get(client: httpx.AsyncClient, url: str, **params: Any) -> Any:
    answer = await client.get(url, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_rates_are_listed_by_source_day_and_currency(visitor: httpx.AsyncClient) -> None:
    body = await get(visitor, "/v1/rates", day="2025-10-26", source="ECB", currency="KRW")
    (rate,) = body["rates"]
    assert rate == {
        "source": "ECB",
        "day": "2025-10-24",
        "base": "EUR",
        "currency": "KRW",
        "value": "1671.49",
        "position": 0,
        "recorded_at": None,
    }
    assert body["sources"][0]["source"] == "ECB"
    assert body["sources"][0]["first_day"] == "1999-01-04"
    every = await get(visitor, "/v1/rates", day="2025-10-26")
    assert len({rate["currency"] for rate in every["rates"]}) > 25
    assert (await get(visitor, "/v1/rates", day="1990-01-01"))["rates"] == []
    assert (await visitor.get("/v1/rates", params={"currency": "KRW", "until": "2025"})).status_code == 400


async def test_import_changes_no_answer_at_a_position_fixed_before_it(
    service: Service, visitor: httpx.AsyncClient
) -> None:
    amount = {"value": "3200", "currency": "VND"}
    events = [
        {"event": {"type": "deal_registered", "title": {"en": "A plant"}}},
        {"effective_on": "2025-10-29", "event": {"type": "pledge_announced", "pledge": "total", "amount": amount}},
    ]
    posted = await service.client.post("/v1/deals/rated-plant/events", json=events)
    assert posted.status_code == 201, posted.text
    position = posted.json()["position"]
    question = {"currency": "USD", "effective_on": "2025-12-31"}
    fixed = await visitor.get("/v1/totals", params={**question, "position": position})
    open_log = await get(visitor, "/v1/totals", **question)
    assert fixed.json()["totals"] == open_log["totals"]
    columns = {(c["nature"], c["basis"]): c for c in open_log["totals"]["overall"]["columns"]}
    assert columns["commitment", "once"]["high_open"] is True
    assert open_log["newest_rate"] == {"source": "ECB", "day": "2025-12-31", "age_days": 0}
    etag = (await visitor.get("/v1/deals/rated-plant")).headers["etag"]

    row = RateRow("SBV", "USD", "VND", date(2025, 10, 29), Decimal(32))
    await import_rates(service.pool, [row], ClockGuard())
    await asyncio.sleep(REFRESH_SECONDS)
    after = await get(visitor, "/v1/totals", **question)
    line = next(line for line in after["totals"]["overall"]["lines"] if line["deal"] == "rated-plant")
    assert (line["rule"], Decimal(line["high"]), line["rate"]["source"]) == ("counted", Decimal(100), "SBV, ECB")
    again = await visitor.get("/v1/totals", params={**question, "position": position})
    assert again.content == fixed.content
    (listed,) = (await get(visitor, "/v1/rates", day="2025-10-29", source="SBV"))["rates"]
    assert datetime.fromisoformat(listed["recorded_at"]) <= datetime.now(UTC)
    assert (await get(visitor, "/v1/rates", day="2025-10-29", source="SBV", position=position))["rates"] == []
    assert (await visitor.get("/v1/deals/rated-plant")).headers["etag"] != etag
    page = await visitor.get("/totals", params={"unit": "USD", "lang": "en", "effective_on": "2025-12-31"})
    assert "Newest exchange rate" in page.text


async def test_totals_without_a_conversion_have_no_newest_rate(visitor: httpx.AsyncClient) -> None:
    assert (await get(visitor, "/v1/totals", effective_on="2025-12-31"))["newest_rate"] is None


async def test_readiness_warns_that_the_newest_rate_is_old(visitor: httpx.AsyncClient) -> None:
    ready = await visitor.get("/health/ready")
    newest = (await get(visitor, "/v1/totals", currency="USD"))["newest_rate"]
    assert ready.status_code == 200
    assert any(newest["day"] in warning for warning in ready.json().get("warnings", [])) is (newest["age_days"] > 10)
