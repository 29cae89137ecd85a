"""Tables as Apache Parquet, each column with its type. DuckDB writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import msgspec

from registry.exports.files import read_chunks
from registry.exports.rows import Row
from registry.exports.temporary import SPILL, temporary_file
from registry.projections.columnar.exported import copy_to_parquet
from registry.projections.columnar.exported_columns import ExportedColumn

TYPES = {"integer": "BIGINT", "boolean": "BOOLEAN", "date": "DATE", "datetime": "TIMESTAMPTZ"}
"""The types of DuckDB; of the other columns, the cells are text."""

MEMORY_LIMIT = "160MB"


class ParquetWriter:
    """Write a table as Parquet: its rows to a temporary file, from which DuckDB makes the table."""

    def __init__(self, columns: Sequence[ExportedColumn]) -> None:
        self._columns = columns
        self._rows = temporary_file()
        self._table = temporary_file()
        self._encoder = msgspec.json.Encoder()

    def write(self, rows: Sequence[Row]) -> bytes:
        """Add rows. Nothing of the file can be sent before its end."""
        names = [column.name for column in self._columns]
        self._rows.write(self._encoder.encode_lines([dict(zip(names, row, strict=True)) for row in rows]))
        return b""

    def end(self) -> Iterator[bytes]:
        """Return the file."""
        self._rows.flush()
        types = {column.name: TYPES.get(column.type, "VARCHAR") for column in self._columns}
        config: dict[str, Any] = {
            "memory_limit": MEMORY_LIMIT,
            "threads": 1,
            "temp_directory": f"{self._table.name}{SPILL}",
        }
        with duckdb.connect(config=config) as connection:
            rows = f"FROM read_json('{self._rows.name}', columns = {types}, format = 'newline_delimited')"
            copy_to_parquet(connection, rows, self._table.name)
        yield from read_chunks(self._table)

    def discard(self) -> None:
        """Delete the temporary files."""
        self._rows.close()
        self._table.close()
