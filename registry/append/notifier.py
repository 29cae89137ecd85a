"""Tell other processes that the log has grown, after the commit and outside its transaction."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from registry.append import idempotency
from registry.events.notifications import NOTIFY_CHANNEL, NOTIFY_RIGHTS
from registry.infra import postgres, tasks
from registry.infra.postgres import Pool

log = structlog.get_logger(__name__)

# Seconds between two NOTIFYs: each takes a lock of the whole server and makes every listener read.
NOTIFY_INTERVAL_SECONDS = 0.05

# A NOTIFY may be lost in a crash, so it need not wait for the disk.
NOTIFY = f"SELECT set_config('synchronous_commit', 'off', true), pg_notify('{NOTIFY_CHANNEL}', $1)"


class Notifier:
    """The task that sends NOTIFY after commits, and deletes expired idempotency records once an hour.

    NOTIFY runs outside the append transaction, because it takes a lock of the whole server. A notification may be lost:
    readers also poll.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._requested = asyncio.Event()
        self._recorded_at: datetime | None = None
        self._has_rights = False
        self._keys_deleted_at = datetime.min.replace(tzinfo=UTC)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._notify_loop(), name="recorder notify")

    async def stop(self) -> None:
        """End the task."""
        await tasks.end(self._task)

    def committed(self, recorded_at: datetime | None, *, changed_rights: bool) -> None:
        """Request a notification of a commit; `changed_rights` says whether it had events of principals."""
        self._recorded_at = recorded_at
        self._has_rights |= changed_rights
        self._requested.set()

    async def _notify_loop(self) -> None:
        while True:
            await self._requested.wait()
            self._requested.clear()
            recorded_at = self._recorded_at
            if recorded_at is None:
                continue
            # If this notification fails, the next one repeats its payload. Processes that receive none see new rights
            # within a second (queries/principals.py).
            has_rights, self._has_rights = self._has_rights, False
            try:
                await self._pool.execute(NOTIFY, NOTIFY_RIGHTS if has_rights else "")
                if recorded_at - self._keys_deleted_at > timedelta(hours=1):
                    await idempotency.delete_expired(self._pool, recorded_at)
                    self._keys_deleted_at = recorded_at
            except postgres.ERRORS as error:
                self._has_rights |= has_rights
                log.warning("NOTIFY failed", error=str(error) or type(error).__name__)
            await asyncio.sleep(NOTIFY_INTERVAL_SECONDS)
