"""Lists of deals at any point in time, with filters, facets and pages, and their totals."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.api.announcements import SOURCE, announced, corrected, pledged, registered, revised, voided


async def record(client: httpx.AsyncClient, slug: str, *announcements: Any) -> dict[str, Any]:
    """Record announcements about a deal."""
    answer = await client.post(f"/v1/deals/{slug}/events", json=list(announcements))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def party(organization: str, role: str) -> dict[str, Any]:
    """An organization joins on 16 June."""
    return announced("2025-06-16", "parties_joined", parties=[{"organization": organization, "role": role}])


async def portfolio(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> tuple[str, list[str]]:
    """Record three deals of a new sector; return the slugs of the sector and of the deals."""
    sector = new_slug()
    first, second, third = (f"{sector}-{letter}" for letter in "abc")
    await record(
        client,
        first,
        registered("Alpha works", sectors=[sector], kind="investment"),
        party(f"{sector}-firm", "investor"),
        announced("2025-06-16", "site_announced", site="a", place="KR-31"),
        pledged(commitment="pledge"),
    )
    await record(
        client,
        second,
        registered("Beta zeta%_works", sectors=[sector], kind="partnership"),
        party(f"{sector}-firm", "partner"),
        party(f"{sector}-other", "investor"),
        announced("2025-07-01", "stage_changed", stage="signed"),
    )
    await record(
        client,
        third,
        registered("Gamma", sectors=[sector]),
        announced("2025-08-01", "site_announced", site="a", place="JP-13"),
    )
    return sector, [first, second, third]


async def names(client: httpx.AsyncClient, **asked: Any) -> list[str]:
    """Return the slugs of a list's deals."""
    answer = await client.get("/v1/deals", params=asked)
    assert answer.status_code == 200, answer.text
    return [deal["deal"] for deal in answer.json()["deals"]]


async def test_each_filter_selects_matching_deals(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    sector, (first, second, third) = await portfolio(client, new_slug)
    firm = f"{sector}-firm"
    expected: list[tuple[dict[str, str], list[str]]] = [
        ({}, [first, second, third]),
        ({"organization": firm}, [first, second]),
        ({"organization": firm, "role": "partner"}, [second]),
        ({"organization": firm, "role": "investor"}, [first]),
        ({"role": "investor"}, [first, second]),
        ({"region": "KR"}, [first]),
        ({"region": "KR-31"}, [first]),
        ({"region": "JP"}, [third]),
        ({"stage": "signed"}, [second]),
        ({"stage": "committed"}, [first]),
        ({"commitment": "pledge"}, [first]),
        ({"currency": "USD"}, [first]),
        ({"currency": "KRW"}, []),
        ({"kind": "partnership"}, [second]),
        ({"q": "works"}, [first, second]),
        ({"q": "WORKS"}, [first, second]),
        ({"q": "zeta%_"}, [second]),
        ({"q": "%"}, []),
        ({"q": third}, [third]),
        ({"effective_on": "2025-06-30", "stage": "signed"}, []),
        ({"effective_on": "2025-06-30"}, [first, second, third]),
        ({"published_on": "2025-06-15"}, []),
    ]
    for asked, deals in expected:
        assert await names(client, sector=sector, **asked) == deals, asked


async def test_facets_count_the_deals_of_each_further_filter(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    sector, _ = await portfolio(client, new_slug)
    facets = (await client.get("/v1/deals", params={"sector": sector, "facets": "true"})).json()["facets"]
    assert facets["organization"] == {f"{sector}-firm": 2, f"{sector}-other": 1}
    assert facets["role"] == {"investor": 2, "partner": 1}
    assert facets["region"] == {"JP": 1, "JP-13": 1, "KR": 1, "KR-31": 1}
    assert facets["sector"] == {sector: 3}
    assert facets["kind"] == {"investment": 1, "partnership": 1}
    assert facets["currency"] == {"USD": 1}
    for facet, values in facets.items():
        for value, count in values.items():
            assert len(await names(client, sector=sector, **({facet: value} if facet != "sector" else {}))) == count
    narrowed = (
        await client.get("/v1/deals", params={"sector": sector, "kind": "partnership", "facets": "true"})
    ).json()
    assert narrowed["facets"]["kind"] == {"partnership": 1}


async def test_relations_are_not_a_facet(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    sector, (first, second, _) = await portfolio(client, new_slug)
    await record(client, first, announced("2025-06-16", "deals_related", relation="overlaps", deal=second))
    facets = (await client.get("/v1/deals", params={"sector": sector, "facets": "true"})).json()["facets"]
    assert set(facets) <= {"organization", "role", "region", "sector", "stage", "commitment", "currency", "kind"}


async def pages(client: httpx.AsyncClient, url: str) -> AsyncIterator[dict[str, Any]]:
    """Yield a page and the pages after it."""
    while url:
        answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("link", ""))
        url = link.group(1) if link else ""


@pytest.mark.parametrize("currency", ["KRW", "IDR"])
async def test_amounts_of_several_currencies_are_ordered_at_the_newest_rate_unrounded(
    client: httpx.AsyncClient, new_slug: Callable[[], str], currency: str
) -> None:
    day = "2025-12-01"
    [rate] = (await client.get(f"/v1/rates?day={day}&currency={currency}&source=ECB")).json()["rates"]
    per_euro = Decimal(rate["value"])
    # The difference is smaller than the error of a rate that is rounded to millionths of a euro.
    rounded = round(1 / per_euro, 6) * per_euro
    amounts = {"EUR": Decimal(10**9), currency: round(10**9 * per_euro * (3 - rounded) / 2)}
    sector = new_slug()
    for code, amount in amounts.items():
        await record(
            client,
            f"{sector}-{code.lower()}",
            registered("Works", sectors=[sector]),
            announced(
                "2025-06-16",
                "pledge_announced",
                pledge="total",
                amount={"value": str(amount), "currency": code},
                commitment="pledge",
                by=[f"{sector}-{code.lower()}"],
            ),
        )
    largest = "EUR" if rounded > 1 else currency
    expected = [f"{sector}-{code.lower()}" for code in sorted(amounts, key=lambda code: code != largest)]
    asked = f"sector={sector}&effective_on={day}"
    deals = (await client.get(f"/v1/deals?{asked}&sort=-amount")).json()["deals"]
    assert [deal["deal"] for deal in deals] == expected
    groups = (await client.get(f"/v1/totals?{asked}&group_by=organization")).json()["totals"]["groups"]
    assert [group["key"] for group in groups] == expected


async def test_order_by_amount_is_that_of_the_amounts_shown_now_and_in_the_past(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    sector = new_slug()
    replaced, successor, other = (f"{sector}-{letter}" for letter in "abc")

    await record(client, replaced, registered(sectors=[sector]), pledged(value="9"), pledged(value="1", pledge="rest"))
    await record(client, successor, registered(sectors=[sector]), pledged(value="3"))
    await record(client, other, registered(sectors=[sector]), pledged(value="5"))
    by_amount = {"sector": sector, "sort": "-amount"}
    # Asked first: the event that follows is one of another deal than the one whose amount it changes.
    assert await names(client, **by_amount) == [replaced, other, successor]
    source = SOURCE | {"published_on": "2025-07-02"}
    supersedes = {"relation": "supersedes", "deal": replaced, "other_pledge": "total"}
    related = await record(client, successor, announced("2025-07-01", "deals_related", sources=[source], **supersedes))

    async def shown(**asked: Any) -> list[tuple[str, int]]:
        deals = (await client.get("/v1/deals", params=by_amount | asked)).json()["deals"]
        pledges = {deal["deal"]: [p for p in deal["pledges"] if not p["superseded_by"]] for deal in deals}
        return [(deal, max(int(p["amount"]["value"]) for p in found)) for deal, found in pledges.items()]

    before, after = [(replaced, 9), (other, 5), (successor, 3)], [(other, 5), (successor, 3), (replaced, 1)]
    assert await shown() == after
    assert await shown(effective_on="2025-06-30") == await shown(published_on="2025-07-01") == before
    assert await shown(position=related["position"] - 1, effective_on="2025-07-01") == before
    await record(client, successor, voided(related["events"][0]["id"]))
    assert await shown() == before
    assert await shown(position=related["position"], effective_on="2025-07-01") == after


@pytest.mark.parametrize("sort", ["deal", "-deal"])
async def test_pages_continue_the_same_list_while_events_are_recorded(
    client: httpx.AsyncClient, new_slug: Callable[[], str], sort: str
) -> None:
    sector = new_slug()
    for n in range(7):
        await record(client, f"{sector}-{n}", registered(sectors=[sector]))
    met: list[str] = []
    positions = set()
    async for page in pages(client, f"/v1/deals?sector={sector}&limit=3&sort={sort}"):
        met += [deal["deal"] for deal in page["deals"]]
        positions.add(page["position"])
        await record(client, f"{sector}-{len(met)}-late", registered(sectors=[sector]))
    expected = [f"{sector}-{n}" for n in range(7)]
    assert met == (expected if sort == "deal" else expected[::-1])
    assert len(positions) == 1
    assert len(await names(client, sector=sector)) == 10


@pytest.mark.parametrize(
    ("sort", "value"),
    [("-amount", "a text"), ("title", 3), ("stage", "a text"), ("announced_on", "a text")],
)
async def test_cursor_of_another_order_is_refused(
    client: httpx.AsyncClient, new_slug: Callable[[], str], sort: str, value: Any
) -> None:
    """Also one that a client has made, whose value is none of the order."""
    sector, [first, *_] = await portfolio(client, new_slug)

    async def page(**asked: Any) -> httpx.Response:
        return await client.get("/v1/deals", params={"sector": sector, "limit": 1, **asked})

    following = (await page(sort="-updated")).json()["next"]
    assert (await page(sort="-updated", cursor=following)).status_code == 200
    made = (
        base64.urlsafe_b64encode(json.dumps([None, "2026-01-01", [value, first, sort]]).encode()).decode().rstrip("=")
    )
    for cursor in (following, made):
        refused = await page(sort=sort, cursor=cursor)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_query")


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/v1/deals", {"commitment": "binding"}),
        ("/v1/totals", {"group_by": "region"}),
        ("/v1/totals", {"commitment": "binding"}),
        ("/v1/totals", {"currency": "KRW"}),
        ("/v1/totals", {"estimates": "exclude"}),
        ("/v1/compare", {"commitment": "binding"}),
    ],
)
async def test_cursor_of_other_filters_is_refused(
    client: httpx.AsyncClient, new_slug: Callable[[], str], path: str, other: dict[str, str]
) -> None:
    """Its place in one list is none in another: deals before it would be left out."""
    sector = new_slug()
    for n in range(3):
        await record(client, f"{sector}-{n}", registered(sectors=[sector]), pledged(by=[f"{sector}-{n}"]))
    questions: dict[str, dict[str, Any]] = {
        "/v1/deals": {"limit": 1},
        "/v1/totals": {"group_by": "organization", "limit": 1},
        "/v1/compare": {"from.effective_on": "2000-01-01", "limit": 1},
    }
    asked = questions[path]

    async def page(**more: str) -> httpx.Response:
        return await client.get(path, params={"sector": sector, **asked, **more})

    cursor = (await page()).json()["next"]
    assert (await page(cursor=cursor)).status_code == 200
    refused = await page(**other, cursor=cursor)
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_query")


async def test_list_item_shows_the_main_facts_of_a_deal(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    sector, (first, *_) = await portfolio(client, new_slug)
    deal = (await client.get("/v1/deals", params={"sector": sector})).json()["deals"][0]
    assert (deal["deal"], deal["title"], deal["organizations"]) == (
        first,
        {"ko": None, "en": "Alpha works"},
        [f"{sector}-firm"],
    )
    assert deal["pledges"][0]["amount"] == {
        "value": "5000000000",
        "currency": "USD",
        "stated_as": [],
        **dict.fromkeys(("qualifier", "low", "high", "wording", "figure", "price_year")),
    }
    assert deal["places"] == ["KR-31"]
    assert deal["stage"]["value"] == "committed"


async def test_list_at_a_past_point_shows_what_was_known(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    sector, (first, *_) = await portfolio(client, new_slug)
    before = (await client.get("/v1/deals", params={"sector": sector})).json()
    corrected_event = (await client.get(f"/v1/deals/{first}/events")).json()["events"][3]["id"]
    await record(client, first, voided(corrected_event))
    assert await names(client, sector=sector, currency="USD") == []
    assert await names(client, sector=sector, currency="USD", position=before["position"]) == [first]
    again = (await client.get("/v1/deals", params={"sector": sector, "position": before["position"]})).json()
    assert again["deals"] == before["deals"]
    assert await names(client, sector=sector, recorded_at="2020-01-01T00:00:00Z") == []
    assert await names(client, sector=sector, position=0) == []


async def test_merged_deal_is_not_listed(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    sector, (first, second, third) = await portfolio(client, new_slug)
    position = (await record(client, third, {"event": {"type": "deal_merged", "into": first}}))["position"]
    assert await names(client, sector=sector) == [first, second]
    assert await names(client, sector=sector, position=position - 1) == [first, second, third]


async def test_portfolio_comparison_lists_the_changes_of_deals(
    client: httpx.AsyncClient, new_slug: Callable[[], str]
) -> None:
    sector, (first, *_) = await portfolio(client, new_slug)
    start = (await client.get("/v1/deals")).json()["position"]
    await record(client, first, revised("2025-07-10", "9000000000"))
    await record(client, f"{sector}-d", registered("Delta", sectors=[sector]))
    pledge = (await client.get(f"/v1/deals/{first}/events")).json()["events"][3]
    await record(client, first, corrected(pledge["id"], event={**pledge["event"], "purpose": {"en": "a hall"}}))
    answer = await client.get("/v1/compare", params={"from.position": start})
    changes = [c for c in answer.json()["changes"] if c["deal"].startswith(sector)]
    assert {(c["deal"], c["what"]) for c in changes} >= {(first, "grew"), (f"{sector}-d", "appeared")}
    grown = next(c for c in changes if c["what"] == "grew")
    assert (grown["before"]["value"], grown["after"]["value"]) == ("5000000000", "9000000000")
    assert (await client.get("/v1/compare")).json()["changes"] == []


# --- totals -----------------------------------------------------------------------------------------------------------


async def test_totals_have_bounds_and_rules(client: httpx.AsyncClient, new_slug: Callable[[], str]) -> None:
    sector, (first, *_) = await portfolio(client, new_slug)
    answer = await client.get("/v1/totals", params={"sector": sector, "group_by": "stage", "explain": "true"})
    totals = answer.json()["totals"]
    column = totals["overall"]["columns"][0]
    assert (column["currency"], column["low"], column["high"]) == ("USD", "5000000000", "5000000000")
    line = totals["overall"]["lines"][0]
    assert (line["deal"], line["rule"]) == (first, "counted")
    assert answer.json()["rules"]["counted"]
    assert totals["overall"]["explain"]["operation"]
    assert [group["key"] for group in totals["groups"]] == ["committed"]
    won = (await client.get("/v1/totals", params={"sector": sector, "currency": "KRW"})).json()["totals"]
    rate = won["rates"][0]
    assert (rate["from"], rate["to"], rate["asked"]) == ("USD", "KRW", "2025-06-16")
    assert won["overall"]["columns"][0]["currency"] == "KRW"
