"""The fact tables as typed Parquet files, for engines that read files.

A publication is a folder with a file for each table, all of them at one log position. It is made beside the others and
then named `latest`, so a reader of `latest` never sees a part of one.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.tables import DERIVED, EVENTS
from registry.projections.facts import FACT_TABLES

LATEST = "latest"
MANIFEST = "manifest.json"

KEPT = 2
"""Publications that stay, so that a reader can finish the one before the latest."""

# A column that the copy has for its own questions, beside those of `DERIVED`.
_REDATES = "redates"
# Parquet has no infinity: an interval that has not ended ends on the last day.
_LAST_DAY = "least({0}, DATE '9999-12-31') AS {0}"
_COLUMNS = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = $1 ORDER BY column_index"
_COPY = "COPY (SELECT {columns} FROM {table} ORDER BY deal) TO '{file}' (FORMAT parquet, COMPRESSION zstd)"
_STATE = "SELECT position, leaf_hash FROM copied"


class Manifest(Struct, frozen=True, kw_only=True):
    """What a publication holds: the log up to `position`, whose last leaf has this hash; the rows of each table."""

    position: int
    leaf_hash: str | None
    written_at: datetime
    tables: dict[str, int]


async def publish(copy: ColumnarCopy, directory: Path) -> Manifest:
    """Write the fact tables as they are now; nothing is written if the latest publication has this position.

    Args:
        copy: A copy of the fact tables, which is brought up to the log first.
        directory: Where the publications are.

    Returns:
        What the latest publication holds.
    """
    head = await copy.head()
    latest = _manifest(directory / LATEST)
    if latest is not None and latest.position == head:
        return latest
    return await copy.ask(head, lambda cursor, _: _write(cursor, directory))


async def publications(copy: ColumnarCopy, directory: Path, seconds: float) -> AsyncIterator[Manifest]:
    """Publish again whenever `seconds` have passed and the log has grown."""
    position = -1
    while True:
        manifest = await publish(copy, directory)
        if manifest.position != position:
            position = manifest.position
            yield manifest
        await asyncio.sleep(seconds)


def _write(cursor: DuckDBPyConnection, directory: Path) -> Manifest:
    ((position, leaf_hash),) = cursor.execute(_STATE).fetchall()
    partial = directory / f".{position}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    rows = {name: _write_table(cursor, name, partial) for name in (*(t.name for t in FACT_TABLES), EVENTS)}
    manifest = Manifest(
        position=position,
        leaf_hash=leaf_hash.hex() if leaf_hash is not None else None,
        written_at=datetime.now(UTC),
        tables=rows,
    )
    (partial / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    folder = directory / str(position)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    link = directory / f".{LATEST}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(directory / LATEST)
    for old in sorted((path for path in directory.iterdir() if path.name.isdigit()), key=lambda p: int(p.name))[:-KEPT]:
        shutil.rmtree(old)
    return manifest


def _write_table(cursor: DuckDBPyConnection, table: str, folder: Path) -> int:
    internal = {*DERIVED.get(table, ()), _REDATES}
    columns = [
        _LAST_DAY.format(name) if type == "DATE" else name
        for name, type in cursor.execute(_COLUMNS, [table]).fetchall()
        if not name.endswith("_scale") and name not in internal
    ]
    file = str(folder / f"{table}.parquet").replace("'", "''")
    ((rows,),) = cursor.execute(_COPY.format(columns=", ".join(columns), table=table, file=file)).fetchall()
    return int(rows)


def _manifest(folder: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
