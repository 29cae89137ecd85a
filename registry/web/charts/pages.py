"""Charts by themselves: as SVG files, and as pages that other sites may embed.

A chart is drawn by the same template as on its page. PNG is made from the SVG by the reader's browser (pages.js), which
has fonts for every script of the names; the service has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from litestar import Controller, Response, route
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter, SkipValidation

from registry.domain.audit.entries import audit_trail
from registry.domain.stream_kinds import DEALS
from registry.errors import NotFound
from registry.formatting.language import N_
from registry.formatting.values import shown
from registry.http.parameters import DealSlug
from registry.infra import freeing
from registry.infra.settings import Settings
from registry.infra.threads import offload_answer
from registry.queries.deals import DealQueries
from registry.queries.portfolio import PortfolioQueries
from registry.web.charts.timeline import NARROW, timeline
from registry.web.deals.charts import mark_text
from registry.web.deals.page import load_deal
from registry.web.page import render
from registry.web.page.assets import FOLDER
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite
from registry.web.page.render import Rendered, svg_response
from registry.web.page.request import READ, Page, PageRequest
from registry.web.portfolio.deal_list import DealSelection, deal_selection, listed_deals
from registry.web.portfolio.page import overview_trend

CHART_STYLE = (FOLDER / "charts.css").read_text()
TREND = N_("Amounts over time by commitment level")


def trend_selection(
    deal_selection: NamedDependency[DealSelection],
    settings: NamedDependency[SkipValidation[Settings]],
    chosen_scope: Annotated[
        Literal["all"] | None,
        QueryParameter(name="scope", description="`all`: without the registry's default filters."),
    ] = None,
) -> DealSelection:
    """The deals of the overview's chart."""
    return deal_selection if chosen_scope == "all" else deal_selection.within_scope(settings.scope)


class ChartPages(Controller):
    """Charts as files and to embed."""

    dependencies = {  # noqa: RUF012 - Litestar's attribute
        "deal_selection": Provide(deal_selection, sync_to_thread=False),
        "trend_selection": Provide(trend_selection, sync_to_thread=False),
    }

    @route("/charts/trend.svg", http_method=READ)
    async def get_trend_svg(
        self,
        portfolio_page: Page,
        trend_selection: NamedDependency[DealSelection],
        portfolio_queries: NamedDependency[PortfolioQueries],
    ) -> Response[bytes]:
        """The overview's chart as SVG."""
        context = await _trend(portfolio_page, trend_selection, portfolio_queries)
        return svg_response(portfolio_page, _svg(portfolio_page, context), "amounts")

    @route("/embed/trend", http_method=READ)
    async def get_trend(
        self,
        portfolio_page: Page,
        trend_selection: NamedDependency[DealSelection],
        portfolio_queries: NamedDependency[PortfolioQueries],
    ) -> Response[bytes]:
        """The overview's chart, to embed."""

        async def make() -> Rendered:
            context = await _trend(portfolio_page, trend_selection, portfolio_queries)
            return _embedded(portfolio_page, context)

        return await cached_page(portfolio_page, make)

    @route("/charts/deals/{deal:str}/timeline.svg", http_method=READ)
    async def get_timeline_svg(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
    ) -> Response[bytes]:
        """A deal's timeline as SVG."""
        return svg_response(page, await _timeline(page, deal, deal_queries, _svg), deal)

    @route("/embed/deals/{deal:str}", http_method=READ)
    async def get_timeline(
        self,
        page: Page,
        deal: DealSlug,
        deal_queries: NamedDependency[DealQueries],
    ) -> Response[bytes]:
        """A deal's timeline, to embed."""

        async def make() -> Rendered:
            return await _timeline(page, deal, deal_queries, _embedded)

        return await cached_page(page, make)


async def _trend(
    page: PageRequest,
    selection: DealSelection,
    portfolio_queries: PortfolioQueries,
) -> dict[str, Any]:
    """What the templates need to draw the overview's chart.

    Raises:
        NotFound: No amount was disclosed.
    """
    point = await portfolio_queries.point(page.as_of)
    rates = await portfolio_queries.rates(page.as_of)
    trend = await overview_trend(page, portfolio_queries, point, selection, rates)
    if trend is None:
        raise NotFound("chart")
    formatter = shown(page.language)
    slugs = {value for name, value in selection.filters.items() if name == "organization"}
    names = await page.names.organizations(slugs)
    return {
        "kind": "trend",
        "trend": trend,
        "frame": trend.chart.frame,
        "height": trend.chart.frame.height,
        "title": f"{formatter.words.gettext(TREND)}: {listed_deals(formatter, selection, names)}",
        "path": "/",
        "position": point.position,
        "is_list": True,
    }


async def _timeline(
    page: PageRequest,
    deal: str,
    deal_queries: DealQueries,
    make: Callable[[PageRequest, dict[str, Any]], Rendered],
) -> Rendered:
    """A deal's timeline, which `make` draws from what the templates need.

    Raises:
        NotFound: The deal has none at the as-of point.
    """
    view = await load_deal(page, deal, deal_queries)
    if view.snapshot.state is None:
        raise NotFound("chart")

    def drawn() -> Rendered | None:
        snapshot = view.stream.state_as_of(page.as_of)
        entries = audit_trail(view.stream.events, page.as_of, DEALS, page.times.calendar, snapshot=snapshot)
        day = page.times.effective_on
        wide, narrow = timeline(view.state, entries, day), timeline(view.state, entries, day, NARROW)
        if wide is None or narrow is None:
            return None
        context = {
            "kind": "timeline",
            "timeline": wide,
            "narrow_timeline": narrow,
            "frame": wide.frame,
            "height": wide.height,
            "title": shown(page.language).words.localized(view.state.title, deal),
            "path": f"/deals/{deal}",
            "position": view.snapshot.position,
            "is_list": False,
            "names": view.names,
            "mark_text": mark_text(page, view.names),
        }
        freeing.after_work(entries, wide, narrow)
        return make(page, context)

    rendered = await offload_answer(view.stream.version, drawn)
    if rendered is None:
        raise NotFound("chart")
    return rendered


def _svg(page: PageRequest, context: dict[str, Any]) -> Rendered:
    panel = cite(page, context["title"], context["position"], is_list=context["is_list"], path=context["path"])
    return render.render(page, "chart.svg", citation=panel.citation, css=CHART_STYLE, **context)


def _embedded(page: PageRequest, context: dict[str, Any]) -> Rendered:
    panel = cite(page, context["title"], context["position"], is_list=context["is_list"], path=context["path"])
    address = page.alternate_url(context["path"])
    return render.render(page, "embed.html", citation=panel.citation, address=address, **context)
