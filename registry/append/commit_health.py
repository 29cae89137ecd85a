"""Whether commits go through: whether the present one is late or stuck, and whether the disk failed lately."""

from __future__ import annotations

import time

from registry.events.log_lock import SECONDS_PER_EVENT

# Seconds after which a batch of few events counts as stuck, once the database is known to be lost.
STUCK_SECONDS = 3.0

# Seconds after which a batch of few events counts as late: a disk or a standby does not answer, though Postgres does.
LATE_SECONDS = 5.0

# Seconds for which a service counts as not ready after it could not write.
STORAGE_FAILURE_SECONDS = 10.0


class CommitHealth:
    """The present batch of a recorder, and the last failures to commit one; the readiness check reads both."""

    def __init__(self) -> None:
        self._began = 0.0
        self._events = 0
        self._is_committing = False
        # Why and when a batch could not be written to a disk.
        self._storage_failure: tuple[str, float] | None = None
        # When a batch was given up because its commit took too long.
        self._gave_up_at: float | None = None

    def begin(self, events: int) -> None:
        """A batch of some events was taken from the queue."""
        self._began = time.perf_counter()
        self._events = events
        self._is_committing = True

    def end(self) -> None:
        """The batch was committed, refused or given up."""
        self._is_committing = False

    def committed(self) -> None:
        """Forget the failures: the database can write again."""
        self._storage_failure = self._gave_up_at = None

    def storage_failed(self, reason: str) -> None:
        """Postgres could not write the batch to its disk."""
        self._storage_failure = reason, time.monotonic()

    def connection_lost(self) -> None:
        """The commit failed without an answer; if it was stuck, the batch was given up."""
        if self.is_stuck:
            self._gave_up_at = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the present batch was taken from the queue."""
        return time.perf_counter() - self._began

    @property
    def storage_failure(self) -> str | None:
        """Why Postgres could not write the last batch to its disk; None after STORAGE_FAILURE_SECONDS.

        By then only new requests can show whether the disk still fails.
        """
        if self._storage_failure is None:
            return None
        reason, at = self._storage_failure
        return reason if time.monotonic() - at < STORAGE_FAILURE_SECONDS else None

    @property
    def is_late(self) -> bool:
        """Whether a batch waits too long for its commit, or was given up for that in STORAGE_FAILURE_SECONDS."""
        if self._gave_up_at is not None and time.monotonic() - self._gave_up_at < STORAGE_FAILURE_SECONDS:
            return True
        return self._is_committing_for(LATE_SECONDS)

    @property
    def is_stuck(self) -> bool:
        """Whether the batch has not been committed in STUCK_SECONDS, and more for each of its events."""
        return self._is_committing_for(STUCK_SECONDS)

    def _is_committing_for(self, seconds: float) -> bool:
        return self._is_committing and self.elapsed > seconds + self._events * SECONDS_PER_EVENT
