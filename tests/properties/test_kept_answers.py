"""What the copy keeps of a question, and carries forward by the deals that changed, is what it would find anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.domain.history import AsOf
from registry.domain.totals import TotalsQuery
from registry.projections.columnar.lists import Order
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point
from registry.queries.portfolio import PortfolioQueries
from registry.schemas.deal_query import DealListQuery
from tests.conftest import examples
from tests.databases import Server
from tests.properties.portfolios import random_registry
from tests.properties.test_portfolio import DAYS, SLUGS, histories, record

DAY = DAYS[4]
SELECTIONS = (Selection(), Selection(DealListQuery(region="KR")))
QUERIES = (
    TotalsQuery(group_by=("organization",), effective_on=DAY, lines=20),
    TotalsQuery(currency="USD", group_by=("stage",), effective_on=DAY, lines=0, estimates="both"),
    TotalsQuery(currency="KRW", group_by=("region", "year"), effective_on=DAY, lines=0),
    TotalsQuery(group_by=("organization",), effective_on=DAY, lines=0, groups=1, skip=1),
)
ORDERS = (
    Order("amount", descending=True, weights={"USD": 1000, "KRW": 1}),
    Order("announced_on"),
    Order("updated"),
    Order("title", language="ko"),
    Order("deal", descending=True),
)
TREND_DAYS = [date(2025, 1, 15), date(2025, 3, 1), DAY]

relations = st.lists(
    st.tuples(
        st.sampled_from(SLUGS),
        st.sampled_from(DAYS),
        st.sampled_from(DAYS),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["deals_related", "deals_related", "deals_unrelated"]),
                "relation": st.sampled_from(["part_of", "overlaps", "supersedes"]),
                "deal": st.sampled_from(SLUGS),
            }
        ),
        st.just(0),
    ),
    max_size=6,
)


async def answers(queries: PortfolioQueries, point: Point) -> list[Any]:
    """The answers to questions about all deals at a point."""
    rates = await queries.rates(AsOf())
    found: list[Any] = [await queries.effective_change_days(point, 100)]
    for selection in SELECTIONS:
        found += [await queries.facets(point, selection), await queries.places(point, selection)]
        found.append(await queries.trend(point, selection, "USD", rates, TREND_DAYS))
        found += [await queries.page(point, selection, order, None, 3) for order in ORDERS]
        found += [await queries.totals(point, selection, query, rates) for query in QUERIES]
    return found


def parts(history: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [history[first : first + size] for first in range(0, len(history), size)]


@settings(max_examples=examples(1), deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories, related=relations, order=st.randoms(), size=st.integers(6, 14))
async def test_answer_that_is_carried_forward_equals_one_that_is_found_anew(
    server: Server, admin: Any, history: Any, related: Any, order: Any, size: int
) -> None:
    mixed = [*history, *related]
    order.shuffle(mixed)
    async with random_registry(server, admin) as registry:
        queries = registry.portfolio
        for part in parts(mixed, size):
            await record(registry, part)
            point = await queries.point(AsOf(effective_on=DAY))
            # Of a point that the log has gone beyond, nothing is kept.
            uncached = replace(point, head=point.head + 1)
            assert await answers(queries, point) == await answers(queries, uncached)
