"""The pages about all deals over HTTP: totals, amounts over time, table, map, search and comparison."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import httpx
import pytest

from registry.demo import lines
from registry.web.portfolio import deal_list
from tests.databases import Server
from tests.service import Service, cloned, running
from tests.web.html import main_of, text_of

ULSAN = "/deals/sk-aws-ulsan"


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("amount_min=5000", "currency"),
        ("currency=KRW&amount_max=1조", "amount_max"),
        ("metric_min=5", "metric"),
        ("metric=capacity_per_year&metric_min=5", "metric_unit"),
        ("share_min=120", "share_min"),
    ],
)
@pytest.mark.parametrize("language", ["en", "ko"])
async def test_bounds_that_do_not_fit_are_asked_for_again_with_the_error_at_the_field(
    demo_reader: httpx.AsyncClient, language: str, query: str, at: str
) -> None:
    answer = await demo_reader.get(f"/?{query}&region=KR&lang={language}")
    assert answer.status_code == 400
    form = main_of(answer.text)
    fields = dict(re.findall(r'<(?:input|select)[^>]* name="(\w+)"([^>]*)>', form))
    assert [name for name, attributes in fields.items() if 'aria-invalid="true"' in attributes] == [at]
    for name, value in (one.split("=") for one in f"{query}&region=KR".split("&")):
        assert re.search(rf'name="{name}"[^>]* value="{value}"|<option value="{value}" selected>', form)
    # No identifier of a parameter in what the reader reads.
    assert "_" not in text_of(form)


async def test_table_of_deals_sorts_and_filters_by_query_parameters(demo_reader: httpx.AsyncClient) -> None:
    under_construction = (await demo_reader.get("/?stage=construction")).text
    rows = re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', under_construction)
    assert sorted(set(rows)) == ["amkor-songdo", "sk-aws-ulsan"]
    largest_first = (await demo_reader.get("/?sort=-amount")).text
    assert re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', largest_first)[0] == "aws-apec-2028"
    ulsan = (await demo_reader.get("/?region=KR-31")).text
    assert 'value="KR-31" selected' in ulsan


async def test_filters_of_the_table_apply_to_its_json_and_forms(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get("/?q=AWS&sort=-amount&unit=EUR")).text
    data = re.search(r'href="([^"]*)">Download JSON', html)
    assert data is not None
    assert "q=AWS" in data[1]
    deals = (await demo_reader.get(data[1].replace("&amp;", "&"))).json()["deals"]
    assert {d["deal"] for d in deals} == set(re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', html))
    assert '<input type="hidden" name="sort" value="-amount">' in html
    assert '<input type="hidden" name="unit" value="EUR">' in html


async def test_overview_filters_by_quantities_and_their_bounds_and_keeps_other_filters(
    demo_reader: httpx.AsyncClient,
) -> None:
    everything = main_of((await demo_reader.get("/?scope=all")).text)
    assert '<option value="power_mw">' in everything
    assert '<option value="gpus">' in everything
    asked = await demo_reader.get("/?scope=all&stage=&metric=power_mw&metric_min=100&amount_min=&share_min=")
    assert asked.headers["Location"] == "/?scope=all&metric=power_mw&metric_min=100"
    html = (await demo_reader.get(asked.headers["Location"])).text
    assert re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', html) == ["sk-aws-ulsan"]
    assert '<option value="power_mw" selected>' in html
    assert '<input name="metric_min" value="100"' in html
    assert "<details open>" in html
    compared = (await demo_reader.get("/compare?metric=power_mw&metric_min=100")).text
    assert '<input type="hidden" name="metric_min" value="100">' in compared
    refused = await demo_reader.get("/?metric_min=100", headers={"Accept-Language": "ko"})
    assert (refused.status_code, "metric" in refused.text) == (400, True)


async def test_search_finds_only_deals_known_at_the_as_of_point(demo_reader: httpx.AsyncClient) -> None:
    now = main_of((await demo_reader.get("/search?q=AWS")).text)
    then = main_of((await demo_reader.get("/search?q=AWS&published_on=2025-06-21")).text)
    assert "/deals/aws-korea-2031" in now
    assert "/deals/aws-korea-2031" not in then
    assert "/deals/sk-aws-ulsan" in then


async def test_search_finds_deals_on_a_day_on_which_something_takes_effect(service: Service, slug: str) -> None:
    today = service.app.state.services.calendar.today().isoformat()
    amount = {"value": "5000000", "currency": "USD"}
    for event in (
        {"type": "deal_registered", "title": {"en": f"Today {slug}"}},
        {"type": "pledge_announced", "pledge": "p", "amount": amount},
    ):
        body = {"effective_on": today, "event": event}
        assert (await service.client.post(f"/v1/deals/{slug}/events", json=body)).status_code == 201
    answer = await service.visitor.get(f"/?q={slug}&unit=USD&lang=en")
    assert answer.status_code == 200
    assert f'data-deal="{slug}"' in main_of(answer.text)


async def test_links_keep_the_known_axis(demo_reader: httpx.AsyncClient) -> None:
    html = main_of((await demo_reader.get("/?axis=recorded")).text)
    assert re.search(r'href="/deals/sk-aws-ulsan\?axis=recorded"', html)


async def test_future_view_has_its_own_label(demo_reader: httpx.AsyncClient) -> None:
    band = text_of((await demo_reader.get("/?effective_on=2099-01-01")).text)
    assert "Future view: expected as of 1 Jan 2099" in band
    assert "Historical view:" not in band


@pytest.mark.parametrize("path", ["/compare", f"{ULSAN}/compare"])
async def test_comparison_starts_at_the_as_of_point_and_has_a_citation(
    demo_reader: httpx.AsyncClient, path: str
) -> None:
    html = (await demo_reader.get(f"{path}?effective_on=2025-06-17")).text
    assert 'name="from.effective_on" value="2025-06-17"' in html
    assert 'class="past"' not in html
    cited = text_of(html[html.index('id="cite-text"') :].partition("</q>")[0])
    today = re.search(r"as of 2025-06-17, compared with the state as of ([0-9-]{10})", cited)
    assert today is not None
    assert (f"to.effective_on={today[1]}&" in cited, "from.effective_on=2025-06-17&" in cited) == (True, True)
    at = "from.recorded_at=2026-01-01T00:00:00.5Z"
    assert 'value="2026-01-01T00:00:00.500000Z" selected' in (await demo_reader.get(f"{path}?{at}")).text


@pytest.mark.parametrize("path", ["/", "/compare"])
async def test_citation_of_some_deals_names_the_filters(demo_reader: httpx.AsyncClient, path: str) -> None:
    for query, named in (("", "all deals"), ("?region=KR-31&q=AI", "deals (Region: Ulsan; “AI”)")):
        html = (await demo_reader.get(f"{path}{query}")).text
        assert named in text_of(html[html.index('id="cite-text"') :].partition("</q>")[0])


@pytest.mark.parametrize(
    ("language", "cell", "sentence"),
    [
        ("en", "observed 2 May 2026", "Stage: Under construction (observed on 2 May 2026)."),
        ("ko", "2026. 5. 2. 확인", "추진 단계: 건설(2026년 5월 2일 확인)."),
    ],
)
async def test_observed_stage_is_shown_with_the_day_of_the_observation(
    service: Service, slug: str, language: str, cell: str, sentence: str
) -> None:
    events = (
        {"type": "deal_registered", "title": {"en": f"Observed {slug}"}},
        {"type": "status_observed", "stage": "construction"},
    )
    source = {"url": "https://news.example/observed", "published_on": "2026-05-02"}
    for event in events:
        body = {"effective_on": "2026-05-02", "sources": [source], "event": event}
        assert (await service.client.post(f"/v1/deals/{slug}/events", json=body)).status_code == 201
    listed = main_of((await service.visitor.get(f"/?q={slug}&lang={language}")).text)
    assert cell in text_of(listed[listed.index(f'data-deal="{slug}"') :].partition("</tr>")[0])
    assert sentence in text_of((await service.visitor.get(f"/deals/{slug}?lang={language}")).text)


async def test_comparison_starts_at_a_past_day_whatever_takes_effect_later(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with cloned(server, admin, "later") as settings, running(settings) as service:
        for day in ("2026-01-02", "2090-01-01", "2091-01-01", "2092-01-01", "2093-01-01"):
            body = {"effective_on": day, "event": {"type": "deal_registered", "title": {"en": day}}}
            assert (await service.client.post(f"/v1/deals/from-{day}/events", json=body)).status_code == 201
        html = (await service.visitor.get("/compare")).text
    start = re.search(r'name="from.effective_on" value="([0-9-]{10})"', html)
    assert start is not None
    assert start[1] == "2026-01-02"


async def test_comparison_of_some_deals_starts_on_a_day_on_which_one_of_them_changed(
    server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with cloned(server, admin, "filtered") as settings, running(settings) as service:
        for sector, year in (("energy", 2024), ("ai", 2025)):
            event: dict[str, Any] = {"type": "deal_registered", "title": {"en": sector}, "sectors": [sector]}
            for month, stage in enumerate(("signed", "committed", "construction", "operating"), start=1):
                body = {"effective_on": f"{year}-{month:02}-01", "event": event}
                assert (await service.client.post(f"/v1/deals/{sector}/events", json=body)).status_code == 201
                event = {"type": "stage_changed", "stage": stage}
        for filters, expected in (("", "2025-02-01"), ("?sector=energy", "2024-02-01"), ("?q=energy", "2024-02-01")):
            html = (await service.visitor.get(f"/compare{filters}")).text
            assert re.findall(r'name="from.effective_on" value="([0-9-]{10})"', html) == [expected]


async def test_comparison_separates_real_world_changes_from_corrections(demo_reader: httpx.AsyncClient) -> None:
    html = text_of(
        (await demo_reader.get(f"{ULSAN}/compare?from.effective_on=2025-06-17&to.effective_on=2025-06-21")).text
    )
    assert "Real-world change" in html
    assert "US$5.1bn ₩7tn (US$5.13bn)" in html
    assert "Data correction" not in html
    same = await demo_reader.get(f"{ULSAN}/compare?from.effective_on=2025-06-21&to.effective_on=2025-06-21")
    assert "No differences" in same.text


async def test_search_finds_names_in_either_language_and_event_ids(demo_reader: httpx.AsyncClient) -> None:
    for word in ("울산", "Ulsan"):
        assert "/deals/sk-aws-ulsan" in main_of((await demo_reader.get("/search", params={"q": word})).text)
    assert "/deals/aws-korea-2031" in main_of((await demo_reader.get("/search", params={"q": "아마존웹서비스"})).text)
    event = lines()[0].announcement["id"]
    redirect = await demo_reader.get("/search", params={"q": event})
    assert redirect.headers["location"] == f"/events/{event}"


async def test_table_of_deals_is_paged_completely_in_any_order(
    demo_reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_one_page = (await demo_reader.get("/?sort=-amount&effective_on=2026-10-01")).text
    all_deals = re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', in_one_page)
    monkeypatch.setattr(deal_list, "PAGE_SIZE", 9)
    for sort in ("deal", "-deal", "title", "amount", "-amount", "announced_on", "-updated", "stage", "since"):
        shown: list[str] = []
        path = f"/?sort={sort}&effective_on=2026-09-15"
        for _ in range(30):
            html = (await demo_reader.get(path)).text
            rows = re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', html)
            assert len(rows) <= 9
            shown += rows
            assert f"{len(all_deals)} deals" in html
            following = re.search(r'href="([^"]*)" rel="next">More deals', html)
            if following is None:
                break
            path = following[1].replace("&amp;", "&")
        assert sorted(shown) == sorted(all_deals), sort
        assert len(shown) == len(set(shown))


async def test_lists_show_a_part_under_its_whole_and_each_doubt_beside_its_amount(
    demo_reader: httpx.AsyncClient,
) -> None:
    for path in ("/?lang=en", "/search?q=Ulsan", "/organizations/sk-group"):
        rows = text_of((await demo_reader.get(path)).text)
        assert "₩7tn of which US$4bn" in rows, path
        assert "US$4bn more" not in rows, path
    doubted = "A part is as large as the whole"
    for path in ("/?lang=en", "/deals/amkor-songdo", "/totals?unit=USD", "/organizations/amkor-technology"):
        html = (await demo_reader.get(path)).text
        assert 'data-flag="member-not-below-aggregate"' in html, path
        assert doubted in text_of(html), path
    assert "The registry doubts this amount." in text_of((await demo_reader.get("/deals/amkor-songdo")).text)
    seven = (await demo_reader.get("/deals/seven-firms-korea-2030")).text
    assert "data-flag" not in seven


async def test_list_of_the_api_has_the_marks_that_totals_decide(demo_reader: httpx.AsyncClient) -> None:
    deals = {deal["deal"]: deal for deal in (await demo_reader.get("/v1/deals?limit=1000")).json()["deals"]}
    marks = {
        f"{slug}/{pledge['pledge']}": (pledge["flags"], pledge["part_of"])
        for slug, deal in deals.items()
        for pledge in deal["pledges"]
    }
    totals = (await demo_reader.get("/v1/totals?lines=10000")).json()["totals"]["overall"]["lines"]
    assert {f"{line['deal']}/{line['pledge']}": (line["flags"], line["part_of"]) for line in totals} == marks


async def test_list_is_sorted_by_amount_long_after_the_newest_exchange_rate(demo_reader: httpx.AsyncClient) -> None:
    for day in ("2026-10-30", "2031-01-01"):
        deals = (await demo_reader.get(f"/v1/deals?sort=-amount&effective_on={day}")).json()["deals"]
        assert [deal["deal"] for deal in deals][:2] == ["aws-apec-2028", "blackrock-asia-ai-hub"]


async def test_order_by_latest_change_has_its_mark(demo_reader: httpx.AsyncClient) -> None:
    newest_first = (await demo_reader.get("/?sort=-updated&lang=en")).text
    [link] = re.findall(r'<a href="([^"]*)" aria-current="true">Latest change <span aria-hidden="true">↓', newest_first)
    assert "sort=updated" in link
    assert re.search(r'<a href="[^"]*sort=-updated">Latest change</a>', (await demo_reader.get("/?lang=en")).text)


async def test_latest_records_of_a_past_day_were_recorded_by_then(demo_reader: httpx.AsyncClient) -> None:
    for axis in ("effective_on", "published_on"):
        html = (await demo_reader.get(f"/?{axis}=2025-06-21&lang=en")).text
        latest = text_of(html[html.index('id="h-latest"') :].partition("</section>")[0])
        assert "Recorded up to 21 Jun 2025." in latest
        assert set(re.findall(r"· recorded (\d+ \w+ \d+) \d\d:\d\d UTC", latest)) == {"20 Jun 2025", "16 Jun 2025"}
    before = (await demo_reader.get("/?effective_on=2001-01-01&published_on=2001-01-01&lang=en")).text
    assert "Nothing was recorded by then." in text_of(before)


async def test_flag_on_a_conversion_does_not_doubt_the_amount(demo_reader: httpx.AsyncClient) -> None:
    for path in ("/?q=KT&lang=en", "/deals/microsoft-kt?lang=en"):
        html = (await demo_reader.get(path)).text
        said = re.findall(r'data-flag="([a-z-]+)"[^>]*>([^<]*)', html)
        assert said
        assert set(said) == {("implied-rate", "Check conversion")}
    amkor = (await demo_reader.get("/deals/amkor-songdo?lang=en")).text
    assert ("member-not-below-aggregate", "Warning") in re.findall(r'data-flag="([a-z-]+)"[^>]*>([^<]*)', amkor)


async def test_group_names_what_it_adds_to_the_total_of_all_deals(demo_reader: httpx.AsyncClient) -> None:
    """The overview's figure for deals under construction is part of the total; by itself it may be more."""
    html = (await demo_reader.get("/?unit=USD&lang=en")).text
    built = text_of(html[html.index('data-figure="built"') :].partition("</p>")[0]).partition(">")[2].strip()
    page = (await demo_reader.get("/totals?group_by=stage&unit=USD&lang=en")).text
    construction = text_of(page[page.index("<h2>Under construction</h2>") :].partition("</section>")[0])
    assert f"In the total of all deals: {built} · Pledged or committed" in construction
    assert "groups can add up to more than all deals" in text_of(page)


async def test_latest_records_say_which_of_them_were_corrected_or_voided(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    pledge = {"type": "pledge_announced", "pledge": "total", "amount": {"value": "5000000000", "currency": "USD"}}
    events = [
        {"event": {"type": "deal_registered", "title": {"en": "A slip"}}},
        {"effective_on": "2025-06-16", "event": pledge},
        {"effective_on": "2025-06-17", "event": {"type": "stage_changed", "stage": "signed"}},
    ]
    posted = (await pages.client.post("/v1/deals/a-slip/events", json=events)).json()["events"]
    replacement = {"event": {**pledge, "amount": {"value": "5500000000", "currency": "USD"}}}
    acts = [
        {"type": "event_corrected", "corrects": posted[1]["id"], "replacement": replacement, "reason": "A digit."},
        {"type": "event_voided", "voids": posted[2]["id"], "reason": "Another deal."},
    ]
    answer = await pages.client.post("/v1/deals/a-slip/events", json=[{"event": act} for act in acts])
    assert answer.status_code == 201, answer.text
    html = (await reader.get("/")).text
    latest = text_of(html[html.index('class="latest"') :])
    assert "A slip Corrected later US$5bn" in latest
    assert "A slip Voided Signed" in latest


async def test_list_says_which_deals_no_longer_stand_and_how_many(pages: Service, reader: httpx.AsyncClient) -> None:
    def event(**fields: str) -> dict[str, object]:
        return {"effective_on": "2025-06-16", "event": fields}

    registered = {"effective_on": "2025-06-16", "event": {"type": "deal_registered", "title": {"en": "Ended or not"}}}
    amount = {"value": "5", "currency": "USD"}
    pledged = {
        "effective_on": "2025-06-16",
        "event": {"type": "pledge_announced", "pledge": "all", "amount": amount, "commitment": "pledge"},
    }
    streams = {
        "ended-withdrawn": [registered, event(type="stage_changed", stage="withdrawn")],
        "ended-superseded": [registered, pledged],
        "ended-pledge-withdrawn": [
            registered,
            pledged,
            event(type="stage_changed", stage="signed"),
            event(type="pledge_withdrawn", pledge="all"),
        ],
        "ended-bare": [registered],
        "ended-successor": [registered, event(type="deals_related", relation="supersedes", deal="ended-superseded")],
        # Of two that supersede each other, totals leave out neither.
        "ended-one": [registered, pledged, event(type="deals_related", relation="supersedes", deal="ended-other")],
        "ended-other": [registered, pledged, event(type="deals_related", relation="supersedes", deal="ended-one")],
    }
    for slug, events in streams.items():
        assert (await pages.client.post(f"/v1/deals/{slug}/events", json=events)).status_code == 201
    html = main_of((await reader.get("/?q=ended-")).text)
    assert 'data-ended="2"' in html
    ended = re.findall(r'<tr class="ended" data-deal="([a-z-]+)"', html)
    assert sorted(ended) == ["ended-superseded", "ended-withdrawn"]
    row = html[html.index('data-deal="ended-superseded"') :]
    assert "Superseded" in row[: row.index("</tr>")]
    # Their amounts were disclosed, and no longer hold.
    for slug, why in (("superseded", "superseded"), ("pledge-withdrawn", "withdrawn"), ("bare", "not_disclosed")):
        row = html[html.index(f'data-deal="ended-{slug}"') :]
        assert re.findall(r'data-amounts="(\w+)"', row[: row.index("</tr>")]) == [why]
    head = main_of((await reader.get("/deals/ended-superseded")).text).partition("</header>")[0]
    assert 'class="badge"' in head
    assert "/deals/ended-successor" in head
    for slug in ("one", "other"):
        head = main_of((await reader.get(f"/deals/ended-{slug}")).text).partition("</header>")[0]
        assert 'class="badge"' not in head
    texts = [
        text_of(main_of((await reader.get(f"/deals/ended-{slug}?lang=en")).text).partition("</header>")[0])
        for slug in ("bare", "pledge-withdrawn")
    ]
    assert ["Amount not disclosed" in text for text in texts] == [True, False]
    deals = (await reader.get("/v1/deals?q=ended-superseded")).json()["deals"]
    assert [deal["superseded_by"] for deal in deals] == [["ended-successor"]]
