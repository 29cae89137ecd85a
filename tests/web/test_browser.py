"""Pages in Chromium: both languages, desktop and phone widths, with and without scripts, and by keyboard.

Every window also checks that no page logs an error or contacts another host; axe finds no violation (WCAG AA).

A journey of an editor is one test, with the mouse and by keyboard; hence the length of the file.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

from registry.domain.totals.rules import Rule
from registry.events.values import Amount
from registry.formatting.language import words
from registry.formatting.numbers import figures
from registry.i18n import render
from tests.conftest import drill, examples
from tests.service import ADMIN_KEY, Service
from tests.web.conftest import Opens

ULSAN = "/deals/sk-aws-ulsan"
EVERY_PAGE = (
    "/",
    "/totals?unit=KRW&group_by=stage",
    "/compare?from.effective_on=2025-06-16&to.effective_on=2025-10-29",
    f"{ULSAN}?effective_on=2025-06-21",
    f"{ULSAN}/blame",
    f"{ULSAN}/compare?from.effective_on=2025-06-17&to.effective_on=2025-10-30",
    "/organizations",
    "/organizations/amazon-web-services",
    "/log",
    "/search?q=AWS",
    "/sign-in",
    "/deals/unknown",
)
# Of each layout one: `make drills` looks at every page.
FIRST_PAGES = (
    "/",
    "/totals?unit=KRW&group_by=stage",
    f"{ULSAN}?effective_on=2025-06-21",
    "/record?deal=sk-aws-ulsan&type=pledge_announced",
)
# Filtered, converted, with warnings, before the first publication.
VARIANTS = (
    "/?stage=construction&sort=-amount&unit=stated&effective_on=2025-11-01",
    "/totals?unit=USD&group_by=organization",
    "/deals/amkor-songdo",
    f"{ULSAN}?published_on=2025-01-01",
    "/organizations/amazon-web-services/record?type=organization_named",
    "/record?deal=sk-aws-ulsan&type=parties_joined",
)

axe = Axe()
TAGS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
CONTRAST = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


async def violations(page: Page, among: dict[str, Any] = TAGS) -> list[str]:
    """The violations that axe finds: the rule, and where. Among all rules, contrast in `make drills` only.

    Measuring the contrast takes two thirds of axe's processor time. `test_colours.py` proves that of the palette.
    """
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(axe.axe_script)
    options: dict[str, Any] = {"resultTypes": ["violations"], "runOnly": among}
    if among is TAGS and examples(1) == 1:
        options["rules"] = {"color-contrast": {"enabled": False}}
    found = (await page.evaluate("options => axe.run(options)", options))["violations"]
    return [f"{v['id']}: {[node['target'] for node in v['nodes']][:3]}" for v in found]


PICTURES = {
    "portfolio": ("/?lang=en", "en-US", 1280, False, 1180),
    "deal": (f"{ULSAN}?lang=en&effective_on=2025-06-21", "en-US", 1280, False, 900),
    "deal-ko-dark": ("/deals/aws-korea-2031?lang=ko", "ko-KR", 1280, True, 900),
    "totals": ("/totals?lang=en&unit=USD", "en-US", 1280, False, 900),
    "phone": (f"{ULSAN}?lang=ko", "ko-KR", 390, False, 900),
}


@pytest.mark.drill
async def test_screenshots_for_the_documentation_can_be_taken(window: Opens, pictures: Path) -> None:
    """Screenshots of the demo deals. `REGISTRY_PICTURES` names the directory that keeps them."""
    for name, (path, language, width, dark, height) in PICTURES.items():
        reader = await window(language, width, dark=dark)
        await reader.page.set_viewport_size({"width": width, "height": height})
        page = await reader.open(path)
        taken = await page.screenshot(path=pictures / f"{name}.png")
        assert taken.startswith(b"\x89PNG")
    reader = await window()
    page = await reader.open(f"{ULSAN}?published_on=2025-06-22")
    assert (await page.locator("svg.axes:not(.narrow)").screenshot(path=pictures / "two-axes.png")).startswith(
        b"\x89PNG"
    )


async def every_page(pages: Service) -> list[str]:
    """The addresses of all pages, with an event and the forms, and variants of them."""
    audit = (await pages.client.get(f"/v1{ULSAN}/events")).json()["events"]
    revised = next(e["id"] for e in audit if e["type"] == "pledge_revised")
    forms = (
        "/record",
        "/record/article",
        "/proposals",
        "/organizations/amazon-web-services/record",
        "/record?deal=sk-aws-ulsan&type=pledge_announced",
        f"{ULSAN}/record?corrects={revised}",
    )
    return [f"/events/{revised}", *EVERY_PAGE, *forms, *VARIANTS]


@pytest.mark.parametrize(
    ("language", "width", "dark", "every"),
    [
        ("ko-KR", 390, False, False),
        drill("ko-KR", 390, False, True),
        drill("ko-KR", 390, True, True),
        drill("en-US", 1280, False, True),
        drill("en-US", 1280, True, True),
    ],
)
async def test_pages_have_no_accessibility_violation_and_fit_the_window(
    window: Opens, pages: Service, language: str, width: int, dark: bool, every: bool
) -> None:
    reader = await window(language, width, dark=dark)
    await sign_in(reader.page, pages.url)
    wrong: list[tuple[str, str]] = []
    for path in await every_page(pages) if every else FIRST_PAGES:
        page = await reader.open(path)
        wrong += [(path, found) for found in await violations(page, CONTRAST if dark else TAGS)]
        await fits(page, language, width)
    assert wrong == []
    # One page is of an unknown deal; Chromium logs its 404.
    reader.errors = [c for c in reader.errors if "404" not in c]


@pytest.mark.drill
async def test_pages_work_without_scripts(window: Opens, pages: Service) -> None:
    reader = await window("en-US", 390, script=False)
    await sign_in(reader.page, pages.url)
    for path in await every_page(pages):
        page = await reader.open(path)
        assert await page.locator("h1").count() == 1, path
        # Controls that need a script are hidden.
        assert await page.locator("input[type=range]:visible").count() == 0, path
        await fits(page, "en-US", 390)
    reader.errors = [c for c in reader.errors if "404" not in c]


async def fits(page: Page, language: str, width: int) -> None:
    """Check the language, and that only charts and wide tables, which scroll, exceed the window."""
    assert await page.locator("html").get_attribute("lang") == language[:2], page.url
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, page.url


async def sign_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/sign-in")
    await page.locator("input[name=key]").fill(ADMIN_KEY)
    await page.locator("main button").click()
    await expect(page.locator("form[action='/sign-out'] button")).to_be_visible()


async def unfold(page: Page) -> None:
    """Show the date controls, which a narrow window folds into a line."""
    if await page.locator("#as-of summary").is_visible() and not await page.locator("#as-of form").is_visible():
        await page.locator("#as-of summary").click()


async def clean(page: Page, script: bool) -> None:
    """Check for violations, if scripts run: axe is one."""
    if script:
        assert await violations(page) == []


ULSAN_NAMED = {"en": "SK and AWS: AI data centre in Ulsan", "ko": "SK·AWS 울산 AI 데이터센터"}


@pytest.mark.parametrize(
    ("language", "width", "script"),
    [
        ("en-US", 1280, True),
        drill("ko-KR", 1280, False),
        drill("ko-KR", 390, True),
        drill("en-US", 390, False),
    ],
)
async def test_editor_records_corrects_compares_and_verifies_a_deal(
    window: Opens, pages: Service, language: str, width: int, script: bool
) -> None:
    """Open the demo, change the as-of point, open a source, record, correct, compare, and verify a proof."""
    slug = f"story-{language.lower()}-{width}"
    spoken, figured = words(language[:2]), figures(language[:2])
    say, label = spoken.translate, spoken.label
    reader = await window(language, width, script=script)
    page = await reader.open("/")
    await expect(page.get_by_role("heading", level=1)).to_have_text(say("Investment announcements"))

    # Open the calculation of a total.
    await page.get_by_role(
        "link", name=say("Calculation: %(field)s", field=say("Pledged or committed")), exact=True
    ).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(say("How totals are calculated"))
    await expect(page.get_by_text(render(Rule.PART_OF.text, language[:2])).first).to_be_visible()

    # Open the Ulsan deal as of 2025-06-21.
    await page.get_by_role("link", name=say("Overview"), exact=True).click()
    await page.get_by_role("link", name=ULSAN_NAMED[language[:2]], exact=True).first.click()
    part = figured.currency_amount("4000000000", "USD")
    await expect(page.locator(".lead")).to_contain_text(part)
    await unfold(page)
    await page.get_by_label(say("Effective on"), exact=True).fill("2025-06-21")
    await page.get_by_role("button", name=say("Apply"), exact=True).click()
    past = say("as of %(date)s", date=figured.day(date(2025, 6, 21)))
    await expect(page.locator(".past")).to_contain_text(past)
    await expect(page.locator(".lead")).to_contain_text(figured.currency_amount("7000000000000", "KRW"))
    assert "effective_on=2025-06-21" in page.url
    await expect(page.locator(".lead")).not_to_contain_text(part)

    # Go one change back: the amount was different.
    for day in (date(2025, 6, 20), date(2025, 6, 16)):
        before = f"{say('Previous change:')} {figured.day(day)}"
        await unfold(page)
        await page.locator("#as-of").get_by_role("link", name=before).first.click()
        await expect(page.locator(".past")).to_contain_text(figured.day(day))
    await expect(page.locator(".lead")).to_contain_text(figured.currency_amount("5100000000", "USD"))
    await page.get_by_role("link", name=say("View current")).click()
    await expect(page.locator(".past")).to_have_count(0)

    # Open the source of an amount.
    await page.locator("#pledge-total .figure .why").click()
    source = page.locator("#panel") if script else page.locator("main")
    await expect(source).to_contain_text(label("event", "pledge_revised"))
    await expect(source).to_contain_text(figured.currency_amount("5100000000", "USD"))

    # Add an announcement: see what would change, then record it.
    preview, record = say("Preview changes"), say("Record")
    title = {"effective_on": "2025-01-02", "event": {"type": "deal_registered", "title": {"en": "Test data centre"}}}
    assert (await pages.client.post(f"/v1/deals/{slug}/events", json=title)).status_code == 201
    await sign_in(page, pages.url)
    await page.goto(f"{pages.url}/deals/{slug}")
    await page.get_by_role("link", name=say("Add an announcement")).click()
    await page.locator("[name='deals/0/add']").select_option("pledge_announced")
    await page.get_by_role("button", name=say("Add this announcement")).click()
    await page.locator("[name$='event/pledge']").fill("first")
    await page.get_by_label(label("field", "amount"), exact=True).fill("약 2조4천억 원")
    reading = figured.qualified(figured.full_amount("2400000000000", "KRW"), "about")
    if script:
        await expect(page.locator("output.reading")).to_have_text(f"→ {reading}")
    await page.locator("[name='effective_on']").fill("2025-01-02")
    await page.get_by_label(label("source", "publisher"), exact=True).fill("A paper")
    await page.locator("[name='sources/0/published_on']").fill("2025-01-03")
    await page.get_by_role("button", name=preview).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(say("Preview of changes"))
    await expect(page.get_by_text(reading)).to_be_visible()
    assert await pages.pool.fetchval("SELECT count(*) FROM events WHERE stream = $1", f"deal/{slug}") == 1
    await clean(page, script)
    await page.get_by_role("button", name=record, exact=True).click()
    await page.get_by_role("link", name="Test data centre").click()
    first = figured.money(Amount(currency="KRW", value="2400000000000", qualifier="about"))
    await expect(page.locator(".sum").first).to_have_text(first)
    await clean(page, script)

    # Correct the recorded amount.
    await page.locator(".events > li").first.get_by_role("link", name=say("Correct this event")).click()
    await clean(page, script)
    await page.get_by_label(label("field", "amount"), exact=True).fill("약 2조5천억 원")
    await page.get_by_label(say("Reason (kept in the history)")).fill("A digit was misread.")
    await page.get_by_role("button", name=preview).click()
    await page.get_by_role("button", name=record, exact=True).click()
    second = figured.money(Amount(currency="KRW", value="2500000000000", qualifier="about"))
    await expect(page.locator(".sum").first).to_have_text(second)
    corrected = label("change", "record")
    await expect(page.locator(".events [data-label='corrected']").first).to_be_visible()
    # The correction is part of the change that it corrects.
    await expect(page.locator(".steps li")).to_have_count(1)
    await expect(page.locator(".steps li")).to_contain_text(first)

    # Compare: a correction, and no real-world change.
    moments = [row["recorded_at"] for row in await pages.pool.fetch(RECORDED, f"deal/{slug}")]
    before = moments[1].isoformat().replace("+00:00", "Z")
    await page.goto(f"{pages.url}/deals/{slug}/compare?from.recorded_at={before}")
    review = page.locator(".review")
    await expect(review.get_by_role("heading")).to_contain_text([corrected])
    # Before and after are side by side, and only the words that differ are marked.
    sides = review.locator("td")
    removed, added = f"{say('Removed:')} ", f"{say('Added:')} "
    assert (await sides.nth(0).text_content() or "").replace(removed, "") == first
    assert (await sides.nth(1).text_content() or "").replace(added, "") == second
    assert set((await review.locator("ins").text_content() or "").removeprefix(added).split()) < set(second.split())

    # Verify the inclusion proof.
    await review.get_by_role("link", name=label("event", "event_corrected")).click()
    await expect(page.locator(".verdict").first).to_contain_text(say("Verified by the server:"))
    if script:
        good = say("Verified in your browser: the event leads to the signed root hash.")
        await expect(page.get_by_text(good)).to_be_visible()


RECORDED = "SELECT recorded_at FROM events WHERE stream = $1 ORDER BY position"


@pytest.mark.drill
async def test_invalid_form_keeps_its_values_and_marks_the_errors(window: Opens, pages: Service) -> None:
    reader = await window()
    page = reader.page
    await sign_in(page, pages.url)
    await reader.open("/record?deal=sk-aws-ulsan&type=pledge_announced")
    await page.get_by_label(re.compile("^Pledge id Required")).fill("Not A Slug")
    await page.get_by_label("Amount", exact=True).fill("$5bn")
    await page.locator("[name='effective_on']").fill("2026-01-02")
    await page.get_by_role("button", name="Preview changes").click()
    field = page.get_by_label(re.compile("^Pledge id Required"))
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_have_value("Not A Slug")
    await expect(page.locator(".fault")).to_contain_text("lower-case letters, digits and hyphens")
    assert await violations(page) == []
    await field.fill("total")
    await page.get_by_role("button", name="Preview changes").click()
    await expect(page.get_by_role("alert").last).to_contain_text("is already used in this deal")
    reader.errors = [c for c in reader.errors if "422" not in c and "409" not in c]


@pytest.mark.drill
async def test_redaction_form_warns_that_it_cannot_be_undone(window: Opens, pages: Service) -> None:
    say = words("ko").translate
    reader = await window("ko-KR", 390)
    page = reader.page
    await page.goto(f"{pages.url}/sign-in?lang=en")
    await page.get_by_label("API key", exact=True).fill(ADMIN_KEY)
    await page.get_by_role("main").get_by_role("button", name="Sign in").click()
    await reader.open(ULSAN)
    await page.locator(".events > li").first.get_by_role("link", name=say("Redact content")).click()
    await expect(page.locator(".verdict.bad")).to_contain_text(say("This cannot be undone."))
    assert await violations(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.get_by_label(say("Reason (kept in the history)")).fill("법원의 명령")
    await page.get_by_role("button", name=say("Preview changes")).click()
    await expect(page.get_by_role("button", name=say("Redact permanently"))).to_be_visible()
    await expect(page.locator(".verdict.bad")).to_contain_text(say("This cannot be undone."))
    assert await violations(page) == []


# The facts of a line that end a row because the next one does not fit it, and what follows each.
ENDS_OF_ROWS = """() => [...document.querySelectorAll("main .joined > :has(+ * > i:first-child)")]
  .filter(fact => fact.nextElementSibling.getBoundingClientRect().top >= fact.getBoundingClientRect().bottom - 2)
  .map(fact => getComputedStyle(fact, "::after").content)"""


async def test_facts_that_wrap_have_their_separator_at_the_end_of_the_row(window: Opens) -> None:
    reader = await window("ko-KR", 390)
    ends = await (await reader.open(ULSAN)).evaluate(ENDS_OF_ROWS)
    assert len(ends) > 5
    assert [end for end in ends if "·" not in end] == []


# The parts of a row's name that begin a line although the line before has room for them.
NEEDLESS_BREAKS = """() => [...document.querySelectorAll("main th .joined > span + span")]
  .filter(part => {
    const text = document.createRange();
    text.selectNodeContents(part.previousElementSibling);
    const [box, before] = [part.getBoundingClientRect(), [...text.getClientRects()].at(-1)];
    const room = part.closest("th").getBoundingClientRect().right - before.right;
    return box.top > before.top + 2 && box.width + 30 < room;
  })
  .map(part => part.parentElement.textContent)"""


async def test_row_s_name_has_its_field_beside_its_item_where_there_is_room(window: Opens) -> None:
    path = "/deals/sk-aws-ulsan/compare?from.effective_on=2025-06-17&to.effective_on=2025-11-01"
    for width in (390, 900):
        page = await (await window("ko-KR", width)).open(path)
        assert await page.locator("main th .joined > span + span").count() > 0
        assert await page.evaluate(NEEDLESS_BREAKS) == []


# Whether the focused element is visible, not covered by the sticky band, and outlined.
SHOWN = """wanted => {
  const drawn = (at) => {
    const how = getComputedStyle(at);
    return how.outlineStyle !== "none" && parseFloat(how.outlineWidth) >= 2;
  };
  const shape = wanted.namespaceURI.endsWith("svg") && wanted.querySelector("rect, circle, path");
  const ringed = shape
    ? getComputedStyle(shape).strokeWidth === "3px"
    : [wanted, wanted.closest(".ticks")].some((at) => at && drawn(at));
  const box = wanted.getBoundingClientRect(), band = document.querySelector(".past");
  const stuck = band && getComputedStyle(band).position === "sticky" && !wanted.closest("dialog, .past, .top");
  const top = stuck ? band.getBoundingClientRect().bottom : 0;
  return [ringed, box.width > 0 && box.height > 0, box.bottom > top && box.top < innerHeight];
}"""


async def reach(page: Page, target: Locator) -> None:
    """Press Tab until an element has the focus, and check that the focus is visible."""
    # Looked up once: finding an element by its name takes longer than a key press.
    found = await target.element_handle()
    for _ in range(400):
        await page.keyboard.press("Tab")
        if await found.evaluate("found => found === document.activeElement"):
            assert await found.evaluate(SHOWN) == [True, True, True], f"The focus on {target} is not visible."
            return
    raise AssertionError(f"The keyboard does not reach {target}.")


async def enter(page: Page, target: Locator, text: str = "") -> None:
    """Move to an element and press Enter, or replace the text of a field."""
    await reach(page, target)
    if text:
        await page.keyboard.press("Control+A")
        await page.keyboard.type(text)
    else:
        await page.keyboard.press("Enter")


@pytest.mark.drill
async def test_editor_records_corrects_and_verifies_a_deal_by_keyboard_only(window: Opens, pages: Service) -> None:
    """From the overview to a proof: the focus is always visible, and never lost or trapped."""
    reader = await window()
    page = await reader.open("/")
    heading = page.get_by_role("heading", level=1)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    await expect(page.locator("#content")).to_be_focused()
    assert await page.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0

    # Open the calculation of a total, and go back.
    await enter(page, page.get_by_role("link", name="Calculation: Pledged or committed", exact=True))
    await expect(heading).to_have_text("How totals are calculated")
    await enter(page, page.get_by_role("link", name="Overview", exact=True))
    await expect(heading).to_have_text("Investment announcements")

    # Change the effective date, open the Ulsan deal, and move between its changes.
    await reach(page, page.locator("[name=effective_on]"))
    await page.keyboard.type("06212025")
    await page.keyboard.press("Enter")
    await expect(page.locator(".past")).to_contain_text("21 Jun 2025")
    await enter(page, page.get_by_role("link", name=ULSAN_NAMED["en"], exact=True).last)
    await expect(page.locator(".lead")).to_contain_text("₩7tn")
    slider = page.get_by_role("slider", name="Effective on: move between changes")
    await reach(page, slider)
    assert await slider.get_attribute("aria-valuetext") == "20\u00a0Jun\u00a02025"
    await page.keyboard.press("ArrowLeft")
    await expect(page.locator(".past")).to_contain_text("16 Jun 2025")
    await expect(page.locator(".lead")).to_contain_text("US$5.1bn")
    # The page was replaced around the slider, which keeps the focus.
    await expect(slider).to_be_focused()
    await enter(page, page.get_by_role("link", name="View current"))
    await expect(page.locator(".past")).to_have_count(0)
    await expect(page.locator("#content")).to_be_focused()
    why = page.get_by_role("link", name="Source: Pledge of SK Group and Amazon Web Services\u00a0· Amount").first
    await enter(page, why)
    await expect(page.locator("#panel")).to_contain_text("Source")
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await expect(page.locator("#panel")).to_be_hidden()
    await expect(why).to_be_focused()
    await enter(page, page.locator("svg.axes:not(.narrow) a").first)
    await expect(page).to_have_url(re.compile("published_on=2025-06-16"))

    # Sign in.
    await enter(page, page.get_by_role("link", name="Sign in"))
    await enter(page, page.get_by_label("API key", exact=True), ADMIN_KEY)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()

    # Record a deal and its pledge.
    preview, record = (
        page.get_by_role("button", name="Preview changes"),
        page.get_by_role("button", name="Record", exact=True),
    )
    await enter(page, page.get_by_role("link", name="Add record", exact=True))
    await enter(page, page.get_by_role("button", name="Add a new deal"))
    await enter(page, page.locator("[name='deals/1/deal']"), "by-keyboard")
    await enter(page, page.locator("[name='deals/1/announcements/0/event/title/en']"), "Data centre by keyboard")
    await reach(page, page.locator("[name=effective_on]"))
    await page.keyboard.type("01022025")
    await enter(page, preview)
    await enter(page, record)
    await expect(heading).to_have_text("Announcements recorded")
    await enter(page, page.get_by_role("link", name="Data centre by keyboard"))
    await expect(heading).to_contain_text("Data centre by keyboard")
    await enter(page, page.get_by_role("link", name="Add an announcement"))
    # A pledge is the first choice.
    await enter(page, page.get_by_role("button", name="Add this announcement"))
    await enter(page, page.locator("[name$='event/pledge']"), "first")
    await enter(page, page.get_by_label("Amount", exact=True), "about $5bn")
    await expect(page.locator("output.reading")).to_have_text("→ about US$5,000,000,000")
    await enter(page, page.get_by_label("Publisher", exact=True), "A paper")
    await enter(page, preview)
    # The effective date is missing: the error is shown, and the keyboard reaches the field.
    await expect(page.locator(".fault").first).to_be_visible()
    await reach(page, page.locator("[name=effective_on]"))
    await page.keyboard.type("01022025")
    await enter(page, preview)
    await expect(heading).to_have_text("Preview of changes")
    await enter(page, record)
    await enter(page, page.get_by_role("link", name="Data centre by keyboard"))
    await expect(page.locator(".sum").first).to_have_text("about US$5bn")

    # Correct the amount.
    await enter(page, page.locator(".events > li").first.get_by_role("link", name="Correct this event"))
    await enter(page, page.get_by_label("Amount", exact=True), "about $6bn")
    await enter(page, page.get_by_label("Reason (kept in the history)"), "A digit was misread.")
    await enter(page, preview)
    await enter(page, record)
    await expect(page.locator(".sum").first).to_have_text("about US$6bn")

    # Compare with the state before the correction, and verify the proof of the correction.
    await enter(page, page.get_by_role("link", name="Compare two dates"))
    await reach(page, page.locator("[name='from.recorded_at']"))
    for _ in range(2):
        await page.keyboard.press("ArrowDown")
    await enter(page, page.get_by_role("main").get_by_role("button", name="Compare"))
    review = page.locator(".review.k-record-side")
    await expect(review.locator("del")).to_contain_text("US$5bn")
    await expect(review.locator("ins")).to_contain_text("US$6bn")
    await enter(page, review.get_by_role("link", name="Event corrected"))
    await expect(page.get_by_text("Verified in your browser:")).to_be_visible()
    # Chromium logs the 422 of the invalid form.
    reader.errors = [c for c in reader.errors if "422" not in c]


async def test_crosshair_can_be_dragged_to_another_as_of_point(window: Opens) -> None:
    reader = await window()
    page = await reader.open(f"{ULSAN}?published_on=2025-10-29")
    chart = page.locator("svg.axes:not(.narrow)")
    await chart.scroll_into_view_if_needed()
    handle = await page.locator("svg.axes:not(.narrow) .cross circle").bounding_box()
    box = await chart.bounding_box()
    assert handle is not None
    assert box is not None
    await page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.8, steps=5)
    await page.mouse.up()
    await expect(page.locator(".past")).to_contain_text("as of 16 Jun 2025, published by 16 Jun 2025")
    await expect(page.locator(".lead")).to_contain_text("jointly pledge US$5.1bn")
    await page.go_back()
    await expect(page.locator(".past")).to_contain_text("published by 29 Oct 2025")


async def test_printed_page_has_its_address_and_no_controls(window: Opens) -> None:
    reader = await window(dark=True)
    page = await reader.open(f"{ULSAN}?effective_on=2025-06-21")
    await page.emulate_media(media="print")
    # Print is light in dark mode too.
    assert (
        await page.locator("svg.axes:not(.narrow) .plot").evaluate("plot => getComputedStyle(plot).fill")
        == "rgb(255, 255, 255)"
    )
    assert (
        await page.locator(".past").evaluate("band => getComputedStyle(band).backgroundColor") == "rgb(255, 242, 207)"
    )
    await expect(page.locator(".printed")).to_contain_text("/deals/sk-aws-ulsan?effective_on=2025-06-21")
    await expect(page.locator("#as-of")).to_be_hidden()
    await expect(page.locator(".top nav")).to_be_hidden()
    await expect(page.locator(".past")).to_contain_text("21 Jun 2025")
