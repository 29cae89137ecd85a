"""Append announcements to the log, in batches.

One task takes a batch of the queued submissions (`submission_queue.py`), commits it (`log_writer.py`) and replies to
each submission; what arrives in the meantime is the next batch. Under load one commit serves hundreds of requests; a
lone request does not wait. A request that is refused fails alone. A request is acknowledged after the commit of its
events and of the projections that show them. Dry runs are validated by a second task.

Whether commits are late or fail is noted in `commit_health.py`; `notifier.py` tells other processes of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, copy_context
from datetime import datetime, timedelta

import structlog

from registry.append.batch import Batch
from registry.append.clock import DEFAULT_TOLERANCE, ClockGuard, utc_now
from registry.append.commit_health import CommitHealth
from registry.append.log_writer import NOT_COMMITTED, LogWriter, is_transient
from registry.append.notifier import Notifier
from registry.append.requests import AppendRequest, AppendResult, count_events
from registry.append.submission_queue import QueuedSubmission, SubmissionQueue, reject_futures, resolve_futures
from registry.domain.calendar import Calendar
from registry.errors import DatabaseUnavailable, Overloaded, RegistryError
from registry.events.continuity import ContinuityGuard
from registry.events.write_batch import Head
from registry.infra import freeing
from registry.infra.postgres import Pool
from registry.infra.threads import is_long
from registry.projections.exchange_rates import RateCache

log = structlog.get_logger(__name__)


class Recorder:
    """The only writer of a process.

    Attributes:
        log_writer: Commits the batches; has the guards of the clock and of the log.
        commit_health: Knows whether commits are late or fail.
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
        self.calendar = calendar or Calendar()
        self.four_eyes = four_eyes
        self.commit_health = CommitHealth()
        self.log_writer = LogWriter(
            pool,
            owner,
            self.commit_health,
            clock_guard=ClockGuard(clock_tolerance, clock=clock),
            continuity=continuity or ContinuityGuard(),
            calendar=self.calendar,
            rates=rates or RateCache(),
            four_eyes=four_eyes,
        )
        self._queue = SubmissionQueue()
        self._notifier = Notifier(pool)
        self._task: asyncio.Task[None] | None = None
        self._dry_run_task: asyncio.Task[None] | None = None
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

    async def abandon_stuck_batch(self) -> None:
        """End the connection of a batch that has not been committed in STUCK_SECONDS: the database is lost.

        Its requests get an answer then, and the next batch finds the new primary.
        """
        if self.commit_health.is_stuck:
            self._pool.abandon()

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
                if is_long(count_events(batch)):
                    # If a batch has several submissions, each of them is small (`submission_queue.py`).
                    await freeing.empty(batch, depth=freeing.DEPTH if len(batch) == 1 else 0)

    async def _process(self, submissions: Sequence[QueuedSubmission]) -> None:
        self.commit_health.begin(count_events(submissions))
        try:
            with self.batch_span([submission.context for submission in submissions]):
                # A redaction needs another connection and several statements.
                if len(submissions) > 1 and any(submission.has_redaction for submission in submissions):
                    await self._commit_individually(submissions)
                else:
                    await self._commit_and_reply(submissions)
        except Exception as error:
            log.exception("recording failed", submissions=len(submissions))
            self.log_writer.clear_cache()
            reject_futures(submissions, error)
        finally:
            self.commit_health.end()

    async def _commit_individually(self, submissions: Sequence[QueuedSubmission]) -> None:
        for submission in submissions:
            await self._commit_and_reply([submission])

    async def _commit_and_reply(self, submissions: Sequence[QueuedSubmission]) -> None:
        """Commit a batch of the submissions, and give each its outcome.

        After an unexpected error they are tried one by one, so that the error reaches only the client that caused it.
        """
        try:
            batch = await self.log_writer.commit(submissions)
        except NOT_COMMITTED as error:
            reject_futures(submissions, error)
            return
        except Exception as error:
            if len(submissions) > 1:
                await self._commit_individually(submissions)
            else:
                # Report an internal error to the client that sent the request; the recorder goes on.
                log.error("append failed", exc_info=error)
                reject_futures(submissions, error)
            return
        # Resolved before the caches are updated, so that the event loop answers the requests before it runs what the
        # commit wakes: NOTIFY, the feed and the webhooks.
        resolve_futures(submissions, batch.outcomes)
        dropped = []
        if batch.events:
            dropped = await self.log_writer.continue_from(batch)
            self._announce(batch)
        await batch.free(dropped)

    def _announce(self, batch: Batch) -> None:
        """Tell this process and the others that a batch was committed."""
        self.last_batch_size = len(batch.events)
        self.last_projection_seconds = batch.projection_seconds
        self.last_batch_seconds = self.commit_health.elapsed
        self.changed_rights = any(event.recorded.kind == "principal" for event in batch.events)
        self._notifier.committed(batch.new_head.recorded_at, changed_rights=self.changed_rights)
        for listener in self.commit_listeners:
            try:
                listener(batch.new_head)
            except Exception:
                # An error of a listener must not fail requests whose events are committed.
                log.exception("commit listener failed")

    async def _dry_run_loop(self) -> None:
        """Validate dry runs one after another, while requests that write are recorded."""
        while (submission := await self._queue.next_dry_run()) is not None:
            dropped = [submission]
            if submission.done.done():
                continue
            try:
                batch = await self.log_writer.validate_dry_run(submission)
            except RegistryError as error:
                reject_futures([submission], error)
            except Exception as error:
                if is_transient(error):
                    reject_futures([submission], DatabaseUnavailable())
                else:
                    log.error("dry run failed", exc_info=error)
                    reject_futures([submission], error)
            else:
                resolve_futures([submission], batch.outcomes)
                await batch.free()
            del submission
            await freeing.empty(dropped)
