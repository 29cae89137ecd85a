"""Events of deals that meet the filters of a list: for feeds, webhooks and watches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from registry.domain.history import AsOf
from registry.events.store import StoredEvent
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.queries.portfolio import PortfolioQueries
from registry.schemas.deal_query import DealQuery


class MatchingEvents:
    """Finds events by what they are and by the deals that they are about."""

    def __init__(self, log: LogQueries, portfolio: PortfolioQueries) -> None:
        self._log = log
        self._portfolio = portfolio

    async def following(
        self, after: int, limit: int, event_filter: EventFilter, deals: DealQuery | None
    ) -> list[StoredEvent]:
        """Return at most `limit` events after a position, in the order of the log.

        A deal fits if it meets the query after that position or at the end of the log. A reader who follows the deals
        at a stage therefore gets the event by which a deal reaches the stage and the event by which it leaves it.
        """
        if deals is None:
            return await self._log.events(after, limit, event_filter)
        selections = [await self._selected(deals, as_of) for as_of in (AsOf(position=after), AsOf())]
        positions = partial(self._positions, selections, newest=False)
        return await self._log.events(after, limit, event_filter, positions=positions)

    async def newest(
        self, before: int, limit: int, event_filter: EventFilter, deals: DealQuery | None
    ) -> list[StoredEvent]:
        """Return the last events before a position, the newest first, of deals that meet the query now."""
        if deals is None:
            return await self._log.newest(before, limit, event_filter)
        positions = partial(self._positions, [await self._selected(deals, AsOf())], newest=True)
        return await self._log.newest(before, limit, event_filter, positions=positions)

    async def _selected(self, deals: DealQuery, as_of: AsOf) -> tuple[Point, Selection]:
        point = await self._portfolio.point(as_of)
        return point, await self._portfolio.select(point, deals)

    async def _positions(
        self, selections: Sequence[tuple[Point, Selection]], start: int, limit: int, *, newest: bool
    ) -> list[int]:
        """The positions of the next events of deals that fit one of the selections."""
        found: set[int] = set()
        for point, selection in selections:
            found.update(await self._portfolio.event_positions(point, selection, start, limit, newest=newest))
        return sorted(found, reverse=newest)[:limit]
