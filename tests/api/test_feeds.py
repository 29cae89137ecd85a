"""Feeds: the newest events first, with the filters of the log, in the formats that feed readers know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import feedparser
import httpx

from tests.api.announcements import announced, pledged, registered, revised
from tests.service import Service


async def grown(service: Service, slug: str) -> list[str]:
    """Record a deal of three events; return their ids, the newest first."""
    body = [registered(), pledged(), revised("2025-07-01", "6000000000")]
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=body)
    return [event["id"] for event in reversed(answer.json()["events"])]


async def parsed(visitor: httpx.AsyncClient, url: str) -> Any:
    answer = await visitor.get(url)
    feed = feedparser.parse(answer.content, response_headers=dict(answer.headers))
    assert not feed.bozo, feed.bozo_exception
    assert feed.version == "atom10"
    return feed


async def test_atom_feed_has_the_newest_events_of_a_deal_first(service: Service, slug: str) -> None:
    ids = await grown(service, slug)
    feed = await parsed(service.visitor, f"/v1/events.atom?deal={slug}")
    assert [entry.id for entry in feed.entries] == [f"urn:uuid:{id}" for id in ids]
    newest = feed.entries[0]
    assert newest.title.endswith(slug)
    assert [link.href for link in newest.links if link.rel == "via"] == ["https://news.example/plant"]
    page = next(link.href for link in newest.links if link.type == "text/html")
    assert (await service.visitor.get(page)).status_code == 200
    assert feed.feed.links[0].href == f"{service.url}/v1/events.atom?deal={slug}"


async def test_feed_is_paged_to_its_oldest_event(service: Service, slug: str) -> None:
    ids = await grown(service, slug)
    url, found = f"/v1/events.atom?deal={slug}&limit=2", []
    while url:
        feed = await parsed(service.visitor, url)
        found += [entry.id.removeprefix("urn:uuid:") for entry in feed.entries]
        url = next((link.href for link in feed.feed.links if link.rel == "next"), "")
    assert found == ids


async def test_feed_of_a_list_has_the_events_of_its_deals(service: Service, slug: str) -> None:
    ids = await grown(service, slug)
    other = f"{slug}-other"
    await grown(service, other)
    site = announced("2025-07-02", "site_announced", site="first", name={"en": "A site"}, place="KR-31", power_mw="50")
    stage = announced("2025-07-03", "stage_changed", stage="construction")
    answer = await service.client.post(f"/v1/deals/{slug}/events", json=[site, stage])
    ids = [event["id"] for event in reversed(answer.json()["events"])] + ids
    await service.client.post(
        f"/v1/deals/{other}/events", json=[{**site, "event": {**site["event"], "place": "KR-26"}}]
    )
    region = "region=KR-31&stage=construction"
    for query in (region, f"{region}&deal={slug}", f"{region}&currency=USD&amount_min=5000000000"):
        entries: list[str] = []
        url = f"/v1/events.atom?{query}&limit=2"
        while url:
            feed = await parsed(service.visitor, url)
            entries += [one.id.removeprefix("urn:uuid:") for one in feed.entries if one.title.endswith((slug, other))]
            url = next((link.href for link in feed.feed.links if link.rel == "next"), "")
        assert entries == ids
    body = (await service.visitor.get(f"/v1/feed.json?{region}&type=pledge_revised&q={slug}")).json()
    assert [item["id"].removeprefix("urn:uuid:") for item in body["items"]] == [ids[2]]
    for query in ("extent=within", "amount_min=5"):
        assert (await service.visitor.get(f"/v1/events.atom?{query}")).status_code == 400


async def test_json_feed_has_the_same_entries_as_the_atom_feed(service: Service, slug: str) -> None:
    await grown(service, slug)
    for query in (f"deal={slug}", "type=pledge_announced,pledge_revised", "source=https://news.example/plant"):
        feed = await parsed(service.visitor, f"/v1/events.atom?{query}")
        answer = await service.visitor.get(f"/v1/feed.json?{query}")
        assert answer.headers["content-type"].startswith("application/feed+json")
        body = answer.json()
        assert body["version"] == "https://jsonfeed.org/version/1.1"
        assert [item["id"] for item in body["items"]] == [entry.id for entry in feed.entries]
        for item, entry in zip(body["items"], feed.entries, strict=True):
            assert (item["title"], item["content_text"]) == (entry.title, entry.content[0].value)
            event = (await service.visitor.get(f"/v1/events/{item['_registry']['id']}")).json()
            assert item["_registry"].items() <= event.items()


async def test_several_types_are_one_filter_of_the_log_the_stream_and_the_feeds(service: Service, slug: str) -> None:
    await grown(service, slug)
    both = "type=pledge_announced,pledge_revised"
    listed = (await service.visitor.get(f"/v1/events?deal={slug}&{both}")).json()["events"]
    assert [event["type"] for event in listed] == ["pledge_announced", "pledge_revised"]
    streamed: list[tuple[str, str]] = []
    url = f"/v1/events/stream?deal={slug}&{both}&after=0"
    async with service.visitor.stream("GET", url) as answer:
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if name == "data":
                streamed.append((fields["id"], fields["event"]))
                if len(streamed) == 2:
                    break
    assert streamed == [(str(event["position"]), event["type"]) for event in listed]
    refused = await service.visitor.get("/v1/events?type=pledge_announced,nothing")
    assert (refused.status_code, refused.json()["parameter"]) == (400, "type")


async def test_feed_without_events_is_valid(service: Service, new_slug: Callable[[], str]) -> None:
    assert (await parsed(service.visitor, f"/v1/events.atom?deal={new_slug()}")).entries == []
    assert (await service.visitor.get(f"/v1/feed.json?deal={new_slug()}")).json()["items"] == []


async def test_feed_titles_are_in_the_language_of_the_reader(service: Service, slug: str) -> None:
    await grown(service, slug)
    korean = await service.visitor.get(f"/v1/feed.json?deal={slug}", headers={"Accept-Language": "ko"})
    english = await service.visitor.get(f"/v1/feed.json?deal={slug}")
    assert korean.json()["language"] == "ko"
    assert korean.json()["title"] == f"투자 등록부 – {slug}"
    titles = [item["title"] for item in korean.json()["items"]]
    assert titles != [item["title"] for item in english.json()["items"]]
