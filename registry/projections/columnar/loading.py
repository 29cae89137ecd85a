"""Load the fact tables whole: Postgres writes them as CSV, DuckDB reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from duckdb import DuckDBPyConnection

from registry.infra.postgres import Connection
from registry.projections.columnar.tables import CREATE_EVENTS, EVENTS, CopiedTable
from registry.projections.point import END_OF_LOG

T = TypeVar("T")

COPY_TABLE = "SELECT {columns} FROM {table} AS t"

# The events after a position, up to another one.
COPY_EVENTS = """
SELECT substr(stream, 6), position, effective_on, published_on, recorded_at,
       type = 'event_corrected'
  FROM events
 WHERE stream LIKE 'deal/%'
   AND position > $1
   AND position <= $2
 ORDER BY position
"""

READ_CSV = """
read_csv($file, columns = {columns}, auto_detect = false, header = false, delim = ',', quote = '"', escape = '"',
         nullstr = '', allow_quoted_nulls = false)
"""

EVENT_COLUMNS = ("deal", "position", "effective_on", "published_on", "recorded_at", "redates")

TYPED_EVENTS = """
deal, position::BIGINT, effective_on::DATE, published_on::DATE, recorded_at::TIMESTAMPTZ, redates::BOOLEAN
"""

TABLE_SECONDS = 3600.0
"""Seconds that sending a table may take: more than the statements that answer requests may."""


async def load_tables(
    connection: Connection,
    database: DuckDBPyConnection,
    tables: Sequence[CopiedTable],
    scratch: Callable[[str], Path],
) -> None:
    """Create the tables and load their rows, in the transactions that both databases are in.

    Args:
        connection: Postgres.
        database: The copy.
        tables: The fact tables.
        scratch: Makes the path of a temporary file.
    """
    # Postgres waits while DuckDB reads the last table.
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    database.execute(CREATE_EVENTS)
    for table in tables:
        database.execute(table.create)
    sources: list[tuple[str, str, tuple[int, ...], str, tuple[str, ...]]] = [
        (table.name, COPY_TABLE.format(table=table.name, columns=table.select), (), table.typed, table.sent)
        for table in tables
    ]
    sources.append((EVENTS, COPY_EVENTS, (0, END_OF_LOG), TYPED_EVENTS, EVENT_COLUMNS))
    reading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reading.set_result(None)
    try:
        for name, select, given, typed, sent in sources:
            # Postgres sends a table while DuckDB reads the one before.
            file = scratch(name)
            # Opened here, because asyncpg leaves a file that it opens open when it is cancelled.
            with file.open("wb") as output:
                await connection.copy_from_query(select, *given, output=output, format="csv", timeout=TABLE_SECONDS)
            await asyncio.shield(reading)
            read = READ_CSV.format(columns=dict.fromkeys(sent, "VARCHAR"))
            insert = f"INSERT INTO {name} SELECT {typed} FROM {read}"
            reading = asyncio.ensure_future(asyncio.to_thread(_insert, database, insert, file))
    finally:
        # A thread cannot be stopped, so it must not outlive the database that it writes to.
        await asyncio.gather(asyncio.shield(reading), return_exceptions=True)
    reading.result()


async def run_to_end(work: Callable[[], T]) -> T:
    """Run work in a thread and wait for its end even if this task is cancelled: a thread cannot be stopped."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _insert(database: DuckDBPyConnection, insert: str, file: Path) -> None:
    # A statement takes DuckDB milliseconds, and a registry without deals has no rows.
    if file.stat().st_size:
        database.execute(insert, {"file": str(file)})
    file.unlink(missing_ok=True)
