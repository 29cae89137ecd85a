"""The Merkle tree as Postgres stores it: full tiles in their table, leaf hashes and entries with their events.

The recorder adds full tiles in the transaction that adds their events. Partial tiles are not stored; a read assembles
them from the level below. The functions return what the tables hold without checking it: `verify_log` does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry.events.write_batch import WriteBatch
from registry.infra.postgres import Connection, Pool
from registry.transparency.findings import Finding
from registry.transparency.merkle import HASH_SIZE, Frontier, frontier_tiles
from registry.transparency.tiles import TILE_WIDTH, ReadTile, Tile, TileError, TileRef, tile_path

# Part of one statement, numbered from $1 (see `WriteBatch`).
INSERT_TILES = """
tiled AS (
    INSERT INTO tiles (level, number, hashes, root)
    SELECT level, number, hashes, root
      FROM unnest($1::new_tile[])
)
"""

# Full tiles, then the parts of partial ones: roots of the tiles below, or leaf hashes at level 0. OFFSET 0 makes each
# part an index lookup, however many rows the planner expects from the arrays.
SELECT_TILES = """
SELECT w.level, w.number, 0 AS place, t.hashes
  FROM unnest($1::smallint[], $2::bigint[]) AS w (level, number),
       LATERAL (SELECT hashes FROM tiles WHERE level = w.level AND number = w.number OFFSET 0) AS t
 UNION ALL
SELECT w.level, w.number, (t.number % 256)::int, t.root
  FROM unnest($3::smallint[], $4::bigint[], $5::int[]) AS w (level, number, width),
       LATERAL (SELECT number, root
                  FROM tiles
                 WHERE level = w.level - 1 AND number >= w.number * 256 AND number < w.number * 256 + w.width
                OFFSET 0) AS t
 UNION ALL
SELECT w.level, w.number, ((e.position - 1) % 256)::int, e.leaf_hash
  FROM unnest($3::smallint[], $4::bigint[], $5::int[]) AS w (level, number, width),
       LATERAL (SELECT position, leaf_hash
                  FROM events
                 WHERE w.level = 0 AND position > w.number * 256 AND position <= w.number * 256 + w.width
                OFFSET 0) AS e
 ORDER BY 1, 2, 3
"""

SELECT_STORED_TILES = """
SELECT level, number, hashes, root
  FROM tiles
 WHERE level = $1 AND number >= $2 AND number < $3
 ORDER BY number
"""

COUNT_TILES = "SELECT count(*) FROM tiles"

SELECT_LEAF_HASHES = """
SELECT leaf_hash
  FROM events
 WHERE position > $1 AND position <= $2
 ORDER BY position
"""

SELECT_ENTRIES = """
SELECT entry
  FROM events
 WHERE position > $1 AND position <= $2
 ORDER BY position
"""

HEADS_PER_ROW = 1_000

# Few rows of many lines: the objects that asyncpg made of 100,000 rows took the event loop 10 ms to free.
SELECT_STREAM_HEADS = f"""
SELECT string_agg(line, E'\\n') AS lines
  FROM (SELECT format('%s %s %s', stream, version, encode(leaf_hash, 'hex')) AS line, row_number() OVER () AS number
          FROM (SELECT DISTINCT ON (stream) stream, version, leaf_hash
                  FROM events
                 WHERE position > $1 AND position <= $2
                 ORDER BY stream, version DESC) AS head) AS numbered
 GROUP BY number / {HEADS_PER_ROW}
"""  # noqa: S608 - put together from a constant


def add_tiles(writes: WriteBatch, tiles: Sequence[Tile]) -> None:
    """Add the tiles that a batch of events completes."""
    if tiles:
        writes.add(INSERT_TILES, rows=((tile.level, tile.number, tile.hashes, tile.root) for tile in tiles))


async def load_tiles(connection: Connection | Pool, refs: Iterable[TileRef]) -> ReadTile:
    """Read tiles in one query, ahead of the computation that needs them.

    Returns:
        A function that gives the first `width` hashes of each of these tiles. It raises TileError for one that the
        database lacks or holds only in part.
    """
    refs = list(dict.fromkeys(refs))
    widest: dict[tuple[int, int], TileRef] = {(ref.level, ref.number): ref for ref in sorted(refs)}
    partial = [ref for ref in widest.values() if ref.width < TILE_WIDTH]
    rows = await connection.fetch(
        SELECT_TILES,
        [level for level, _ in widest],
        [number for _, number in widest],
        [ref.level for ref in partial],
        [ref.number for ref in partial],
        [ref.width for ref in partial],
    )
    full: dict[tuple[int, int], bytes] = {}
    parts: dict[tuple[int, int], list[bytes]] = {}
    for row in rows:
        if len(row["hashes"]) > HASH_SIZE:
            full[row["level"], row["number"]] = row["hashes"]
        else:
            parts.setdefault((row["level"], row["number"]), []).append(row["hashes"])
    tiles = {}
    for ref in refs:
        hashes = full.get(ref[:2]) or b"".join(parts.get(ref[:2], ()))
        if len(hashes) >= ref.width * HASH_SIZE:
            tiles[ref] = hashes[: ref.width * HASH_SIZE]

    def read(ref: TileRef) -> bytes:
        try:
            return tiles[ref]
        except KeyError:
            raise TileError(reason=Finding("tile_missing", tile=tile_path(ref))) from None

    return read


async def load_frontier(connection: Connection | Pool, size: int) -> Frontier:
    """The frontier of the tree over the first `size` events."""
    return Frontier.restore(size, await load_tiles(connection, frontier_tiles(size)))


async def load_stored_tiles(connection: Connection | Pool, level: int, start: int, end: int) -> list[Tile]:
    """The full tiles of a level with numbers in [start, end)."""
    rows = await connection.fetch(SELECT_STORED_TILES, level, start, end)
    return [Tile(level, row["number"], row["hashes"], row["root"]) for row in rows]


async def count_tiles(connection: Connection | Pool) -> int:
    """The number of full tiles of all levels."""
    return await connection.fetchval(COUNT_TILES) or 0


async def load_leaf_hashes(connection: Connection | Pool, after: int, until: int) -> list[bytes]:
    """The leaf hashes of the positions in (after, until]."""
    return [row["leaf_hash"] for row in await connection.fetch(SELECT_LEAF_HASHES, after, until)]


async def load_entries(connection: Connection | Pool, after: int, until: int) -> list[bytes]:
    """The hashed entries of the positions in (after, until]."""
    return [row["entry"] for row in await connection.fetch(SELECT_ENTRIES, after, until)]


async def load_stream_heads(connection: Connection | Pool, after: int, until: int) -> list[str]:
    """The last event in (after, until] of each stream that has one there: texts for `heads.parse_heads`."""
    return [row["lines"] for row in await connection.fetch(SELECT_STREAM_HEADS, after, until)]
