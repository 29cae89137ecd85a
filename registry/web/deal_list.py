"""Rows of deals as tables show them: decoded, sorted and paged, with facets and places counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from registry.api.parameters import CurrencyFilter, Cursor, DealFilters, SearchText
from registry.domain.history import AsOf
from registry.domain.stages import LADDER
from registry.events.currencies import Currency
from registry.events.values import Amount
from registry.projections.deal_lists import Page
from registry.queries.portfolio import PortfolioQueries
from registry.schemas import DealListItem, decode
from registry.web.format import ValueFormatter
from registry.web.request import PageRequest

# The most deals that are sorted by anything but their slug, counted and mapped.
MAX_SORTED = 1_000
PAGE_SIZE = 50
MAX_FACET_VALUES = 12
FACETS = ("stage", "region", "sector", "organization", "commitment", "currency", "role", "kind")

Sort = Literal["deal", "-deal", "amount", "-amount", "stage", "-stage", "since", "-since"]
Unit = Literal["stated", Currency]

# Won for one unit: a rough size, only for putting amounts of different currencies in order.
_ROUGH_WON = {"USD": Decimal(1400), "EUR": Decimal(1400), "GBP": Decimal(1400)}


class DealSelection(Struct, frozen=True):
    """Which deals a page lists or adds up, and how it shows them.

    Args:
        filters: The filters by name.
        terms: The filters as index terms.
        q: Text that the slug or a title contains.
        sort: The order of the list.
        cursor: Where the page of the list begins.
        unit: The currency that amounts are converted to; None for the page's default.
    """

    filters: dict[str, str]
    terms: list[str]
    q: str | None = None
    sort: Sort = "deal"
    cursor: str = ""
    unit: Unit | None = None


def deal_selection(
    deal_filters: NamedDependency[DealFilters],
    currency: CurrencyFilter = None,
    q: SearchText = None,
    sort: Annotated[Sort, QueryParameter(description="The order of the list.")] = "deal",
    cursor: Cursor = None,
    unit: Annotated[
        Unit | None, QueryParameter(description="The currency that amounts are converted to; `stated`: none.")
    ] = None,
) -> DealSelection:
    """The selection of deals in the address of a page."""
    filters, terms = deal_filters.by_name(currency), deal_filters.terms(currency)
    return DealSelection(filters, terms, q, sort, cursor or "", unit)


class DealTableRow(Struct, frozen=True):
    """A row of a table of deals: its amounts with their bases, and its size for sorting."""

    deal: DealListItem
    amounts: Sequence[tuple[Amount | None, str | None]]
    size: Decimal


class DealTable(Struct, frozen=True):
    """One page of a table of deals.

    Args:
        deals: The deals of the whole list, at most `MAX_SORTED`.
        rows: The rows of this page.
        has_more: Whether the whole list is longer than `deals`.
        next: The cursor of the next page; None after the last.
    """

    deals: list[DealTableRow]
    rows: list[DealTableRow]
    has_more: bool
    next: str | None


class Facet(Struct, frozen=True):
    """A filter with its most common values: each value, its number of deals, and its name."""

    name: str
    values: list[tuple[str, int, str]]


class PlaceCount(Struct, frozen=True):
    """A place with the number of deals that have a site in it."""

    code: str
    deals: int

    @property
    def shade(self) -> int:
        """The shade of the place on the map."""
        return min(self.deals, 3)


def rough_size(value: Decimal | str | None, currency: str | None) -> Decimal:
    """An amount's rough size, only for putting amounts of different currencies in order."""
    return Decimal(value or 0) * _ROUGH_WON.get(currency or "", Decimal(1))


def deal_rows(page: Page) -> list[DealTableRow]:
    """The rows of a page of a list."""
    return [_row(decode(raw, DealListItem)) for raw in page.rows]


def _row(deal: DealListItem) -> DealTableRow:
    pledges = [pledge for pledge in deal.pledges if pledge.status != "withdrawn"]
    amounts = [
        (msgspec.convert(pledge.amount, Amount, from_attributes=True) if pledge.amount else None, pledge.amount_basis)
        for pledge in pledges
    ]
    sizes = [rough_size(a.value or a.high or a.low, a.currency) for a, _ in amounts if a is not None]
    return DealTableRow(deal, amounts, max(sizes, default=Decimal(0)))


async def deal_table(
    page: PageRequest,
    portfolio_queries: PortfolioQueries,
    axis: str,
    known: int,
    selection: DealSelection,
) -> DealTable:
    """One page of the table of selected deals."""
    terms, q, sort, cursor = selection.terms, selection.q, selection.sort, selection.cursor
    by_slug, descending = sort in ("deal", "-deal"), sort == "-deal"
    day = page.times.effective_on
    first = await portfolio_queries.page(axis, known, day, terms, q, "", MAX_SORTED, descending)
    deals = deal_rows(first)
    ordered = deals if by_slug else sorted_rows(deals, sort)
    start = next((i for i, row in enumerate(ordered, 1) if row.deal.deal == cursor), 0)
    has_more = first.next is not None
    if by_slug and has_more and cursor and start in (0, len(ordered)):
        beyond = await portfolio_queries.page(axis, known, day, terms, q, cursor, PAGE_SIZE, descending)
        return DealTable(deals, deal_rows(beyond), has_more, beyond.next)
    rows = ordered[start : start + PAGE_SIZE]
    if len(ordered) > start + PAGE_SIZE:
        return DealTable(deals, rows, has_more, rows[-1].deal.deal)
    return DealTable(deals, rows, has_more, first.next if by_slug else None)


def sorted_rows(rows: Sequence[DealTableRow], sort: Sort) -> list[DealTableRow]:
    """Rows by amount, stage or the date of the stage; rows without a value come last in either direction."""

    def value(row: DealTableRow) -> Any:
        stage = row.deal.stage
        match sort.removeprefix("-"):
            case "amount":
                return row.size or None
            case "stage":
                name = stage and stage.value
                return stage and (LADDER.index(name) if name in LADDER else len(LADDER))
            case _:
                return stage and stage.since

    with_value = [row for row in rows if value(row) is not None]
    return [
        *sorted(with_value, key=value, reverse=sort.startswith("-")),
        *(row for row in rows if value(row) is None),
    ]


def facets_of(
    counts: Mapping[str, Mapping[str, int]],
    filters: Mapping[str, str],
    formatter: ValueFormatter,
    names: Mapping[str, str],
) -> list[Facet]:
    """The facets in their order, each with its selected value first and the most common ones after it."""

    def name_of(facet: str, value: str) -> str:
        match facet:
            case "organization":
                return names.get(value, value)
            case "region":
                return formatter.figures.place(value)
            case "currency":
                return formatter.figures.currency(value)
            case _:
                return formatter.words.label(facet, value)

    facets: list[Facet] = []
    for facet in FACETS:
        values = sorted(
            counts.get(facet, {}).items(), key=lambda item: (item[0] != filters.get(facet), -item[1], item[0])
        )
        if values:
            named = [(value, n, name_of(facet, value)) for value, n in values[:MAX_FACET_VALUES]]
            facets.append(Facet(facet, named))
    return facets


def place_counts(rows: Sequence[DealTableRow]) -> list[PlaceCount]:
    """The number of deals with a site in each place, the most first."""
    counts = Counter(code for row in rows for code in row.deal.places)
    return [PlaceCount(code, n) for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def deals_abroad(places: Sequence[PlaceCount]) -> dict[str, int]:
    """The number of deals with a site in each country other than Korea, by its code."""
    counts: Counter[str] = Counter()
    for place in places:
        if place.code[:2] != "KR":
            counts[place.code[:2]] += place.deals
    return dict(counts)


def single_axis(as_of: AsOf) -> AsOf:
    """The point that a list is read at: a publication date takes precedence over a recording time or position."""
    return (
        as_of if as_of.published_on is None else AsOf(effective_on=as_of.effective_on, published_on=as_of.published_on)
    )
