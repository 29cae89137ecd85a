"""Queries about all deals at two points in time: what changed, and the totals at each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date

from duckdb import DuckDBPyConnection

from registry.domain.history import AsOf
from registry.domain.totals import TotalsColumn, TotalsQuery
from registry.infra.threads import HEAVY_ITEM, offload_answer, until_cancelled
from registry.projections.columnar import ColumnarCopy, timeline
from registry.projections.columnar.lists import PagePlace
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point
from registry.queries.copy_questions import CopyQuestions
from registry.queries.deal_changes import DealChange, PortfolioChanges, changes_of, for_thread
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from registry.schemas import (
    ComparedTotals,
    DealChangeSummary,
    PortfolioComparison,
    convert_any,
    requested_point,
    summary_fields,
)

STREAMS_PER_READ = 10
"""The streams that are folded at once, because folding holds the event loop."""

MAX_LOOKED = 2_000
"""The most deals that a page of a comparison looks at."""


class ComparisonQueries:
    """Compare all deals at two points."""

    def __init__(self, streams: StreamReader, portfolio: PortfolioQueries, copy: ColumnarCopy) -> None:
        self._streams = streams
        self._portfolio = portfolio
        self._questions = CopyQuestions(copy)

    async def changes(
        self,
        start: AsOf,
        end: AsOf,
        selection: Callable[[Point], Awaitable[Selection]],
        after: PagePlace | None,
        limit: int,
    ) -> PortfolioChanges:
        """Compare two points over all deals: what appeared, grew, shrank, slipped, was corrected or learned late.

        The deals whose amounts changed most come first.

        Args:
            start: The one point.
            end: The other point.
            selection: Which deals, at a point; a deal that is selected at one of the two is compared.
            after: The last deal of the page before.
            limit: The most deals with changes.
        """
        resolved = await self._streams.resolve(start), await self._streams.resolve(end)
        points = await self._streams.point(resolved[0]), await self._streams.point(resolved[1])
        selected = await selection(points[1])
        head = await self._streams.head()
        positions = sorted([await self._streams.position_at(one.as_of, head) for one in resolved])
        effective = sorted(one.effective_on for one in resolved)
        published = sorted(one.as_of.published_on or date.max for one in resolved)
        bounds: dict[str, int | date] = {}
        for name, (first, last) in (("position", positions), ("effective", effective), ("published", published)):
            bounds |= {f"{name}_after": first, f"{name}_until": last}

        changes: list[DealChange] = []
        following = after
        is_more = True
        weights = self._portfolio.weights(await self._streams.rates(end), points[1].day)
        found = looked = 0
        # Some of the deals that may differ do not; a page that ends before it is full has looked at very many of them.
        while is_more and found < limit and looked < MAX_LOOKED:
            deals, following = await self._changed_deals(points, bounds, selected, weights, following, limit - found)
            is_more = following is not None
            copies = []
            for first in range(0, len(deals), STREAMS_PER_READ):
                names = [f"deal/{deal}" for deal in deals[first : first + STREAMS_PER_READ]]
                copies += [for_thread(stream) for stream in (await self._streams.load_all(names)).values()]
            size = HEAVY_ITEM * sum(stream.version for stream in copies)
            first_point, last_point = resolved[0].as_of, resolved[1].as_of
            more = await offload_answer(size, changes_of, copies, first_point, last_point, self._streams.calendar)
            changes += more
            found += len({change.deal for change in more})
            looked += len(deals)
        return PortfolioChanges(changes, positions[1], following)

    async def _changed_deals(
        self,
        points: tuple[Point, Point],
        bounds: dict[str, int | date],
        selection: Selection,
        weights: dict[str, int],
        after: PagePlace | None,
        limit: int,
    ) -> tuple[list[str], PagePlace | None]:
        """Return the next deals that may differ, and where the deals after them begin."""

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> tuple[list[str], PagePlace | None]:
            return timeline.changed_deals(cursor, points, bounds, selection, weights, after, limit)

        key = ("changed", points, bounds, selection, weights, after, limit)
        return await self._questions.ask(points[1], question, key, selection, others=points[:1])

    async def compare(
        self,
        start: AsOf,
        end: AsOf,
        selection: Callable[[Point], Awaitable[Selection]],
        after: PagePlace | None,
        limit: int,
    ) -> tuple[PortfolioComparison, PagePlace | None]:
        """Return the changes as a response, with the totals at each point, and where the next page begins.

        The parameters are those of `changes`. The response has no cursor yet.
        """

        async def sums(as_of: AsOf) -> tuple[TotalsColumn, ...]:
            point, rates = await self._portfolio.point(as_of), await self._streams.rates(as_of)
            totals = await self._portfolio.totals(point, await selection(point), TotalsQuery(lines=0), rates)
            return totals.overall.columns

        page, sums_at_start, sums_at_end = await asyncio.gather(
            self.changes(start, end, selection, after, limit), sums(start), sums(end)
        )

        def summaries() -> list[DealChangeSummary]:
            return [
                DealChangeSummary(**summary_fields(change), deal=change.deal, title=convert_any(change.title))
                for change in until_cancelled(page.changes)
            ]

        comparison = PortfolioComparison(
            from_=requested_point(start, (await self._streams.resolve(start)).effective_on),
            to=requested_point(end, (await self._streams.resolve(end)).effective_on),
            position=page.position,
            changes=await offload_answer(len(page.changes), summaries),
            totals=ComparedTotals(from_=sums_at_start, to=sums_at_end),
            next=None,
        )
        return comparison, page.next
