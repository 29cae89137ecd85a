"""The lock that orders appends: a Postgres advisory lock, held until the end of a transaction.

Positions must commit in order, or a reader that polls by position skips an event (tests/append/test_order.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import asyncpg

from registry.infra import postgres
from registry.infra.postgres import Connection, Pool

# The key of the advisory lock: 'registry' in ASCII. Every process that appends takes the same one.
LOG_LOCK_KEY = 8243105007150424697

# READ COMMITTED, whatever the database's default: under another level, a read after a wait for the lock would see the
# log as it was before (tests/append/test_several_writers.py).
LOCK = """
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SET LOCAL idle_in_transaction_session_timeout = '{idle:.0f}s';
SELECT pg_advisory_xact_lock({key});
"""

# Seconds that a process may compute between two statements while it holds the lock. Then the server ends its
# transaction: a process that freezes blocks the others no longer than that.
IDLE_SECONDS = 10

# Seconds to wait for a connection, and for the lock, before the database counts as unavailable.
LOCK_TIMEOUT_SECONDS = 8.0

# Seconds that each event of a batch adds to the limits for its computation and its statements. On two processors with a
# load of 15 to 20, 10,000 pledges of one deal took 20 s to validate, which the limits of a small batch refuse (503).
SECONDS_PER_EVENT = 0.005

# Seconds to wait for a COMMIT, and so for a synchronous standby.
COMMIT_SECONDS = 15.0

# Writes to Postgres' log, so that the COMMIT of the transaction waits for a synchronous standby, which then has
# everything before it too. A COMMIT whose backend was terminated during that wait is visible, though no standby has it
# (tests/faults/test_unreplicated_commit.py).
AWAIT_REPLICATION = "SELECT pg_logical_emit_message(true, 'registry', '')"


@asynccontextmanager
async def log_transaction(pool: Pool, events: int = 0) -> AsyncIterator[Connection]:
    """A transaction that holds the log's lock: the head that it reads is the head until it ends.

    `events`: how many are validated in it.
    """
    async with (
        pool.acquire(timeout=LOCK_TIMEOUT_SECONDS) as connection,
        hold_log_lock(connection, LOCK_TIMEOUT_SECONDS, events),
    ):
        yield connection


def write_seconds(events: int) -> float:
    """Seconds that a statement may take to write this number of events."""
    return LOCK_TIMEOUT_SECONDS + events * SECONDS_PER_EVENT


@contextmanager
def terminate_on_timeout(connection: Connection) -> Iterator[None]:
    """On timeout or cancellation, terminate the connection: a ROLLBACK could hang too.

    That also keeps asyncpg from cancelling a COMMIT that waits for a standby, which would end the wait, not the commit.
    """
    try:
        yield
    except (asyncio.CancelledError, TimeoutError):
        connection.terminate()
        raise


@asynccontextmanager
async def hold_log_lock(connection: Connection, patience: float, events: int = 0) -> AsyncIterator[None]:
    """Run a transaction that holds the log's lock on an open connection.

    `patience`: seconds to wait for the lock. `events`: how many are validated in it.

    The lock is taken by a statement of its own, before anything is read, so that every later statement sees what the
    previous holder committed.
    """
    try:
        with terminate_on_timeout(connection):
            try:
                idle = IDLE_SECONDS + events * SECONDS_PER_EVENT
                await connection.execute(LOCK.format(idle=idle, key=LOG_LOCK_KEY), timeout=patience)
            except asyncpg.FeatureNotSupportedError as error:
                # A standby, such as a former primary, refuses READ WRITE with a state of its own (0A000).
                raise asyncpg.ReadOnlySQLTransactionError(str(error)) from error
            yield
            await connection.execute("COMMIT", timeout=COMMIT_SECONDS)
    except BaseException:
        # The original error is raised, not the one of a ROLLBACK on a broken connection.
        with suppress(*postgres.ERRORS):
            if not connection.is_closed() and connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        raise
