"""Deals, pledges and events as files for spreadsheets and data frames: CSV, NDJSON, Excel and Parquet."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from registry.exports.csv import CsvWriter
from registry.exports.files import TableWriter, stream_table
from registry.exports.parquet import ParquetWriter, has_parquet
from registry.exports.rows import COLUMNS, ExportPage, Kind, column_names, deal_pledges
from registry.exports.xlsx import XlsxWriter
from registry.schemas import encode

MEDIA_TYPES = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
"""The media type of each format."""


async def export_file(kind: Kind, format: str, pages: AsyncIterator[ExportPage]) -> AsyncIterator[bytes]:
    """Stream a file of deals, pledges or events while its pages are read.

    Args:
        kind: What the rows are.
        format: A key of `MEDIA_TYPES`. NDJSON has the JSON of each deal, pledge or event on a line.
        pages: Pages of deals or of events.
    """
    if format == "ndjson":
        async for page in pages:
            yield b"".join(line + b"\n" for line in _lines(kind, page))
        return
    async for part in stream_table(_writer(kind, format), kind, pages):
        yield part


def _lines(kind: Kind, page: ExportPage) -> list[bytes]:
    if kind != "pledges":
        return [encode(item) for item in page]
    return [encode({"deal": deal.deal, **msgspec.to_builtins(pledge)}) for deal, pledge in deal_pledges(page)]


def _writer(kind: Kind, format: str) -> TableWriter:
    match format:
        case "csv":
            return CsvWriter(column_names(kind))
        case "xlsx":
            return XlsxWriter(column_names(kind), kind)
        case "parquet":
            return ParquetWriter(COLUMNS[kind])
        case _:
            raise ValueError(f"there is no export format '{format}'")


__all__ = ["COLUMNS", "MEDIA_TYPES", "Kind", "column_names", "export_file", "has_parquet"]
