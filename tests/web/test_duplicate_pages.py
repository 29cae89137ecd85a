"""Organizations on the pages: those that only deals name, the review of duplicates, merges and their undo."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from tests.api.test_named_organizations import announce
from tests.service import ADMIN_KEY, NO_TLS, Service
from tests.web.test_import_pages import token


@pytest_asyncio.fixture
async def editor(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A signed-in editor without scripts."""
    async with httpx.AsyncClient(
        base_url=service.url, headers={"Accept-Language": "en"}, timeout=30, verify=NO_TLS
    ) as client:
        assert (await client.post("/sign-in", data={"key": ADMIN_KEY, "then": "/"})).status_code == 303
        yield client


async def test_organization_that_only_deals_name_has_a_page_and_is_counted(
    editor: httpx.AsyncClient, service: Service, slug: str
) -> None:
    word = "w" + slug.replace("-", "")
    await announce(service.client, slug, "2024-05-01", (f"{word}-energy", f"{word} Energy"))
    page = await editor.get(f"/organizations/{word}-energy")
    assert page.status_code == 200
    assert f"<h1>{word} Energy</h1>" in page.text
    listed = await editor.get("/organizations", params={"q": word})
    assert f"{word} Energy" in listed.text
    table = await editor.get("/organizations.csv")
    assert f"{word}-energy,,{word} Energy,,,,1,false" in table.text
    assert f"{word} Energy" not in (await editor.get("/organizations", params={"effective_on": "2024-04-30"})).text


async def test_editor_merges_a_cluster_and_undoes_it(editor: httpx.AsyncClient, service: Service, slug: str) -> None:
    word = "w" + slug.replace("-", "")
    await announce(service.client, f"{slug}-a", "2024-05-01", (f"{word}-energy", f"{word} Energy"))
    await announce(service.client, f"{slug}-b", "2024-06-01", (f"energy-{word}", f"Energy {word}"))
    review = await editor.get("/organization-duplicates")
    assert f'name="merge:energy-{word}"' in review.text
    sent = {"csrf": token(review.text), "keep": f"{word}-energy", f"merge:energy-{word}": "on"}
    # A form of another site merges nothing.
    assert (await editor.post("/organization-duplicates", data={**sent, "csrf": "x"})).status_code == 403
    assert (await editor.post("/organization-duplicates", data=sent)).status_code == 303
    assert (await editor.get(f"/organizations/energy-{word}")).status_code == 308
    kept = await editor.get(f"/organizations/{word}-energy")
    assert "2 deals" in kept.text

    undo = {"csrf": token(kept.text), "organization": f"energy-{word}", "into": f"{word}-energy"}
    assert (await editor.post("/organization-duplicates/undo", data=undo)).status_code == 303
    assert (await editor.get(f"/organizations/energy-{word}")).status_code == 200
    assert "One deal" in (await editor.get(f"/organizations/{word}-energy")).text
