"""Deals, their items and events as files for spreadsheets and data frames: CSV, NDJSON, Excel, Parquet."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from registry.exports.csv import CsvWriter
from registry.exports.files import TableWriter, stream_table
from registry.exports.parquet import ParquetWriter
from registry.exports.portfolio import portfolio_file, require_open_file
from registry.exports.rows import COLUMNS, EVENTS, ExportPage, Kind, column_names, deal_pledges
from registry.exports.xlsx import XlsxWriter
from registry.infra import freeing
from registry.schemas import encode, encode_long, exported_row


class Format(Struct, frozen=True):
    """A file format.

    Attributes:
        media_type: Its media type.
        writer: Makes a writer of the table of events. None: the file has the JSON of each event on a line.
    """

    media_type: str
    writer: Callable[[], TableWriter] | None


FORMATS: dict[str, Format] = {
    "csv": Format("text/csv", lambda: CsvWriter(column_names("events"))),
    "ndjson": Format("application/x-ndjson", None),
    "xlsx": Format(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", lambda: XlsxWriter(EVENTS, "events")
    ),
    "parquet": Format("application/vnd.apache.parquet", lambda: ParquetWriter(EVENTS)),
}
"""The formats of exported files, by the end of a file's name."""


async def export_lines(kind: Kind, pages: AsyncIterator[ExportPage]) -> AsyncIterator[bytes]:
    """Stream the JSON of each deal, pledge or event on a line, while pages of deals or of events are read."""
    async for page in pages:
        yield await asyncio.to_thread(_lines, kind, page)
        # A deal may have thousands of pledges and other items.
        freeing.once_unused(page)
        del page


async def export_rows(pages: AsyncIterator[Sequence[Any]]) -> AsyncIterator[bytes]:
    """Stream the JSON of events from pages of rows of the log."""
    async for page in pages:
        yield await asyncio.to_thread(lambda page: b"".join(encode(exported_row(row)) + b"\n" for row in page), page)


async def export_events(format: str, pages: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Stream a file of events, in a format of tables, while its pages are read."""
    writer = FORMATS[format].writer
    assert writer is not None
    async for part in stream_table(writer(), pages):
        yield part


async def with_mark(file: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Stream a file after a byte order mark, from which Excel knows that CSV is UTF-8."""
    yield codecs.BOM_UTF8
    async for part in file:
        yield part


def _lines(kind: Kind, page: ExportPage) -> bytes:
    if kind == "pledges":
        lines = (encode({"deal": deal.deal, **msgspec.to_builtins(pledge)}) for deal, pledge in deal_pledges(page))
    else:
        lines = ((encode_long if kind == "deals" else encode)(item) for item in page)
    return b"".join(line + b"\n" for line in lines)
