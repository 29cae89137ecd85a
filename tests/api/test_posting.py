"""Posting: what is taken, what is answered, and what makes sending again harmless."""

from __future__ import annotations

import httpx

from tests.api.announcements import pledged, registered


async def test_an_announcement_is_recorded(client: httpx.AsyncClient, slug: str) -> None:
    answer = await client.post(f"/v1/deals/{slug}/events", json=registered())
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["deal"] == slug
    assert body["version"] == 1
    assert answer.headers["etag"] == '"1"'
    event = body["events"][0]
    assert answer.headers["location"] == f"/v1/events/{event['id']}"
    assert (await client.get(answer.headers["location"])).json()["position"] == event["position"]
