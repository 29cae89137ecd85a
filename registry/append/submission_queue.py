"""The recorder's queue: bounded, and in the order in which submissions are recorded.

Requests come first and imports after them. A large submission is alone in its batch, and two of them have a batch of
others in between. Dry runs have a queue of their own, because they need no commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextvars import Context

from registry.append.requests import AppendResult, Submission
from registry.errors import Overloaded, RegistryError

# Beyond these limits the queue refuses submissions (503) before memory grows.
MAX_QUEUED_REQUESTS = 5_000
MAX_QUEUED_BYTES = 64 * 2**20

# Events of one batch. A batch with lines of an import has fewer, because requests that arrive wait for its commit. If
# other requests fill the batch, an import still gets MIN_IMPORT_EVENTS.
MAX_BATCH_EVENTS = 1_000
MAX_IMPORT_BATCH_EVENTS = 400
MIN_IMPORT_EVENTS = 20

# A submission of more events is large. Batches of small submissions come between two large ones, so that a request
# waits for one large submission at most.
MAX_SMALL_EVENTS = 400


class QueuedSubmission(Submission, kw_only=True):
    """A submission, the future of its outcome, and the context of the request that waits for it."""

    done: asyncio.Future[list[AppendResult]]
    context: Context


class SubmissionQueue:
    """Submissions that wait. One task takes the batches, another one the dry runs."""

    def __init__(self) -> None:
        self._requests: deque[QueuedSubmission] = deque()
        self._imports: deque[QueuedSubmission] = deque()
        self._large: deque[QueuedSubmission] = deque()
        self._is_large_next = False
        self._dry_runs: deque[QueuedSubmission] = deque()
        self._bytes = 0
        self._has_work = asyncio.Event()
        self._has_dry_run = asyncio.Event()
        self.is_closed = False

    def __len__(self) -> int:
        return sum(map(len, (self._requests, self._imports, self._large, self._dry_runs)))

    def put(self, submission: QueuedSubmission) -> None:
        """Queue a submission. Raises Overloaded if the queue is full or closed."""
        size = self._bytes + submission.size
        if self.is_closed or len(self) >= MAX_QUEUED_REQUESTS or (self._bytes > 0 and size > MAX_QUEUED_BYTES):
            raise Overloaded
        self._bytes = size
        if submission.writes_nothing:
            self._dry_runs.append(submission)
            self._has_dry_run.set()
            return
        if submission.events > MAX_SMALL_EVENTS:
            self._large.append(submission)
        else:
            (self._imports if submission.low_priority else self._requests).append(submission)
        self._has_work.set()

    def close(self) -> None:
        """Refuse further submissions. Those that wait can still be taken."""
        self.is_closed = True
        self._has_work.set()
        self._has_dry_run.set()

    async def next_batch(self) -> list[QueuedSubmission] | None:
        """Wait for submissions and take those of the next batch; None once the queue is closed and empty.

        The batch is empty if the clients of all its submissions have disconnected.
        """
        if not await self._wait_for(self._has_work, self._requests, self._imports, self._large):
            return None
        others_wait = bool(self._requests or self._imports)
        if self._large and (self._is_large_next or not others_wait):
            self._is_large_next = False
            return self._take(self._large, 1)
        self._is_large_next = True
        submissions = self._take(self._requests, MAX_BATCH_EVENTS)
        events = sum(submission.events for submission in submissions)
        limit = max(MAX_IMPORT_BATCH_EVENTS, events + MIN_IMPORT_EVENTS)
        return submissions + self._take(self._imports, limit - events)

    async def next_dry_run(self) -> QueuedSubmission | None:
        """Wait for a dry run and take it; None once the queue is closed and has none."""
        if not await self._wait_for(self._has_dry_run, self._dry_runs):
            return None
        submission = self._dry_runs.popleft()
        self._bytes -= submission.size
        return submission

    async def _wait_for(self, available: asyncio.Event, *queues: deque[QueuedSubmission]) -> bool:
        """Wait for a queued submission; False once the queue is closed and these are empty."""
        while not any(queues):
            if self.is_closed:
                return False
            available.clear()
            await available.wait()
        return True

    def _take(self, queue: deque[QueuedSubmission], events: int) -> list[QueuedSubmission]:
        """Take submissions until they have this number of events."""
        taken: list[QueuedSubmission] = []
        while queue and events > 0:
            submission = queue.popleft()
            self._bytes -= submission.size
            # A future that is already done was cancelled, because its client has disconnected.
            if not submission.done.done():
                taken.append(submission)
                events -= submission.events
        return taken


def resolve_futures(
    submissions: Sequence[QueuedSubmission], outcomes: Sequence[list[AppendResult] | RegistryError]
) -> None:
    """Give each submission its outcome."""
    for submission, outcome in zip(submissions, outcomes, strict=True):
        if submission.done.done():
            continue
        if isinstance(outcome, list):
            submission.done.set_result(outcome)
        else:
            submission.done.set_exception(outcome)


def reject_futures(submissions: Sequence[QueuedSubmission], error: Exception) -> None:
    """Give all submissions an error."""
    for submission in submissions:
        if not submission.done.done():
            submission.done.set_exception(error)
