"""Large objects are freed part by part, while others run, and what others refer to stays."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from registry.domain.fold.sorted_map import SortedMap
from registry.domain.history import AsOf, FoldedStream, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.types import PledgeAnnounced
from registry.infra import freeing
from registry.infra.threads import LONG, offload_answer, stop_if_cancelled
from registry.infra.work_time import in_thread
from tests.conftest import PATIENCE
from tests.domain.builders import LogBuilder, usd


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


class Noted:
    """An object that notes which module's code freed it."""

    freed_by: list[str]

    def __del__(self) -> None:
        self.freed_by.append(sys._getframe(1).f_globals["__name__"])


async def test_what_a_thread_has_made_is_freed_part_by_part() -> None:
    freed_by: list[str] = []

    def noted(count: int) -> list[Noted]:
        made = [Noted() for _ in range(count)]
        for one in made:
            one.freed_by = freed_by
        return made

    def work() -> tuple[int, list[Noted]]:
        kept = noted(100)
        first = noted(100)
        freeing.after_work(kept, first, Holder(first))
        del first
        freeing.after_work(noted(100))
        last = noted(100)
        freeing.after_work(last, Holder(last))
        return len(freed_by), kept

    freed_meanwhile, kept = await in_thread(work)
    assert (freed_meanwhile, len(freed_by), len(kept)) == (200, 300, 100)
    assert set(freed_by) == {freeing.__name__}


async def test_what_a_thread_has_made_is_freed_part_by_part_if_its_request_ends() -> None:
    freed_by: list[str] = []
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def work() -> None:
        made = [Noted() for _ in range(100)]
        for one in made:
            one.freed_by = freed_by
        freeing.after_work(made)
        loop.call_soon_threadsafe(begun.set)
        while True:
            stop_if_cancelled()

    task = asyncio.create_task(offload_answer(LONG, work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(PATIENCE):
        while len(freed_by) < 100:  # noqa: ASYNC110 - what frees them sets no event
            await asyncio.sleep(0.01)
    assert set(freed_by) == {freeing.__name__}


@pytest.mark.parametrize(
    "fold",
    [
        lambda log: state_as_of("plant", log.events, AsOf(), DEALS),
        lambda log: FoldedStream("plant", DEALS, log.events),
    ],
)
async def test_long_fold_of_a_thread_is_freed_part_by_part(
    fold: Callable[[LogBuilder], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogBuilder()
    for number in range(LONG):
        log.admit(PledgeAnnounced(pledge=f"p-{number}", amount=usd("5")), "2025-01-01")
    freed: list[type] = []
    empty = freeing.empty_in_thread

    def noted(items: list[Any]) -> None:
        freed.extend(map(type, items))
        empty(items)

    monkeypatch.setattr(freeing, "empty_in_thread", noted)
    expected = type(fold(log))
    assert freed == []
    version = await in_thread(lambda: fold(log).version)
    assert (version, freed) == (len(log.events), [expected])
