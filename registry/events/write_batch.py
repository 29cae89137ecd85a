"""One statement for everything that a batch of events writes, and the head of the log, which it can assert.

A lone client waits for every round trip. With a statement per table it would wait for nine of them.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import chain, islice
from typing import Any

import asyncpg
from msgspec import Struct

from registry.events import log_lock
from registry.events.log_lock import LOG_LOCK_KEY, log_transaction, terminate_on_timeout
from registry.infra.postgres import Connection, Pool
from registry.infra.time_slice import TimeSlice

HEAD = """
SELECT position, leaf_hash, recorded_at
  FROM events
 ORDER BY position DESC
 LIMIT 1
"""


# Takes the log's lock if it is free. Fails with a division by zero if it is not, if the log has another head, or if the
# database's clock is outside $3 to $4. The primary key refuses a second event at a position that was committed after
# the statement's snapshot.
ASSERT_HEAD = f"""
SELECT 1 / (pg_try_advisory_xact_lock({LOG_LOCK_KEY})
            AND EXISTS (SELECT FROM events WHERE position = $1 AND leaf_hash = $2)
            AND clock_timestamp() BETWEEN $3 AND $4)::int
"""  # noqa: S608 - put together from a constant


MAX_ROWS = 800
"""Rows of one statement. asyncpg encodes its arguments on the event loop, all at once. With 2,400, an import of 10,000
lines took the service 4.1 s of processor time (mean of 6, load 8), with 800 3.7."""

COMPUTED_ROWS = 50
"""Rows that are computed before other tasks may run; one takes some 10 µs."""


class Head(Struct, frozen=True):
    """The last event of the log: its position (0 for an empty log), leaf hash and time of recording."""

    position: int
    leaf_hash: bytes | None
    recorded_at: datetime | None


class HeadMoved(Exception):
    """The log has another head, another process holds its lock, or the clocks differ. Nothing was written."""


async def head(connection: Connection | Pool) -> Head:
    """The last event of the log."""
    row = await connection.fetchrow(HEAD)
    return Head(row["position"], row["leaf_hash"], row["recorded_at"]) if row else Head(0, None, None)


class _Part(Struct):
    """A statement or a CTE with its arguments.

    Attributes:
        rows: The rows that are still to be written, as its last argument; None if it takes no rows, or none are left.
        grouped: Whether rows with the same first column are written by one statement.
    """

    text: str
    arguments: Sequence[Any]
    rows: Iterator[Any] | None
    grouped: bool = False

    async def take(self, most: int, time: TimeSlice) -> list[Any]:
        """The arguments, with `most` of the rows and the rest of the last group. Later calls return further rows."""
        if self.rows is None:
            return list(self.arguments)
        rows: list[Any] = []
        while some := list(islice(self.rows, min(most - len(rows), COMPUTED_ROWS))):
            rows += some
            await time.give_way()
        arguments = [*self.arguments, rows]
        following = list(islice(self.rows, 1))
        while self.grouped and following and following[0][0] == rows[-1][0]:
            rows += following
            following = list(islice(self.rows, 1))
            await time.give_way()
        self.rows = chain(following, self.rows) if following else None
        self.arguments = [[] for _ in self.arguments]
        return arguments


class WriteBatch:
    """Writes into several tables that Postgres executes as one statement, or, if they have many rows, as several.

    Each part is a data-modifying CTE, written whole and numbered from $1 in the module that owns its table. All parts
    of a statement see the database as it was before the statement, and run in no particular order. Statements have the
    parts in the order in which they were added.

    The rows of a statement are computed while Postgres executes the statement before it: 400 lines of an import were
    written in 121 ms (median of 34 batches), and in 129 ms if each was computed first. The work gives way to other
    tasks.
    """

    def __init__(self) -> None:
        self._first: list[_Part] = []
        self._parts: deque[_Part] = deque()
        # The next statement.
        self._texts: list[str] = []
        self._arguments: list[Any] = []
        self._time = TimeSlice()

    def add_prerequisite(
        self, statement: str, *arguments: Any, rows: Iterable[Any] | None = None, grouped: bool = False
    ) -> None:
        """Add a statement that runs before the parts, such as a DELETE that they must see. `rows`: as for `add`."""
        self._first.append(_Part(statement, arguments, None if rows is None else iter(rows), grouped))

    def add(self, part: str, *arguments: Any, rows: Iterable[Any] | None = None, grouped: bool = False) -> None:
        """Add a part with its arguments.

        `rows`, its last argument, may be executed by several statements. Those after the first have empty lists as the
        part's other arguments. With `grouped`, rows with the same first column are executed by one statement.
        """
        self._parts.append(_Part(part, arguments, None if rows is None else iter(rows), grouped))

    async def execute(self, connection: Connection, seconds: float | None = None) -> None:
        """Write everything in the caller's transaction.

        `seconds`: how long each statement may take; None: as the connection limits.
        """
        for statement in self._first:
            is_left = True
            while is_left:
                await connection.execute(statement.text, *await statement.take(MAX_ROWS, self._time))
                is_left = statement.rows is not None
        self._first = []
        is_left = await self._fill()
        while is_left:
            # SELECT a column: asyncpg 0.32 writes 8 bytes past the end of a record without columns.
            text, arguments = f"WITH {', '.join(self._texts)} SELECT 1", self._arguments
            self._texts, self._arguments = [], []
            executing = asyncio.ensure_future(connection.execute(text, *arguments, timeout=seconds))
            try:
                is_left = await self._fill()
            finally:
                await executing

    async def execute_if_head_is(
        self, expected: Head, pool: Pool, database_range: tuple[datetime, datetime], events: int
    ) -> None:
        """Write and commit everything if the log has this head: in one round trip, if one statement is enough.

        Args:
            expected: The head.
            events: How many events are written.
            database_range: The earliest and the latest time that the database's clock may show.

        Raises:
            HeadMoved: The log has another head, another process holds its lock, or the database's clock shows another
                time. Nothing was written.
        """
        assertion = (expected.position, expected.leaf_hash, *database_range)
        await self._fill()
        try:
            if self._first or self._parts:
                async with log_transaction(pool, events) as connection:
                    await connection.execute(ASSERT_HEAD, *assertion)
                    await self.execute(connection, log_lock.write_seconds(events))
            else:
                assert_head = _numbered(ASSERT_HEAD, len(self._arguments))
                statement = f"WITH {', '.join(self._texts)} {assert_head}"
                async with pool.acquire(timeout=log_lock.LOCK_TIMEOUT_SECONDS) as connection:
                    with terminate_on_timeout(connection):
                        arguments = (*self._arguments, *assertion)
                        await connection.execute(statement, *arguments, timeout=log_lock.write_seconds(events))
        except (asyncpg.DivisionByZeroError, asyncpg.UniqueViolationError) as error:
            raise HeadMoved from error

    async def _fill(self) -> bool:
        """Take parts for the next statement, unless one is ready; return whether there is one."""
        room = 0 if self._texts else MAX_ROWS
        while room > 0 and self._parts:
            part = self._parts[0]
            arguments = await part.take(room, self._time)
            if part.rows is None:
                self._parts.popleft()
            if any(arguments):
                room -= max(len(argument) for argument in arguments)
                self._texts.append(_numbered(part.text, len(self._arguments)))
                self._arguments += arguments
        return bool(self._texts)


@cache
def _numbered(part: str, offset: int) -> str:
    """The part with its arguments renumbered to follow `offset` others."""
    return re.sub(r"\$(\d+)", lambda found: f"${int(found.group(1)) + offset}", part)
