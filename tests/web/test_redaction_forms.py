"""Redaction by form, without scripts: who may, what the preview says, and what is left."""

from __future__ import annotations

import re

import asyncpg
import httpx
from msgspec.structs import replace

from registry.events.values import Scope
from tests.databases import Server
from tests.service import NO_TLS, Service, cloned, running
from tests.web.test_recording import NAMED, hidden, opened, record

SECRET = "a-name-to-erase"


async def erasable(service: Service, deal: str) -> tuple[str, str]:
    """Record a pledge with a personal name and a correction that repeats it; returns the ids of both events."""
    registration = {"effective_on": "2025-01-01", "event": {"type": "deal_registered", "title": {"en": "To be erased"}}}
    pledge = {"type": "pledge_announced", "pledge": "p", "purpose": {"en": SECRET}}
    made = await service.client.post(f"/v1/deals/{deal}/events", json=[registration, {**registration, "event": pledge}])
    event = made.json()["events"][1]["id"]
    again = {"event": {**pledge, "commitment": "binding"}}
    corrected = {"event": {"type": "event_corrected", "corrects": event, "replacement": again, "reason": "binding"}}
    made = await service.client.post(f"/v1/deals/{deal}/events", json=corrected)
    assert made.status_code == 201, made.text
    return event, made.json()["events"][0]["id"]


async def sign_in(service: Service, client: httpx.AsyncClient, *scopes: Scope) -> None:
    token = (await service.key(*scopes))["Authorization"].removeprefix("Bearer ")
    answer = await client.post("/sign-in", data={"key": token, "then": "/"})
    assert answer.status_code == 303


async def test_key_with_redact_scope_previews_and_redacts_an_event(pages: Service, reader: httpx.AsyncClient) -> None:
    path = "/deals/erased-by-form"
    event, correction = await erasable(pages, "erased-by-form")
    await sign_in(pages, reader, "redact")
    way = f"{path}/record?redacts={event}"
    for shown in (f"/events/{event}", path):
        assert f'href="{way}"' in (await reader.get(shown)).text, shown
    size = await pages.size()
    form = await reader.get(way)
    assert SECRET in form.text
    assert "This cannot be undone." in form.text
    assert "so that every proof still verifies" in form.text
    assert f'href="/events/{correction}"' in form.text
    korean = await reader.get(f"{way}&lang=ko")
    assert "되돌릴 수 없습니다." in korean.text
    fields = hidden(form.text)
    for reason, fault in (("", "is required"), ("x" * 4001, "4,000")):
        back = await reader.post(f"{path}/record", data={**fields, "reason": reason, "step": "preview"})
        assert back.status_code == 422
        assert fault in back.text[back.text.index('id="f-reason-fault"') :][:200]
        assert 'role="alert"' not in back.text
    preview = await reader.post(f"{path}/record", data={**fields, "reason": "a court's order", "step": "preview"})
    assert preview.status_code == 200
    assert "This cannot be undone." in preview.text
    assert "Redact permanently" in preview.text
    assert re.search(f"<del>[^<]*{SECRET}", preview.text)
    assert await pages.size() == size
    assert SECRET in (await reader.get(path)).text
    changed = await reader.post(f"{path}/record", data={**hidden(preview.text), "step": "edit"})
    assert "a court&#39;s order</textarea>" in changed.text
    done = await reader.post(f"{path}/record", data={**hidden(preview.text), "step": "record"})
    assert done.status_code == 303
    assert await pages.size() == size + 1
    for gone in (path, f"/events/{event}", f"/events/{correction}"):
        page = (await reader.get(gone)).text
        assert SECRET not in page
        assert f"redacts={event}" not in page
    envelope = (await reader.get(f"/events/{event}")).text
    assert "Its content was redacted." in envelope
    assert "Verified by the server:" in envelope
    assert "a court&#39;s order" in (await reader.get(path)).text
    assert (await reader.get(way)).status_code == 404


async def test_key_without_redact_scope_gets_no_redaction_form(pages: Service, reader: httpx.AsyncClient) -> None:
    path = "/deals/not-erased"
    event, _ = await erasable(pages, "not-erased")
    await sign_in(pages, reader, "record", "correct")
    for shown in (f"/events/{event}", path):
        page = (await reader.get(shown)).text
        assert f"corrects={event}" in page
        assert "redacts=" not in page
    fields = {**await opened(reader, f"{path}/record?voids={event}"), "redacts": event, "reason": "a court's order"}
    del fields["voids"]
    size = await pages.size()
    for step in ("preview", "record", "edit"):
        refused = await reader.post(f"{path}/record", data={**fields, "step": step})
        assert refused.status_code == 403
        assert "<h1>Missing scope</h1>" in refused.text
    assert (await reader.get(f"{path}/record?redacts={event}")).status_code == 403
    assert await pages.size() == size
    assert SECRET in (await reader.get(path)).text


async def test_form_reports_that_redaction_is_unavailable(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with (
        cloned(demo_server, admin, "ownerless") as settings,
        running(replace(settings, owner_url=None)) as service,
        httpx.AsyncClient(base_url=service.url, headers={"Accept-Language": "en"}, timeout=30, verify=NO_TLS) as client,
    ):
        path = "/deals/kept/record"
        event, _ = await erasable(service, "kept")
        await sign_in(service, client, "redact")
        fields = {**await opened(client, f"{path}?redacts={event}"), "reason": "a court's order"}
        for step in ("preview", "record"):
            answer = await client.post(path, data={**fields, "step": step})
            assert answer.status_code == 503
            assert "REGISTRY_OWNER_URL" in answer.text
            assert "a court&#39;s order</textarea>" in answer.text
        assert SECRET in (await client.get("/deals/kept")).text


async def test_event_of_an_organization_is_redacted_by_form(editor: httpx.AsyncClient, pages: Service) -> None:
    path = "/organizations/an-erased-firm/record"
    await record(editor, path, {"event/name/en": "An Erased Firm", "event/country": "KR"})
    await record(editor, f"{path}?type=organization_named", {**NAMED, "event/name": SECRET})
    events = (await editor.get("/v1/organizations/an-erased-firm/events")).json()["events"]
    way = f"{path}?redacts={events[-1]['id']}"
    preview = await editor.post(path, data={**await opened(editor, way), "reason": "a court's order"})
    assert "This cannot be undone." in preview.text
    assert "Nothing that is shown changes" not in preview.text
    await record(editor, way, {"reason": "a court's order"})
    assert SECRET not in (await editor.get("/organizations/an-erased-firm")).text
