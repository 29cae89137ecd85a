"""Clients share threads: each gets a turn, and none has all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from registry.infra.fair_threads import FairThreads, set_client
from tests.conftest import PATIENCE


@pytest_asyncio.fixture
async def threads() -> AsyncIterator[FairThreads]:
    threads = FairThreads(2, "test")
    yield threads
    await asyncio.to_thread(threads.shutdown)


def ask(threads: FairThreads, client: str, work: Callable[[], str]) -> asyncio.Task[str]:
    async def asked() -> str:
        set_client(client)
        return await threads.run(work)

    return asyncio.create_task(asked())


async def test_client_with_much_work_leaves_a_thread_to_others(threads: FairThreads) -> None:
    released = threading.Event()

    def blocked() -> str:
        assert released.wait(PATIENCE)
        return "blocked"

    many = [ask(threads, "many", blocked) for _ in range(5)]
    assert await asyncio.wait_for(ask(threads, "other", lambda: "answered"), PATIENCE) == "answered"
    released.set()
    assert await asyncio.gather(*many) == ["blocked"] * 5


async def test_clients_take_turns(threads: FairThreads) -> None:
    done: list[str] = []
    released = threading.Event()

    def work(name: str) -> Callable[[], str]:
        def append() -> str:
            assert released.wait(PATIENCE)
            done.append(name)
            return name

        return append

    # They need both threads until the others wait.
    blocked = [ask(threads, f"blocked-{n}", work("blocked")) for n in range(2)]
    many = [ask(threads, "many", work(f"many-{n}")) for n in range(4)]
    others = [ask(threads, f"other-{n}", work(f"other-{n}")) for n in range(2)]
    await asyncio.sleep(0)
    released.set()
    await asyncio.gather(*blocked, *many, *others)
    assert {done.index(f"other-{n}") for n in range(2)} < {2, 3, 4, 5}


async def test_cancelled_work_does_not_begin_and_an_error_reaches_its_client(threads: FairThreads) -> None:
    released, begun = threading.Event(), threading.Event()

    def blocked() -> str:
        assert released.wait(PATIENCE)
        return "blocked"

    def begin() -> str:
        begun.set()
        return "begun"

    def fail() -> str:
        raise ValueError("wrong")

    first = ask(threads, "one", blocked)
    second = ask(threads, "one", begin)
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    with pytest.raises(ValueError, match="wrong"):
        await ask(threads, "other", fail)
    released.set()
    assert await first == "blocked"
    assert await ask(threads, "one", lambda: "next") == "next"
    assert not begun.is_set()


async def test_work_that_waits_ends_with_the_threads() -> None:
    threads, released = FairThreads(2, "test"), threading.Event()

    def blocked() -> str:
        assert released.wait(PATIENCE)
        return "blocked"

    running, waiting = ask(threads, "one", blocked), ask(threads, "one", blocked)
    await asyncio.sleep(0)
    ending = asyncio.create_task(asyncio.to_thread(threads.shutdown))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, PATIENCE)
    released.set()
    await ending
    assert await running == "blocked"
