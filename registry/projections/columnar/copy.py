"""The columnar copy of one process: it follows the log by position and answers questions in worker threads.

The copy is never authoritative. Before a question, the deals that were touched since its position are read from
Postgres in one snapshot and written in one transaction of DuckDB, so an answer holds at a known position and includes
what the caller recorded. Writers pay nothing. A copy that is missing, damaged, of another log or of another schema is
made again from Postgres.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb
import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.infra.postgres import Connection, Pool
from registry.projections.columnar.files import CopyDirectory
from registry.projections.columnar.loading import load_tables
from registry.projections.columnar.tables import CREATE_STATE, EVENTS, CopiedTable, copied_tables, fingerprint

log = logging.getLogger(__name__)
T = TypeVar("T")

# With more events than this since the copy's position, all tables are loaded.
MAX_FOLLOWED_EVENTS = 100_000
EVENTS_PER_SLICE = 2_000

WORKERS = 4
LONG_WORKERS = 2
MAX_ANSWERS = 64
"""Answers that are kept: so many until the copy moves on, and so many that no later event changes."""

# Errors after which the file is not trusted any more.
DAMAGE = (duckdb.IOException, duckdb.InternalException, duckdb.SerializationException, duckdb.FatalException)

SELECT_HEAD = """
SELECT coalesce(head.position, 0) AS position, head.leaf_hash,
       (SELECT leaf_hash FROM events WHERE position = $1) AS known,
       (SELECT coalesce(max(id), 0) FROM fact_resets) AS reset
  FROM (SELECT 1) AS one
       LEFT JOIN LATERAL (SELECT position, leaf_hash FROM events ORDER BY position DESC LIMIT 1) AS head ON true
"""

SELECT_LAST_POSITION = "SELECT coalesce(max(position), 0) FROM events"

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

# The rows of some deals that were written since a position, as one JSON text for each table.
SELECT_ROWS_SINCE = """
SELECT '{table}' AS "table", json_agg(r)::text AS rows
  FROM (
        SELECT {columns}
          FROM unnest($1::text[], $2::bigint[]) AS touched (deal, since)
               JOIN {table} AS t ON t.deal = touched.deal AND t.changed_at > touched.since
       ) AS r
HAVING count(*) > 0
"""

INSERT_EVENTS = f"""
INSERT INTO {EVENTS}
SELECT unnest($deals), unnest($positions), unnest($effective::DATE[]), unnest($published), unnest($instants),
       unnest($redates)
"""

# Staged first: a DELETE that joins is planned for the few rows that it joins.
STAGE = """
CREATE OR REPLACE TEMP TABLE staged_{table} AS
SELECT {columns}
  FROM (SELECT unnest(from_json($rows, $structure), max_depth := 2))
"""

DELETE_DEALS = "DELETE FROM {table} WHERE list_contains($1, deal)"

INSERT_STAGED = "INSERT INTO {table} SELECT * FROM staged_{table}"

DELETE_STAGED = "DELETE FROM {table} AS t USING staged_{table} AS s WHERE {same}"


class _State(Struct, frozen=True):
    """What the copy holds."""

    fingerprint: str
    position: int
    leaf_hash: bytes | None
    reset: int


class _Changes(Struct, frozen=True):
    """What the copy lacks: events, rows as JSON by table, and the deals whose rows are all replaced."""

    state: _State
    events: list[tuple[Any, ...]]
    rows: list[tuple[str, str]]
    replaced: list[str]


class ColumnarCopy:
    """The copy of the fact tables of one database.

    Args:
        pool: The database that the recorder writes to.
        directory: Where the files are; services may share it.
    """

    def __init__(self, pool: Pool, directory: Path) -> None:
        self._pool = pool
        self._parent = directory
        self._directory: CopyDirectory | None = None
        self._connection: DuckDBPyConnection | None = None
        self._tables: tuple[CopiedTable, ...] = ()
        self._state: _State | None = None
        self._lock = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="columnar")
        self._long = ThreadPoolExecutor(LONG_WORKERS, thread_name_prefix="columnar-long")
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._final_answers: OrderedDict[Hashable, Any] = OrderedDict()

    @property
    def pool(self) -> Pool:
        """The database that is copied."""
        return self._pool

    @property
    def position(self) -> int:
        """The position that the copy holds the log up to; 0 before it was opened."""
        return self._state.position if self._state is not None else 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the file once the questions that run have been answered."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        async with self._lock:
            for threads in (self._threads, self._long):
                await asyncio.to_thread(threads.shutdown, cancel_futures=True)
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._directory is not None:
                self._directory.close()

    async def head(self) -> int:
        """The last position of the log; 0 if it is empty."""
        return int(await self._pool.fetchval(SELECT_LAST_POSITION))

    async def ask(
        self,
        position: int,
        question: Callable[[DuckDBPyConnection], T],
        key: Hashable = None,
        *,
        is_final: bool = False,
        is_long: bool = False,
    ) -> T:
        """Answer a question from a copy that holds the log up to a position or beyond.

        Args:
            position: A position of the log.
            question: Runs in a thread, in a transaction that reads.
            key: Identifies the question, so that the answer can be kept while the copy stays where it is.
            is_final: Whether no later event changes the answer, so that it can be kept until the copy is made again.
            is_long: Whether it may take long: it then has threads of its own, so that other questions do not wait.
        """
        await self.follow(position)
        answers = self._final_answers if is_final else self._answers
        if key is not None and key in answers:
            answers.move_to_end(key)
            kept: T = answers[key]
            return kept
        state = self._state
        try:
            answer = await self._run(question, is_long)
        except DAMAGE as error:
            async with self._lock:
                await self._start_again(error)
            state = self._state
            answer = await self._run(question, is_long)
        if key is not None and state is self._state:
            answers[key] = answer
            if len(answers) > MAX_ANSWERS:
                answers.popitem(last=False)
        return answer

    async def follow(self, position: int) -> None:
        """Bring the copy to a position or beyond."""
        # The log may have grown after the work that goes on now has read it.
        for _ in range(2):
            if self.position >= position and self._state is not None:
                return
            if self._following is None or self._following.done():
                self._following = asyncio.create_task(self._follow())
            # Loading a large copy goes on when the one who asked has left: the next one needs it too.
            await asyncio.shield(self._following)

    def start(self) -> None:
        """Begin to load or to follow now, so that the first question finds the copy made."""
        self._following = asyncio.create_task(self._follow())
        self._following.add_done_callback(_report)

    async def _follow(self) -> None:
        async with self._lock:
            if self._directory is None:
                await asyncio.to_thread(self._open)
            try:
                await self._catch_up()
            except duckdb.Error as error:
                await self._start_again(error)

    # --- questions ----------------------------------------------------------------------------------------------------

    async def _run(self, question: Callable[[DuckDBPyConnection], T], is_long: bool) -> T:
        assert self._connection is not None
        cursor = self._connection.cursor()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._long if is_long else self._threads, _answer, cursor, question
            )
        except asyncio.CancelledError:
            # A read that takes too long, or whose client has left, is cancelled (`api/deadline.py`).
            cursor.interrupt()
            raise

    async def _start_again(self, error: duckdb.Error) -> None:
        """Make the copy again after it could not be read or written."""
        log.warning("the columnar copy is made again: %s", error)
        assert self._directory is not None
        self._state = None
        self._directory.close()
        self._directory = CopyDirectory(self._parent)
        await self._catch_up()

    # --- following ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Take a directory, and the copy in it if there is one."""
        self._directory = CopyDirectory(self._parent)
        self._connection = self._directory.open()
        if self._connection is None:
            return
        try:
            row = self._connection.execute("SELECT fingerprint, position, leaf_hash, reset FROM copied").fetchone()
            self._state = _State(*row) if row is not None else None
        except duckdb.Error:
            self._state = None

    async def _catch_up(self) -> None:
        """Read from one snapshot of Postgres what the copy lacks, and write it."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            if not self._tables:
                self._tables = await copied_tables(connection)
            state = self._state
            head = await connection.fetchrow(SELECT_HEAD, state.position if state else 0)
            new = _State(fingerprint(self._tables), head["position"], head["leaf_hash"], head["reset"])
            changes = None
            if (
                state is not None
                and state.fingerprint == new.fingerprint
                and state.reset <= new.reset
                and (state.position == 0 or state.leaf_hash == head["known"])
            ):
                changes = await self._changes(connection, state, new)
            if changes is None:
                await self._load(connection, new)
                return
        await asyncio.get_running_loop().run_in_executor(None, self._apply, changes)
        self._answers.clear()
        if changes.replaced:
            self._final_answers.clear()
        self._state = new

    async def _changes(self, connection: Connection, state: _State, new: _State) -> _Changes | None:
        """What the copy lacks; None if the copy is to be made again."""
        if new.position - state.position > MAX_FOLLOWED_EVENTS:
            return None
        statement = " UNION ALL ".join(
            f"({SELECT_ROWS_SINCE.format(table=table.name, columns=table.select)})" for table in self._tables
        )
        reset = [row["deal"] for row in await connection.fetch(SELECT_RESET_DEALS, state.reset)]
        changes = _Changes(new, [], [], reset)
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
            await _fetch_rows(connection, statement, changes, {d: p for d, p in since.items() if d not in seen})
            seen |= since.keys()
            position = events[-1]["position"]
            if len(events) < EVENTS_PER_SLICE:
                break
        await _fetch_rows(connection, statement, changes, {d: p for d, p in since.items() if d not in seen})
        return changes

    def _apply(self, changes: _Changes) -> None:
        """Write changes in one transaction."""
        assert self._connection is not None
        cursor = self._connection.cursor()
        tables = {table.name: table for table in self._tables}
        cursor.execute("BEGIN")
        try:
            if changes.replaced:
                for name in tables:
                    cursor.execute(DELETE_DEALS.format(table=name), [changes.replaced])
            for name, rows in changes.rows:
                table = tables[name]
                structure = msgspec.json.encode([dict.fromkeys(table.sent, "VARCHAR")]).decode()
                staged = STAGE.format(table=name, columns=table.typed)
                cursor.execute(staged, {"rows": rows, "structure": structure})
                same = " AND ".join(f"t.{column} = s.{column}" for column in table.key)
                cursor.execute(DELETE_STAGED.format(table=name, same=same))
                cursor.execute(INSERT_STAGED.format(table=name))
            if changes.events:
                columns = zip(*changes.events, strict=True)
                names = ("deals", "positions", "effective", "published", "instants", "redates")
                cursor.execute(INSERT_EVENTS, dict(zip(names, map(list, columns), strict=True)))
            _write_state(cursor, changes.state)
            cursor.execute("COMMIT")
        finally:
            cursor.close()

    def _adopt(self, connection: DuckDBPyConnection) -> None:
        """Ask the latest file from now on, and delete the others."""
        assert self._directory is not None
        previous, self._connection = self._connection, connection
        if previous is not None:
            previous.close()
        self._directory.keep_latest()

    # --- loading ------------------------------------------------------------------------------------------------------

    async def _load(self, connection: Connection, state: _State) -> None:
        """Make a new file from whole tables."""
        assert self._directory is not None
        new = self._directory.create()
        try:
            new.execute(CREATE_STATE)
            new.execute("BEGIN")
            await load_tables(connection, new, self._tables, self._directory.scratch)
            _write_state(new, state)
            await asyncio.to_thread(_commit, new)
        except BaseException:
            new.close()
            self._directory.delete_latest()
            raise
        finally:
            self._directory.delete_scratch()
        self._adopt(new)
        self._answers.clear()
        self._final_answers.clear()
        self._state = state


async def _fetch_rows(connection: Connection, statement: str, changes: _Changes, since: Mapping[str, int]) -> None:
    """Add the rows of some deals that were written after a position, each after its own."""
    if since:
        rows = await connection.fetch(statement, list(since), list(since.values()))
        changes.rows.extend((row["table"], row["rows"]) for row in rows)


def _report(work: asyncio.Task[None]) -> None:
    """Log why the copy could not be made at the start; the first question tries again."""
    if not work.cancelled() and (error := work.exception()) is not None:
        log.warning("the columnar copy could not be made: %s", error)


def _commit(connection: DuckDBPyConnection) -> None:
    connection.execute("COMMIT")
    connection.execute("CHECKPOINT")


def _write_state(connection: DuckDBPyConnection, state: _State) -> None:
    connection.execute("DELETE FROM copied")
    connection.execute(
        "INSERT INTO copied VALUES ($1, $2, $3, $4)", [state.fingerprint, state.position, state.leaf_hash, state.reset]
    )


def _answer(cursor: DuckDBPyConnection, question: Callable[[DuckDBPyConnection], T]) -> T:
    """Run a question on one snapshot of the copy."""
    try:
        cursor.execute("BEGIN")
        return question(cursor)
    finally:
        cursor.close()
