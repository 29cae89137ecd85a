"""Append announcements to the log: assign positions and commit in batches.

One task takes a batch of the queued submissions (`submission_queue.py`), validates them and commits them in one
transaction; what arrives in the meantime is the next batch. Under load one commit serves hundreds of requests; a lone
request does not wait. A request that is refused fails alone. A request is acknowledged after the commit of its events
and of the projections that show them.

Appends are ordered by a lock in the database, so several processes can run a recorder each. A process that wrote last
has the log's head cached: it validates before it takes the lock, and one statement takes the lock, asserts the head and
writes everything. If the head has moved, the same submissions are validated again under the lock. The whole commit
protocol is in this file, so that its cases can be read together; hence its length. Whether commits are late or fail is
noted in `commit_health.py`; `notifier.py` tells other processes of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from registry.append import idempotency
from registry.append.batch import Batch
from registry.append.clock import DEFAULT_TOLERANCE, ClockGuard, Reading, utc_now
from registry.append.commit_health import CommitHealth
from registry.append.notifier import Notifier
from registry.append.requests import AppendRequest, AppendResult, Submission
from registry.append.submission_queue import QueuedSubmission, SubmissionQueue, reject_futures, resolve_futures
from registry.domain.calendar import Calendar
from registry.domain.history import FoldedStream
from registry.domain.money.rates import Rates
from registry.errors import (
    ClockUnsafe,
    DatabaseUnavailable,
    LogRewound,
    Overloaded,
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
from registry.infra import freeing, postgres
from registry.infra.postgres import Connection, Pool
from registry.infra.threads import is_long
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


class Recorder:
    """The only writer of a process.

    Attributes:
        commit_health: Knows whether commits are late or fail.
        clock_guard: Decides whether the clock can be trusted; see `append/clock.py`.
        continuity: Decides whether the log is whole; see `events/continuity.py`.
        calendar: Decides which day is today.
        four_eyes: The event types that a second principal must approve.
        commit_listeners: Called with the log's head after each commit.
        batch_span: What each batch is committed in, given the contexts of its requests (`http/tracing.py`).
        last_batch_size: Number of events of the last batch.
        last_projection_seconds: Seconds that the rows of the last batch's projections took to compute.
        last_batch_seconds: Seconds from taking the last batch from the queue to its commit.
        changed_rights: Whether the last batch had events of principals.
    """

    def __init__(
        self,
        pool: Pool,
        owner: Pool | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        clock_tolerance: timedelta = DEFAULT_TOLERANCE,
        calendar: Calendar | None = None,
        rates: RateCache | None = None,
        continuity: ContinuityGuard | None = None,
        four_eyes: frozenset[str] = frozenset(),
    ) -> None:
        """Append through `pool`; redactions need `owner`, a pool with the database owner's rights.

        A second principal must approve events of the types `four_eyes`.
        """
        self._pool = pool
        self._owner = owner
        self.calendar = calendar or Calendar()
        self.clock_guard = ClockGuard(clock_tolerance, clock=clock)
        self.continuity = continuity or ContinuityGuard()
        self._queue = SubmissionQueue()
        self._cache = StreamCache(MAX_CACHED_EVENTS)
        self._rates = rates or RateCache()
        self.four_eyes = four_eyes
        # The cached head, the frontier of the tree up to it, and whether no other process has written since the last
        # look under the lock.
        self._head: Head | None = None
        self._frontier = Frontier()
        self._is_sole_writer = False
        self._task: asyncio.Task[None] | None = None
        self._dry_run_task: asyncio.Task[None] | None = None
        self._notifier = Notifier(pool)
        self.commit_health = CommitHealth()
        self.commit_listeners: list[Callable[[Head], None]] = []
        self.batch_span: Callable[[Sequence[Context]], AbstractContextManager[None]] = lambda _: nullcontext()
        self.last_batch_size = 0
        self.last_batch_seconds = 0.0
        self.last_projection_seconds = 0.0
        self.changed_rights = False

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self._commit_loop(), name="recorder")
        self._dry_run_task = asyncio.create_task(self._dry_run_loop(), name="recorder dry runs")
        self._notifier.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Commit what is queued, then stop."""
        self._queue.close()
        for task in filter(None, (self._task, self._dry_run_task)):
            await task
        await self._notifier.stop()

    @property
    def queue_length(self) -> int:
        """Number of submissions that wait."""
        return len(self._queue)

    @property
    def is_running(self) -> bool:
        """Whether the task that commits is running."""
        return self._task is not None and not self._task.done()

    async def record(self, request: AppendRequest) -> AppendResult:
        """Append one request and return once it is committed.

        Raises:
            RuleBroken, VersionConflict, IdempotencyConflict, IdConflict: Nothing was recorded.
            Overloaded, ClockUnsafe: Nothing was recorded; retry later.
            DatabaseUnavailable: The outcome is unknown; retry with the same idempotency key or event ids.
            StorageUnavailable: The disk is full or closed to Postgres. Nothing was recorded.
        """
        return (await self.submit((request,)))[0]

    async def record_all(self, requests: Sequence[AppendRequest], *, dry_run: bool = False) -> list[AppendResult]:
        """Append several requests, to one stream or to many: all of them or none.

        Raises:
            SubmissionError: One of the requests was refused, and nothing was recorded.
            Overloaded, ClockUnsafe, DatabaseUnavailable: As for `record`.
        """
        return await self.submit(requests, dry_run=dry_run)

    def submit(self, requests: Sequence[AppendRequest], *, dry_run: bool = False) -> asyncio.Future[list[AppendResult]]:
        """Queue requests that are recorded together; the future has what `record_all` returns or raises.

        Submissions are validated in their order in the queue (`submission_queue.py`): imports after all others, and
        large ones one by one in between.

        Raises:
            Overloaded: The queue is full, or the recorder is not running.
        """
        if self._task is None or not self.is_running:
            raise Overloaded
        future = self._task.get_loop().create_future()
        submission = QueuedSubmission(requests, dry_run, done=future, context=copy_context())
        self._queue.put(submission)
        return submission.done

    async def _commit_loop(self) -> None:
        while (batch := await self._queue.next_batch()) is not None:
            if batch:
                await self._process(batch)
                if is_long(_count_events(batch)):
                    # If a batch has several submissions, each of them is small (`submission_queue.py`).
                    await freeing.empty(batch, depth=freeing.DEPTH if len(batch) == 1 else 0)

    async def _dry_run_loop(self) -> None:
        """Validate dry runs one after another, while requests that write are recorded."""
        while (submission := await self._queue.next_dry_run()) is not None:
            dropped = [submission]
            if submission.done.done():
                continue
            try:
                batch = await self._dry_run(submission)
            except RegistryError as error:
                reject_futures([submission], error)
            except Exception as error:
                is_transient = _is_transient(error)
                if not is_transient:
                    log.error("dry run failed", exc_info=error)
                reject_futures([submission], DatabaseUnavailable() if is_transient else error)
            else:
                resolve_futures([submission], batch.outcomes)
                await batch.free()
            del submission
            await freeing.empty(dropped)

    async def _dry_run(self, submission: Submission) -> Batch:
        """Validate a submission on a snapshot of the log, without its lock and without a change of the caches."""
        if submission.has_redaction and self._owner is None:
            raise RedactionUnavailable
        idle = log_lock.IDLE_SECONDS + submission.events * SECONDS_PER_EVENT
        async with (
            self._pool.acquire(timeout=LOCK_TIMEOUT_SECONDS) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{idle:.0f}s'")
            database_now, head, known = await _load_known(connection, [submission])
            reading = self.clock_guard.read_beside(database_now)
            # The cached streams belong to the cached head. A commit meanwhile makes some of them newer.
            cache = self._cache if head == self._head else StreamCache()
            rates = await self._rates.latest(connection)
            batch = Batch(head, Frontier(), cache, self.calendar, rates, self.four_eyes)
            batch.stored_responses, batch.known_events = known
            await batch.validate(connection, [submission], reading.now)
            return batch

    async def _process(self, submissions: Sequence[QueuedSubmission]) -> None:
        self.commit_health.begin(_count_events(submissions))
        try:
            with self.batch_span([submission.context for submission in submissions]):
                await self._commit_and_reply(submissions)
        except Exception as error:
            log.exception("recording failed", submissions=len(submissions))
            self._invalidate_cache()
            reject_futures(submissions, error)
        finally:
            self.commit_health.end()

    async def _commit_and_reply(self, submissions: Sequence[QueuedSubmission], *, retry: bool = True) -> None:
        """Commit a batch of the submissions and resolve their futures.

        An error rolls the batch back. Its submissions are then tried one by one, so that the error reaches only the
        client that caused it. `retry` is False for the second attempt after a lost connection.
        """
        has_redaction = any(submission.has_redaction for submission in submissions)
        if has_redaction and len(submissions) > 1:
            await self._commit_individually(submissions)
            return
        pool = self._owner if has_redaction else self._pool
        if pool is None:
            reject_futures(submissions, RedactionUnavailable())
            return
        batch: Batch | None = None
        try:
            reading = self.clock_guard.read()
            batch = await self._validate_without_lock(submissions, reading)
            if batch is None or not await self._commit_if_head_unchanged(batch, reading):
                async with log_transaction(pool, _count_events(submissions)) as connection:
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
            reject_futures(submissions, error)
            return
        except Exception as error:
            self._invalidate_cache()
            if not await self._recover_after_failure(submissions, batch, error, retry=retry):
                return
        assert batch is not None
        # Resolved before the caches are updated, so that the event loop answers the requests before it runs what the
        # commit wakes: NOTIFY, the feed and the webhooks.
        resolve_futures(submissions, batch.outcomes)
        dropped = []
        if batch.events:
            dropped = await self._cache_streams(batch)
            self._apply_committed(batch)
        await self._free(batch, submissions, dropped)

    async def _free(
        self, batch: Batch, submissions: Sequence[QueuedSubmission], dropped: list[FoldedStream[Any]]
    ) -> None:
        """Free a large batch, or one that read a long stream, in parts, with the streams that the cache dropped for it.

        For a small one, that takes 5 % of a post and saves other requests less.
        """
        if is_long(_count_events(submissions)) or batch.has_long_stream:
            await freeing.empty(dropped, depth=0)
            await batch.free()

    async def _commit_individually(self, submissions: Sequence[QueuedSubmission]) -> None:
        for submission in submissions:
            await self._commit_and_reply([submission])

    async def _validate_without_lock(self, submissions: Sequence[QueuedSubmission], reading: Reading) -> Batch | None:
        """Validate the submissions on the cached head; return None if they must be validated under the lock.

        The commit proves that the cached head was the log's, so it proves refusals too, with one exception: a refused
        request with an idempotency key or an id may have been recorded before, which is looked up under the lock.
        """
        if self._head is None or not self._is_sole_writer or self._head.position == 0:
            return None
        if any(submission.has_redaction for submission in submissions):
            return None
        batch = self._batch(self._head, await self._rates.latest(self._pool))
        await batch.validate(self._pool, submissions, reading.now)
        is_proven = batch.events and not any(
            submission.has_retry_key and isinstance(outcome, RegistryError)
            for submission, outcome in zip(submissions, batch.outcomes, strict=True)
        )
        if is_proven:
            return batch
        await self._free(batch, submissions, [])
        return None

    def _batch(self, head: Head, rates: Rates) -> Batch:
        """An empty batch after a head."""
        return Batch(head, self._frontier.copy(), self._cache, self.calendar, rates, self.four_eyes)

    async def _commit_if_head_unchanged(self, batch: Batch, reading: Reading) -> bool:
        """Write a batch that was validated without the lock, in one round trip.

        Returns False and writes nothing if the head has moved, another process holds the lock, one of the
        idempotency keys or ids is in the log, or the clocks differ too much, which is then examined under the lock.
        """
        statement = await batch.as_one_statement()
        clocks = self.clock_guard.database_range(reading)
        try:
            await statement.execute_if_head_is(batch.head, self._pool, clocks, len(batch.events))
        except HeadMoved:
            return False
        return True

    async def _begin_under_lock(
        self, connection: Connection, submissions: Sequence[QueuedSubmission]
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
        batch = self._batch(head, await self._rates.latest(connection))
        batch.stored_responses, batch.known_events = known
        return batch, reading

    async def _refresh_from_log(self, connection: Connection, head: Head) -> None:
        """Bring the caches to the log's head: another process has written, or this one has just started."""
        cached = self._head
        if cached is not None and 0 < cached.position < head.position <= cached.position + MAX_INCREMENTAL_EVENTS:
            leaves = await load_leaf_hashes(connection, cached.position - 1, head.position)
            if leaves[0] == cached.leaf_hash:
                self._cache.evict(await stream_heads.streams_changed(connection, cached.position, head.position))
                for leaf in leaves[1:]:
                    self._frontier.append(leaf)
                self._head = head
                return
        await self.continuity.check(connection)
        self._cache.clear()
        self._frontier = await load_frontier(connection, head.position)
        self._head = head

    async def abandon_stuck_batch(self) -> None:
        """End the connection of a batch that has not been committed in STUCK_SECONDS: the database is lost.

        Its requests get an answer then, and the next batch finds the new primary.
        """
        if self.commit_health.is_stuck:
            self._pool.abandon()

    def _invalidate_cache(self) -> None:
        self._head = None
        self._is_sole_writer = False
        self._cache.clear()

    async def _recover_after_failure(
        self, submissions: Sequence[QueuedSubmission], batch: Batch | None, error: Exception, *, retry: bool
    ) -> bool:
        """Handle a failed commit: return True if the batch is in the log, else reply to its submissions."""
        if continuity.is_refused_append(error):
            reject_futures(submissions, LogRewound("refused"))
            return False
        if mirror_state.is_refused_append(error):
            reject_futures(submissions, ReadOnlyMirror("database"))
            return False
        if postgres.is_storage_failure(error):
            # Postgres has ended the transaction: nothing of the batch is in the log.
            log.error("storage failure", error=str(error) or type(error).__name__)
            self.commit_health.storage_failed(str(error) or type(error).__name__)
            reject_futures(submissions, StorageUnavailable())
            return False
        if _is_transient(error):
            log.warning("database unavailable", error=str(error) or type(error).__name__)
            self.commit_health.connection_lost()
            # The other connections lead to the same server, and each would time out in its turn (tests/cluster).
            await self._pool.expire_connections()
            committed = await self._was_committed(batch)
            # Do not retry after a timeout; the client has already waited.
            if committed is False and retry and not isinstance(error, TimeoutError):
                await self._commit_and_reply(submissions, retry=False)
            elif not committed:
                reject_futures(submissions, DatabaseUnavailable())
            return bool(committed)
        if len(submissions) > 1:
            await self._commit_individually(submissions)
        else:
            # Report an internal error to the client that sent the request; the recorder goes on.
            log.error("append failed", exc_info=error)
            reject_futures(submissions, error)
        return False

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
            if _is_transient(error):
                return None
            raise

    async def _cache_streams(self, batch: Batch) -> list[FoldedStream[Any]]:
        """Cache the streams of a committed batch, and return those that the cache dropped for them.

        Other tasks run in between, because an atomic import may have 10,000 streams. Dry runs that begin meanwhile do
        not use the cache: the log's head is not yet the cached one.
        """
        dropped: list[FoldedStream[Any]] = []
        time_slice = TimeSlice()
        for name, stream in batch.streams.items():
            await time_slice.give_way()
            dropped += self._cache.put(name, stream)
        return dropped

    def _apply_committed(self, batch: Batch) -> None:
        """Continue from the head of a committed batch, and call the listeners."""
        self.clock_guard.appended()
        self.commit_health.committed()
        self._head = batch.new_head
        self.continuity.note(self._head)
        self._frontier = batch.frontier
        self.last_batch_size = len(batch.events)
        self.last_projection_seconds = batch.projection_seconds
        self.last_batch_seconds = self.commit_health.elapsed
        self.changed_rights = any(event.recorded.kind == "principal" for event in batch.events)
        self._notifier.committed(self._head.recorded_at, changed_rights=self.changed_rights)
        for listener in self.commit_listeners:
            try:
                listener(self._head)
            except Exception:
                # An error of a listener must not fail requests whose events are committed.
                log.exception("commit listener failed")


def _is_transient(error: Exception) -> bool:
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


def _has_replay(
    submissions: Sequence[QueuedSubmission], outcomes: Sequence[list[AppendResult] | RegistryError]
) -> bool:
    """Whether a batch without events repeats the answer of a recorded request."""
    return any(
        isinstance(outcome, list) and not submission.dry_run
        for submission, outcome in zip(submissions, outcomes, strict=True)
    )


def _count_events(submissions: Sequence[QueuedSubmission]) -> int:
    return sum(submission.events for submission in submissions)
