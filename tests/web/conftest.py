"""A service with the demo deals, HTTP clients for readers and editors, and the system's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from bench import workload
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.missing import NO_CHROMIUM
from tests.service import ADMIN_KEY, NO_TLS, Service, cloned, numbers, running
from tests.web import stories

DEALS = int(os.environ.get("REGISTRY_WALK_DEALS", "60"))
"""How many deals are generated."""

expect.set_options(timeout=PATIENCE * 1000)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest_asyncio.fixture(scope="session")
async def pages(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that holds the demo deals."""
    async with cloned(demo_server, admin, "pages") as settings, running(settings) as service:
        yield service


@pytest_asyncio.fixture
async def reader(pages: Service) -> AsyncIterator[httpx.AsyncClient]:
    """An English reader without scripts."""
    async with httpx.AsyncClient(
        base_url=pages.url, headers={"Accept-Language": "en"}, timeout=PATIENCE, verify=NO_TLS
    ) as client:
        yield client


@pytest_asyncio.fixture(scope="session")
async def unchanged(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that holds the demo deals as they are packaged: no test records anything in it."""
    async with cloned(demo_server, admin, "unchanged") as settings, running(settings) as service:
        yield service


@pytest_asyncio.fixture
async def demo_reader(unchanged: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A reader of the demo's deals as they are packaged. Other tests record events on those of `reader`."""
    async with httpx.AsyncClient(
        base_url=unchanged.url, headers={"Accept-Language": "en"}, timeout=PATIENCE, verify=NO_TLS
    ) as client:
        yield client


@pytest_asyncio.fixture
async def editor(pages: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A signed-in editor without scripts."""
    async with httpx.AsyncClient(
        base_url=pages.url, headers={"Accept-Language": "en"}, timeout=PATIENCE, verify=NO_TLS
    ) as client:
        answer = await client.post("/sign-in", data={"key": ADMIN_KEY, "then": "/record"})
        assert answer.status_code == 303
        yield client


def chromium() -> str | None:
    """The system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests; each test opens its own windows."""
    path = chromium()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    async with async_playwright() as playwright:
        running_browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running_browser
        await running_browser.close()


class Window:
    """A browser window that records script errors, console errors and requests to other sites."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("console", lambda m: self.errors.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(f"error: {error}"))
        page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.errors.append(f"requested another site: {request.url}")

    async def open(self, path: str) -> Page:
        """Open a page and wait until it has loaded."""
        await self.page.goto(self.url + path, wait_until="load")
        return self.page


Opens = Callable[..., Awaitable[Window]]


@pytest_asyncio.fixture
async def window(pages: Service, browser: Browser) -> AsyncIterator[Opens]:
    """Opens windows. After the test none of them may have recorded an error."""
    windows: list[Window] = []
    async with AsyncExitStack() as stack:

        async def opens(language: str = "en-US", width: int = 1280, script: bool = True, dark: bool = False) -> Window:
            context = await stack.enter_async_context(
                _context(
                    browser,
                    viewport={"width": width, "height": 900},
                    locale=language,
                    timezone_id="Asia/Seoul",
                    java_script_enabled=script,
                    color_scheme="dark" if dark else "light",
                    reduced_motion="reduce",
                )
            )
            windows.append(Window(await context.new_page(), pages.url))
            return windows[-1]

        yield opens
    assert [error for each in windows for error in each.errors] == []


@asynccontextmanager
async def _context(browser: Browser, **how: Any) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(**how)
    context.set_default_timeout(PATIENCE * 1000)
    try:
        yield context
    finally:
        await context.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots: REGISTRY_PICTURES, else a temporary one."""
    named = os.environ.get("REGISTRY_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest_asyncio.fixture(scope="session")
async def service(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service without the demo's deals, for tests that record."""
    async with cloned(server, admin, "empty_pages") as settings, running(settings) as service:
        yield service


@pytest_asyncio.fixture(scope="session")
async def generated(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that holds generated deals, some with a story."""
    async with cloned(server, admin, "walk") as settings, running(settings) as service:
        lines = [*workload.lines(DEALS), *stories.lines(DEALS)]
        for start in range(0, len(lines), 5000):
            answer = await service.client.post(
                "/v1/import",
                content=b"\n".join(lines[start : start + 5000]),
                headers={"Content-Type": "application/x-ndjson"},
                timeout=300,
            )
            assert answer.status_code == 200
            assert b'"error"' not in answer.content
        # Right after an import of many deals, the first question waits until they are in the columnar copy, with a key
        # up to a minute; a busy machine takes longer.
        while (ready := await service.client.get("/v1/deals?limit=1", timeout=300)).status_code == 503:
            pass
        assert ready.status_code == 200
        yield service


@pytest.fixture
def slug() -> str:
    """The slug of a new deal."""
    return f"deal-{next(numbers)}"
