"""The columns of the exported tables, and the rows of events; DuckDB makes the other rows.

A cell is empty where nothing was stated, never zero. Amounts are exact decimals: text, or a number of a format that has
exact ones. Dates and times are spelled as in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from registry.projections.columnar.exported_columns import TABLES, ExportedColumn
from registry.schemas import DealListItem, ExportedEvent, ListedPledge, encode

Kind: TypeAlias = str
"""What the rows of a table are: `deals`, a list of their items, or `events`."""

Cell: TypeAlias = str | int | bool | None
Row: TypeAlias = tuple[Cell, ...]
ExportPage: TypeAlias = Sequence[DealListItem] | Sequence[ExportedEvent]
"""Deals or events."""

DealPledge: TypeAlias = tuple[DealListItem, ListedPledge]

EVENTS = (
    ExportedColumn("position", "The event's number in the log, without gaps.", "integer"),
    ExportedColumn("recorded_at", "When the registry stored it.", "datetime"),
    ExportedColumn("recorded_by", "The id of the principal who recorded it."),
    ExportedColumn("approved_by", "The id of the principal who approved it, where a second one did."),
    ExportedColumn("deal", "The deal that it is about.", "code"),
    ExportedColumn("organization", "The organization that it is about.", "code"),
    ExportedColumn("principal", "The principal that it is about."),
    ExportedColumn("version", "Its number among the events of the deal, the organization or the principal.", "integer"),
    ExportedColumn("id", "Its id (UUID)."),
    ExportedColumn("type", "What kind of event it is.", "code"),
    ExportedColumn("effective_on", "The day from which it applies.", "date"),
    ExportedColumn("date", "The date as the source states it, where it states no day (EDTF)."),
    ExportedColumn("effective_precision", "How precise that date is.", "code"),
    ExportedColumn("published_on", "The earliest date of its sources, else the day of recording.", "date"),
    ExportedColumn("event", "What was announced.", "json"),
    ExportedColumn("sources", "The sources that it cites.", "json"),
    ExportedColumn("note", "Why it was recorded."),
    ExportedColumn("erased", "Whether its content was redacted.", "boolean"),
    ExportedColumn("leaf_hash", "Its leaf in the Merkle tree (RFC 6962 section 2.1), in hexadecimal.", "code"),
)

COLUMNS: dict[Kind, tuple[ExportedColumn, ...]] = {**TABLES, "events": EVENTS}
"""The columns of each table."""


def column_names(kind: Kind) -> tuple[str, ...]:
    """The headings of a table."""
    return tuple(column.name for column in COLUMNS[kind])


def event_rows(page: Iterable[ExportedEvent]) -> list[Row]:
    """The rows of a page of events."""
    items = (msgspec.to_builtins(event) for event in page)
    return [tuple(_cell(column, item.get(column.name)) for column in EVENTS) for item in items]


def deal_pledges(page: Iterable[Any]) -> list[DealPledge]:
    """The pledges of a page, each with its deal."""
    return [(deal, pledge) for deal in page for pledge in deal.pledges]


def _cell(column: ExportedColumn, value: Any) -> Cell:
    if column.type == "json":
        return encode(value).decode() if value else None
    cell: Cell = value
    return cell
