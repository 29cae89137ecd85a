"""An import in Chromium: both languages, with and without scripts, at desktop and phone widths."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.conftest import drill
from tests.service import ADMIN_KEY
from tests.web.conftest import Opens
from tests.web.test_browser import violations
from tests.web.test_import_pages import PLANTS

CASES = [drill("en-US", 1280, True), drill("ko-KR", 390, True), drill("en-US", 1280, False)]
NAMES = {
    "en-US": ("Upload", "Import", "Imported"),
    "ko-KR": ("올리기", "가져오기", "가져옴"),
}


@pytest.mark.parametrize(("language", "width", "script"), CASES)
async def test_editor_imports_a_sheet_in_the_browser(
    window: Opens, tmp_path: Path, slug: str, language: str, width: int, script: bool
) -> None:
    upload, import_, imported = NAMES[language]
    sheet = tmp_path / "plants.csv"
    sheet.write_text(PLANTS.format(x=slug), "utf-8")
    editor = await window(language, width, script=script)
    page = await editor.open("/sign-in?then=/import")
    await page.locator("input[name=key]").fill(ADMIN_KEY)
    await page.locator("main button").click()
    await expect(page.locator("input[name=file]")).to_be_visible()
    if script:
        assert await violations(page) == []

    await page.locator("input[name=file]").set_input_files(sheet)
    await page.get_by_role("button", name=upload, exact=True).click()
    await expect(page.locator("#sheet")).to_contain_text("Cell factory")
    await page.locator('input[name="options/scheme"]').fill(slug)
    await page.locator('input[name="options/country"]').fill("US")
    await page.locator('input[name="options/empty"]').fill("n/a")
    await page.locator('#mapping form.mapping button[value="save"]').last.click()
    await expect(page.locator("#preview")).to_contain_text("plants!F5")
    if script:
        assert await violations(page) == []

    await page.locator("#run").get_by_role("button", name=import_, exact=True).click()
    await expect(page.locator("#result")).to_contain_text(imported, timeout=20_000)
    await expect(page.locator("#problems")).to_contain_text("Atlantis")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if script:
        assert await violations(page) == []
