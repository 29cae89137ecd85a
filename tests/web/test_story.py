"""The registry for people who work with it every day, by keyboard alone: an article from its text to its proof.

A clerk pastes an article, corrects two proposals and sends them to review. A second person approves them, finds the
deal by a place name, downloads its certificate, which is verified without the service, follows its feed and cites it.
"""

from __future__ import annotations

import re
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, expect

from registry.append.principals import IssuedKey
from registry.formatting.language import words
from registry.transparency.signing_keys import KeySource
from tests.conftest import drill
from tests.preloaded import COMMAND, preloaded
from tests.service import Service
from tests.web.conftest import Opens, Window
from tests.web.test_browser import clean, enter, reach

ARTICLES = {
    "ko": ("코닝은 아산에 5억 달러를 투자한다. 유미코아는 울산에 3억 달러를 투자한다.", "아산", "5억 5천만 달러"),
    "en": (
        "Corning will invest $500 million in Asan. Umicore will invest $300 million in Ulsan.",
        "Asan",
        "$550 million",
    ),
}


async def sign_in(page: Page, key: IssuedKey) -> None:
    """Sign in by keyboard, and out before that."""
    out = page.locator("form[action='/sign-out'] button")
    if await out.count():
        await enter(page, out)
    await enter(page, page.locator(".who a[href^='/sign-in']"))
    await enter(page, page.locator("input[name=key]"), key.secret)
    await page.keyboard.press("Enter")
    await expect(out).to_be_visible()


async def arrive(page: Page, path: str) -> None:
    """Wait until a page has loaded."""
    await expect(page).to_have_url(re.compile(path))
    await page.wait_for_load_state()


async def unfold(page: Page, field: str) -> None:
    """Open the fields of the announcement that has a field."""
    await enter(page, page.locator(f".announcement:has([name='{field}']) > details > summary"))


@pytest.mark.parametrize(
    ("language", "width", "script"),
    [
        drill("ko-KR", 390, True),
        drill("en-US", 1280, True),
        drill("ko-KR", 1280, False),
        drill("en-US", 390, False),
    ],
)
async def test_article_is_pasted_corrected_reviewed_found_and_proved_by_keyboard(
    window: Opens, pages: Service, tmp_path: Path, language: str, width: int, script: bool
) -> None:
    kim = await pages.issue("propose", name="Kim", kind="person")
    lee = await pages.issue("record", name="Lee", kind="person")
    spoken = language[:2]
    text, place, amount = ARTICLES[spoken]
    slug = f"article-{spoken}-{width}"
    reader = await window(language, width, script=script)
    page = await reader.open("/")
    await sign_in(page, kim)
    await propose(reader, slug, place, text, amount, script=script)
    await page.goto(pages.url)
    await sign_in(page, lee)
    await approve(page, slug, place, script=script)

    # Find the deal by the name of a place.
    await enter(page, page.locator("#q"), place)
    await page.keyboard.press("Enter")
    await enter(page, page.locator(f"main a[href^='/deals/{slug}-first']"))
    await arrive(page, f"/deals/{slug}-first")
    await expect(page.get_by_role("heading", level=1)).to_contain_text(f"{place} plant {slug}")
    await expect(page.locator(".headline")).to_contain_text("550" if spoken == "en" else "5억 5,000만")
    history = page.locator(".audit")
    await expect(history).to_contain_text("Kim")
    await expect(history).to_contain_text("Lee")
    await clean(page, script)

    # Its certificate is verified by the command, which asks no service.
    certificate = await download(page, page.locator("#cite a[download][href*='certificate=true']"))
    assert b"550000000" in certificate
    await verify(pages, certificate, tmp_path)
    # Its feed has the event, and its citation names the deal with a link that stays.
    follow = page.locator("#cite a[type='application/atom+xml']")
    await reach(page, follow)
    feed = await page.request.get(f"{pages.url}{await follow.get_attribute('href')}")
    assert f"{place} plant {slug}" in await feed.text()
    await enter(page, page.locator("#cite summary", has_text="BibTeX"))
    citation = await download(page, page.locator("#cite a[download$='.bib']"))
    assert f"{place} plant {slug}" in citation.decode()
    assert f"/deals/{slug}-first?" in citation.decode()


async def propose(reader: Window, slug: str, place: str, text: str, amount: str, *, script: bool) -> None:
    """Paste an article, correct two of its proposals, and send them to review."""
    page = reader.page
    say = words(await page.locator("html").get_attribute("lang") or "en").gettext
    await enter(page, page.locator("nav a[href^='/record']"))
    await enter(page, page.locator("main a[href^='/record/article']"))
    await enter(page, page.locator("[name=text]"), text)
    await enter(page, page.locator("[name='sources/0/url']"), f"https://paper.example/{slug}")
    await reach(page, page.locator("[name='sources/0/published_on']"))
    await page.keyboard.type("10292025")
    await clean(page, script)
    await enter(page, page.get_by_role("button", name=say("Propose announcements")))

    # Each proposal stands with its sentence, which is marked in the text.
    await expect(page.locator(".article-text mark")).to_have_count(2)
    await expect(page.locator(".announcement")).to_have_count(8)
    await clean(page, script)
    await enter(page, page.locator("[name='deals/0/deal']"), f"{slug}-first")
    title = f"deals/0/announcements/0/event/title/{await page.locator('html').get_attribute('lang')}"
    await unfold(page, title)
    await enter(page, page.locator(f"[name='{title}']"), f"{place} plant {slug}")
    await unfold(page, "deals/0/announcements/2/event/amount")
    await enter(page, page.locator("[name='deals/0/announcements/2/event/amount']"), amount)
    await enter(page, page.locator("[name='deals/1/deal']"), f"{slug}-second")
    await enter(page, page.locator("button[value=preview]").last)
    await expect(page.locator("section.previewed")).to_have_count(2)
    await clean(page, script)
    # Who may only propose cannot record.
    await expect(page.locator("button[value=record]")).to_have_count(0)
    await enter(page, page.get_by_role("button", name=say("Send to review")))
    await arrive(page, "/proposals/")
    await clean(page, script)


async def approve(page: Page, slug: str, place: str, *, script: bool) -> None:
    """Find the article in the queue, and approve all its deals."""
    await enter(page, page.locator(".who a[href^='/proposals']"))
    await arrive(page, "/proposals")
    await clean(page, script)
    await enter(page, page.locator("main tbody th a").first)
    await expect(page.get_by_role("heading", level=1)).to_contain_text(f"{place} plant {slug}")
    await expect(page.locator("blockquote.quote").first).to_be_visible()
    await enter(page, page.locator("button[value=approve]"))
    await expect(page.locator(f"main a[href^='/deals/{slug}-first']")).to_be_visible()
    await expect(page.locator(f"main a[href^='/deals/{slug}-second']")).to_be_visible()


async def download(page: Page, link: Locator) -> bytes:
    """The file behind a link, by keyboard."""
    async with page.expect_download() as started:
        await enter(page, link)
    return content(await (await started.value).path())


def content(path: Path) -> bytes:
    """The bytes of a file."""
    return path.read_bytes()


async def verify(service: Service, certificate: bytes, folder: Path) -> None:
    """Verify a certificate by the command, in a process of its own."""
    bundle = folder / "certificate.json"
    bundle.write_bytes(certificate)
    command = ("verify", str(bundle), "--key", str(KeySource.of(service.settings).public_keys))
    process = await create_subprocess_exec(COMMAND, *command, stdout=PIPE, stderr=PIPE, env=preloaded())
    _, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
