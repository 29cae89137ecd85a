"""Every page of the demo and of a generated registry shows what the API answers to the same question, at any point.

`REGISTRY_WALK_DEALS` sets the number of generated deals (`make walk`: 10,000). Of these, the whole list is read in one
order and one language at each point, its beginning in the other orders and in the other language, and `PAGES_OF_DEALS`
deals have their pages opened. An answer of the API is fetched once for all languages.
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
import httpx
import pytest
import pytest_asyncio

from bench import workload
from registry.demo import lines as demo_lines
from registry.i18n import DEFAULT_LANGUAGE as LANGUAGE_OF_WHOLE_LISTS
from registry.i18n import LANGUAGES, Label, render
from registry.web.totals import MAX_LINES
from tests.api.conftest import NO_TLS, Service, cloned, running
from tests.conftest import Server, drill
from tests.properties import oracle
from tests.web.conftest import DEALS
from tests.web.walker import expected_amount, figures_of, parsed, unexplained

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
    drill({"position": str(DEALS * 4)}, LANGUAGES),
    drill(PAST_AND_POSITION, LANGUAGES),
)
SORTS = ("-amount", "-updated", "announced_on", "-since", "deal")


@pytest_asyncio.fixture(scope="module")
async def demo(demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service that holds the demo deals and nothing else."""
    async with cloned(demo_server, admin, "walked") as settings, running(settings) as service:
        yield service


class Answers:
    """What the API answered at one point: the deals, their order by each sort, and other answers by question."""

    def __init__(self) -> None:
        self.deals: dict[str, Any] = {}
        self.orders: dict[tuple[tuple[str, str], ...], list[str]] = {}
        self.others: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
        self.figures: dict[str, frozenset[str]] = {}
        """The amounts of all deals as pages write them, by language."""


class Walk:
    """Pages and answers of a service at a point in time, in one language."""

    def __init__(
        self, service: Service, point: dict[str, str], language: str, known: dict[str, Answers] | None = None
    ) -> None:
        # Not the service's own client, which checks every response against the OpenAPI document: pages are not in it.
        self.client = httpx.AsyncClient(base_url=service.url, timeout=120, verify=NO_TLS)
        self.service = service
        self.point = point
        self.language = language
        self.known_points = {} if known is None else known
        self.known = self.known_points.setdefault(str(sorted(point.items())), Answers())

    async def __aenter__(self) -> Walk:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()

    async def page(self, path: str, **query: str) -> str | None:
        """A page; None where it does not exist at the point."""
        answer = await self.client.get(path, params={**self.point, **query, "lang": self.language})
        assert answer.status_code in (200, 404), answer.text
        return answer.text if answer.status_code == 200 else None

    async def answer(self, path: str, **query: str) -> Any:
        """The API's answer to the same question."""
        asked = path, tuple(sorted(query.items()))
        if asked not in self.known.others:
            answer = await self.client.get(path, params={**self.point, **query})
            assert answer.status_code == 200, answer.text
            self.known.others[asked] = answer.json()
        return self.known.others[asked]

    async def latest_events(self) -> Any:
        """The events that the overview lists as the latest: recorded by the point, and by a past day that it asks."""
        positions = [(await self.answer("/v1/totals", lines="0"))["position"]]
        for day in (self.point[name] for name in ("effective_on", "published_on") if name in self.point):
            query = {"lines": "0", "recorded_at": f"{day}T23:59:59.999999Z"}
            positions.append((await self.client.get("/v1/totals", params=query)).json()["position"])
        position = min(positions)
        query = {"after": str(max(0, position - 40)), "limit": "40"}
        events = (await self.client.get("/v1/events", params=query)).json()["events"]
        return [event for event in events if event["position"] <= position]

    async def list(self, sort: str, **query: str) -> list[Any]:
        asked = tuple(sorted({"sort": sort, **query}.items()))
        order: list[str] = []
        cursor: dict[str, str] = {}
        while asked not in self.known.orders:
            params = {**self.point, "sort": sort, "limit": "1000", **query, **cursor}
            answer = (await self.client.get("/v1/deals", params=params)).raise_for_status().json()
            for deal in answer["deals"]:
                assert self.known.deals.setdefault(deal["deal"], deal) == deal
                order.append(deal["deal"])
            if answer["next"] is None:
                self.known.orders[asked] = order
            cursor = {"cursor": answer["next"]}
        return [self.known.deals[slug] for slug in self.known.orders[asked]]

    async def figures(self) -> frozenset[str]:
        """The amounts of all deals as the pages write them."""
        if self.language not in self.known.figures:
            self.known.figures[self.language] = frozenset(figures_of(self.language, await self.list("deal")))
        return self.known.figures[self.language]


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


async def check_deal(walk: Walk, service: Service, slug: str) -> None:
    html = await walk.page(f"/deals/{slug}")
    stream, _ = await service.app.state.services.streams.load(f"deal/{slug}")
    model = oracle.state_of(slug, stream.events, **await model_point(walk, service))
    if html is None:
        assert model is None
        return
    state = await walk.answer(f"/v1/deals/{slug}", expand="organizations,incoming")
    assert model is not None
    assert amounts_of(state) == amounts_of(model)
    assert stage_of(state) == stage_of(model)
    history = (await walk.answer(f"/v1/deals/{slug}/events"))["events"]
    parser = parsed(html)
    shown = [one.attributes["data-label"] for one in parser.marked if one.attributes.get("data-label")]
    labels = [entry["label"] for entry in reversed(history)][:40]
    assert shown[len(shown) - len(labels) :] == labels
    for one in parser.marked:
        if "data-label" in one.attributes:
            assert one.text == render(Label(f"what/{one.attributes['data-label']}"), walk.language)
    assert unexplained(html, walk.language, state, history) == []


def amounts_of(state: Any) -> list[tuple[Any, ...]]:
    return [
        (p["pledge"], p["status"], p["amount"] and (p["amount"]["currency"], p["amount"]["value"]))
        for p in state["pledges"]
    ]


def stage_of(state: Any) -> tuple[str, str] | None:
    return (state["stage"]["value"], state["stage"]["basis"]) if state["stage"] else None


async def model_point(walk: Walk, service: Service) -> dict[str, Any]:
    """The point as the independent model takes it: a log that is fixed gives its position and its day."""
    point: dict[str, Any] = {"effective": service.app.state.services.calendar.today()}
    if "published_on" in walk.point:
        point["published"] = date.fromisoformat(walk.point["published_on"])
    else:
        answer = await walk.answer("/v1/totals", lines="0")
        point = {"effective": date.fromisoformat(answer["effective_on"]), "position": answer["position"]}
    if "effective_on" in walk.point:
        point["effective"] = date.fromisoformat(walk.point["effective_on"])
    return point


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
            for number in range(0, DEALS, max(1, DEALS // PAGES_OF_DEALS)):
                await check_deal(walk, generated, workload.slug(number))
            for slug in ("organization-large", "organization-001"):
                await check_organization(walk, slug)


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
    for number in range(DEALS):
        stream, _ = await generated.app.state.services.streams.load(f"deal/{workload.slug(number)}")
        state = oracle.state_of(stream.slug, stream.events, **at)
        for pledge in state["pledges"] if state is not None else ():
            nature = "intention" if pledge["commitment"] == "intention" else "commitment"
            expected[pledge["amount"]["currency"], nature, "once"] += int(pledge["amount"]["value"])
    assert {(c["currency"], c["nature"], c["basis"]): int(c["high"]) for c in columns} == dict(expected)
    for column in columns:
        assert Decimal(column["low"]) <= Decimal(column["high"])
