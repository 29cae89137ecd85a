"""Work that takes long is done in a thread, beside the event loop.

What it works on must be its own, or not change meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar

from registry.infra.own_work import as_own, in_thread

P = ParamSpec("P")
T = TypeVar("T")

LONG = 200
"""Events, or other items, from which on work on all of them takes longer (5 ms and more) than the change of thread."""

COSTLY = 10
"""What an event costs in a comparison of two points, or on a page that shows it whole, where it costs 1 otherwise."""

# Few, and of their own: Python computes in one thread at a time, and reading and recording do not wait behind answers.
_answering = ThreadPoolExecutor(2, thread_name_prefix="answers")

_cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


class Cancelled(Exception):
    """The request has ended, so its answer is not needed."""


def is_long(size: int) -> bool:
    """Whether work on so many items is done in a thread."""
    return size >= LONG


async def apart(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` on `size` items returns, from a thread if they are many. For work of some 100 ms at most."""
    return await in_thread(work, *args, **kwargs) if is_long(size) else work(*args, **kwargs)


async def answer_apart(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the same for an answer, which may take longer. A request that ends meanwhile leaves the queue.

    Work of more than seconds calls `stop_if_cancelled`, or takes its items from `until_cancelled`.
    """
    if not is_long(size):
        return work(*args, **kwargs)
    cancelled, context = threading.Event(), copy_context()
    context.run(_cancelled.set, cancelled)
    call = context.run(lambda: as_own(work, *args, **kwargs))
    try:
        return await asyncio.get_running_loop().run_in_executor(_answering, call)
    except asyncio.CancelledError:
        cancelled.set()
        raise


def until_cancelled(items: Iterable[T]) -> Iterator[T]:
    """Pass items on, until the request has ended. Raises Cancelled."""
    for item in items:
        stop_if_cancelled()
        yield item


def stop_if_cancelled() -> None:
    """End this thread's work if the request has ended. Raises Cancelled."""
    cancelled = _cancelled.get()
    if cancelled is not None and cancelled.is_set():
        raise Cancelled
