"""One statement for everything that a batch of events writes, and the head of the log, which it can assert.

A lone client waits for every round trip. With a statement per table it would wait for nine of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

import asyncpg
from msgspec import Struct

from registry.events import log_lock
from registry.events.log_lock import LOG_LOCK_KEY, log_transaction, terminate_on_timeout
from registry.infra.postgres import Connection, Pool

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


class WriteBatch:
    """Writes into several tables that Postgres executes as one statement.

    Each part is a data-modifying CTE, written whole and numbered from $1 in the module that owns its table. All parts
    see the database as it was before the statement, and run in no particular order.
    """

    def __init__(self) -> None:
        self._first: list[tuple[str, Sequence[Any]]] = []
        self._parts: list[str] = []
        self._arguments: list[Any] = []

    def add_prerequisite(self, statement: str, *arguments: Any) -> None:
        """Add a statement that runs before the parts, such as a DELETE that they must see."""
        self._first.append((statement, arguments))

    def add(self, part: str, *arguments: Any) -> None:
        """Add a part with its arguments."""
        self._parts.append(_numbered(part, len(self._arguments)))
        self._arguments += arguments

    async def execute(self, connection: Connection, seconds: float | None = None) -> None:
        """Write everything in the caller's transaction, in at most so many seconds; None: as the connection limits."""
        for statement, arguments in self._first:
            await connection.execute(statement, *arguments)
        if self._parts:
            # SELECT a column: asyncpg 0.32 writes 8 bytes past the end of a record without columns.
            statement = f"WITH {', '.join(self._parts)} SELECT 1"
            await connection.execute(statement, *self._arguments, timeout=seconds)
        self._first, self._parts, self._arguments = [], [], []

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
        try:
            if self._first:
                async with log_transaction(pool) as connection:
                    await connection.execute(ASSERT_HEAD, *assertion)
                    await self.execute(connection, log_lock.write_seconds(events))
            else:
                assert_head = _numbered(ASSERT_HEAD, len(self._arguments))
                statement = f"WITH {', '.join(self._parts)} {assert_head}"
                async with pool.acquire(timeout=log_lock.LOCK_TIMEOUT_SECONDS) as connection:
                    with terminate_on_timeout(connection):
                        arguments = (*self._arguments, *assertion)
                        await connection.execute(statement, *arguments, timeout=log_lock.write_seconds(events))
        except (asyncpg.DivisionByZeroError, asyncpg.UniqueViolationError) as error:
            raise HeadMoved from error


@cache
def _numbered(part: str, offset: int) -> str:
    """The part with its arguments renumbered to follow `offset` others."""
    return re.sub(r"\$(\d+)", lambda found: f"${int(found.group(1)) + offset}", part)
