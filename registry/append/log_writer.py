"""Commit submissions to the log: the commit protocol, with all its cases in one place.

Appends are ordered by a lock in the database, so several processes can write. A process that wrote last has the log's
head cached: it validates before it takes the lock, and one statement takes the lock, asserts the head and writes
everything. If the head has moved, the same submissions are validated again under the lock. If the answer to a COMMIT is
lost, the events are looked up under the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from registry.append import idempotency
from registry.append.batch import Batch
from registry.append.clock import ClockGuard, Reading
from registry.append.commit_health import CommitHealth
from registry.append.requests import AppendResult, Submission, count_events
from registry.domain.calendar import Calendar
from registry.domain.history import FoldedStream
from registry.errors import (
    ClockUnsafe,
    DatabaseUnavailable,
    LogRewound,
    ReadOnlyMirror,
    RedactionUnavailable,
    RegistryError,
    StorageUnavailable,
)
from registry.events import continuity, log_lock, mirror_state, store, stream_heads
from registry.events.continuity import ContinuityGuard
from registry.events.log_lock import LOCK_TIMEOUT_SECONDS, SECONDS_PER_EVENT, log_transaction
from registry.events.types import Recorded
from registry.events.write_batch import Head, HeadMoved
from registry.infra import postgres
from registry.infra.postgres import Connection, Pool
from registry.infra.time_slice import TimeSlice
from registry.projections.exchange_rates import RateCache
from registry.projections.stream_cache import StreamCache
from registry.transparency.merkle import Frontier
from registry.transparency.tree import load_frontier, load_leaf_hashes

log = structlog.get_logger(__name__)

# After this many events by other processes, the frontier is read from the database instead of being extended.
MAX_INCREMENTAL_EVENTS = 10_000

# Events of the streams that stay folded, at 2.2 KB each (StreamCache). An import fills the cache: while a service with
# a million events imported 51,200 more, its memory peaked at 477 MB with a limit of 40,000 and at 429 MB with 20,000
# (one run of each, load 10 to 14). 15,000 follows from these figures; it was not measured.
MAX_CACHED_EVENTS = 15_000

NOT_COMMITTED = (
    ClockUnsafe,
    DatabaseUnavailable,
    LogRewound,
    ReadOnlyMirror,
    RedactionUnavailable,
    StorageUnavailable,
)
"""Errors of `LogWriter.commit` that answer all of its submissions. Committing them one by one would not help."""


class LogWriter:
    """Validates submissions and commits them; keeps the log's head and the streams that they change.

    Attributes:
        clock_guard: Decides whether the clock can be trusted; see `append/clock.py`.
        continuity: Decides whether the log is whole; see `events/continuity.py`.
    """

    def __init__(
        self,
        pool: Pool,
        owner: Pool | None,
        health: CommitHealth,
        *,
        clock_guard: ClockGuard,
        continuity: ContinuityGuard,
        calendar: Calendar,
        rates: RateCache,
        four_eyes: frozenset[str],
    ) -> None:
        """Append through `pool`; redactions need `owner`. `health` is told of commits and of failures."""
        self.clock_guard = clock_guard
        self.continuity = continuity
        self._pool = pool
        self._owner = owner
        self._health = health
        self._calendar = calendar
        self._rates = rates
        self._four_eyes = four_eyes
        # The cached head, the frontier of the tree up to it, the streams, and whether no other process has written
        # since the last look under the lock.
        self._head: Head | None = None
        self._frontier = Frontier()
        self._streams = StreamCache(MAX_CACHED_EVENTS)
        self._is_sole_writer = False

    async def commit(self, submissions: Sequence[Submission], *, retry: bool = True) -> Batch:
        """Validate submissions and commit in one transaction what is not refused. The batch has their outcomes.

        Args:
            submissions: Alone, if one has a redaction.
            retry: Whether to try again after a lost connection, if nothing was committed.

        Raises:
            DatabaseUnavailable: The outcome is unknown, or retrying did not help.
            ClockUnsafe, LogRewound, ReadOnlyMirror, RedactionUnavailable, StorageUnavailable: Nothing was committed.
            Exception: Nothing was committed; one of the submissions may be the cause.
        """
        pool = self._pool_for(submissions)
        batch: Batch | None = None
        try:
            reading = self.clock_guard.read()
            batch = await self._validate_without_lock(submissions, reading)
            if batch is None or not await self._commit_if_head_unchanged(batch, reading):
                async with log_transaction(pool, count_events(submissions)) as connection:
                    batch, reading = await self._begin_under_lock(connection, submissions)
                    await batch.validate(connection, submissions, reading.now)
                    if batch.events:
                        await batch.write(connection)
                    elif _has_replay(submissions, batch.outcomes):
                        # A request was recorded before, perhaps by a commit whose answer was lost: confirm it only
                        # once the standbys have it.
                        await connection.execute(log_lock.AWAIT_REPLICATION)
        except (ClockUnsafe, LogRewound) as error:
            log.warning("append refused", error=str(error), submissions=len(submissions))
            raise
        except Exception as error:
            self.clear_cache()
            self._raise_if_refused(error)
            if not is_transient(error):
                raise
            await self._connection_lost(error)
            is_committed = await self._was_committed(batch)
            # Do not retry after a timeout; the client has already waited.
            if is_committed is False and retry and not isinstance(error, TimeoutError):
                return await self.commit(submissions, retry=False)
            if not is_committed:
                raise DatabaseUnavailable from error
        assert batch is not None
        return batch

    async def validate_dry_run(self, submission: Submission) -> Batch:
        """Validate a submission on a snapshot of the log, without its lock and without a change of the caches.

        Raises:
            RegistryError: It was not validated.
        """
        self._pool_for([submission])
        idle = log_lock.IDLE_SECONDS + submission.events * SECONDS_PER_EVENT
        async with (
            self._pool.acquire(timeout=LOCK_TIMEOUT_SECONDS) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{idle:.0f}s'")
            database_now, head, known = await _load_known(connection, [submission])
            reading = self.clock_guard.read_beside(database_now)
            # The cached streams belong to the cached head. A commit meanwhile makes some of them newer.
            streams = self._streams if head == self._head else StreamCache()
            batch = await self._start_batch(connection, head, Frontier(), streams)
            batch.stored_responses, batch.known_events = known
            await batch.validate(connection, [submission], reading.now)
            return batch

    async def continue_from(self, batch: Batch) -> list[FoldedStream[Any]]:
        """Cache the head and the streams of a committed batch, and return the streams that the cache dropped for them.

        Other tasks run in between, because an atomic import may have 10,000 streams. Dry runs that begin meanwhile do
        not use the cache: the log's head is not yet the cached one.
        """
        dropped: list[FoldedStream[Any]] = []
        time_slice = TimeSlice()
        for name, stream in batch.streams.items():
            await time_slice.give_way()
            dropped += self._streams.put(name, stream)
        self.clock_guard.appended()
        self._health.committed()
        self._head = batch.new_head
        self.continuity.note(self._head)
        self._frontier = batch.frontier
        return dropped

    def clear_cache(self) -> None:
        """Read the log's head and the streams again for the next batch."""
        self._head = None
        self._is_sole_writer = False
        self._streams.clear()

    def _pool_for(self, submissions: Sequence[Submission]) -> Pool:
        pool = self._owner if any(submission.has_redaction for submission in submissions) else self._pool
        if pool is None:
            raise RedactionUnavailable
        return pool

    async def _validate_without_lock(self, submissions: Sequence[Submission], reading: Reading) -> Batch | None:
        """Validate the submissions on the cached head; return None if they must be validated under the lock.

        The commit proves that the cached head was the log's, so it proves refusals too, with one exception: a refused
        request with an idempotency key or an id may have been recorded before, which is looked up under the lock.
        """
        if self._head is None or not self._is_sole_writer or self._head.position == 0:
            return None
        if any(submission.has_redaction for submission in submissions):
            return None
        batch = await self._start_batch(self._pool, self._head, self._frontier, self._streams)
        await batch.validate(self._pool, submissions, reading.now)
        is_proven = batch.events and not any(
            submission.has_retry_key and isinstance(outcome, RegistryError)
            for submission, outcome in zip(submissions, batch.outcomes, strict=True)
        )
        if is_proven:
            return batch
        if batch.gave_up and not batch.events and not await self._has_recorded(submissions):
            # A submission that took too long would take as long again.
            return batch
        await batch.free()
        return None

    async def _has_recorded(self, submissions: Sequence[Submission]) -> bool:
        """Whether the log has an idempotency key or an id of the submissions."""
        if not any(submission.has_retry_key for submission in submissions):
            return False
        async with self._pool.acquire(timeout=LOCK_TIMEOUT_SECONDS) as connection:
            _, _, (responses, events) = await _load_known(connection, submissions)
        return bool(responses or events)

    async def _commit_if_head_unchanged(self, batch: Batch, reading: Reading) -> bool:
        """Write a batch that was validated without the lock, in one round trip.

        Returns False and writes nothing if the head has moved, another process holds the lock, one of the
        idempotency keys or ids is in the log, or the clocks differ too much, which is then examined under the lock.
        """
        if not batch.events:
            return True
        statement = await batch.as_one_statement()
        clocks = self.clock_guard.database_range(reading)
        try:
            await statement.execute_if_head_is(batch.head, self._pool, clocks, len(batch.events))
        except HeadMoved:
            return False
        return True

    async def _begin_under_lock(
        self, connection: Connection, submissions: Sequence[Submission]
    ) -> tuple[Batch, Reading]:
        """An empty batch on the log's head, with the log's records of the submissions' keys and ids; and the time.

        Raises:
            ClockUnsafe: The clock differs too much from the database's.
        """
        database_now, head, known = await _load_known(connection, submissions)
        reading = self.clock_guard.read_beside(database_now)
        self._is_sole_writer = head == self._head
        if not self._is_sole_writer:
            await self._refresh_from_log(connection, head)
        batch = await self._start_batch(connection, head, self._frontier, self._streams)
        batch.stored_responses, batch.known_events = known
        return batch, reading

    async def _start_batch(
        self, connection: Connection | Pool, head: Head, frontier: Frontier, streams: StreamCache
    ) -> Batch:
        rates = await self._rates.latest(connection)
        return Batch(head, frontier.copy(), streams, self._calendar, rates, self._four_eyes)

    async def _refresh_from_log(self, connection: Connection, head: Head) -> None:
        """Bring the caches to the log's head: another process has written, or this one has just started."""
        cached = self._head
        if cached is not None and 0 < cached.position < head.position <= cached.position + MAX_INCREMENTAL_EVENTS:
            leaves = await load_leaf_hashes(connection, cached.position - 1, head.position)
            if leaves[0] == cached.leaf_hash:
                self._streams.evict(await stream_heads.streams_changed(connection, cached.position, head.position))
                for leaf in leaves[1:]:
                    self._frontier.append(leaf)
                self._head = head
                return
        await self.continuity.check(connection)
        self._streams.clear()
        self._frontier = await load_frontier(connection, head.position)
        self._head = head

    def _raise_if_refused(self, error: Exception) -> None:
        """Raise what a failed commit means for every submission, if Postgres has refused to write."""
        if continuity.is_refused_append(error):
            raise LogRewound("refused") from error
        if mirror_state.is_refused_append(error):
            raise ReadOnlyMirror("database") from error
        if postgres.is_storage_failure(error):
            # Postgres has ended the transaction: nothing of the batch is in the log.
            reason = str(error) or type(error).__name__
            log.error("storage failure", error=reason)
            self._health.storage_failed(reason)
            raise StorageUnavailable from error

    async def _connection_lost(self, error: Exception) -> None:
        log.warning("database unavailable", error=str(error) or type(error).__name__)
        self._health.connection_lost()
        # The other connections lead to the same server, and each would time out in its turn (tests/cluster).
        await self._pool.expire_connections()

    async def _was_committed(self, batch: Batch | None) -> bool | None:
        """Whether a batch whose commit was not acknowledged is in the log; None if Postgres does not answer.

        Taking the lock waits until the commit has ended. The leaf hash is compared, not only the id, which a client may
        have given: a hash covers a random salt and belongs to this batch alone.
        """
        if batch is None or not batch.events:
            return False
        last = batch.events[-1].recorded
        try:
            async with log_transaction(self._pool) as connection:
                found = (await store.by_ids(connection, [last.id])).get(last.id)
                if found is not None:
                    await connection.execute(log_lock.AWAIT_REPLICATION)
            return found is not None and found.recorded.leaf_hash == last.leaf_hash
        except Exception as error:
            if not is_transient(error):
                log.error("looking up a commit failed", exc_info=error)
            return None


def is_transient(error: Exception) -> bool:
    """Whether a retry can help: the server is gone, or it cancelled the transaction.

    SQLSTATE classes 40 (deadlock, serialization) and 55 (lock not available), 25P03 (idle transaction timeout) and
    57014 (query cancelled), and those of a lost connection.
    """
    state = (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
    return postgres.is_connection_lost(error) or state[:2] in ("40", "55") or state in ("25P03", "57014")


async def _load_known(
    connection: Connection, submissions: Sequence[Submission]
) -> tuple[datetime, Head, tuple[idempotency.StoredResponses, dict[UUID, Recorded]]]:
    """The database's time, the log's head, and the log's records of the submissions' keys and ids."""
    requests = [request for submission in submissions for request in submission.requests]
    keys = [(r.by, r.idempotency_key) for r in requests if r.idempotency_key is not None]
    database_now, head, responses = await idempotency.load_head_and_responses(connection, keys)
    ids = [announcement.id for r in requests for announcement in r.announcements if announcement.id is not None]
    events = {id: stored.recorded for id, stored in (await store.by_ids(connection, ids)).items()} if ids else {}
    return database_now, head, (responses, events)


def _has_replay(submissions: Sequence[Submission], outcomes: Sequence[list[AppendResult] | RegistryError]) -> bool:
    """Whether a batch without events repeats the answer of a recorded request."""
    return any(
        isinstance(outcome, list) and not submission.dry_run
        for submission, outcome in zip(submissions, outcomes, strict=True)
    )
