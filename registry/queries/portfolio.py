"""Queries about all deals: lists, facets, totals, changes over time, and the comparison of two points."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.comparison import Kind, compare
from registry.domain.audit.portfolio_changes import PortfolioChange, What, portfolio_changes
from registry.domain.fold import DEALS
from registry.domain.history import AsOf
from registry.domain.organization import ultimate_parents
from registry.domain.rates import Rates
from registry.domain.totals import DealRow, SimpleSum, Totals, TotalsQuery, can_use_sums, compute_totals
from registry.events import store
from registry.events.values import Localized
from registry.projections import deal_lists, deal_totals
from registry.projections.deal_lists import Page
from registry.projections.deal_totals import TotalsSpan
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import LAST_DAY, ResolvedAsOf, StreamReader
from registry.schemas import DealChangeSummary, PortfolioComparison, convert_any, requested_point

FACET_NAMES = ("organization", "role", "region", "sector", "stage", "commitment", "currency", "kind", "classification")


class DealChange(Struct, frozen=True):
    """What a change of a deal means in the portfolio. `field`, `before` and `after` are None for a whole deal."""

    deal: str
    title: Localized | None
    what: What
    kind: Kind
    field: str | None
    before: Any
    after: Any
    causes: tuple[UUID, ...]


class PortfolioQueries:
    """Answer questions about all deals.

    A point of a list is an axis (`r` recorded, `p` published), what is known on it (a log position, or a day's
    ordinal), and an effective date; `known_axis` gives the first two.
    """

    def __init__(self, streams: StreamReader, organizations: OrganizationQueries) -> None:
        self._streams = streams
        self._organizations = organizations

    async def resolve(self, as_of: AsOf) -> ResolvedAsOf:
        """Fill in what a question leaves out (`StreamReader.resolve`)."""
        return await self._streams.resolve(as_of)

    async def known_axis(self, as_of: AsOf) -> tuple[str, int, int]:
        """Return the axis that a list is read along, the point on it, and the log position of the answer."""
        return await self._streams.known_axis(as_of)

    async def rates(self, as_of: AsOf) -> Rates:
        """Return the exchange rates recorded by a point in time."""
        return await self._streams.rates(as_of)

    async def page(
        self,
        axis: str,
        known: int,
        effective_on: date,
        terms: Sequence[str],
        q: str | None,
        after: str,
        limit: int,
        descending: bool = False,
    ) -> Page:
        """Return a page of deals at a point in time, in the order of their slugs.

        Args:
            axis: The axis, see the class.
            known: The point on the axis.
            effective_on: The effective date.
            terms: Filters as `name:value`; a deal must match all of them.
            q: Text that a deal's title contains.
            after: The cursor; empty for the first page.
            limit: The most deals.
            descending: Whether the last slug comes first.
        """
        all_of, any_of = await self._organizations.expand_merged(axis, known, terms)
        point = axis, min(effective_on, LAST_DAY), known
        return await deal_lists.page(
            self._streams.pool(), point, after, limit, all_of, any_of, q, descending=descending
        )

    async def facets(
        self, axis: str, known: int, effective_on: date, terms: Sequence[str], q: str | None
    ) -> dict[str, dict[str, int]]:
        """Count the deals of a list by each value of each facet."""
        all_of, any_of = await self._organizations.expand_merged(axis, known, terms)
        point = axis, min(effective_on, LAST_DAY), known
        counts: dict[str, dict[str, int]] = {}
        for term, deals in await deal_lists.facets(self._streams.pool(), point, all_of, any_of, q):
            facet, value = term.split(":", 1)
            if facet in FACET_NAMES:
                counts.setdefault(facet, {})[value] = deals
        return counts

    async def totals(
        self,
        axis: str,
        known: int,
        effective_on: date,
        terms: Sequence[str],
        query: TotalsQuery,
        by_parent: bool = False,
        rates: Rates | None = None,
    ) -> Totals:
        """Compute the amounts of a list of deals: bounds, what counted in each, and why.

        A merged organization counts under the record that it was merged into; with `by_parent`, each organization
        counts under its ultimate parent on that day. A relation to a merged deal counts for the deal that it was
        merged into. `rates` are needed for a conversion.
        """
        if query.group_by == "organization":
            tree = await self._organizations.tree(axis, known, effective_on)
            owned = {**tree.organizations, **tree.duplicates} if by_parent else {}
            query = replace(query, roll_up=ultimate_parents(owned, effective_on, tree.merged))
        query = replace(query, merged=await self.merged_deals(axis, known))
        point = axis, min(effective_on, LAST_DAY), known
        if not terms and can_use_sums(query):
            rows, rest = await deal_totals.rows_and_sums(self._streams.pool(), point, query.lines, query.merged)
            return compute_totals(rows, query, None, (), rest)
        all_of, any_of = await self._organizations.expand_merged(axis, known, terms)
        required = set(all_of)
        selected: list[DealRow] = []
        others: list[DealRow] = []
        for has, row in await deal_totals.rows(self._streams.pool(), point):
            matches = required.issubset(has) and (any_of is None or not set(any_of).isdisjoint(has))
            (selected if matches else others).append(row)
        return compute_totals(selected, query, rates, others)

    async def merged_deals(self, axis: str, known: int) -> dict[str, str]:
        """Return what each deal merged by a point was merged into."""
        return await self._streams.merged_deals(axis, known)

    async def spans(self, axis: str, known: int, limit: int) -> list[TotalsSpan] | None:
        """Return what totals need of every deal over time; None where that is more than `limit` spans."""
        return await deal_totals.spans(self._streams.pool(), axis, known, limit)

    async def spans_with_relations(self, axis: str, known: int, limit: int) -> list[TotalsSpan] | None:
        """Return the same of the deals that have no simple sum, and of the deals that those relate to."""
        return await deal_totals.spans_without_sum(
            self._streams.pool(), axis, known, limit, await self.merged_deals(axis, known)
        )

    async def sums(
        self, axis: str, known: int, currency: str, days: Sequence[date], excluded: Sequence[TotalsSpan]
    ) -> list[list[SimpleSum]]:
        """Add up simple sums in a currency on each of some ascending days.

        The deals of the `excluded` spans have no simple sum; the deals that those relate to are left out as well.
        """
        related = deal_totals.related_deals(excluded, await self.merged_deals(axis, known))
        return await deal_totals.sums_on_days(self._streams.pool(), axis, known, currency, days, related)

    async def effective_change_days(self, axis: str, known: int, limit: int) -> list[date]:
        """Return the latest days from which a change is in effect, as known at a point, in ascending order."""
        return await deal_lists.effective_change_days(self._streams.pool(), axis, known, limit)

    async def publication_days(self, limit: int) -> list[date]:
        """Return the latest days on which a change was published, in ascending order."""
        return await deal_lists.publication_days(self._streams.pool(), limit)

    async def changes(self, start: AsOf, end: AsOf) -> list[DealChange]:
        """Compare two points over all deals: what appeared, grew, shrank, slipped, was corrected or learned late."""
        changes, _ = await self._changes(await self.resolve(start), await self.resolve(end))
        return changes

    async def compare(self, start: AsOf, end: AsOf) -> PortfolioComparison:
        """Return the same as a response."""
        a, b = await self.resolve(start), await self.resolve(end)
        changes, position = await self._changes(a, b)
        return PortfolioComparison(
            from_=requested_point(start, a.effective_on),
            to=requested_point(end, b.effective_on),
            position=position,
            changes=[
                DealChangeSummary(
                    deal=change.deal,
                    title=convert_any(change.title),
                    what=change.what,
                    kind=change.kind,
                    field=change.field,
                    before=convert_any(change.before),
                    after=convert_any(change.after),
                    causes=change.causes,
                )
                for change in changes
            ],
        )

    async def _changes(self, a: ResolvedAsOf, b: ResolvedAsOf) -> tuple[list[DealChange], int]:
        """The changes, and the later of the log positions that they lie between."""
        head = await self._streams.head()
        positions = sorted([await self._streams.position_at(point.as_of, head) for point in (a, b)])
        effective = sorted([a.effective_on, b.effective_on])
        published = sorted([point.as_of.published_on or date.max for point in (a, b)])
        changed = await store.deals_changed(
            self._streams.pool(),
            (positions[0], positions[1]),
            (effective[0], effective[1]),
            (published[0], published[1]),
        )
        changes: list[DealChange] = []
        for name in changed:
            stream, _ = await self._streams.load(name)
            if stream is None:
                continue
            comparison = compare(stream.events, a.as_of, b.as_of, DEALS)
            title = (comparison.after or comparison.before or stream.state).title
            changes += [_deal_change(stream.slug, title, change) for change in portfolio_changes(comparison)]
        return changes, positions[1]


def _deal_change(slug: str, title: Localized | None, change: PortfolioChange) -> DealChange:
    of_field = change.change
    return DealChange(
        deal=slug,
        title=title,
        what=change.what,
        kind=change.kind,
        field=of_field.path if of_field else None,
        before=of_field.before if of_field else None,
        after=of_field.after if of_field else None,
        causes=change.causes,
    )
