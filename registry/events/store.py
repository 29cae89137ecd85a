"""Append events to the log and read them: the SQL on the tables events and event_contents.

An append runs in a transaction that holds the log's lock (`log_lock.py`). No row is changed or deleted here; `redact`
calls the database's own redaction function. The Merkle tree over the events is stored by `transparency/tree.py`.
`stream_heads.py` reads the heads of the log and of streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from msgspec import Struct

from registry.events.codec import from_row
from registry.events.types import Recorded, StreamKind
from registry.events.write_batch import WriteBatch
from registry.infra.postgres import Connection, Pool
from registry.infra.threads import offload

# A part of one statement (see `WriteBatch`).
APPEND = """
written_events AS (
    INSERT INTO events (position, stream, version, id, type, schema, effective_on, published_on,
                        recorded_at, recorded_by, approved_by, entry, leaf_hash)
    SELECT position, stream, version, id, type, schema, effective_on, published_on,
           recorded_at, recorded_by, approved_by, entry, leaf_hash
      FROM unnest($1::new_event[])
), written_contents AS (
    INSERT INTO event_contents (position, content, salt)
    SELECT position, content, salt
      FROM unnest($1::new_event[])
)
"""

_COLUMNS = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.approved_by, e.entry, e.leaf_hash, c.content, c.salt
  FROM events AS e
  JOIN event_contents AS c USING (position)
"""

STREAMS = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.approved_by, e.leaf_hash, c.content
  FROM events AS e
  JOIN event_contents AS c USING (position)
 WHERE e.stream = ANY ($1::text[])
 ORDER BY e.stream, e.version
"""

STREAM_SINCE = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.approved_by, e.leaf_hash, c.content
  FROM events AS e
  JOIN event_contents AS c USING (position)
 WHERE e.stream = $1
   AND e.version >= $2
 ORDER BY e.version
"""

STREAM_SIZES = """
SELECT stream, max(version) AS version
  FROM events
 WHERE stream > $1
 GROUP BY stream
 ORDER BY stream
 LIMIT $2
"""

# OFFSET 0 makes Postgres look the contents up one by one: a generic plan does not know the limit, expects a tenth of
# the log and would join the whole table.
_FEED = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.approved_by, e.entry, e.leaf_hash, c.content, c.salt
  FROM (SELECT * FROM events WHERE {}) AS e
       CROSS JOIN LATERAL (SELECT content, salt FROM event_contents WHERE position = e.position OFFSET 0) AS c
 ORDER BY e.position{}
"""

# The key of an event type in its index: the first bytes of a digest (migration 0002). No two types share a key
# (tests/events/test_types.py).
TYPE_KEY = "substr(sha256(type::bytea), 1, 7)"

# Three statements instead of one with conditions, whose generic plan would read the whole log for one stream.
_AFTER = "position > $1 AND position <= $2"
FEED = _FEED.format(f"{_AFTER} ORDER BY position LIMIT $3", "")
# A range of the index and its order, not equality with the type and the order of positions: with these, a generic plan
# expects each type to be frequent, and reads the log from the position on until it has found enough. In a log of a
# million events, that took 450 ms for a rare type, and takes 0.2 ms now.
FEED_OF_TYPE = _FEED.format(
    f"({TYPE_KEY}, position) > ($4, $1) AND ({TYPE_KEY}, position) <= ($4, $2) ORDER BY {TYPE_KEY}, position LIMIT $3",
    "",
)
FEED_OF_STREAM = _FEED.format(
    f"{_AFTER} AND stream = $5 AND ($4::text IS NULL OR type = $4) ORDER BY version LIMIT $3", ""
)

NEWEST = _FEED.format("position < $1 ORDER BY position DESC LIMIT $2", " DESC")
NEWEST_OF_TYPE = _FEED.format(
    f"({TYPE_KEY}, position) < ($3, $1) AND ({TYPE_KEY}, position) > ($3, 0)"
    f" ORDER BY {TYPE_KEY} DESC, position DESC LIMIT $2",
    " DESC",
)
NEWEST_OF_STREAM = _FEED.format(
    "position < $1 AND stream = $4 AND ($3::text IS NULL OR type = $3) ORDER BY version DESC LIMIT $2", " DESC"
)

AT_POSITIONS = f"""{_COLUMNS}
 WHERE e.position = ANY ($1::bigint[])
 ORDER BY e.position
"""

BY_ID = f"""{_COLUMNS}
 WHERE e.id = ANY ($1::uuid[])
"""

# Events that one statement reads by id: freeing the rows of 10,000 at once holds the event loop for 20 ms.
MAX_READ_IDS = 500

RECORDED_IDS = "SELECT id FROM events WHERE id = ANY ($1::uuid[])"

# For verification: every row as stored, including rows that the registry could not have written.
SELECT_RAW_ROWS = """
SELECT e.position, e.stream, e.version, e.id, e.type, e.schema, e.effective_on, e.published_on,
       e.recorded_at, e.recorded_by, e.approved_by, e.entry, e.leaf_hash,
       c.position AS content_position, c.content, c.salt
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

# Events without content that no redaction of their stream names. A mirror withholds the content of principals anyway.
SELECT_UNEXPLAINED_ERASURES = """
SELECT e.id, e.position
  FROM events AS e
  JOIN event_contents AS c USING (position)
 WHERE c.content IS NULL
   AND NOT starts_with(e.stream, 'principal/')
   AND NOT EXISTS (
       SELECT
         FROM events AS r
         JOIN event_contents AS rc ON rc.position = r.position
        WHERE r.stream = e.stream AND r.type = 'event_redacted'
          AND (convert_from(rc.content, 'UTF8')::jsonb -> 'event' ->> 'redacts' = e.id::text
               OR convert_from(rc.content, 'UTF8')::jsonb -> 'event' -> 'also' ? e.id::text)
   )
"""

# A range of the index on streams: '0' follows '/'.
LAST_POSITION_OF_KIND = "SELECT max(position) FROM events WHERE stream >= $1 || '/' AND stream < $1 || '0'"

# By halves, because no event is recorded before an earlier one and no position is missing. With a million events, the
# first of them is found in 0.2 ms, where a scan from the end took 220.
POSITION_AT = """
WITH RECURSIVE search (low, high) AS (
    SELECT 0::bigint, coalesce(max(position), 0) FROM events
    UNION ALL
    SELECT CASE WHEN e.recorded_at <= $1 THEN e.position ELSE search.low END,
           CASE WHEN e.recorded_at <= $1 THEN search.high ELSE e.position - 1 END
      FROM search
      JOIN events AS e ON e.position = (search.low + search.high + 1) / 2
     WHERE search.low < search.high
)
SELECT low FROM search WHERE low = high
"""

RECORDED_AT = "SELECT recorded_at FROM events WHERE position = $1"

ERASE = "SELECT redact_event($1, $2)"


class SealedEvent(Struct, frozen=True, gc=False):
    """An event ready to be stored: the decoded event and its stored bytes."""

    recorded: Recorded
    entry: bytes
    content: bytes
    salt: bytes


class StoredEvent(Struct, frozen=True, gc=False):
    """A stored event with its bytes. `content` and `salt` are None where the content was redacted."""

    recorded: Recorded
    entry: bytes
    content: bytes | None
    salt: bytes | None


def type_key(type: str) -> bytes:
    """The key of an event type in its index (TYPE_KEY)."""
    return sha256(type.encode()).digest()[:7]


def append(writes: WriteBatch, events: Sequence[SealedEvent | StoredEvent]) -> None:
    """Add events to a write batch. Its caller holds the log's lock and has assigned the positions."""
    writes.add(APPEND, rows=(_row(sealed) for sealed in events))


def _row(sealed: SealedEvent | StoredEvent) -> tuple[Any, ...]:
    """The event as a value of the composite type `new_event`."""
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
        e.approved_by,
        sealed.entry,
        e.leaf_hash,
        sealed.content,
        sealed.salt,
    )


async def erase(connection: Connection, redaction: int, target: int) -> None:
    """Erase the content of the event at `target`, as the event at `redaction` orders. Needs the owner's role."""
    await connection.execute(ERASE, redaction, target)


async def unexplained_erasures(connection: Connection | Pool) -> list[tuple[UUID, int]]:
    """The id and the position of each event without content that no redaction names."""
    return [(UUID(int=row["id"].int), row["position"]) for row in await connection.fetch(SELECT_UNEXPLAINED_ERASURES)]


async def last_position_of_kind(connection: Connection | Pool, kind: StreamKind) -> int:
    """The position of the last event in a stream of a kind; 0 if there is none."""
    return await connection.fetchval(LAST_POSITION_OF_KIND, kind) or 0


async def position_at(connection: Connection | Pool, instant: datetime) -> int:
    """The position of the last event recorded at or before an instant; 0 if there is none."""
    return int(await connection.fetchval(POSITION_AT, instant))


async def recorded_at(connection: Connection | Pool, position: int) -> datetime | None:
    """When the event at a position was recorded; None if there is none."""
    moment: datetime | None = await connection.fetchval(RECORDED_AT, position)
    return moment


async def streams(connection: Connection | Pool, names: Sequence[str]) -> dict[str, list[Recorded]]:
    """The events of each stream in version order; an empty list for a stream without events."""
    rows = await connection.fetch(STREAMS, list(names))
    return await offload(len(rows), _by_stream, names, rows)


async def stream_since(connection: Connection | Pool, name: str, version: int) -> list[Recorded]:
    """The events of a stream from a version on."""
    return [from_row(row) for row in await connection.fetch(STREAM_SINCE, name, version)]


def _by_stream(names: Sequence[str], rows: list[Any]) -> dict[str, list[Recorded]]:
    """The events of rows, by stream. Frees each row: 10,000 at once hold the event loop."""
    found: dict[str, list[Recorded]] = {name: [] for name in names}
    rows.reverse()
    while rows:
        row = rows.pop()
        found[row["stream"]].append(from_row(row))
    return found


async def stream_sizes(connection: Connection | Pool, after: str, limit: int) -> list[tuple[str, int]]:
    """The next streams in the order of their names, with their versions."""
    return [(row["stream"], row["version"]) for row in await connection.fetch(STREAM_SIZES, after, limit)]


def decoded(row: Any) -> StoredEvent:
    """The event of a row of the feed."""
    return StoredEvent(from_row(row), row["entry"], row["content"], row["salt"])


def _all_stored(rows: Sequence[Any]) -> list[StoredEvent]:
    return [decoded(row) for row in rows]


async def feed(
    connection: Connection | Pool,
    after: int,
    limit: int,
    *,
    until: int = 2**62,
    type: str | None = None,
    stream: str | None = None,
) -> list[StoredEvent]:
    """The events after a position, in order."""
    rows = await feed_rows(connection, after, limit, until=until, type=type, stream=stream)
    return await offload(len(rows), _all_stored, rows)


async def feed_rows(
    connection: Connection | Pool,
    after: int,
    limit: int,
    *,
    until: int = 2**62,
    type: str | None = None,
    stream: str | None = None,
) -> list[Any]:
    """The rows of the same events, whose content is not decoded."""
    if stream is not None:
        rows = await connection.fetch(FEED_OF_STREAM, after, until, limit, type, stream)
    elif type is not None:
        rows = await connection.fetch(FEED_OF_TYPE, after, until, limit, type_key(type))
    else:
        rows = await connection.fetch(FEED, after, until, limit)
    return list(rows)


async def newest(
    connection: Connection | Pool, before: int, limit: int, *, type: str | None = None, stream: str | None = None
) -> list[StoredEvent]:
    """The last events before a position, the newest first."""
    if stream is not None:
        rows = await connection.fetch(NEWEST_OF_STREAM, before, limit, type, stream)
    elif type is not None:
        rows = await connection.fetch(NEWEST_OF_TYPE, before, limit, type_key(type))
    else:
        rows = await connection.fetch(NEWEST, before, limit)
    return await offload(len(rows), _all_stored, rows)


async def events_at(connection: Connection | Pool, positions: Sequence[int]) -> list[StoredEvent]:
    """The events at these positions, in order."""
    rows = await connection.fetch(AT_POSITIONS, list(positions))
    return await offload(len(rows), _all_stored, rows)


async def by_ids(connection: Connection | Pool, ids: Sequence[UUID]) -> dict[UUID, StoredEvent]:
    """The events with these ids; unknown ids are left out."""
    found: dict[UUID, StoredEvent] = {}
    for start in range(0, len(ids), MAX_READ_IDS):
        rows = await connection.fetch(BY_ID, list(ids[start : start + MAX_READ_IDS]))
        found |= {stored.recorded.id: stored for stored in await offload(len(rows), _all_stored, rows)}
    return found


async def recorded_ids(connection: Connection | Pool, ids: Sequence[UUID]) -> list[UUID]:
    """Which of these ids are those of recorded events."""
    return [row["id"] for row in await connection.fetch(RECORDED_IDS, list(ids))]


async def raw_rows(connection: Connection | Pool, after: int, until: int) -> list[Any]:
    """The rows at the positions in (after, until], not decoded and not checked."""
    return list(await connection.fetch(SELECT_RAW_ROWS, after, until))


async def find_anomalies(connection: Connection | Pool) -> tuple[int | None, int, int | None]:
    """A position below 1, the last position (0 for an empty log), and the position of content without an event."""
    row = await connection.fetchrow(SELECT_ANOMALIES)
    return row["below"], row["last"] or 0, row["orphan"]
