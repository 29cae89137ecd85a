"""Whether the log wants to be partitioned: the same rows in one table, and in ten partitions by position.

A partitioned table cannot promise what the log rests on: that an id, or a stream's version, is there once. What it
would give in return is measured here, in the database.
"""

from __future__ import annotations

import time
from random import Random
from statistics import median

import asyncpg
from msgspec import Struct

PARTITIONS = 10
BATCH = 1_000
STREAM_OF = 10  # events a stream

WHOLE = "CREATE TABLE whole (LIKE events INCLUDING ALL)"

PARTED = """
CREATE TABLE parted (LIKE events) PARTITION BY RANGE (position);
CREATE UNIQUE INDEX ON parted (position);
CREATE INDEX ON parted (id);
CREATE INDEX ON parted (stream, version);
CREATE INDEX ON parted (type, position);
"""

PARTITION = "CREATE TABLE parted_{number} PARTITION OF parted FOR VALUES FROM ({first}) TO ({behind})"

FILL = """
INSERT INTO {table} (position, stream, version, id, type, schema, effective_on, published_on, recorded_at, recorded_by,
                     entry, leaf_hash)
SELECT n, 'deal/' || md5((n % $3)::text), n / $3 + 1,
       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       'pledge_announced', 1, date '2025-01-01', date '2025-01-01', now(), 'bench',
       convert_to(repeat(md5(n::text), 14), 'UTF8'), sha256(n::text::bytea)
  FROM generate_series($1::bigint, $2::bigint) AS n
"""

LOOK_UP = """
SELECT version, leaf_hash, position
  FROM {table}
 WHERE stream = $1
 ORDER BY version DESC
 LIMIT 1
"""

BY_ID = "SELECT position FROM {table} WHERE id = $1::text::uuid"

READ = "SELECT position, entry FROM {table} WHERE position > $1 ORDER BY position LIMIT 1000"


class QueryCost(Struct, frozen=True):
    """Milliseconds: a thousand events appended, a stream's end looked up, an event by id, a page of the feed."""

    append: float
    stream: float
    id: float
    page: float


async def costs(url: str, rows: int) -> tuple[QueryCost, QueryCost]:
    """Of the one table, and of the partitioned one, of so many rows."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(WHOLE)
        await connection.execute(PARTED)
        part = rows // PARTITIONS
        for number in range(PARTITIONS):
            behind = "MAXVALUE" if number == PARTITIONS - 1 else (number + 1) * part + 1
            first = number * part + 1
            await connection.execute(PARTITION.format(number=number, first=first, behind=behind))
        found = []
        for table in ("whole", "parted"):
            await connection.execute(FILL.format(table=table), 1, rows, rows // STREAM_OF)
            await connection.execute(f"VACUUM ANALYZE {table}")
            found.append(await _costs(connection, table, rows))
    finally:
        await connection.close()
    return found[0], found[1]


async def _costs(connection: asyncpg.Connection[asyncpg.Record], table: str, rows: int) -> QueryCost:
    chance = Random(1)
    streams = rows // STREAM_OF
    appended = []
    for batch in range(10):
        first = rows + batch * BATCH + 1
        start = time.perf_counter()
        await connection.execute(FILL.format(table=table), first, first + BATCH - 1, streams)
        appended.append(time.perf_counter() - start)
    stream, id, page = [], [], []
    for _ in range(500):
        n = chance.randrange(1, rows)
        name = await connection.fetchval("SELECT 'deal/' || md5($1::bigint::text)", n % streams)
        start = time.perf_counter()
        await connection.fetchrow(LOOK_UP.format(table=table), name)
        stream.append(time.perf_counter() - start)
        start = time.perf_counter()
        await connection.fetchval(BY_ID.format(table=table), f"00000000-0000-7000-8000-{n:012x}")
        id.append(time.perf_counter() - start)
        start = time.perf_counter()
        await connection.fetch(READ.format(table=table), n)
        page.append(time.perf_counter() - start)
    return QueryCost(*(median(times) * 1000 for times in (appended, stream, id, page)))
