"""Follow the log: read from Postgres what the copy lacks, and write it in one transaction of DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.infra.postgres import Connection
from registry.projections.columnar.loading import (
    COPY_EVENTS,
    EVENT_COLUMNS,
    READ_CSV,
    TABLE_SECONDS,
    TYPED_EVENTS,
)
from registry.projections.columnar.memory_tables import Written, written_columns
from registry.projections.columnar.tables import EVENTS, TEXTS, CopiedTable

ALL_TEXTS = ""
"""In `fact_resets`: texts of events were replaced, not the facts of a deal."""

# With more events than this since the copy's position, all tables are loaded.
MAX_FOLLOWED_EVENTS = 100_000
DEALS_PER_SLICE = 2_500
FEW_EVENTS = 200
"""The rows of more events come as CSV: 10,000 versions of pledges take DuckDB 46 ms of processor time, as JSON 415.
For few, a file costs more than it saves."""

SELECT_EVENTS_SINCE = """
SELECT substr(stream, 6) AS deal, position, effective_on, published_on, recorded_at,
       type = 'event_corrected' AS redates,
       type = 'event_redacted' AS erased,
       version = 1 AS is_new
  FROM events
 WHERE position > $1
   AND stream LIKE 'deal/%'
 ORDER BY position
"""

# The deals of the same events, in the order in which they came first.
SELECT_DEALS_SINCE = """
SELECT substr(stream, 6) AS deal, bool_or(type = 'event_redacted') AS erased, min(version) = 1 AS is_new
  FROM events
 WHERE position > $1
   AND stream LIKE 'deal/%'
 GROUP BY stream
 ORDER BY min(position)
"""

SELECT_RESET_DEALS = "SELECT DISTINCT deal FROM fact_resets WHERE id > $1"

# The rows of some deals that were written since a position.
ROWS_SINCE = """
SELECT {columns}
  FROM unnest($1::text[], $2::bigint[]) AS touched (deal, since)
       JOIN {table} AS t ON t.deal = touched.deal AND t.changed_at > touched.since
"""

# The texts of events that were written at some positions.
TEXTS_SINCE = "SELECT {columns} FROM event_texts AS t WHERE t.changed_at > $1 AND t.changed_at <= $2"

# Rows as one JSON text, and whether the copy may have an earlier state of one.
AS_JSON = """
SELECT '{table}' AS "table", json_agg(r)::text AS rows, bool_or(r.recorded_from::bigint <= ${position}) AS replaces
  FROM ({rows}) AS r
HAVING count(*) > 0
"""

INSERT_EVENTS = f"""
INSERT INTO {EVENTS}
SELECT unnest($deals), unnest($positions), unnest($effective::DATE[]), unnest($published), unnest($instants),
       unnest($redates)
"""

READ_EVENTS = READ_CSV.format(columns=dict.fromkeys(EVENT_COLUMNS, "VARCHAR"))
INSERT_EVENTS_FILE = f"INSERT INTO {EVENTS} SELECT {TYPED_EVENTS} FROM {READ_EVENTS}"

ROWS = "SELECT {columns} FROM (SELECT unnest(from_json($rows, $structure), max_depth := 2))"

INSERT_ROWS = f"INSERT INTO {{table}} {ROWS}"

RETURNING = " RETURNING {columns}"

PREPARE = "PREPARE insert_{table} AS {insert}"

EXECUTE = "EXECUTE insert_{table}({rows})"

UPDATE_STATE = "UPDATE copied SET fingerprint = $1, position = $2, leaf_hash = $3, reset = $4"

# Staged first: a DELETE that joins is planned for the few rows that it joins.
STAGE = f"CREATE OR REPLACE TEMP TABLE staged_{{table}} AS {ROWS}"
STAGE_FILE = "CREATE OR REPLACE TEMP TABLE staged_{table} AS SELECT {columns} FROM {source}"

REPLACES = "SELECT coalesce(bool_or(recorded_from <= $1), false) FROM staged_{table}"

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
    """What the copy lacks.

    Attributes:
        since: What the copy holds.
        state: What it will hold.
        events: The events in between, if there are few.
        rows: Rows as JSON with their table; the last value says whether the copy may have an earlier state of one.
        files: Where there are many, the same rows and the events as files of CSV by table.
        replaced: The deals whose rows are all replaced.
        new: The deals that the copy has no event of.
    """

    since: CopyState
    state: CopyState
    events: list[tuple[Any, ...]]
    rows: list[tuple[str, str, bool]]
    files: dict[str, Path]
    replaced: list[str]
    new: set[str]


async def changes_since(
    connection: Connection,
    tables: Sequence[CopiedTable],
    state: CopyState,
    new: CopyState,
    scratch: Callable[[str], Path],
) -> CopyChanges | None:
    """What the copy lacks; None if the copy is to be made again.

    Args:
        connection: Postgres, in a snapshot.
        tables: The tables of the copy.
        state: What the copy holds.
        new: What the snapshot has.
        scratch: Makes the path of a temporary file.
    """
    if new.position - state.position > MAX_FOLLOWED_EVENTS:
        return None
    reset = [row["deal"] for row in await connection.fetch(SELECT_RESET_DEALS, state.reset)]
    if ALL_TEXTS in reset:
        return None
    is_long = new.position - state.position > FEW_EVENTS
    files = {name: scratch(name) for name in (EVENTS, *(table.name for table in tables))} if is_long else {}
    changes = CopyChanges(state, new, [], [], files, reset, set())
    since = dict.fromkeys(reset, -1)
    seen = set(reset)
    deals = await connection.cursor(SELECT_DEALS_SINCE if is_long else SELECT_EVENTS_SINCE, state.position)
    # In slices, so that no answer of Postgres holds the event loop for long.
    while found := await deals.fetch(DEALS_PER_SLICE):
        if any(row["erased"] for row in found):
            # The bytes of deleted rows stay in a file.
            return None
        changes.new.update(row["deal"] for row in found if row["is_new"])
        if not is_long:
            changes.events.extend(tuple(row)[:6] for row in found)
        some = {row["deal"]: state.position for row in found if row["deal"] not in seen}
        await _read_facts(connection, tables, changes, some)
        seen |= some.keys()
    await _read_facts(connection, tables, changes, since)
    await _read(connection, [table for table in tables if table.name == TEXTS], changes, state.position, new.position)
    if is_long:
        await _copy(connection, COPY_EVENTS, files[EVENTS], state.position, new.position)
    return changes


async def _read_facts(
    connection: Connection, tables: Sequence[CopiedTable], changes: CopyChanges, since: Mapping[str, int]
) -> None:
    """Read the rows of some deals that were written after a position, each after its own."""
    if since:
        facts = [table for table in tables if table.name != TEXTS]
        await _read(connection, facts, changes, list(since), list(since.values()))


async def _read(connection: Connection, tables: Sequence[CopiedTable], changes: CopyChanges, *given: Any) -> None:
    """Read rows of some tables into the changes, or into their files."""
    selects = {
        table.name: (TEXTS_SINCE if table.name == TEXTS else ROWS_SINCE).format(columns=table.select, table=table.name)
        for table in tables
    }
    if not changes.files:
        parts = (AS_JSON.format(table=table, rows=rows, position=3) for table, rows in selects.items())
        statement = " UNION ALL ".join(f"({part})" for part in parts)
        for row in await connection.fetch(statement, *given, changes.since.position):
            changes.rows.append((row["table"], row["rows"], row["replaces"]))
        return
    for table, rows in selects.items():
        await _copy(connection, rows, changes.files[table], *given)


async def _copy(connection: Connection, select: str, file: Path, *given: Any) -> None:
    """Add the rows of a query to a file of CSV."""
    with file.open("ab") as output:
        await connection.copy_from_query(select, *given, output=output, format="csv", timeout=TABLE_SECONDS)


class Writer:
    """Writes changes to an open copy. The statements for few rows are planned once: that takes longer than to run them.

    Inserting a version of a pledge takes 1 ms of processor time; planned each time, 5 (load 9 on two processors).
    """

    def __init__(self, connection: DuckDBPyConnection, tables: Sequence[CopiedTable]) -> None:
        self._cursor = connection.cursor()
        self._tables = {table.name: table for table in tables}
        self._prepared: set[str] = set()

    def close(self) -> None:
        """Let the file be closed."""
        self._cursor.close()

    def write(self, changes: CopyChanges) -> Written:
        """Write changes in one transaction, and return what was written."""
        self._cursor.execute("BEGIN")
        try:
            count, tables, rows = self._write(changes)
            self._cursor.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):
                self._cursor.execute("ROLLBACK")
            raise
        since, until = changes.since.position, changes.state.position
        return Written(since, until, rows, count, frozenset(tables), frozenset(changes.new))

    def _write(self, changes: CopyChanges) -> tuple[int, set[str], list[tuple[Any, ...]] | None]:
        """Write changes, and return the number of the rows, their tables, and the rows unless they came as files."""
        cursor = self._cursor
        if changes.replaced:
            for name in self._tables.keys() - {TEXTS}:
                cursor.execute(DELETE_DEALS.format(table=name), [changes.replaced])
        written: list[tuple[Any, ...]] = []
        for name, rows, replaces in changes.rows:
            written += self._write_rows(self._tables[name], rows, replaces=replaces)
        counts: dict[str, int] = {}
        for name, file in changes.files.items():
            if not file.exists() or not file.stat().st_size:
                continue
            if name == EVENTS:
                cursor.execute(INSERT_EVENTS_FILE, {"file": str(file)})
            else:
                self._write_file(self._tables[name], file, changes.since.position)
            ((counts[name],),) = cursor.fetchall()
        if changes.events:
            columns = zip(*changes.events, strict=True)
            names = ("deals", "positions", "effective", "published", "instants", "redates")
            cursor.execute(INSERT_EVENTS, dict(zip(names, map(list, columns), strict=True)))
            written += [(EVENTS, deal, position, None, None, None, None) for deal, position, *_ in changes.events]
        cursor.execute(UPDATE_STATE, _values(changes.state))
        if changes.files:
            return sum(counts.values()), set(counts), None
        return len(written), {row[0] for row in written}, written

    def _write_rows(self, table: CopiedTable, rows: str, *, replaces: bool) -> list[tuple[Any, ...]]:
        """Insert rows, in place of those that they replace."""
        name, cursor = table.name, self._cursor
        returning = RETURNING.format(columns=written_columns(name))
        if replaces:
            given = {"rows": rows, "structure": _structure(table)}
            cursor.execute(STAGE.format(table=name, columns=table.typed), given)
            self._write_staged(table, replaces=True, returning=returning)
        else:
            if name not in self._prepared:
                insert = INSERT_ROWS.format(table=name, columns=table.typed).replace("$rows", "$1::VARCHAR")
                insert = insert.replace("$structure", _literal(_structure(table)))
                cursor.execute(PREPARE.format(table=name, insert=insert + returning))
                self._prepared.add(name)
            cursor.execute(EXECUTE.format(table=name, rows=_literal(rows)))
        return cursor.fetchall()

    def _write_file(self, table: CopiedTable, file: Path, position: int) -> None:
        """Insert the rows of a file; the copy has earlier states of those that were recorded up to a position."""
        source = READ_CSV.format(columns=dict.fromkeys(table.sent, "VARCHAR"))
        stage = STAGE_FILE.format(table=table.name, columns=table.typed, source=source)
        self._cursor.execute(stage, {"file": str(file)})
        ((replaces,),) = self._cursor.execute(REPLACES.format(table=table.name), [position]).fetchall()
        self._write_staged(table, replaces=replaces)

    def _write_staged(self, table: CopiedTable, *, replaces: bool, returning: str = "") -> None:
        """Insert the staged rows of a table, in place of those that they replace."""
        if replaces:
            same = " AND ".join(f"t.{column} = s.{column}" for column in table.key)
            self._cursor.execute(DELETE_STAGED.format(table=table.name, same=same))
        self._cursor.execute(INSERT_STAGED.format(table=table.name) + returning)


def _structure(table: CopiedTable) -> str:
    """The rows of a table as `from_json` has to know them."""
    return msgspec.json.encode([dict.fromkeys(table.sent, "VARCHAR")]).decode()


def _literal(text: str) -> str:
    """A text in a statement: `EXECUTE` takes no parameters. A quotation mark is the only character with a meaning."""
    return "'" + text.replace("'", "''") + "'"


def _values(state: CopyState) -> list[Any]:
    return [state.fingerprint, state.position, state.leaf_hash, state.reset]


def write_state(connection: DuckDBPyConnection, state: CopyState) -> None:
    """Note what a new copy holds."""
    connection.execute("INSERT INTO copied VALUES ($1, $2, $3, $4)", _values(state))
