"""Cost of partitioning the log, in Postgres: the same rows in one table, and in ten partitions by position.

A partitioned table cannot guarantee that an id or a stream's version is unique, which the log relies on. This
benchmark measures what it would gain.
"""

from __future__ import annotations

import time
from random import Random
from statistics import median

import asyncpg
from msgspec import Struct

PARTITIONS = 10
BATCH = 1_000
EVENTS_PER_STREAM = 10

WHOLE = "CREATE TABLE whole (LIKE events INCLUDING ALL)"

PARTITIONED = """
CREATE TABLE partitioned (LIKE events) PARTITION BY RANGE (position);
CREATE UNIQUE INDEX ON partitioned (position);
CREATE INDEX ON partitioned (id);
CREATE INDEX ON partitioned (stream, version);
CREATE INDEX ON partitioned (type, position);
"""

PARTITION = "CREATE TABLE partitioned_{number} PARTITION OF partitioned FOR VALUES FROM ({first}) TO ({end})"

FILL = """
INSERT INTO {table} (position, stream, version, id, type, schema, effective_on, published_on, recorded_at, recorded_by,
                     entry, leaf_hash)
SELECT n, 'deal/' || md5((n % $3)::text), n / $3 + 1,
       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       'pledge_announced', 1, date '2025-01-01', date '2025-01-01', now(), 'bench',
       convert_to(repeat(md5(n::text), 14), 'UTF8'), sha256(n::text::bytea)
  FROM generate_series($1::bigint, $2::bigint) AS n
"""

SELECT_STREAM_HEAD = """
SELECT version, leaf_hash, position
  FROM {table}
 WHERE stream = $1
 ORDER BY version DESC
 LIMIT 1
"""

SELECT_BY_ID = "SELECT position FROM {table} WHERE id = $1::text::uuid"

SELECT_PAGE = "SELECT position, entry FROM {table} WHERE position > $1 ORDER BY position LIMIT 1000"


class QueryCost(Struct, frozen=True):
    """Milliseconds: append of a thousand events, lookup of a stream's last event, of an event by id, a feed page."""

    append: float
    stream: float
    id: float
    page: float


async def costs(url: str, rows: int) -> tuple[QueryCost, QueryCost]:
    """The costs of one table and of a partitioned one, each with `rows` rows."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(WHOLE)
        await connection.execute(PARTITIONED)
        part = rows // PARTITIONS
        for number in range(PARTITIONS):
            end = "MAXVALUE" if number == PARTITIONS - 1 else (number + 1) * part + 1
            first = number * part + 1
            await connection.execute(PARTITION.format(number=number, first=first, end=end))
        costs_by_table = []
        for table in ("whole", "partitioned"):
            await connection.execute(FILL.format(table=table), 1, rows, rows // EVENTS_PER_STREAM)
            await connection.execute(f"VACUUM ANALYZE {table}")
            costs_by_table.append(await _costs(connection, table, rows))
    finally:
        await connection.close()
    return costs_by_table[0], costs_by_table[1]


async def _costs(connection: asyncpg.Connection[asyncpg.Record], table: str, rows: int) -> QueryCost:
    random = Random(1)
    streams = rows // EVENTS_PER_STREAM
    appended = []
    for batch in range(10):
        first = rows + batch * BATCH + 1
        start = time.perf_counter()
        await connection.execute(FILL.format(table=table), first, first + BATCH - 1, streams)
        appended.append(time.perf_counter() - start)
    stream, id, page = [], [], []
    for _ in range(500):
        n = random.randrange(1, rows)
        name = await connection.fetchval("SELECT 'deal/' || md5($1::bigint::text)", n % streams)
        start = time.perf_counter()
        await connection.fetchrow(SELECT_STREAM_HEAD.format(table=table), name)
        stream.append(time.perf_counter() - start)
        start = time.perf_counter()
        await connection.fetchval(SELECT_BY_ID.format(table=table), f"00000000-0000-7000-8000-{n:012x}")
        id.append(time.perf_counter() - start)
        start = time.perf_counter()
        await connection.fetch(SELECT_PAGE.format(table=table), n)
        page.append(time.perf_counter() - start)
    return QueryCost(*(median(times) * 1000 for times in (appended, stream, id, page)))
