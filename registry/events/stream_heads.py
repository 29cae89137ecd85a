"""Read heads: the last event of the log and of each stream, and which streams have newer events than a position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from registry.events import store
from registry.events.write_batch import Head
from registry.infra.postgres import Connection, Pool

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

# In one snapshot: the log from a known head on, including that head, and the heads of the streams of $3. Two statements
# could read two servers behind one address, and a stream's head of the older one would be taken for the newer log's.
HEADS_SINCE = """
(SELECT false AS is_head, position, stream, version, leaf_hash, recorded_at
   FROM events
  WHERE position >= $1
  ORDER BY position
  LIMIT $2)
UNION ALL
SELECT true, e.position, s.stream, e.version, e.leaf_hash, e.recorded_at
  FROM unnest($3::text[]) AS s (stream)
       CROSS JOIN LATERAL (
           SELECT position, version, leaf_hash, recorded_at
             FROM events
            WHERE stream = s.stream
            ORDER BY version DESC
            LIMIT 1
       ) AS e
"""

# In one snapshot: the last event of the log, and the heads of the streams of $1.
HEADS = """
(SELECT false AS is_head, position, stream, version, leaf_hash, recorded_at
   FROM events
  ORDER BY position DESC
  LIMIT 1)
UNION ALL
SELECT true, e.position, s.stream, e.version, e.leaf_hash, e.recorded_at
  FROM unnest($1::text[]) AS s (stream)
       CROSS JOIN LATERAL (
           SELECT position, version, leaf_hash, recorded_at
             FROM events
            WHERE stream = s.stream
            ORDER BY version DESC
            LIMIT 1
       ) AS e
"""

HEADS_OF_STREAMS_WITH = f"""
SELECT DISTINCT ON (stream) stream, version, leaf_hash
  FROM events
 WHERE stream IN (SELECT stream FROM events WHERE {store.TYPE_KEY} = ANY ($1::bytea[]))
 ORDER BY stream, version DESC
"""  # noqa: S608 - put together from a constant

SELECT_STREAMS_WITH_NEWER = f"""
SELECT stream, max(position) AS position
  FROM events
 WHERE {store.TYPE_KEY} = ANY ($2::bytea[]) AND position > $1
 GROUP BY stream
"""  # noqa: S608 - put together from a constant

SELECT_STREAMS_CHANGED = """
SELECT DISTINCT stream
  FROM events
 WHERE position > $1 AND position <= $2
"""


# A stream's version, last leaf hash and last position.
StreamHeadRow: TypeAlias = tuple[int, bytes, int]


class LogHeads(Struct, frozen=True):
    """One snapshot of heads.

    Attributes:
        log: The log's head.
        streams: The heads of the streams that were asked for; those that do not exist are missing.
        moved: The heads of the streams that have changed since the known head.
    """

    log: Head
    streams: dict[str, StreamHeadRow]
    moved: dict[str, StreamHeadRow]


async def heads_since(connection: Connection, known: Head, limit: int, names: Sequence[str]) -> LogHeads | None:
    """The log's head, what has changed since the head was `known`, and the heads of these streams.

    None if there are more than `limit` new events, or if `known` is not in this log: on a server that lags, or after
    the loss of events.
    """
    rows = await connection.fetch(HEADS_SINCE, known.position, limit + 1, list(names))
    new = [row for row in rows if not row["is_head"]]
    if known.position and (not new or new[0]["leaf_hash"] != known.leaf_hash):
        return None
    if len(new) > limit:
        return None
    return LogHeads(_head(new[-1]) if new else known, _stream_heads(rows, is_head=True), _stream_heads(new))


async def heads(connection: Connection, names: Sequence[str]) -> LogHeads:
    """The log's head and the heads of these streams."""
    rows = await connection.fetch(HEADS, list(names))
    last = [row for row in rows if not row["is_head"]]
    return LogHeads(_head(last[0]) if last else Head(0, None, None), _stream_heads(rows, is_head=True), {})


def _head(row: Any) -> Head:
    return Head(row["position"], row["leaf_hash"], row["recorded_at"])


def _stream_heads(rows: Sequence[Any], *, is_head: bool = False) -> dict[str, StreamHeadRow]:
    return {
        row["stream"]: (row["version"], row["leaf_hash"], row["position"]) for row in rows if row["is_head"] is is_head
    }


async def current_stream_heads(connection: Connection | Pool, names: Sequence[str]) -> dict[str, StreamHeadRow]:
    """The heads of these streams; streams that do not exist are left out."""
    rows = await connection.fetch(STREAM_ENDS, list(names))
    return {row["stream"]: (row["version"], row["leaf_hash"], row["position"]) for row in rows}


async def streams_with_newer(connection: Connection | Pool, after: int, types: Sequence[str]) -> list[tuple[str, int]]:
    """The streams with events of these types after a position, each with the position of the last one."""
    rows = await connection.fetch(SELECT_STREAMS_WITH_NEWER, after, list(map(store.type_key, types)))
    return [(row["stream"], row["position"]) for row in rows]


async def streams_changed(connection: Connection | Pool, after: int, until: int) -> set[str]:
    """The streams with events at the positions in (after, until]."""
    return {row["stream"] for row in await connection.fetch(SELECT_STREAMS_CHANGED, after, until)}


async def heads_of_streams_with(connection: Connection | Pool, types: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Version and last leaf hash of every stream that has an event of one of these types."""
    rows = await connection.fetch(HEADS_OF_STREAMS_WITH, list(map(store.type_key, types)))
    return {row["stream"]: (row["version"], row["leaf_hash"]) for row in rows}
