"""Long work on the event loop gives way to other tasks between its parts."""

from __future__ import annotations

import asyncio
from time import perf_counter

SECONDS = 0.002
"""Work gives way to other tasks after this time."""


class TimeSlice:
    """The time that a piece of work may take before other tasks run."""

    def __init__(self) -> None:
        self._ends = perf_counter() + SECONDS

    async def give_way(self) -> None:
        """Let other tasks run if the slice is over, and begin the next one."""
        if perf_counter() > self._ends:
            await asyncio.sleep(0)
            self._ends = perf_counter() + SECONDS
