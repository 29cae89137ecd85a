"""Queries about all deals: lists, facets, totals and changes over time. `comparisons.py` compares two points."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import IO, Any, TypeVar

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import asdict, replace

from registry.domain.history import AsOf
from registry.domain.money.rates import Rates
from registry.domain.organizations.organization import ultimate_parents
from registry.domain.search.texts import Search, tokens
from registry.domain.totals import Totals, TotalsQuery
from registry.domain.totals.tiers import TierAmounts
from registry.events.currencies import Currency
from registry.infra.threads import offload_answer, until_cancelled
from registry.infra.work_time import in_thread
from registry.projections.columnar import ColumnarCopy, facets, lists, search, timeline
from registry.projections.columnar import totals as columnar_totals
from registry.projections.columnar.annotations import DealAnnotations, Superseded, deal_annotations, superseded
from registry.projections.columnar.copy import CopyQuestion
from registry.projections.columnar.doubts import prepare_doubts
from registry.projections.columnar.exported import PortfolioExport, selected_deals
from registry.projections.columnar.lists import Order, PagePlace
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.search_at_point import resolve
from registry.projections.columnar.selection import Selection
from registry.projections.columnar.trend import TrendQuery, amounts_over_time
from registry.projections.deal_items import deal_items
from registry.projections.listed_items import listed_items
from registry.projections.point import Point
from registry.queries.cited_sources import write_cited_sources
from registry.queries.copy_questions import CopyQuestions
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import ResolvedAsOf, StreamReader
from registry.schemas import DealListItem
from registry.schemas.deal_query import DealListQuery, DealQuery

T = TypeVar("T")

BILLION = 1_000_000_000

FIRST_GROUPINGS = ("organization", "stage")
"""What the totals are grouped by that a service computes before it is ready."""


class DealListPage(Struct, frozen=True):
    """A page of deals, and where the next one begins."""

    deals: list[DealListItem]
    next: PagePlace | None


class PortfolioQueries:
    """Answer questions about all deals, from the columnar copy."""

    def __init__(self, streams: StreamReader, organizations: OrganizationQueries, copy: ColumnarCopy) -> None:
        self._streams = streams
        self._organizations = organizations
        self._copy = copy
        self._questions = CopyQuestions(copy)
        self._weights: dict[tuple[int, date], dict[str, int]] = {}

    async def prepare(self) -> None:
        """Make what all questions about amounts use, and ask some about all deals, so that the first one need not.

        These read the columns that most questions read, and keep their sums.
        """
        point = await self.point(AsOf())
        rates, merged = await self.rates(AsOf()), await self._streams.merged_deals(point)

        def question(cursor: DuckDBPyConnection, cache: QuestionCache) -> None:
            cache.memory.prepare(cursor, merged)
            prepare_doubts(cursor, cache, rates)

        await asyncio.gather(in_thread(self.weights, rates, point.day), self._copy.ask(point.head, question))
        everything = Selection()
        for dimension in FIRST_GROUPINGS:
            query = TotalsQuery(group_by=(dimension,), effective_on=point.day, lines=0)
            await self.totals(point, everything, query, rates)
        await self.facets(point, everything)
        await self.page(point, everything, Order(), None, 1, rates)

    async def resolve(self, as_of: AsOf) -> ResolvedAsOf:
        """Fill in what a question leaves out (`StreamReader.resolve`)."""
        return await self._streams.resolve(as_of)

    async def point(self, as_of: AsOf) -> Point:
        """Return the point at which a question looks at all deals."""
        return await self._streams.point(await self._streams.resolve(as_of))

    async def rates(self, as_of: AsOf) -> Rates:
        """Return the exchange rates recorded by a point in time."""
        return await self._streams.rates(as_of)

    async def select(self, point: Point, query: DealQuery) -> Selection:
        """Return the selection of deals that meet a query.

        At the point, the records that were merged with the query's organization count as one.
        """
        records: tuple[str, ...] = ()
        if query.organization is not None:
            records = await self._organizations.merged_records(query.organization, point)
        found = await self.searched(point, query.q) if query.q is not None else None
        return Selection(DealListQuery(**asdict(query) | {"organization": None, "q": None}), records, found)

    async def searched(self, point: Point, query: str) -> Search:
        """Return what a query searches for at a point."""
        listed, survivors = tokens(query), await self._organizations.survivors(point)

        def question(cursor: DuckDBPyConnection, cache: QuestionCache) -> Search:
            return resolve(cursor, cache, point, listed, survivors).search

        return await self._questions.ask(point, question, ("searched", listed, survivors), searches=True)

    async def find(
        self, point: Point, query: str, kinds: Sequence[str], limit: int, *, unfinished: bool = False
    ) -> search.SearchMatches:
        """Return what has every word of a query at a point, at most `limit` of each kind.

        With `unfinished`, the last word is still being typed.
        """
        asked = tokens(query, unfinished=unfinished), await self._organizations.survivors(point), kinds, limit
        return await self._questions.ask(
            point, lambda cursor, cache: search.find(cursor, cache, point, *asked), ("find", *asked), searches=True
        )

    async def find_organizations(self, point: Point, query: str, after: str, limit: int) -> list[str]:
        """Return the organizations that have every word of a query in a name, in the order of their slugs."""
        asked = tokens(query), await self._organizations.survivors(point), after, limit
        return await self._questions.ask(
            point,
            lambda cursor, cache: search.organizations(cursor, cache, point, *asked),
            ("organizations", *asked),
            searches=True,
        )

    async def page(
        self,
        point: Point,
        selection: Selection,
        order: Order,
        after: PagePlace | None,
        limit: int,
        rates: Rates | None = None,
    ) -> DealListPage:
        """Return a page of deals; with exchange rates, each with the annotations of its amounts.

        An order by amount is that of the largest amount shown of each deal: of its pledges that were neither withdrawn
        nor superseded.
        """
        if order.key == "amount":
            order = replace(order, superseded=(await self._superseded(point)).pledges)
        page = await self._questions.answer(point, lists.page, selection, lists.PageQuery(order, after, limit))
        if rates is not None:
            return DealListPage(await self.items(point, page.deals, rates), page.next)
        deals = await deal_items(self._copy.pool, point, page.deals)
        return DealListPage(deals, page.next)

    async def with_items(self, point: Point, deals: Sequence[DealListItem]) -> list[dict[str, Any]]:
        """Return the rows of some deals, each with its parties, sites, milestones and other items."""
        slugs = [deal.deal for deal in deals]
        items = await listed_items(self._copy.pool, point, slugs)
        return await offload_answer(
            len(slugs), lambda: [asdict(deal) | items[deal.deal] for deal in until_cancelled(deals)]
        )

    async def items(self, point: Point, deals: Sequence[str], rates: Rates) -> list[DealListItem]:
        """Return the rows of some deals with the annotations of amounts: flags, wholes, and what superseded them."""
        merged = await self._streams.merged_deals(point)
        annotations, found = await asyncio.gather(
            self._questions.answer(point, deal_annotations, deals, merged, rates),
            deal_items(self._copy.pool, point, deals, rates),
        )
        return [_annotated(deal, annotations[deal.deal]) if deal.deal in annotations else deal for deal in found]

    async def facets(self, point: Point, selection: Selection) -> dict[str, dict[str, int]]:
        """Count the deals of a list by each value of each facet."""
        return await self._questions.answer(point, facets.facets, selection)

    async def places(self, point: Point, selection: Selection) -> list[tuple[str, int]]:
        """Count the deals of a list that have a site in each place, the most first."""
        return await self._questions.answer(point, facets.places, selection)

    async def site_points(self, point: Point, selection: Selection, limit: int) -> list[tuple[str, float, float]]:
        """Return the deal, latitude and longitude of located sites of a list, at most `limit`, by deal."""
        return await self._questions.ask(
            point,
            lambda cursor, _: facets.site_points(cursor, point, selection, limit),
            ("site_points", selection, limit),
            selection,
        )

    async def event_positions(
        self, point: Point, selection: Selection, start: int, limit: int, *, newest: bool
    ) -> list[int]:
        """Return the next events of a list's deals after a position, or with `newest` the last ones before it."""

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> list[int]:
            return lists.event_positions(cursor, point, selection, start, limit, newest=newest)

        return await self._questions.ask_once(point, question, selection)

    async def count(self, point: Point, selection: Selection) -> int:
        """Count the deals of a list."""
        return await self._questions.answer(point, lists.count, selection)

    async def updates(self, point: Point, skip: int, limit: int) -> list[tuple[str, datetime]]:
        """Return the deals of a point in order, each with the time at which its latest event was recorded."""
        return await self._questions.ask(
            point, lambda cursor, _: lists.updates(cursor, point, skip, limit), ("updates", skip, limit)
        )

    async def count_ended(self, point: Point, selection: Selection) -> int:
        """Count the deals of a list that were withdrawn, cancelled or superseded as a whole."""
        superseded = (await self._superseded(point)).deals

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> int:
            return lists.count_ended(cursor, point, selection, superseded)

        return await self._questions.ask(point, question, ("ended", selection, superseded), selection)

    async def _superseded(self, point: Point) -> Superseded:
        merged = await self._streams.merged_deals(point)

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> Superseded:
            return superseded(cursor, point, merged)

        return await self._questions.ask(point, question, ("superseded", merged))

    async def titles(self, point: Point, deals: set[str]) -> dict[str, Any]:
        """Return the titles of some deals."""
        items = await deal_items(self._copy.pool, point, sorted(deals))
        return {item.deal: item.title for item in items}

    def weights(self, rates: Rates, day: date) -> dict[str, int]:
        """Return what a unit of each currency is worth on a day, in billionths of a euro, to order amounts by.

        In millionths, the worth of a won has three digits and that of a rupiah two.

        An order needs no rate of that very day: the newest ones before it are used, however old they are.
        """
        key = (rates.imports, day)
        if key not in self._weights:
            if len(self._weights) > 100:
                self._weights.clear()
            newest = rates.newest(day)
            last = newest.day if newest is not None else day
            self._weights[key] = {
                currency: round(1 / per_euro * BILLION) for currency, per_euro in rates.per_euro(last).items()
            }
        return self._weights[key]

    async def totals(
        self,
        point: Point,
        selection: Selection,
        query: TotalsQuery,
        rates: Rates,
        by_parent: bool = False,
    ) -> Totals:
        """Compute the amounts of a list of deals: bounds, what counted in each, and why.

        A merged organization counts under the record that it was merged into; with `by_parent`, each organization
        counts under its ultimate parent on that day. A relation to a merged deal counts for the deal that it was
        merged into. `rates` convert amounts, order groups with several currencies, and show which amounts differ from
        others by a power of ten.
        """
        if "organization" in query.group_by:
            tree = await self._organizations.tree(point)
            owned = {**tree.organizations, **tree.duplicates} if by_parent else {}
            query = replace(query, roll_up=ultimate_parents(owned, point.day, tree.merged))
        query = replace(query, merged=await self._streams.merged_deals(point))
        weights = {query.currency: 1} if query.currency is not None else self.weights(rates, point.day)
        if query.measure != "amount":
            weights = {"": 1}
        query = replace(query, weights=weights)
        return await self._questions.answer(point, columnar_totals.totals, selection, query, rates)

    async def deals_of_total(self, point: Point, selection: Selection, limit: int) -> tuple[list[str], int, bool]:
        """Return the deals that a total depends on, how many events they have, and whether they are all deals.

        If all deals of the log have at most `limit` events together, all are returned; otherwise the selected deals,
        those with relations, and those whose names of an organization a search finds other deals by.
        """
        merged = await self._streams.merged_deals(point)

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> tuple[list[str], int, bool]:
            return columnar_totals.deals_of_total(cursor, point, selection, merged, limit)

        return await self._questions.ask(point, question, ("deals of a total", selection, merged, limit), selection)

    async def organizations_of_total(self) -> dict[str, int]:
        """Return the organizations whose records decide groups by organization, with the number of their events."""
        return await self._organizations.tree_streams()

    async def effective_change_days(self, point: Point, limit: int, selection: Selection | None = None) -> list[date]:
        """Return the latest days from which a change of some or all deals is in effect, as known at a point."""
        return await self._questions.answer(point, timeline.effective_days, limit, selection or Selection())

    async def publication_days(self, point: Point, limit: int) -> list[date]:
        """Return the latest days on which a change was published, in ascending order."""
        return await self._questions.answer(point, timeline.publication_days, limit)

    async def recording_times(self, shown: datetime, distance: timedelta, steps: int) -> list[datetime]:
        """Return when events of deals were recorded: all times, or `steps` in equal steps and those next to `shown`.

        Times closer to each other than `distance` are one, the last of them.
        """
        return await self._questions.ask(
            await self.point(AsOf()),
            lambda cursor, _: timeline.recording_times(cursor, shown, distance.total_seconds(), steps),
            ("recorded", shown, distance, steps),
        )

    async def require(self, point: Point) -> None:
        """Wait until questions about a point can be answered, before an answer begins that asks them.

        Raises:
            PortfolioUnavailable: The copy takes longer than questions wait.
        """
        await self._questions.wait(point)

    async def read(self, point: Point, selection: Selection, question: CopyQuestion[T]) -> T:
        """Ask the copy a question about a selection that may take long."""
        return await self._questions.ask_once(point, question, selection, is_long=True)

    async def exported(self, table: str, point: Point, selection: Selection, as_of: AsOf) -> PortfolioExport:
        """Return what an export of a selection has."""
        merged = await self._streams.merged_deals(point)
        return PortfolioExport(table, point, selection, merged, await self.rates(as_of))

    async def write_cited_sources(self, point: Point, selection: Selection, table: str, file: IO[bytes]) -> None:
        """Write the sources that the rows of a table rest on, as lines of JSON."""

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> list[str]:
            return selected_deals(cursor, point, selection)

        deals = await self.read(point, selection, question)
        await write_cited_sources(self._copy.pool, deals, point.as_of, table, file)

    async def trend(
        self, point: Point, selection: Selection, currency: Currency, rates: Rates, days: Sequence[date]
    ) -> list[TierAmounts]:
        """Return the amounts of one-time pledges by tier on some days, as known at a point, in one currency."""
        merged = await self._streams.merged_deals(point)
        weight = lists.weight_of(self.weights(rates, point.day))
        query = TotalsQuery(currency=currency, lines=0, merged=merged)
        return await self._questions.answer(point, amounts_over_time, selection, TrendQuery(query, rates, weight, days))


def _annotated(deal: DealListItem, annotations: DealAnnotations) -> DealListItem:
    pledges = tuple(
        replace(pledge, flags=found.flags, part_of=found.part_of, superseded_by=found.superseded_by)
        if (found := annotations.pledges.get(pledge.pledge)) is not None
        else pledge
        for pledge in deal.pledges
    )
    return replace(deal, pledges=pledges, superseded_by=annotations.superseded_by)
