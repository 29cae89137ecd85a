"""Measures the time in which a request does its own work, without the time in which it waits.

A read that takes too long is the question's fault only if its own work took the time (`http/deadline.py`), not if it
waited for a connection, a lock, a free thread, or work that all questions share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Lock
from time import monotonic
from typing import ParamSpec, TypeVar

from registry.infra import freeing
from registry.infra.fair_threads import FairThreads

P = ParamSpec("P")
T = TypeVar("T")

STATEMENT_SECONDS = 1.0
"""What one statement of Postgres counts for at most: one that takes longer may have waited for a lock or a disk."""

_threads = FairThreads(4, "work")


class WorkTime:
    """The seconds in which a request's own work was done: in threads, and by statements of Postgres that have ended."""

    def __init__(self) -> None:
        # Parts of the work run in several threads at once; a second of two of them is one second.
        self._lock = Lock()
        self._running = 0
        self._since = 0.0
        self._seconds = 0.0

    def change(self, parts: int) -> None:
        """Note that a number of parts begin, or end if the number is negative."""
        with self._lock:
            now = monotonic()
            if self._running:
                self._seconds += now - self._since
            self._since = now
            self._running += parts

    def add_statement(self, seconds: float) -> None:
        """Add a statement of Postgres that has ended."""
        with self._lock:
            self._seconds += min(seconds, STATEMENT_SECONDS)

    @property
    def seconds(self) -> float:
        """The seconds until now."""
        self.change(0)
        return self._seconds


_work: ContextVar[WorkTime | None] = ContextVar("work_time", default=None)


def start() -> WorkTime:
    """Start to measure the own work of this task, and of the tasks and threads that it starts."""
    work = WorkTime()
    _work.set(work)
    return work


def current() -> WorkTime | None:
    """The measured work that this task or thread is part of."""
    return _work.get()


def timed_call(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Return a call of `work` for another thread, in this task's context. Its time counts as own work.

    What it has made is freed part by part (`freeing.after_work`).
    """
    return partial(copy_context().run, partial(_timed, partial(work, *args, **kwargs)))


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` returns, from a thread, like `asyncio.to_thread`; it counts as own work."""
    return await _threads.run(timed_call(work, *args, **kwargs))


def _timed(work: Callable[[], T]) -> T:
    own = _work.get()
    if own is None:
        return freeing.call(work)
    own.change(1)
    try:
        return freeing.call(work)
    finally:
        own.change(-1)


class WaitingLock:
    """A lock that threads hold while they work for others too: the wait for it is not own work."""

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            with _paused():
                self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def take(self) -> bool:
        """Take the lock if it is free, and return whether it was."""
        return self._lock.acquire(blocking=False)

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


@contextmanager
def _paused() -> Iterator[None]:
    own = _work.get()
    if own is None:
        yield
        return
    own.change(-1)
    try:
        yield
    finally:
        own.change(1)
