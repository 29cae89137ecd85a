"""The overview of all deals: totals, amounts over time, a table with filters, and a map."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from litestar import Controller, Response, route
from litestar.di import NamedDependency, Provide
from msgspec import Struct

from registry.domain.totals import Totals, TotalsColumn, TotalsQuery
from registry.events.store import StoredEvent
from registry.queries.log import LogQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.web import maps, render
from registry.web.cache import cached_page
from registry.web.citations import citation
from registry.web.deal_list import (
    DealSelection,
    PlaceCount,
    deal_selection,
    deal_table,
    deals_abroad,
    facets_of,
    shown_values,
)
from registry.web.fields import deals_in, organizations_in
from registry.web.format import shown
from registry.web.i18n import N_, words
from registry.web.names import organization_names
from registry.web.render import Rendered
from registry.web.request import READ, Page, PageRequest
from registry.web.sliders import portfolio_sliders
from registry.web.trend import amount_trend

LATEST_EVENTS = 8

MAX_SITES = 300
"""The most sites that the maps show as points."""


class HeadlineFigure(Struct, frozen=True):
    """One of the figures at the top: its sums, the number of pledges in them, and the filters of its calculation."""

    name: str
    columns: list[TotalsColumn]
    filters: Mapping[str, str]

    @property
    def pledges(self) -> int:
        """The number of pledges."""
        return sum(column.pledges for column in self.columns)


class PortfolioPages(Controller):
    """The overview."""

    dependencies = {"deal_selection": Provide(deal_selection, sync_to_thread=False)}  # noqa: RUF012 - Litestar's attribute

    @route("/", http_method=READ)
    async def get_portfolio(
        self,
        portfolio_page: Page,
        deal_selection: NamedDependency[DealSelection],
        portfolio_queries: NamedDependency[PortfolioQueries],
        organization_queries: NamedDependency[OrganizationQueries],
        log_queries: NamedDependency[LogQueries],
    ) -> Response[bytes]:
        """All deals at a point in time."""

        async def make() -> Rendered:
            return await render_portfolio(
                portfolio_page, deal_selection, portfolio_queries, organization_queries, log_queries
            )

        return await cached_page(portfolio_page, make)


async def render_portfolio(
    page: PageRequest,
    selection: DealSelection,
    portfolio_queries: PortfolioQueries,
    organization_queries: OrganizationQueries,
    log_queries: LogQueries,
) -> Rendered:
    """The overview's page."""
    formatter, day = shown(page.language), page.times.effective_on
    point = await portfolio_queries.point(page.as_of)
    filters, q = selection.filters, selection.q
    unit = selection.unit or default_currency(page)
    currency: Any = None if unit == "stated" else unit

    rates = await portfolio_queries.rates(page.as_of)
    selected = await selection.at(portfolio_queries, point)
    query = TotalsQuery(currency=currency, group_by=("stage",), effective_on=day, lines=0)
    # At once: each of the questions to the copy keeps one processor busy.
    facets, table, totals, trend, counted, latest = await asyncio.gather(
        portfolio_queries.facets(point, selected),
        deal_table(page, portfolio_queries, selection, rates),
        portfolio_queries.totals(point, selected, query, rates=rates),
        amount_trend(page, portfolio_queries, point, selected, currency or default_currency(page), rates),
        portfolio_queries.places(point, selected),
        latest_deal_events(log_queries, point.position),
    )

    named = {event.recorded.slug for event in latest} | deals_in(event.recorded.event for event in latest)
    named |= trend.named_deals() if trend is not None else set()
    sites = await portfolio_queries.site_points(point, selected, MAX_SITES)
    named |= {deal for deal, _, _ in sites}
    titles = await portfolio_queries.titles(point, named)
    slugs = {slug for row in table.rows for slug in row.deal.organizations}
    slugs |= organizations_in(event.recorded.event for event in latest) | {
        value for value, _ in shown_values(facets, filters, "organization")
    }
    names = await organization_names(organization_queries, page.language, slugs)
    names |= {f"deal/{slug}": formatter.words.localized(title, slug) for slug, title in titles.items()}
    places = [PlaceCount(code, deals) for code, deals in counted]
    return render.render(
        page,
        "portfolio.html",
        figures_on_top=headline_figures(totals, filters),
        table=table,
        facets=facets_of(facets, filters, formatter, names),
        filters=filters,
        names=names,
        unit=unit,
        sort=selection.sort,
        trend=trend,
        korea=maps.korea(),
        world=maps.world() if any(place.code[:2] != "KR" for place in places) else None,
        abroad=deals_abroad(places),
        korea_sites=maps.korea_points(sites),
        world_sites=maps.world_points(sites),
        places=places,
        place_by_code={place.code: place for place in places},
        latest=latest,
        titles=titles,
        sliders=await portfolio_sliders(page, portfolio_queries, log_queries, point),
        data_url=page.data("/v1/deals", **filters, q=q, facets="true"),
        csv_url=page.data("/v1/export/deals.csv", **filters, q=q),
        cite=citation(page, formatter.words.gettext(N_("all deals")), point.position),
    )


def default_currency(page: PageRequest) -> str:
    """The currency that amounts are converted to unless the address names one."""
    return words(page.language).format("currency")


async def latest_deal_events(log_queries: LogQueries, position: int) -> list[StoredEvent]:
    """The latest events of deals, the last first; fewer where most of the latest events are of organizations."""
    latest: list[StoredEvent] = []
    for count in (LATEST_EVENTS, 5 * LATEST_EVENTS):
        events = await log_queries.events(max(0, position - count), count)
        latest = [event for event in events if event.recorded.kind == "deal"][-LATEST_EVENTS:][::-1]
        if len(latest) == LATEST_EVENTS:
            break
    return latest


def headline_figures(totals: Totals, filters: Mapping[str, str]) -> list[HeadlineFigure]:
    """At most four figures: committed, of which under construction or operating, intended, and annual."""
    overall = totals.overall.columns
    committed = [column for column in overall if column.nature == "commitment" and column.basis == "once"]
    built = [
        column
        for group in totals.groups
        if group.key in ("construction", "operating")
        for column in group.columns
        if column.nature == "commitment" and column.basis == "once"
    ]
    intended = [column for column in overall if column.nature == "intention" and column.basis == "once"]
    annual = [column for column in overall if column.basis == "annual"]
    return [
        HeadlineFigure("committed", committed, filters),
        HeadlineFigure("built", built, {**filters, "stage": "construction"}),
        HeadlineFigure("intended", intended, filters),
        HeadlineFigure("annual", annual, filters),
    ]
