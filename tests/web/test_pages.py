"""Pages over HTTP, without a browser and without a script: what they say, in both languages, at any point in time."""

from __future__ import annotations

import re
from datetime import date, timedelta
from urllib.parse import urljoin

import asyncpg
import httpx
import msgspec
import pytest

from registry.cli.demo import announcements
from registry.domain.totals import TotalsQuery
from registry.web import cache, deal_list, trend
from registry.web import log as log_pages
from tests.api.conftest import Service, cloned, running
from tests.conftest import Server

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


def text_of(html: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def main_of(html: str) -> str:
    return html[html.index("<main") : html.index("</main>")]


async def test_every_page_answers_in_both_languages(reader: httpx.AsyncClient) -> None:
    for path in PAGES:
        for language in ("en", "ko"):
            answer = await reader.get(path, headers={"Accept-Language": language})
            assert answer.status_code == 200, (path, answer.status_code)
            assert f'<html lang="{language}">' in answer.text
            assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("day", "known"),
    [("0001-01-01", 404), ("0001-01-02", 404), ("1899-12-31", 404)]
    + [(day, 200) for day in ("9998-12-31", "9999-12-30", "9999-12-31")],
)
async def test_no_day_is_too_far_away_to_be_asked_for(reader: httpx.AsyncClient, day: str, known: int) -> None:
    """Nothing is known of a deal yet, or all is as it is today: that is an answer, as a page and as JSON."""
    for path, status in (
        *((path, 200) for path in ("/", "/totals", "/totals.csv", "/organizations", "/log", "/search?q=aws")),
        *((path, known) for path in (ULSAN, f"{ULSAN}/blame", f"/v1{ULSAN}", f"/v1{ULSAN}/blame")),
        *((path, 200) for path in (f"{ULSAN}/fields.csv", f"/v1{ULSAN}/events", "/organizations/amazon-web-services")),
        *((path, 200) for path in ("/v1/deals?facets=true", "/v1/totals?currency=USD", "/v1/export/deals.csv")),
        ("/v1/organizations/amazon-web-services", known),
    ):
        for clocks in (f"effective_on={day}", f"published_on={day}", f"effective_on={day}&published_on={day}"):
            asked = f"{path}{'&' if '?' in path else '?'}{clocks}"
            assert (await reader.get(asked)).status_code == status, asked
    start, end = sorted((day, "2025-06-23"))
    for path in ("/compare", "/compare.csv", "/v1/compare", f"{ULSAN}/compare", f"{ULSAN}/compare.csv"):
        for clock in ("effective_on", "published_on"):
            asked = f"{path}?from.{clock}={start}&to.{clock}={end}"
            assert (await reader.get(asked)).status_code == 200, asked


async def test_what_is_said_of_the_first_and_the_last_day_has_its_pages(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    amount = {"currency": "USD", "value": "1000000"}
    async with (
        cloned(demo_server, admin, "far") as settings,
        running(settings) as service,
        httpx.AsyncClient(base_url=service.url, timeout=30) as reader,
    ):
        for day, slug in (("1800-01-01", "first-day"), ("2999-12-31", "last-day")):
            said: tuple[dict[str, object], ...] = (
                {"type": "deal_registered", "title": {"en": slug}},
                {"type": "pledge_announced", "pledge": "p", "amount": amount, "commitment": "binding"},
                {"type": "milestone_scheduled", "milestone": "m", "kind": "power_on", "planned": day},
                {"type": "milestone_reached", "milestone": "m", "reached": day},
            )
            events = [{"effective_on": day, "event": event} for event in said]
            made = await service.client.post(f"/v1/deals/{slug}/events", json=events)
            assert made.status_code == 201, made.text
            deal = f"/deals/{slug}"
            for on in ("0001-01-01", "2025-06-21", "9999-12-31"):
                for path in ("/", "/totals", "/compare", deal, f"{deal}/blame", f"{deal}/compare"):
                    known = 404 if path in (deal, f"{deal}/blame") and on < day else 200
                    assert (await reader.get(f"{path}?effective_on={on}")).status_code == known, (path, on)


async def test_a_page_and_its_assets_stay_under_150_kilobytes_even_uncompressed(reader: httpx.AsyncClient) -> None:
    sizes: dict[str, int] = {}
    event = re.search(r"/events/[0-9a-f-]{36}", (await reader.get(ULSAN)).text)
    assert event is not None
    for path in (*PAGES, *(f"{path}{'&' if '?' in path else '?'}lang=ko" for path in PAGES), event[0]):
        html = (await reader.get(path)).text
        assets = {urljoin(path, a) for a in re.findall(r'(?:src|href)="(/static/[^"]+)"', html)}
        assert len(assets) >= 4
        for asset in assets - sizes.keys():
            sizes[asset] = len((await reader.get(asset)).content)
        assert len(html.encode()) + sum(sizes[a] for a in assets) < 150_000, path


async def test_every_page_of_the_demo_is_sent_in_less_than_150_kilobytes_with_its_assets(
    reader: httpx.AsyncClient,
) -> None:
    """Every deal, organization and event, as a browser is sent them: compressed."""
    listed = [("deals", "deal"), ("organizations", "organization"), ("events", "id")]
    every = list(PAGES)
    for name, key in listed:
        found = (await reader.get(f"/v1/{name}", params={"limit": 1000} if name != "deals" else {})).json()[name]
        every += [f"/{name}/{each[key]}" for each in found[:: 1 if name == "deals" else 9]]
        if name == "deals":
            every += [f"/deals/{each[key]}/{part}" for each in found for part in ("blame", "compare")]
    sent: dict[str, int] = {}

    async def weigh(path: str) -> str:
        async with reader.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            text = b"".join([part async for part in answer.aiter_bytes()]).decode()
            sent[path] = answer.num_bytes_downloaded
            assert answer.headers.get("content-encoding") == "gzip" or len(text) < 500, path
            return text

    assets: set[str] = set()
    for path in every:
        assets |= set(re.findall(r'(?:src|href)="(/static/[^"]+)"', await weigh(path)))
    largest = max(sent, key=lambda path: sent[path])
    for asset in assets:
        await weigh(asset)
    assert sent[largest] + sum(sent[asset] for asset in assets) < 150_000, largest


async def test_a_deal_of_the_future_is_announced_and_its_page_leads_ahead(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    said = [
        {"effective_on": "2031-01-01", "event": {"type": "deal_registered", "title": {"en": "Ahead"}}},
        {"effective_on": "2032-01-01", "event": {"type": "pledge_announced", "pledge": "p"}},
    ]
    assert (await pages.client.post("/v1/deals/of-the-future/events", json=said)).status_code == 201
    answer = await reader.get("/deals/of-the-future")
    assert answer.status_code == 404
    assert "It has been announced and takes effect on 1 Jan 2031." in answer.text
    slider = answer.text[answer.text.index("data-slider") :]
    assert "effective_on=2031-01-01" in slider[: slider.index("Next change:")]
    assert "Previous change:" not in slider[: slider.index("Next change:")]
    assert (await reader.get("/deals/of-the-future?effective_on=2031-01-01")).status_code == 200
    unpublished = (await reader.get("/deals/of-the-future?published_on=2020-01-01")).text
    assert "This deal was not yet known on that date." in unpublished


async def test_no_page_holds_an_inline_script_or_style(reader: httpx.AsyncClient) -> None:
    for path in PAGES:
        answer = await reader.get(path)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text), path
        assert not re.search(r'(?:src|href)="(?:https?:)?//[^"]*"(?=[^>]*>)', head_of(answer.text)), path


def head_of(html: str) -> str:
    return html[: html.index("</head>")]


async def test_what_is_so_is_said_in_a_sentence_made_from_the_state(reader: httpx.AsyncClient) -> None:
    english = text_of((await reader.get("/deals/aws-korea-2031")).text)
    assert "Amazon Web Services pledges about US$5bn more by 2031." in english
    assert "+ about US$5bn" in english
    assert "In addition to an unspecified amount" in english
    korean = text_of((await reader.get("/deals/aws-korea-2031?lang=ko")).text)
    assert "약 50억 달러" in korean
    assert "AWS 수도권 AI 리전 추가 투자" in korean
    assert "병기 금액: 약 7조 원" in korean


async def test_ulsan_has_four_states_on_four_days(reader: httpx.AsyncClient) -> None:
    said = [state_of((await reader.get(f"{ULSAN}?effective_on={day}")).text) for day in DAYS]
    assert "jointly pledge US$5.1bn" in said[0]
    assert "jointly pledge ₩7tn" in said[1]
    assert "+ US$4bn" not in said[1]
    assert "+ US$4bn" in said[2]
    assert "reached on 29 Aug 2025" not in said[2]
    assert "reached on 29 Aug 2025" in said[3]


def state_of(html: str) -> str:
    """What a deal's page says before its audit, which also tells what was still to come."""
    return text_of(main_of(html)[: main_of(html).index('class="audit"')])


DAYS = ("2025-06-17", "2025-06-21", "2025-06-23", "2025-09-01")


async def test_the_past_is_marked_and_leads_back_to_now(reader: httpx.AsyncClient) -> None:
    past = (await reader.get(f"{ULSAN}?effective_on=2025-06-21&field=/stage")).text
    assert "Historical view: as of 21 Jun 2025." in text_of(past)
    back = re.search(r'<a href="([^"]*)">View current</a>', past)
    assert back is not None
    assert httpx.URL(back[1].replace("&amp;", "&")) == httpx.URL(f"{ULSAN}?field=%2Fstage")
    assert "Historical view:" not in (await reader.get(ULSAN)).text


async def test_a_clock_moves_without_a_script_and_ends_at_the_apis_own_address(reader: httpx.AsyncClient) -> None:
    form = {"effective_on": "2025-06-21", "known": "published", "known_on": "2025-06-20", "lang": "ko"}
    answer = await reader.get(ULSAN, params=form)
    assert answer.status_code == 303
    assert httpx.URL(answer.headers["location"]).params == httpx.QueryParams(
        {"effective_on": "2025-06-21", "lang": "ko", "published_on": "2025-06-20"}
    )
    recorded = await reader.get(ULSAN, params={"effective_on": "", "known": "recorded", "known_on": "2025-06-20"})
    assert recorded.headers["location"].endswith("recorded_at=2025-06-20T23%3A59%3A59.999999Z")
    nonsense = await reader.get(ULSAN, params={"known": "recorded", "known_on": "tomorrow"})
    assert nonsense.status_code == 400


async def test_the_stops_of_the_slider_are_the_days_on_which_something_changed(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(f"{ULSAN}?effective_on=2025-06-21")).text
    slider = html[html.index("data-slider") :]
    slider = slider[: slider.index("</div>")]
    days = re.findall(r"effective_on=([0-9-]+)", slider)
    assert sorted(set(days)) == ["2025-06-16", "2025-06-20", "2025-06-22", "2025-08-29", "2025-10-29"]
    before, *_, after = days
    assert (before, after) == ("2025-06-20", "2025-06-22")


async def test_before_it_was_known_a_deal_says_so_and_leads_on(reader: httpx.AsyncClient) -> None:
    answer = await reader.get(f"{ULSAN}?published_on=2025-06-01")
    assert answer.status_code == 404
    assert "This deal was not yet known on that date." in answer.text
    assert "published on 16 Jun 2025" in text_of(answer.text)
    unknown = await reader.get("/deals/never-heard-of")
    assert (unknown.status_code, "never-heard-of" in text_of(unknown.text)) == (404, True)


async def test_every_field_leads_to_what_it_rests_on(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(ULSAN)).text
    doors = {d.replace("&amp;", "&") for d in re.findall(r'class="why" href="([^"]*blame[^"]*)"', html)}
    assert len(doors) > 10
    for door in doors:
        rests = await reader.get(door)
        assert 'class="rest"' in rests.text, door
    amount = text_of((await reader.get(f"{ULSAN}/blame?field=/pledges/total/amount")).text)
    assert "₩7tn (US$5.13bn)" in amount
    assert "Before US$5.1bn" in amount
    assert "Korea JoongAng Daily 20 Jun 2025" in amount


async def test_sources_that_disagree_stand_side_by_side(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(ULSAN)).text
    table = html[html.index('aria-label="Pledge total · Amount"') :]
    table = text_of(table[: table.index("</table>")])
    for value in ("₩7tn (US$5.13bn)", "“several trillion won”", "US$5.1bn (₩7tn)", "The Korea Herald"):
        assert value in table
    assert table.count("Value used") == 1


async def test_the_amkor_figure_is_flagged_with_its_evidence(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/deals/amkor-songdo")).text
    flags = html[html.index('class="flags"') :]
    flags = flags[: flags.index("</section>")]
    assert "the joint amount may have been attributed to one party" in flags
    assert "packaging is part of Seven foreign firms: investment in Korea / total" in text_of(flags)
    assert "seven-firms-korea-2030" not in text_of(flags)
    assert re.search(r'href="/events/[0-9a-f-]{36}"', flags)


async def test_a_total_opens_its_derivation(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/?unit=USD")).text
    door = re.search(r'href="(/totals[^"]*)"', html)
    assert door is not None
    derivation = text_of((await reader.get(door[1].replace("&amp;", "&"))).text)
    assert "Included in both bounds." in derivation
    assert "Excluded: part of an amount already included." in derivation
    assert "the reference rate of" in derivation


async def test_the_table_sorts_filters_and_keeps_its_state_in_the_address(reader: httpx.AsyncClient) -> None:
    built = (await reader.get("/?stage=construction")).text
    rows = re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', built)
    assert sorted(set(rows)) == ["amkor-songdo", "sk-aws-ulsan"]
    dearest = (await reader.get("/?sort=-amount")).text
    assert re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', dearest)[0] == "aws-apec-2028"
    ulsan = (await reader.get("/?region=KR-31")).text
    assert 'value="KR-31" selected' in ulsan


async def test_the_chart_through_time_names_what_moved_it(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/?effective_on=2025-06-18")).text
    legend = text_of(html[html.index('class="legend"') : html.index('class="chart latest-first"')])
    assert "As of 18 Jun 2025:" in legend
    for area in (
        "Intention or above US$",
        "Confirmed, binding or under construction None yet",
        "Operating None yet",
    ):
        assert area in legend
    moves = html[html.index('class="moves"') :]
    moves = moves[: moves.index("</ol>")]
    assert "16 Jun 2025 +US$5.1bn SK and AWS: AI data centre in Ulsan" in text_of(moves)
    assert 'href="/?effective_on=2025-06-16"' in moves
    assert html.count('class="flag"') <= moves.count("<li>")


async def test_deals_are_called_by_their_names_wherever_they_are_spoken_of(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(f"/?position={len(list(announcements()))}")).text
    latest = text_of(html[html.index('class="latest"') : html.index("</ol>", html.index('class="latest"'))])
    assert "Amkor Technology: chip packaging in Songdo" in latest
    assert "amkor-songdo" not in latest
    audit = main_of((await reader.get(ULSAN)).text)
    audit = text_of(audit[audit.index('id="h-audit"') :])
    assert "aws-share is additional to AWS cloud infrastructure in Korea, 2023–2027 / programme" in audit
    assert "aws-share is part of total" in audit
    assert "Milestone first phase" in audit


async def test_what_was_never_said_is_not_drawn_and_not_denied(reader: httpx.AsyncClient) -> None:
    html = main_of((await reader.get("/deals/corning-korea")).text)
    assert 'class="axes"' not in html
    assert "No values for this field" in html
    ladder = text_of(html[html.index('class="ladder"') : html.index("</ol>", html.index('class="ladder"'))])
    assert "Not reached" not in ladder
    assert ladder.count("Not reported") == 5


async def test_a_list_carries_its_choice_into_its_data_and_its_forms(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/?q=AWS&sort=-amount&unit=EUR")).text
    data = re.search(r'href="([^"]*)">Download JSON', html)
    assert data is not None
    assert "q=AWS" in data[1]
    found = (await reader.get(data[1].replace("&amp;", "&"))).json()["deals"]
    assert {d["deal"] for d in found} == set(re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', html))
    assert '<input type="hidden" name="sort" value="-amount">' in html
    assert '<input type="hidden" name="unit" value="EUR">' in html


async def test_a_search_looks_at_the_point_in_time_that_the_page_shows(reader: httpx.AsyncClient) -> None:
    now = main_of((await reader.get("/search?q=AWS")).text)
    then = main_of((await reader.get("/search?q=AWS&published_on=2025-06-21")).text)
    assert "/deals/aws-korea-2031" in now
    assert "/deals/aws-korea-2031" not in then
    assert "/deals/sk-aws-ulsan" in then


async def test_the_axis_of_knowing_stays_from_page_to_page(reader: httpx.AsyncClient) -> None:
    html = main_of((await reader.get("/?axis=recorded")).text)
    assert re.search(r'href="/deals/sk-aws-ulsan\?axis=recorded"', html)


async def test_the_future_is_not_called_the_past(reader: httpx.AsyncClient) -> None:
    band = text_of((await reader.get("/?effective_on=2099-01-01")).text)
    assert "Future view: expected as of 1 Jan 2099" in band
    assert "Historical view:" not in band


@pytest.mark.parametrize("path", ["/compare", f"{ULSAN}/compare"])
async def test_a_comparison_starts_from_what_was_looked_at_and_can_be_cited(
    reader: httpx.AsyncClient, path: str
) -> None:
    html = (await reader.get(f"{path}?effective_on=2025-06-17")).text
    assert 'name="from.effective_on" value="2025-06-17"' in html
    assert 'class="past"' not in html
    assert "compared: as of 17 Jun 2025, as currently known; as of " in text_of(html)
    at = "from.recorded_at=2026-01-01T00:00:00.5Z"
    assert 'value="2026-01-01T00:00:00.500000Z" selected' in (await reader.get(f"{path}?{at}")).text


async def test_the_map_counts_the_deals_of_each_province(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/")).text
    assert 'aria-label="Ulsan: 2"' in html
    assert 'aria-label="North Gyeongsang: 1"' in html
    assert 'aria-label="Jeju' not in html


async def test_compare_tells_the_world_from_the_record(reader: httpx.AsyncClient) -> None:
    html = text_of((await reader.get(f"{ULSAN}/compare?from.effective_on=2025-06-17&to.effective_on=2025-06-21")).text)
    assert "Real-world change" in html
    assert "US$5.1bn ₩7tn (US$5.13bn)" in html
    assert "Data correction" not in html
    same = await reader.get(f"{ULSAN}/compare?from.effective_on=2025-06-21&to.effective_on=2025-06-21")
    assert "No differences" in same.text


async def test_an_event_shows_its_bytes_and_a_proof_that_the_server_checked(
    reader: httpx.AsyncClient, pages: Service
) -> None:
    audit = (await reader.get("/v1/deals/sk-aws-ulsan/events")).json()
    revised = next(e for e in audit["events"] if e["type"] == "pledge_revised")
    html = (await reader.get(f"/events/{revised['id']}")).text
    assert "Verified by the server:" in html
    assert revised["leaf_hash"] in html
    assert "registry verify event.json --key log.keys" in html
    assert f"position={revised['position']}" in html


async def test_search_finds_by_either_language_and_by_an_events_id(reader: httpx.AsyncClient) -> None:
    for word in ("울산", "Ulsan"):
        assert "/deals/sk-aws-ulsan" in main_of((await reader.get("/search", params={"q": word})).text)
    assert "/deals/aws-korea-2031" in main_of((await reader.get("/search", params={"q": "아마존웹서비스"})).text)
    event = next(announcement["id"] for _, announcement in announcements())
    found = await reader.get("/search", params={"q": event})
    assert found.headers["location"] == f"/events/{event}"


async def test_the_same_as_json_and_csv_is_the_same(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(f"{ULSAN}?effective_on=2025-06-21")).text
    link = re.search(r'href="([^"]*)">Download JSON', html)
    assert link is not None
    state = (await reader.get(link[1].replace("&amp;", "&"))).json()
    assert state["effective_on"] == "2025-06-21"
    assert state["pledges"][0]["amount"]["value"] == "7000000000000"
    link = re.search(r'href="([^"]*)">Download CSV', html)
    assert link is not None
    table = (await reader.get(link[1].replace("&amp;", "&"))).text
    assert '/pledges/total/amount,"{""currency"":""KRW"",""value"":""7000000000000""' in table


async def test_every_page_of_data_offers_its_link_its_json_and_its_csv(reader: httpx.AsyncClient) -> None:
    for path in PAGES:
        if path in ("/sign-in", "/search"):
            continue
        html = (await reader.get(path)).text
        assert "data-copy>Copy link" in html, path
        for name in ("JSON", "CSV"):
            link = re.search(rf'href="([^"]*)">Download {name}', html)
            assert link is not None, (path, name)
            data = await reader.get(link[1].replace("&amp;", "&"))
            assert data.status_code == 200, (path, link[1])
            assert name.lower() in data.headers["content-type"]


async def test_no_cell_of_a_table_is_a_formula(pages: Service, reader: httpx.AsyncClient) -> None:
    event = {"type": "deal_registered", "title": {"en": "=HYPERLINK(1)"}}
    await pages.client.post("/v1/deals/a-formula/events", json={"event": event})
    fields = (await reader.get("/deals/a-formula/fields.csv")).text
    assert "=HYPERLINK" in fields
    assert not re.search(r'(?m)(^|,)"?[=+@-]', fields)


async def test_the_clocks_stand_on_every_page(reader: httpx.AsyncClient) -> None:
    for path in PAGES:
        if path.startswith("/sign-in"):
            continue
        html = (await reader.get(path)).text
        if "compare" in path:
            assert html.count("Effective on") == 2
            continue
        assert 'aria-label="Effective on"' in html, path
        assert 'aria-label="Known as of"' in html, path


async def test_a_page_not_changed_is_not_sent_again(reader: httpx.AsyncClient) -> None:
    first = await reader.get(ULSAN)
    again = await reader.get(ULSAN, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    korean = await reader.get(ULSAN, headers={"Accept-Language": "ko", "If-None-Match": first.headers["etag"]})
    assert korean.status_code == 200
    assert "Accept-Language" in first.headers["vary"]


async def test_head_works_where_get_does(reader: httpx.AsyncClient) -> None:
    for path in ("/", ULSAN, "/log"):
        answer = await reader.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


async def test_wrong_addresses_are_told_in_words(reader: httpx.AsyncClient) -> None:
    for path, status in (
        ("/?colour=red", 400),
        (f"{ULSAN}?effective_on=2025-02-30", 400),
        ("/?published_on=2025-06-01&position=3", 400),
        ("/events/nothing", 404),
        ("/organizations/nobody", 404),
        ("/static/nothing.css", 404),
    ):
        answer = await reader.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"].startswith("text/html"), path
        assert "<h1>" in answer.text


async def test_an_address_that_leads_nowhere_is_a_page_for_readers_and_a_problem_for_machines(
    reader: httpx.AsyncClient,
) -> None:
    page = await reader.get("/nowhere/at/all", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Page not found" in page.text
    for path, accept in (("/nowhere/at/all", "*/*"), ("/v1/nowhere", "text/html")):
        problem = await reader.get(path, headers={"Accept": accept})
        assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")


async def test_text_from_announcements_never_becomes_markup(pages: Service, reader: httpx.AsyncClient) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}</textarea>'
    slug = "evil-words"
    source = {"publisher": evil, "title": evil, "url": "https://example.com/a", "published_on": "2025-01-01"}
    body = [
        {
            "effective_on": "2025-01-01",
            "sources": [source],
            "note": evil,
            "event": {
                "type": "deal_registered",
                "title": {"ko": evil, "en": evil},
                "summary": {"en": evil},
            },
        },
        {
            "effective_on": "2025-01-01",
            "sources": [source],
            "event": {
                "type": "pledge_announced",
                "pledge": "p",
                "amount": {"currency": "KRW", "wording": evil},
                "purpose": {"en": evil, "ko": evil},
            },
        },
        {
            "effective_on": "2025-01-01",
            "event": {"type": "site_announced", "site": "s", "name": {"en": evil, "ko": evil}},
        },
        {
            "effective_on": "2025-01-01",
            "event": {"type": "milestone_scheduled", "milestone": "m", "name": {"en": evil}, "planned": "2027"},
        },
        {
            "effective_on": "2025-01-01",
            "event": {"type": "condition_set", "condition": "c", "text": {"ko": evil, "en": evil}},
        },
    ]
    made = await pages.client.post(f"/v1/deals/{slug}/events", json=body)
    assert made.status_code == 201, made.text
    events = [e["id"] for e in made.json()["events"]]
    for path in (
        f"/deals/{slug}",
        f"/deals/{slug}?field=/pledges/p/amount&axis=recorded",
        f"/deals/{slug}/blame",
        f"/deals/{slug}/compare?to.effective_on=2030-01-01",
        f"/search?q={slug}",
        f"/search?q={evil}",
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


async def test_reading_may_need_a_key(pages: Service, reader: httpx.AsyncClient) -> None:
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
async def test_a_language_chosen_in_the_address_stays_chosen(reader: httpx.AsyncClient, path: str) -> None:
    html = (await reader.get(f"{path}?lang=ko")).text
    inner = re.findall(r'<a[^>]* href="(/(?:deals|organizations|totals)[^"]*)"', main_of(html))
    assert inner
    assert all("lang=ko" in link or "/record" in link for link in inner), [i for i in inner if "lang=ko" not in i]


async def test_what_is_erased_by_law_is_gone_from_every_page(pages: Service, reader: httpx.AsyncClient) -> None:
    secret = "a-name-that-must-go"
    said = {"effective_on": "2025-01-01", "event": {"type": "deal_registered", "title": {"en": "Erased"}}}
    named = {
        "effective_on": "2025-01-01",
        "event": {"type": "pledge_announced", "pledge": "p", "purpose": {"en": secret, "ko": secret}},
    }
    made = await pages.client.post("/v1/deals/erased/events", json=[said, named])
    event = made.json()["events"][1]["id"]
    paths = ("/deals/erased", "/deals/erased/blame", f"/events/{event}", "/log", "/")
    assert secret in (await reader.get(paths[0])).text
    for path in paths:
        await reader.get(path)
    erased = {"event": {"type": "event_redacted", "redacts": event, "reason": "a court's order"}}
    assert (await pages.client.post("/v1/deals/erased/events", json=erased)).status_code == 201
    for path in paths:
        assert secret not in (await reader.get(path)).text, path
    assert not any(secret.encode() in kept.body for kept in cache.pages.values())
    assert "Its content was redacted." in (await reader.get(f"/events/{event}")).text
    assert "a court&#39;s order" in (await reader.get("/deals/erased")).text


async def test_a_large_portfolio_is_drawn_from_sums_that_agree_with_the_totals(pages: Service) -> None:
    registry = pages.app.state.services
    position = (await registry.log.head()).position
    days = await registry.portfolio.effective_change_days("r", position, 400)
    assert len(days) > 10
    apart = await registry.portfolio.spans_with_relations("r", position, 2_000)
    everything = await registry.portfolio.spans("r", position, 2_000)
    assert 0 < len(apart) < len(everything)
    assert await registry.portfolio.spans("r", position, len(everything) - 1) is None
    for currency in ("KRW", "USD"):
        sums = await registry.portfolio.sums("r", position, currency, days, apart)
        for day, plains in zip(days, sums, strict=True):
            level = trend.summed_amounts(day, apart, plains, currency)
            total = await registry.portfolio.totals("r", position, day, [], TotalsQuery(lines=0))
            assert (level.tiers["intended"], level.upper) == trend.bounds(total, currency), day
            assert level.tiers["pledged"] == trend.bounds(total, currency, "commitment")[0]


async def test_the_chart_of_a_large_portfolio_says_what_it_shows_and_why_it_is_missing(
    pages: Service, reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = pages.app.state.services
    known = (await registry.log.head()).position
    monkeypatch.setattr(trend, "MAX_SPANS", len(await registry.portfolio.spans_with_relations("r", known, 2_000)))
    drawn = (await reader.get(f"/?position={known}&unit=KRW&kind=investment")).text
    assert 'class="stepped"' not in drawn
    assert "No chart for this selection" in drawn
    # Another day, so that nothing is kept of the chart that was drawn of spans.
    drawn = (await reader.get("/?published_on=2026-11-02&unit=KRW")).text
    assert 'class="stepped"' in drawn
    assert "only amounts announced in" in drawn


async def test_the_log_pages_through_events_of_one_type_and_says_the_same_as_json(
    reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "EVENTS_PER_PAGE", 3)
    seen: list[str] = []
    path = "/log?type=pledge_announced&effective_on=2026-11-01"
    for _ in range(20):
        html = (await reader.get(path)).text
        shown = re.findall(r'<td class="num" data-l="Position">(\d+)</td>', html)
        data = re.search(r'href="([^"]*)">Download JSON', html)
        assert data is not None
        said = (await reader.get(data[1].replace("&amp;", "&"))).json()["events"]
        assert [str(e["position"]) for e in said] == shown
        assert {e["type"] for e in said} == {"pledge_announced"}
        seen += shown
        later = re.search(r'href="([^"]*)">Later events', html)
        if later is None:
            break
        path = later[1].replace("&amp;", "&")
    everything = (await reader.get("/v1/events?type=pledge_announced&limit=1000")).json()["events"]
    assert seen == [str(e["position"]) for e in everything]
    assert len(seen) > 6


async def test_the_log_calls_deals_and_organizations_by_their_names(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/log?type=deals_related&effective_on=2026-10-02")).text
    table = html[html.index('class="stack log"') :]
    assert "SK and AWS: AI data centre in Ulsan</a>" in table
    assert not re.search(r'href="/(deals|organizations)/([a-z0-9-]+)[^"]*">\2<', table)
    # What is related to what goes by names too.
    assert "seven-firms-korea-2030" not in text_of(table)


async def test_the_page_of_a_long_history_shows_a_part_of_it_and_leads_to_the_rest(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    first = date(2020, 1, 1)
    said: list[object] = [{"type": "deal_registered", "title": {"en": "Long"}}]
    said.append({"type": "pledge_announced", "pledge": "p", "amount": won(1)})
    said += [{"type": "pledge_revised", "pledge": "p", "amount": won(i)} for i in range(2, 200)]
    events = [{"effective_on": str(first + timedelta(days=7 * i)), "event": event} for i, event in enumerate(said)]
    assert (await pages.client.post("/v1/deals/long-history/events", json=events)).status_code == 201
    told: list[str] = []
    path = "/deals/long-history"
    for _ in range(10):
        html = (await reader.get(path)).text
        assert len(html.encode()) < 110_000
        # No mark and no step leads to an event that this page does not have.
        anchors = set(re.findall(r'id="(event-[0-9a-f-]{36})"', html))
        assert set(re.findall(r'href="#(event-[^"]*)"', html)) <= anchors
        assert html.count("<li", html.index('class="steps"'), html.index("</ol>", html.index('class="steps"'))) <= 13
        told += re.findall(r'<li id="event-([0-9a-f-]{36})"', html)
        earlier = re.search(r'href="([^"#]*)#h-audit">[^<]*earlier event', html)
        if earlier is None:
            break
        path = earlier[1].replace("&amp;", "&")
    assert len(told) == len(set(told)) == len(events)


def won(millions: int) -> dict[str, str]:
    return {"currency": "KRW", "value": str(millions * 10**6)}


async def test_the_table_of_deals_comes_page_by_page_in_any_order(
    reader: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = (await reader.get("/?sort=-amount&effective_on=2026-10-01")).text
    whole = re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', everything)
    monkeypatch.setattr(deal_list, "PAGE_SIZE", 4)
    for limit in (1_000, 6):
        monkeypatch.setattr(deal_list, "MAX_SORTED", limit)
        for sort in ("deal", "-deal") if limit == 6 else ("deal", "-deal", "amount", "-amount", "stage"):
            found: list[str] = []
            path = f"/?sort={sort}&effective_on=2026-09-{limit % 28 + 1:02}"
            for _ in range(30):
                html = (await reader.get(path)).text
                rows = re.findall(r'<th scope="row"><a href="/deals/([a-z0-9-]+)', html)
                assert len(rows) <= 4
                found += rows
                assert ("More than 6 deals" in html) == (limit == 6)
                following = re.search(r'href="([^"]*)">More deals', html)
                if following is None:
                    break
                path = following[1].replace("&amp;", "&")
            assert sorted(found) == sorted(whole), (limit, sort)
            assert len(found) == len(set(found))
