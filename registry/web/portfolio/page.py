"""The overview of all deals: totals, amounts over time, a table with filters, and a map."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, route
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter, SkipValidation
from msgspec import Struct

from registry.domain.history import AsOf
from registry.domain.money import format_decimal
from registry.domain.money.rates import Rates
from registry.domain.totals import Totals, TotalsColumn, TotalsQuery
from registry.events.store import StoredEvent
from registry.events.types import EventCorrected, EventVoided
from registry.formatting.language import DOT, words
from registry.formatting.values import ValueFormatter, shown
from registry.infra.settings import Settings
from registry.infra.work_time import in_thread
from registry.projections.point import Point
from registry.queries.log import LogQueries
from registry.queries.portfolio import PortfolioQueries
from registry.schemas.deal_query import Extent
from registry.web.log import names_in_events
from registry.web.page import render
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite, list_certificate, trend_links
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import portfolio_sliders
from registry.web.portfolio.deal_list import (
    BOUNDS,
    FACETS,
    DealSelection,
    DealTable,
    deal_selection,
    deal_table,
    facet_value,
    facets_of,
    feed_filters,
    listed_deals,
    shown_values,
)
from registry.web.portfolio.overview_maps import map_fields
from registry.web.portfolio.trend import TrendChart, amount_trend

LATEST_EVENTS = 8

MAX_SITES = 300
"""The most sites that the maps show as points."""


class HeadlineFigure(Struct, frozen=True):
    """One of the figures at the top: its sums, the numbers of pledges in them, and the query of its calculation."""

    name: str
    columns: Sequence[TotalsColumn]
    query: Mapping[str, str]

    @property
    def certain(self) -> int:
        """The number of pledges in the lower bounds."""
        return sum(column.certain for column in self.columns)

    @property
    def pledges(self) -> int:
        """The number of pledges in the upper bounds."""
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
        log_queries: NamedDependency[LogQueries],
        settings: NamedDependency[SkipValidation[Settings]],
        chosen_scope: Annotated[
            Literal["all"] | None,
            QueryParameter(name="scope", description="`all`: without the registry's default filters."),
        ] = None,
    ) -> Response[bytes]:
        """All deals at a point in time, by default those of the registry's scope."""
        selection = deal_selection if chosen_scope == "all" else deal_selection.within_scope(settings.scope)

        async def make() -> Rendered:
            return await render_portfolio(
                portfolio_page,
                selection,
                portfolio_queries,
                log_queries,
                scope=dict(settings.scope),
            )

        return await cached_page(portfolio_page, make)


async def render_portfolio(
    page: PageRequest,
    selection: DealSelection,
    portfolio_queries: PortfolioQueries,
    log_queries: LogQueries,
    *,
    scope: Mapping[str, str],
) -> Rendered:
    """The overview's page. `scope`: the filters of the registry's default scope."""
    formatter, day = shown(page.language), page.times.effective_on
    point = await portfolio_queries.point(page.as_of)
    filters, q = selection.filters, selection.query.q
    unit = selection.unit or default_currency(page)
    currency: Any = None if unit == "stated" else unit

    rates = await portfolio_queries.rates(page.as_of)
    selected = await selection.at(portfolio_queries, point)
    # At once: each of the questions to the copy keeps one processor busy.
    latest_until = last_recording_day(page)
    facets, table, headline, trend, counted, latest = await asyncio.gather(
        portfolio_queries.facets(point, selected),
        deal_table(page, portfolio_queries, selection, rates),
        headline_of(portfolio_queries, point, selection, currency, day, rates),
        overview_trend(page, portfolio_queries, point, selection, rates),
        portfolio_queries.places(point, selected),
        latest_events_until(log_queries, portfolio_queries, page, point, latest_until),
    )

    sites = await portfolio_queries.site_points(point, selected, MAX_SITES)
    named = {deal for deal, _, _ in sites} | (trend.named_deals() if trend is not None else set())
    titles = await portfolio_queries.titles(point, named)
    organizations = {value for value, _ in shown_values(facets, filters, "organization")}
    names = await overview_names(page, table, organizations, scope, titles)
    latest_names = await names_in_events(page, latest)
    # In a thread, because it would hold the event loop for long.
    return await in_thread(
        render.render,
        page,
        "portfolio.html",
        headline=headline,
        scope_name=scope_name(formatter, filters, names),
        scoped=selection.scope,
        default_scope_name=scope_name(formatter, scope, names),
        empty_figures=empty_figures(table.count, facets),
        table=table,
        facets=facets_of(facets, filters, formatter, names),
        filters=filters,
        bounds=BOUNDS,
        shares=facets.get("share_min", {}),
        names=names,
        unit=unit,
        sort=selection.sort,
        trend=trend,
        **map_fields(counted, facets.get("region", {}), sites),
        latest=latest,
        latest_until=latest_until,
        later_acts=later_acts(latest),
        latest_names=latest_names,
        titles=titles,
        sliders=await portfolio_sliders(page, portfolio_queries, point),
        data_url=page.data("/v1/deals", **filters, q=q, facets="true"),
        csv_url=page.data("/v1/export/deals.csv", **filters, q=q),
        cite=cite(
            page,
            listed_deals(formatter, selection, names),
            point.position,
            is_list=True,
            proofs=list_certificate(page, {**filters, "q": q}),
            feed=feed_filters(selection),
            charts=[trend_links(page)] if trend is not None else (),
            filters=filters,
        ),
    )


async def overview_names(
    page: PageRequest,
    table: DealTable,
    organizations: Set[str],
    scope: Mapping[str, str],
    titles: Mapping[str, Any],
) -> dict[str, str]:
    """The names of the organizations in the table, in the scope and in a facet, and of the deals with these titles."""
    slugs = {slug for row in table.rows for slug in row.deal.organizations} | organizations
    slugs |= {value for name, value in scope.items() if name == "organization"}
    localized = shown(page.language).words.localized
    names = {f"deal/{slug}": localized(title, slug) for slug, title in titles.items()}
    return await page.names.organizations(slugs) | names


async def overview_trend(
    page: PageRequest, portfolio_queries: PortfolioQueries, point: Point, selection: DealSelection, rates: Rates
) -> TrendChart | None:
    """The chart of amounts over time; None: no amount was disclosed."""
    unit = selection.unit or default_currency(page)
    currency = default_currency(page) if unit == "stated" else unit
    alone = await selection.alone.at(portfolio_queries, point)
    return await amount_trend(page, portfolio_queries, point, alone, currency, rates)


def default_currency(page: PageRequest) -> str:
    """The currency that amounts are converted to unless the address names one."""
    return words(page.language).format("currency")


def last_recording_day(page: PageRequest) -> date | None:
    """The last day whose recordings a page about the past lists as the latest ones; None: it is about now or later."""
    asked = [day for day in (page.as_of.effective_on, page.as_of.published_on) if day is not None]
    return min((day for day in asked if day < page.times.today), default=None)


async def latest_events_until(
    log_queries: LogQueries, portfolio_queries: PortfolioQueries, page: PageRequest, point: Point, day: date | None
) -> list[StoredEvent]:
    """The latest events of deals, of those recorded by the point and up to a day."""
    position = point.position
    if day is not None:
        recorded_by = AsOf(recorded_at=page.times.calendar.end_of(day))
        position = min(position, (await portfolio_queries.point(recorded_by)).position)
    return await latest_deal_events(log_queries, position)


async def latest_deal_events(log_queries: LogQueries, position: int) -> list[StoredEvent]:
    """The latest events of deals up to a position, the last first; fewer where most of them are of organizations."""
    latest: list[StoredEvent] = []
    for count in (LATEST_EVENTS, 5 * LATEST_EVENTS):
        if not (count := min(count, position)):
            break
        events = await log_queries.events(position - count, count)
        latest = [event for event in events if event.recorded.kind == "deal"][-LATEST_EVENTS:][::-1]
        if len(latest) == LATEST_EVENTS:
            break
    return latest


def later_acts(latest: Iterable[StoredEvent]) -> dict[UUID, Literal["corrected", "voided"]]:
    """What became of some of the latest events, the last first: a correction or void of one is later, so among them."""
    acts: dict[UUID, Literal["corrected", "voided"]] = {}
    for stored in latest:
        if acts.get(stored.recorded.id) == "voided":
            continue
        match stored.recorded.event:
            case EventVoided(voids=target):
                acts[target] = "voided"
            case EventCorrected(corrects=target):
                acts.setdefault(target, "corrected")
    return acts


class DealsApart(Struct, frozen=True):
    """Deals that the figures of a region leave out although they are, or may be, there too.

    Args:
        extent: `beyond`: they also have a site elsewhere; `country`: of a site only the region's country is stated;
            `unstated`: no source states where they are.
        deals: Their number.
        figure: Their sums.
    """

    extent: Extent
    deals: int
    figure: HeadlineFigure


class Headline(Struct, frozen=True):
    """The figures at the top: of the deals in the scope alone, and apart from them of those that may be there too."""

    figures: list[HeadlineFigure]
    apart: list[DealsApart]


async def headline_of(
    portfolio_queries: PortfolioQueries,
    point: Point,
    selection: DealSelection,
    currency: Any,
    day: date,
    rates: Rates,
) -> Headline:
    """The figures at the top. A deal that covers more than the selected region is not in them."""
    query = TotalsQuery(currency=currency, group_by=("stage",), effective_on=day, lines=0, with_rates=False)
    alone = selection.alone
    totals = await portfolio_queries.totals(point, await alone.at(portfolio_queries, point), query, rates)
    query = msgspec.structs.replace(query, group_by=())
    return Headline(
        headline_figures(totals, alone.filters), await deals_apart(portfolio_queries, point, alone, query, rates)
    )


async def deals_apart(
    portfolio_queries: PortfolioQueries, point: Point, selection: DealSelection, query: TotalsQuery, rates: Rates
) -> list[DealsApart]:
    """The deals that a selection by region leaves out although they are, or may be, there too; else none."""
    if selection.query.region is None or selection.query.extent not in (None, "within"):
        return []
    apart: list[DealsApart] = []
    extents: tuple[Extent, ...] = ("beyond", "country", "unstated")
    for extent in extents if selection.query.extent == "within" else extents[1:]:
        others = selection.of_extent(extent)
        selected = await others.at(portfolio_queries, point)
        if deals := await portfolio_queries.count(point, selected):
            totals = await portfolio_queries.totals(point, selected, query, rates)
            apart.append(DealsApart(extent, deals, HeadlineFigure(extent, totals.overall.columns, others.filters)))
    return apart


def headline_figures(totals: Totals, filters: Mapping[str, str]) -> list[HeadlineFigure]:
    """At most four figures: committed, of which under construction or operating, intended, and annual."""

    def of(columns: Iterable[TotalsColumn], basis: str, *natures: str) -> list[TotalsColumn]:
        return [column for column in columns if column.basis == basis and column.nature in natures]

    overall = totals.overall.columns
    built = [
        column
        for group in totals.groups
        if group.key in ("construction", "operating")
        for column in group.of_total or ()
    ]
    return [
        HeadlineFigure("committed", of(overall, "once", "commitment"), filters),
        HeadlineFigure("built", added_up(of(built, "once", "commitment")), {**filters, "group_by": "stage"}),
        HeadlineFigure("intended", of(overall, "once", "intention"), filters),
        HeadlineFigure("annual", of(overall, "annual", "commitment", "intention"), filters),
    ]


def added_up(columns: Iterable[TotalsColumn]) -> list[TotalsColumn]:
    """The columns of several groups, each currency once."""
    sums: dict[str, TotalsColumn] = {}
    for one in columns:
        currency = one.currency or ""
        known = sums.get(currency)
        if known is None:
            sums[currency] = one
            continue
        sums[currency] = msgspec.structs.replace(
            known,
            low=format_decimal(Decimal(known.low) + Decimal(one.low)),
            high=format_decimal(Decimal(known.high) + Decimal(one.high)),
            low_open=known.low_open or one.low_open,
            high_open=known.high_open or one.high_open,
            certain=known.certain + one.certain,
            pledges=known.pledges + one.pledges,
        )
    return [sums[currency] for currency in sorted(sums)]


def empty_figures(deals: int, facets: Mapping[str, Mapping[str, int]]) -> frozenset[str]:
    """The figures at the top to which no deal belongs: nothing is undisclosed there.

    Args:
        deals: The number of selected deals.
        facets: How many of them have each value of a facet.
    """
    if not deals:
        return frozenset({"committed", "built", "intended", "annual"})
    stages, commitments = facets.get("stage", {}), facets.get("commitment", {})
    is_empty = {
        "built": not stages.get("construction") and not stages.get("operating"),
        "intended": not commitments.get("intention"),
    }
    return frozenset(name for name, empty in is_empty.items() if empty)


def scope_name(formatter: ValueFormatter, filters: Mapping[str, str], names: Mapping[str, str]) -> str:
    """The scope of the figures: the values of the filters, the region first; empty for all deals."""
    shown_filters = {name: value for name, value in filters.items() if name in FACETS}
    order = sorted(shown_filters.items(), key=lambda one: one[0] != "region")
    return DOT.join(facet_value(formatter, name, value, names) for name, value in order)
