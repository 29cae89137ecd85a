"""The API's documentation in a browser: nothing is loaded from elsewhere, and an operation can be tried."""

from __future__ import annotations

from tests.web.conftest import Opens


async def test_an_operation_can_be_tried(window: Opens) -> None:
    page = await (await window()).open("/docs")
    await page.locator("#operations-Deals-get_deal .opblock-summary-control").click()
    await page.get_by_role("button", name="Try it out").click()
    await page.get_by_placeholder("deal", exact=True).fill("sk-aws-ulsan")
    await page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table tbody .response-col_status").first
    await answer.wait_for()
    assert (await answer.inner_text()).startswith("200")


async def test_each_kind_of_problem_has_its_place(window: Opens) -> None:
    page = await (await window()).open("/docs/problems#rule_broken")
    assert await page.locator("h2:target").inner_text() == "The record cannot take this"
