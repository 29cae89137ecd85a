"""All deals at two points in time: what changed, which kind of change it was, and the totals at each point."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from urllib.parse import urlencode

from litestar import Controller, Response, route
from litestar.di import NamedDependency, Provide
from msgspec import Struct

from registry.domain.audit.labels import claim_changes
from registry.domain.history import AsOf
from registry.domain.totals import Totals, TotalsColumn, TotalsQuery
from registry.exports.csv import csv_bytes
from registry.formatting.values import shown
from registry.http.cursors import cursor_at, decode_cursor, encode_cursor
from registry.http.parameters import require_single_axis
from registry.infra.threads import offload_answer
from registry.projections.columnar.lists import PagePlace
from registry.queries.comparisons import ComparisonQueries
from registry.queries.deal_changes import DealChange, PortfolioChanges
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from registry.web.deals.comparison import chosen_start, claim_lines, is_of_claims, pinned_point, point_parameters
from registry.web.deals.provenance import json_text
from registry.web.page import render
from registry.web.page.assets import csv_stream
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite_comparison
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import MAX_DAYS, portfolio_recording_times
from registry.web.portfolio.deal_list import (
    DealSelection,
    DealTableRow,
    deal_rows,
    deal_selection,
    facets_of,
    listed_deals,
    shown_values,
)

# A comparison of all deals without dates starts this many changes ago.
DEFAULT_CHANGES_AGO = 3

DEALS_PER_PAGE = 50
# Of the table.
DEALS_PER_READ = 100
TABLE_HEADER = ("deal", "what", "kind", "field", "before", "after", "causes")


class ComparedPortfolio(Struct, frozen=True):
    """A page of the changes between two points, and what is shown beside them.

    Attributes:
        start: The one point.
        end: The other point.
        changes: The changes.
        next: The cursor of the next page; None on the last one.
        facets: The facets of the deals at the end.
        rows: The rows of the deals that are at one of the points only.
        totals: The totals at each point.
        names: The names of organizations and of the deals with changes.
        names_within: The names of the items of each deal with changes.
        recording_times: When events of deals were recorded, for the sliders.
    """

    start: AsOf
    end: AsOf
    changes: Sequence[DealChange]
    next: str | None
    facets: dict[str, dict[str, int]]
    rows: Mapping[str, DealTableRow]
    totals: Sequence[Totals]
    names: dict[str, str]
    names_within: Mapping[str, dict[str, str]]
    recording_times: Sequence[datetime]

    @property
    def by_deal(self) -> dict[str, list[DealChange]]:
        """The changes of each deal."""
        by_deal: dict[str, list[DealChange]] = {}
        for change in self.changes:
            by_deal.setdefault(change.deal, []).append(change)
        return by_deal


class PortfolioComparisonPages(Controller):
    """The comparison of all deals as a page and as CSV."""

    dependencies = {"deal_selection": Provide(deal_selection, sync_to_thread=False)}  # noqa: RUF012 - Litestar's attribute

    @route("/compare", http_method=READ)
    async def compare_portfolio(
        self,
        portfolio_page: Page,
        portfolio_queries: NamedDependency[PortfolioQueries],
        comparison_queries: NamedDependency[ComparisonQueries],
        from_as_of: NamedDependency[AsOf],
        to_as_of: NamedDependency[AsOf],
        streams: NamedDependency[StreamReader],
        deal_selection: NamedDependency[DealSelection],
    ) -> Response[bytes]:
        """All deals at two points in time: what appeared, grew, shrank, slipped, was corrected or learned late."""
        page = portfolio_page
        given_start = await pinned_point(streams, require_single_axis(from_as_of, "from."))
        end = await pinned_point(streams, require_single_axis(to_as_of, "to."))

        async def make() -> Rendered:
            start = chosen = chosen_start(page, given_start)
            if start is None:
                now = await portfolio_queries.point(AsOf())
                selected = await deal_selection.at(portfolio_queries, now)
                days = await portfolio_queries.effective_change_days(now, MAX_DAYS, selected)
                start = recent_point([day for day in days if day <= page.times.today])
            compared = await _compared(page, portfolio_queries, comparison_queries, deal_selection, start, end)
            return await offload_answer(
                len(compared.changes), _render, page, deal_selection, compared, is_start_chosen=chosen is not None
            )

        return await cached_page(page, make)

    @route("/compare.csv", http_method=READ)
    async def compare_portfolio_table(
        self,
        portfolio_page: Page,
        portfolio_queries: NamedDependency[PortfolioQueries],
        comparison_queries: NamedDependency[ComparisonQueries],
        from_as_of: NamedDependency[AsOf],
        to_as_of: NamedDependency[AsOf],
        deal_selection: NamedDependency[DealSelection],
    ) -> Response[bytes]:
        """The comparison of all deals as CSV: a row for each change of a deal."""
        start, end = require_single_axis(from_as_of, "from."), require_single_axis(to_as_of, "to.")
        # Events that are recorded while the file is written belong to the next file.
        fixed = cursor_at(await portfolio_queries.point(end))

        async def read(after: PagePlace | None) -> PortfolioChanges:
            return await comparison_queries.changes(
                fixed.fix(start),
                fixed.fix(end),
                lambda point: deal_selection.at(portfolio_queries, point),
                after,
                DEALS_PER_READ,
            )

        # Before the answer begins, so that it can still be a refusal.
        first = await read(None)

        async def parts() -> AsyncIterator[bytes]:
            compared = first
            while True:
                yield await offload_answer(len(compared.changes), csv_bytes, map(_table_row, compared.changes))
                if compared.next is None:
                    break
                compared = await read(compared.next)

        return csv_stream(portfolio_page, "compare.csv", TABLE_HEADER, parts())


def _table_row(change: DealChange) -> Sequence[str]:
    return (
        *(change.deal, change.what, change.kind, change.field or ""),
        *(json_text(change.before), json_text(change.after), " ".join(map(str, change.causes))),
    )


async def _compared(
    page: PageRequest,
    portfolio_queries: PortfolioQueries,
    comparison_queries: ComparisonQueries,
    selection: DealSelection,
    start: AsOf,
    end: AsOf,
) -> ComparedPortfolio:
    """Read a page of the changes between two points."""
    first = decode_cursor(selection.cursor, selection.query)
    last = first.fix(end)
    compared = await comparison_queries.changes(
        start, last, lambda point: selection.at(portfolio_queries, point), first.place, DEALS_PER_PAGE
    )
    points = await portfolio_queries.point(start), await portfolio_queries.point(last)
    selected = [await selection.at(portfolio_queries, point) for point in points]
    rates = await portfolio_queries.rates(last)
    facets = await portfolio_queries.facets(points[1], selected[1])
    organizations = {value for value, _ in shown_values(facets, selection.filters, "organization")}
    rows: dict[str, DealTableRow] = {}
    for what, point in zip(("vanished", "appeared"), points, strict=True):
        slugs = [change.deal for change in compared.changes if change.what == what]
        rows |= {row.deal.deal: row for row in deal_rows(await portfolio_queries.items(point, slugs, rates))}
    totals = [
        await portfolio_queries.totals(point, one, TotalsQuery(lines=0), rates)
        for point, one in zip(points, selected, strict=True)
    ]
    texts = shown(page.language).words
    titles = {f"deal/{one.deal}": texts.localized(one.title, one.deal) for one in compared.changes}
    return ComparedPortfolio(
        start=start,
        end=end,
        changes=compared.changes,
        next=encode_cursor(points[1], selection.query, compared.next),
        facets=facets,
        rows=rows,
        totals=totals,
        names=await page.names.organizations(organizations) | titles,
        names_within=await page.names.within({change.deal for change in compared.changes}),
        recording_times=await portfolio_recording_times(page, portfolio_queries, None),
    )


def _render(
    page: PageRequest, selection: DealSelection, compared: ComparedPortfolio, *, is_start_chosen: bool
) -> Rendered:
    formatter, filters, by_deal = shown(page.language), selection.filters, compared.by_deal
    parameters = point_parameters(compared.start, compared.end)
    return render.render(
        page,
        "compare_portfolio.html",
        start=compared.start,
        is_start_chosen=is_start_chosen,
        end=compared.end,
        next=compared.next,
        changes_by_deal=by_deal,
        titles={change.deal: change.title for change in compared.changes},
        rows=compared.rows,
        totals=compared_columns(*(one.overall.columns for one in compared.totals)),
        filters=filters,
        facets=facets_of(compared.facets, filters, formatter, compared.names),
        is_part=compared.next is not None or selection.cursor is not None,
        counts=line_counts(compared.changes),
        is_of_claims=is_of_claims,
        point_parameters=parameters,
        claim_lines=partial(claim_lines, formatter),
        names=compared.names,
        names_of={slug: compared.names | compared.names_within.get(slug, {}) for slug in by_deal},
        recording_times=compared.recording_times,
        data_url=f"/v1/compare?{urlencode({**parameters, **filters})}",
        csv_url=f"/compare.csv?{urlencode({**parameters, **filters})}",
        cite=cite_comparison(
            page,
            listed_deals(formatter, selection, compared.names),
            page.position,
            compared.start,
            compared.end,
            is_list=True,
            certified=selection.query.given(),
        ),
    )


def recent_point(days: Sequence[date]) -> AsOf:
    """A point some changes ago: where the comparison of all deals starts by default."""
    return AsOf(effective_on=days[max(0, len(days) - DEFAULT_CHANGES_AGO)]) if days else AsOf()


def compared_columns(
    before: Sequence[TotalsColumn], after: Sequence[TotalsColumn]
) -> list[tuple[TotalsColumn | None, TotalsColumn | None]]:
    """The sums at two points, each beside its counterpart; None where there is none. Annual sums follow the others."""

    def keyed(columns: Sequence[TotalsColumn]) -> dict[tuple[str, str, str], TotalsColumn]:
        return {(column.nature, column.basis or "", column.currency or ""): column for column in columns}

    old, new = keyed(before), keyed(after)
    return [(old.get(key), new.get(key)) for key in sorted({*old, *new}, key=lambda key: (key[1] == "annual", *key))]


def line_counts(changes: Sequence[DealChange]) -> Counter[str]:
    """How many lines of each kind the comparison of all deals shows: a list of claims has one for each claim."""
    counts: Counter[str] = Counter()
    for change in changes:
        if change.field is None or not is_of_claims(change.field):
            counts[change.what] += 1
        else:
            counts.update(label for label, _ in claim_changes(change.before, change.after) if label == change.what)
    return counts
