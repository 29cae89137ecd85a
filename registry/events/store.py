"""The log in Postgres: append, read a stream, read the feed. The SQL that writes the events table, and most of what
reads it; the Merkle tree over it is stored by `transparency/tree.py`.

An append happens under the log's lock, inside the caller's transaction (`log_transaction`). Nothing here decides what
may be recorded, and nothing here changes or deletes a row; `erase` asks the database's own redaction function.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import date, datetime
from functools import cache
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from msgspec import Struct

from registry.events.codec import from_row
from registry.events.types import Recorded
from registry.infra import postgres

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"

# Any number will do, as long as every process that appends takes the same one ('registry' in ASCII).
LOG_LOCK_KEY = 8243105007150424697

# The isolation is said: under any other, what is read once the lock has come would be what was so before.
LOCK = f"""
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT pg_advisory_xact_lock({LOG_LOCK_KEY});
"""

# Seconds to wait for a connection, and for the lock, before the database counts as lost.
LOCK_TIMEOUT_SECONDS = 8.0

# Takes the log's lock where it is free, and fails where it is not or where the log has another event at its end.
# Whatever the statement's snapshot missed stands at the position behind it, where the primary key refuses a second one.
ASSERT_HEAD = f"""
SELECT 1 / (pg_try_advisory_xact_lock({LOG_LOCK_KEY})
            AND EXISTS (SELECT FROM events WHERE position = $1 AND leaf_hash = $2))::int
"""  # noqa: S608 - put together from a constant

HEAD = """
SELECT position, leaf_hash, recorded_at
  FROM events
 ORDER BY position DESC
 LIMIT 1
"""

# Parts of one statement (see `Writes`): each a name and what it writes, from an array of rows.
APPEND = """
written AS (
    INSERT INTO events (position, stream, version, id, type, schema, effective_on, published_on,
                        recorded_at, recorded_by, entry, leaf_hash)
    SELECT position, stream, version, id, type, schema, effective_on, published_on,
           recorded_at, recorded_by, entry, leaf_hash
      FROM unnest($1::new_event[])
), said AS (
    INSERT INTO event_contents (position, content, salt)
    SELECT position, content, salt
      FROM unnest($1::new_event[])
)
"""

_COLUMNS = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.entry, e.leaf_hash, c.content, c.salt
  FROM events AS e
  JOIN event_contents AS c USING (position)
"""

STREAMS = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.leaf_hash, c.content
  FROM events AS e
  JOIN event_contents AS c USING (position)
 WHERE e.stream = ANY ($1::text[])
 ORDER BY e.stream, e.version
"""

STREAM_SIZES = """
SELECT stream, max(version) AS version
  FROM events
 WHERE stream > $1
 GROUP BY stream
 ORDER BY stream
 LIMIT $2
"""

STREAM_ENDS = """
SELECT s.stream, e.version, e.leaf_hash, e.position
  FROM unnest($1::text[]) AS s (stream)
       CROSS JOIN LATERAL (
           SELECT version, leaf_hash, position
             FROM events
            WHERE stream = s.stream
            ORDER BY version DESC
            LIMIT 1
       ) AS e
"""

# The contents are looked up one by one (OFFSET 0): a plan that is made without knowing the limit expects a tenth of the
# log, and joins it whole.
_FEED = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.entry, e.leaf_hash, c.content, c.salt
  FROM (SELECT * FROM events WHERE position > $1 AND position <= $2 {} LIMIT $3) AS e
       CROSS JOIN LATERAL (SELECT content, salt FROM event_contents WHERE position = e.position OFFSET 0) AS c
 ORDER BY e.position
"""

# Three statements and not one with conditions: a prepared plan that fits all of them reads the whole log for a stream.
FEED = _FEED.format("ORDER BY position")
FEED_OF_TYPE = _FEED.format("AND type = $4 ORDER BY position")
FEED_OF_STREAM = _FEED.format("AND stream = $5 AND ($4::text IS NULL OR type = $4) ORDER BY version")

AT_POSITIONS = f"""{_COLUMNS}
 WHERE e.position = ANY ($1::bigint[])
 ORDER BY e.position
"""

BY_ID = f"""{_COLUMNS}
 WHERE e.id = ANY ($1::uuid[])
"""

# The log from a known end on, that end itself among it.
FROM_LATEST = """
SELECT position, stream, version, leaf_hash, recorded_at
  FROM events
 WHERE position >= $1
 ORDER BY position
 LIMIT $2
"""

HEADS_OF_STREAMS_WITH = """
SELECT DISTINCT ON (stream) stream, version, leaf_hash
  FROM events
 WHERE stream IN (SELECT stream FROM events WHERE type = ANY ($1::text[]))
 ORDER BY stream, version DESC
"""

SELECT_STREAMS_CHANGED = """
SELECT DISTINCT stream
  FROM events
 WHERE position > $1 AND position <= $2
"""

# Streams that may differ between two points in time: something was recorded, took effect or was published between, or
# was corrected (which may have moved any of its dates).
SELECT_DEALS_CHANGED = """
SELECT DISTINCT stream
  FROM events
 WHERE stream LIKE 'deal/%'
   AND (position > $1 AND position <= $2
        OR effective_on > $3 AND effective_on <= $4
        OR published_on > $5 AND published_on <= $6
        OR type IN ('event_corrected', 'claim_reported', 'claim_retracted'))
 ORDER BY stream
"""

# As it stands, for whoever trusts nothing: also rows that the log could not have written.
SELECT_RAW_ROWS = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.entry, e.leaf_hash, c.position AS content_position, c.content, c.salt
  FROM events AS e
  LEFT JOIN event_contents AS c USING (position)
 WHERE e.position > $1 AND e.position <= $2
 ORDER BY e.position
"""

SELECT_ANOMALIES = """
SELECT (SELECT min(position) FROM events WHERE position < 1) AS below,
       (SELECT max(position) FROM events) AS last,
       (SELECT min(c.position) FROM event_contents AS c LEFT JOIN events AS e USING (position) WHERE e.position IS NULL
       ) AS orphan
"""

POSITION_AT = """
SELECT position
  FROM events
 WHERE recorded_at <= $1
 ORDER BY position DESC
 LIMIT 1
"""

ERASE = "SELECT redact_event($1, $2)"


class HeadMoved(Exception):
    """The log does not end where the writer thought, or another writer is at work: nothing was written."""


class Head(Struct, frozen=True):
    """The log's last event: its position (0: the log is empty), leaf hash and instant of recording."""

    position: int
    leaf_hash: bytes | None
    recorded_at: datetime | None


class SealedEvent(Struct, frozen=True, gc=False):
    """An event ready to be stored: as it will be read back, with the bytes that are kept."""

    recorded: Recorded
    entry: bytes
    content: bytes
    salt: bytes


class StoredEvent(Struct, frozen=True, gc=False):
    """An event with the bytes that prove it. `content` and `salt` are None where they were erased by law."""

    recorded: Recorded
    entry: bytes
    content: bytes | None
    salt: bytes | None


@asynccontextmanager
async def log_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A READ COMMITTED transaction that holds the log's lock: everything read in it is the log's true end."""
    async with (
        pool.acquire(timeout=LOCK_TIMEOUT_SECONDS) as connection,
        hold_log_lock(connection, LOCK_TIMEOUT_SECONDS),
    ):
        yield connection


@contextmanager
def _terminate_on_timeout(connection: Connection) -> Iterator[None]:
    """Who does not answer in time would not answer a ROLLBACK either: it ends with the connection."""
    try:
        yield
    except (asyncio.CancelledError, TimeoutError):
        connection.terminate()
        raise


@asynccontextmanager
async def hold_log_lock(connection: Connection, patience: float) -> AsyncIterator[None]:
    """The same on a connection that is there. `patience`: the seconds to wait for the lock.

    The lock is its own statement, before anything is read: positions must commit in order, or a feed reader skips one
    (tests/test_recorder.py::test_a_reader_that_polls_misses_nothing).
    """
    try:
        with _terminate_on_timeout(connection):
            await connection.execute(LOCK, timeout=patience)
            yield
            await connection.execute("COMMIT")
    except BaseException:
        # The pool takes a broken connection back at once, and what broke it is the error to tell.
        with suppress(*postgres.ERRORS):
            if not connection.is_closed() and connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        raise


class WriteBatch:
    """What a group of events writes into tables that do not concern each other: one statement, one trip.

    A client that is alone waits for each trip: with a statement for each table it waited for nine of them, and for one
    disk. Parts are data-modifying CTEs, whole and numbered from $1 in the module whose tables they write; Postgres
    executes them all, in no order, on what was there before.
    """

    def __init__(self) -> None:
        self._first: list[tuple[str, Sequence[Any]]] = []
        self._parts: list[str] = []
        self._arguments: list[Any] = []

    def add_prerequisite(self, statement: str, *arguments: Any) -> None:
        """A statement that must be done before the parts: they find nothing of what it deletes."""
        self._first.append((statement, arguments))

    def add(self, part: str, *arguments: Any) -> None:
        """One part more, with its arguments."""
        self._parts.append(_numbered(part, len(self._arguments)))
        self._arguments += arguments

    async def execute(self, connection: Connection) -> None:
        """Writes all of it, in a transaction of the caller's."""
        for statement, arguments in self._first:
            await connection.execute(statement, *arguments)
        if self._parts:
            # Not of no column: asyncpg 0.32 writes 8 bytes behind the end of a record that has none.
            await connection.execute(f"WITH {', '.join(self._parts)} SELECT 1", *self._arguments)
        self._first, self._parts, self._arguments = [], [], []

    async def execute_if_head_is(self, end: Head, pool: Pool) -> None:
        """Writes all of it behind the log's end, its commit included: in one trip where one statement is enough.

        Raises NotTheEnd, and has written nothing, where the log ends elsewhere or another writer is at work.
        """
        try:
            if self._first:
                async with log_transaction(pool) as connection:
                    if await head(connection) != end:
                        raise HeadMoved
                    await self.execute(connection)
            else:
                at_the_end = _numbered(ASSERT_HEAD, len(self._arguments))
                statement = f"WITH {', '.join(self._parts)} {at_the_end}"
                async with pool.acquire(timeout=LOCK_TIMEOUT_SECONDS) as connection:
                    with _terminate_on_timeout(connection):
                        arguments = (*self._arguments, end.position, end.leaf_hash)
                        await connection.execute(statement, *arguments, timeout=LOCK_TIMEOUT_SECONDS)
        except (asyncpg.DivisionByZeroError, asyncpg.UniqueViolationError) as error:
            raise HeadMoved from error


@cache
def _numbered(part: str, offset: int) -> str:
    """The part with its arguments numbered behind so many others."""
    return re.sub(r"\$(\d+)", lambda found: f"${int(found.group(1)) + offset}", part)


def append(writes: WriteBatch, events: Sequence[SealedEvent | StoredEvent]) -> None:
    """Add events to a batch. Whoever executes it holds the log's lock and assigned the positions."""
    writes.add(APPEND, [_row(sealed) for sealed in events])


def _row(sealed: SealedEvent | StoredEvent) -> tuple[Any, ...]:
    """An event as `new_event` has it."""
    e = sealed.recorded
    return (
        e.position,
        f"{e.kind}/{e.slug}",
        e.version,
        e.id,
        e.type,
        e.schema,
        e.effective_on,
        e.published_on,
        e.recorded_at,
        e.recorded_by,
        sealed.entry,
        e.leaf_hash,
        sealed.content,
        sealed.salt,
    )


async def erase(connection: Connection, redaction: int, target: int) -> None:
    """Empties the content of `target`, as the event at `redaction` demands. Needs the owner's role."""
    await connection.execute(ERASE, redaction, target)


async def head(connection: Connection | Pool) -> Head:
    """The log's last event."""
    row = await connection.fetchrow(HEAD)
    return Head(row["position"], row["leaf_hash"], row["recorded_at"]) if row else Head(0, None, None)


async def position_at(connection: Connection | Pool, instant: datetime) -> int:
    """The last position recorded by then; 0 before the first."""
    return await connection.fetchval(POSITION_AT, instant) or 0


async def streams(connection: Connection | Pool, names: Sequence[str]) -> dict[str, list[Recorded]]:
    """The events of each stream, in the order of their versions; a stream without events is an empty list."""
    found: dict[str, list[Recorded]] = {name: [] for name in names}
    for row in await connection.fetch(STREAMS, list(names)):
        found[row["stream"]].append(from_row(row))
    return found


async def stream_sizes(connection: Connection | Pool, after: str, limit: int) -> list[tuple[str, int]]:
    """The next streams in the order of their names, each with its version."""
    return [(row["stream"], row["version"]) for row in await connection.fetch(STREAM_SIZES, after, limit)]


# A stream's version, last leaf hash and last position.
StreamHeadRow: TypeAlias = tuple[int, bytes, int]


async def stream_heads_since(
    connection: Connection | Pool, end: Head, limit: int
) -> tuple[Head, dict[str, StreamHeadRow]] | None:
    """Where the log ends now, and the ends of the streams that have got events since it ended at `end`.

    None where they are more than `limit`, or where this log has not `end` in it: after a failover it may be another.
    """
    rows = await connection.fetch(FROM_LATEST, end.position, limit + 1)
    if end.position and (not rows or rows[0]["leaf_hash"] != end.leaf_hash):
        return None
    if len(rows) > limit:
        return None
    for row in rows:
        end = Head(row["position"], row["leaf_hash"], row["recorded_at"])
    return end, {row["stream"]: (row["version"], row["leaf_hash"], row["position"]) for row in rows}


async def current_stream_heads(connection: Connection | Pool, names: Sequence[str]) -> dict[str, StreamHeadRow]:
    """The ends of these streams, those that there are."""
    rows = await connection.fetch(STREAM_ENDS, list(names))
    return {row["stream"]: (row["version"], row["leaf_hash"], row["position"]) for row in rows}


async def streams_changed(connection: Connection | Pool, after: int, until: int) -> set[str]:
    """The streams that got events in (after, until]."""
    return {row["stream"] for row in await connection.fetch(SELECT_STREAMS_CHANGED, after, until)}


async def deals_changed(
    connection: Connection | Pool,
    positions: tuple[int, int],
    effective: tuple[date, date],
    published: tuple[date, date],
) -> list[str]:
    """The deals' streams that may differ between two points; each pair is (after, until), in rising order."""
    return [row["stream"] for row in await connection.fetch(SELECT_DEALS_CHANGED, *positions, *effective, *published)]


def _stored(row: Any) -> StoredEvent:
    return StoredEvent(from_row(row), row["entry"], row["content"], row["salt"])


async def feed(
    connection: Connection | Pool,
    after: int,
    limit: int,
    *,
    until: int = 2**62,
    type: str | None = None,
    stream: str | None = None,
) -> list[StoredEvent]:
    """The events behind a position, in order."""
    if stream is not None:
        rows = await connection.fetch(FEED_OF_STREAM, after, until, limit, type, stream)
    elif type is not None:
        rows = await connection.fetch(FEED_OF_TYPE, after, until, limit, type)
    else:
        rows = await connection.fetch(FEED, after, until, limit)
    return [_stored(row) for row in rows]


async def events_at(connection: Connection | Pool, positions: Sequence[int]) -> list[StoredEvent]:
    """The events at these positions, in order."""
    return [_stored(row) for row in await connection.fetch(AT_POSITIONS, list(positions))]


async def by_ids(connection: Connection | Pool, ids: Sequence[UUID]) -> dict[UUID, StoredEvent]:
    """The events with these ids, those that there are."""
    stored = [_stored(row) for row in await connection.fetch(BY_ID, list(ids))]
    return {s.recorded.id: s for s in stored}


async def heads_of_streams_with(connection: Connection | Pool, types: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Version and last leaf hash of every stream that ever had an event of one of these types."""
    rows = await connection.fetch(HEADS_OF_STREAMS_WITH, list(types))
    return {row["stream"]: (row["version"], row["leaf_hash"]) for row in rows}


async def raw_rows(connection: Connection | Pool, after: int, until: int) -> list[Any]:
    """The rows of the positions in (after, until] as they stand, not decoded and not believed."""
    return list(await connection.fetch(SELECT_RAW_ROWS, after, until))


async def find_anomalies(connection: Connection | Pool) -> tuple[int | None, int, int | None]:
    """A position below the first, the last position (0: none), and one with content but without an event."""
    row = await connection.fetchrow(SELECT_ANOMALIES)
    return row["below"], row["last"] or 0, row["orphan"]
