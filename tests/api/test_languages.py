"""Texts in any language: recorded, shown, exported and imported unchanged (property 41)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from registry.i18n import LANGUAGES
from tests.api.announcements import pledged, registered
from tests.api.test_imports import send

TITLES = [
    {"ko": "울산 데이터센터", "en": "Ulsan data centre"},
    {"ja": "蔚山データセンター"},
    {"zh-Hant": "蔚山資料中心", "zh-Hans": "蔚山数据中心", "de-CH-1996": "Rechenzentrum Ulsan"},
    {"sr-Latn-RS": "Centar podataka", "en": "A data centre", "ar": "مركز بيانات أولسان", "es-419": "Centro de datos"},
    {"he": "מרכז נתונים", "vi": "Trung tâm dữ liệu", "en-x-internal": "Hall 1"},
]


@pytest.mark.parametrize("title", TITLES)
async def test_text_in_any_language_survives_recording_export_and_import(
    client: httpx.AsyncClient, new_slug: Callable[[], str], title: dict[str, str]
) -> None:
    first, second = new_slug(), new_slug()
    announcements = [registered(), pledged(purpose=title)]
    announcements[0]["event"]["title"] = title
    assert (await client.post(f"/v1/deals/{first}/events", json=announcements)).status_code == 201

    exported = await client.get("/v1/export/events.ndjson", params={"deal": first})
    rows = [json.loads(line) for line in exported.text.splitlines()]
    copies = [copy_of(row, second) for row in rows]
    assert [result["status"] for result in await send(client, *copies)] == [201, 201]

    for slug in (first, second):
        state = (await client.get(f"/v1/deals/{slug}")).json()
        assert state["title"] == {"ko": None, "en": None, **title}
        assert state["pledges"][0]["purpose"] == {"ko": None, "en": None, **title}
        events = (await client.get(f"/v1/deals/{slug}/events")).json()["events"]
        assert events[0]["event"]["title"] == title


def copy_of(row: dict[str, Any], deal: str) -> dict[str, Any]:
    """An exported event as a line of an import for another deal."""
    event = row["event"] if isinstance(row["event"], dict) else json.loads(row["event"])
    sources = row["sources"] if isinstance(row["sources"], list) else json.loads(row["sources"])
    return {"deal": deal, "effective_on": row["effective_on"], "event": event, "sources": sources}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_page_shows_a_title_in_a_language_that_the_reader_did_not_ask_for(
    client: httpx.AsyncClient, slug: str, language: str
) -> None:
    announcement = registered()
    announcement["event"]["title"] = {"ja": "蔚山データセンター"}
    await client.post(f"/v1/deals/{slug}/events", json=announcement)
    page = await client.get(f"/deals/{slug}", params={"lang": language})
    assert "蔚山データセンター" in page.text


async def test_a_language_without_a_text_counts_as_left_out(client: httpx.AsyncClient, slug: str) -> None:
    announcement = registered()
    announcement["event"]["title"] = {"ko": None, "en": "A plant"}
    await client.post(f"/v1/deals/{slug}/events", json=announcement)
    events = (await client.get(f"/v1/deals/{slug}/events")).json()["events"]
    assert events[0]["event"]["title"] == {"en": "A plant"}


@pytest.mark.parametrize(
    ("title", "pointer", "code"),
    [
        ({"EN": "A plant"}, "/event/title", "format_languagetag"),
        ({"english": "A plant"}, "/event/title", "format_languagetag"),
        ({"en_US": "A plant"}, "/event/title", "format_languagetag"),
        ({"ja": " "}, "/event/title/ja", "format_text"),
        ({"ja": ""}, "/event/title/ja", "text_empty"),
        ({"ja": 4}, "/event/title/ja", "type"),
        ({"ja": "x" * 4001}, "/event/title/ja", "text_too_long"),
        ({}, "/event/title", "localized_empty"),
        ({"ja": None}, "/event/title", "localized_empty"),
        ("A plant", "/event/title", "type"),
    ],
)
async def test_a_wrong_text_is_refused_at_its_language(
    client: httpx.AsyncClient, slug: str, title: Any, pointer: str, code: str
) -> None:
    announcement = registered()
    announcement["event"]["title"] = title
    answer = await client.post(f"/v1/deals/{slug}/events", json=announcement)
    assert answer.status_code == 422
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [(pointer, code)]
