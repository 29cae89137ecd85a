"""Pages in a real browser: each in both languages and widths; the whole story with a script, without, and by keyboard.

Every window also proves that no page complains on the console or asks another host; axe finds no violation (WCAG AA).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.api.conftest import ADMIN_KEY, Service
from tests.web.conftest import Opens

ULSAN = "/deals/sk-aws-ulsan"
EVERY_PAGE = (
    "/",
    "/totals?unit=KRW&group_by=stage",
    "/compare?from.effective_on=2025-06-16&to.effective_on=2025-10-29",
    f"{ULSAN}?effective_on=2025-06-21",
    f"{ULSAN}/blame",
    f"{ULSAN}/compare?from.effective_on=2025-06-17&to.effective_on=2025-10-30",
    f"{ULSAN}?published_on=2025-01-01",
    "/organizations",
    "/organizations/amazon-web-services",
    "/log",
    "/search?q=AWS",
    "/sign-in",
)

axe = Axe()
RULES: Any = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]},
}


async def violations(page: Page) -> list[str]:
    """What axe finds wrong: the rule, and where."""
    found = (await axe.run(page, options=RULES)).response["violations"]
    return [f"{v['id']}: {[node['target'] for node in v['nodes']][:3]}" for v in found]


PICTURES = {
    "portfolio": ("/?lang=en", "en-US", 1280, False),
    "deal": (f"{ULSAN}?lang=en&effective_on=2025-06-21", "en-US", 1280, False),
    "deal-ko-dark": ("/deals/aws-korea-2031?lang=ko", "ko-KR", 1280, True),
    "totals": ("/totals?lang=en&unit=USD", "en-US", 1280, False),
    "phone": (f"{ULSAN}?lang=ko", "ko-KR", 390, False),
}


async def test_pictures_are_taken(window: Opens, pictures: Path) -> None:
    """The pictures of the documentation, of nothing but the demo deals: kept where REGISTRY_PICTURES says."""
    for name, (path, language, width, dark) in PICTURES.items():
        reader = await window(language, width, dark=dark)
        page = await reader.open(path)
        taken = await page.screenshot(path=pictures / f"{name}.png")
        assert taken.startswith(b"\x89PNG")
    reader = await window()
    page = await reader.open(f"{ULSAN}?published_on=2025-06-22")
    assert (await page.locator("svg.axes").screenshot(path=pictures / "two-axes.png")).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("language", "width", "dark", "some"), [("ko-KR", 390, False, EVERY_PAGE), ("en-US", 1280, True, EVERY_PAGE[:6])]
)
async def test_every_page_is_clean_and_fits(
    window: Opens, language: str, width: int, dark: bool, some: tuple[str, ...]
) -> None:
    reader = await window(language, width, dark=dark)
    for path in some:
        page = await reader.open(path)
        assert await violations(page) == [], path
        # Nothing but a chart or a wide table, which scroll by themselves, is wider than the window.
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        if "published_on=2025-01-01" in path:  # the answer is a 404, which a browser notes
            reader.complaints = [c for c in reader.complaints if "404" not in c]


async def sign_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/sign-in")
    await page.get_by_label("Key", exact=True).fill(ADMIN_KEY)
    await page.get_by_role("main").get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def clean(page: Page, script: bool) -> None:
    """No violation; axe is a script itself, and cannot look where there are none."""
    if script:
        assert await violations(page) == []


@pytest.mark.parametrize("script", [True, False], ids=["with a script", "without a script"])
async def test_the_whole_story(window: Opens, pages: Service, script: bool) -> None:
    """Open the demo, move in time, ask why, record, see it, correct it, compare, verify its proof."""
    slug = "story-with" if script else "story-without"
    reader = await window("en-US", 1280, script=script)
    page = await reader.open("/")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Investment commitments")

    # Ask why of a total.
    await page.get_by_role("link", name="why? Committed or pledged").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("How the totals are made")
    await expect(page.get_by_text("Does not count: it is part of an amount that does.").first).to_be_visible()

    # Open Ulsan, and move to 2025-06-21.
    await page.get_by_role("link", name="Portfolio").click()
    await page.get_by_role("link", name="SK and AWS: AI data centre in Ulsan", exact=True).first.click()
    await expect(page.get_by_text("One more pledge stands beside it.")).to_be_visible()
    await page.get_by_label("True on", exact=True).fill("2025-06-21")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator(".past")).to_contain_text("how it was on 21 Jun 2025")
    await expect(page.locator(".lead")).to_contain_text("pledge ₩7tn together")
    assert "effective_on=2025-06-21" in page.url
    await expect(page.get_by_text("One more pledge stands beside it.")).to_have_count(0)

    # One change back: the amount was another one.
    await page.locator("#clocks").get_by_role("link", name="the change before: 20 Jun 2025").click()
    await page.locator("#clocks").get_by_role("link", name="the change before: 16 Jun 2025").click()
    await expect(page.locator(".lead")).to_contain_text("pledge US$5.1bn together")
    await page.get_by_role("link", name="Back to now").click()
    await expect(page.locator(".past")).to_have_count(0)

    # Ask why of a figure.
    await page.get_by_role("link", name="why? Pledge total · Amount").first.click()
    rests = page.locator("#panel") if script else page.locator("main")
    await expect(rests).to_contain_text("Pledge revised")
    await expect(rests).to_contain_text("US$5.1bn")

    # Record an announcement: see what would change, then record it.
    await sign_in(page, pages.url)
    await page.goto(f"{pages.url}/record")
    await page.get_by_label("Or a new one").fill(slug)
    await page.get_by_role("button", name="Go on").nth(1).click()
    await page.get_by_label("Title (in English)").fill("A data centre of the story")
    await page.get_by_label("True in the world from").fill("2025-01-02")
    await page.get_by_role("button", name="See what would change").click()
    await page.get_by_role("button", name="Record it").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("A data centre of the story")
    await page.get_by_role("link", name="Record an announcement").click()
    await page.get_by_role("link", name="Pledge announced").click()
    await page.get_by_label(re.compile("^Pledge needed")).fill("first")
    await page.get_by_label("Amount", exact=True).fill("약 2조4천억 원")
    if script:
        await expect(page.locator("output.reading")).to_have_text("→ KRW 2,400,000,000,000, about")
    await page.get_by_label("True in the world from").fill("2025-01-02")
    await page.get_by_label("Publisher", exact=True).fill("A paper")
    await page.get_by_label("Published on", exact=True).fill("2025-01-03")
    await page.get_by_role("button", name="See what would change").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("What would change")
    await expect(page.get_by_text("KRW 2,400,000,000,000, about")).to_be_visible()
    assert await pages.pool.fetchval("SELECT count(*) FROM events WHERE stream = $1", f"deal/{slug}") == 1
    await clean(page, script)
    await page.get_by_role("button", name="Record it").click()
    await expect(page.locator(".sum").first).to_have_text("about ₩2.4tn")
    await clean(page, script)

    # It was written down wrongly: correct it.
    await page.locator(".events > li").first.get_by_role("link", name="Correct this record").click()
    await clean(page, script)
    await page.get_by_label("Amount", exact=True).fill("약 2조5천억 원")
    await page.get_by_label("Why (kept in the audit)").fill("A digit was misread.")
    await page.get_by_role("button", name="See what would change").click()
    await page.get_by_role("button", name="Record it").click()
    await expect(page.locator(".sum").first).to_have_text("about ₩2.5tn")
    await expect(page.locator(".events").get_by_text("The record was corrected").first).to_be_visible()

    # Compare: a correction, and no growth.
    moments = [row["recorded_at"] for row in await pages.pool.fetch(RECORDED, f"deal/{slug}")]
    before = moments[1].isoformat().replace("+00:00", "Z")
    await page.goto(f"{pages.url}/deals/{slug}/compare?from.recorded_at={before}")
    review = page.locator(".review")
    await expect(review.get_by_role("heading")).to_contain_text(["The record was corrected"])
    await expect(review.locator("del")).to_have_text(["about ₩2.4tn"])
    await expect(review.locator("ins")).to_have_text(["about ₩2.5tn"])

    # Verify its proof.
    await review.get_by_role("link", name="Record corrected").click()
    await expect(page.locator(".verdict").first).to_contain_text("The server finds that it holds")
    if script:
        await expect(page.get_by_text("Your browser computed it too")).to_be_visible()


RECORDED = "SELECT recorded_at FROM events WHERE stream = $1 ORDER BY position"


async def test_a_wrong_form_comes_back_with_its_faults(window: Opens, pages: Service) -> None:
    reader = await window()
    page = reader.page
    await sign_in(page, pages.url)
    await reader.open(f"{ULSAN}/record?type=pledge_announced")
    await page.get_by_label(re.compile("^Pledge needed")).fill("Not A Slug")
    await page.get_by_label("Amount", exact=True).fill("$5bn")
    await page.get_by_label("True in the world from").fill("2026-01-02")
    await page.get_by_role("button", name="See what would change").click()
    field = page.get_by_label(re.compile("^Pledge needed"))
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_have_value("Not A Slug")
    await expect(page.locator(".fault")).to_contain_text("A name in lower-case letters")
    assert await violations(page) == []
    await field.fill("total")
    await page.get_by_role("button", name="See what would change").click()
    await expect(page.get_by_role("alert")).to_contain_text("an id is never used twice")
    reader.complaints = [c for c in reader.complaints if "422" not in c and "409" not in c]


async def test_the_form_that_erases_warns_before_it_is_sent(window: Opens, pages: Service) -> None:
    reader = await window("ko-KR", 390)
    page = reader.page
    await page.goto(f"{pages.url}/sign-in?lang=en")
    await page.get_by_label("Key", exact=True).fill(ADMIN_KEY)
    await page.get_by_role("main").get_by_role("button", name="Sign in").click()
    await reader.open(ULSAN)
    await page.locator(".events > li").first.get_by_role("link", name="내용 삭제").click()
    await expect(page.locator(".verdict.bad")).to_contain_text("누구도 되돌릴 수 없습니다.")
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.get_by_label("이유").fill("법원의 명령")
    await page.get_by_role("button", name="바뀔 내용 보기").click()
    await expect(page.get_by_role("button", name="영구히 삭제")).to_be_visible()
    await expect(page.locator(".verdict.bad")).to_contain_text("누구도 되돌릴 수 없습니다.")
    assert await violations(page) == []


async def test_by_keyboard_alone(window: Opens) -> None:
    """Skip to the content, move a clock with the arrow keys, open and close what a figure rests on."""
    reader = await window()
    page = await reader.open(ULSAN)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "content"
    slider = page.get_by_role("slider", name="True on: move through the changes")
    await slider.focus()
    assert await slider.get_attribute("aria-valuetext") == "29 Oct 2025"
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator(".past")).to_contain_text("29 Aug 2025")
    why = page.get_by_role("link", name="why? Pledge total · Amount").first
    await why.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#panel")).to_be_visible()
    await expect(page.locator("#panel")).to_contain_text("On whose word")
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await expect(page.locator("#panel")).to_be_hidden()
    rectangle = page.locator("svg.axes a").first
    await rectangle.focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("published_on=2025-06-16"))


async def test_the_crosshair_can_be_dragged_to_another_point_in_time(window: Opens) -> None:
    reader = await window()
    page = await reader.open(f"{ULSAN}?published_on=2025-10-29")
    chart = page.locator("svg.axes")
    await chart.scroll_into_view_if_needed()
    handle = await page.locator("svg.axes .cross circle").bounding_box()
    box = await chart.bounding_box()
    assert handle is not None
    assert box is not None
    await page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.8, steps=5)
    await page.mouse.up()
    await expect(page.locator(".past")).to_contain_text("how it was on 16 Jun 2025, as published by 16 Jun 2025")
    await expect(page.locator(".lead")).to_contain_text("pledge US$5.1bn together")
    await page.go_back()
    await expect(page.locator(".past")).to_contain_text("as published by 29 Oct 2025")


async def test_a_printed_page_carries_its_address_and_no_controls(window: Opens) -> None:
    reader = await window()
    page = await reader.open(f"{ULSAN}?effective_on=2025-06-21")
    await page.emulate_media(media="print")
    await expect(page.locator(".printed")).to_contain_text("/deals/sk-aws-ulsan?effective_on=2025-06-21")
    await expect(page.locator("#clocks")).to_be_hidden()
    await expect(page.locator(".top nav")).to_be_hidden()
    await expect(page.locator(".past")).to_contain_text("21 Jun 2025")
