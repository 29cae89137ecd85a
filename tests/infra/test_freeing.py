"""Large objects are freed part by part, while others run, and what others refer to stays."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct

from registry.domain.fold.sorted_map import SortedMap
from registry.infra import freeing


class Counted:
    """An object that counts how many like it were freed."""

    freed = 0

    def __del__(self) -> None:
        Counted.freed += 1


class Holder(Struct, gc=False):
    """A struct that the garbage collector does not track."""

    items: Any


async def freed_meanwhile(*lists: list[Any]) -> list[int]:
    """How many objects had been freed each time another task ran while the lists were emptied."""
    Counted.freed, seen = 0, []

    async def look() -> None:
        while True:
            seen.append(Counted.freed)
            await asyncio.sleep(0)

    task = asyncio.create_task(look())
    await freeing.empty(*lists)
    task.cancel()
    return seen


async def test_others_run_while_a_large_object_is_freed() -> None:
    inner = SortedMap.of([(number, Holder([Counted()])) for number in range(50_000)])
    items: list[Any] = [Holder({"a": inner})]
    del inner
    seen = await freed_meanwhile(items)
    assert Counted.freed == 50_000
    assert items == []
    assert any(0 < freed < 50_000 for freed in seen)


async def test_what_others_refer_to_stays() -> None:
    kept = [Counted() for _ in range(1_000)]
    shared = Holder(kept)
    await freed_meanwhile([Holder({"shared": shared}), [*kept, Counted()]], [shared])
    assert Counted.freed == 1
    assert shared.items is kept
    assert len(kept) == 1_000


async def test_what_is_still_used_is_freed_in_parts_once_it_is_not() -> None:
    Counted.freed, seen = 0, []
    items = [Counted() for _ in range(50_000)]
    freeing.once_unused(items, "a text" * 100)
    await asyncio.sleep(freeing.FIRST_LOOK_SECONDS * 5)
    assert Counted.freed == 0
    del items
    async with asyncio.timeout(60):
        while Counted.freed < 50_000:
            seen.append(Counted.freed)
            await asyncio.sleep(0)
    assert any(0 < freed < 50_000 for freed in seen)
