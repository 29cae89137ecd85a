"""Every page of the demo and of a generated registry shows what the API answers to the same question, at any point.

`REGISTRY_WALK_DEALS` sets the number of generated deals (`make walk`: 10,000). Of these, the whole list is read in one
order and one language at each point, its beginning in the other orders and in the other language, and `PAGES_OF_DEALS`
deals and one of each story (`stories.py`) have their pages opened. An answer of the API is fetched once for all
languages.

The API's answers are compared with independent models at each point: the stage, the status, the amount and the flags of
every deal, and what a comparison with an earlier day says of every deal; of the deals whose pages are opened, also the
label and the flags of each event in the history, and the day from which the deal is quiet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import date, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from bench import workload
from registry.demo import lines as demo_lines
from registry.i18n import DEFAULT_LANGUAGE as LANGUAGE_OF_WHOLE_LISTS
from registry.i18n import LANGUAGES, Label, render
from registry.web.portfolio.totals import MAX_LINES
from tests.conftest import drill
from tests.databases import Server
from tests.properties import oracle
from tests.service import Service, cloned, running
from tests.web import stories
from tests.web.conftest import DEALS
from tests.web.model_checks import (
    check_deal,
    check_doubts,
    check_every_change,
    check_every_deal,
    check_flags,
    check_quiet_days,
)
from tests.web.walker import expected_amount, parsed, unexplained
from tests.web.walks import Answers, Walk, compared, history_of, model_point

PAGES_OF_DEALS = 12
"""Of how many generated deals the pages are opened."""
BEGINNING = 200
"""The deals after which a list is no longer read on."""

# The points and the languages of a walk: `make test` walks through the demo in Korean, `make drills` through the demo
# and the generated registry in all languages.
DEMO_WALKS: tuple[Any, ...] = (
    ({}, ["ko"]),
    drill({}, [language for language in LANGUAGES if language != "ko"]),
    drill({"effective_on": "2025-06-21"}, LANGUAGES),
    drill({"published_on": "2025-06-22"}, LANGUAGES),
    drill({"recorded_at": "2025-10-29T12:00:00Z"}, LANGUAGES),
    drill({"effective_on": "2025-11-01", "published_on": "2025-10-30"}, LANGUAGES),
)
PAST_AND_POSITION = {"effective_on": "2022-03-01", "position": str(DEALS * 7)}
GENERATED_WALKS: tuple[Any, ...] = (
    drill({}, LANGUAGES),
    drill({"effective_on": "2021-06-01"}, LANGUAGES),
    drill({"published_on": "2021-11-15"}, LANGUAGES),
    drill({"position": str(DEALS * workload.ROUNDS + DEALS // 5)}, LANGUAGES),
    drill(PAST_AND_POSITION, LANGUAGES),
)
SORTS = ("-amount", "-updated", "announced_on", "-since", "deal")


@pytest_asyncio.fixture(scope="module")
async def demo(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that holds the demo deals and nothing else."""
    async with cloned(demo_server, admin, "walked") as settings, running(settings) as service:
        yield service


def check_rows(html: str, deals: dict[str, Any], language: str) -> list[str]:
    """Compare the rows of a list with the API's, and return their deals in order."""
    parser = parsed(html)
    row: Any = None
    for one in parser.marked:
        if "data-deal" in one.attributes:
            row = deals[one.attributes["data-deal"]]
        if "data-amount" in one.attributes:
            slug, pledge = one.attributes["data-amount"].split("/")
            listed = next(p for p in deals[slug]["pledges"] if p["pledge"] == pledge)
            is_part = any(whole.startswith(f"{slug}/") for whole in listed["part_of"])
            basis = None if is_part and listed["amount_basis"] != "annual" else listed["amount_basis"]
            expected = expected_amount(language, listed["amount"], basis)
            assert expected in one.text, (slug, pledge)
            assert is_part == (one.text != expected)
            assert listed["status"] != "withdrawn"
            assert not listed["superseded_by"]
        if "data-stage" in one.attributes and row is not None:
            stage = row["stage"]
            assert (one.attributes["data-stage"], one.attributes["data-basis"]) == (stage["value"], stage["basis"])
            assert one.text == render(Label(f"stage/{stage['value']}"), language)
    flags = Counter(parser.values("data-flag"))
    shown = [deals[slug] for slug in parser.values("data-deal")]
    assert flags == Counter(
        flag for deal in shown for p in deal["pledges"] if p["status"] != "withdrawn" for flag in p["flags"]
    )
    return parser.values("data-deal")


async def check_overview(walk: Walk) -> None:
    """The rows of the table in every order, and the figures at the top."""
    deals: dict[str, Any] = {}
    for sort in SORTS:
        listed = await walk.list(sort)
        deals = {deal["deal"]: deal for deal in listed}
        order: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            html = await walk.page("/", sort=sort, scope="all", **cursor)
            assert html is not None
            order += check_rows(html, deals, walk.language)
            following = re.search(r'href="[^"]*[?&;]cursor=([^"&]+)[^"]*" rel="next"', html)
            is_whole = (sort, walk.language) == (SORTS[0], LANGUAGE_OF_WHOLE_LISTS)
            if following is None or (not is_whole and len(order) > BEGINNING):
                break
            cursor = {"cursor": unescape(following[1])}
        assert order == [deal["deal"] for deal in listed][: len(order)]
        assert len(order) == len(listed) or len(order) > BEGINNING
    html = await walk.page("/", scope="all")
    ended = [
        deal
        for deal in deals.values()
        if deal["superseded_by"] or (deal["stage"] and deal["stage"]["value"] in ("withdrawn", "cancelled"))
    ]
    assert html is not None
    assert parsed(html).values("data-ended") == ([str(len(ended))] if ended else [])
    for unit, currency in (("USD", {"currency": "USD"}), ("KRW", {"currency": "KRW"}), ("stated", {})):
        html = await walk.page("/", unit=unit, scope="all")
        assert html is not None
        totals = (await walk.answer("/v1/totals", group_by="stage", **currency))["totals"]
        of_stage = {group["key"]: group["of_total"] for group in totals["groups"]}
        built = [c for key in ("construction", "operating") for c in of_stage.get(key, ())]
        expected = {
            "committed": sums(totals["overall"]["columns"], "commitment", "once"),
            "built": sums(built, "commitment", "once"),
            "intended": sums(totals["overall"]["columns"], "intention", "once"),
        }
        for name, figures in expected.items():
            assert headline(html, name) == figures, (name, unit)
        for code, (low, high) in expected["built"].items():
            assert low <= expected["committed"][code][0]
            assert high <= expected["committed"][code][1]
        events = await walk.latest_events()
        known = await walk.figures()
        assert unexplained(html, walk.language, totals, merged(built), events, known=known) == []


def sums(columns: list[Any], nature: str, basis: str) -> dict[str, tuple[Decimal, Decimal]]:
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for c in columns:
        if (c["nature"], c["basis"]) == (nature, basis):
            low, high = found.get(c["currency"], (Decimal(0), Decimal(0)))
            found[c["currency"]] = (low + Decimal(c["low"]), high + Decimal(c["high"]))
    return found


def merged(columns: list[Any]) -> list[Any]:
    """The columns of several groups added up, as the figure shows them."""
    result = []
    for code, (low, high) in sums(columns, "commitment", "once").items():
        of = [c for c in columns if c["currency"] == code]
        opened = {name: any(c[name] for c in of) for name in ("low_open", "high_open")}
        result.append({**of[0], "low": str(low), "high": str(high), **opened})
    return result


def headline(html: str, name: str) -> dict[str, tuple[Decimal, Decimal]]:
    found = re.findall(rf'data-figure="{name}" data-currency="(\w+)" data-low="([\d.]+)" data-high="([\d.]+)"', html)
    return {code: (Decimal(low), Decimal(high)) for code, low, high in found}


async def check_totals(walk: Walk) -> None:
    for query in ({}, {"group_by": "stage", "unit": "USD"}, {"group_by": "organization"}):
        html = await walk.page("/totals", **query)
        assert html is not None
        asked = {"explain": "true", "lines": str(MAX_LINES), "limit": "50"}
        asked |= {"currency": query["unit"]} if "unit" in query else {}
        asked |= {"group_by": query["group_by"]} if "group_by" in query else {}
        answer = await walk.answer("/v1/totals", **asked)
        assert unexplained(html, walk.language, answer) == []


async def check_comparison(walk: Walk, day: str) -> None:
    """The comparison of the point with the same point on an earlier day, and the sums at both."""
    start = {f"from.{name}": value for name, value in walk.point.items()} | {"from.effective_on": day}
    end = {f"to.{name}": value for name, value in walk.point.items()}
    page = await walk.client.get("/compare", params={**start, **end, "lang": walk.language})
    answer = await walk.client.get("/v1/compare", params={**start, **end})
    assert (page.status_code, answer.status_code) == (200, 200)
    html, compared = page.text, answer.json()
    parser = parsed(html)
    assert set(parser.values("data-what")) <= {change["what"] for change in compared["changes"]}
    assert set(parser.values("data-kind")) <= {change["kind"] for change in compared["changes"]}
    for side in ("from", "to"):
        expected = {(one["currency"], one["low"], one["high"]) for one in compared["totals"][side]}
        assert {
            (one.attributes["data-currency"], one.attributes["data-low"], one.attributes["data-high"])
            for one in parser.marked
            if one.attributes.get("data-figure") == side
        } == expected
    point = {**walk.point, "effective_on": day}
    async with Walk(walk.service, point, walk.language, walk.known_points) as earlier:
        known = await walk.figures() | await earlier.figures()
    assert unexplained(html, walk.language, compared, known=known) == []


async def check_organization(walk: Walk, slug: str) -> None:
    """The deals of an organization's page are those of the list that the organization filters."""
    html = await walk.page(f"/organizations/{slug}")
    if html is None:
        return
    listed = await walk.list("deal", organization=slug)
    shown = set(re.findall(r'data-amount="([^"/]+)/', html))
    assert shown <= {deal["deal"] for deal in listed}
    history = await walk.client.get(f"/v1/organizations/{slug}/events", params=walk.point)
    explained = history.json()["events"] if history.status_code == 200 else []
    assert unexplained(html, walk.language, listed, explained) == []


@pytest.mark.parametrize(("point", "languages"), DEMO_WALKS, ids=str)
async def test_every_page_of_the_demo_shows_what_the_api_answers(
    demo: Service, point: dict[str, str], languages: Iterable[str]
) -> None:
    known: dict[str, Answers] = {}
    for language in languages:
        async with Walk(demo, point, language, known) as walk:
            await check_overview(walk)
            await check_totals(walk)
            await check_comparison(walk, "2024-12-31")
            for slug in sorted({line.slug for line in demo_lines() if line.kind == "deal"}):
                await check_deal(walk, demo, slug)
            for slug in sorted({line.slug for line in demo_lines() if line.kind == "organization"}):
                await check_organization(walk, slug)


@pytest.mark.parametrize(("point", "languages"), GENERATED_WALKS, ids=str)
async def test_pages_of_a_generated_registry_show_what_the_api_answers(
    generated: Service, point: dict[str, str], languages: Iterable[str]
) -> None:
    known: dict[str, Answers] = {}
    for language in languages:
        async with Walk(generated, point, language, known) as walk:
            await check_overview(walk)
            await check_totals(walk)
            await check_comparison(walk, "2021-03-01")
            if language == LANGUAGE_OF_WHOLE_LISTS:
                await check_every_deal(walk, generated)
                await check_every_change(walk, generated, "2021-03-01")
            of_stories = [n for n in range(min(DEALS, stories.EVERY)) if stories.story_of(n) is not None]
            for number in sorted({*range(0, DEALS, max(1, DEALS // PAGES_OF_DEALS)), *of_stories}):
                await check_deal(walk, generated, workload.slug(number))
                await check_doubts(walk, generated, workload.slug(number))
                await check_flags(walk, generated, workload.slug(number))
                await check_quiet_days(walk, generated, workload.slug(number))
            for slug in ("organization-large", "organization-001"):
                await check_organization(walk, slug)


@pytest.mark.parametrize("language", [drill(language) for language in LANGUAGES])
async def test_stories_have_their_labels_in_histories_and_in_a_comparison_of_the_records(
    generated: Service, language: str
) -> None:
    last = (await history_of(generated, workload.slug(DEALS - 1)))[workload.ROUNDS - 1]
    start = {"from.position": str(last.position)}
    async with Walk(generated, {}, language) as walk:
        found, listed = await compared(walk, start), {deal["deal"]: deal for deal in await walk.list("deal")}
        told = {n: story for n in range(DEALS) if (story := stories.story_of(n)) is not None}
        expected = {workload.slug(n): set(story.compared) for n, story in told.items() if story.compared}
        assert {slug: (found.get(slug), says) for slug, says in expected.items() if found.get(slug) != says} == {}
        assert found.keys() == expected.keys()
        for number, story in list(told.items())[: len(stories.STORIES)]:
            slug = workload.slug(number)
            history = (await walk.answer(f"/v1/deals/{slug}/events"))["events"]
            assert tuple(entry["label"] for entry in history[-len(story.labels) :]) == story.labels
            assert tuple(rule for pledge in listed[slug]["pledges"] for rule in pledge["flags"]) == story.flags
            page = (await walk.client.get("/compare", params={**start, "lang": language, "q": slug})).text
            assert slug in page or not story.compared


async def test_slider_leads_from_before_all_changes_to_the_first(generated: Service) -> None:
    html = (await generated.visitor.get("/", params={"effective_on": "1990-01-01"})).text
    first = re.findall(r'rel="next" href="[^"]*effective_on=([0-9-]+)', html)[0]
    day_before = date.fromisoformat(first) - timedelta(days=1)
    answers = [
        (await generated.client.get("/v1/deals", params={"effective_on": str(day), "limit": 1})).json()
        for day in (day_before, first)
    ]
    assert [len(answer["deals"]) for answer in answers] == [0, 1]


@pytest.mark.parametrize("point", [drill({}), PAST_AND_POSITION], ids=str)
async def test_totals_of_a_generated_registry_are_the_sums_of_the_model(
    generated: Service, point: dict[str, str]
) -> None:
    async with Walk(generated, point, "en") as walk:
        at = await model_point(walk, generated)
        columns = (await walk.answer("/v1/totals", lines="0"))["totals"]["overall"]["columns"]
    expected: Counter[tuple[str, str, str]] = Counter()
    for slug in map(workload.slug, range(DEALS)):
        state = oracle.state_of(slug, await history_of(generated, slug), **at)
        parts = {one["other_pledge"] for one in state["relations"] if one["relation"] == "part_of"} if state else set()
        for pledge in state["pledges"] if state is not None else ():
            # The part of a story is larger than its whole, so that it replaces the whole in the upper bound.
            if pledge["pledge"] in parts:
                continue
            nature = "intention" if pledge["commitment"] == "intention" else "commitment"
            if pledge["status"] != "withdrawn":
                expected[pledge["amount"]["currency"], nature, "once"] += int(pledge["amount"]["value"])
    assert {(c["currency"], c["nature"], c["basis"]): int(c["high"]) for c in columns} == dict(expected)
    for column in columns:
        assert Decimal(column["low"]) <= Decimal(column["high"])
