"""Lists of a registry without deals and organizations say so, and do not speak of filters."""

from __future__ import annotations

import re
from html import unescape

import asyncpg
import pytest

from tests.databases import Server
from tests.service import cloned, running
from tests.web.html import main_of, text_of

SAID = {"en": "is recorded yet.", "ko": "아직 등록된"}
FILTERED = {"en": ("No matching", "Latest records"), "ko": ("조건에 맞는", "검색 결과", "최근 등록")}


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_lists_of_an_empty_registry_say_that_nothing_is_recorded(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], language: str
) -> None:
    async with cloned(server, admin, f"empty_{language}") as settings, running(settings) as service:
        # The administrator is recorded, and nothing else.
        for path in ("/", "/organizations"):
            answer = await service.visitor.get(path, params={"lang": language}, headers={"Accept": "text/html"})
            shown = text_of(main_of(answer.text))
            assert SAID[language] in shown, (path, shown)
            assert [text for text in FILTERED[language] if text in shown] == [], path
        past = await service.visitor.get("/organizations", params={"lang": language, "effective_on": "2020-01-01"})
        assert SAID[language] not in past.text


@pytest.mark.parametrize("language", ["en", "ko"])
async def test_lists_say_that_all_deals_lie_in_the_future_and_lead_there(
    server: Server, admin: asyncpg.Connection[asyncpg.Record], language: str
) -> None:
    async with cloned(server, admin, f"future_{language}") as settings, running(settings) as service:
        party = {"organization": "acme", "name": {"en": "Acme"}, "role": "investor"}
        events = [
            {"type": "deal_registered", "title": {"en": "A plant"}},
            {"type": "parties_joined", "parties": [party]},
        ]
        sent = [{"effective_on": "2100-01-01", "event": event} for event in events]
        assert (await service.client.post("/v1/deals/plant/events", json=sent)).status_code == 201
        for path in ("/", "/organizations"):
            answer = await service.visitor.get(path, params={"lang": language}, headers={"Accept": "text/html"})
            assert SAID[language] not in text_of(main_of(answer.text)), path
            if path == "/":
                [empty] = re.findall(r'<p class="empty">.*?</p>', answer.text)
                [link] = re.findall(r'href="([^"]*)"', empty)
                shown = (await service.visitor.get(unescape(link), headers={"Accept": "text/html"})).text
                assert 'data-deal="plant"' in shown
