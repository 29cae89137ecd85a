"""The portfolio: lists, totals and comparisons of all deals at a point in time."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from urllib.parse import urlencode

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import UNSET

from registry import schemas
from registry.api.bodies import Request
from registry.api.openapi import reading
from registry.api.parameters import (
    DAY_EXAMPLE,
    CurrencyFilter,
    Cursor,
    DealFilters,
    Limit,
    Position,
    RecordedAt,
    SearchText,
    instant,
    integer,
    require_single_axis,
)
from registry.api.responses import RawResponse, json_response
from registry.domain.history import AsOf
from registry.domain.totals import GroupBy, TotalsQuery
from registry.errors import InvalidParameter
from registry.events.currencies import Currency
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import DealListItem, DealPage, RateSource, RatesResponse, TotalsResponse, encode, pre_encoded


class PortfolioController(Controller):
    """All deals."""

    path = "/v1"
    tags = ("Portfolio",)

    @reading("/deals")
    async def get_deals(
        self,
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        portfolio_as_of: NamedDependency[AsOf],
        deal_filters: NamedDependency[DealFilters],
        currency: CurrencyFilter = None,
        q: SearchText = None,
        sort: Annotated[Literal["deal", "-deal"], QueryParameter(description="The order of the list.")] = "deal",
        cursor: Cursor = None,
        limit: Limit = 50,
        facets: Annotated[
            bool, QueryParameter(description="Count the deals that each value of each filter would leave.")
        ] = False,
    ) -> RawResponse[schemas.DealPage]:
        """Deals at any point in time, filtered, with the number of deals of each facet."""
        effective_on = (await portfolio_queries.resolve(portfolio_as_of)).effective_on
        axis, known, position = await portfolio_queries.known_axis(portfolio_as_of)
        terms = deal_filters.terms(currency)
        page = await portfolio_queries.page(axis, known, effective_on, terms, q, cursor or "", limit, sort == "-deal")
        counts = await portfolio_queries.facets(axis, known, effective_on, terms, q) if facets else UNSET
        body = DealPage(
            effective_on=effective_on,
            published_on=portfolio_as_of.published_on,
            recorded_at=portfolio_as_of.recorded_at,
            position=position,
            deals=pre_encoded(page.rows, DealListItem),
            next=page.next,
            facets=counts,
        )
        headers = {"Cache-Control": "no-cache"}
        if page.next is not None:
            # The next page is a page of the same list, whatever is recorded in between.
            pinned = {} if axis == "p" else {"position": str(position)}
            query = dict(request.query_params.items()) | pinned
            query |= {"effective_on": str(effective_on), "cursor": page.next}
            headers["Link"] = f'</v1/deals?{urlencode(query)}>; rel="next"'
        return json_response(encode(body), headers)

    @reading("/totals")
    async def get_totals(
        self,
        portfolio_queries: NamedDependency[PortfolioQueries],
        portfolio_as_of: NamedDependency[AsOf],
        deal_filters: NamedDependency[DealFilters],
        group_by: Annotated[GroupBy | None, QueryParameter(description="What to group the totals by.")] = None,
        roll_up: Annotated[
            Literal["parent"] | None,
            QueryParameter(description="Count an organization under its ultimate parent on that day (`parent`)."),
        ] = None,
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
        explain: Annotated[bool, QueryParameter(description="Add the derivation as a tree.")] = False,
        lines: Annotated[int, integer("The most pledges to list in each group.", 0, 10_000)] = 1000,
    ) -> RawResponse[schemas.TotalsResponse]:
        """Amounts as intervals, from "without anything that may be counted twice" to "everything".

        With `roll_up=parent` an organization counts under the one that ultimately owned or controlled it on that day.
        """
        if roll_up is not None and group_by != "organization":
            raise InvalidParameter("roll_up", parameter="roll_up")
        effective_on = (await portfolio_queries.resolve(portfolio_as_of)).effective_on
        axis, known, position = await portfolio_queries.known_axis(portfolio_as_of)
        query = TotalsQuery(
            currency=currency,
            group_by=group_by,
            rates_of=rates_of,
            effective_on=effective_on,
            explain=explain,
            lines=lines,
        )
        rates = await portfolio_queries.rates(portfolio_as_of)
        totals = await portfolio_queries.totals(
            axis, known, effective_on, deal_filters.terms(), query, roll_up is not None, rates
        )
        rules: dict[str, str] = {
            rule: str(rule.text) for group in (totals.overall, *totals.groups) for rule in group.rules
        }
        body = TotalsResponse(
            effective_on=effective_on,
            published_on=portfolio_as_of.published_on,
            recorded_at=portfolio_as_of.recorded_at,
            position=position,
            totals=totals,
            rules=rules,
            newest_rate=rates.newest(effective_on) if currency is not None else None,
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
        currency: Annotated[str | None, QueryParameter(description="Only rates of this currency.")] = None,
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

    @reading("/compare")
    async def get_portfolio_compare(
        self,
        portfolio_queries: NamedDependency[PortfolioQueries],
        from_as_of: NamedDependency[AsOf],
        to_as_of: NamedDependency[AsOf],
    ) -> RawResponse[schemas.PortfolioComparison]:
        """What appeared, grew, shrank, slipped, was stated first or corrected between two points, over all deals."""
        body = await portfolio_queries.compare(
            require_single_axis(from_as_of, "from."), require_single_axis(to_as_of, "to.")
        )
        return json_response(encode(body))
