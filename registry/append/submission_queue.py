"""The recorder's queue: bounded, and in the order in which submissions are recorded.

Requests come first and imports after them, and principals take turns. A large submission is alone in its batch, and two
of them have a batch of others in between. Dry runs have a queue of their own, because they need no commit.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextvars import Context

from msgspec import Struct

from registry.append.requests import AppendResult, Submission
from registry.errors import Overloaded, RegistryError

# Beyond these limits the queue refuses submissions (503) before memory grows.
MAX_QUEUED_REQUESTS = 5_000
MAX_QUEUED_BYTES = 64 * 2**20

# The part of these limits that one principal may use, so that it cannot keep others out.
PART_OF_PRINCIPAL = 0.5

# Events of one batch. A batch with lines of an import has fewer, because requests that arrive wait for its commit. If
# other requests fill the batch, an import still gets MIN_IMPORT_EVENTS.
MAX_BATCH_EVENTS = 1_000
MAX_IMPORT_BATCH_EVENTS = 400
MIN_IMPORT_EVENTS = 20

# A submission of more events is large, and so is a redaction, which folds its whole stream again. Batches of small
# submissions come between two large ones, so that a request waits for one large submission at most.
MAX_SMALL_EVENTS = 400


class QueuedSubmission(Submission, kw_only=True):
    """A submission, the future of its outcome, and the context of the request that waits for it."""

    done: asyncio.Future[list[AppendResult]]
    context: Context

    @property
    def by(self) -> str:
        """The principal that records."""
        return self.requests[0].by


class _Turns:
    """Submissions of one class: those of a principal in their order, and the principals in turn."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[QueuedSubmission]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, submission: QueuedSubmission) -> None:
        self._waiting.setdefault(submission.by, deque()).append(submission)
        self._length += 1

    def popleft(self) -> QueuedSubmission:
        by, own = self._waiting.popitem(last=False)
        submission = own.popleft()
        if own:
            self._waiting[by] = own
        self._length -= 1
        return submission


class _Use(Struct):
    """What waiting submissions take of the queue."""

    requests: int = 0
    bytes: int = 0

    def has_room(self, size: int, part: float = 1.0) -> bool:
        """Whether a submission of a size fits. The first one always does."""
        return self.requests < part * MAX_QUEUED_REQUESTS and (
            self.bytes == 0 or self.bytes + size <= part * MAX_QUEUED_BYTES
        )

    def add(self, requests: int, size: int) -> None:
        self.requests += requests
        self.bytes += size


class SubmissionQueue:
    """Submissions that wait. One task takes the batches, another one the dry runs."""

    def __init__(self) -> None:
        self._requests = _Turns()
        self._imports = _Turns()
        self._large = _Turns()
        self._is_large_next = False
        self._dry_runs = _Turns()
        self._used = _Use()
        self._used_by: dict[str, _Use] = {}
        self._has_work = asyncio.Event()
        self._has_dry_run = asyncio.Event()
        self.is_closed = False

    def __len__(self) -> int:
        return self._used.requests

    def put(self, submission: QueuedSubmission) -> None:
        """Queue a submission. Raises Overloaded if the queue is closed or full, or the principal has used its part."""
        own = self._used_by.get(submission.by, _Use())
        if (
            self.is_closed
            or not self._used.has_room(submission.size)
            or not own.has_room(submission.size, PART_OF_PRINCIPAL)
        ):
            raise Overloaded
        self._used_by[submission.by] = own
        for use in (self._used, own):
            use.add(1, submission.size)
        if submission.writes_nothing:
            self._dry_runs.append(submission)
            self._has_dry_run.set()
            return
        if submission.events > MAX_SMALL_EVENTS or submission.has_redaction:
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
        return self._take_first(self._dry_runs)

    async def _wait_for(self, available: asyncio.Event, *queues: _Turns) -> bool:
        """Wait for a queued submission; False once the queue is closed and these are empty."""
        while not any(queues):
            if self.is_closed:
                return False
            available.clear()
            await available.wait()
        return True

    def _take(self, queue: _Turns, events: int) -> list[QueuedSubmission]:
        """Take submissions until they have this number of events."""
        taken: list[QueuedSubmission] = []
        while queue and events > 0:
            submission = self._take_first(queue)
            # A future that is already done was cancelled, because its client has disconnected.
            if not submission.done.done():
                taken.append(submission)
                events -= submission.events
        return taken

    def _take_first(self, queue: _Turns) -> QueuedSubmission:
        submission = queue.popleft()
        own = self._used_by[submission.by]
        for use in (self._used, own):
            use.add(-1, -submission.size)
        if own.requests == 0:
            del self._used_by[submission.by]
        return submission


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
