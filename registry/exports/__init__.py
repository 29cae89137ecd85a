"""Deals, pledges and events as files for spreadsheets and data frames: CSV, NDJSON, Excel and Parquet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
from msgspec import Struct

from registry.exports.csv import CsvWriter
from registry.exports.files import TableWriter, stream_table
from registry.exports.parquet import ParquetWriter, has_parquet
from registry.exports.rows import COLUMNS, ExportPage, Kind, column_names, deal_pledges
from registry.exports.xlsx import XlsxWriter
from registry.schemas import encode


class Format(Struct, frozen=True):
    """A file format.

    Attributes:
        media_type: Its media type.
        writer: Makes a writer of a table. None: the file has the JSON of each deal, pledge or event on a line.
    """

    media_type: str
    writer: Callable[[Kind], TableWriter] | None


FORMATS: dict[str, Format] = {
    "csv": Format("text/csv", lambda kind: CsvWriter(column_names(kind))),
    "ndjson": Format("application/x-ndjson", None),
    "xlsx": Format(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        lambda kind: XlsxWriter(column_names(kind), kind),
    ),
    "parquet": Format("application/vnd.apache.parquet", lambda kind: ParquetWriter(COLUMNS[kind])),
}
"""The formats of exported files, by the end of a file's name."""


async def export_file(kind: Kind, format: str, pages: AsyncIterator[ExportPage]) -> AsyncIterator[bytes]:
    """Stream a file of deals, pledges or events while its pages are read.

    Args:
        kind: What the rows are.
        format: A key of `FORMATS`.
        pages: Pages of deals or of events.
    """
    writer = FORMATS[format].writer
    if writer is None:
        async for page in pages:
            yield b"".join(line + b"\n" for line in _lines(kind, page))
        return
    async for part in stream_table(writer(kind), kind, pages):
        yield part


def _lines(kind: Kind, page: ExportPage) -> list[bytes]:
    if kind != "pledges":
        return [encode(item) for item in page]
    return [encode({"deal": deal.deal, **msgspec.to_builtins(pledge)}) for deal, pledge in deal_pledges(page)]


__all__ = ["COLUMNS", "FORMATS", "Kind", "column_names", "export_file", "has_parquet"]
