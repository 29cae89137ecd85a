"""The page of search results, and the search field: over HTTP, and in Chromium with and without scripts."""

from __future__ import annotations

import html
import re

import httpx
import pytest
from playwright.async_api import expect

from tests.conftest import drill
from tests.web.conftest import Opens
from tests.web.html import main_of
from tests.web.test_browser import violations


def sections(page: str) -> dict[str, list[str]]:
    """The links of each kind of hit."""
    found = re.findall(r'(?s)<section class="found" data-kind="(\w+)">(.*?)</section>', page)
    return {kind: re.findall(r'<li><a href="([^"?]*)', section) for kind, section in found}


@pytest.mark.parametrize(
    "q", ["data center", "mipo", "AWS Ulsan", "데이터 센터", "미포 국가산업단지", "upi.com ulsan", "Ulsann AWS"]
)
async def test_a_deal_is_found_by_what_people_call_it(demo_reader: httpx.AsyncClient, q: str) -> None:
    page = main_of((await demo_reader.get("/search", params={"q": q})).text)
    assert sections(page)["deal"][0] == "/deals/sk-aws-ulsan"
    assert "<mark>" in page


async def test_each_kind_has_its_section_and_leads_to_its_page(reader: httpx.AsyncClient) -> None:
    found = sections(main_of((await reader.get("/search?q=울산")).text))
    assert found["place"] == ["/"]
    assert "/deals/sk-aws-ulsan" in found["deal"]
    found = sections(main_of((await reader.get("/search?q=아마존")).text))
    assert found["organization"][0] == "/organizations/amazon-web-services"
    source = sections(main_of((await reader.get("/search?q=upi")).text))["source"][0]
    assert (await reader.get(source)).status_code == 200


async def test_a_misspelt_word_is_said_to_be_replaced(reader: httpx.AsyncClient) -> None:
    page = main_of((await reader.get("/search?q=umicroe&lang=en")).text)
    assert re.search(r'class="similar"[^>]*>[^<]*umicroe[^<]*umicore', page)
    assert "Nothing found" in main_of((await reader.get("/search?q=zzzzzzzzzzzz&lang=en")).text)


async def test_typed_markup_is_shown_as_text(reader: httpx.AsyncClient) -> None:
    page = (await reader.get("/search", params={"q": "<b>ulsan</b>"})).text
    assert html.escape("<b>ulsan</b>") in page
    assert "<b>ulsan" not in page


@pytest.mark.parametrize(("language", "width", "typed"), [("ko-KR", 390, "미포"), drill("en-US", 1280, "ulsan aw")])
async def test_suggestions_are_chosen_by_keyboard(window: Opens, language: str, width: int, typed: str) -> None:
    reader = await window(language, width)
    page = await reader.open("/organizations")
    field, options = page.locator("#q"), page.locator("#suggestions [role=option]")
    await page.keyboard.press("/")
    await expect(field).to_be_focused()
    await page.keyboard.type(typed)
    await expect(options.first).to_be_visible()
    await expect(field).to_have_attribute("aria-expanded", "true")
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.keyboard.press("Escape")
    await expect(options.first).to_be_hidden()
    await page.keyboard.type("s" if language == "en-US" else " 국가")
    await expect(page.locator('#suggestions [data-href^="/deals/sk-aws-ulsan"]')).to_be_visible()
    chosen = page.locator("#suggestions [aria-selected=true]")
    for _ in range(await options.count()):
        await page.keyboard.press("ArrowDown")
        if "/deals/sk-aws-ulsan" in (await chosen.get_attribute("data-href") or ""):
            break
    assert await field.get_attribute("aria-activedescendant") == await chosen.get_attribute("id")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile("/deals/sk-aws-ulsan"))


async def test_search_works_without_scripts_and_keeps_the_point_in_time(window: Opens) -> None:
    reader = await window("en-US", 390, script=False)
    page = await reader.open("/?published_on=2025-06-21")
    await page.locator("#q").fill("AWS")
    await page.locator("#q").press("Enter")
    await page.wait_for_url(re.compile(r"/search\?.*published_on=2025-06-21"))
    await expect(page.locator("main .found[data-kind=deal] li", has_text="Ulsan")).to_be_visible()
