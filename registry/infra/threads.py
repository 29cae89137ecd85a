"""Work that takes long is done in a thread, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LONG = 200
"""Events, or other items, from which on work on all of them takes longer (5 ms and more) than the change of thread."""

# Few, and of their own: Python computes in one thread at a time, and a request that has waited for too long leaves the
# queue. Bodies and compressed answers do not wait behind it.
_threads = ThreadPoolExecutor(2, thread_name_prefix="apart")


def is_long(size: int) -> bool:
    """Whether work on so many items is done in a thread."""
    return size >= LONG


async def apart(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `work` on `size` items returns, from a thread if they are many.

    What it works on must be its own, or not change meanwhile.
    """
    if not is_long(size):
        return work(*args, **kwargs)
    call = partial(copy_context().run, partial(work, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_threads, call)
