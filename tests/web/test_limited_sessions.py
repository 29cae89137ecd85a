"""Sessions of limited keys: no page that records is a way to what the key does not allow.

Each form is sent twice, as an editor's browser sends it: first with the session of a key for another deal and another
organization, which must record nothing, and then with an editor's, so that it is a form that records.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias
from urllib.parse import unquote

import httpx
import pytest
from msgspec import Struct

from registry.domain.sources.identity import source_id
from registry.events.values import Scope
from registry.web.page.request import csrf_token
from tests.api.announcements import announced, pledged, registered
from tests.rights.table import PAGES
from tests.service import Service
from tests.web.forms import button, fields, opened_article, press
from tests.web.test_articles import SOURCE
from tests.web.test_import_pages import PLANTS, mapped, run, upload
from tests.web.test_recording import NAMED, hidden, opened
from tests.web.test_sessions import visit

SCOPES: tuple[Scope, ...] = ("read", "propose", "record", "correct", "redact")
COOKIE = "registry_session"

Form: TypeAlias = tuple[str, dict[str, str]]
"""The address that a form is sent to, and its fields."""


class Case(Struct, frozen=True):
    """The service, the slug of the test's records, and an editor's browser."""

    service: Service
    slug: str
    editor: httpx.AsyncClient

    async def recorded(self, path: str, body: Any) -> Any:
        """Record announcements with the administrator's key."""
        answer = await self.service.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def deal(self) -> list[str]:
        """A deal with a pledge; returns the ids of its events."""
        source = {**SOURCE_OF_DEAL, "url": self.url}
        events = [registered(f"Plant {self.slug}"), {**pledged(), "sources": [source]}]
        return [event["id"] for event in (await self.recorded(f"/v1/deals/{self.slug}/events", events))["events"]]

    @property
    def url(self) -> str:
        """The address of the pledge's source."""
        return f"https://gazette.test/{self.slug}"

    async def previewed(self, path: str, **typed: str) -> Form:
        """A form that was previewed, as it is sent next."""
        address = path.partition("?")[0]
        typed |= await opened(self.editor, path)
        preview = await self.editor.post(address, data={**typed, "step": "preview"})
        return address, {**hidden(preview.text), "step": "record"}


SOURCE_OF_DEAL = {"publisher": "Gazette", "published_on": "2025-06-16"}


async def void_in_form(case: Case) -> Form:
    ids = await case.deal()
    return await case.previewed(f"/deals/{case.slug}/record?voids={ids[1]}", reason="A mistake.")


async def organization_name(case: Case) -> Form:
    named = {"event": {"type": "organization_registered", "name": {"en": case.slug}}}
    await case.recorded(f"/v1/organizations/{case.slug}/events", named)
    return await case.previewed(f"/organizations/{case.slug}/record?type=organization_named", **NAMED)


async def article(case: Case) -> Form:
    await case.deal()
    page = await opened_article(case.editor, deal=case.slug, type="stage_changed")
    typed = {**SOURCE, "deals/0/announcements/0/event/stage": "operating"}
    preview = await press(case.editor, page, "Preview changes", **typed)
    return "/record", {**fields(preview.text), **button(preview.text, "Record")}


async def undo(case: Case) -> Form:
    path, sent = await article(case)
    done = await case.editor.post(path, data=sent)
    return "/record/undo", fields((await case.editor.get(done.headers["location"])).text)


async def retraction(case: Case) -> Form:
    await case.deal()
    path = f"/sources/{source_id(case.url)}/retraction"
    form = (await case.editor.get(path)).text
    treated = re.findall(r'<select name="(event-[^"]*)".*?<option value="([^"]*)" selected', form, re.DOTALL)
    return path, {**hidden(form), **dict(treated), "reason": "Taken back.", "step": "record"}


async def duplicates(case: Case) -> Form:
    for name in ("kept", "merged"):
        parties = [{"organization": f"{case.slug}-{name}", "role": "investor"}]
        joined = announced("2025-06-16", "parties_joined", parties=parties)
        await case.recorded(f"/v1/deals/{case.slug}-{name}/events", [registered(), joined])
    return "/organization-duplicates", {"keep": f"{case.slug}-kept", f"merge:{case.slug}-merged": "on"}


async def undone_duplicates(case: Case) -> Form:
    path, sent = await duplicates(case)
    csrf = csrf_token(case.editor.cookies[COOKIE])
    assert (await case.editor.post(path, data={**sent, "csrf": csrf})).status_code == 303
    return f"{path}/undo", {"organization": f"{case.slug}-merged", "into": f"{case.slug}-kept"}


async def decision(case: Case) -> Form:
    body = {"deal": case.slug, "announcements": [registered()]}
    made = await case.service.visitor.post("/v1/proposals", json=body, headers=await case.service.key("propose"))
    path = f"/proposals/{made.json()['proposal']}"
    return path, {**hidden((await case.editor.get(path)).text), "decision": "approve"}


FORMS: dict[str, Callable[[Case], Awaitable[Form]]] = {
    "POST /deals/{deal:str}/record": void_in_form,
    "POST /organizations/{organization:str}/record": organization_name,
    "POST /record": article,
    "POST /record/undo": undo,
    "POST /sources/{source:str}/retraction": retraction,
    "POST /organization-duplicates": duplicates,
    "POST /organization-duplicates/undo": undone_duplicates,
    "POST /proposals/{id:str}": decision,
}

IMPORT = "POST /import/{id:str}/run"

# They keep what the client sends for the client itself, or show what it means.
RECORDS_NOTHING = (
    *(f"POST /import{rest}" for rest in ("", "/{id:str}/answers", "/{id:str}/delete", "/{id:str}/files")),
    *(f"POST /import/{{id:str}}/{rest}" for rest in ("header", "mapping")),
    *(f"POST /watches{rest}" for rest in ("", "/{id:str}/challenge", "/{id:str}/delete", "/{id:str}/{purpose:str}")),
    *(f"POST /sessions/{rest}" for rest in ("end-others", "{id:str}/end")),
    *("POST /record/article", "POST /sign-in", "POST /sign-out"),
)


def test_every_form_of_a_session_is_known() -> None:
    assert {route for route in PAGES if route.startswith("POST ")} == {*FORMS, IMPORT, *RECORDS_NOTHING}


@pytest.fixture
async def browsers(pages: Service) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """The browsers of an editor, and of one whose key is for another deal and another organization."""
    elsewhere = {"deals": ("elsewhere",), "organizations": ("elsewhere",)}
    async with AsyncExitStack() as stack:
        editor = await stack.enter_async_context(visit(pages, await pages.issue(*SCOPES)))
        limited = await stack.enter_async_context(visit(pages, await pages.issue(*SCOPES, **elsewhere)))
        for browser in (editor, limited):
            browser.headers["Accept-Language"] = "en"
        yield editor, limited


@pytest.mark.parametrize("route", FORMS)
async def test_form_records_nothing_outside_the_limits_of_its_session(
    pages: Service, browsers: tuple[httpx.AsyncClient, httpx.AsyncClient], slug: str, route: str
) -> None:
    editor, limited = browsers
    path, sent = await FORMS[route](Case(pages, slug, editor))
    for browser, is_recorded in ((limited, False), (editor, True)):
        size = await pages.size()
        csrf = csrf_token(unquote(browser.cookies[COOKIE]))
        answer = await browser.post(path, data={**sent, "csrf": csrf})
        assert answer.status_code < 500, answer.text
        assert (await pages.size() > size) == is_recorded, f"{answer.status_code} {answer.text}"


async def test_sheet_records_nothing_outside_the_limits_of_its_session(
    pages: Service, browsers: tuple[httpx.AsyncClient, httpx.AsyncClient], slug: str
) -> None:
    editor, limited = browsers
    for browser, is_recorded in ((limited, False), (editor, True)):
        path = await upload(browser, "plants.csv", PLANTS.format(x=slug).encode())
        await mapped(browser, path, slug)
        size = await pages.size()
        await run(browser, path)
        assert (await pages.size() > size) == is_recorded
