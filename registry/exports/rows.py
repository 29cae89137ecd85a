"""The columns of the exported tables, and their rows.

A cell is empty where nothing was stated, never zero. Amounts are exact decimals and stay text, so that no reader rounds
them. Dates and times are spelled as in JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from registry.schemas import AmountResponse, DealListItem, ExportedEvent, ListedPledge, encode

Kind = Literal["deals", "pledges", "events"]
Cell: TypeAlias = str | int | bool | None
Row: TypeAlias = tuple[Cell, ...]
ExportPage: TypeAlias = Sequence[DealListItem] | Sequence[ExportedEvent]
"""Deals or events."""

DealPledge: TypeAlias = tuple[DealListItem, ListedPledge]


class Column(Struct, frozen=True):
    """A column of a table.

    Attributes:
        name: The heading.
        field: The field of the deal, of the pledge or of the event that the cell shows.
        value: Gets the cell from a deal, from a deal and one of its pledges, or from the JSON of an event.
        type: The type of the cells.
    """

    name: str
    field: str
    value: Callable[[Any], Cell]
    type: Literal["text", "integer", "boolean"] = "text"


def column_names(kind: Kind) -> tuple[str, ...]:
    """The headings of a table."""
    return tuple(column.name for column in COLUMNS[kind])


def rows(kind: Kind, page: ExportPage) -> list[Row]:
    """The rows of a page of deals or events; of pledges, as many rows as the deals have pledges."""
    items: Iterable[Any]
    match kind:
        case "deals":
            items = page
        case "pledges":
            items = deal_pledges(page)
        case "events":
            items = (msgspec.to_builtins(event) for event in page)
    return [tuple(column.value(item) for column in COLUMNS[kind]) for item in items]


def deal_pledges(page: Iterable[Any]) -> list[DealPledge]:
    """The pledges of a page, each with its deal."""
    return [(deal, pledge) for deal in page for pledge in deal.pledges]


def _titles(title: Callable[[Any], Any]) -> tuple[Column, ...]:
    def in_language(language: str) -> Callable[[Any], Cell]:
        return lambda item: (title(item) or {}).get(language)

    return tuple(Column(f"title_{language}", "title", in_language(language)) for language in ("en", "ko"))


def _list(items: Iterable[str]) -> str | None:
    return "; ".join(items) or None


def _relations(deal: DealListItem) -> str | None:
    return _list(f"{relation.relation} {relation.deal}" for relation in deal.relations)


def _amounts(deal: DealListItem) -> str | None:
    return _list(_amount_text(pledge, pledge.amount) for pledge in deal.pledges if pledge.amount is not None)


def _amount_text(pledge: ListedPledge, amount: AmountResponse) -> str:
    """A pledge's amount in one cell, with everything that keeps it from being added to others."""
    numbers = amount.value or " to ".join(number for number in (amount.low, amount.high) if number)
    status = "withdrawn" if pledge.status == "withdrawn" else None
    parts = (amount.qualifier, amount.currency, numbers, pledge.amount_basis, pledge.commitment, status)
    return f"{pledge.pledge}: {' '.join(part for part in parts if part)}"


def _of_pledge(name: str) -> Column:
    return Column(name, name, lambda item: getattr(item[1], name))


def _of_amount(name: str) -> Column:
    return Column(name, "amount", lambda item: getattr(item[1].amount, name, None))


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


def _classifications(deal: DealListItem) -> str | None:
    axes = (deal.classifications or {}).items()
    return _list(f"{axis}:{code}" for axis, codes in axes for code in codes)


def _stated_as(item: DealPledge) -> str | None:
    amount = item[1].amount
    return _list(f"{other.currency} {other.value}" for other in amount.stated_as) if amount is not None else None


def _of_event(name: str, type: Literal["text", "integer", "boolean"] = "text") -> Column:
    return Column(name, name, lambda event: event.get(name), type)


def _json_of_event(name: str) -> Column:
    def value(event: Mapping[str, Any]) -> str | None:
        return encode(event[name]).decode() if event[name] else None

    return Column(name, name, value)


COLUMNS: dict[Kind, tuple[Column, ...]] = {
    "deals": (
        Column("deal", "deal", lambda deal: deal.deal),
        *_titles(lambda deal: deal.title),
        Column("kind", "kind", lambda deal: deal.kind),
        Column("stage", "stage", lambda deal: deal.stage.value if deal.stage else None),
        Column("stage_basis", "stage", lambda deal: deal.stage.basis if deal.stage else None),
        Column("stage_since", "stage", lambda deal: _day(deal.stage.since) if deal.stage else None),
        Column("stage_observed_on", "stage", lambda deal: _day(deal.stage.observed_on) if deal.stage else None),
        Column("sectors", "sectors", lambda deal: _list(deal.sectors)),
        Column("classifications", "classifications", _classifications),
        Column("identifiers", "identifiers", lambda deal: _list(f"{i.scheme}:{i.value}" for i in deal.identifiers)),
        Column("organizations", "parties", lambda deal: _list(deal.organizations)),
        Column("places", "sites", lambda deal: _list(deal.places)),
        Column("amounts", "pledges", _amounts),
        Column("relations", "relations", _relations),
    ),
    "pledges": (
        Column("deal", "deal", lambda item: item[0].deal),
        *_titles(lambda item: item[0].title),
        Column("stage", "stage", lambda item: item[0].stage.value if item[0].stage else None),
        _of_pledge("pledge"),
        _of_pledge("status"),
        _of_pledge("commitment"),
        _of_pledge("amount_basis"),
        _of_amount("qualifier"),
        _of_amount("value"),
        _of_amount("low"),
        _of_amount("high"),
        _of_amount("currency"),
        _of_amount("wording"),
        _of_amount("figure"),
        _of_amount("price_year"),
        Column("stated_as", "amount", _stated_as),
        Column("by", "by", lambda item: _list(item[1].by)),
        Column("announced_on", "announced_on", lambda item: item[1].announced_on.isoformat()),
        Column("until", "horizon", lambda item: item[1].until),
    ),
    "events": (
        _of_event("position", "integer"),
        _of_event("recorded_at"),
        _of_event("recorded_by"),
        _of_event("approved_by"),
        _of_event("deal"),
        _of_event("organization"),
        _of_event("principal"),
        _of_event("version", "integer"),
        _of_event("id"),
        _of_event("type"),
        _of_event("effective_on"),
        _of_event("date"),
        _of_event("effective_precision"),
        _of_event("published_on"),
        _json_of_event("event"),
        _json_of_event("sources"),
        _of_event("note"),
        _of_event("erased", "boolean"),
        _of_event("leaf_hash"),
    ),
}
