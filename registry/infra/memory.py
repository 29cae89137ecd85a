"""Give memory that is no longer used back to the operating system.

The C library keeps what a large request used: blocks of some hundred bytes are freed one by one, and a few of them that
stay keep the heap from shrinking. To give them back stops every thread that needs memory, the longer the more there is
to give back (1.4 GB: 230 ms), so it is done every 0.2 s, when little has been freed since the last time.

Objects in reference cycles stay until a garbage collection. If they have outlived two, only a full collection frees
them, which goes through all objects of the process while no thread runs (0.2 ms for a thousand). The service avoids
such cycles, so a full collection is for memory that has grown much and stayed so.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from registry.infra import tasks

TRIM_SECONDS = 0.2
"""Seconds between two times that what is free is given back. With 1 s, 13 of some 200 GET requests of `bench.holds`
held the event loop for 20 ms or more; with 0.2 s 3 and 9 in two runs (idle machine). Posts and imports cost the same:
0.99 and 0.96 of the loop's processor time with 1 s (medians of four alternating rounds of 3 s)."""

GROWTH = 512 * 2**20
"""Bytes by which the memory may grow before garbage is looked for among all objects."""

GROWN_SECONDS = 600
"""Seconds for which it must stay so large: a large request may need as much."""

FEWEST_OBJECTS, MOST_OBJECTS = 1_000, 8_000
"""New objects after which garbage is collected. A collection lets no thread run, and goes through all references of its
objects. Those of a long deal have thousands: while 10,000 lines of one are imported, collections of 5,000 objects take
up to 15 ms, of 1,000 up to 4 (load 10 on 2 cores). But 64 posts at a time have thousands of objects, which are freed
after the commit, and none of them is garbage. With 1,000, which noise led back to, there was a collection every 16
posts, and they took 45 of the 461 µs of a post; with 8,000 one every 320, which took 18 of 415 µs and 7 ms each at most
(load 19 on 2 cores). At a load of 5, it was 14 of 258 µs and is 6 of 256."""

COLLECTIONS = 0
"""After one more collection than this, what is left of their objects is looked through again, with the next new ones.
So the largest of these collections has at most twice as many objects."""

FAST_COLLECTIONS = 100
"""So many collections of the fewest objects must be fast before there are more objects. Posts are fast for thousands of
collections. A long list of announcements is fast while it is decoded, and slow when its deal is folded: while lists of
8 MiB were recorded, collections took up to 22 ms when two fast ones were enough, and up to 14 with this number
(processor time, load 9)."""

SLOW_SECONDS = 2e-6
"""Processor time of a collection for each object. Those of posts take 0.2 to 0.9 µs, and up to 1.4 on two cores with a
load of 19; with 1 µs, collections were rare no more. Those of a long deal take up to 12 (load 7 to 12 on 2 cores)."""

ARENAS = 2
"""Heaps of the C library that all threads share. By default there are up to eight for each processor, and a thread
cannot use what is free in the heap of another. A ready service with 50,000 events had 14 MB in two heaps, and 25 to 39
MB in sixteen. Its memory beside an import of 12,800 events was 407 MB at most, and 416 MB (medians of two)."""

M_ARENA_MAX = -8
"""mallopt(3)."""


def share_heaps() -> None:
    """Let threads share heaps of the GNU C library; before they start."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(M_ARENA_MAX, ARENAS)


class CollectorPace:
    """How often Python collects garbage: rarely once many collections were fast, often once one is slow."""

    def __init__(self, full: int) -> None:
        """Take the count of the larger collections after which all objects are looked through."""
        self._full = full
        self._began = 0.0
        self._fast = 0

    def start(self) -> None:
        """Set the pace, and follow the collections."""
        gc.set_threshold(FEWEST_OBJECTS, COLLECTIONS, self._full)
        gc.callbacks.append(self._follow)

    def _follow(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        elif info["generation"] == 0:
            took, objects = time.thread_time() - self._began, gc.get_threshold()[0]
            if took > SLOW_SECONDS * objects:
                self._fast, objects = 0, FEWEST_OBJECTS
            elif objects < MOST_OBJECTS:
                self._fast += 1
                if self._fast == FAST_COLLECTIONS:
                    self._fast, objects = 0, MOST_OBJECTS
            gc.set_threshold(objects, COLLECTIONS, self._full)


def collect_often() -> None:
    """Look for garbage often from now on, until that turns out to be fast: before long work on deals."""
    gc.set_threshold(FEWEST_OBJECTS, *gc.get_threshold()[1:])


def resident_bytes() -> int:
    """The memory of this process, on Linux (proc(5))."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def find_trim() -> Callable[[int], int] | None:
    """`malloc_trim` of the GNU C library; None where there is no such function."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


class FreedMemory:
    """Gives memory back, and looks for garbage among all objects once the process has grown and stays large."""

    def __init__(self) -> None:
        self._trim = find_trim()
        self._least = resident_bytes() if self._trim is not None else 0
        self._grown_seconds = 0.0

    def give_back(self) -> None:
        """Give back what is free."""
        if self._trim is None:
            return
        self._trim(0)
        resident = resident_bytes()
        self._least = min(self._least, resident)
        self._grown_seconds = self._grown_seconds + TRIM_SECONDS if resident > self._least + GROWTH else 0
        if self._grown_seconds > GROWN_SECONDS:
            gc.collect()
            self._trim(0)
            self._least, self._grown_seconds = resident_bytes(), 0

    async def run(self) -> None:
        """Give memory back for as long as the service runs."""
        while self._trim is not None:
            await asyncio.sleep(TRIM_SECONDS)
            await asyncio.to_thread(self.give_back)


@asynccontextmanager
async def returned() -> AsyncIterator[None]:
    """Give back the memory that is free while the context lasts."""
    task = asyncio.create_task(FreedMemory().run(), name="freed memory")
    try:
        yield
    finally:
        await tasks.end(task)
