"""Rows of deals as tables show them: decoded, sorted and paged, with facets and places counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.money.rates import Rates
from registry.domain.stages import ENDED_STAGES
from registry.events.currencies import Currency
from registry.events.values import Amount
from registry.formatting.language import N_
from registry.formatting.values import ValueFormatter
from registry.http.cursors import CursorParameter, decode_cursor, encode_cursor
from registry.http.list_parameters import Sort, read_order
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import DealListItem
from registry.schemas.deal_query import CODE_FILTERS, ITEM_FILTERS, DealListQuery, Extent
from registry.web.page.request import PageRequest

PAGE_SIZE = 50
MAX_FACET_VALUES = 12
_FIRST_FACETS = ("stage", "region", "sector", "organization", "commitment", "currency", "role", "kind", "metric")
FACETS = (*_FIRST_FACETS, *ITEM_FILTERS, *(name for name in CODE_FILTERS if name not in _FIRST_FACETS))
BOUNDS = ("amount_min", "amount_max", "metric_min", "metric_max", "metric_unit", "share_min", "share_max")
"""The filters that a reader types."""

Unit = Literal["stated", Currency]


class DealSelection(Struct, frozen=True):
    """Which deals a page lists or adds up, and how it shows them.

    Args:
        query: The filters.
        sort: The order of the list.
        cursor: Where the page of the list begins.
        unit: The currency that amounts are converted to; None for the page's default.
        scope: The filters of the registry's default scope that are among the filters.
    """

    query: DealListQuery
    sort: Sort = "-amount"
    cursor: str | None = None
    unit: Unit | None = None
    scope: frozenset[str] = frozenset()

    def within_scope(self, scope: Sequence[tuple[str, str]]) -> DealSelection:
        """The selection with the filters of the registry's default scope that it does not set itself."""
        added = {name: value for name, value in scope if name not in self.filters}
        return replace(self, query=replace(self.query, **added), scope=frozenset(added))

    @property
    def filters(self) -> dict[str, str]:
        """The filters by name, as the address has them, without the words of a search."""
        return {name: value for name, value in self.query.given().items() if name != "q"}

    @property
    def alone(self) -> DealSelection:
        """The selection, by region, without deals that have a site elsewhere: its amounts are the region's alone."""
        is_of_region = self.query.region is not None and self.query.extent is None
        return self.of_extent("within") if is_of_region else self

    def of_extent(self, extent: Extent) -> DealSelection:
        """The deals of a selection by region that have no site elsewhere, have one, or state no place."""
        return replace(self, query=replace(self.query, extent=extent))

    async def at(self, portfolio_queries: PortfolioQueries, point: Point) -> Selection:
        """The selected deals at a point."""
        return await portfolio_queries.select(point, self.query)


def deal_selection(
    deal_filters: NamedDependency[DealListQuery],
    sort: Annotated[Sort, QueryParameter(description="The order of the list.")] = "-amount",
    cursor: CursorParameter = None,
    unit: Annotated[
        Unit | None, QueryParameter(description="The currency that amounts are converted to; `stated`: none.")
    ] = None,
) -> DealSelection:
    """The selection of deals in the address of a page."""
    return DealSelection(deal_filters, sort, cursor, unit)


def feed_filters(selection: DealSelection) -> dict[str, str]:
    """The filters of the feed of the events of a list's deals."""
    return {name: value for name, value in selection.query.given().items() if name != "updated_since"}


class ListedAmount(Struct, frozen=True):
    """The amount of a pledge in a list, with what must stand beside it.

    Args:
        pledge: The pledge.
        amount: Its amount; None if it is not disclosed.
        basis: What the amount is of; None for a part, which is shown under its whole.
        is_part: Whether it is part of another amount of the same deal.
        part_of: What else it is part of: names of pledges and deals.
        flags: The rules of the flags on the amount.
    """

    pledge: str
    amount: Amount | None
    basis: str | None
    is_part: bool
    part_of: tuple[str, ...]
    flags: tuple[str, ...]


class DealTableRow(Struct, frozen=True):
    """A row of a table of deals, with its amounts: each part after its whole."""

    deal: DealListItem
    amounts: Sequence[ListedAmount]

    @property
    def has_ended(self) -> bool:
        """Whether the deal no longer stands: it was withdrawn, cancelled or superseded."""
        stage = self.deal.stage
        return bool(self.deal.superseded_by) or (stage is not None and stage.value in ENDED_STAGES)

    @property
    def without_amounts(self) -> Literal["superseded", "withdrawn", "not_disclosed"]:
        """Why the row shows no amounts: all that the deal states were superseded or withdrawn, or it states none."""
        stated = [pledge for pledge in self.deal.pledges if pledge.amount is not None]
        if any(pledge.superseded_by and pledge.status != "withdrawn" for pledge in stated):
            return "superseded"
        return "withdrawn" if stated else "not_disclosed"


class DealTable(Struct, frozen=True):
    """One page of a table of deals.

    Args:
        rows: The rows of this page.
        count: The number of deals of the whole list.
        ended: How many of them no longer stand: they were withdrawn, cancelled or superseded.
        next: The cursor of the next page; None after the last.
    """

    rows: list[DealTableRow]
    count: int
    ended: int
    next: str | None


class Facet(Struct, frozen=True):
    """A filter with its most common values: each value, its number of deals, and its name."""

    name: str
    values: list[tuple[str, int, str]]


def deal_rows(deals: Sequence[DealListItem]) -> list[DealTableRow]:
    """The rows of deals in a table."""
    return [_row(deal) for deal in deals]


def _row(deal: DealListItem) -> DealTableRow:
    listed: list[tuple[tuple[int, int], ListedAmount]] = []
    places = {pledge.pledge: place for place, pledge in enumerate(deal.pledges)}
    for pledge in deal.pledges:
        if pledge.status == "withdrawn" or pledge.superseded_by:
            continue
        own = [whole.removeprefix(f"{deal.deal}/") for whole in pledge.part_of if whole.startswith(f"{deal.deal}/")]
        wholes = [places[whole] for whole in own if whole in places]
        amount = ListedAmount(
            pledge.pledge,
            msgspec.convert(pledge.amount, Amount, from_attributes=True) if pledge.amount else None,
            None if wholes and pledge.amount_basis != "annual" else pledge.amount_basis,
            bool(wholes),
            tuple(whole for whole in pledge.part_of if not whole.startswith(f"{deal.deal}/")),
            pledge.flags,
        )
        place = places[pledge.pledge]
        listed.append(((wholes[0], place + 1) if wholes else (place, 0), amount))
    return DealTableRow(deal, [amount for _, amount in sorted(listed, key=lambda one: one[0])])


async def deal_table(
    page: PageRequest, portfolio_queries: PortfolioQueries, selection: DealSelection, rates: Rates
) -> DealTable:
    """One page of the table of selected deals, at the point of its first page."""
    start = decode_cursor(selection.cursor, selection.query)
    point = await portfolio_queries.point(start.fix(page.as_of))
    selected = await selection.at(portfolio_queries, point)
    order = read_order(selection.sort, selection.query.q, portfolio_queries.weights(rates, point.day), page.language)
    found = await portfolio_queries.page(point, selected, order, start.place, PAGE_SIZE, rates)
    count = await portfolio_queries.count(point, selected)
    ended = await portfolio_queries.count_ended(point, selected)
    return DealTable(deal_rows(found.deals), count, ended, encode_cursor(point, selection.query, found.next))


def facet_value(formatter: ValueFormatter, facet: str, value: str, names: Mapping[str, str]) -> str:
    """The name of a value of a facet."""
    match facet:
        case "organization":
            return names.get(value, value)
        case "region":
            return formatter.figures.place(value)
        case "currency":
            return formatter.figures.currency(value)
        case _ if facet in ITEM_FILTERS:
            return formatter.words.label(f"{facet}_kind", value)
        case "amount_min" | "amount_max" | "metric_min" | "metric_max" | "share_min" | "share_max":
            return formatter.figures.number(value)
        case "classification" | "identifier" | "metric_unit" | "updated_since":
            return value
        case _:
            return formatter.words.label(facet, value)


def filter_texts(formatter: ValueFormatter, selection: DealSelection, names: Mapping[str, str]) -> list[str]:
    """The filters of a selection by their names and values, the words of a search in quotation marks."""
    found = [
        f"{formatter.words.label('facet', name)}: {facet_value(formatter, name, value, names)}"
        for name, value in sorted(selection.filters.items())
    ]
    return [*found, *([f"“{selection.query.q}”"] if selection.query.q else [])]


def listed_deals(formatter: ValueFormatter, selection: DealSelection, names: Mapping[str, str]) -> str:
    """What a page lists, for its citation: all deals, or those that its scope, filters and keyword select."""
    if not selection.query.given():
        return formatter.words.gettext(N_("all deals"))
    found = filter_texts(formatter, selection, names)
    return formatter.words.translate(N_("deals (%(filters)s)"), filters="; ".join(found))


def facets_of(
    counts: Mapping[str, Mapping[str, int]],
    filters: Mapping[str, str],
    formatter: ValueFormatter,
    names: Mapping[str, str],
) -> list[Facet]:
    """The facets in their order, each with its selected value first and the most common ones after it."""

    facets: list[Facet] = []
    for facet in FACETS:
        values = shown_values(counts, filters, facet)
        if values:
            named = [(value, n, facet_value(formatter, facet, value, names)) for value, n in values]
            order = formatter.words.order
            facets.append(Facet(facet, sorted(named, key=lambda v: (v[0] != filters.get(facet), -v[1], order(v[2])))))
    return facets


def shown_values(
    counts: Mapping[str, Mapping[str, int]], filters: Mapping[str, str], facet: str
) -> list[tuple[str, int]]:
    """The values of a facet that are shown, with their numbers of deals: the selected one, then the most common."""
    values = counts.get(facet, {}).items()
    return sorted(values, key=lambda item: (item[0] != filters.get(facet), -item[1], item[0]))[:MAX_FACET_VALUES]
