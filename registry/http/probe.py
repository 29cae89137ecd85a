"""Wait for a check for a bounded time, even if the check hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Probe(Generic[T]):
    """One check at a time, in a task of its own; a context manager that gives the check up.

    A timeout alone does not bound the wait: when Postgres is frozen, asyncpg waits for the end of a cancelled statement
    without one (tests/faults/test_frozen_postgres.py).
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[T] | None = None

    async def result(self, check: Callable[[], Awaitable[T]], seconds: float) -> T:
        """The result of a check that runs already, else of a new one.

        Raises:
            TimeoutError: It did not end in time. It goes on, so that no second one hangs beside it.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(_run(check))
        task = self._task
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise TimeoutError
        return task.result()

    async def __aenter__(self) -> Probe[T]:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=1)


async def _run(check: Callable[[], Awaitable[T]]) -> T:
    return await check()
