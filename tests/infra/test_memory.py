"""Memory that a large request used goes back to the operating system."""

from __future__ import annotations

import asyncio

import pytest

from registry.infra import memory
from registry.infra.memory import resident_bytes

BLOCKS = 400_000


@pytest.mark.skipif(memory.find_trim() is None, reason="only the GNU C library can give memory back")
async def test_memory_that_is_free_again_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(memory, "GROWTH", 2**26)
    before = resident_bytes()
    async with memory.returned():
        blocks = [bytes(600 + n % 600) for n in range(BLOCKS)]
        grown = resident_bytes() - before
        assert grown > 2 * memory.GROWTH
        # Those that stay keep the heap from shrinking by itself.
        blocks = blocks[::500]
        async with asyncio.timeout(60):
            while resident_bytes() - before > grown / 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert len(blocks) == BLOCKS / 500
