"""The figures above the deals: the headline, its scope, and what they leave out."""

from __future__ import annotations

import re
from decimal import Decimal

import asyncpg
import httpx
from msgspec.structs import replace

from tests.databases import Server
from tests.service import Service, cloned, running
from tests.web.html import text_of


async def test_headline_total_links_to_its_calculation(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get("/?unit=USD")).text
    link = re.search(r'href="(/totals[^"]*)"', html)
    assert link is not None
    derivation = text_of((await demo_reader.get(link[1].replace("&amp;", "&"))).text)
    assert "Included in both bounds." in derivation
    assert "Excluded: part of an amount already included." in derivation
    assert "the reference rate of" in derivation


def figures_of(html: str, name: str) -> set[tuple[str, str, str]]:
    """The figures of a name: currency, lower and upper bound."""
    found = re.findall(rf'data-figure="{name}" data-currency="(\w+)" data-low="([\d.]+)" data-high="([\d.]+)"', html)
    return set(found)


async def test_headline_names_its_scope_and_counts_deals_beyond_it_apart(
    pages: Service, reader: httpx.AsyncClient
) -> None:
    abroad = [
        {"effective_on": "2025-06-16", "event": {"type": "deal_registered", "title": {"en": "Beyond"}}},
        *(
            {"effective_on": "2025-06-16", "event": {"type": "site_announced", "site": place.lower(), "place": place}}
            for place in ("KR-28", "JP")
        ),
        {
            "effective_on": "2025-06-16",
            "event": {"type": "pledge_announced", "pledge": "p", "amount": {"value": "77000000", "currency": "USD"}},
        },
    ]
    answer = await pages.client.post("/v1/deals/beyond-korea/events", json=abroad)
    assert answer.status_code == 201
    html = (await reader.get("/?region=KR&unit=USD&lang=en")).text
    assert "Pledged for South Korea" in text_of(html)
    assert "also" in text_of(html[html.index('class="apart"') :][:400])
    for name, extent in (("committed", "within"), ("beyond", "beyond")):
        query = {"region": "KR", "extent": extent, "currency": "USD"}
        columns = (await reader.get("/v1/totals", params=query)).json()["totals"]["overall"]["columns"]
        sums = {
            (c["currency"], c["low"], c["high"]) for c in columns if (c["nature"], c["basis"]) == ("commitment", "once")
        }
        assert figures_of(html, name) == sums
    assert ("USD", "77000000", "77000000") in {
        (c, low.removesuffix(".00"), high.removesuffix(".00")) for c, low, high in figures_of(html, "beyond")
    }
    missing = await reader.get("/v1/totals?extent=within")
    assert missing.status_code == 400


async def test_scope_states_beside_it_what_has_no_stated_place(demo_reader: httpx.AsyncClient) -> None:
    query = {"region": "KR", "extent": "unstated", "currency": "USD"}
    columns = (await demo_reader.get("/v1/totals", params=query)).json()["totals"]["overall"]["columns"]
    deals = (await demo_reader.get("/v1/deals?region=KR&extent=unstated")).json()["deals"]
    assert [deal["deal"] for deal in deals] == ["aws-apec-2028"]
    for path in ("/?region=KR", "/totals?region=KR", "/totals?region=KR&extent=within"):
        html = (await demo_reader.get(f"{path}&unit=USD&lang=en")).text
        assert "one deal without a stated place" in text_of(html)
        assert figures_of(html, "unstated") == {(c["currency"], c["low"], c["high"]) for c in columns}
    for path in ("/", "/totals"):
        assert not figures_of((await demo_reader.get(path, params={"unit": "USD"})).text, "unstated")


async def test_province_states_beside_it_the_deals_of_which_only_the_country_is_known(
    demo_reader: httpx.AsyncClient,
) -> None:
    query = {"region": "KR-31", "extent": "country", "currency": "USD"}
    columns = (await demo_reader.get("/v1/totals", params=query)).json()["totals"]["overall"]["columns"]
    deals = (await demo_reader.get("/v1/deals?region=KR-31&extent=country")).json()["deals"]
    every = (await demo_reader.get("/v1/deals?region=KR")).json()["deals"]
    assert [deal["deal"] for deal in deals] == [deal["deal"] for deal in every if deal["places"] == ["KR"]]
    for path in ("/?region=KR-31", "/totals?region=KR-31"):
        html = (await demo_reader.get(f"{path}&unit=USD&lang=en")).text
        assert f"{len(deals)} deals of which only the country is stated" in text_of(html)
        assert figures_of(html, "country") == {(c["currency"], c["low"], c["high"]) for c in columns}
    assert not figures_of((await demo_reader.get("/?region=KR&unit=USD")).text, "country")


async def test_scope_is_named_where_it_can_be_chosen(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with cloned(demo_server, admin, "scoped") as settings:
        korea = replace(settings, scope=(("region", "KR"),))
        async with running(korea) as service, httpx.AsyncClient(base_url=service.url, timeout=30) as client:
            everything = (await client.get("/?scope=all&lang=en")).text
            scoped = (await client.get("/?lang=en")).text
    assert '<a href="/?lang=en">South Korea</a>' in everything
    chosen = re.findall(r'<option value="" selected>([^<]*)', scoped)
    assert [name.partition(" (")[0] for name in chosen] == ["South Korea"]


async def test_figure_to_which_no_deal_belongs_has_no_undisclosed_amounts(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get("/?effective_on=2025-06-21&lang=en")).text
    figures = dict(re.findall(r'<h2>([^<]*)</h2>\s*<p class="sum none">([^<]*)', html))
    assert figures["Of which under construction or operating"] == figures["Intentions"] == "No deals"
    assert figures["Annual"] == "No annual amounts"


async def test_no_deals_are_not_deals_without_amounts(pages: Service, reader: httpx.AsyncClient) -> None:
    for path in ("/?region=KR-50", "/totals?region=KR-50"):
        text = text_of((await reader.get(f"{path}&lang=en")).text)
        assert "No deals" in text
        assert "No amounts disclosed" not in text


async def test_deals_beyond_the_scope_without_amounts_say_so(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get("/?region=KR-31&unit=USD&lang=en")).text
    apart = text_of(html[html.index('class="apart"') :].partition("</p>")[0])
    assert "one deal that also covers other places. No amounts disclosed" in apart
    unstated = text_of(html[html.rindex('class="apart"') :].partition("</p>")[0])
    assert "one deal without a stated place. Pledged or committed: at least US$40bn" in unstated


async def test_of_it_figure_is_a_subset_of_the_figure_it_stands_under(demo_reader: httpx.AsyncClient) -> None:
    for query in (
        "",
        "?unit=KRW",
        "?unit=stated",
        "?region=KR",
        "?effective_on=2025-11-01",
        "?organization=amkor-technology",
    ):
        html = (await demo_reader.get(f"/{query}")).text
        whole = {currency: (Decimal(low), Decimal(high)) for currency, low, high in figures_of(html, "committed")}
        for currency, low, high in figures_of(html, "built"):
            assert Decimal(low) <= whole[currency][0], query
            assert Decimal(high) <= whole[currency][1], query
