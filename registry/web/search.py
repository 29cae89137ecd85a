"""Search: deals and organizations by part of a name, and an event by its id."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, route
from litestar.di import NamedDependency

from registry.api.parameters import text
from registry.events.intake import as_uuid
from registry.projections.columnar.lists import Order
from registry.queries.log import LogQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.web import render
from registry.web.cache import cached_page
from registry.web.citations import cite
from registry.web.deal_list import DealTableRow, deal_rows, single_axis
from registry.web.format import shown
from registry.web.i18n import N_
from registry.web.names import organization_names
from registry.web.render import Rendered
from registry.web.request import READ, Page, PageRequest, redirect
from registry.web.sliders import current_sliders

MAX_RESULTS = 100
# The deals of the first organizations found are results too.
MAX_ORGANIZATIONS_WITH_DEALS, MAX_DEALS_EACH = 10, 50


class SearchPages(Controller):
    """The page of search results."""

    @route("/search", http_method=READ)
    async def search(
        self,
        page: Page,
        portfolio_queries: NamedDependency[PortfolioQueries],
        organization_queries: NamedDependency[OrganizationQueries],
        log_queries: NamedDependency[LogQueries],
        q: Annotated[str | None, text("Part of a name, or the id of an event.")] = None,
    ) -> Response[bytes]:
        """Deals and organizations by part of a name; the id of an event leads to its page."""
        keyword = (q or "").strip()
        if as_uuid(keyword) is not None:
            return redirect(page.link(f"/events/{keyword}"))

        async def make() -> Rendered:
            deals: list[DealTableRow] = []
            organizations: list[Any] = []
            is_cut = False
            if keyword:
                rows = await organization_queries.page("", keyword, MAX_RESULTS, page.as_of)
                organizations = [msgspec.json.decode(row) for row in rows]
                deals, is_cut = await find_deals(page, portfolio_queries, keyword, organizations)
            slugs = {slug for row in deals for slug in row.deal.organizations}
            title = shown(page.language).words.translate(N_("search for “%(q)s”"), q=keyword)
            return render.render(
                page,
                "search.html",
                q=keyword,
                deals=deals,
                organizations=organizations,
                more_deals=is_cut,
                more_organizations=len(organizations) == MAX_RESULTS,
                names=await organization_names(organization_queries, page.language, slugs),
                sliders=await current_sliders(page, portfolio_queries, log_queries),
                data_url=page.data("/v1/deals", q=keyword) if keyword else None,
                csv_url=page.data("/v1/export/deals.csv", q=keyword) if keyword else None,
                cite=cite(page, title, page.position, is_list=True) if keyword else None,
            )

        return await cached_page(page, make)


async def find_deals(
    page: PageRequest, portfolio_queries: PortfolioQueries, q: str, organizations: list[Any]
) -> tuple[list[DealTableRow], bool]:
    """The deals whose names contain a text, then those of the first organizations whose names do; and whether there
    are more.
    """
    point = await portfolio_queries.point(single_axis(page.as_of))
    rates = await portfolio_queries.rates(page.as_of)
    named = await portfolio_queries.page(
        point, await portfolio_queries.select(point, {}, q), Order(), None, MAX_RESULTS, rates
    )
    deals, is_cut = deal_rows(named.deals), named.next is not None
    for organization in organizations[:MAX_ORGANIZATIONS_WITH_DEALS]:
        selection = await portfolio_queries.select(point, {"organization": organization["organization"]})
        of_organization = await portfolio_queries.page(point, selection, Order(), None, MAX_DEALS_EACH, rates)
        is_cut |= of_organization.next is not None
        found = {row.deal.deal for row in deals}
        deals += [row for row in deal_rows(of_organization.deals) if row.deal.deal not in found]
    return deals, is_cut or len(organizations) > MAX_ORGANIZATIONS_WITH_DEALS
