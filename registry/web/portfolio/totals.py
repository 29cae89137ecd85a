"""The page of totals: what counted, what did not, and by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated

from litestar import Controller, Response, route
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from msgspec.structs import replace

from registry.domain.totals import GROUPINGS, DerivationNode, Totals, TotalsQuery
from registry.formatting.language import N_
from registry.formatting.values import shown
from registry.http.cursors import decode_cursor, encode_cursor
from registry.http.filters import totals_parameters
from registry.http.list_parameters import Grouping, read_grouping
from registry.infra.threads import HEAVY_ITEM, offload_answer
from registry.queries.portfolio import PortfolioQueries
from registry.web.page import render
from registry.web.page.assets import csv_response
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite, totals_certificate
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import portfolio_sliders
from registry.web.portfolio.deal_list import DealSelection, deal_selection, filter_texts, listed_deals
from registry.web.portfolio.page import deals_apart

MAX_LINES = 100
"""The most pledges that the page lists: of the overall sums, and of all groups together."""

MAX_ROWS = 10_000
"""The same for the table as CSV."""

MAX_GROUPS = 50
MAX_RATES = 20
CSV_HEADER = (
    "group",
    "deal",
    "pledge",
    "rule",
    "low",
    "high",
    "currency",
    "nature",
    "basis",
    "because",
    "events",
    "part_of",
    "flags",
)


def totals_query(
    portfolio_page: Page,
    deal_selection: NamedDependency[DealSelection],
    group_by: Grouping = None,
    rates_of: Annotated[
        date | None, QueryParameter(description="Convert at the rates of this day, not of the day of each amount.")
    ] = None,
) -> TotalsQuery:
    """The totals that the address asks for, with every line."""
    return TotalsQuery(
        currency=None if deal_selection.unit == "stated" else deal_selection.unit,
        group_by=read_grouping(group_by),
        rates_of=rates_of,
        effective_on=portfolio_page.times.effective_on,
        explain=True,
        groups=MAX_GROUPS,
        skip=decode_cursor(
            deal_selection.cursor, (deal_selection.query, deal_selection.unit, read_grouping(group_by), rates_of)
        ).skip,
        lines=MAX_LINES,
    )


class TotalsPages(Controller):
    """The calculation of totals, as a page and as CSV."""

    dependencies = {  # noqa: RUF012 - Litestar's attribute
        "deal_selection": Provide(deal_selection, sync_to_thread=False),
        "totals_query": Provide(totals_query, sync_to_thread=False),
    }

    @route("/totals", http_method=READ)
    async def get_totals(
        self,
        portfolio_page: Page,
        deal_selection: NamedDependency[DealSelection],
        totals_query: NamedDependency[TotalsQuery],
        portfolio_queries: NamedDependency[PortfolioQueries],
    ) -> Response[bytes]:
        """How the totals of a list of deals are calculated."""

        async def make() -> Rendered:
            return await render_totals(portfolio_page, deal_selection, totals_query, portfolio_queries)

        return await cached_page(portfolio_page, make)

    @route("/totals.csv", http_method=READ)
    async def get_totals_table(
        self,
        portfolio_page: Page,
        deal_selection: NamedDependency[DealSelection],
        totals_query: NamedDependency[TotalsQuery],
        portfolio_queries: NamedDependency[PortfolioQueries],
    ) -> Response[bytes]:
        """The calculation as CSV: a row for each pledge and group, with its rule."""
        point = await portfolio_queries.point(portfolio_page.as_of)
        totals = await portfolio_queries.totals(
            point,
            await deal_selection.at(portfolio_queries, point),
            replace(totals_query, lines=MAX_ROWS),
            rates=await portfolio_queries.rates(portfolio_page.as_of),
        )
        lines = sum(len(group.lines) for group in (totals.overall, *totals.groups))
        return await offload_answer(
            lines, lambda: csv_response(portfolio_page, "totals.csv", CSV_HEADER, _rows(totals))
        )


async def render_totals(
    page: PageRequest, selection: DealSelection, query: TotalsQuery, portfolio_queries: PortfolioQueries
) -> Rendered:
    """The page of the totals of a list of deals."""
    filters = selection.query.given()
    parameters = {
        "currency": query.currency,
        "group_by": ",".join(query.group_by) or None,
        "rates_of": str(query.rates_of) if query.rates_of is not None else None,
        **totals_parameters(filters),
    }
    point = await portfolio_queries.point(page.as_of)
    rates = await portfolio_queries.rates(page.as_of)
    selected = await selection.at(portfolio_queries, point)
    totals = await portfolio_queries.totals(point, selected, query, rates=rates)
    names = await page.names.organizations(_organizations(totals, query, filters))
    formatter = shown(page.language)
    lines = [line for group in (totals.overall, *totals.groups) for line in group.lines]
    deals = {line.deal for line in lines} | {name.split("/")[0] for line in lines for name in line.because}
    return await offload_answer(
        HEAVY_ITEM * (len(totals.groups) + len(lines)),
        render.render,
        page,
        "totals.html",
        total=totals,
        unit=query.currency or "stated",
        newest_rate=rates.newest(page.times.effective_on) if query.currency is not None else None,
        filters=filters,
        filter_texts=filter_texts(formatter, selection, names),
        groups=GROUPINGS,
        parts_in_order=parts_in_order,
        max_rates=MAX_RATES,
        next=encode_cursor(
            point,
            (selection.query, selection.unit, query.group_by, query.rates_of),
            skip=totals.next_group or 0,
        ),
        names=names,
        titles=await portfolio_queries.titles(point, deals),
        pledge_names=await page.names.deals(deals),
        sliders=await portfolio_sliders(page, portfolio_queries, point),
        data_url=page.data("/v1/totals", explain="true", **parameters),
        csv_url=page.alternate_url("/totals.csv"),
        has_deals=await portfolio_queries.count(point, selected) > 0,
        apart=await deals_apart(
            portfolio_queries,
            point,
            selection,
            replace(query, group_by=(), explain=False, lines=0, skip=0),
            rates,
        ),
        cite=cite(
            page,
            formatter.words.translate(N_("totals of %(deals)s"), deals=listed_deals(formatter, selection, names)),
            point.position,
            is_list=True,
            proofs=totals_certificate(page, parameters),
        ),
    )


def _organizations(totals: Totals, query: TotalsQuery, filters: Mapping[str, str]) -> set[str]:
    """The organizations that the page names: its groups, and that of the filter."""
    grouped = {group.key for group in totals.groups if group.key and query.group_by[:1] == ("organization",)}
    return grouped | ({filters["organization"]} if "organization" in filters else set())


def parts_in_order(derivation: DerivationNode) -> list[DerivationNode]:
    """The parts of a total: sums before the excluded pledges, one-time amounts before annual ones."""
    return sorted(derivation.children, key=lambda part: (part.operation != "add", part.basis == "annual", part.label))


def _rows(totals: Totals) -> list[list[str]]:
    return [
        [
            "" if group is totals.overall else group.key or "?",
            *(line.deal, line.pledge, line.rule, line.low, line.high),
            *(
                line.currency or line.unit or "",
                line.nature,
                line.basis or "",
                " ".join(line.because),
                " ".join(line.events),
            ),
            *(" ".join(line.part_of), " ".join(line.flags)),
        ]
        for group in (totals.overall, *totals.groups)
        for line in group.lines
    ]
