"""What the asyncio tasks of a test wait for when it hangs: faulthandler shows threads, all of which wait for events."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def tasks_shown_after(seconds: float, name: str, output: int) -> Iterator[None]:
    """Write the tasks, with where each of them waits, to a file descriptor if the context takes longer."""
    timer = threading.Timer(seconds, _show, [name, output])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _show(name: str, output: int) -> None:
    tasks = [found for found in gc.get_objects() if isinstance(found, asyncio.Task) and not found.done()]
    lines = [f"{name} hangs. Tasks:", *(line for task in tasks for line in (task.get_name(), *_waits(task.get_coro())))]
    os.write(output, "\n".join((*lines, "")).encode())


def _waits(awaited: Any) -> Iterator[str]:
    """The frames from a task's coroutine to what it waits for."""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "ag", "gi") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None:
            yield f"  {awaited!r:.200}"
            return
        if (frame := getattr(awaited, f"{kind}_frame")) is not None:
            yield f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
