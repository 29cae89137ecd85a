"""Follow the log: read from Postgres what the copy lacks, and write it in one transaction of DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.infra.postgres import Connection
from registry.projections.columnar.tables import EVENTS, TEXTS, CopiedTable

ALL_TEXTS = ""
"""In `fact_resets`: texts of events were replaced, not the facts of a deal."""

# With more events than this since the copy's position, all tables are loaded.
MAX_FOLLOWED_EVENTS = 100_000
EVENTS_PER_SLICE = 2_000

SELECT_EVENTS_SINCE = """
SELECT substr(stream, 6) AS deal, position, effective_on, published_on, recorded_at,
       type = 'event_corrected' AS redates,
       type = 'event_redacted' AS erased
  FROM events
 WHERE position > $1
   AND stream LIKE 'deal/%'
 ORDER BY position
 LIMIT $2
"""

SELECT_RESET_DEALS = "SELECT DISTINCT deal FROM fact_resets WHERE id > $1"

# The rows of some deals that were written since a position, as one JSON text for each table; and whether the copy may
# have an earlier state of one.
SELECT_ROWS_SINCE = """
SELECT '{table}' AS "table", json_agg(r)::text AS rows, bool_or(r.recorded_from::bigint <= $3) AS replaces
  FROM (
        SELECT {columns}
          FROM unnest($1::text[], $2::bigint[]) AS touched (deal, since)
               JOIN {table} AS t ON t.deal = touched.deal AND t.changed_at > touched.since
       ) AS r
HAVING count(*) > 0
"""

# The texts of events that were written at some positions.
SELECT_TEXTS_SINCE = """
SELECT 'event_texts' AS "table", json_agg(r)::text AS rows, bool_or(r.recorded_from::bigint <= $3) AS replaces
  FROM (SELECT {columns} FROM event_texts AS t WHERE t.changed_at > $1 AND t.changed_at <= $2) AS r
HAVING count(*) > 0
"""

INSERT_EVENTS = f"""
INSERT INTO {EVENTS}
SELECT unnest($deals), unnest($positions), unnest($effective::DATE[]), unnest($published), unnest($instants),
       unnest($redates)
"""

ROWS = "SELECT {columns} FROM (SELECT unnest(from_json($rows, $structure), max_depth := 2))"

INSERT_ROWS = f"INSERT INTO {{table}} {ROWS}"

# Staged first: a DELETE that joins is planned for the few rows that it joins.
STAGE = f"CREATE OR REPLACE TEMP TABLE staged_{{table}} AS {ROWS}"

DELETE_DEALS = "DELETE FROM {table} WHERE list_contains($1, deal)"

INSERT_STAGED = "INSERT INTO {table} SELECT * FROM staged_{table}"

DELETE_STAGED = "DELETE FROM {table} AS t USING staged_{table} AS s WHERE {same}"


class CopyState(Struct, frozen=True):
    """What the copy holds.

    Attributes:
        fingerprint: Of the copied tables (`tables.fingerprint`).
        position: Up to which position of the log.
        leaf_hash: The leaf hash at that position; None for an empty log.
        reset: The last id in `fact_resets`: the deals whose rows were replaced up to it are as they are now.
    """

    fingerprint: str
    position: int
    leaf_hash: bytes | None
    reset: int


class CopyChanges(Struct, frozen=True):
    """What the copy lacks: events, rows as JSON by table, and the deals whose rows are all replaced.

    Of `rows`, the last value says whether the copy may have an earlier state of one of them.
    """

    state: CopyState
    events: list[tuple[Any, ...]]
    rows: list[tuple[str, str, bool]]
    replaced: list[str]


async def changes_since(
    connection: Connection, tables: Sequence[CopiedTable], state: CopyState, new: CopyState
) -> CopyChanges | None:
    """What the copy lacks; None if the copy is to be made again."""
    if new.position - state.position > MAX_FOLLOWED_EVENTS:
        return None
    statement = " UNION ALL ".join(
        f"({SELECT_ROWS_SINCE.format(table=table.name, columns=table.select)})"
        for table in tables
        if table.name != TEXTS
    )
    reset = [row["deal"] for row in await connection.fetch(SELECT_RESET_DEALS, state.reset)]
    if ALL_TEXTS in reset:
        return None
    changes = CopyChanges(new, [], [], reset)
    since = dict.fromkeys(reset, -1)
    seen: set[str] = set()
    position = state.position
    # In slices, so that no answer of Postgres holds the event loop for long.
    while events := await connection.fetch(SELECT_EVENTS_SINCE, position, EVENTS_PER_SLICE):
        if any(event["erased"] for event in events):
            # The bytes of deleted rows stay in a file.
            return None
        since |= {event["deal"]: state.position for event in events if event["deal"] not in since}
        changes.events.extend(tuple(event)[:6] for event in events)
        await _fetch_rows(connection, statement, changes, {d: p for d, p in since.items() if d not in seen}, state)
        seen |= since.keys()
        position = events[-1]["position"]
        if len(events) < EVENTS_PER_SLICE:
            break
    await _fetch_rows(connection, statement, changes, {d: p for d, p in since.items() if d not in seen}, state)
    (texts,) = (SELECT_TEXTS_SINCE.format(columns=table.select) for table in tables if table.name == TEXTS)
    for first in range(state.position, new.position, EVENTS_PER_SLICE):
        rows = await connection.fetch(texts, first, min(first + EVENTS_PER_SLICE, new.position), state.position)
        changes.rows.extend((row["table"], row["rows"], row["replaces"]) for row in rows)
    return changes


async def _fetch_rows(
    connection: Connection, statement: str, changes: CopyChanges, since: Mapping[str, int], state: CopyState
) -> None:
    """Add the rows of some deals that were written after a position, each after its own."""
    if since:
        rows = await connection.fetch(statement, list(since), list(since.values()), state.position)
        changes.rows.extend((row["table"], row["rows"], row["replaces"]) for row in rows)


def apply(connection: DuckDBPyConnection, tables: Sequence[CopiedTable], changes: CopyChanges) -> None:
    """Write changes in one transaction."""
    cursor = connection.cursor()
    by_name = {table.name: table for table in tables}
    cursor.execute("BEGIN")
    try:
        if changes.replaced:
            for name in by_name.keys() - {TEXTS}:
                cursor.execute(DELETE_DEALS.format(table=name), [changes.replaced])
        for name, rows, replaces in changes.rows:
            table = by_name[name]
            structure = msgspec.json.encode([dict.fromkeys(table.sent, "VARCHAR")]).decode()
            statement = STAGE if replaces else INSERT_ROWS
            given = {"rows": rows, "structure": structure}
            cursor.execute(statement.format(table=name, columns=table.typed), given)
            if not replaces:
                continue
            same = " AND ".join(f"t.{column} = s.{column}" for column in table.key)
            cursor.execute(DELETE_STAGED.format(table=name, same=same))
            cursor.execute(INSERT_STAGED.format(table=name))
        if changes.events:
            columns = zip(*changes.events, strict=True)
            names = ("deals", "positions", "effective", "published", "instants", "redates")
            cursor.execute(INSERT_EVENTS, dict(zip(names, map(list, columns), strict=True)))
        write_state(cursor, changes.state)
        cursor.execute("COMMIT")
    finally:
        cursor.close()


def write_state(connection: DuckDBPyConnection, state: CopyState) -> None:
    """Note what the copy holds."""
    connection.execute("DELETE FROM copied")
    connection.execute(
        "INSERT INTO copied VALUES ($1, $2, $3, $4)", [state.fingerprint, state.position, state.leaf_hash, state.reset]
    )
