"""The page of totals: what counted, what did not, and by which rule."""

from __future__ import annotations

from typing import get_args

from litestar import Controller, Response, route
from litestar.di import NamedDependency

from registry.domain.totals import DerivationNode, GroupBy, Totals, TotalsQuery
from registry.queries.log import LogQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.web import query as parameters
from registry.web import render
from registry.web.assets import csv_response
from registry.web.cache import cached_page
from registry.web.citations import citation
from registry.web.deal_list import MAX_SORTED, deal_rows
from registry.web.format import shown
from registry.web.i18n import N_
from registry.web.names import organization_names
from registry.web.portfolio import LIST_PARAMETERS
from registry.web.query import FILTERS, READ, filter_terms
from registry.web.render import Rendered
from registry.web.request import Known, PageRequest, Request, page_request
from registry.web.sliders import portfolio_sliders

PARAMETERS: Known = {
    **LIST_PARAMETERS,
    "group_by": parameters.choice(*get_args(GroupBy)),
    "rates_of": parameters.day,
}
MAX_LINES = 500
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
)


class TotalsPages(Controller):
    """The calculation of totals, as a page and as CSV."""

    @route("/totals", http_method=READ)
    async def get_totals(
        self,
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        organization_queries: NamedDependency[OrganizationQueries],
        log_queries: NamedDependency[LogQueries],
    ) -> Response[bytes]:
        """How the totals of a list of deals are calculated."""
        page = await page_request(request, PARAMETERS, portfolio=True)

        async def make() -> Rendered:
            axis, known, position = await portfolio_queries.known_axis(page.as_of)
            filters = {name: page.params[name] for name in FILTERS if name in page.params}
            query = totals_query(page)
            rates = await portfolio_queries.rates(page.as_of)
            totals = await portfolio_queries.totals(
                axis, known, page.times.effective_on, filter_terms(page.params), query, rates=rates
            )
            keys = {group.key for group in totals.groups if group.key and totals.group_by == "organization"}
            deals = await portfolio_queries.page(axis, known, page.times.effective_on, [], None, "", MAX_SORTED)
            return render.render(
                page,
                "totals.html",
                total=totals,
                unit=query.currency or "stated",
                newest_rate=rates.newest(page.times.effective_on) if query.currency is not None else None,
                filters=filters,
                groups=get_args(GroupBy),
                parts_in_order=parts_in_order,
                names=await organization_names(organization_queries, page.language, keys),
                titles={row.deal.deal: row.deal.title for row in deal_rows(deals)},
                sliders=await portfolio_sliders(page, portfolio_queries, log_queries, axis, known),
                data_url=page.data(
                    "/v1/totals", currency=query.currency, group_by=query.group_by, explain="true", **filters
                ),
                csv_url=page.alternate_url("/totals.csv"),
                cite=citation(page, shown(page.language).words.gettext(N_("totals")), position),
            )

        return await cached_page(page, make)

    @route("/totals.csv", http_method=READ)
    async def get_totals_table(
        self, request: Request, portfolio_queries: NamedDependency[PortfolioQueries]
    ) -> Response[bytes]:
        """The calculation as CSV: a row for each pledge and group, with its rule."""
        page = await page_request(request, PARAMETERS, portfolio=True)
        axis, known, _ = await portfolio_queries.known_axis(page.as_of)
        totals = await portfolio_queries.totals(
            axis,
            known,
            page.times.effective_on,
            filter_terms(page.params),
            totals_query(page),
            rates=await portfolio_queries.rates(page.as_of),
        )
        return csv_response("totals.csv", CSV_HEADER, _rows(totals))


def totals_query(page: PageRequest) -> TotalsQuery:
    """The totals that the address asks for, with every line."""
    unit = page.params.get("unit", "stated")
    return TotalsQuery(
        currency=None if unit == "stated" else unit,
        group_by=page.params.get("group_by"),
        rates_of=page.params.get("rates_of"),
        effective_on=page.times.effective_on,
        explain=True,
        lines=MAX_LINES,
    )


def parts_in_order(derivation: DerivationNode) -> list[DerivationNode]:
    """The parts of a total: sums before the excluded pledges, one-time amounts before annual ones."""
    return sorted(derivation.children, key=lambda part: (part.operation != "add", part.basis == "annual", part.label))


def _rows(totals: Totals) -> list[list[str]]:
    return [
        [
            "" if group is totals.overall else group.key or "?",
            *(line.deal, line.pledge, line.rule, line.low, line.high),
            *(line.currency or "", line.nature, line.basis, " ".join(line.because), " ".join(line.events)),
        ]
        for group in (totals.overall, *totals.groups)
        for line in group.lines
    ]
