"""Every page in a narrow window: it has the status that it should have, and fits the window.

`REGISTRY_SCREENSHOTS=FOLDER` takes pictures of all in both languages, two widths, light and dark, and measures the
contrast of their texts; `REGISTRY_SHOTS=TEXT` takes those whose name contains the text. `REGISTRY_WALK_DEALS` sets the
number of generated deals.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from litestar.routes import HTTPRoute
from msgspec.structs import replace
from playwright.async_api import Browser, Page

from registry import services
from registry.infra.rate_limit_setting import RateLimit
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.delivery.test_watches import Inbox, mail_server
from tests.service import ADMIN_KEY, Service, cloned, running
from tests.web.screenshots import NOT_PAGES, SHOTS, ULSAN, Shot, furnish
from tests.web.test_browser import CONTRAST, violations

FOLDER = os.environ.get("REGISTRY_SCREENSHOTS")
ONLY = os.environ.get("REGISTRY_SHOTS", "")
VARIANTS = tuple(product(("en", "ko"), (1280, 390), ("light", "dark"))) if FOLDER else (("ko", 390, "dark"),)
CHOSEN = {name: shot for name, shot in SHOTS.items() if ONLY in name}


def test_every_page_has_a_screenshot(unchanged: Service) -> None:
    """The pages are the routes that answer GET, outside of the API, and are not listed as something else."""
    found = {
        re.sub(r":\w+}", "}", route.path)
        for route in unchanged.app.routes
        if isinstance(route, HTTPRoute) and "GET" in route.methods and not route.path.startswith("/v1/")
    }
    assert found >= NOT_PAGES
    assert {shot.route for shot in SHOTS.values()} == found - NOT_PAGES


@pytest_asyncio.fixture(scope="module")
async def office(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service where editors work, which sends e-mail and shows deals in Korea by default, as the demo does."""
    with mail_server(Inbox()) as url:
        async with cloned(demo_server, admin, "office") as settings:
            settings = replace(
                settings,
                smtp_url=url,
                smtp_from="registry@example.org",
                site="http://site.example",
                scope=(("region", "KR"),),
            )
            async with running(settings) as service:
                yield service


@pytest_asyncio.fixture(scope="module")
async def limited(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that refuses further requests of this address."""
    limits = {"address": RateLimit(1, 3600)}
    async with (
        cloned(demo_server, admin, "shots_limited") as settings,
        running(replace(settings, rate_limits=limits)) as service,
    ):
        await service.visitor.get("/v1/deals")
        yield service


@pytest_asyncio.fixture(scope="module")
async def unavailable(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service whose copy for questions about all deals waits for Postgres."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "PATIENCE_SECONDS", 0.2)
        async with cloned(demo_server, admin, "shots_locked") as settings:
            assert settings.owner_url is not None
            owner = await asyncpg.connect(settings.owner_url)
            # Before the service starts, which makes the copy at once.
            async with owner.transaction():
                await owner.execute("LOCK TABLE party_facts IN ACCESS EXCLUSIVE MODE")
                async with running(settings) as service:
                    yield service
            await owner.close()


@pytest_asyncio.fixture(scope="module")
async def known(office: Service, unchanged: Service, generated: Service) -> dict[str, str]:
    """What the addresses of the pages name."""
    events = (await unchanged.client.get(f"/v1{ULSAN}/events")).json()["events"]
    pledge = next(event for event in events if event["type"] == "pledge_announced")
    deals = (await generated.client.get("/v1/deals?limit=1&sort=-amount")).json()["deals"]
    organizations = (await generated.client.get("/v1/organizations?limit=200")).json()["organizations"]
    most = max(organizations, key=lambda one: one["deal_count"])
    state = (await unchanged.client.get(f"/v1{ULSAN}")).json()
    return {
        **await furnish(office),
        "event": pledge["id"],
        "pledge": pledge["id"],
        "source": state["sources"][0]["id"],
        "many_deal": f"/deals/{deals[0]['deal']}",
        "many_organization": f"/organizations/{most['organization']}",
    }


@pytest.fixture(scope="module", autouse=True)
def folder() -> None:
    """Make the folder of the pictures."""
    if FOLDER:
        Path(FOLDER).mkdir(parents=True, exist_ok=True)


class Studio:
    """Takes pictures of pages, and notes what is wrong with them."""

    def __init__(self, services: dict[str, Service], known: dict[str, str]) -> None:
        self.services = services
        self.known = known
        self.problems: list[str] = []

    async def take(self, browser: Browser, language: str, width: int, scheme: str) -> None:
        """All pages in one variant, those of each reader of each service in one window."""
        for where, reader in dict.fromkeys((shot.where, shot.reader) for shot in CHOSEN.values()):
            service = self.services[where]
            context = await browser.new_context(
                viewport={"width": width, "height": 900},
                locale="ko-KR" if language == "ko" else "en-US",
                timezone_id="Asia/Seoul",
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            context.set_default_timeout(PATIENCE * 1000)
            page = await context.new_page()
            if where == "limited":
                # A reader has the style sheet of the pages before.
                await self._with_files_of(page, service, self.services["demo"])
            if reader != "visitor":
                await page.goto(f"{service.url}/sign-in")
                await page.fill("[name=key]", ADMIN_KEY if reader == "editor" else self.known[reader])
                await page.locator("main button").first.click()
                await page.wait_for_load_state()
            for name, shot in CHOSEN.items():
                if (shot.where, shot.reader) == (where, reader):
                    await self._take(page, service, f"{name}.{language}.{width}.{scheme}", shot)
            await page.unroute_all(behavior="wait")
            await context.close()

    async def _with_files_of(self, page: Page, service: Service, other: Service) -> None:
        async def fulfil(route: Any) -> None:
            await route.fulfill(response=await route.fetch(url=route.request.url.replace(service.url, other.url)))

        await page.route("**/static/**", fulfil)

    async def _take(self, page: Page, service: Service, name: str, shot: Shot) -> None:
        answer = await page.goto(service.url + shot.path.format_map(self.known), wait_until="load")
        assert answer is not None
        if answer.status != shot.status:
            self.problems.append(f"{name}: status {answer.status}")
        if shot.act is not None:
            await shot.act(page)
        overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if overflow > 0:
            self.problems.append(f"{name}: {overflow} pixels wider than the window")
        if FOLDER:
            if not shot.path.startswith("/docs"):
                self.problems += [f"{name}: {found}" for found in await violations(page, CONTRAST)]
            await page.screenshot(path=Path(FOLDER, f"{name}.png"), full_page=True)


@pytest.mark.drill
@pytest.mark.parametrize(("language", "width", "scheme"), VARIANTS)
async def test_every_page_fits_the_window(
    language: str,
    width: int,
    scheme: str,
    browser: Browser,
    unchanged: Service,
    office: Service,
    generated: Service,
    limited: Service,
    unavailable: Service,
    known: dict[str, str],
) -> None:
    services = {"demo": unchanged, "office": office, "many": generated, "limited": limited, "unavailable": unavailable}
    studio = Studio(services, known)
    await studio.take(browser, language, width, scheme)
    assert studio.problems == []
