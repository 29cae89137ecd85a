"""Rebuild the projections from the log while the service runs, or compare them with the log.

The projections write to tables of the same names in a schema of their own, while the live tables serve. Events that are
recorded meanwhile are caught up with, the last ones under the log's lock. The same transaction replaces the live
tables, so that every query sees either the old ones or the new ones. After an interruption the old tables serve, and
the next rebuild drops what was left behind. Needs the role that owns the tables.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from registry.errors import RegistryError
from registry.events import log_lock, store, write_batch
from registry.events.types import Recorded
from registry.events.write_batch import WriteBatch
from registry.infra.postgres import Connection
from registry.projections import PROJECTIONS
from registry.projections.projection import Projection
from registry.projections.stream_cache import fold_stream

SCHEMA = "rebuilding"

# One rebuild at a time. The number is arbitrary and must never change.
TRY_REBUILD_LOCK = "SELECT pg_try_advisory_lock(5211960233814370061)"

CLEAR = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"

CREATE = f"CREATE TABLE {SCHEMA}.{{table}} (LIKE public.{{table}} INCLUDING ALL EXCLUDING INDEXES)"

# What LIKE does not copy: keys and indexes with their names, storage options, grants.
CONSTRAINTS = """
SELECT format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', $2::text, $1::text, conname, pg_get_constraintdef(oid))
  FROM pg_constraint
 WHERE conrelid = ('public.' || $1)::regclass AND contype IN ('p', 'u', 'x')
"""

INDEXES = """
SELECT pg_get_indexdef(indexrelid)
  FROM pg_index
 WHERE indrelid = ('public.' || $1)::regclass AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)
"""

OPTIONS = """
SELECT format('ALTER TABLE %I.%I SET (%s)', $2::text, $1::text, array_to_string(reloptions, ', '))
  FROM pg_class
 WHERE oid = ('public.' || $1)::regclass AND reloptions IS NOT NULL
"""

RIGHTS = """
SELECT format('GRANT %s ON %I.%I TO %s', a.privilege_type, $2::text, $1::text,
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
  FROM pg_class AS c, aclexplode(c.relacl) AS a
 WHERE c.oid = ('public.' || $1)::regclass
"""

KEY = """
SELECT array_agg(quote_ident(a.attname) ORDER BY k.place)
  FROM pg_index AS i, unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
       JOIN pg_attribute AS a ON a.attnum = k.number
 WHERE i.indrelid = ('public.' || $1)::regclass AND i.indisprimary AND a.attrelid = i.indrelid
   AND k.place <= i.indnkeyatts
"""

DIFFERENCES = f"""
SELECT jsonb_build_array({{key}}) AS key, to_jsonb(live) AS live, to_jsonb(rebuilt) AS rebuilt
  FROM public.{{table}} AS live
       FULL JOIN {SCHEMA}.{{table}} AS rebuilt USING ({{key}})
 WHERE live IS DISTINCT FROM rebuilt
 ORDER BY {{key}}
"""  # noqa: S608 - the tables' own names

SWAP_TABLES = f"""
DROP TABLE public.{{table}};
ALTER TABLE {SCHEMA}.{{table}} SET SCHEMA public;
"""

# The streams whose sizes are read at once, and the events that are folded at once: enough for few round trips, and
# little memory.
STREAMS_AT_ONCE = 500
EVENTS_AT_ONCE = 5_000

# The last events, fewer than this, are caught up with under the log's lock.
FINAL_CATCH_UP_EVENTS = 500

# While a long query reads a live table, the replacement waits and nothing is recorded. So it waits only briefly, and
# tries often: for less than the second after which Postgres reports a deadlock with a query that holds one table and
# waits for another.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '100ms'"
LOCK = "LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"
TRIES = 120
PAUSE = 0.5

Progress = Callable[[int, int], None]
"""Called with the number of events that are done, and with their total number."""


class RebuildRunning(RegistryError):
    """Another process is rebuilding the projections."""

    code = "rebuild_running"


class TablesInUse(RegistryError):
    """The rebuilt tables could not replace the live ones, which were locked by readers."""

    code = "tables_in_use"


class Difference(Struct, frozen=True):
    """A row that differs from the log. `actual` is None for a missing row, `expected` for one that should not exist."""

    table: str
    key: list[Any]
    actual: dict[str, Any] | None
    expected: dict[str, Any] | None

    @property
    def columns(self) -> list[str]:
        """The columns that differ."""
        if self.actual is None or self.expected is None:
            return []
        return [name for name, value in self.expected.items() if self.actual[name] != value]


def _no_progress(done: int, total: int) -> None:
    pass


async def rebuild(
    owner_url: str, progress: Progress = _no_progress, projections: Sequence[Projection] = PROJECTIONS
) -> int:
    """Rebuild the projections and replace the live tables.

    Returns:
        The log's position at the replacement.

    Raises:
        RebuildRunning: Another process is rebuilding.
        TablesInUse: The live tables stayed in use for a minute.
        asyncpg.PostgresError, OSError: The database failed. The live tables are unchanged.
    """
    async with _shadow_tables(owner_url, projections) as connection:
        known = await _build(owner_url, connection, projections, progress)
        for _ in range(TRIES):
            try:
                async with log_lock.hold_log_lock(connection, patience=60):
                    reached = await _catch_up(connection, projections, known)
                    await connection.execute(LOCK_TIMEOUT)
                    live = ", ".join(f"public.{table}" for table in _tables(projections))
                    await connection.execute(LOCK.format(tables=live))
                    for table in _tables(projections):
                        await connection.execute(SWAP_TABLES.format(table=table))
                return reached
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(PAUSE)
        raise TablesInUse


async def compare(
    owner_url: str, progress: Progress = _no_progress, projections: Sequence[Projection] = PROJECTIONS
) -> AsyncIterator[Difference]:
    """Rebuild the projections beside the live tables, yield each row that differs, and change nothing."""
    async with _shadow_tables(owner_url, projections) as connection:
        known = await _build(owner_url, connection, projections, progress)
        other = await asyncpg.connect(owner_url)
        try:
            snapshot = connection.transaction(isolation="repeatable_read", readonly=True)
            # Under the log's lock, so that both sides have the same last event in the snapshot.
            async with log_lock.hold_log_lock(other, patience=60):
                await _catch_up(connection, projections, known)
                await snapshot.start()
                await write_batch.head(connection)
        finally:
            await other.close()
        try:
            for table in _tables(projections):
                key = ", ".join(await connection.fetchval(KEY, table))
                async for row in connection.cursor(DIFFERENCES.format(table=table, key=key)):
                    yield Difference(table, *(msgspec.json.decode(value or "null") for value in row))
        finally:
            await snapshot.rollback()


def _tables(projections: Sequence[Projection]) -> Iterator[str]:
    return (table for projection in projections for table in projection.tables)


@asynccontextmanager
async def _shadow_tables(owner_url: str, projections: Sequence[Projection]) -> AsyncIterator[Connection]:
    """A connection on which the tables' names mean empty tables beside the live ones, which are dropped at the end."""
    settings = {"application_name": "registry rebuild", "timezone": "UTC", "search_path": f"{SCHEMA}, public"}
    connection = await asyncpg.connect(owner_url, server_settings=settings)
    try:
        if not await connection.fetchval(TRY_REBUILD_LOCK):
            raise RebuildRunning
        await connection.execute(CLEAR)
        async with connection.transaction():
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
            for table in _tables(projections):
                await _create(connection, table)
        yield connection
        await connection.execute(CLEAR)
    finally:
        # After a failure the tables stay, because the server may be gone. The next rebuild drops them.
        await connection.close()


async def _create(connection: Connection, table: str) -> None:
    """Create an empty table with the keys, options and grants of the live one."""
    await connection.execute(CREATE.format(table=table))
    for statements in (CONSTRAINTS, OPTIONS, RIGHTS):
        for row in await connection.fetch(statements, table, SCHEMA):
            await connection.execute(row[0])


async def _index(connection: Connection, table: str) -> None:
    """Create the live table's other indexes, which is faster on a full table than while it is filled."""
    for row in await connection.fetch(INDEXES, table):
        await connection.execute(row[0].replace(f" ON public.{table} ", f" ON {SCHEMA}.{table} ", 1))


async def _build(owner_url: str, connection: Connection, projections: Sequence[Projection], progress: Progress) -> int:
    """Fill the tables from the log and catch up until few events are left. Returns the position that was reached."""
    known = (await write_batch.head(connection)).position
    # Streams have no reference cycles and are dropped after their rows are written: a collection would find nothing.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        await _fill(owner_url, connection, projections, known, progress)
    finally:
        if was_enabled:
            gc.enable()
    for table in _tables(projections):
        await _index(connection, table)
    while True:
        reached = await _catch_up(connection, projections, known)
        if reached - known < FINAL_CATCH_UP_EVENTS:
            break
        known = reached
    for table in _tables(projections):
        # Without statistics, Postgres chooses slow plans.
        await connection.execute(f"ANALYZE {SCHEMA}.{table}")
    return reached


async def _fill(
    owner_url: str, connection: Connection, projections: Sequence[Projection], total: int, progress: Progress
) -> None:
    """Write the rows of all streams. A chunk is read and folded while the one before it is written."""
    done, after = 0, ""
    writing: asyncio.Future[None] | None = None
    reading = await asyncpg.connect(owner_url)
    try:
        while sizes := await store.stream_sizes(reading, after, STREAMS_AT_ONCE):
            after = sizes[-1][0]
            for names, events in _chunks(sizes):
                writes = _project(projections, await store.streams(reading, names))
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(writes.execute(connection))
                done += events
                progress(min(done, total), total)
        if writing is not None:
            await writing
    finally:
        if writing is not None and not writing.done():
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await reading.close()


def _chunks(sizes: Sequence[tuple[str, int]]) -> Iterator[tuple[list[str], int]]:
    """Chunks of streams with few events together; a long stream is a chunk of its own."""
    names: list[str] = []
    events = 0
    for name, size in sizes:
        if names and events + size > EVENTS_AT_ONCE:
            yield names, events
            names, events = [], 0
        names.append(name)
        events += size
    if names:
        yield names, events


async def _catch_up(connection: Connection, projections: Sequence[Projection], known: int) -> int:
    """Rebuild the streams with events after `known`. Returns the position that was reached."""
    head = (await write_batch.head(connection)).position
    names = sorted(await store.streams_changed(connection, known, head))
    for start in range(0, len(names), STREAMS_AT_ONCE):
        streams = await store.streams(connection, names[start : start + STREAMS_AT_ONCE])
        # Holding the log's lock, the connection is in a transaction already.
        async with nullcontext() if connection.is_in_transaction() else connection.transaction():
            await _project(projections, streams, delete=True).execute(connection)
    return head


def _project(
    projections: Sequence[Projection], streams: Mapping[str, Sequence[Recorded]], *, delete: bool = False
) -> WriteBatch:
    """The rows of these streams; with `delete`, in place of those they have."""
    folded = [fold_stream(name, events) for name, events in streams.items() if events]
    writes = WriteBatch()
    for projection in projections:
        if delete:
            projection.delete_rows(folded, writes)
        projection.rebuild(folded, writes)
    return writes
