"""The API and the pages derive a deal's inactivity from the same events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.announcements import SOURCE, pledged, registered

ENGLISH = {"Accept-Language": "en"}


def source(published_on: str) -> list[dict[str, Any]]:
    return [{**SOURCE, "published_on": published_on}]


@pytest.mark.parametrize(
    ("registered_on", "inactive"),
    [("2026-10-01", False), ("2020-01-01", True)],
    ids=["recent-registration", "old-registration"],
)
async def test_source_of_the_registration_counts_as_news_in_the_api_and_on_the_page(
    client: httpx.AsyncClient, slug: str, registered_on: str, inactive: bool
) -> None:
    registration = {**registered(), "sources": source(registered_on)}
    await client.post(f"/v1/deals/{slug}/events", json=registration)
    await client.post(f"/v1/deals/{slug}/events", json={**pledged("2020-01-01"), "sources": source("2020-01-01")})
    as_of = {"effective_on": "2026-11-01"}
    deal = (await client.get(f"/v1/deals/{slug}", params=as_of)).json()
    page = await client.get(f"/deals/{slug}", params=as_of, headers=ENGLISH)
    assert (deal["remarks"]["quiet"] is not None) == inactive
    assert ("No recent updates" in page.text) == inactive


async def test_day_to_come_does_not_say_that_nothing_will_be_published(client: httpx.AsyncClient, slug: str) -> None:
    today = datetime.now(UTC).date()
    announced = {**registered(), "sources": source(str(today - timedelta(days=30)))}
    await client.post(f"/v1/deals/{slug}/events", json=announced)
    for day, also in ((today, ""), (today + timedelta(days=2000), f";today={today}")):
        as_of = {"effective_on": str(day)}
        answer = await client.get(f"/v1/deals/{slug}", params=as_of)
        assert answer.json()["remarks"]["quiet"] is None
        # Once the day has come, the same version is quiet.
        assert answer.headers["ETag"] == f'"1;{day}{also}"'
        page = await client.get(f"/deals/{slug}", params=as_of, headers=ENGLISH)
        assert page.status_code == 200
        assert "No recent updates" not in page.text


async def test_quiet_deal_stays_quiet_on_a_day_to_come(client: httpx.AsyncClient, slug: str) -> None:
    body = {**registered(), "sources": source("2020-01-01")}
    await client.post(f"/v1/deals/{slug}/events", json=body)
    today = datetime.now(UTC).date()
    as_of = {"effective_on": str(today + timedelta(days=400))}
    answer = await client.get(f"/v1/deals/{slug}", params=as_of)
    assert answer.json()["remarks"]["quiet"]["since"] == "2021-07-01"
    assert answer.headers["ETag"] == f'"1;{as_of["effective_on"]}"'
