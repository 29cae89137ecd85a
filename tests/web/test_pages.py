"""All pages over HTTP: languages, sizes, headers, errors, escaping, and the controls that each page has.

Most tests go through the same list of pages; hence the length of the file.
"""

from __future__ import annotations

import re
from html import unescape

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio

from registry.web import organizations as organization_pages
from registry.web.page import cache
from tests.conftest import PATIENCE, drill
from tests.databases import Server
from tests.service import NO_TLS, Service, cloned, running
from tests.web.html import main_of, text_of

ULSAN = "/deals/sk-aws-ulsan"


PAGES = (
    "/",
    "/?stage=construction&sort=-amount&unit=stated",
    "/?effective_on=2025-06-21&published_on=2025-06-21",
    "/totals",
    "/totals?group_by=organization&unit=KRW",
    "/compare",
    "/compare?from.effective_on=2025-06-16&to.effective_on=2025-10-29",
    ULSAN,
    f"{ULSAN}?effective_on=2025-06-21",
    f"{ULSAN}?published_on=2025-06-17",
    f"{ULSAN}?axis=recorded&field=/stage",
    f"{ULSAN}/blame",
    f"{ULSAN}/blame?field=/pledges/total/amount",
    f"{ULSAN}/compare?from.effective_on=2025-06-17&to.effective_on=2025-06-23",
    "/deals/amkor-songdo",
    "/deals/korea-ai-highway",
    "/organizations",
    "/organizations/amazon-web-services",
    "/log",
    "/log?type=pledge_revised",
    "/search",
    "/search?q=울산",
    "/sign-in",
)


def head_of(html: str) -> str:
    return html[: html.index("</head>")]


@pytest_asyncio.fixture(scope="module")
async def every_page(pages: Service) -> dict[tuple[str, str], httpx.Response]:
    """Each of the pages in each language, requested once for several tests."""
    async with httpx.AsyncClient(base_url=pages.url, timeout=PATIENCE, verify=NO_TLS) as reader:
        return {
            (path, language): await reader.get(path, headers={"Accept-Language": language})
            for path in PAGES
            for language in ("en", "ko")
        }


TOGETHER = ("effective_on={day}&published_on={day}",)
APART = ("effective_on={day}", "published_on={day}")


async def test_every_page_is_available_in_both_languages(every_page: dict[tuple[str, str], httpx.Response]) -> None:
    for path in PAGES:
        for language in ("en", "ko"):
            answer = every_page[path, language]
            assert answer.status_code == 200, (path, answer.status_code)
            assert f'<html lang="{language}">' in answer.text
            assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("day", "known", "clocks"),
    [
        ("0001-01-01", 404, TOGETHER),
        drill("0001-01-01", 404, APART),
        drill("0001-01-02", 404, APART),
        drill("1899-12-31", 404, APART),
        drill("9998-12-31", 200, APART),
        drill("9999-12-30", 200, APART),
        drill("9999-12-31", 200, APART),
        ("9999-12-31", 200, TOGETHER),
    ],
)
async def test_pages_and_api_accept_the_first_and_last_days_of_the_calendar(
    reader: httpx.AsyncClient, day: str, known: int, clocks: tuple[str, ...]
) -> None:
    """A deal is unknown before its first event and unchanged after its last; both are valid answers."""
    for path, status in (
        *((path, 200) for path in ("/", "/totals", "/totals.csv", "/organizations", "/log", "/search?q=aws")),
        *((path, known) for path in (ULSAN, f"{ULSAN}/blame", f"/v1{ULSAN}", f"/v1{ULSAN}/blame")),
        *((path, 200) for path in (f"{ULSAN}/fields.csv", f"/v1{ULSAN}/events", "/organizations/amazon-web-services")),
        *((path, 200) for path in ("/v1/deals?facets=true", "/v1/totals?currency=USD", "/v1/export/deals.csv")),
        ("/v1/organizations/amazon-web-services", known),
    ):
        for asked in clocks:
            url = f"{path}{'&' if '?' in path else '?'}{asked.format(day=day)}"
            assert (await reader.get(url)).status_code == status, url
    start, end = sorted((day, "2025-06-23"))
    for path in ("/compare", "/compare.csv", "/v1/compare", f"{ULSAN}/compare", f"{ULSAN}/compare.csv"):
        for clock in ("effective_on", "published_on"):
            url = f"{path}?from.{clock}={start}&to.{clock}={end}"
            assert (await reader.get(url)).status_code == 200, url


async def test_deal_dated_in_1800_or_2999_has_pages_as_of_any_day(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    amount = {"currency": "USD", "value": "1000000"}
    async with (
        cloned(demo_server, admin, "far") as settings,
        running(settings) as service,
        httpx.AsyncClient(base_url=service.url, timeout=30, verify=NO_TLS) as reader,
    ):
        for day, slug in (("1800-01-01", "first-day"), ("2999-12-31", "last-day")):
            contents: tuple[dict[str, object], ...] = (
                {"type": "deal_registered", "title": {"en": slug}},
                {"type": "pledge_announced", "pledge": "p", "amount": amount, "commitment": "binding"},
                {"type": "milestone_scheduled", "milestone": "m", "kind": "power_on", "planned": day},
                {"type": "milestone_reached", "milestone": "m", "reached": day},
            )
            events = [{"effective_on": day, "event": event} for event in contents]
            response = await service.client.post(f"/v1/deals/{slug}/events", json=events)
            assert response.status_code == 201, response.text
            deal = f"/deals/{slug}"
            for on in ("0001-01-01", "2025-06-21", "9999-12-31"):
                for path in ("/", "/totals", "/compare", deal, f"{deal}/blame", f"{deal}/compare"):
                    known = 404 if path in (deal, f"{deal}/blame") and on < day else 200
                    assert (await reader.get(f"{path}?effective_on={on}")).status_code == known, (path, on)


async def test_every_demo_page_with_assets_is_sent_in_under_60_kilobytes(
    demo_reader: httpx.AsyncClient,
) -> None:
    """Deals, organizations and events, compressed as browsers receive them."""
    kinds = [("deals", "deal"), ("organizations", "organization"), ("events", "id")]
    every = list(PAGES)
    for name, key in kinds:
        items = (await demo_reader.get(f"/v1/{name}", params={"limit": 1000} if name != "deals" else {})).json()[name]
        every += [f"/{name}/{each[key]}" for each in items[:: 1 if name == "deals" else 9]]
        if name == "deals":
            every += [f"/deals/{each[key]}/{part}" for each in items[::4] for part in ("blame", "compare")]
    sizes: dict[str, int] = {}

    async def measure(path: str) -> str:
        async with demo_reader.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            text = b"".join([part async for part in answer.aiter_bytes()]).decode()
            sizes[path] = answer.num_bytes_downloaded
            assert answer.headers.get("content-encoding") == "gzip" or len(text) < 500, path
            return text

    assets: set[str] = set()
    for path in every:
        assets |= set(re.findall(r'(?:src|href)="(/static/[^"]+)"', await measure(path)))
    largest = max(sizes, key=lambda path: sizes[path])
    for asset in assets:
        await measure(asset)
    assert sizes[largest] + sum(sizes[asset] for asset in assets) < 60_000, largest


async def test_pages_have_no_inline_script_or_style(
    pages: Service, every_page: dict[tuple[str, str], httpx.Response]
) -> None:
    for (path, _), answer in every_page.items():
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text), path
        own = head_of(answer.text).replace(pages.url, "")
        assert not re.search(r'(?:src|href)="(?:https?:)?//[^"]*"(?=[^>]*>)', own), path


async def test_data_pages_offer_a_link_json_and_csv(
    reader: httpx.AsyncClient, every_page: dict[tuple[str, str], httpx.Response]
) -> None:
    for path in PAGES:
        if path in ("/sign-in", "/search"):
            continue
        html = every_page[path, "en"].text
        assert "data-copy>Copy link" in html, path
        for name in ("JSON", "CSV"):
            link = re.search(rf'href="([^"]*)">Download {name}', html)
            assert link is not None, (path, name)
            data = await reader.get(link[1].replace("&amp;", "&"))
            assert data.status_code == 200, (path, link[1])
            assert name.lower() in data.headers["content-type"]


async def test_every_page_has_as_of_controls(every_page: dict[tuple[str, str], httpx.Response]) -> None:
    for path in PAGES:
        if path.startswith("/sign-in"):
            continue
        html = every_page[path, "en"].text
        if "compare" in path:
            assert html.count("Effective on") == 2
            continue
        assert 'aria-label="Effective on"' in html, path
        assert 'aria-label="Known as of"' in html, path


async def test_unchanged_page_returns_304_per_language(reader: httpx.AsyncClient) -> None:
    first = await reader.get(ULSAN)
    again = await reader.get(ULSAN, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    korean = await reader.get(ULSAN, headers={"Accept-Language": "ko", "If-None-Match": first.headers["etag"]})
    assert korean.status_code == 200
    assert "Accept-Language" in first.headers["vary"]


async def test_head_returns_headers_only(reader: httpx.AsyncClient) -> None:
    for path in ("/", ULSAN, "/log"):
        answer = await reader.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


async def test_invalid_addresses_return_error_pages(reader: httpx.AsyncClient) -> None:
    for path, status in (
        ("/?colour=red", 400),
        (f"{ULSAN}?effective_on=2025-02-30", 400),
        ("/?published_on=2025-06-01&position=3", 400),
        ("/search?q=aws&published_on=2025-06-01&position=3", 400),
        ("/organizations/amazon-web-services?published_on=2025-06-16&position=100", 400),
        ("/events/nothing", 404),
        ("/organizations/nobody", 404),
        ("/static/nothing.css", 404),
    ):
        answer = await reader.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"].startswith("text/html"), path
        assert "<h1>" in answer.text


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/?sort=colour", "sort"),
        ("/?published_on=2025-06-01&position=3", "published_on"),
        ("/?known=published&known_on=yesterday", "known_on"),
        ("/log?before=0", "before"),
        ("/totals?rates_of=2025-02-30", "rates_of"),
        ("/compare?from.effective_on=2025-02-30", "from.effective_on"),
        (f"{ULSAN}?recorded_at=noon", "recorded_at"),
        (f"{ULSAN}?recorded=yes", "recorded"),
    ],
)
@pytest.mark.parametrize("language", ["en", "ko"])
async def test_error_page_names_the_invalid_parameter(
    reader: httpx.AsyncClient, path: str, parameter: str, language: str
) -> None:
    answer = await reader.get(path, headers={"Accept-Language": language})
    assert answer.status_code == 400
    assert f'<html lang="{language}">' in answer.text
    assert re.search(rf"(&#39;|‘){re.escape(parameter)}(&#39;|’)", main_of(answer.text))


async def test_unknown_url_returns_html_to_browsers_and_problem_json_to_clients(
    reader: httpx.AsyncClient,
) -> None:
    page = await reader.get("/nowhere/at/all", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Page not found" in page.text
    for path, accept in (("/nowhere/at/all", "*/*"), ("/v1/nowhere", "text/html")):
        problem = await reader.get(path, headers={"Accept": accept})
        assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")


async def test_text_from_announcements_is_escaped(pages: Service, reader: httpx.AsyncClient) -> None:
    markup = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}</textarea>'
    slug = "markup-words"
    source = {"publisher": markup, "title": markup, "url": "https://example.com/a", "published_on": "2025-01-01"}
    body = [
        {
            "effective_on": "2025-01-01",
            "sources": [source],
            "note": markup,
            "event": {
                "type": "deal_registered",
                "title": {"ko": markup, "en": markup},
                "summary": {"en": markup},
            },
        },
        {
            "effective_on": "2025-01-01",
            "sources": [source],
            "event": {
                "type": "pledge_announced",
                "pledge": "p",
                "amount": {"currency": "KRW", "wording": markup},
                "purpose": {"en": markup, "ko": markup},
            },
        },
        {
            "effective_on": "2025-01-01",
            "event": {"type": "site_announced", "site": "s", "name": {"en": markup, "ko": markup}},
        },
        {
            "effective_on": "2025-01-01",
            "event": {"type": "milestone_scheduled", "milestone": "m", "name": {"en": markup}, "planned": "2027"},
        },
        {
            "effective_on": "2025-01-01",
            "event": {"type": "condition_set", "condition": "c", "text": {"ko": markup, "en": markup}},
        },
    ]
    response = await pages.client.post(f"/v1/deals/{slug}/events", json=body)
    assert response.status_code == 201, response.text
    events = [e["id"] for e in response.json()["events"]]
    for path in (
        f"/deals/{slug}",
        f"/deals/{slug}?field=/pledges/p/amount&axis=recorded",
        f"/deals/{slug}/blame",
        f"/deals/{slug}/compare?to.effective_on=2030-01-01",
        f"/search?q={slug}",
        f"/search?q={markup}",
        "/",
        "/log",
        "/compare",
        *(f"/events/{id}" for id in events),
    ):
        for language in ("ko", "en"):
            html = (await reader.get(path, headers={"Accept-Language": language})).text
            assert "<script>alert" not in html, path
            assert "<img" not in html, path
            assert "49" not in re.findall(r"onerror=alert\(2\)(..)", html), path


async def test_page_of_an_error_leads_to_its_other_language_and_to_the_sign_in_page(
    reader: httpx.AsyncClient, editor: httpx.AsyncClient
) -> None:
    html = (await reader.get("/deals/no-such-deal?effective_on=2025-06-21", headers={"Accept": "text/html"})).text
    other = re.search(r'href="([^"]*)" lang="ko" hreflang="ko"', html)
    assert other is not None
    assert other[1] == "/deals/no-such-deal?effective_on=2025-06-21&amp;lang=ko"
    assert '<html lang="ko">' in (await reader.get(other[1].replace("&amp;", "&"))).text
    assert '<a href="/sign-in?then=%2Fdeals%2Fno-such-deal%3Feffective_on%3D2025-06-21">Sign in</a>' in html
    # Who has signed in is not asked to do so.
    html = (await editor.get("/deals/no-such-deal", headers={"Accept": "text/html"})).text
    assert '<a href="/sessions">Sessions</a>' in html
    assert "/sign-in" not in html


@pytest.mark.parametrize("path", ["/", ULSAN, "/about", "/compare", f"{ULSAN}/compare"])
async def test_links_around_a_page_of_the_past_lead_somewhere_in_its_language(
    editor: httpx.AsyncClient, path: str
) -> None:
    at = f"{path}?effective_on=2025-11-19&lang=ko"
    html = (await editor.get(at)).text
    around = [html.partition("</header>")[0].partition("<body>")[2], html.partition('<footer class="foot">')[2]]
    around += re.findall(r'<p class="tools">(.*?)</p>', html, re.DOTALL)
    links = {unescape(link) for part in around for link in re.findall(r'<a href="(/[^"]*)"', part)}
    assert {"/help?lang=ko", "/glossary?lang=ko", "/sessions?lang=ko"} <= links
    for link in sorted(links):
        assert (await editor.get(link, follow_redirects=True)).status_code == 200, link
        # Permanent addresses of the same content, files and the API's documentation have no language.
        if not re.match(r"/(v1|log/|docs)|.*(\.csv|\.atom|position=)", link):
            assert "lang=" in link, link


async def test_page_of_a_deal_before_its_first_event_leads_to_the_present_in_its_language(
    reader: httpx.AsyncClient,
) -> None:
    html = (await reader.get(f"{ULSAN}?effective_on=2020-01-01&lang=ko")).text
    assert f'href="{ULSAN}?lang=ko"' in html


async def test_forms_for_an_event_keep_the_language(editor: httpx.AsyncClient) -> None:
    html = (await editor.get(f"{ULSAN}?lang=ko")).text
    links = re.findall(r'<a href="([^"]*/record\?[^"]*)"', html)
    assert any("voids=" in link for link in links)
    assert all("lang=ko" in link for link in links)


async def test_organizations_are_in_the_order_of_the_names_that_the_page_shows(demo_reader: httpx.AsyncClient) -> None:
    listed = {}
    for language in ("ko", "en"):
        html = (await demo_reader.get(f"/organizations?lang={language}")).text
        listed[language] = re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', html)
    assert len(listed["en"]) > 10
    assert listed["en"] == sorted(listed["en"], key=str.casefold)
    korean = [name for name in listed["ko"] if "가" <= name[0] <= "힣"]
    # Hangul comes first, as in a Korean dictionary.
    assert listed["ko"][: len(korean)] == sorted(korean)
    assert len(listed["ko"]) == len(listed["en"]) > len(korean) > 5


async def test_pages_of_organizations_follow_one_another(
    demo_reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = organization_links((await demo_reader.get("/organizations?lang=ko")).text)
    monkeypatch.setattr(organization_pages, "PAGE_SIZE", 5)
    path, found = "/organizations?lang=ko&axis=published", []
    for _ in range(len(whole)):
        html = (await demo_reader.get(path)).text
        found += organization_links(html)
        following = re.search(r'href="([^"]*)" rel="next"', html)
        if following is None:
            break
        path = following[1].replace("&amp;", "&")
    assert found == whole


def organization_links(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/organizations/([a-z0-9-]+)', html)


async def test_claim_has_the_effective_date_of_the_event_that_it_is_about(demo_reader: httpx.AsyncClient) -> None:
    """A paper of 22 June reported another currency of an amount that was announced on the 20th."""
    html = (await demo_reader.get(f"{ULSAN}?effective_on=2025-06-21")).text
    events = (await demo_reader.get(f"/v1{ULSAN}/events")).json()["events"]
    [claim] = [e["id"] for e in events if e["type"] == "claim_reported" and e["published_on"] == "2025-06-22"]
    entry = html[html.index(f'id="event-{claim}"') :].split("</li>")[0]
    assert "effective 20 Jun 2025 · published 22 Jun 2025" in text_of(entry)


async def test_private_registry_redirects_readers_to_sign_in(pages: Service, reader: httpx.AsyncClient) -> None:
    registry = pages.app.state.services
    public = registry.settings
    try:
        registry.settings = msgspec.structs.replace(public, public_read=False)
        answer = await reader.get(f"{ULSAN}?effective_on=2025-06-21")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?then=")
        assert (await reader.get("/sign-in")).status_code == 200
        assert (await reader.get("/totals.csv")).status_code == 303
    finally:
        registry.settings = public


@pytest.mark.parametrize("path", ["/deals/sk-aws-ulsan", "/"])
async def test_links_keep_the_language_of_the_address(reader: httpx.AsyncClient, path: str) -> None:
    html = (await reader.get(f"{path}?lang=ko")).text
    inner = re.findall(r'<a[^>]* href="(/(?:deals|organizations|totals)[^"]*)"', main_of(html))
    assert inner
    assert all("lang=ko" in link or "/record" in link for link in inner), [i for i in inner if "lang=ko" not in i]


async def test_redacted_content_disappears_from_every_page(pages: Service, reader: httpx.AsyncClient) -> None:
    secret = "a-name-that-must-go"
    registered = {"effective_on": "2025-01-01", "event": {"type": "deal_registered", "title": {"en": "Erased"}}}
    pledged = {
        "effective_on": "2025-01-01",
        "event": {"type": "pledge_announced", "pledge": "p", "purpose": {"en": secret, "ko": secret}},
    }
    response = await pages.client.post("/v1/deals/erased/events", json=[registered, pledged])
    event = response.json()["events"][1]["id"]
    paths = ("/deals/erased", "/deals/erased/blame", f"/events/{event}", "/log", "/")
    assert secret in (await reader.get(paths[0])).text
    for path in paths:
        await reader.get(path)
    redaction = {"event": {"type": "event_redacted", "redacts": event, "reason": "a court's order"}}
    assert (await pages.client.post("/v1/deals/erased/events", json=redaction)).status_code == 201
    for path in paths:
        assert secret not in (await reader.get(path)).text, path
    assert not any(secret.encode() in page.body for page in cache.pages.values())
    assert "Its content was redacted." in (await reader.get(f"/events/{event}")).text
    assert "a court&#39;s order" in (await reader.get("/deals/erased")).text
