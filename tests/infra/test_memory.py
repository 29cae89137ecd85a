"""Memory that a large request used goes back to the operating system."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
from typing import Any

import pytest

from registry.infra import memory
from registry.infra.memory import resident_bytes

BLOCKS = 400_000

HEAPS_OF_THREADS = """
import ctypes, threading
from registry.infra import memory
memory.share_heaps()
c, together = ctypes.CDLL(None), threading.Barrier(8)
c.malloc.argtypes, c.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
def allocate():
    together.wait()
    c.malloc(2000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
c.fdopen.restype = ctypes.c_void_p
out = c.fdopen(1, b"w")
c.malloc_info(0, ctypes.c_void_p(out))
c.fflush(ctypes.c_void_p(out))
"""


@pytest.mark.skipif(memory.find_trim() is None, reason="only the GNU C library can give memory back")
async def test_memory_that_is_free_again_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "TRIM_SECONDS", 0.01)
    before = resident_bytes()
    async with memory.returned():
        blocks = [bytes(600 + n % 600) for n in range(BLOCKS)]
        grown = resident_bytes() - before
        assert grown > 2**27
        # Those that stay keep the heap from shrinking by itself.
        blocks = blocks[::500]
        async with asyncio.timeout(60):
            while resident_bytes() - before > grown / 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert len(blocks) == BLOCKS / 500


@pytest.mark.skipif(memory.find_trim() is None, reason="only the GNU C library can give memory back")
async def test_memory_of_objects_that_refer_to_each_other_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "TRIM_SECONDS", 0.01)
    monkeypatch.setattr(memory, "GROWTH", 2**26)
    monkeypatch.setattr(memory, "GROWN_SECONDS", 0.05)
    gc.collect()
    gc.disable()
    try:
        before = resident_bytes()
        async with memory.returned():
            blocks: list[Any] = [bytes(600 + n % 600) for n in range(BLOCKS)]
            blocks.append(blocks)
            grown = resident_bytes() - before
            assert grown > 2 * memory.GROWTH
            del blocks
            async with asyncio.timeout(60):
                while resident_bytes() - before > grown / 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()


@pytest.mark.skipif(memory.find_trim() is None, reason="only the GNU C library has heaps of threads")
def test_threads_share_heaps() -> None:
    shown = subprocess.run([sys.executable, "-c", HEAPS_OF_THREADS], capture_output=True, text=True, check=True).stdout
    assert 1 <= len(re.findall("<heap nr=", shown)) <= memory.ARENAS


def test_the_collector_looks_through_more_objects_while_that_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow, enough = [0.0, 0.0005], [0.0, 0.1], memory.FAST_COLLECTIONS
    clock = iter([*fast * (enough - 1), *slow, *fast * enough, *slow, *fast])
    before, callbacks = gc.get_threshold(), list(gc.callbacks)
    gc.disable()
    try:
        memory.CollectorPace(10).start()
        monkeypatch.setattr("time.thread_time", lambda: next(clock))
        seen = [gc.get_threshold()[0]]
        for _ in range(2 * enough + 2):
            gc.collect(0)
            seen.append(gc.get_threshold()[0])
    finally:
        gc.callbacks[:] = callbacks
        gc.set_threshold(*before)
        gc.enable()
    fewest, most = memory.FEWEST_OBJECTS, memory.MOST_OBJECTS
    assert seen == [fewest] * 2 * enough + [most, fewest, fewest]
