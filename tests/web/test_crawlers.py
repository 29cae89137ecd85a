"""What search engines and previews of links read: robots.txt, the sitemap, the metadata of pages."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser
from xml.etree import ElementTree

import httpx
import pytest
from msgspec.structs import replace

from registry.web import crawlers
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import NO_TLS, cloned, running
from tests.web.test_cite_panel import DEAL

LOC = "{http://www.sitemaps.org/schemas/sitemap/0.9}loc"


async def locations(reader: httpx.AsyncClient, path: str) -> list[str]:
    """The addresses in a sitemap or an index of sitemaps."""
    answer = await reader.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/xml")
    return [found.text or "" for found in ElementTree.fromstring(answer.content).iter(LOC)]


async def test_sitemap_lists_every_deal_and_organization_and_each_address_is_a_page(
    demo_reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawlers, "ADDRESSES_PER_FILE", 4)
    files = await locations(demo_reader, "/sitemap.xml")
    found = [address for file in files for address in await locations(demo_reader, file)]
    listed = (await demo_reader.get("/v1/deals?limit=1000")).json()["deals"]
    base = str(demo_reader.base_url).rstrip("/")
    deals = [address.removeprefix(f"{base}/deals/") for address in found if "/deals/" in address]
    assert deals == sorted(deal["deal"] for deal in listed)
    organizations = [
        address.removeprefix(f"{base}/organizations/") for address in found if "/organizations/" in address
    ]
    named = (await demo_reader.get("/v1/organizations?limit=1000")).json()["organizations"]
    assert organizations == sorted(one["organization"] for one in named)
    for address in [found[0], *found[1:8], found[-1]]:
        assert (await demo_reader.get(address)).status_code == 200, address
    assert (await demo_reader.get(f"/sitemaps/deals/{len(files)}")).status_code == 404


async def test_robots_admit_pages_and_no_other_points_in_time(demo_reader: httpx.AsyncClient) -> None:
    text = (await demo_reader.get("/robots.txt")).text
    rules = RobotFileParser()
    rules.parse(text.splitlines())
    for path in ("/", DEAL, "/organizations", "/about", "/static/style.css"):
        assert rules.can_fetch("any", path), path
    for path in ("/record", "/v1/deals", "/embed/trend"):
        assert not rules.can_fetch("any", path), path
    assert "Disallow: /*?" in text.splitlines()
    [sitemap] = rules.site_maps() or []
    assert (await demo_reader.get(urlsplit(sitemap).path)).status_code == 200


async def test_registry_that_needs_a_key_keeps_crawlers_away(demo_server: Server, admin: Any) -> None:
    async with (
        cloned(demo_server, admin, "private") as settings,
        running(replace(settings, public_read=False)) as service,
        httpx.AsyncClient(base_url=service.url, timeout=PATIENCE, verify=NO_TLS) as visitor,
    ):
        assert (await visitor.get("/robots.txt")).text == "User-agent: *\nDisallow: /\n"
        for path in ("/sitemap.xml", "/sitemaps/pages", "/sitemaps/deals/1"):
            assert (await visitor.get(path)).status_code == 404


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_preview_of_a_link_names_what_the_page_shows(demo_reader: httpx.AsyncClient, language: str) -> None:
    page = (await demo_reader.get(DEAL, params={"lang": language})).text
    found = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', page))
    base = str(demo_reader.base_url).rstrip("/")
    assert found["og:title"] in page[page.index("<h1") : page.index("</h1>")]
    assert found["og:description"] == found["description"]
    assert re.search("7tn|7조", found["description"])
    assert found["og:url"] == f"{base}{DEAL}"
    assert f'<link rel="canonical" href="{base}{DEAL}">' in page
    picture = await demo_reader.get(found["og:image"])
    assert picture.content.startswith(b"\x89PNG")
    past = (await demo_reader.get(f"{DEAL}?effective_on=2025-07-01")).text
    assert 'property="og:url" content="' + f"{base}{DEAL}?effective_on=2025-07-01&amp;position=" in past
    for path in ("/", "/totals", "/organizations", "/log", "/about"):
        other = (await demo_reader.get(path)).text
        assert '<meta name="description" content="' in other
        assert 'property="og:title" content="' in other
