"""Two points in time compared, for one deal and for all deals: what changed, and which kind of change it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from urllib.parse import urlencode

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec.structs import replace

from registry.domain.audit.comparison import AttributedChange, Comparison, compare
from registry.domain.deal import Deal
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream
from registry.queries.deals import DealQueries
from registry.queries.log import LogQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import DealChange, PortfolioQueries
from registry.web import as_of, render
from registry.web.assets import csv_response
from registry.web.cache import cached_page
from registry.web.change_points import change_points
from registry.web.citations import comparison_citation
from registry.web.deals import load_deal
from registry.web.format import shown
from registry.web.i18n import N_
from registry.web.provenance import json_text
from registry.web.query import READ, TWO_POINTS, as_of_point, require_single_axis
from registry.web.render import Rendered
from registry.web.request import Known, PageRequest, Request, page_request
from registry.web.sliders import MAX_CHANGES, latest_recording_times

PARAMETERS: Known = {**TWO_POINTS}

# A comparison of all deals without dates starts this many changes ago.
DEFAULT_CHANGES_AGO = 3


class ComparisonPages(Controller):
    """Comparisons as pages and as CSV."""

    @route("/deals/{deal:str}/compare", http_method=READ)
    async def compare_deal(
        self,
        request: Request,
        deal: FromPath[str],
        deal_queries: NamedDependency[DealQueries],
        organization_queries: NamedDependency[OrganizationQueries],
    ) -> Response[bytes]:
        """A deal at two points in time, side by side."""
        page = await page_request(request, PARAMETERS)
        start, end = await pinned_points(page, requested_points(page))

        async def make() -> Rendered:
            view = await load_deal(page, deal, deal_queries, organization_queries)
            stream = view.stream
            first = next((point for point in (start, shown_point(page)) if point != AsOf()), first_point(stream))
            comparison = compare_points(stream, first, end, page.times.today)
            return render.render(
                page,
                "compare.html",
                slug=deal,
                deal=stream.state,
                names=view.names,
                start=first,
                end=end,
                comparison=comparison,
                changes_by_kind=changes_by_kind(comparison),
                events_by_id=stream.record.by_id,
                recording_times=change_points(stream).recorded,
                data_url=page.data(f"/v1/deals/{deal}/compare", **point_parameters(first, end)),
                csv_url=f"/deals/{deal}/compare.csv?{urlencode(point_parameters(first, end))}",
                cite=comparison_citation(
                    page,
                    shown(page.language).words.localized(stream.state.title, deal),
                    stream.events[-1].position,
                    first,
                    end,
                ),
            )

        return await cached_page(page, make)

    @route("/deals/{deal:str}/compare.csv", http_method=READ)
    async def compare_deal_table(
        self,
        request: Request,
        deal: FromPath[str],
        deal_queries: NamedDependency[DealQueries],
        organization_queries: NamedDependency[OrganizationQueries],
    ) -> Response[bytes]:
        """A deal's comparison as CSV: a row for each change of a field."""
        page = await page_request(request, PARAMETERS)
        view = await load_deal(page, deal, deal_queries, organization_queries)
        comparison = compare_points(view.stream, *await pinned_points(page, requested_points(page)), page.times.today)
        rows = [
            [c.kind, c.path, json_text(c.before), json_text(c.after), " ".join(map(str, c.causes))]
            for changes in changes_by_kind(comparison).values()
            for c in changes
        ]
        return csv_response(f"{deal}-compare.csv", ("kind", "field", "before", "after", "causes"), rows)

    @route("/compare", http_method=READ)
    async def compare_portfolio(
        self,
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        log_queries: NamedDependency[LogQueries],
    ) -> Response[bytes]:
        """All deals at two points in time: what appeared, grew, shrank, slipped, was corrected or learned late."""
        page = await page_request(request, PARAMETERS, portfolio=True)
        start, end = await pinned_points(page, requested_list_points(page))

        async def make() -> Rendered:
            days = await portfolio_queries.effective_change_days("r", page.position, MAX_CHANGES)
            first = next((point for point in (start, shown_point(page)) if point != AsOf()), recent_point(days))
            changes = await portfolio_queries.changes(first, end)
            by_deal: dict[str, list[DealChange]] = {}
            for change in changes:
                if not _is_of_claims(change.field or ""):
                    by_deal.setdefault(change.deal, []).append(change)
            titles = {change.deal: change.title for change in changes}
            texts = shown(page.language).words
            return render.render(
                page,
                "compare_portfolio.html",
                start=first,
                end=end,
                changes_by_deal=by_deal,
                titles=titles,
                counts=Counter(change.what for change in changes),
                names={f"deal/{slug}": texts.localized(title, slug) for slug, title in titles.items()},
                recording_times=await latest_recording_times(page, log_queries),
                data_url=page.data("/v1/compare", **point_parameters(first, end)),
                csv_url=f"/compare.csv?{urlencode(point_parameters(first, end))}",
                cite=comparison_citation(page, texts.gettext(N_("all deals")), page.position, first, end),
            )

        return await cached_page(page, make)

    @route("/compare.csv", http_method=READ)
    async def compare_portfolio_table(
        self, request: Request, portfolio_queries: NamedDependency[PortfolioQueries]
    ) -> Response[bytes]:
        """The comparison of all deals as CSV: a row for each change of a deal."""
        page = await page_request(request, PARAMETERS, portfolio=True)
        changes = await portfolio_queries.changes(*requested_list_points(page))
        rows = [
            [
                *(change.deal, change.what, change.kind, change.field or ""),
                *(json_text(change.before), json_text(change.after), " ".join(map(str, change.causes))),
            ]
            for change in changes
        ]
        return csv_response("compare.csv", ("deal", "what", "kind", "field", "before", "after", "causes"), rows)


def requested_points(page: PageRequest) -> tuple[AsOf, AsOf]:
    """The two points of a comparison; `AsOf()` where the address has none."""
    return as_of_point(page.params, "from."), as_of_point(page.params, "to.")


def requested_list_points(page: PageRequest) -> tuple[AsOf, AsOf]:
    """The two points of a comparison of all deals.

    Raises:
        InvalidParameter: A point has a publication date and a recording time or position.
    """
    start, end = requested_points(page)
    return require_single_axis(start, "from."), require_single_axis(end, "to.")


async def pinned_points(page: PageRequest, points: tuple[AsOf, AsOf]) -> tuple[AsOf, AsOf]:
    """Two points, each with the day at which its log stood where that decides the effective date."""
    start, end = [await page.services.streams.resolve(point) for point in points]
    return (
        replace(points[0], effective_on=start.effective_on if start.log_day else points[0].effective_on),
        replace(points[1], effective_on=end.effective_on if end.log_day else points[1].effective_on),
    )


def shown_point(page: PageRequest) -> AsOf:
    """The point that the page shows, with its day where the address has a point but no day."""
    return page.as_of if page.as_of == AsOf() else replace(page.as_of, effective_on=page.times.effective_on)


def point_parameters(start: AsOf, end: AsOf) -> dict[str, str]:
    """The two points as query parameters."""
    return {**as_of.as_parameters(start, "from."), **as_of.as_parameters(end, "to.")}


def compare_points(stream: FoldedStream[Deal], start: AsOf, end: AsOf, today: date) -> Comparison[Deal]:
    """A deal compared at two points; a point without an effective date is at today's."""
    first, second = (replace(point, effective_on=point.effective_on or today) for point in (start, end))
    return compare(stream.events, first, second, DEALS)


def first_point(stream: FoldedStream[Deal]) -> AsOf:
    """The first point at which a deal was known: where its comparison starts by default."""
    points = change_points(stream)
    return AsOf(
        effective_on=next(iter(points.effective), None),
        published_on=next(iter(points.published), None),
    )


def recent_point(days: Sequence[date]) -> AsOf:
    """A point some changes ago: where the comparison of all deals starts by default."""
    return AsOf(effective_on=days[max(0, len(days) - DEFAULT_CHANGES_AGO)]) if days else AsOf()


def changes_by_kind(comparison: Comparison[Deal]) -> dict[str, list[AttributedChange]]:
    """The changes by their kind, real-world changes first."""
    by_kind: dict[str, list[AttributedChange]] = {kind: [] for kind in ("world", "learned_late", "record", "source")}
    for change in comparison.changes:
        if not _is_of_claims(change.path):
            by_kind[change.kind].append(change)
    return by_kind


def _is_of_claims(path: str) -> bool:
    """Whether a change is of the list of claims, whose effect is a change of the value as well."""
    return path.endswith("/claims")
