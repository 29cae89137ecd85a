"""Take screenshots of every page of a running registry: both languages, wide and narrow, light and dark.

    registry demo --port 8000 &
    python -m tests.web.screenshots http://127.0.0.1:8000 FOLDER --key "$KEY"

`--only TEXT` takes those whose name contains the text. With a key, the pages of a signed-in editor are taken too.
"""

from __future__ import annotations

import argparse
import asyncio
from itertools import product
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from tests.web.conftest import FLAGS, chromium

ULSAN = "/deals/sk-aws-ulsan"
PAGES = {
    "overview": "/",
    "overview-past": "/?recorded_at=2025-06-21T14:59:59Z",
    "overview-empty": "/?effective_on=2020-01-01",
    "overview-filtered": "/?region=KR-31&unit=USD",
    "overview-no-match": "/?q=atlantis",
    "deal": ULSAN,
    "deal-past": f"{ULSAN}?effective_on=2025-06-21",
    "deal-recorded": f"{ULSAN}?recorded_at=2025-06-21T14:59:59Z",
    "deal-future": f"{ULSAN}?effective_on=2028-01-01",
    "deal-not-yet": f"{ULSAN}?effective_on=2025-01-01",
    "deal-flagged": "/deals/amkor-songdo",
    "deal-joint": "/deals/microsoft-kt",
    "deal-intention": "/deals/blackrock-asia-ai-hub",
    "deal-annual": "/deals/alibaba-gmarket",
    "deal-bare": "/deals/corning-korea",
    "deal-aggregate": "/deals/seven-firms-korea-2030",
    "deal-programme": "/deals/korea-ai-highway",
    "deal-sites": "/deals/aws-korea-2031",
    "provenance": f"{ULSAN}/blame",
    "provenance-field": f"{ULSAN}/blame?field=/pledges/total/amount",
    "compare-deal": f"{ULSAN}/compare?from.effective_on=2025-06-17&to.effective_on=2025-06-21",
    "compare": "/compare?from.recorded_at=2025-06-21T14:59:59Z",
    "compare-none": "/compare?from.effective_on=2026-01-01",
    "totals": "/totals",
    "totals-stage": "/totals?group_by=stage&unit=USD",
    "organizations": "/organizations",
    "organization": "/organizations/amazon-web-services",
    "log": "/log",
    "event": "/events/01977609-2412-7a5d-a669-772cb045fb95",
    "search": "/search?q=울산",
    "search-none": "/search?q=atlantis",
    "about": "/about",
    "help": "/help",
    "glossary": "/glossary",
    "sign-in": "/sign-in",
    "not-found": "/deals/no-such-deal",
    "bad-date": f"{ULSAN}?effective_on=noon",
}
EDITOR_PAGES = {
    "record": "/record",
    "record-article": "/record/article",
    "record-deal": "/record?deal=sk-aws-ulsan&type=pledge_revised",
    "record-organization": "/organizations/amazon-web-services/record",
    "record-name": "/organizations/amazon-web-services/record?type=organization_named",
    "proposals": "/proposals",
    "sessions": "/sessions",
}


async def _take(browser: Browser, url: str, folder: Path, key: str | None, only: str) -> None:
    for language, width, scheme in product(("en", "ko"), (1280, 390), ("light", "dark")):
        context = await browser.new_context(
            viewport={"width": width, "height": 900},
            locale="ko-KR" if language == "ko" else "en-US",
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        page = await context.new_page()
        for name, path in PAGES.items():
            await _screenshot(page, url + path, folder / f"{name}.{language}.{width}.{scheme}.png", only)
        if key is not None:
            await page.goto(f"{url}/sign-in")
            await page.fill("[name=key]", key)
            await page.locator("main button").first.click()
            await page.wait_for_load_state()
            for name, path in EDITOR_PAGES.items():
                await _screenshot(page, url + path, folder / f"{name}.{language}.{width}.{scheme}.png", only)
        await context.close()


async def _screenshot(page: Page, address: str, to: Path, only: str) -> None:
    if only not in to.name:
        return
    await page.goto(address, wait_until="load")
    overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if overflow > 0:
        print(f"{to.name}: {overflow} pixels wider than the window")  # noqa: T201
    await page.screenshot(path=to, full_page=True)


async def _main(url: str, folder: Path, key: str | None, only: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        await _take(browser, url, folder, key, only)
        await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", help="an API key with the scope record")
    parser.add_argument("--only", default="", help="a part of the names to take, such as deal.ko.390")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_main(given.url.rstrip("/"), given.folder, given.key, given.only))
