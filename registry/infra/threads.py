"""Offload long computations to threads, so that they do not hold the event loop.

A thread must get data that no other task changes meanwhile: values that never change, or copies
(`FoldedStream.copy_for_thread`).
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from registry.infra import memory
from registry.infra.fair_threads import FairThreads
from registry.infra.work_time import in_thread, timed_call

P = ParamSpec("P")
T = TypeVar("T")

LONG = 200
"""Work on this number of items, such as events, is offloaded: it takes 5 ms, far longer than a change of thread."""

MANY_ITEMS = 1_000
"""More items are sorted group by group."""

HEAVY_ITEM = 10
"""What an event counts as in work that is heavy for each: a comparison of two points, or a page that shows it whole."""

# Few, because Python computes in one thread at a time. A pool apart from the default one, so that reading and recording
# do not wait behind answers.
_answering = FairThreads(2, "answers")

_cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


class Cancelled(Exception):
    """The request has ended, so its answer is not needed."""


def is_long(size: int) -> bool:
    """Whether work on this number of items is offloaded."""
    return size >= LONG


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work`, in a thread if its `size` in items is long. For work of some 100 ms at most.

    The thread is one of the event loop's default pool, and the work runs to its end even if the request ends.
    """
    if not is_long(size):
        return work(*args, **kwargs)
    memory.collect_often()
    return await in_thread(work, *args, **kwargs)


async def offload_answer(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work`, which makes an answer, in a thread if its `size` in items is long. It may take seconds.

    The thread is one of a pool for answers. If the request ends before the work begins, the work is dropped. Work that
    can take many seconds calls `stop_if_cancelled`, or takes its items from `until_cancelled`.
    """
    if not is_long(size):
        return work(*args, **kwargs)
    memory.collect_often()
    cancelled, context = threading.Event(), copy_context()
    context.run(_cancelled.set, cancelled)
    call = context.run(lambda: timed_call(_stoppable, partial(work, *args, **kwargs)))
    try:
        return await _answering.run(call)
    except asyncio.CancelledError:
        cancelled.set()
        raise


def _stoppable(work: Callable[[], T]) -> T:
    try:
        return work()
    except Cancelled as cancelled:
        # Its frames refer to what they have made, which is freed part by part only once nothing else does.
        traceback.clear_frames(cancelled.__traceback__)
        raise


def sorted_in_groups(items: Collection[T], group: Callable[[T], Any], key: Callable[[T], Any]) -> list[T]:
    """Sort items; many of them group by group, where `group` is the first part of the `key`.

    No other thread runs while a list is sorted: for 12 ms of the 28 that 30,000 pledges take, the rest being their
    keys. In groups they take 22 (processor time, load 9).
    """
    if len(items) <= MANY_ITEMS:
        return sorted(items, key=key)
    groups: defaultdict[Any, list[T]] = defaultdict(list)
    for item in items:
        groups[group(item)].append(item)
    return [item for first in sorted(groups) for item in sorted(groups[first], key=key)]


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
