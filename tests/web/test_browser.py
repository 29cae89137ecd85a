"""Pages in a real browser: each in both languages and widths; the whole story with a script, without, and by keyboard.

Every window also proves that no page complains on the console or asks another host; axe finds no violation (WCAG AA).
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

from registry.events.types import Amount
from registry.web.figures import figures
from registry.web.words import words
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
    "portfolio": ("/?lang=en", "en-US", 1280, False, 1180),
    "deal": (f"{ULSAN}?lang=en&effective_on=2025-06-21", "en-US", 1280, False, 900),
    "deal-ko-dark": ("/deals/aws-korea-2031?lang=ko", "ko-KR", 1280, True, 900),
    "totals": ("/totals?lang=en&unit=USD", "en-US", 1280, False, 900),
    "phone": (f"{ULSAN}?lang=ko", "ko-KR", 390, False, 900),
}


async def test_pictures_are_taken(window: Opens, pictures: Path) -> None:
    """The pictures of the documentation, of nothing but the demo deals: kept where REGISTRY_PICTURES says."""
    for name, (path, language, width, dark, height) in PICTURES.items():
        reader = await window(language, width, dark=dark)
        await reader.page.set_viewport_size({"width": width, "height": height})
        page = await reader.open(path)
        taken = await page.screenshot(path=pictures / f"{name}.png")
        assert taken.startswith(b"\x89PNG")
    reader = await window()
    page = await reader.open(f"{ULSAN}?published_on=2025-06-22")
    assert (await page.locator("svg.axes").screenshot(path=pictures / "two-axes.png")).startswith(b"\x89PNG")


async def every_page(pages: Service) -> list[str]:
    """The pages, with an event's and the form's among them."""
    audit = (await pages.client.get(f"/v1{ULSAN}/events")).json()["events"]
    revised = next(e["id"] for e in audit if e["type"] == "pledge_revised")
    forms = ("/record", f"{ULSAN}/record", f"{ULSAN}/record?type=parties_joined", f"{ULSAN}/record?corrects={revised}")
    return [f"/events/{revised}", *EVERY_PAGE, *forms]


@pytest.mark.parametrize(
    ("language", "width", "dark", "looked_at"), [("ko-KR", 390, False, 99), ("en-US", 1280, True, 6)]
)
async def test_every_page_is_clean_and_fits(
    window: Opens, pages: Service, language: str, width: int, dark: bool, looked_at: int
) -> None:
    reader = await window(language, width, dark=dark)
    await sign_in(reader.page, pages.url)
    for path in (await every_page(pages))[:looked_at]:
        page = await reader.open(path)
        assert await violations(page) == [], path
        await fits(page, language, width)
    # One of them is of a deal that was not known then: the answer is a 404, which a browser notes.
    reader.complaints = [c for c in reader.complaints if "404" not in c]


async def test_every_page_is_there_without_a_script(window: Opens, pages: Service) -> None:
    reader = await window("en-US", 390, script=False)
    await sign_in(reader.page, pages.url)
    for path in await every_page(pages):
        page = await reader.open(path)
        assert await page.locator("h1").count() == 1, path
        # What only a script can move is not offered.
        assert await page.locator("input[type=range]:visible").count() == 0, path
        await fits(page, "en-US", 390)
    reader.complaints = [c for c in reader.complaints if "404" not in c]


async def fits(page: Page, language: str, width: int) -> None:
    """It speaks the reader's language, and nothing but a chart or a wide table, which scroll, exceeds the window."""
    assert await page.locator("html").get_attribute("lang") == language[:2], page.url
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, page.url


async def sign_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/sign-in")
    await page.locator("input[name=key]").fill(ADMIN_KEY)
    await page.locator("main button").click()
    await expect(page.locator("form[action='/sign-out'] button")).to_be_visible()


async def clean(page: Page, script: bool) -> None:
    """No violation; axe is a script itself, and cannot look where there are none."""
    if script:
        assert await violations(page) == []


ULSAN_NAMED = {"en": "SK and AWS: AI data centre in Ulsan", "ko": "SK·AWS 울산 AI 데이터센터"}


@pytest.mark.parametrize(
    ("language", "width", "script"),
    [("en-US", 1280, True), ("ko-KR", 390, True), ("ko-KR", 1280, False), ("en-US", 390, False)],
)
async def test_the_whole_story(window: Opens, pages: Service, language: str, width: int, script: bool) -> None:
    """Open the demo, move in time, ask why, record, see it, correct it, compare, verify its proof."""
    slug = f"story-{language.lower()}-{width}"
    spoken, figured = words(language[:2]), figures(language[:2])
    say, label = spoken.say, spoken.label
    reader = await window(language, width, script=script)
    page = await reader.open("/")
    await expect(page.get_by_role("heading", level=1)).to_have_text(say("Investment commitments"))

    # Ask why of a total.
    await page.get_by_role("link", name=say("why? %(field)s", field=say("Committed or pledged")), exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(say("How the totals are made"))
    await expect(page.get_by_text(label("rule", "part_of")).first).to_be_visible()

    # Open Ulsan, and move to 2025-06-21.
    await page.get_by_role("link", name=say("Portfolio"), exact=True).click()
    await page.get_by_role("link", name=ULSAN_NAMED[language[:2]], exact=True).first.click()
    beside = spoken.ngettext("One more pledge stands beside it.", "%(n)s more pledges stand beside it.", 1) % {"n": 1}
    await expect(page.get_by_text(beside)).to_be_visible()
    await page.get_by_label(say("True on"), exact=True).fill("2025-06-21")
    await page.get_by_role("button", name=say("Show"), exact=True).click()
    past = say("how it was on %(date)s", date=figured.day(date(2025, 6, 21)))
    await expect(page.locator(".past")).to_contain_text(past)
    await expect(page.locator(".lead")).to_contain_text(figured.sum("7000000000000", "KRW"))
    assert "effective_on=2025-06-21" in page.url
    await expect(page.get_by_text(beside)).to_have_count(0)

    # One change back: the amount was another one.
    for day in (date(2025, 6, 20), date(2025, 6, 16)):
        before = f"{say('the change before:')} {figured.day(day)}"
        await page.locator("#clocks").get_by_role("link", name=before).first.click()
        await expect(page.locator(".past")).to_contain_text(figured.day(day))
    await expect(page.locator(".lead")).to_contain_text(figured.sum("5100000000", "USD"))
    await page.get_by_role("link", name=say("Back to now")).click()
    await expect(page.locator(".past")).to_have_count(0)

    # Ask why of a figure.
    amount = say("why? %(field)s", field=f"{label('field', 'pledges')} total · {label('field', 'amount')}")
    await page.get_by_role("link", name=amount, exact=True).first.click()
    rests = page.locator("#panel") if script else page.locator("main")
    await expect(rests).to_contain_text(label("event", "pledge_revised"))
    await expect(rests).to_contain_text(figured.sum("5100000000", "USD"))

    # Record an announcement: see what would change, then record it.
    preview, record = say("See what would change"), say("Record it")
    await sign_in(page, pages.url)
    await page.goto(f"{pages.url}/record")
    await page.locator("input[name=new]").fill(slug)
    await page.get_by_role("button", name=say("Go on")).nth(1).click()
    await page.locator("[name='event/title/en']").fill("A data centre of the story")
    await page.get_by_label(say("True in the world from")).fill("2025-01-02")
    await page.get_by_role("button", name=preview).click()
    await page.get_by_role("button", name=record).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("A data centre of the story")
    await page.get_by_role("link", name=say("Record an announcement")).click()
    await page.get_by_role("link", name=label("event", "pledge_announced"), exact=True).click()
    await page.locator("[name='event/pledge']").fill("first")
    await page.get_by_label(label("field", "amount"), exact=True).fill("약 2조4천억 원")
    reading = f"KRW 2,400,000,000,000, {label('qualifier', 'about')}"
    if script:
        await expect(page.locator("output.reading")).to_have_text(f"→ {reading}")
    await page.get_by_label(say("True in the world from")).fill("2025-01-02")
    await page.get_by_label(say("Publisher"), exact=True).fill("A paper")
    await page.locator("[name='sources/0/published_on']").fill("2025-01-03")
    await page.get_by_role("button", name=preview).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(say("What would change"))
    await expect(page.get_by_text(reading)).to_be_visible()
    assert await pages.pool.fetchval("SELECT count(*) FROM events WHERE stream = $1", f"deal/{slug}") == 1
    await clean(page, script)
    await page.get_by_role("button", name=record).click()
    first = figured.money(Amount(currency="KRW", value="2400000000000", qualifier="about"))
    await expect(page.locator(".sum").first).to_have_text(first)
    await clean(page, script)

    # It was written down wrongly: correct it.
    await page.locator(".events > li").first.get_by_role("link", name=say("Correct this record")).click()
    await clean(page, script)
    await page.get_by_label(label("field", "amount"), exact=True).fill("약 2조5천억 원")
    await page.get_by_label(say("Why (kept in the audit)")).fill("A digit was misread.")
    await page.get_by_role("button", name=preview).click()
    await page.get_by_role("button", name=record).click()
    second = figured.money(Amount(currency="KRW", value="2500000000000", qualifier="about"))
    await expect(page.locator(".sum").first).to_have_text(second)
    corrected = label("change", "record")
    await expect(page.locator(".events").get_by_text(corrected).first).to_be_visible()
    # The correction is no step of the amount: it stands with what it corrected.
    await expect(page.locator(".steps li")).to_have_count(1)
    await expect(page.locator(".steps li")).to_contain_text(first)

    # Compare: a correction, and no growth.
    moments = [row["recorded_at"] for row in await pages.pool.fetch(RECORDED, f"deal/{slug}")]
    before = moments[1].isoformat().replace("+00:00", "Z")
    await page.goto(f"{pages.url}/deals/{slug}/compare?from.recorded_at={before}")
    review = page.locator(".review")
    await expect(review.get_by_role("heading")).to_contain_text([corrected])
    await expect(review.locator("del")).to_have_text([first])
    await expect(review.locator("ins")).to_have_text([second])

    # Verify its proof.
    await review.get_by_role("link", name=label("event", "event_corrected")).click()
    await expect(page.locator(".verdict").first).to_contain_text(say("The server finds that it holds:"))
    if script:
        good = say("Your browser computed it too: the event's bytes lead to the root that the log has signed.")
        await expect(page.get_by_text(good)).to_be_visible()


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


async def reach(page: Page, wanted: Locator) -> None:
    """Goes on with the tabulator until something is reached."""
    for _ in range(400):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("wanted => wanted === document.activeElement"):
            return
    raise AssertionError(f"The keyboard does not lead to {wanted}.")


async def test_by_keyboard_alone(window: Opens, pages: Service) -> None:
    """Skip to the content, find a deal, move a clock, open and close what a figure rests on, and record."""
    reader = await window()
    page = await reader.open("/")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "content"
    await reach(page, page.get_by_role("link", name=ULSAN_NAMED["en"], exact=True).first)
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(ULSAN))
    slider = page.get_by_role("slider", name="True on: move through the changes")
    await reach(page, slider)
    assert await slider.get_attribute("aria-valuetext") == "29 Oct 2025"
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator(".past")).to_contain_text("29 Aug 2025")
    await reach(page, page.get_by_role("link", name="why? Pledge total · Amount").first)
    await page.keyboard.press("Enter")
    await expect(page.locator("#panel")).to_be_visible()
    await expect(page.locator("#panel")).to_contain_text("On whose word")
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await expect(page.locator("#panel")).to_be_hidden()
    await reach(page, page.locator("svg.axes a").first)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("published_on=2025-06-16"))

    # Sign in, and record.
    await reader.open(f"/sign-in?then={ULSAN}/record?type=stage_changed")
    await reach(page, page.get_by_label("Key", exact=True))
    await page.keyboard.type(ADMIN_KEY)
    await page.keyboard.press("Enter")
    stage = page.locator("[name='event/stage']")
    await expect(stage).to_be_visible()
    await reach(page, stage)
    await page.keyboard.type("Operating")
    await reach(page, page.get_by_label("Publisher", exact=True))
    await page.keyboard.type("A paper")
    await reach(page, page.get_by_role("button", name="See what would change"))
    await page.keyboard.press("Enter")
    fault = page.locator(".fault").first
    await expect(fault).to_be_visible()
    await reach(page, page.locator("[name=effective_on]"))
    await page.keyboard.type("01052026")
    await reach(page, page.get_by_role("button", name="See what would change"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("What would change")
    await expect(page.locator(".changes ins")).to_contain_text("Operating")
    await reach(page, page.get_by_role("button", name="Record it"))
    reader.complaints = [c for c in reader.complaints if "422" not in c]


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
    reader = await window(dark=True)
    page = await reader.open(f"{ULSAN}?effective_on=2025-06-21")
    await page.emulate_media(media="print")
    # On paper nothing is dark, whatever the reader's screen is.
    assert await page.locator("svg.axes .plot").evaluate("plot => getComputedStyle(plot).fill") == "rgb(255, 255, 255)"
    assert (
        await page.locator(".past").evaluate("band => getComputedStyle(band).backgroundColor") == "rgb(255, 242, 207)"
    )
    await expect(page.locator(".printed")).to_contain_text("/deals/sk-aws-ulsan?effective_on=2025-06-21")
    await expect(page.locator("#clocks")).to_be_hidden()
    await expect(page.locator(".top nav")).to_be_hidden()
    await expect(page.locator(".past")).to_contain_text("21 Jun 2025")
