"""A log several times as large as one that was imported: its rows are copied in the database, with other keys.

Slugs, streams, ids and positions are new; titles, organizations and what the events contain are copied. The tree of
hashes is extended as the registry does it, so a service starts on such a log and appends to it. It does not verify,
because the copied entries name the streams of the originals.
"""

from __future__ import annotations

import asyncpg

from bench import workload
from bench.comparisons import PROJECTION_TABLES
from registry.events.write_batch import WriteBatch
from registry.transparency.tree import add_tiles, load_frontier, load_leaf_hashes

# Without those that the histories of deals do not fill.
TABLES = ("events", "event_contents", *sorted(set(PROJECTION_TABLES) - {"deal_identifiers", "principals"}))
POSITIONS = ("position", "recorded_from", "recorded_to", "changed_at")
DEALS = ("deal", "other_deal")

_COLUMNS = """
SELECT column_name
  FROM information_schema.columns
 WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER'
 ORDER BY ordinal_position
"""
_LEAVES_PER_STEP = 65_536


async def multiply(url: str, deals: int, times: int) -> None:
    """Copy the rows of a log with the histories of `deals` deals until it has `times` as many.

    Args:
        url: The database, as its owner.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET synchronous_commit = off")
        head = await connection.fetchval("SELECT max(position) FROM events")
        for copy in range(1, times):
            for table in TABLES:
                columns = [row["column_name"] for row in await connection.fetch(_COLUMNS, table)]
                await connection.execute(_copying(table, columns, head, copy * deals, copy))
            await _extend_tree(connection, copy * head, (copy + 1) * head)
    finally:
        await connection.close()


def _copying(table: str, columns: list[str], head: int, deals: int, copy: int) -> str:
    """The statement that copies the rows of the original log.

    Args:
        head: The last position of the original log.
        deals: The deals of the log until now.
        copy: The number of the copy.
    """

    def renamed(slug: str) -> str:
        prefix = workload.slug(0).rstrip("0")
        digits = len(workload.slug(0)) - len(prefix)
        number = f"substr({slug}, {len(prefix) + 1})::int + {deals}"
        return (
            f"CASE WHEN {slug} ~ '^{prefix}[0-9]{{{digits}}}$' THEN '{prefix}' || lpad(({number})::text, {digits}, '0')"
            f" ELSE {slug} || '-{copy}' END"
        )

    def copied(column: str) -> str:
        if column in POSITIONS:
            return f"CASE WHEN {column} > {head} THEN {column} ELSE {column} + {copy * head} END"
        if column in DEALS:
            return renamed(column)
        if column == "stream":
            of_deal = f"'deal/' || {renamed('substr(stream, 6)')}"
            return f"CASE WHEN stream LIKE 'deal/%' THEN {of_deal} ELSE stream || '-{copy}' END"
        if (table, column) == ("events", "id"):
            return f"md5(id::text || '-{copy}')::uuid"
        return f'"{column}"'

    names = ", ".join(f'"{column}"' for column in columns)
    since = "position" if "position" in columns else "recorded_from"
    return f"""
INSERT INTO {table} ({names})
SELECT {", ".join(map(copied, columns))}
  FROM {table}
 WHERE {since} <= {head}
"""


async def _extend_tree(connection: asyncpg.Connection[asyncpg.Record], size: int, new_size: int) -> None:
    frontier = await load_frontier(connection, size)
    for after in range(size, new_size, _LEAVES_PER_STEP):
        leaves = await load_leaf_hashes(connection, after, min(new_size, after + _LEAVES_PER_STEP))
        writes = WriteBatch()
        add_tiles(writes, [tile for leaf in leaves for tile in frontier.append(leaf)])
        async with connection.transaction():
            await writes.execute(connection)
