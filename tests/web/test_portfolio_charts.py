"""The chart of amounts over time and the map on the pages about all deals."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from itertools import pairwise

import asyncpg
import httpx
import pytest
from msgspec.structs import replace

from registry.domain.history import AsOf
from registry.domain.totals import TotalsQuery
from registry.schemas.deal_query import DealQuery
from registry.web.portfolio.trend import sampled
from tests.api.announcements import announced, registered
from tests.conftest import drill
from tests.databases import Server
from tests.service import Service, cloned, running
from tests.web.html import text_of


async def test_chart_over_time_names_the_deals_that_changed_amounts(
    demo_server: Server, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    # The demo alone: deals of other tests may have more days of change than the chart has steps.
    async with cloned(demo_server, admin, "chart") as settings, running(settings) as service:
        html = (await service.visitor.get("/?effective_on=2025-06-18", headers={"Accept-Language": "en"})).text
        later = text_of(
            (await service.visitor.get("/?effective_on=2025-11-20", headers={"Accept-Language": "en"})).text
        )
    assert "US$0 – US$14.3bn Lower bound of zero: each of these amounts may overlap another or is in doubt." in later
    assert "Lower bound of zero" not in html
    legend = text_of(html[html.index('class="legend levels"') : html.index('class="chart both"')])
    assert "As of 18 Jun 2025:" in legend
    assert "Intention or above US$12.73bn" in legend
    # A level that has no line has no amount either: nothing says that no construction is under way.
    assert "US$0" not in legend
    moves = html[html.index('class="moves"') :]
    moves = moves[: moves.index("</ol>")]
    assert "16 Jun 2025 +US$5.1bn SK and AWS: AI data centre in Ulsan" in text_of(moves)
    assert 'href="/?effective_on=2025-06-16"' in moves
    # The chart is drawn twice, for wide and for narrow windows.
    assert html.count('class="flag"') <= 2 * moves.count("<li>")


async def test_map_counts_the_deals_of_each_province(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get("/")).text
    assert 'aria-label="Ulsan: 2"' in html
    assert 'aria-label="North Gyeongsang: 1"' in html
    assert 'aria-label="Jeju' not in html


@pytest.mark.parametrize(
    "filters", [drill(DealQuery()), DealQuery(region="KR-31"), drill(DealQuery(stage="construction"))]
)
async def test_chart_equals_the_totals_of_each_day_and_ends_at_the_day_asked_for(
    unchanged: Service, demo_reader: httpx.AsyncClient, filters: DealQuery
) -> None:
    portfolio = unchanged.app.state.services.portfolio_queries
    point = await portfolio.point(AsOf(effective_on=date(2025, 11, 1)))
    selection = await portfolio.select(point, filters)
    days = [day for day in await portfolio.effective_change_days(point, 400) if day <= point.day]
    assert len(days) > 10
    if filters.given():
        # Every day for all deals; for a selection every fourth, and the last.
        days = [*days[:-1:4], days[-1]]
    rates = await portfolio.rates(AsOf())
    for currency in ("KRW", "USD"):
        for amounts in await portfolio.trend(point, selection, currency, rates, days):
            query = TotalsQuery(currency=currency, effective_on=amounts.day, lines=0)
            total = await portfolio.totals(replace(point, day=amounts.day), selection, query, rates=rates)
            once = [column for column in total.overall.columns if column.basis == "once"]
            assert amounts.tiers["intended"] == sum(Decimal(column.low) for column in once), amounts.day
            assert amounts.upper == sum(Decimal(column.high) for column in once), amounts.day
    html = (await demo_reader.get("/?effective_on=2025-11-01&unit=KRW")).text
    assert 'class="stepped"' in html
    steps = [
        date.fromisoformat(day) for day in re.findall(r'effective_on=([0-9-]+)[^"]*"[^>]*><rect class="step"', html)
    ]
    assert max(steps) == max(days)


async def test_map_of_locations_has_a_legend_of_the_shades_in_use(demo_reader: httpx.AsyncClient) -> None:
    html = (await demo_reader.get("/?lang=en")).text
    legend = text_of(html[html.index('id="h-map"') :].partition("</p>")[0])
    # Nine deals without a location in Korea shade no province.
    assert "One deal 2 deals" in legend
    assert "3 deals" not in legend


@pytest.mark.parametrize("query", ["", "&stage=operating", "&sector=energy&region=KR", "&region=US"])
async def test_legend_of_the_map_states_what_its_shades_stand_for(generated: Service, query: str) -> None:
    html = (await generated.visitor.get(f"/?lang=en{query}")).text
    regions = (await generated.client.get(f"/v1/deals?facets=true&limit=1{query}")).json()["facets"]["region"]
    section = html[html.index('id="h-map"') :]
    legend = {
        shade: range(int(low), int(high) + 1)
        for shade, low, high in re.findall(r'class="l-m(\d)" data-low="(\d+)" data-high="(\d+)"', section)
    }
    marks = re.findall(r'region=([A-Z0-9-]+)[^"]*" aria-label="[^"]*: ([\d,]+)"><path class="m(\d)"', section)
    assert marks
    assert {shade for _, _, shade in marks} == legend.keys()
    for code, shown, shade in marks:
        deals = int(shown.replace(",", ""))
        assert deals == regions[code]
        assert deals in legend[shade], (code, deals, legend)
    ranges = sorted(legend.values(), key=lambda one: one.start)
    assert all(one.stop <= following.start for one, following in pairwise(ranges))
    # The largest number has the darkest shade, unless all are equal.
    numbers = {int(shown.replace(",", "")): shade for _, shown, shade in marks}
    if max(numbers) > 2 * min(numbers):
        assert numbers[max(numbers)] > numbers[min(numbers)]


async def test_deal_with_two_sites_in_a_country_counts_once_there(service: Service, slug: str) -> None:
    sector = f"{slug}-works"
    sites = [announced("2025-06-16", "site_announced", site=place.lower(), place=place) for place in ("US-TX", "US-CA")]
    await service.client.post(f"/v1/deals/{slug}/events", json=[registered(sectors=[sector]), *sites])
    html = (await service.visitor.get(f"/?lang=en&sector={sector}")).text
    assert 'aria-label="United States: 1"' in html


async def test_chart_says_that_it_converts_amounts_that_the_page_shows_as_announced(
    demo_reader: httpx.AsyncClient,
) -> None:
    said = "Amounts in other currencies are converted to US Dollar at reference rates."
    assert said in text_of((await demo_reader.get("/?unit=stated&lang=en")).text)
    assert said not in text_of((await demo_reader.get("/?unit=USD&lang=en")).text)


async def test_tiers_of_the_chart_are_parts_of_each_other_and_without_doubted_amounts(
    unchanged: Service, demo_reader: httpx.AsyncClient
) -> None:
    portfolio = unchanged.app.state.services.portfolio_queries
    point = await portfolio.point(AsOf(effective_on=date(2025, 11, 20)))
    amkor = await portfolio.select(point, DealQuery(organization="amkor-technology", region="KR-28"))
    everything = await portfolio.select(point, DealQuery())
    rates = await portfolio.rates(AsOf())
    for selection in (amkor, everything):
        (amounts,) = await portfolio.trend(point, selection, "USD", rates, [point.day])
        tiers = list(amounts.tiers.values())
        assert tiers == sorted(tiers, reverse=True)
        assert tiers[0] <= amounts.upper
    (amounts,) = await portfolio.trend(point, amkor, "USD", rates, [point.day])
    assert amounts.tiers["construction"] < Decimal(9_000_000_000) <= amounts.upper


def test_new_day_replaces_only_the_last_of_the_chart() -> None:
    days = [date.fromordinal(700_000 + number) for number in range(200)]
    replaced = 0
    for number in range(1, len(days)):
        before, now = sampled(days[:number], 24), sampled(days[: number + 1], 24)
        assert len(now) <= 24
        assert (now[0], now[-1]) == (days[0], days[number])
        replaced += not set(before[:-1]).issubset(now)
    # After 24, 47, 93 and 185 days, the distance between them doubles.
    assert replaced == 4
