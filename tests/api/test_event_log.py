"""The log: events in order, by filter and one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.announcements import SOURCE, corrected, pledged, registered, revised
from tests.api.test_lists import pages, party, record
from tests.service import Service


async def test_log_is_read_in_order_from_any_position(service: Service, slug: str) -> None:
    start = await service.size()
    posted = await record(
        service.client, slug, registered(), pledged(), *(revised(f"2025-07-{d:02}", "7") for d in range(1, 6))
    )
    met: list[int] = []
    async for page in pages(service.client, f"/v1/events?after={start}&limit=3"):
        met += [event["position"] for event in page["events"]]
    assert met == [event["position"] for event in posted["events"]]


async def test_log_is_filtered_by_type_deal_organization_and_source(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    slug, firm = new_slug(), new_slug()
    start = (await client.get("/v1/deals")).json()["position"]
    url = f"https://www.news.example/{slug}/"
    named = {**party(firm, "investor"), "sources": [{**SOURCE, "url": url}]}
    posted = await record(client, slug, registered(), named, pledged(by=[firm]))
    await client.post(
        f"/v1/organizations/{firm}/events", json={"event": {"type": "organization_registered", "name": {"en": "Firm"}}}
    )
    ids = [event["id"] for event in posted["events"]]

    async def found(**asked: Any) -> list[str]:
        answer = await client.get("/v1/events", params={"after": start, **asked})
        return [event["id"] for event in answer.json()["events"]]

    assert await found(deal=slug) == ids
    assert await found(type="pledge_announced") == ids[2:]
    assert (await found(organization=firm))[:2] == ids[1:]
    assert len(await found(organization=firm)) == 3
    assert await found(source=f"http://news.example/{slug}") == [ids[1]]
    assert await found(organization=firm, deal=slug, type="pledge_announced") == [ids[2]]
    assert await found(organization=new_slug()) == []


async def test_event_is_shown_as_recorded_and_as_corrected(client: httpx.AsyncClient, slug: str) -> None:
    posted = await record(client, slug, registered(), {**pledged(), "note": "why"})
    id = posted["events"][1]["id"]
    event = {"type": "pledge_announced", "pledge": "total", "amount": {"value": "6", "currency": "USD"}}
    correction = await record(client, slug, corrected(id, event=event))
    shown = (await client.get(f"/v1/events/{id}")).json()
    assert (shown["deal"], shown["version"], shown["position"]) == (slug, 2, posted["events"][1]["position"])
    assert (shown["note"], shown["recorded_by"], shown["published_on"]) == ("why", "admin", "2025-06-16")
    assert shown["event"]["amount"]["value"] == "5000000000"
    assert shown["reads"]["event"]["amount"]["value"] == "6"
    assert shown["corrected_by"] == [correction["events"][0]["id"]]
    assert (await client.get(shown["proof"])).status_code == 200


async def test_any_text_is_accepted_as_a_source_filter(client: httpx.AsyncClient) -> None:
    for text in ("[", "https://[", "//℀.example", "가" * 2000, "?", "https://"):
        answer = await client.get("/v1/events", params={"source": text})
        assert (answer.status_code, answer.json()) == (200, {"events": []}), text


async def test_sources_of_maximum_length_are_found(client: httpx.AsyncClient, slug: str) -> None:
    """Every identifier of a source fits into the index, also in scripts with three bytes for a letter."""
    letters = "".join(chr(0xAC00 + n * 7919 % 11172) for n in range(1970))
    long = {**SOURCE, "url": f"https://news.example/{letters}"}
    unnamed = {"publisher": letters[:300], "title": letters[300:600], "locator": letters[600:900]}
    posted = await record(client, slug, {**registered(), "sources": [long]}, {**pledged(), "sources": [unnamed]})
    found = (await client.get("/v1/events", params={"source": long["url"]})).json()["events"]
    assert [event["id"] for event in found] == [posted["events"][0]["id"]]


@pytest.mark.parametrize("id", ["x", "00000000-0000-7000-8000-000000000000", "%00"])
async def test_unknown_event_is_not_found(client: httpx.AsyncClient, id: str) -> None:
    answer = await client.get(f"/v1/events/{id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
