"""The pages of the log and of an event over HTTP."""

from __future__ import annotations

import csv
import io
import re

import httpx
import pytest

from registry.web import log as log_pages
from tests.service import Service
from tests.web.html import text_of


async def test_event_page_shows_the_verified_inclusion_proof(reader: httpx.AsyncClient, pages: Service) -> None:
    audit = (await reader.get("/v1/deals/sk-aws-ulsan/events")).json()
    revised = next(e for e in audit["events"] if e["type"] == "pledge_revised")
    html = (await reader.get(f"/events/{revised['id']}")).text
    verdict = text_of(html[html.index('<p class="verdict">') :].partition("</p>")[0])
    assert "Verified by the server:" in verdict
    title = (await reader.get("/v1/deals/sk-aws-ulsan")).json()["title"]["en"]
    assert title in verdict
    assert "sk-aws-ulsan" not in verdict
    assert revised["leaf_hash"] in html
    assert "registry verify event.json --key log.keys" in html
    assert f"position={revised['position']}" in html


async def test_original_of_a_corrected_event_is_no_quotation(
    reader: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    path = f"/v1/deals/{slug}/events"
    title = {"type": "deal_registered", "title": {"en": "Misspelt"}}
    id = (await pages.client.post(path, json={"event": title})).json()["events"][0]["id"]
    replacement = {"event": {**title, "title": {"en": "Spelt"}}}
    correction = {"type": "event_corrected", "corrects": id, "replacement": replacement, "reason": "A slip."}
    assert (await pages.client.post(path, json={"event": correction})).status_code == 201
    html = (await reader.get(f"/events/{id}")).text
    assert re.search(r"Original: Misspelt\s*</p>", html)


async def test_log_pages_through_events_of_one_type_like_its_json(
    reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "EVENTS_PER_PAGE", 3)
    positions: list[str] = []
    path = "/log?type=pledge_announced&effective_on=2026-11-01"
    for _ in range(20):
        html = (await reader.get(path)).text
        on_page = re.findall(r'<td class="num" data-l="Position">(\d+)</td>', html)
        # The page has the last event first; the other forms have the order of the log.
        events = (await reader.get(link(html, "Download JSON"))).json()["events"]
        assert [str(e["position"]) for e in reversed(events)] == on_page
        assert {e["type"] for e in events} == {"pledge_announced"}
        table = list(csv.DictReader(io.StringIO((await reader.get(link(html, "Download CSV"))).text)))
        assert [row["position"] for row in reversed(table)] == on_page
        positions += on_page
        if "Earlier events" not in html:
            break
        path = link(html, "Earlier events")
    all_events = (await reader.get("/v1/events?type=pledge_announced&limit=1000")).json()["events"]
    assert positions == [str(e["position"]) for e in reversed(all_events)]
    assert len(positions) > 6


def link(html: str, text: str) -> str:
    """The address behind a text."""
    found = re.search(rf'href="([^"]*)">{text}', html)
    assert found is not None
    return found[1].replace("&amp;", "&")


async def test_log_refers_to_deals_and_organizations_by_name(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/log?type=deals_related&effective_on=2026-10-02")).text
    table = html[html.index('class="stack log"') :]
    assert "SK and AWS: AI data centre in Ulsan</a>" in table
    assert not re.search(r'href="/(deals|organizations)/([a-z0-9-]+)[^"]*">\2<', table)
    # Related deals have names as well.
    assert "seven-firms-korea-2030" not in text_of(table)


async def test_reason_that_the_list_cuts_keeps_the_name_of_its_language(reader: httpx.AsyncClient) -> None:
    page = "/log?type=claim_preferred&effective_on=2026-11-01&lang={}"
    for language, marks in (("ko", 1), ("en", 0)):
        html = (await reader.get(page.format(language))).text
        assert html.count("…(영어)") == marks
        # It is cut after a word.
        assert re.search(r"only the selected one marks them( as)?…", text_of(html))
