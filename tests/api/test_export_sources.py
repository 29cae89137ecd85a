"""The columns of sources: each row names the sources of the events that it rests on, at any point in time."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.api.announcements import announced, pledged, registered, revised
from tests.api.test_exports import parquet_table, workbook_rows
from tests.databases import Server
from tests.service import Service, cloned, running

COLUMNS = ("source_publishers", "source_urls", "source_published_on")


def citing(announcement: dict[str, Any], *sources: tuple[str, str]) -> dict[str, Any]:
    """An announcement with sources: publishers, and the days of their publication."""
    cited = [{"publisher": name, "url": f"https://{name}.example/{day}", "published_on": day} for name, day in sources]
    return {**announcement, "sources": cited}


@pytest_asyncio.fixture(scope="module")
async def filled(server: Server, admin: Any) -> AsyncIterator[Service]:
    """A service with a deal of several sources, of which one is corrected, one voided and one claimed."""
    async with cloned(server, admin, "export_sources") as settings, running(settings) as service:
        path = "/v1/deals/ulsan/events"
        site = announced("2025-06-20", "site_announced", site="a", place="KR-31")
        jobs = announced("2025-06-20", "metric_reported", metric="jobs", basis="planned", value="9")
        first = [
            citing(registered(), ("upi", "2025-06-16"), ("yonhap", "2025-06-16")),
            citing(pledged(), ("upi", "2025-06-16")),
            citing(site, ("yonhap", "2025-06-20")),
            citing(jobs, ("wrong", "2025-06-20")),
            citing(revised("2025-07-01", "6000000000"), ("reuters", "2025-07-02")),
            citing(revised("2025-07-03", "7000000000"), ("hoax", "2025-07-03")),
        ]
        answer = await service.client.post(path, json=first)
        assert answer.status_code == 201, answer.text
        events = [event["id"] for event in answer.json()["events"]]
        reason = "The clerk cited the wrong paper."
        replacement = {"sources": citing({}, ("right", "2025-06-20"))["sources"]}
        correction = {"type": "event_corrected", "corrects": events[3], "replacement": replacement, "reason": reason}
        amount = {"value": "5100000000", "currency": "USD"}
        claim = {"claim": "ft", "about": events[1], "field": "/pledges/total/amount", "value": amount}
        later = [
            {"event": correction},
            {"event": {"type": "event_voided", "voids": events[5], "reason": reason}},
            citing({"event": {"type": "claim_reported", **claim}}, ("ft", "2025-07-04")),
        ]
        for announcement in later:
            answer = await service.client.post(path, json=announcement)
            assert answer.status_code == 201, answer.text
        for slug in ("bare", "other"):
            answer = await service.client.post(f"/v1/deals/{slug}/events", json={**registered(slug), "sources": []})
            assert answer.status_code == 201, answer.text
        yield service


async def table(service: Service, kind: str, **query: Any) -> list[dict[str, str]]:
    """The rows of a file of CSV with the columns of sources."""
    answer = await service.visitor.get(f"/v1/export/{kind}.csv", params={"sources": "true", **query})
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.parametrize(
    "query",
    [{}, {"effective_on": "2025-06-18"}, {"position": "5"}, {"position": "6"}, {"published_on": "2025-06-19"}],
    ids=str,
)
async def test_deal_names_the_sources_of_its_state(filled: Service, query: dict[str, str]) -> None:
    found = {row["deal"]: row for row in await table(filled, "deals", **query)}
    state = (await filled.visitor.get("/v1/deals/ulsan", params=query)).json()
    cited = [(one["publisher"], one["url"], one["published_on"]) for one in state["sources"]]
    assert [found["ulsan"][name] for name in COLUMNS] == ["; ".join(each) for each in zip(*cited, strict=True)]
    assert len(cited) >= 2
    if not query:
        assert [found["bare"][name] for name in COLUMNS] == ["", "", ""]


async def test_items_name_the_sources_of_the_events_about_them(filled: Service) -> None:
    [pledge] = await table(filled, "pledges")
    assert (pledge["value"], pledge["source_publishers"]) == ("6000000000", "upi; reuters; ft")
    assert pledge["source_published_on"] == "2025-06-16; 2025-07-02; 2025-07-04"
    log = (await filled.visitor.get("/v1/events", params={"deal": "ulsan"})).json()["events"]
    reported, hoax = log[3]["position"], log[5]["position"]
    [as_recorded] = await table(filled, "pledges", position=hoax)
    assert as_recorded["source_publishers"] == "upi; reuters; hoax"
    [site] = await table(filled, "sites")
    assert site["source_urls"] == "https://yonhap.example/2025-06-20"
    [jobs] = await table(filled, "metrics")
    assert jobs["source_publishers"] == "right"
    assert [row["source_publishers"] for row in await table(filled, "metrics", position=reported)] == ["wrong"]


async def test_formats_and_metadata_have_the_columns(filled: Service) -> None:
    visitor = filled.visitor
    [row] = parquet_table((await visitor.get("/v1/export/pledges.parquet?sources=true")).content)
    assert row["source_publishers"] == ["upi", "reuters", "ft"]
    assert len(row["source_urls"]) == len(row["source_published_on"]) == 3
    [row] = workbook_rows((await visitor.get("/v1/export/pledges.xlsx?sources=true")).content)
    assert row["source_publishers"] == "upi; reuters; ft"
    package = (await visitor.get("/v1/export/pledges.datapackage.json?sources=true")).json()
    described = package["resources"][0]
    head = (await visitor.get(described["path"])).text.splitlines()[0]
    assert head.split(",") == [field["name"] for field in described["schema"]["fields"]]
    assert head.endswith("source_published_on")
    for resource in package["resources"]:
        assert (await visitor.get(resource["path"])).status_code == 200
    assert "source_urls" not in (await visitor.get("/v1/export/pledges.csv")).text
    assert (await visitor.get("/v1/export/deals.csv?sources=true&organization=none")).text.count("\r\n") == 1


async def test_deals_of_several_reads_have_their_own_sources(filled: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await table(filled, "deals")
    monkeypatch.setattr("registry.queries.cited_sources.DEALS_PER_READ", 1)
    assert await table(filled, "deals") == whole
