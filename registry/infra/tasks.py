"""What background tasks share: they wait for work, and end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog

log = structlog.get_logger(__name__)

# Seconds after which a task that goes on is cancelled again.
CANCEL_AGAIN_SECONDS = 2.0


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, for at most some seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until all of them have ended; log the error of one that failed.

    A task may miss a cancellation: `asyncio.wait_for` of Python 3.11 returns instead if its result comes at the same
    moment, and an error of a connection that is given back replaces the cancellation, which a loop then takes for a
    lost database. Such a task is cancelled again, so that the service stops.
    """
    running = {task for task in tasks if task is not None}
    ended: set[asyncio.Task[Any]] = set()
    while running:
        for task in running:
            task.cancel()
        done, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_SECONDS)
        ended |= done
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task had failed", task=task.get_name(), exc_info=error)
