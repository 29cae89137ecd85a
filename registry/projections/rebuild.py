"""Making every view anew from the log, beside the live ones and while events arrive, and comparing the two.

The views' own statements name their tables without a schema, so they write to tables of the same names in a schema of
their own while the live ones serve. What arrived meanwhile is caught up with, the last of it under the log's lock, and
the tables change places in that same transaction: whoever asks sees the one or the other, whole. Interrupted, the old
ones serve; what was left behind goes with the next rebuild. Needs the role that owns the tables.
"""

from __future__ import annotations

import asyncio
import gc
import re
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

# One rebuild at a time; the number is arbitrary and must never change.
TRY_REBUILD_LOCK = "SELECT pg_try_advisory_lock(5211960233814370061)"

CLEAR = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"

CREATE = f"CREATE TABLE {SCHEMA}.{{table}} (LIKE public.{{table}} INCLUDING ALL EXCLUDING INDEXES)"

# What LIKE does not copy: keys and indexes under their own names, storage options, rights.
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
SELECT jsonb_build_array({{key}}) AS key, to_jsonb(live) AS live, to_jsonb(anew) AS anew
  FROM public.{{table}} AS live
       FULL JOIN {SCHEMA}.{{table}} AS anew USING ({{key}})
 WHERE live IS DISTINCT FROM anew
 ORDER BY {{key}}
"""  # noqa: S608 - the names are the views' own

SWAP_TABLES = f"""
DROP TABLE public.{{table}};
ALTER TABLE {SCHEMA}.{{table}} SET SCHEMA public;
"""

# Streams asked for at once, and the events folded at once: enough to share a round trip, little enough to hold.
STREAMS_AT_ONCE = 500
EVENTS_AT_ONCE = 5_000

# So few events left are caught up with under the log's lock.
FINAL_CATCH_UP_EVENTS = 500

# Whoever reads a live table for long makes the switch wait, and nothing is recorded meanwhile: it tries briefly, often.
# Briefly enough that whoever holds one table and waits for another goes on before Postgres calls it a deadlock (1 s).
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '100ms'"
LOCK = "LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"
TRIES = 120
PAUSE = 0.5

Progress = Callable[[int, int], None]
"""Is told how many events are done, and how many there are."""


class RebuildRunning(RegistryError):
    """Another process is rebuilding the projections."""

    code = "rebuild_running"


class TablesInUse(RegistryError):
    """The rebuilt tables could not replace the live ones, which were locked by readers."""

    code = "tables_in_use"


class Difference(Struct, frozen=True):
    """A row that is not what the log says. `live` is None where it is missing, `anew` where the log does not say it."""

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


async def rebuild(owner_url: str, progress: Progress = _no_progress, views: Sequence[Projection] = PROJECTIONS) -> int:
    """Makes the views anew and puts them in the place of the live ones; answers with the log's position at that moment.

    Raises RebuildRunning, TablesInUse, and what asyncpg raises. Whatever happens, the live views stay whole.
    """
    async with _shadow_tables(owner_url, views) as connection:
        known = await _build(owner_url, connection, views, progress)
        for _ in range(TRIES):
            try:
                async with log_lock.hold_log_lock(connection, patience=60):
                    reached = await _catch_up(connection, views, known)
                    await connection.execute(LOCK_TIMEOUT)
                    live = ", ".join(f"public.{table}" for table in _tables(views))
                    await connection.execute(LOCK.format(tables=live))
                    for table in _tables(views):
                        await connection.execute(SWAP_TABLES.format(table=table))
                return reached
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(PAUSE)
        raise TablesInUse


async def compare(
    owner_url: str, progress: Progress = _no_progress, views: Sequence[Projection] = PROJECTIONS
) -> AsyncIterator[Difference]:
    """Makes the views anew beside the live ones and names each row in which they differ; changes nothing."""
    async with _shadow_tables(owner_url, views) as connection:
        known = await _build(owner_url, connection, views, progress)
        other = await asyncpg.connect(owner_url)
        try:
            snapshot = connection.transaction(isolation="repeatable_read", readonly=True)
            # Nothing is recorded from before the last event is caught up with until both sides are looked at as one.
            async with log_lock.hold_log_lock(other, patience=60):
                await _catch_up(connection, views, known)
                await snapshot.start()
                await write_batch.head(connection)
        finally:
            await other.close()
        try:
            for table in _tables(views):
                key = ", ".join(await connection.fetchval(KEY, table))
                async for row in connection.cursor(DIFFERENCES.format(table=table, key=key)):
                    yield Difference(table, *(msgspec.json.decode(value or "null") for value in row))
        finally:
            await snapshot.rollback()


def _tables(views: Sequence[Projection]) -> Iterator[str]:
    return (table for view in views for table in view.tables)


@asynccontextmanager
async def _shadow_tables(owner_url: str, views: Sequence[Projection]) -> AsyncIterator[Connection]:
    """A connection on which the views' names mean empty tables beside the live ones; they are dropped in the end."""
    settings = {"application_name": "registry rebuild", "timezone": "UTC", "search_path": f"{SCHEMA}, public"}
    connection = await asyncpg.connect(owner_url, server_settings=settings)
    try:
        if not await connection.fetchval(TRY_REBUILD_LOCK):
            raise RebuildRunning
        await connection.execute(CLEAR)
        async with connection.transaction():
            await connection.execute(f"CREATE SCHEMA {SCHEMA}")
            for table in _tables(views):
                await _create(connection, table)
        yield connection
        await connection.execute(CLEAR)
    finally:
        # On a failure the tables stay: the server may be gone. The next rebuild clears them away.
        await connection.close()


async def _create(connection: Connection, table: str) -> None:
    """An empty table like the live one, with the same keys, options and rights."""
    await connection.execute(CREATE.format(table=table))
    for statements in (CONSTRAINTS, OPTIONS, RIGHTS):
        for row in await connection.fetch(statements, table, SCHEMA):
            await connection.execute(row[0])


async def _index(connection: Connection, table: str) -> None:
    """The live table's other indexes by the same names: quicker made of a full table than grown with it."""
    for row in await connection.fetch(INDEXES, table):
        await connection.execute(re.sub(rf" ON public\.{table} ", f" ON {SCHEMA}.{table} ", row[0], count=1))


async def _build(owner_url: str, connection: Connection, views: Sequence[Projection], progress: Progress) -> int:
    """Fills the tables from the log, stream by stream, and catches up until few events are left; answers how far."""
    known = (await write_batch.head(connection)).position
    # Histories are in no cycle, and gone when they are drawn: the collector would only look through them.
    collects = gc.isenabled()
    gc.disable()
    try:
        await _fill(owner_url, connection, views, known, progress)
    finally:
        if collects:
            gc.enable()
    for table in _tables(views):
        await _index(connection, table)
    while True:
        reached = await _catch_up(connection, views, known)
        if reached - known < FINAL_CATCH_UP_EVENTS:
            break
        known = reached
    for table in _tables(views):
        # A table without statistics is asked along the wrong way.
        await connection.execute(f"ANALYZE {SCHEMA}.{table}")
    return reached


async def _fill(
    owner_url: str, connection: Connection, views: Sequence[Projection], total: int, progress: Progress
) -> None:
    """Every stream, part by part: one is read and drawn while the one before it is written."""
    done, after = 0, ""
    writing: asyncio.Future[None] | None = None
    reading = await asyncpg.connect(owner_url)
    try:
        while sizes := await store.stream_sizes(reading, after, STREAMS_AT_ONCE):
            after = sizes[-1][0]
            for names, events in _chunks(sizes):
                writes = _project(views, await store.streams(reading, names))
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
    """Streams in parts that have few events together; a long stream is a part of its own."""
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


async def _catch_up(connection: Connection, views: Sequence[Projection], known: int) -> int:
    """Makes the streams anew that have got events since; answers with the position up to which."""
    head = (await write_batch.head(connection)).position
    names = sorted(await store.streams_changed(connection, known, head))
    for start in range(0, len(names), STREAMS_AT_ONCE):
        streams = await store.streams(connection, names[start : start + STREAMS_AT_ONCE])
        # Under the log's lock there is a transaction already, which was begun by hand.
        async with nullcontext() if connection.is_in_transaction() else connection.transaction():
            await _project(views, streams, forget=True).execute(connection)
    return head


def _project(
    views: Sequence[Projection], streams: Mapping[str, Sequence[Recorded]], *, forget: bool = False
) -> WriteBatch:
    """What the views hold of these streams."""
    histories = [fold_stream(name, events) for name, events in streams.items() if events]
    writes = WriteBatch()
    for view in views:
        if forget:
            view.delete_rows(histories, writes)
        view.rebuild(histories, writes)
    return writes
