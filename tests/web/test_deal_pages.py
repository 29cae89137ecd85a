"""The pages of a deal over HTTP: its state at a point in time, its sources, its history, and its downloads."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from registry.demo import lines
from registry.domain.deal import Deal
from registry.domain.fold.items import ListItem
from registry.formatting.language import DOT
from registry.i18n import LANGUAGES
from registry.web.deals.sections import other_lists
from tests.api.announcements import announced, registered
from tests.service import Service
from tests.web.html import main_of, plain, text_of

ULSAN = "/deals/sk-aws-ulsan"


def state_of(html: str) -> str:
    """The text of a deal's page above its history, which also lists events that take effect later."""
    return text_of(main_of(html)[: main_of(html).index('class="audit"')])


DAYS = ("2025-06-17", "2025-06-21", "2025-06-23", "2025-09-01")


def won(millions: int) -> dict[str, str]:
    return {"currency": "KRW", "value": str(millions * 10**6)}


async def test_no_line_of_facts_begins_with_the_dot_between_them(reader: httpx.AsyncClient) -> None:
    for path in ("/deals/sk-aws-ulsan", "/", "/totals", "/search?q=Ulsan"):
        html = main_of((await reader.get(path)).text)
        assert re.findall(r"[^<>]*[ \n]·[^<>]*", html) == [], path


@pytest.mark.parametrize("language", LANGUAGES)
async def test_no_line_of_parties_sites_milestones_and_results_ends_with_a_dot(
    reader: httpx.AsyncClient, language: str
) -> None:
    deal = (await reader.get("/deals/sk-aws-ulsan", params={"lang": language})).text
    for id in ("h-parties", "h-sites", "h-milestones"):
        section = re.search(rf'<section>\s*<h2 id="{id}".*?</section>', deal, re.DOTALL)
        assert section is not None, id
        assert "· " in text_of(section[0]), id
        assert DOT not in re.sub("<[^>]*>", "", section[0]), id
    found = (await reader.get("/search", params={"q": "Ulsan", "lang": language})).text
    assert DOT not in re.sub("<[^>]*>", "", found[found.index('<section class="found"') :].partition("</main>")[0])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "path",
    [
        "/deals/amkor-songdo",
        "/log",
        "/totals?unit=USD",
        "/compare?from.effective_on=2025-06-16",
        "/deals/sk-aws-ulsan/compare?from.effective_on=2025-06-16",
        "/deals/sk-aws-ulsan/blame",
        "/deals/sk-aws-ulsan/blame?field=/pledges/total/amount",
    ],
)
async def test_no_line_of_facts_ends_with_the_dot_between_them(
    demo_reader: httpx.AsyncClient, path: str, language: str
) -> None:
    """Values that changed are quoted as they are."""
    html = main_of((await demo_reader.get(httpx.URL(path).copy_add_param("lang", language))).text)
    cited = html.partition('id="cite"')[0]
    shown = re.sub("<[^>]*>", "<>", re.sub(r"<(ins|del|option|title).*?</\1>", "", cited, flags=re.DOTALL))
    assert re.findall(f"[^<>]*{DOT}[^<>]*", shown) == []


async def test_organization_without_a_name_is_shown_as_an_identifier(
    reader: httpx.AsyncClient, pages: Service, slug: str
) -> None:
    named, unnamed = f"{slug}-named", f"{slug}-unnamed"
    parties = [
        {"organization": named, "role": "investor", "name": {"en": f"Firm of {slug}"}},
        {"organization": unnamed, "role": "partner"},
    ]
    joined = announced("2025-06-16", "parties_joined", parties=parties)
    for body in (registered(f"Plant of {slug}"), joined):
        assert (await pages.client.post(f"/v1/deals/{slug}/events", json=body)).is_success
    for path in (f"/deals/{slug}", f"/?organization={unnamed}", f"/organizations?q={unnamed}"):
        html = main_of((await reader.get(path)).text)
        assert f"<code>{unnamed}</code>" in html, path
        assert f"<code>{named}</code>" not in html, path
    assert f"<h1><code>{unnamed}</code></h1>" in (await reader.get(f"/organizations/{unnamed}")).text


async def test_deal_effective_in_the_future_links_to_its_first_effective_date(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    events = [
        {"effective_on": "2031-01-01", "event": {"type": "deal_registered", "title": {"en": "Ahead"}}},
        {"effective_on": "2032-01-01", "event": {"type": "pledge_announced", "pledge": "p"}},
    ]
    assert (await pages.client.post("/v1/deals/of-the-future/events", json=events)).status_code == 201
    answer = await reader.get("/deals/of-the-future")
    assert answer.status_code == 404
    assert "It has been announced and takes effect on 1 Jan 2031." in plain(answer.text)
    assert "or in effect before 1 Jan 2031." in plain(answer.text)
    slider = answer.text[answer.text.index("data-slider") :]
    assert "effective_on=2031-01-01" in slider[: slider.index("Next change:")]
    assert "Previous change:" not in slider[: slider.index("Next change:")]
    assert (await reader.get("/deals/of-the-future?effective_on=2031-01-01")).status_code == 200
    # The link to the first effective date keeps the rest of the point where the deal is known then.
    dated = "published_on=2999-01-01"
    beyond = (await reader.get(f"/deals/of-the-future?{dated}&lang=en")).text
    assert f"/deals/of-the-future?{dated}&amp;lang=en&amp;effective_on=2031-01-01" in beyond
    unpublished = (await reader.get("/deals/of-the-future?published_on=2020-01-01")).text
    assert "This deal was not yet known on that date." in unpublished


async def test_deal_page_summarizes_the_pledge_in_both_languages(reader: httpx.AsyncClient) -> None:
    english = text_of((await reader.get("/deals/aws-korea-2031")).text)
    assert "Amazon Web Services pledges about US$5bn more by 2031." in english
    assert "+ " not in english
    assert "In addition to an unspecified amount" in english
    korean = text_of((await reader.get("/deals/aws-korea-2031?lang=ko")).text)
    assert "약 50억 달러" in korean
    assert "AWS 수도권 AI 리전 추가 투자" in korean
    assert "병기 금액: 약 7조 원" in korean


async def test_ulsan_deal_shows_the_pledges_of_each_effective_date(reader: httpx.AsyncClient) -> None:
    states = [state_of((await reader.get(f"{ULSAN}?effective_on={day}")).text) for day in DAYS]
    assert "jointly pledge US$5.1bn" in states[0]
    assert "jointly pledge ₩7tn" in states[1]
    assert "US$4bn" not in states[1]
    assert "of which US$4bn" in states[2]
    assert "Of which: US$4bn (Amazon Web Services)." in states[2]
    assert "US$4bn more" not in states[2]
    assert "reached on 29 Aug 2025" not in states[2]
    assert "reached on 29 Aug 2025" in states[3]


async def test_historical_view_is_marked_and_links_to_the_present(reader: httpx.AsyncClient) -> None:
    past = (await reader.get(f"{ULSAN}?effective_on=2025-06-21&field=/stage")).text
    assert "Historical view: as of 21 Jun 2025." in text_of(past)
    back = re.search(r'<a href="([^"]*)">View current</a>', past)
    assert back is not None
    assert httpx.URL(back[1].replace("&amp;", "&")) == httpx.URL(f"{ULSAN}?field=%2Fstage")
    assert "Historical view:" not in (await reader.get(ULSAN)).text


async def test_page_of_a_past_log_links_to_what_applies_today(reader: httpx.AsyncClient) -> None:
    past = (await reader.get(f"{ULSAN}?recorded_at=2025-06-21T14:59:59Z")).text
    [now] = re.findall(r'<a class="now" href="([^"]*effective_on[^"]*)"', past)
    today = httpx.URL(now.replace("&amp;", "&")).params["effective_on"]
    assert date.fromisoformat(today) > date(2025, 10, 29)
    assert f'name="effective_on" value="{today}"' in (await reader.get(now.replace("&amp;", "&"))).text


async def test_as_of_form_redirects_to_the_query_parameters_of_the_api(reader: httpx.AsyncClient) -> None:
    form = {"effective_on": "2025-06-21", "known": "published", "known_on": "2025-06-20", "lang": "ko"}
    answer = await reader.get(ULSAN, params=form)
    assert answer.status_code == 303
    assert httpx.URL(answer.headers["location"]).params == httpx.QueryParams(
        {"effective_on": "2025-06-21", "lang": "ko", "published_on": "2025-06-20"}
    )
    recorded = await reader.get(ULSAN, params={"effective_on": "", "known": "recorded", "known_on": "2025-06-20"})
    assert recorded.headers["location"].endswith("recorded_at=2025-06-20T23%3A59%3A59.999999Z")
    invalid = await reader.get(ULSAN, params={"known": "recorded", "known_on": "tomorrow"})
    assert invalid.status_code == 400


async def test_page_at_a_log_position_shows_the_day_at_which_the_log_stood(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    calendar = pages.app.state.services.calendar
    now = calendar.now
    calendar.now = lambda: datetime.now(UTC) + timedelta(days=30)
    try:
        html = (await reader.get(f"{ULSAN}?position=60")).text
        assert 'name="effective_on" value="2025-06-16"' in html
        assert "Historical view: as of 16 Jun 2025, up to position 60." in text_of(html)
        organizations = await reader.get("/organizations?position=3")
        assert organizations.text.count('href="/organizations/') == 1
    finally:
        calendar.now = now


async def test_slider_of_a_deal_stops_on_the_days_of_its_changes(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get(f"{ULSAN}?effective_on=2025-06-21")).text
    slider = html[html.index("data-slider") :]
    slider = slider[: slider.index("</div>")]
    days = re.findall(r"effective_on=([0-9-]+)", slider)
    assert sorted(set(days)) == ["2025-06-16", "2025-06-20", "2025-06-22", "2025-08-29", "2025-10-29"]
    before, *_, after = days
    assert (before, after) == ("2025-06-20", "2025-06-22")


async def test_deal_that_was_not_yet_known_is_404_with_its_first_publication(reader: httpx.AsyncClient) -> None:
    answer = await reader.get(f"{ULSAN}?published_on=2025-06-01")
    assert answer.status_code == 404
    assert "This deal was not yet known on that date." in answer.text
    assert "published before 16 Jun 2025" in text_of(answer.text)
    earlier = await reader.get(f"{ULSAN}?effective_on=2025-01-01")
    assert "It took effect later, on 16 Jun 2025." in plain(earlier.text)
    unknown = await reader.get("/deals/never-heard-of")
    assert (unknown.status_code, "never-heard-of" in text_of(unknown.text)) == (404, True)


async def test_each_field_of_a_deal_links_to_its_source(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(ULSAN)).text
    links = {d.replace("&amp;", "&") for d in re.findall(r'class="why" href="([^"]*blame[^"]*)"', html)}
    assert len(links) > 10
    for link in links:
        provenance = await reader.get(link)
        assert 'class="provenance"' in provenance.text, link
    amount = text_of((await reader.get(f"{ULSAN}/blame?field=/pledges/total/amount")).text)
    assert "₩7tn (US$5.13bn)" in amount
    assert "Before US$5.1bn" in amount
    assert "Korea JoongAng Daily 20 Jun 2025" in amount


async def test_conflicting_amounts_are_listed_with_one_value_used(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(ULSAN)).text
    table = html[html.index('aria-label="Pledge of SK Group and Amazon Web Services\u00a0· Amount"') :]
    table = text_of(table[: table.index("</table>")])
    for value in ("₩7tn (US$5.13bn)", "“several trillion won”", "US$5.1bn (₩7tn)", "The Korea Herald"):
        assert value in table
    assert table.count("Value used") == 1


async def test_amkor_amount_has_a_warning_with_its_source_events(reader: httpx.AsyncClient) -> None:
    html = (await reader.get("/deals/amkor-songdo")).text
    flags = html[html.index('class="flags"') :]
    flags = flags[: flags.index("</section>")]
    assert "the joint amount may have been attributed to one party" in flags
    assert (
        "Pledge for an advanced packaging facility is part of Seven foreign firms: investment in Korea but"
        in text_of(flags)
    )
    assert "seven-firms-korea-2030" not in text_of(flags)
    assert re.search(r'href="/events/[0-9a-f-]{36}"', flags)


async def test_current_step_of_the_ladder_rests_on_what_the_deal_page_says(reader: httpx.AsyncClient) -> None:
    """BlackRock's memorandum implied the stage first; a source declared it on the same day."""
    html = main_of((await reader.get("/deals/blackrock-asia-ai-hub")).text)
    assert "Stage: Signed since 22 Sep 2025 (declared)." in text_of(html)
    ladder = html[html.index('class="ladder"') : html.index("</ol>", html.index('class="ladder"'))]
    current = text_of(ladder[ladder.index("aria-current") : ladder.index("</li>", ladder.index("aria-current"))])
    assert "22 Sep 2025 declared" in current


async def test_history_does_not_print_a_part_as_an_addition_to_its_whole(reader: httpx.AsyncClient) -> None:
    for language, addition in (("en", "US$4bn more"), ("ko", "40억 달러 추가")):
        assert addition not in text_of(main_of((await reader.get(f"{ULSAN}?lang={language}")).text))


async def test_history_states_no_publication_where_no_source_has_a_date(demo_reader: httpx.AsyncClient) -> None:
    """Nobody published an identifier that is common knowledge, or the choice of an editor."""

    async def meta_of(path: str, said: str) -> str:
        html = (await demo_reader.get(path, headers={"Accept-Language": "en"})).text
        events = (
            text_of(event) for event in re.findall(r'<p class="says">.*?<p class="meta">.*?</p>', html, re.DOTALL)
        )
        return next(event for event in events if event.strip().startswith(said))

    identifier = await meta_of("/organizations/amazon-web-services", "Wikidata")
    assert "effective 11 Oct 2023 · recorded 16 Jun 2025" in identifier
    choice = await meta_of("/deals/microsoft-kt", "Pledge")
    assert "recorded 30 Oct 2025" in choice
    assert not re.search("effective|published", choice)
    assert "effective 10 Oct 2024 · published 29 Oct 2025" in await meta_of("/deals/microsoft-kt", "Pledge · Amount:")
    assert "published 12 Oct 2023" in await meta_of("/organizations/amazon-web-services", "AWS")


async def test_note_in_another_language_names_it(reader: httpx.AsyncClient) -> None:
    assert "but not how the two firms share it. (영어)" in text_of((await reader.get(f"{ULSAN}?lang=ko")).text)
    assert "(in " not in text_of((await reader.get(ULSAN)).text)


async def test_totals_and_past_overview_name_deals_and_pledges(reader: httpx.AsyncClient) -> None:
    """By the names of today where the deal was not known at the point."""
    ids = [*{line.slug for line in lines() if line.kind == "deal"}, "aws-share", "first-phase", "full-capacity"]
    past = ("/?effective_on=2020-01-01", "/?recorded_at=2025-06-21T14:59:59Z")
    for path in ("/totals", "/totals?group_by=stage", *past):
        text = text_of(main_of((await reader.get(path)).text))
        assert [id for id in ids if re.search(rf"(?<![\w-]){id}(?![\w-])", text)] == []
    assert "SK and AWS: AI data centre in Ulsan (pledge of Amazon Web Services)" in text_of(
        (await reader.get("/totals")).text
    )


async def test_pages_refer_to_deals_by_title_instead_of_slug(reader: httpx.AsyncClient) -> None:
    html = (await reader.get(f"/?position={len(lines())}")).text
    latest = text_of(html[html.index('class="latest"') : html.index("</ol>", html.index('class="latest"'))])
    assert "Amkor Technology: chip packaging in Songdo" in latest
    assert "amkor-songdo" not in latest
    audit = main_of((await reader.get(ULSAN)).text)
    audit = text_of(audit[audit.index('id="h-audit"') :])
    assert "Pledge of Amazon Web Services is additional to AWS cloud infrastructure in Korea, 2023–2027" in audit
    assert "Pledge of Amazon Web Services is part of pledge of SK Group and Amazon Web Services" in audit
    assert "Milestone: first phase" in audit


async def test_deal_without_stage_or_amount_has_no_chart_and_no_unreached_stage(reader: httpx.AsyncClient) -> None:
    html = main_of((await reader.get("/deals/corning-korea")).text)
    assert 'class="axes' not in html
    assert 'id="h-axes"' not in html
    ladder = text_of(html[html.index('class="ladder"') : html.index("</ol>", html.index('class="ladder"'))])
    assert "Not reached" not in ladder
    assert ladder.count("Not reported") == 5


async def test_json_and_csv_downloads_show_the_same_as_of_point(reader: httpx.AsyncClient) -> None:
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


async def test_csv_cells_are_never_formulas(pages: Service, reader: httpx.AsyncClient) -> None:
    event = {"type": "deal_registered", "title": {"en": "=HYPERLINK(1)"}}
    await pages.client.post("/v1/deals/a-formula/events", json={"event": event})
    fields = (await reader.get("/deals/a-formula/fields.csv")).text
    assert "=HYPERLINK" in fields
    assert not re.search(r'(?m)(^|,)"?[=+@-]', fields)


async def test_long_history_is_paged_without_missing_or_repeated_events(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    first = date(2020, 1, 1)
    contents: list[object] = [{"type": "deal_registered", "title": {"en": "Long"}}]
    contents.append({"type": "pledge_announced", "pledge": "p", "amount": won(1)})
    contents += [{"type": "pledge_revised", "pledge": "p", "amount": won(i)} for i in range(2, 200)]
    events = [{"effective_on": str(first + timedelta(days=7 * i)), "event": event} for i, event in enumerate(contents)]
    assert (await pages.client.post("/v1/deals/long-history/events", json=events)).status_code == 201
    shown: list[str] = []
    path = "/deals/long-history"
    for _ in range(10):
        html = (await reader.get(path)).text
        assert len(html.encode()) < 110_000
        # Every link to an event within the page has its target.
        anchors = set(re.findall(r'id="(event-[0-9a-f-]{36})"', html))
        assert set(re.findall(r'href="#(event-[^"]*)"', html)) <= anchors
        assert html.count("<li", html.index('class="steps"'), html.index("</ol>", html.index('class="steps"'))) <= 13
        shown += re.findall(r'<li id="event-([0-9a-f-]{36})"', html)
        earlier = re.search(r'href="([^"#]*)#h-audit">[^<]*earlier event', html)
        if earlier is None:
            break
        path = earlier[1].replace("&amp;", "&")
    assert len(shown) == len(set(shown)) == len(events)


class Lease(ListItem, frozen=True):
    id_fields = ("lease",)
    order = ("lease",)

    lease: str


class DealWithLeases(Deal, frozen=True, kw_only=True):
    leases: tuple[Lease, ...]


def test_list_without_a_section_of_its_own_is_shown_by_the_common_pattern() -> None:
    """Whatever list is added to a deal's state is on its page."""
    land = Lease("land")
    assert other_lists(DealWithLeases(deal="d", title=None, leases=(land,))) == {
        "leases": [("/leases/land/lease", land)]
    }


async def test_undated_deal_is_marked_on_every_day_until_it_has_a_date(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    event = {"type": "deal_registered", "title": {"en": "Undated harbour"}}
    (body,) = (await pages.client.post("/v1/deals/undated-harbour/events", json=[{"event": event}])).json()["events"]
    source = {"url": "https://a.example/1", "published_on": "2020-05-01"}
    dated = {"event": event | {"title": {"en": "Dated harbour"}}, "sources": [source]}
    assert (await pages.client.post("/v1/deals/dated-harbour/events", json=dated)).status_code == 201

    async def listed(**as_of: str) -> dict[str, bool]:
        found = (await reader.get("/v1/deals", params={"q": "harbour", **as_of})).json()["deals"]
        return {deal["deal"]: deal["undated"] for deal in found}

    assert await listed(effective_on="1990-01-01") == {"undated-harbour": True}
    assert await listed(effective_on="2025-01-01") == {"dated-harbour": False, "undated-harbour": True}
    assert (await reader.get("/v1/deals/undated-harbour?effective_on=1990-01-01")).json()["remarks"]["undated"] is True
    assert (await reader.get("/v1/deals/dated-harbour")).json()["remarks"]["undated"] is False
    page = text_of((await reader.get("/deals/undated-harbour?effective_on=1990-01-01")).text)
    assert "Undated No source of this deal has a date." in page
    assert "Undated harbour Undated" in text_of((await reader.get("/?q=harbour&effective_on=1990-01-01")).text)

    position = (await reader.get("/v1/deals/undated-harbour")).json()["position"]
    correction = {
        "type": "event_corrected",
        "corrects": body["id"],
        "reason": "The ministry gave the date.",
        "replacement": {"effective_on": "2021-03-01"},
    }
    assert (await pages.client.post("/v1/deals/undated-harbour/events", json={"event": correction})).status_code == 201
    assert await listed(effective_on="1990-01-01") == {}
    assert await listed(effective_on="1990-01-01", position=str(position)) == {"undated-harbour": True}
    assert await listed(effective_on="2021-03-01") == {"dated-harbour": False, "undated-harbour": False}
