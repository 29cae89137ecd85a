"""The portfolio: lists, totals and comparisons of all deals at a point in time.

The three share how they resolve points and filters and how they are certified.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from litestar import Controller
from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter
from msgspec import UNSET
from msgspec.structs import asdict, replace

from registry import schemas
from registry.api.deals import CERTIFICATE, Certificate
from registry.api.openapi import reading
from registry.domain.history import AsOf
from registry.domain.totals import Estimates, Measure, TotalsQuery
from registry.errors import InvalidParameter
from registry.events.currencies import Currency
from registry.http.bodies import Request
from registry.http.cursors import CursorParameter, decode_cursor, encode_cursor
from registry.http.list_parameters import Grouping, Sort, read_grouping, read_order
from registry.http.parameters import (
    DAY_EXAMPLE,
    MAX_PAGE,
    Limit,
    Position,
    RecordedAt,
    instant,
    integer,
    require_single_axis,
)
from registry.http.responses import REVALIDATED, RawResponse, json_response, page_headers
from registry.infra.threads import offload_answer
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point
from registry.queries.comparisons import ComparisonQueries
from registry.queries.deal_conditions import CONDITIONS, similar_of
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import DealPage, RateSource, RatesResponse, TotalsResponse, encode, encode_long
from registry.schemas.deal_query import DealListQuery
from registry.transparency.certificates import Certificates
from registry.transparency.proofs import CertifiedStreams
from registry.transparency.total_state import CertifiedQuery, needs_organizations

MAX_COMPARED = 200

MAX_CERTIFIED = 5000
"""The most events of a point in a certificate of a total, a list or a comparison."""


def totals_query(
    group_by: Grouping = None,
    measure: Annotated[
        Measure,
        QueryParameter(
            description="What to add up: amounts, the power of sites (`power_mw`), or a metric such as jobs."
        ),
    ] = "amount",
    currency: Annotated[
        Currency | None, QueryParameter(description="Convert amounts to this ISO 4217 currency.")
    ] = None,
    rates_of: Annotated[
        date | None,
        QueryParameter(
            description="Convert at the rates of this day, not of the day of each amount; never later ones.",
            schema_extra=DAY_EXAMPLE,
        ),
    ] = None,
    estimates: Annotated[
        Estimates,
        QueryParameter(
            description="Whether amounts count that were estimated or modelled; `both`: the sums without them, too."
        ),
    ] = "include",
    explain: Annotated[bool, QueryParameter(description="Add the derivation as a tree.")] = False,
    lines: Annotated[
        int, integer("The most pledges to list: of the overall sums, and of all groups together.", 0, 10_000)
    ] = 1000,
    limit: Annotated[int, integer("The most groups to return, the largest first.", 1, MAX_PAGE)] = 100,
) -> TotalsQuery:
    """Return what a request asks to add up. The handler adds the day and the first group of the page.

    Raises:
        InvalidParameter: A measure that has no currency is to be converted.
    """
    if currency is not None and measure != "amount":
        raise InvalidParameter("measure_currency", parameter="currency")
    return TotalsQuery(
        currency=currency,
        group_by=read_grouping(group_by),
        rates_of=rates_of,
        explain=explain,
        lines=lines,
        measure=measure,
        estimates=estimates,
        groups=limit,
    )


def _check_certified(filters: DealListQuery, cursor: str | None) -> None:
    """Check that an answer can be certified.

    Raises:
        InvalidParameter: It is a page, or a filter has no condition that verification could repeat.
    """
    if cursor is not None:
        raise InvalidParameter("certificate_of_page", parameter="cursor")
    for name in filters.given():
        if name not in CONDITIONS:
            raise InvalidParameter("certificate_of_answer", parameter=name)


async def _certified_streams(
    portfolio: PortfolioQueries, filters: DealListQuery, *selected: tuple[Point, Selection], grouped: bool = False
) -> CertifiedStreams:
    """The streams that an answer about selections depends on.

    Args:
        portfolio: The queries.
        filters: The filters of the request.
        selected: The selections.
        grouped: Whether the answer has groups by organization.

    Raises:
        InvalidParameter: The deals of a selection, or organizations, have too many events.
    """
    found = [await portfolio.deals_of_total(point, selection, MAX_CERTIFIED) for point, selection in selected]
    _check_size(max(events for _, events, _ in found))
    organizations = None
    if grouped or needs_organizations(filters):
        organizations = await portfolio.organizations_of_total()
        _check_size(sum(organizations.values()))
    return CertifiedStreams(
        deals=sorted({deal for deals, _, _ in found for deal in deals}),
        complete=all(complete for _, _, complete in found),
        organizations=organizations,
        names=filters.q is not None,
    )


def _check_size(events: int) -> None:
    """Check the number of events of a certificate. Raises InvalidParameter."""
    if events > MAX_CERTIFIED:
        raise InvalidParameter("certificate_too_large", parameter="certificate", events=events, limit=MAX_CERTIFIED)


async def _resolved(portfolio: PortfolioQueries, as_of: AsOf, point: Point) -> AsOf:
    """The point of a certificate: on the axis of recording, the position at which the answer was found."""
    resolved = (await portfolio.resolve(as_of)).as_of
    return replace(resolved, position=point.known) if isinstance(point.known, int) else resolved


def _bundle(content: bytes) -> RawResponse[Any]:
    return RawResponse(content, 200, REVALIDATED, CERTIFICATE.encode())


_CERTIFIED = {CERTIFICATE: "With `certificate=true`: a bundle that `registry verify` checks offline."}


class PortfolioController(Controller):
    """All deals."""

    path = "/v1"
    tags = ("Portfolio",)
    dependencies = {"totals_query": Provide(totals_query, sync_to_thread=False)}  # noqa: RUF012 - Litestar's attribute

    @reading("/deals", "evidence_unavailable", other=_CERTIFIED)
    async def get_deals(
        self,
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        portfolio_as_of: NamedDependency[AsOf],
        deal_filters: NamedDependency[DealListQuery],
        sort: Annotated[
            Sort,
            QueryParameter(
                description="The order; `-`: the largest or latest first; `relevance`, with `q`: the best first."
            ),
        ] = ("deal"),
        cursor: CursorParameter = None,
        limit: Limit = 50,
        facets: Annotated[
            bool, QueryParameter(description="Count the deals that each value of each filter would leave.")
        ] = False,
        certificate: Certificate = False,
    ) -> RawResponse[schemas.DealPage]:
        """Deals at any point in time, filtered and in any order, with the number of deals of each facet.

        With `certificate=true`: the states of all of them in the order of their slugs, with what they follow from.
        """
        start = decode_cursor(cursor, deal_filters)
        as_of = start.fix(portfolio_as_of)
        point = await portfolio_queries.point(as_of)
        selection = await portfolio_queries.select(point, deal_filters)
        if certificate:
            _check_certified(deal_filters, cursor)
            wanted = await _certified_streams(portfolio_queries, deal_filters, (point, selection))
            certificates: Certificates = request.app.state.services.certificates
            resolved = await _resolved(portfolio_queries, as_of, point)
            similar = similar_of(selection.search)
            return _bundle(await certificates.of_list(deal_filters, resolved, wanted, similar))
        rates = await portfolio_queries.rates(as_of)
        weights = portfolio_queries.weights(rates, point.day)
        order = read_order(sort, deal_filters.q, weights)
        page = await portfolio_queries.page(point, selection, order, start.place, limit, rates)
        following = encode_cursor(point, deal_filters, page.next)
        body = DealPage(
            effective_on=point.day,
            published_on=portfolio_as_of.published_on,
            recorded_at=portfolio_as_of.recorded_at,
            position=point.position,
            deals=tuple(page.deals),
            next=following,
            facets=await portfolio_queries.facets(point, selection) if facets else UNSET,
        )
        return json_response(encode(body), page_headers(request, {"cursor": following} if following else None))

    @reading("/totals", "evidence_unavailable", other=_CERTIFIED)
    async def get_totals(
        self,
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        portfolio_as_of: NamedDependency[AsOf],
        totals_filters: NamedDependency[DealListQuery],
        totals_query: NamedDependency[TotalsQuery],
        roll_up: Annotated[
            Literal["parent"] | None,
            QueryParameter(description="Count an organization under its ultimate parent on that day (`parent`)."),
        ] = None,
        cursor: CursorParameter = None,
        certificate: Certificate = False,
    ) -> RawResponse[schemas.TotalsResponse]:
        """Amounts, or another measure, as intervals from "without anything that may be counted twice" to "everything".

        With `roll_up=parent` an organization counts under the one that ultimately owned or controlled it on that day.
        """
        if roll_up is not None and "organization" not in totals_query.group_by:
            raise InvalidParameter("roll_up", parameter="roll_up")
        # All that decides which groups there are, and in which order.
        asked = (
            totals_filters,
            totals_query.group_by,
            roll_up,
            totals_query.measure,
            totals_query.currency,
            totals_query.rates_of,
            totals_query.estimates,
        )
        start = decode_cursor(cursor, asked)
        as_of = start.fix(portfolio_as_of)
        point = await portfolio_queries.point(as_of)
        query = replace(totals_query, effective_on=point.day, skip=start.skip)
        rates = await portfolio_queries.rates(as_of)
        selection = await portfolio_queries.select(point, totals_filters)
        if certificate:
            _check_certified(totals_filters, cursor)
            certified = CertifiedQuery(
                **{
                    **asdict(totals_filters),
                    "pledged_in": totals_filters.currency,
                    "measure": query.measure,
                    "currency": query.currency,
                    "rates_of": query.rates_of,
                    "estimates": query.estimates,
                    "group_by": query.group_by,
                    "roll_up": roll_up,
                }
            )
            wanted = await _certified_streams(
                portfolio_queries, totals_filters, (point, selection), grouped="organization" in query.group_by
            )
            certificates: Certificates = request.app.state.services.certificates
            resolved = await _resolved(portfolio_queries, as_of, point)
            return _bundle(
                await certificates.of_total(certified, resolved, wanted, rates, similar_of(selection.search))
            )
        totals = await portfolio_queries.totals(point, selection, query, rates, roll_up is not None)
        rules: dict[str, str] = {
            rule: str(rule.text) for group in (totals.overall, *totals.groups) for rule in group.rules
        }
        body = TotalsResponse(
            effective_on=point.day,
            published_on=portfolio_as_of.published_on,
            recorded_at=portfolio_as_of.recorded_at,
            position=point.position,
            totals=totals,
            rules=rules,
            newest_rate=rates.newest(point.day) if query.currency is not None else None,
            next=encode_cursor(point, asked, skip=totals.next_group or 0),
        )
        return json_response(encode(body))

    @reading("/rates")
    async def get_rates(
        self,
        portfolio_queries: NamedDependency[PortfolioQueries],
        day: Annotated[
            date | None,
            QueryParameter(description="The day; if left out, as `effective_on` elsewhere.", schema_extra=DAY_EXAMPLE),
        ] = None,
        source: Annotated[str | None, QueryParameter(description="Only rates of this source, such as ECB.")] = None,
        currency: Annotated[Currency | None, QueryParameter(description="Only rates of this currency.")] = None,
        recorded_at: RecordedAt = None,
        position: Position = None,
    ) -> RawResponse[schemas.RatesResponse]:
        """Exchange rates by source and day, as recorded by a log position or an instant."""
        as_of = AsOf(recorded_at=instant("recorded_at", recorded_at), position=position)
        on = day or (await portfolio_queries.resolve(as_of)).effective_on
        rates = await portfolio_queries.rates(as_of)
        body = RatesResponse(
            day=on,
            position=position,
            recorded_at=as_of.recorded_at,
            sources=tuple(
                RateSource(source=name, currencies=currencies, first_day=first, last_day=last, imports=imports)
                for name, currencies, first, last, imports in rates.summary()
            ),
            rates=tuple(rates.quotes_on(on, source, currency)),
        )
        return json_response(encode(body))

    @reading("/compare", "evidence_unavailable", other=_CERTIFIED)
    async def get_portfolio_compare(
        self,
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        comparison_queries: NamedDependency[ComparisonQueries],
        from_as_of: NamedDependency[AsOf],
        to_as_of: NamedDependency[AsOf],
        deal_filters: NamedDependency[DealListQuery],
        cursor: CursorParameter = None,
        limit: Annotated[int, integer("The most deals with changes.", 1, MAX_COMPARED)] = 50,
        certificate: Certificate = False,
    ) -> RawResponse[schemas.PortfolioComparison]:
        """What appeared, grew, shrank, slipped, was stated first or corrected between two points, over all deals.

        A deal is compared if it meets the filters at one of the two points. The deals whose amounts changed most come
        first, converted at the rates of the later point; those whose amounts did not change come last, by slug. A page
        has the changes of `limit` deals; one that is not the last has fewer only where very many deals that may differ
        do not. With `certificate=true`: the changes of all deals, with what they follow from.
        """
        first, last = require_single_axis(from_as_of, "from."), require_single_axis(to_as_of, "to.")
        if certificate:
            _check_certified(deal_filters, cursor)
            start_point, end_point = [await portfolio_queries.point(as_of) for as_of in (first, last)]
            at_start, at_end = [
                await portfolio_queries.select(point, deal_filters) for point in (start_point, end_point)
            ]
            # The sums at the start are of its own list; what is compared was selected with the words of the end.
            selected = (start_point, at_start), (start_point, at_end), (end_point, at_end)
            wanted = await _certified_streams(portfolio_queries, deal_filters, *selected)
            certificates: Certificates = request.app.state.services.certificates
            rates = await portfolio_queries.rates(last)
            resolved = (
                await _resolved(portfolio_queries, first, start_point),
                await _resolved(portfolio_queries, last, end_point),
            )
            similar = similar_of(at_start.search), similar_of(at_end.search)
            return _bundle(await certificates.of_comparison(deal_filters, resolved, wanted, rates, similar))
        start = decode_cursor(cursor, deal_filters)
        last = start.fix(last)
        body, place = await comparison_queries.compare(
            first,
            last,
            lambda point: portfolio_queries.select(point, deal_filters),
            start.place,
            limit,
        )
        following = encode_cursor(await portfolio_queries.point(last), deal_filters, place)
        return json_response(await offload_answer(len(body.changes), encode_long, replace(body, next=following)))
