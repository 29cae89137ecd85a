"""Rebuild the projections from the log while the service runs, or compare them with the log.

The projections write to tables of the same names in a schema of their own, while the live tables serve. The rows that
differ are then found in a snapshot of both, and replaced in the live tables in one transaction under the log's lock, so
that every query sees either the old rows or the new ones. The live tables themselves stay, with their grants and the
publications that contain them, and a subscriber receives the rows that changed. After an interruption the old rows stay
in service, and the next rebuild drops the leftover tables. Needs the role that owns the tables.
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
from registry.events import log_lock, store, stream_heads, write_batch
from registry.events.types import Recorded
from registry.events.write_batch import WriteBatch
from registry.infra.postgres import Connection, Pool
from registry.projections import PROJECTIONS
from registry.projections.event_texts import EventTexts
from registry.projections.facts import DealFacts
from registry.projections.projection import Projection
from registry.projections.stream_cache import fold_stream

SCHEMA = "rebuilding"

# One rebuild at a time. The number is arbitrary and must never change.
TRY_REBUILD_LOCK = "SELECT pg_try_advisory_lock(5211960233814370061)"

CLEAR = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"

CREATE = f"CREATE TABLE {SCHEMA}.{{table}} (LIKE public.{{table}} INCLUDING ALL EXCLUDING INDEXES)"

# What LIKE does not copy: the primary keys, and the other indexes.
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

CREATE_DIFFERING_KEYS = f"""
CREATE TEMPORARY TABLE differing_{{table}} AS
SELECT {{key}}
  FROM public.{{table}} AS live
       FULL JOIN {SCHEMA}.{{table}} AS rebuilt USING ({{key}})
 WHERE live IS DISTINCT FROM rebuilt
"""  # noqa: S608 - the tables' own names

DELETE_DIFFERING_ROWS = """
DELETE FROM public.{table} AS live
 USING differing_{table} AS differing
 WHERE ({live_key}) = ({differing_key})
"""

INSERT_REBUILT_ROWS = f"""
INSERT INTO public.{{table}}
SELECT rebuilt.*
  FROM {SCHEMA}.{{table}} AS rebuilt
       JOIN differing_{{table}} USING ({{key}})
"""  # noqa: S608 - the tables' own names

# Copies of the fact tables reload the deals whose rows were replaced.
RESET_COPIES = "INSERT INTO public.fact_resets (deal) SELECT DISTINCT deal FROM differing_{table}"

# Copies are made again when texts of events were replaced.
RESET_COPIES_OF_TEXTS = "INSERT INTO public.fact_resets (deal) VALUES ('')"

# Tables that a migration left with the rows of an earlier schema (migration 0002).
SELECT_OUTDATED = "SELECT name FROM outdated_tables ORDER BY name"

DELETE_OUTDATED = "DELETE FROM public.outdated_tables WHERE name = ANY ($1::text[])"

DROP_DIFFERING_KEYS = "DROP TABLE differing_{table}"

# The streams whose sizes are read at once, and the events that are folded at once: enough for few round trips, and
# little memory.
STREAMS_AT_ONCE = 500
EVENTS_AT_ONCE = 5_000

# The last events, fewer than this, are caught up with under the log's lock.
FINAL_CATCH_UP_EVENTS = 500

# An event that is recorded between the comparison and the replacement follows from the rows that the comparison saw. If
# one of them differed, so may its own rows: they are found by the next comparison.
MAX_COMPARISONS = 10

Progress = Callable[[int, int], None]
"""Called with the number of events that are done, and with their total number."""


class RebuildRunning(RegistryError):
    """Another process is rebuilding the projections."""

    code = "rebuild_running"


class RebuildUnfinished(RegistryError):
    """After several replacements, rows still differed from the log."""

    code = "rebuild_unfinished"


class RowDifference(Struct, frozen=True):
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
    """Rebuild the projections and replace the rows that differ.

    Returns:
        The log's position at the last comparison, which found no difference.

    Raises:
        RebuildRunning: Another process is rebuilding.
        RebuildUnfinished: New differences came up while others were replaced.
        asyncpg.PostgresError, OSError: The database failed. The live tables are unchanged.
    """
    async with _shadow_tables(owner_url, projections) as connection:
        known = await _build(owner_url, connection, projections, progress)
        for _ in range(MAX_COMPARISONS):
            async with _snapshot(owner_url, connection, projections, known) as reached:
                differing = [
                    table for table in _tables(projections) if await _materialize_differing_keys(connection, table)
                ]
            if not differing:
                await connection.execute(DELETE_OUTDATED, list(_tables(projections)))
                return reached
            async with log_lock.hold_log_lock(connection, patience=60):
                known = await _catch_up(connection, projections, reached)
                for table in differing:
                    await _replace_differing_rows(connection, table)
        raise RebuildUnfinished


async def outdated_tables(connection: Connection | Pool) -> list[str]:
    """The tables whose rows are those of an earlier schema until a rebuild."""
    return [row["name"] for row in await connection.fetch(SELECT_OUTDATED)]


async def rebuild_outdated(owner_url: str, progress: Progress = _no_progress) -> list[str]:
    """Rebuild the projections with tables that a migration left with the rows of an earlier schema.

    Returns:
        These tables.

    Raises:
        RebuildRunning, RebuildUnfinished, asyncpg.PostgresError, OSError: As `rebuild`.
    """
    connection = await asyncpg.connect(owner_url, server_settings={"application_name": "registry rebuild"})
    try:
        tables = await outdated_tables(connection)
    finally:
        await connection.close()
    if tables:
        await rebuild(owner_url, progress, [one for one in PROJECTIONS if not set(tables).isdisjoint(one.tables)])
    return tables


async def _materialize_differing_keys(connection: Connection, table: str) -> bool:
    """Write the keys of the rows that differ to a temporary table. Returns whether there are any."""
    key = ", ".join(await connection.fetchval(KEY, table))
    status = await connection.execute(CREATE_DIFFERING_KEYS.format(table=table, key=key))
    if status == "SELECT 0":
        await connection.execute(DROP_DIFFERING_KEYS.format(table=table))
        return False
    return True


async def _replace_differing_rows(connection: Connection, table: str) -> None:
    columns = await connection.fetchval(KEY, table)
    names = {
        "table": table,
        "key": ", ".join(columns),
        "live_key": ", ".join(f"live.{column}" for column in columns),
        "differing_key": ", ".join(f"differing.{column}" for column in columns),
    }
    await connection.execute(DELETE_DIFFERING_ROWS.format(**names))
    await connection.execute(INSERT_REBUILT_ROWS.format(**names))
    if table in DealFacts.tables:
        await connection.execute(RESET_COPIES.format(table=table))
    elif table in EventTexts.tables:
        await connection.execute(RESET_COPIES_OF_TEXTS)
    await connection.execute(DROP_DIFFERING_KEYS.format(table=table))


async def compare(
    owner_url: str, progress: Progress = _no_progress, projections: Sequence[Projection] = PROJECTIONS
) -> AsyncIterator[RowDifference]:
    """Rebuild the projections beside the live tables, yield each row that differs, and change nothing."""
    async with _shadow_tables(owner_url, projections) as connection:
        known = await _build(owner_url, connection, projections, progress)
        async with _snapshot(owner_url, connection, projections, known):
            for table in _tables(projections):
                key = ", ".join(await connection.fetchval(KEY, table))
                async for row in connection.cursor(DIFFERENCES.format(table=table, key=key)):
                    yield RowDifference(table, *(msgspec.json.decode(value or "null") for value in row))


@asynccontextmanager
async def _snapshot(
    owner_url: str, connection: Connection, projections: Sequence[Projection], known: int
) -> AsyncIterator[int]:
    """A transaction in which the live and the rebuilt tables have the same last event: the position is its value."""
    other = await asyncpg.connect(owner_url)
    try:
        snapshot = connection.transaction(isolation="repeatable_read")
        async with log_lock.hold_log_lock(other, patience=60):
            reached = await _catch_up(connection, projections, known)
            await snapshot.start()
            await write_batch.head(connection)
    finally:
        await other.close()
    try:
        yield reached
    except BaseException:
        await snapshot.rollback()
        raise
    await snapshot.commit()


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
    """Create an empty table with the columns and keys of the live one."""
    await connection.execute(CREATE.format(table=table))
    for row in await connection.fetch(CONSTRAINTS, table, SCHEMA):
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
    names = sorted(await stream_heads.streams_changed(connection, known, head))
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
