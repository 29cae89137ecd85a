"""What rests on a source, and its retraction in one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest_asyncio

from registry.domain.sources.identity import source_id
from tests.api.announcements import announced, pledged, registered
from tests.service import NO_TLS, Service

AMOUNT = "/pledges/total/amount"


def article(path: str, **more: Any) -> dict[str, Any]:
    return {"publisher": "Gazette", "url": f"https://www.gazette.test/{path}", "published_on": "2025-06-16", **more}


def cited(url: str) -> str:
    id = source_id(url)
    assert id is not None
    return id


@pytest_asyncio.fixture
async def deal(service: Service, new_slug: Callable[[], str]) -> tuple[str, str]:
    """A deal with a pledge of its own source, a site of two sources and a claim; the slug names the articles."""
    slug = new_slug()
    withdrawn, other = article(f"{slug}/withdrawn", title="A plant"), article(f"{slug}/other")
    events = [
        {**registered(), "sources": [other]},
        {**pledged(), "sources": [withdrawn]},
        {**announced("2025-06-16", "site_announced", site="songdo", place="KR-28"), "sources": [withdrawn, other]},
        {**announced("2025-06-16", "milestone_scheduled", milestone="m", planned="2027"), "sources": [other]},
        {
            "sources": [withdrawn],
            "event": {"type": "claim_reported", "claim": "c", "field": "/milestones/m/planned", "value": "2029"},
        },
    ]
    assert (await service.client.post(f"/v1/deals/{slug}/events", json=events)).status_code == 201
    return slug, cited(withdrawn["url"])


async def treatments(client: httpx.AsyncClient, source: str, **body: Any) -> dict[str, str]:
    answer = await client.post(f"/v1/sources/{source}/retraction?dry_run=true", json=body)
    assert answer.status_code == 200
    return {treated["type"]: treated["treatment"] for treated in answer.json()["treated"]}


async def test_source_lists_everything_that_rests_on_it(service: Service, deal: tuple[str, str]) -> None:
    slug, source = deal
    answer = (await service.client.get(f"/v1/sources/{source}")).json()
    assert answer["source"]["title"] == "A plant"
    assert {citation["deal"] for citation in answer["citations"]} == {slug}
    assert [citation["type"] for citation in answer["citations"]] == [
        "pledge_announced",
        "site_announced",
        "claim_reported",
    ]
    fields = {field["field"] for citation in answer["citations"] for field in citation["fields"]}
    assert {AMOUNT, "/sites/songdo/place"} <= fields
    assert "/milestones/m/planned" not in fields
    assert (await service.client.get(f"/v1/sources/{'0' * 32}")).status_code == 404


async def test_article_is_the_same_source_however_its_address_is_written(
    service: Service, deal: tuple[str, str]
) -> None:
    slug, source = deal
    again = {"publisher": "Gazette", "url": f"http://gazette.test/{slug}/withdrawn/#top"}
    event = {**announced("2025-07-01", "stage_changed", stage="construction"), "sources": [again]}
    assert (await service.client.post(f"/v1/deals/{slug}/events", json=event)).status_code == 201
    types = [one["type"] for one in (await service.client.get(f"/v1/sources/{source}")).json()["citations"]]
    assert types[-1] == "stage_changed"
    sources = (await service.client.get(f"/v1/deals/{slug}")).json()["sources"]
    assert {one["id"] for one in sources} == {source, cited(f"https://gazette.test/{slug}/other")}


async def test_source_pages_end_without_missing_or_repeated_events(service: Service, deal: tuple[str, str]) -> None:
    _, source = deal
    seen: list[str] = []
    address: str | None = f"/v1/sources/{source}?limit=1"
    while address is not None:
        answer = await service.client.get(address)
        seen += [citation["id"] for citation in answer.json()["citations"]]
        address = answer.links.get("next", {}).get("url")
    assert len(seen) == len(set(seen)) == 3


async def test_retraction_treats_every_event_that_rests_on_the_source_at_once(
    service: Service, deal: tuple[str, str]
) -> None:
    slug, source = deal
    before = (await service.client.get(f"/v1/deals/{slug}")).json()
    expected = {"pledge_announced": "void", "site_announced": "uncite", "claim_reported": "retract"}
    assert await treatments(service.client, source) == expected
    assert (await service.client.get(f"/v1/deals/{slug}")).json()["version"] == before["version"]
    answer = await service.client.post(f"/v1/sources/{source}/retraction", json={"reason": "Taken back."})
    assert answer.status_code == 201
    done = answer.json()
    assert {treated["type"]: treated["treatment"] for treated in done["treated"]} == expected
    assert AMOUNT in {change["field"] for change in done["changes"][f"deal/{slug}"]}
    after = (await service.client.get(f"/v1/deals/{slug}")).json()
    assert after["version"] == before["version"] + 3
    assert after["pledges"] == []
    assert after["sites"][0]["place"] == "KR-28"
    assert [claim["status"] for claim in after["milestones"][0]["claims"] if claim["claim"] == "c"] == ["retracted"]
    rest = (await service.client.get(f"/v1/sources/{source}")).json()["citations"]
    assert [citation["in_force"] for citation in rest] == [False, False, False]
    again = await service.client.post(f"/v1/sources/{source}/retraction", json={})
    assert (again.status_code, again.json()["treated"]) == (201, [])


async def test_event_that_later_events_need_stays_without_the_source(service: Service, deal: tuple[str, str]) -> None:
    slug, source = deal
    amount = {"value": "9", "currency": "USD"}
    revised = announced("2025-07-01", "pledge_revised", pledge="total", amount=amount)
    assert (await service.client.post(f"/v1/deals/{slug}/events", json=revised)).status_code == 201
    answer = await service.client.post(f"/v1/sources/{source}/retraction?dry_run=true", json={})
    pledge = next(treated for treated in answer.json()["treated"] if treated["type"] == "pledge_announced")
    assert (pledge["treatment"], pledge["problem"]["rule"]) == ("uncite", "would-strand-events")
    assert "void" not in pledge["choices"]
    assert (await service.client.post(f"/v1/sources/{source}/retraction", json={})).status_code == 201
    pledges = (await service.client.get(f"/v1/deals/{slug}")).json()["pledges"]
    assert pledges[0]["amount"]["value"] == "9"


async def test_editor_chooses_what_becomes_of_an_event(service: Service, deal: tuple[str, str]) -> None:
    slug, source = deal
    pledge = (await service.client.get(f"/v1/sources/{source}")).json()["citations"][0]["id"]
    body = {"treatments": [{"event": pledge, "treatment": "keep"}]}
    assert (await treatments(service.client, source, **body))["pledge_announced"] == "keep"
    assert (await service.client.post(f"/v1/sources/{source}/retraction", json=body)).status_code == 201
    assert (await service.client.get(f"/v1/deals/{slug}")).json()["pledges"][0]["pledge"] == "total"


async def test_retraction_covers_all_deals_and_is_refused_without_the_rights(
    service: Service, new_slug: Callable[[], str], deal: tuple[str, str]
) -> None:
    slug, source = deal
    other = new_slug()
    events = [registered(), {**pledged(), "sources": [article(f"{slug}/withdrawn")]}]
    assert (await service.client.post(f"/v1/deals/{other}/events", json=events)).status_code == 201
    url = f"/v1/sources/{source}/retraction"
    async with httpx.AsyncClient(base_url=service.url, verify=NO_TLS) as reader:
        assert (await reader.post(url, json={})).status_code == 401
    wrong = await service.client.post(url, json={"treatments": [{"event": "x", "treatment": "void"}]})
    assert wrong.status_code == 422
    assert (await service.client.post(url, json={})).status_code == 201
    for name in (slug, other):
        assert (await service.client.get(f"/v1/deals/{name}")).json()["pledges"] == []
