"""The API's documentation in Chromium: it contacts no other host, and operations can be tried."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.service import Service
from tests.web.conftest import Opens


@pytest.mark.drill
async def test_reference_follows_the_colour_scheme_says_its_language_and_runs_an_operation(
    window: Opens, pages: Service
) -> None:
    """One test, because the reference of all operations takes Chromium five seconds of processor time to show."""
    # With a key the service has the time to build it.
    assert (await pages.client.get("/openapi.json")).status_code == 200
    page = await (await window()).open("/docs")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator("html.dark-mode")).to_be_visible()
    assert await page.evaluate(background) != "rgb(255, 255, 255)"
    await page.emulate_media(color_scheme="light")
    await expect(page.locator("html.dark-mode")).to_have_count(0)
    assert await page.evaluate(background) == "rgb(255, 255, 255)"
    await expect(page.locator(".about")).to_contain_text("This reference is in English.")

    await page.locator("#operations-Deals-get_deal .opblock-summary-control").click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_placeholder("deal", exact=True).fill("sk-aws-ulsan")
    await page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table tbody .response-col_status").first
    await answer.wait_for()
    assert (await answer.inner_text()).startswith("200")


async def test_problem_type_is_a_heading_of_its_page(window: Opens) -> None:
    page = await (await window()).open("/docs/problems#rule_broken")
    heading = page.locator("h2:target")
    await expect(heading).to_be_visible()
    assert await heading.get_attribute("id") == "rule_broken"


async def test_page_of_problems_leads_to_the_first_page(window: Opens) -> None:
    page = await (await window()).open("/docs/problems")
    await page.get_by_role("link", name="Investment Registry").click()
    await expect(page.locator("header.top")).to_be_visible()
