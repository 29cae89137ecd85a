"""Charts by themselves: files of SVG and PNG, and pages that other sites may embed, which no other page allows."""

from __future__ import annotations

import asyncio
import html
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree

import httpx
import pytest
from playwright.async_api import Browser

from tests.api.announcements import announced, pledged, registered
from tests.service import Service
from tests.web.conftest import Opens
from tests.web.test_cite_panel import DEAL, links, panel

SVG = "{http://www.w3.org/2000/svg}"
CHARTS = {"/": "/embed/trend", DEAL: "/embed/deals/sk-aws-ulsan"}


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("path", CHARTS)
async def test_file_of_a_chart_stands_by_itself(demo_reader: httpx.AsyncClient, path: str, language: str) -> None:
    shown = panel((await demo_reader.get(path, params={"lang": language})).text)
    answer = await demo_reader.get(links(shown)["SVG"])
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert answer.headers["Content-Disposition"].endswith('.svg"')
    drawing = ElementTree.fromstring(answer.text)
    assert drawing.tag == f"{SVG}svg"
    assert drawing.get("lang") == language
    assert not list(drawing.iter(f"{SVG}a"))
    assert not list(drawing.iter(f"{SVG}image"))
    assert "url(" not in answer.text
    address = [text.text for text in drawing.iter(f"{SVG}text") if (text.text or "").startswith("http")]
    assert address == [links(shown)["Copy link" if language == "en" else "링크 복사"]]


async def test_legend_explains_the_size_of_circles_where_one_stands_for_several_announcements(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    """A circle for one announcement has the smallest radius."""
    alone = announced("2025-06-16", "condition_set", condition="data", text={"en": "In Korea."})
    for deal, sent in (("one-circle", [registered(), alone]), ("several-at-once", [registered(), alone, pledged()])):
        answer = await pages.client.post(f"/v1/deals/{deal}/events", json=sent)
        assert answer.status_code == 201, answer.text
    found = {}
    for deal in ("one-circle", "several-at-once"):
        drawing = (await reader.get(f"/embed/deals/{deal}?lang=en")).text
        radii = [float(radius) for radius in re.findall(r'<circle class="\w+"[^>]* r="([0-9.]+)"', drawing)]
        found[deal] = max(radii), "several announcements" in drawing
    assert found == {"one-circle": (5.0, False), "several-at-once": (6.0, True)}


async def test_file_stays_when_the_log_grows(pages: Service, reader: httpx.AsyncClient) -> None:
    address = links(panel((await reader.get("/deals/amkor-songdo")).text))["SVG"]
    before = (await reader.get(address)).text
    body = {
        "effective_on": "2025-12-01",
        "event": {
            "type": "milestone_scheduled",
            "milestone": "expansion",
            "kind": "phase_completed",
            "planned": "2031",
        },
    }
    assert (await pages.client.post("/v1/deals/amkor-songdo/events", json=body)).status_code == 201
    assert (await reader.get(address)).text == before
    assert (await reader.get("/charts/deals/amkor-songdo/timeline.svg")).text != before


async def test_where_nothing_was_known_there_is_no_chart(demo_reader: httpx.AsyncClient) -> None:
    for path in ("/charts/trend.svg", "/embed/trend", "/embed/deals/sk-aws-ulsan"):
        answer = await demo_reader.get(path, params={"effective_on": "2020-01-01"})
        assert answer.status_code == 404, path
    assert (await demo_reader.get("/embed/deals/no-such-deal")).status_code == 404
    assert 'class="drawn"' not in (await demo_reader.get("/", params={"effective_on": "2020-01-01"})).text


async def test_steps_have_numbers_only_above_the_list_of_these(demo_reader: httpx.AsyncClient) -> None:
    assert 'class="flag"' in (await demo_reader.get("/")).text
    for path in ("/charts/trend.svg", "/embed/trend"):
        assert 'class="flag"' not in (await demo_reader.get(path)).text


async def test_picture_is_made_by_the_browser(window: Opens) -> None:
    page = await (await window()).open(DEAL)
    async with page.expect_download() as download:
        await page.locator("[data-png]").click()
    file = await download.value
    content = await asyncio.to_thread((await file.path()).read_bytes)
    assert file.suggested_filename.endswith(".png")
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width = int.from_bytes(content[16:20], "big")
    assert width >= 1600
    assert len(content) > 10_000


@contextmanager
def site(body: str) -> Iterator[str]:
    """Another site, with one page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


async def test_other_site_can_frame_what_is_to_be_embedded_and_nothing_else(
    pages: Service, reader: httpx.AsyncClient, browser: Browser
) -> None:
    shown = panel((await reader.get("/")).text)
    code = html.unescape(shown[shown.index("&lt;iframe") : shown.index("&lt;/iframe&gt;")]) + "</iframe>"
    assert f'src="{pages.url}/embed/trend' in code
    others = "".join(f'<iframe src="{pages.url}{path}"></iframe>' for path in ("/", DEAL, "/docs", "/charts/trend.svg"))
    context = await browser.new_context()
    page = await context.new_page()
    with site(f"<!doctype html><title>news</title>{code}{others}") as url:
        await page.goto(url, wait_until="load")
        texts = []
        for frame in page.frames[1:]:
            refused = frame.url.startswith("chrome-error:") or not frame.url
            texts.append("" if refused else await frame.locator("body").inner_text())
        assert "log position" in texts[0]
        assert len(texts) == 5
        assert not any("Investment" in text for text in texts[1:])
    await context.close()


async def test_only_pages_to_embed_allow_frames(demo_reader: httpx.AsyncClient) -> None:
    for page, embedded in CHARTS.items():
        assert "frame-ancestors *" in (await demo_reader.get(embedded)).headers["Content-Security-Policy"]
        assert "script" not in (await demo_reader.get(embedded)).text
        assert "frame-ancestors 'none'" in (await demo_reader.get(page)).headers["Content-Security-Policy"]
    for path in ("/embed/deals/no-such-deal", "/v1/deals", "/charts/trend.svg", "/robots.txt", "/sign-in"):
        assert "frame-ancestors 'none'" in (await demo_reader.get(path)).headers["Content-Security-Policy"], path
