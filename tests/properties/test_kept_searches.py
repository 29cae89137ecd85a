"""What the copy keeps of a search, and carries forward by the deals that changed, is what it would find without it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.domain.history import AsOf
from registry.domain.totals import TotalsQuery
from registry.projections.columnar.lists import Order
from registry.projections.point import Point
from registry.queries.portfolio import PortfolioQueries
from registry.schemas.deal_query import DealQuery
from tests.conftest import examples
from tests.databases import Server
from tests.properties.portfolios import random_registry
from tests.properties.test_kept_answers import parts
from tests.properties.test_search import DAYS, histories, queries, record

OTHER = {"event": {"type": "deal_registered", "title": {"en": "Another plant"}}}
CONVERTED = TotalsQuery(currency="USD", group_by=("stage",), effective_on=DAYS[-1], lines=0)
KINDS = ("organization", "place", "deal", "source")


async def answers(portfolio: PortfolioQueries, point: Point, words: str) -> list[Any]:
    """The answers to questions about a search at a point."""
    selection = await portfolio.select(point, DealQuery(q=words))
    page = await portfolio.page(point, selection, Order("relevance", descending=True), None, 3)
    totals = await portfolio.totals(point, selection, CONVERTED, await portfolio.rates(AsOf()))
    count = await portfolio.count(point, selection)
    return [selection, page, totals, count, await portfolio.find(point, words, KINDS, 10)]


@settings(max_examples=examples(2), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    history=histories,
    words=st.lists(queries, min_size=2, max_size=2, unique=True),
    data=st.data(),
    size=st.integers(2, 5),
)
async def test_search_that_is_carried_forward_finds_what_a_search_of_all_deals_does(
    server: Server, admin: Any, history: Any, words: Any, data: st.DataObject, size: int
) -> None:
    async with random_registry(server, admin) as registry:
        for part in parts(history, size):
            await record(registry, part, data)
            point = await registry.portfolio.point(AsOf(effective_on=DAYS[-1]))
            carried = [await answers(registry.portfolio, point, one) for one in words]
            await registry.append(f"another-{point.head}", OTHER)
            # Of a point that the log has gone beyond, nothing is kept.
            past = replace(point, head=(await registry.portfolio.point(AsOf())).head)
            assert past.head > point.head
            assert carried == [await answers(registry.portfolio, past, one) for one in words]


# Each writes a row of another kind that decides what a word finds. Between them, other deals are registered.
STEPS: list[tuple[str, str, dict[str, Any]]] = [
    ("deal", "anode", {"type": "deal_registered", "title": {"en": "Anode"}}),
    ("deal", "boiler", {"type": "deal_registered", "title": {"en": "Boiler plant"}}),
    ("deal", "boiler", {"type": "site_announced", "site": "st", "place": "KR-31"}),
    ("deal", "anode", {"type": "pledge_announced", "pledge": "p", "by": ["acme"]}),
    ("deal", "boiler", {"type": "parties_joined", "parties": [{"organization": "acme", "name": {"en": "Data works"}}]}),
    ("organization", "acme", {"type": "organization_registered", "name": {"en": "Marsupial Energy"}}),
    ("deal", "boiler", {"type": "deal_revised", "title": {"en": "Boilers"}}),
    ("deal", "boiler", {"type": "site_dropped", "site": "st"}),
    ("deal", "boiler", {"type": "party_left", "organization": "acme"}),
    ("deal", "anode", {"type": "pledge_withdrawn", "pledge": "p"}),
]
WORDS = ("plant", "ulsan", "acme", "data works", "marsupail", "gazette", "nothing")


@pytest.mark.drill
async def test_kept_search_finds_what_each_kind_of_row_changes(server: Server, admin: Any) -> None:
    async with random_registry(server, admin) as registry:
        for number, (kind, slug, event) in enumerate(STEPS):
            source = {"publisher": "Gazette", "title": "News"} if number == 3 else {"publisher": "Melon"}
            announcement = {"event": event, "effective_on": DAYS[0].isoformat(), "sources": [source]}
            await registry.append(slug, announcement, kind)
            assert len(registry.recorded[slug]) == sum(1 for _, other, _ in STEPS[: number + 1] if other == slug)
            point = await registry.portfolio.point(AsOf(effective_on=DAYS[-1]))
            kept = [await answers(registry.portfolio, point, words) for words in WORDS]
            await registry.append(f"another-{point.head}", {"event": {"type": "deal_registered", "title": {"en": "X"}}})
            past = replace(point, head=(await registry.portfolio.point(AsOf())).head)
            assert past.head > point.head
            assert kept == [await answers(registry.portfolio, past, words) for words in WORDS]
