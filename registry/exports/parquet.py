"""Tables as Apache Parquet. Needs the library pyarrow (the extra `parquet`)."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence

from registry.exports.files import read_chunks
from registry.exports.rows import Column, Row


def has_parquet() -> bool:
    """Whether pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


class ParquetWriter:
    """Write a table as Parquet, a row group for each page, to a temporary file."""

    def __init__(self, columns: Sequence[Column]) -> None:
        import pyarrow
        import pyarrow.parquet

        types = {"text": pyarrow.string(), "integer": pyarrow.int64(), "boolean": pyarrow.bool_()}
        self._schema = pyarrow.schema([(column.name, types[column.type]) for column in columns])
        self._batch = pyarrow.RecordBatch.from_pylist
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - discard() closes it
        self._writer = pyarrow.parquet.ParquetWriter(self._file, self._schema)

    def write(self, rows: Sequence[Row]) -> bytes:
        """Add rows. Nothing of the file can be sent before its end."""
        if rows:
            items = [dict(zip(self._schema.names, row, strict=True)) for row in rows]
            self._writer.write_batch(self._batch(items, schema=self._schema))
        return b""

    def end(self) -> Iterator[bytes]:
        """Return the file."""
        self._writer.close()
        yield from read_chunks(self._file)

    def discard(self) -> None:
        """Close the temporary file."""
        self._writer.close()
        self._file.close()
