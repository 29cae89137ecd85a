"""The panel at the end of pages: a link that stays, citations, proofs that verify, downloads, a feed."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from msgspec.structs import replace

from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import VerifierKey
from tests.api.announcements import registered
from tests.databases import Server
from tests.service import Service, cloned, running
from tests.web.conftest import Opens

DEAL = "/deals/sk-aws-ulsan"
PAGES = [
    "/",
    "/?region=KR",
    "/totals",
    "/compare",
    "/organizations",
    "/organizations/amazon-web-services",
    "/log",
    "/search?q=ulsan",
    DEAL,
    f"{DEAL}?effective_on=2025-07-01",
    f"{DEAL}?published_on=2025-07-01",
    f"{DEAL}/compare",
    f"{DEAL}/blame",
]


def panel(page: str) -> str:
    """The panel of a page."""
    return page[page.index('<section class="cite"') : page.index("</section>", page.index('<section class="cite"'))]


def links(text: str) -> dict[str, str]:
    """The addresses of links by their text."""
    found = re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>([^<]*)</a>', text)
    return {name: html.unescape(address) for address, name in found}


def text_of(panel: str, id: str) -> str:
    """The text of an element of the panel."""
    found = re.search(rf'id="{id}"[^>]*>(.*?)</', panel, re.DOTALL)
    assert found
    return html.unescape(found[1])


def head_of(page: str) -> str:
    """The head of a deal's page: its name, amounts and summary. Its charts also show what was recorded later."""
    return page[page.index('<header class="head">') : page.index("</header>", page.index('<header class="head">'))]


async def test_citation_of_sources_names_what_they_are_of(demo_reader: httpx.AsyncClient) -> None:
    for path, about in (("/blame", "Sources by field"), ("/blame?field=/pledges/total/amount", "Amount")):
        html = (await demo_reader.get(f"{DEAL}{path}", headers={"Accept-Language": "en"})).text
        title = re.search(r'property="og:title" content="([^"]*)"', html)
        assert title is not None
        assert about in title[1]
        assert "Ulsan" in title[1]


@pytest.mark.parametrize("path", PAGES)
async def test_permanent_link_shows_the_page_again_and_is_what_the_citations_name(
    demo_reader: httpx.AsyncClient, path: str
) -> None:
    shown = panel((await demo_reader.get(path)).text)
    url = links(shown)["Copy link"]
    assert "effective_on=" in url
    assert "position=" in url or "published_on=" in url
    again = await demo_reader.get(url)
    assert again.status_code == 200
    assert links(panel(again.text))["Copy link"] == url
    assert text_of(shown, "cite-text").endswith(url)
    for position in re.findall(r"position=(\d+)", url):
        assert f"log position {position}." in text_of(shown, "cite-text")
    assert f"url = {{{url}}}" in text_of(shown, "cite-bibtex")
    [item] = json.loads(text_of(shown, "cite-csl"))
    assert item["URL"] == url
    files = links(shown)
    for name, text in (("Download BibTeX", "cite-bibtex"), ("Download CSL-JSON", "cite-csl")):
        assert unquote(files[name].partition(";charset=utf-8,")[2]) == text_of(shown, text)


async def test_citation_has_the_day_of_the_registry_on_which_it_was_issued(server: Server, admin: Any) -> None:
    # A zone in which it is another day than in UTC at this hour.
    is_evening = datetime.now(UTC).hour >= 11
    zone = "Etc/GMT-14" if is_evening else "Etc/GMT+12"
    async with cloned(server, admin, "cited") as settings, running(replace(settings, time_zone=zone)) as service:
        posted = await service.client.post("/v1/deals/cited/events", json=registered())
        recorded_at = datetime.fromisoformat(posted.json()["events"][0]["recorded_at"])
        day = service.app.state.services.calendar.day_of(recorded_at)
        assert day != datetime.now(UTC).date()
        [item] = json.loads(text_of(panel((await service.client.get("/deals/cited")).text), "cite-csl"))
        assert item["issued"] == {"date-parts": [[day.year, day.month, day.day]]}
        package = (await service.client.get("/v1/export/deals.datapackage.json")).json()
        assert f"day = {{{day.day}}}" in package["citation"]["bibtex"]


async def test_permanent_link_of_a_deal_stays_when_the_log_grows(pages: Service, reader: httpx.AsyncClient) -> None:
    url = links(panel((await reader.get(DEAL)).text))["Copy link"]
    before = (await reader.get(url)).text
    body = {"effective_on": "2025-11-20", "event": {"type": "stage_changed", "stage": "operating"}}
    assert (await pages.client.post("/v1/deals/sk-aws-ulsan/events", json=body)).status_code == 201
    after = (await reader.get(url)).text
    assert head_of(after) == head_of(before)
    assert head_of((await reader.get(DEAL)).text) != head_of(before)


async def test_certificates_of_a_deal_a_total_and_an_event_verify(demo_reader: httpx.AsyncClient) -> None:
    keys = [VerifierKey.parse(line) for line in (await demo_reader.get("/v1/log/keys")).text.split()]
    event = (await demo_reader.get("/v1/deals/sk-aws-ulsan/events?limit=1")).json()["events"][0]["id"]
    for path, name in (
        (DEAL, "Certificate of this state"),
        ("/totals?unit=KRW", "Certificate of this total"),
        ("/totals?group_by=stage", "Certificate of this total"),
        ("/totals?group_by=organization", "Certificate of this total"),
        ("/?region=KR", "Certificate of this list"),
        ("/?organization=sk-group&role=investor", "Certificate of this list"),
        ("/?q=ulsan&currency=USD&amount_min=1000000000", "Certificate of this list"),
        ("/search?q=ulsan", "Certificate of this list"),
        ("/compare?q=aws&from.effective_on=2025-06-17&to.effective_on=2025-10-31", "Certificate of this comparison"),
        ("/compare?from.effective_on=2025-06-17&to.effective_on=2025-10-31", "Certificate of this comparison"),
        (f"/events/{event}", "Inclusion proof"),
    ):
        address = links(panel((await demo_reader.get(path)).text))[name]
        bundle = (await demo_reader.get(address)).content
        assert str(verify_bundle(bundle, keys).proves), path


@pytest.mark.parametrize("query", ["q=ulsan", "currency=USD&unit=KRW", "currency=USD&amount_min=1000000000"])
async def test_totals_of_a_list_have_the_same_answer_and_certificate_from_the_api(
    demo_reader: httpx.AsyncClient, query: str
) -> None:
    keys = [VerifierKey.parse(line) for line in (await demo_reader.get("/v1/log/keys")).text.split()]
    page = await demo_reader.get(f"/totals?{query}")
    found = links(panel(page.text))
    answer = (await demo_reader.get(found["Download JSON"])).json()["totals"]["overall"]
    certificate = (await demo_reader.get(found["Certificate of this total"])).content
    assert json.loads(certificate)["total"]["columns"] == answer["columns"]
    assert verify_bundle(certificate, keys).proves.code == "proves_total"
    assert "Selected deals" in page.text
    assert "totals of deals (" in text_of(panel(page.text), "cite-text")
    # A change of the currency or the grouping keeps the filters.
    hidden = re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', page.text)
    assert {f"{name}={value}" for name, value in hidden} >= {one for one in query.split("&") if "unit" not in one}
    listed = {
        row["deal"] for row in (await demo_reader.get(f"/v1/deals?{query.replace('&unit=KRW', '')}")).json()["deals"]
    }
    assert {line["deal"] for line in answer["lines"]} <= listed


async def test_feed_is_that_of_the_page(demo_reader: httpx.AsyncClient) -> None:
    for path, query in (
        (DEAL, "?deal=sk-aws-ulsan"),
        ("/organizations/amazon-web-services", "?organization=amazon-web-services"),
        ("/", ""),
    ):
        page = (await demo_reader.get(path)).text
        address = f"/v1/events.atom{query}"
        assert links(panel(page))["Follow changes (feed)"] == address
        assert f'<link rel="alternate" type="application/atom+xml" href="{address}">' in page
        assert "<entry>" in (await demo_reader.get(address)).text


async def test_panel_names_the_checkpoint_that_covers_the_page(demo_reader: httpx.AsyncClient) -> None:
    note = (await demo_reader.get("/log/checkpoint")).text.splitlines()
    shown = panel((await demo_reader.get(f"{DEAL}?position=170")).text)
    assert note[2] in html.unescape(shown)


async def test_page_of_another_host_is_not_cached_for_this_one(demo_reader: httpx.AsyncClient) -> None:
    other = await demo_reader.get(DEAL, headers={"Host": "elsewhere.localhost"})
    assert "elsewhere.localhost" in panel(other.text)
    assert "elsewhere.localhost" not in (await demo_reader.get(DEAL)).text


@pytest.mark.parametrize("script", [True, False])
async def test_citation_is_copied_with_a_script_and_can_be_read_without(window: Opens, script: bool) -> None:
    opened = await window(script=script)
    page = await opened.open(DEAL)
    button = page.locator('[data-copies="cite-text"]')
    assert await button.is_visible() == script
    text = await page.locator("#cite-text").inner_text()
    assert "position=" in text
    if script:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await button.click()
        await page.wait_for_function(
            "document.querySelector('[data-copies=\"cite-text\"]').textContent.startsWith('✓')"
        )
        assert await page.evaluate("navigator.clipboard.readText()") == text
