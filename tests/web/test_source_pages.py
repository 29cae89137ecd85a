"""The page of a source, and the form that retracts it."""

from __future__ import annotations

import re
from html import escape

import httpx
import pytest

from registry.domain.sources.identity import source_id
from registry.queries import sources as queries_sources
from registry.web import sources as web_sources
from tests.api.announcements import pledged, registered
from tests.service import Service
from tests.web.html import main_of, text_of

HERALD = source_id("https://www.koreaherald.com/article/10514856")


async def test_deal_lists_its_sources_and_each_leads_to_what_rests_on_it(reader: httpx.AsyncClient) -> None:
    html = main_of((await reader.get("/deals/sk-aws-ulsan")).text)
    sources = html[html.index('id="h-sources"') :]
    sources = sources[: sources.index("</section>")]
    assert f'href="/sources/{HERALD}"' in sources
    links = re.findall(r'href="(/sources/[0-9a-f]{32})"', sources)
    assert len(links) == len(set(links)) >= 4
    for link in links:
        answer = await reader.get(link)
        assert answer.status_code == 200
        # No ids of the deal and its items.
        assert not {"sk-aws-ulsan", "mipo", "first-phase", "full-capacity"} & set(text_of(main_of(answer.text)).split())
    page = text_of(main_of((await reader.get(f"/sources/{HERALD}")).text))
    assert "SK and AWS: AI data centre in Ulsan" in page
    assert "current values rest on it" in page


@pytest.mark.parametrize(("language", "question"), [("en", "What becomes of it"), ("ko", "처리 방법")])
async def test_source_page_is_in_both_languages(
    pages: Service, editor: httpx.AsyncClient, language: str, question: str
) -> None:
    answer = await editor.get(f"/sources/{HERALD}?lang={language}")
    assert answer.status_code == 200
    form = await editor.get(f"/sources/{HERALD}/retraction?lang={language}")
    assert question in form.text


async def test_editor_retracts_a_source_after_a_preview_of_the_listed_events(
    pages: Service, editor: httpx.AsyncClient
) -> None:
    article = {"publisher": "Gazette", "url": "https://gazette.test/taken-back", "published_on": "2025-06-16"}
    events = [registered(), {**pledged(), "sources": [article]}]
    assert (await pages.client.post("/v1/deals/rests-on-one/events", json=events)).status_code == 201
    url = f"/sources/{source_id(article['url'])}/retraction"
    form = (await editor.get(url)).text
    csrf = re.search(r'name="csrf" value="([^"]*)"', main_of(form))
    fields = re.findall(r'<select name="(event-[^"]*)".*?<option value="([^"]*)" selected', form, re.DOTALL)
    assert csrf is not None
    assert [treatment for _, treatment in fields] == ["void"]
    sent = {"csrf": csrf[1], "reason": "Taken back.", **dict(fields)}
    preview = await editor.post(url, data={**sent, "step": "preview"})
    assert "Pledge" in text_of(preview.text)
    unseen = await editor.post(url, data={"csrf": csrf[1], "step": "record"})
    assert unseen.status_code == 200
    assert (await pages.client.get("/v1/deals/rests-on-one")).json()["version"] == 2
    assert (await editor.post(url, data={**sent, "step": "record"})).status_code == 303
    assert (await pages.client.get("/v1/deals/rests-on-one")).json()["pledges"] == []


async def test_form_lists_some_events_of_a_source_with_many_and_the_others_after_these_are_treated(
    pages: Service, editor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_sources, "MAX_RETRACTED", 3)
    monkeypatch.setattr(queries_sources, "STREAMS_AT_ONCE", 1)
    article = {"publisher": "Gazette", "url": "https://gazette.test/cited-often", "published_on": "2025-06-16"}
    for deal in ("rests-on-many", "rests-on-many-too"):
        cited = [{**pledged(pledge=f"p-{n}"), "sources": [article]} for n in range(2)]
        answer = await pages.client.post(f"/v1/deals/{deal}/events", json=[registered(), *cited])
        assert answer.status_code == 201
    url = f"/sources/{source_id(article['url'])}/retraction"
    listed = []
    for _ in range(3):
        form = main_of((await editor.get(url)).text)
        csrf = re.search(r'name="csrf" value="([^"]*)"', form)
        fields = re.findall(r'<select name="(event-[^"]*)".*?<option value="([^"]*)" selected', form, re.DOTALL)
        listed.append((len(fields), "Retract the source again" in text_of(form)))
        assert csrf is not None
        sent = {"csrf": csrf[1], "reason": "Taken back.", **dict(fields)}
        await editor.post(url, data={**sent, "step": "record"})
    assert listed == [(3, True), (1, False), (0, False)]
    for deal in ("rests-on-many", "rests-on-many-too"):
        assert (await pages.client.get(f"/v1/deals/{deal}")).json()["pledges"] == []


async def test_form_leads_to_the_later_events_for_which_one_cannot_be_voided(
    pages: Service, editor: httpx.AsyncClient
) -> None:
    article = {"publisher": "Gazette", "url": "https://gazette.test/needed", "published_on": "2025-06-16"}
    revised = {"effective_on": "2025-07-01", "event": {"type": "pledge_withdrawn", "pledge": "total"}}
    events = [registered(), {**pledged(), "sources": [article]}, revised]
    recorded = (await pages.client.post("/v1/deals/rests-on-needed/events", json=events)).json()
    form = main_of((await editor.get(f"/sources/{source_id(article['url'])}/retraction")).text)
    later = recorded["events"][2]["id"]
    assert re.search(rf'<a href="/events/{later}[^"]*">Pledge withdrawn</a>', form)
    assert later not in text_of(form)


async def test_readers_are_asked_to_sign_in_before_they_retract_a_source(reader: httpx.AsyncClient) -> None:
    answer = await reader.get(f"/sources/{HERALD}/retraction")
    assert answer.status_code in (303, 401)


@pytest.mark.parametrize(("language", "caption"), [("en", "Quotation (in Korean)"), ("ko", "인용문(한국어)")])
async def test_quotations_are_shown_where_a_deal_shows_its_sources(
    pages: Service, reader: httpx.AsyncClient, language: str, caption: str
) -> None:
    slug = f"is-quoted-in-{language}"
    article = {"publisher": "Gazette", "url": f"https://gazette.test/{slug}", "language": "ko"}
    quoted = [
        {**article, "quote": "총투자비는 오십억 달러다.", "locator": "¶ 3"},
        {**article, "quote": "<i>내년에</i> 착공한다.", "locator": "¶ 4"},
    ]
    events = [{**registered(), "sources": [quoted[1]]}, {**pledged(), "sources": [quoted[0]]}]
    recorded = (await pages.client.post(f"/v1/deals/{slug}/events", json=events)).json()
    event = recorded["events"][1]["id"]

    async def quotations(path: str) -> list[str]:
        html = main_of((await reader.get(f"{path}{'&' if '?' in path else '?'}lang={language}")).text)
        return [text_of(one).strip() for one in re.findall(r'<figure class="quotation">.*?</figure>', html, re.DOTALL)]

    amount, start = (f"{escape(one['quote'])} {caption} · Gazette, {one['locator']}" for one in quoted)
    assert await quotations(f"/deals/{slug}") == [start, amount]
    assert await quotations(f"/events/{event}") == [amount]
    assert await quotations(f"/deals/{slug}/blame?field=/pledges/total/amount") == [amount]
    assert amount in await quotations(f"/deals/{slug}/blame")
    assert await quotations(f"/sources/{source_id(article['url'])}") == [start, amount]
