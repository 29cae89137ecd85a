"""Every page of the registry, in the states that readers and editors meet, for the pictures of `test_screenshots.py`.

A page is a route of the application that answers with HTML. A route without an entry here fails the test.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Literal

import httpx
from msgspec import Struct
from playwright.async_api import Page

from registry.delivery import watch_store
from registry.domain.sources.identity import source_id
from tests.api.announcements import announced, pledged, registered
from tests.api.test_named_organizations import announce
from tests.service import ADMIN_KEY, Service, bearer
from tests.web.test_import_pages import PLANTS, mapped, run, token, upload

ULSAN = "/deals/sk-aws-ulsan"
AMKOR = "/deals/amkor-songdo"
FORM = "form.article button[name=step][value=preview]:not(.unseen)"
ARTICLE = (
    "AWS will invest $5 billion in Ulsan by 2031. Corning will invest about $500 million in a plant in Asan. "
    "The plant will create 300 jobs. The governor welcomed both."
)

Where = Literal["demo", "office", "many", "limited", "unavailable"]
Act = Callable[[Page], Awaitable[None]]


class Shot(Struct, frozen=True):
    """A page in one state.

    Attributes:
        route: The application's route.
        path: The address; {names} stand for what `furnish` made.
        where: Which service: the demo as packaged; the office, where editors work; many generated deals; one that
            refuses further requests; one whose copy for questions about all deals is not ready.
        reader: Who looks.
        act: What is done on the page before the picture.
        status: The expected HTTP status of the address.
    """

    route: str
    path: str
    where: Where = "demo"
    reader: Literal["visitor", "editor", "proposer"] = "visitor"
    act: Act | None = None
    status: int = 200


NOT_PAGES = frozenset(
    {
        # Data, drawings and files.
        "/totals.csv", "/compare.csv", "/organizations.csv", "/deals/{deal}/compare.csv", "/deals/{deal}/fields.csv",
        "/charts/trend.svg", "/charts/deals/{deal}/timeline.svg", "/import/{id}/{name}", "/static/{file_path}",
        "/docs/static/{file_path}", "/openapi.json", "/metrics",
        # For programs. The last three are Litestar's own addresses of the OpenAPI document.
        "/robots.txt", "/sitemap.xml", "/sitemaps/pages", "/sitemaps/deals/{number}",
        "/sitemaps/organizations/{number}", "/health/live", "/health/ready",
        "/docs/openapi", "/docs/openapi/openapi.json", "/docs/openapi/{path}",
        "/log/checkpoint", "/log/tile/{tile}", "/log/witness/key", "/log/witness/{origin_hash}/checkpoint",
        # Parts of pages, which scripts load.
        "/search/suggestions", "/record/names/{kind}", "/record/amount",
        # Redirects of a sign-in (tests/oidc).
        "/sign-in/provider", "/sign-in/callback",
    }
)  # fmt: skip


async def _preview(page: Page) -> None:
    await page.locator(FORM).click()
    await page.wait_for_load_state()


async def _new_pledge(page: Page) -> None:
    await page.fill("[name=effective_on]", "2026-03-02")
    await page.fill("[name='sources/0/publisher']", "UPI")
    await page.fill("[name='sources/0/url']", "https://upi.com/news/example")
    await page.fill("[name='deals/0/announcements/0/event/pledge']", "phase-2")
    await page.fill("[name='deals/0/announcements/0/event/amount']", "about US$6bn")
    await _preview(page)


async def _wrong_pledge(page: Page) -> None:
    await page.fill("[name='deals/0/deal']", "no such deal")
    await page.fill("[name='deals/0/announcements/0/event/amount']", "a lot")
    await _preview(page)


async def _paste(page: Page) -> None:
    await page.fill("[name=text]", ARTICLE)
    await page.fill("[name='sources/0/url']", "https://paper.example/two")
    await page.fill("[name='sources/0/published_on']", "2025-10-29")
    await page.locator("main form button").last.click()
    await page.wait_for_load_state()


async def _send(page: Page) -> None:
    """Send the last form as a browser without validation of its own does."""
    await page.evaluate("document.querySelectorAll('form').forEach((form) => { form.noValidate = true; })")
    await page.locator("main form button").last.click()
    await page.wait_for_load_state()


async def _wrong_key(page: Page) -> None:
    await page.fill("[name=key]", "reg_unknown")
    await _send(page)


async def _suggest(page: Page) -> None:
    await page.locator("#q").press_sequentially("aws")
    await page.wait_for_selector("[role=option]")


async def _open_panel(page: Page) -> None:
    await page.locator("main a[data-panel]").first.click()
    await page.wait_for_selector("#panel[open]")


async def _load_docs(page: Page) -> None:
    await page.wait_for_selector(".opblock")


async def _unfold(page: Page) -> None:
    await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


SHOTS = {
    "overview": Shot("/", "/"),
    "overview-unfolded": Shot("/", "/", act=_unfold),
    "overview-scope": Shot("/", "/", "office"),
    "overview-all": Shot("/", "/?scope=all", "office"),
    "overview-past": Shot("/", "/?recorded_at=2025-06-21T14:59:59Z"),
    "overview-empty": Shot("/", "/?effective_on=2020-01-01"),
    "overview-filtered": Shot("/", "/?region=KR-31&unit=USD"),
    "overview-won": Shot("/", "/?unit=KRW&sort=-updated"),
    "overview-no-match": Shot("/", "/?q=atlantis"),
    "overview-bounds": Shot("/", "/?amount_min=5000&region=KR", status=400),
    "overview-many": Shot("/", "/", "many"),
    "overview-many-filtered": Shot("/", "/?stage=construction&sort=-amount&unit=stated", "many"),
    "overview-office-empty": Shot("/", "/?effective_on=1990-01-01", "many"),
    "deal": Shot("/deals/{deal}", ULSAN),
    "deal-unfolded": Shot("/deals/{deal}", ULSAN, act=_unfold),
    "deal-panel": Shot("/deals/{deal}", ULSAN, act=_open_panel),
    "deal-past": Shot("/deals/{deal}", f"{ULSAN}?effective_on=2025-06-21"),
    "deal-recorded": Shot("/deals/{deal}", f"{ULSAN}?recorded_at=2025-06-21T14:59:59Z"),
    "deal-future": Shot("/deals/{deal}", f"{ULSAN}?effective_on=2028-01-01"),
    "deal-not-yet": Shot("/deals/{deal}", f"{ULSAN}?effective_on=2025-01-01", status=404),
    "deal-flagged": Shot("/deals/{deal}", AMKOR),
    "deal-joint": Shot("/deals/{deal}", "/deals/microsoft-kt"),
    "deal-intention": Shot("/deals/{deal}", "/deals/blackrock-asia-ai-hub"),
    "deal-annual": Shot("/deals/{deal}", "/deals/alibaba-gmarket"),
    "deal-bare": Shot("/deals/{deal}", "/deals/corning-korea"),
    "deal-aggregate": Shot("/deals/{deal}", "/deals/seven-firms-korea-2030"),
    "deal-programme": Shot("/deals/{deal}", "/deals/korea-ai-highway"),
    "deal-sites": Shot("/deals/{deal}", "/deals/aws-korea-2031"),
    "deal-many": Shot("/deals/{deal}", "{many_deal}", "many"),
    "deal-editor": Shot("/deals/{deal}", ULSAN, "office", "editor"),
    "provenance": Shot("/deals/{deal}/blame", f"{ULSAN}/blame"),
    "provenance-field": Shot("/deals/{deal}/blame", f"{ULSAN}/blame?field=/pledges/total/amount"),
    "compare-deal": Shot(
        "/deals/{deal}/compare", f"{ULSAN}/compare?from.effective_on=2025-06-17&to.effective_on=2025-10-30"
    ),
    "compare-deal-none": Shot("/deals/{deal}/compare", f"{ULSAN}/compare?from.effective_on=2026-01-01"),
    "compare": Shot("/compare", "/compare?from.recorded_at=2025-06-21T14:59:59Z"),
    "compare-effective": Shot("/compare", "/compare?from.effective_on=2025-06-16&to.effective_on=2025-10-29"),
    "compare-none": Shot("/compare", "/compare?from.effective_on=2026-01-01"),
    "compare-many": Shot("/compare", "/compare?from.effective_on=2021-06-01", "many"),
    "totals": Shot("/totals", "/totals"),
    "totals-stage": Shot("/totals", "/totals?group_by=stage&unit=USD"),
    "totals-stated": Shot("/totals", "/totals?group_by=organization&unit=stated"),
    "totals-many": Shot("/totals", "/totals?group_by=region&unit=USD", "many"),
    "organizations": Shot("/organizations", "/organizations"),
    "organizations-none": Shot("/organizations", "/organizations?q=atlantis"),
    "organizations-many": Shot("/organizations", "/organizations", "many"),
    "organization": Shot("/organizations/{organization}", "/organizations/amazon-web-services"),
    "organization-many": Shot("/organizations/{organization}", "{many_organization}", "many"),
    "organization-editor": Shot(
        "/organizations/{organization}", "/organizations/amazon-web-services", "office", "editor"
    ),
    "duplicates": Shot("/organization-duplicates", "/organization-duplicates", "office", "editor"),
    "log": Shot("/log", "/log"),
    "log-filtered": Shot("/log", "/log?type=stage_changed"),
    "log-none": Shot("/log", "/log?type=stage_changed&source=https://nowhere.example/"),
    "log-many": Shot("/log", "/log", "many"),
    "event": Shot("/events/{id}", "/events/{event}"),
    "event-corrected": Shot("/events/{id}", "/events/{corrected}", "office", "editor"),
    "source": Shot("/sources/{source}", "/sources/{source}"),
    "source-editor": Shot("/sources/{source}", "/sources/{herald}", "office", "editor"),
    "source-retraction": Shot("/sources/{source}/retraction", "/sources/{herald}/retraction", "office", "editor"),
    "search": Shot("/search", "/search?q=울산"),
    "search-words": Shot("/search", "/search?q=amazon centre"),
    "search-typing": Shot("/search", "/search", act=_suggest),
    "search-none": Shot("/search", "/search?q=atlantis"),
    "search-many": Shot("/search", "/search?q=organization 12", "many"),
    "about": Shot("/about", "/about"),
    "help": Shot("/help", "/help"),
    "glossary": Shot("/glossary", "/glossary"),
    "sign-in": Shot("/sign-in", "/sign-in"),
    "sign-in-refused": Shot("/sign-in", "/sign-in", act=_wrong_key),
    "signed-in": Shot("/sign-in", "/sign-in", "office", "editor"),
    "sessions": Shot("/sessions", "/sessions", "office", "editor"),
    "embed-trend": Shot("/embed/trend", "/embed/trend"),
    "embed-deal": Shot("/embed/deals/{deal}", f"/embed{ULSAN}"),
    "record": Shot("/record", "/record", "office", "editor"),
    "record-deal": Shot("/record", "/record?deal=sk-aws-ulsan&type=pledge_revised", "office", "editor"),
    "record-errors": Shot(
        "/record", "/record?deal=sk-aws-ulsan&type=pledge_announced", "office", "editor", _wrong_pledge
    ),
    "record-preview": Shot(
        "/record", "/record?deal=sk-aws-ulsan&type=pledge_announced", "office", "editor", _new_pledge
    ),
    "record-done": Shot("/record/done", "/record/done?first={first}&last={last}", "office", "editor"),
    "record-paste": Shot("/record/article", "/record/article", "office", "editor"),
    "record-paste-error": Shot("/record/article", "/record/article", "office", "editor", _send),
    "record-pasted": Shot("/record/article", "/record/article", "office", "editor", _paste),
    "record-correction": Shot("/deals/{deal}/record", f"{ULSAN}/record?corrects={{pledge}}", "office", "editor"),
    "record-void": Shot("/deals/{deal}/record", f"{ULSAN}/record?voids={{pledge}}", "office", "editor"),
    "record-void-error": Shot("/deals/{deal}/record", f"{ULSAN}/record?voids={{pledge}}", "office", "editor", _send),
    "record-name": Shot(
        "/organizations/{organization}/record",
        "/organizations/amazon-web-services/record?type=organization_named",
        "office",
        "editor",
    ),
    "proposals": Shot("/proposals", "/proposals", "office", "editor"),
    "proposals-rejected": Shot("/proposals", "/proposals?status=rejected", "office", "editor"),
    "proposal": Shot("/proposals/{id}", "/proposals/{proposal}", "office", "editor"),
    "proposal-own": Shot("/proposals/{id}", "/proposals/{proposal}", "office", "proposer"),
    "proposal-rejected": Shot("/proposals/{id}", "/proposals/{rejected}", "office", "proposer"),
    "proposal-change": Shot("/proposals/{id}/change", "/proposals/{proposal}/change", "office", "proposer"),
    "import": Shot("/import", "/import", "office", "editor"),
    "import-mapping": Shot("/import/{id}", "{import}", "office", "editor"),
    "import-checked": Shot("/import/{id}", "{checked_import}", "office", "editor"),
    "watches": Shot("/watches", "/watches", "office", "editor"),
    "watches-none": Shot("/watches", "/watches", "office", "proposer"),
    "watch-new": Shot("/watches/new", "/watches/new?deal=sk-aws-ulsan", "office", "editor"),
    "watch-error": Shot("/watches/new", "/watches/new?deal=sk-aws-ulsan", "office", "editor", _send),
    "watch-confirm": Shot("/watches/{id}/{purpose}", "{watch_confirm}", "office"),
    "watch-end": Shot("/watches/{id}/{purpose}", "{watch_end}", "office"),
    "docs": Shot("/docs", "/docs", act=_load_docs),
    "problems": Shot("/docs/problems", "/docs/problems"),
    "not-found": Shot("/deals/{deal}", "/deals/no-such-deal", status=404),
    "no-page": Shot("/", "/no/such/page", status=404),
    "bad-date": Shot("/deals/{deal}", f"{ULSAN}?effective_on=noon", status=400),
    "forbidden": Shot("/deals/{deal}/record", f"{ULSAN}/record?redacts={{pledge}}", "office", "proposer", status=403),
    "too-many": Shot("/", "/", "limited", status=429),
    "unavailable": Shot("/", "/", "unavailable", status=503),
}


async def furnish(service: Service) -> dict[str, str]:
    """Give editors something to work on: proposals, imports, a watch, a correction, organizations of one name.

    Returns:
        What the addresses of `SHOTS` name, by its name there.
    """
    article = {"publisher": "Korea Herald", "url": "https://herald.example/plant", "published_on": "2025-06-16"}
    known = {"herald": source_id(article["url"]) or ""}
    events = [registered("Battery plant in Gumi"), {**pledged(), "sources": [article]}]
    answer = await service.client.post("/v1/deals/gumi-battery/events", json=events)
    recorded = answer.json()["events"]
    known |= {"first": str(recorded[0]["position"]), "last": str(recorded[-1]["position"])}
    known["corrected"] = recorded[1]["id"]
    slip = {"type": "event_corrected", "corrects": recorded[1]["id"], "reason": "A digit was missing."}
    slip["replacement"] = {"event": {**pledged()["event"], "amount": {"value": "5500000000", "currency": "USD"}}}
    await service.client.post("/v1/deals/gumi-battery/events", json={"event": slip})
    await announce(service.client, "example-one", "2024-05-01", ("example-energy", "Example Energy"))
    await announce(service.client, "example-two", "2024-06-01", ("energy-example", "Energy Example"))
    proposer = await service.issue("propose", name="Kim Minji", kind="person")
    known["proposer"] = proposer.secret
    for name, deal in (("proposal", "sk-aws-ulsan"), ("rejected", "corning-korea")):
        body = {"deal": deal, "announcements": [announced("2026-03-02", "stage_changed", stage="operating")]}
        sent = await service.visitor.post("/v1/proposals", json=body, headers=bearer(proposer))
        known[name] = sent.json()["proposal"]
    async with httpx.AsyncClient(base_url=service.url, headers={"Accept-Language": "en"}, timeout=60) as editor:
        await editor.post("/sign-in", data={"key": ADMIN_KEY, "then": "/"})
        page = (await editor.get(f"/proposals/{known['rejected']}")).text
        decision = {"csrf": token(page), "decision": "reject", "reason": "The source says nothing about operation."}
        digest = re.findall(r'name="(digest[^"]*)" value="([^"]*)"', page)
        await editor.post(f"/proposals/{known['rejected']}", data={**decision, **dict(digest)})
        known["import"] = await upload(editor, "plants.csv", PLANTS.format(x="a").encode())
        known["checked_import"] = await upload(editor, "plants.csv", PLANTS.format(x="b").encode())
        await mapped(editor, known["checked_import"], "example-plants")
        await run(editor, known["checked_import"], "check")
        form = {"csrf": token((await editor.get("/sessions")).text), "deal": "sk-aws-ulsan", "email": "kim@example.org"}
        assert (await editor.post("/watches", data=form)).status_code == 303
    for row in await service.pool.fetch("SELECT id FROM watches"):
        watch = await watch_store.load(service.pool, row["id"])
        for purpose in ("confirm", "end"):
            link = service.app.state.services.watches._link(watch, purpose)
            known[f"watch_{purpose}"] = link.removeprefix(service.settings.site)
    return known
