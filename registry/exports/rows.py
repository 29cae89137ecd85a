"""The columns of the exported tables, and the rows of events; DuckDB makes those of deals and pledges.

A cell is empty where nothing was stated, never zero. Amounts are exact decimals and stay text, so that no reader rounds
them. Dates and times are spelled as in JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from registry.projections.columnar.exported import DEALS, PLEDGES
from registry.schemas import DealListItem, ExportedEvent, ListedPledge, encode

Kind = Literal["deals", "pledges", "events"]
ColumnType = Literal["text", "integer", "boolean"]
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
        value: Gets the cell from the JSON of an event; None for the columns that DuckDB makes.
        type: The type of the cells.
    """

    name: str
    field: str
    value: Callable[[Any], Cell] | None
    type: ColumnType = "text"


def column_names(kind: Kind) -> tuple[str, ...]:
    """The headings of a table."""
    return tuple(column.name for column in COLUMNS[kind])


def event_rows(page: Iterable[ExportedEvent]) -> list[Row]:
    """The rows of a page of events."""
    items = (msgspec.to_builtins(event) for event in page)
    return [tuple(column.value(item) for column in COLUMNS["events"] if column.value) for item in items]


def deal_pledges(page: Iterable[Any]) -> list[DealPledge]:
    """The pledges of a page, each with its deal."""
    return [(deal, pledge) for deal in page for pledge in deal.pledges]


def _of_portfolio(columns: Iterable[str], **fields: str) -> tuple[Column, ...]:
    """The columns that DuckDB makes; `fields` of those that do not have a field's name."""
    types: dict[str, ColumnType] = {"price_year": "integer"}
    return tuple(Column(name, fields.get(name, name), None, types.get(name, "text")) for name in columns)


def _of_event(name: str, type: ColumnType = "text") -> Column:
    return Column(name, name, lambda event: event.get(name), type)


def _json_of_event(name: str) -> Column:
    def value(event: Mapping[str, Any]) -> str | None:
        return encode(event[name]).decode() if event[name] else None

    return Column(name, name, value)


AMOUNT_COLUMNS = ("qualifier", "value", "low", "high", "currency", "wording", "figure", "price_year", "stated_as")

COLUMNS: dict[Kind, tuple[Column, ...]] = {
    "deals": _of_portfolio(
        DEALS,
        title_en="title",
        title_ko="title",
        stage_basis="stage",
        stage_since="stage",
        stage_observed_on="stage",
        organizations="parties",
        places="sites",
        amounts="pledges",
    ),
    "pledges": _of_portfolio(
        PLEDGES, title_en="title", title_ko="title", **dict.fromkeys(AMOUNT_COLUMNS, "amount"), until="horizon"
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
