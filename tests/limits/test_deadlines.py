"""Reads that take too long are ended, with the work of the database; so are those whose client has left.

One that waited is refused as a failure of the service, and only one whose own work took the time as too long.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg
import httpx
import pytest

from registry.api import deals as deals_api
from registry.http import deadline
from registry.infra import threads, work_time
from registry.infra.fair_threads import FairThreads
from registry.infra.work_time import STATEMENT_SECONDS, WorkTime
from registry.projections.columnar import lists, search_at_point
from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.limits.conftest import connected
from tests.service import Service

WAITING = """
SELECT count(*)
  FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def blocked(service: Service) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Statements that read the content of events wait: another session has the lock of its table."""
    await service.client.post("/v1/deals/slow/events", json=registered())
    owner = await asyncpg.connect(service.settings.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE event_contents IN ACCESS EXCLUSIVE MODE")
            yield owner
    finally:
        await owner.close()


def assert_waited(answer: httpx.Response) -> None:
    """The service could not answer in time; the question is not to blame."""
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "5"


async def no_statement_waits(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await owner.fetchval(WAITING):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_read_without_a_key_that_takes_too_long_is_refused_and_its_statement_ended(
    limited: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "ANONYMOUS_SECONDS", 1.0)
    async with blocked(limited) as owner:
        answer = await limited.visitor.get("/v1/events")
        assert_waited(answer)
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        await no_statement_waits(owner)
    assert (await limited.visitor.get("/v1/events")).status_code == 200


async def test_read_with_a_key_may_take_longer(limited: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "ANONYMOUS_SECONDS", 0.6)
    async with blocked(limited):
        reading = asyncio.create_task(limited.client.get("/v1/events"))
        refused = await limited.visitor.get("/v1/events")
        assert_waited(refused)
    assert (await reading).status_code == 200


async def test_statement_of_a_client_that_has_left_is_ended(limited: Service) -> None:
    async with blocked(limited) as owner:
        async with connected(limited) as client:
            await client.send(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                while not await owner.fetchval(WAITING):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        await no_statement_waits(owner)


# --- what the time went to --------------------------------------------------------------------------------------------


async def taken(stack: AsyncExitStack, shared: FairThreads) -> None:
    """Every thread does something else, until the end."""
    executor = shared._threads
    workers = executor._max_workers
    end = threading.Event()
    busy = threading.Barrier(workers + 1)

    def work() -> None:
        busy.wait(PATIENCE)
        end.wait(PATIENCE)

    working = [executor.submit(work) for _ in range(workers)]
    await asyncio.get_running_loop().run_in_executor(threads_of_tests, busy.wait, PATIENCE)

    async def stop() -> None:
        end.set()
        await asyncio.gather(*map(asyncio.wrap_future, working))

    stack.push_async_callback(stop)


threads_of_tests = ThreadPoolExecutor(2)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads may take a short time only, and answers about one event are made in a thread."""
    monkeypatch.setattr(deadline, "ANONYMOUS_SECONDS", 0.6)
    monkeypatch.setattr(threads, "LONG", 1)


async def all_connections(stack: AsyncExitStack, service: Service) -> None:
    # Some are the service's own, such as the one that listens.
    with suppress(TimeoutError):
        while True:
            stack.push_async_callback(service.pool.release, await service.pool.acquire(timeout=0.2))


async def threads_of_the_copy(stack: AsyncExitStack, service: Service) -> None:
    await taken(stack, service.app.state.services.parts.copy._threads)


async def threads_of_answers(stack: AsyncExitStack, _: Service) -> None:
    await taken(stack, threads._answering)


async def all_threads(stack: AsyncExitStack, _: Service) -> None:
    await taken(stack, work_time._threads)


async def another_search(stack: AsyncExitStack, _: Service) -> None:
    search_at_point._searching.__enter__()
    stack.callback(search_at_point._searching.release)


async def lock_of_a_table(stack: AsyncExitStack, service: Service) -> None:
    owner = await asyncpg.connect(service.settings.owner_url)
    stack.push_async_callback(owner.close)
    await stack.enter_async_context(owner.transaction())
    await owner.execute("LOCK TABLE party_facts IN ACCESS EXCLUSIVE MODE")


async def lock_of_the_copy(stack: AsyncExitStack, service: Service) -> None:
    """The copy is being made again, or follows."""
    copy = service.app.state.services.parts.copy
    await copy._lock.acquire()
    stack.callback(copy._lock.release)
    assert (await service.client.post("/v1/deals/follows/events", json=registered())).status_code == 201


WAITS: list[tuple[Callable[[AsyncExitStack, Service], Any], str]] = [
    (all_connections, "/v1/deals/waits"),
    (threads_of_the_copy, "/v1/deals?limit=2"),
    (threads_of_answers, "/v1/deals/waits/timemap"),
    (all_threads, "/v1/events?limit=7"),
    (another_search, "/v1/deals?q=plant"),
    (lock_of_a_table, "/v1/deals?limit=3"),
    (lock_of_the_copy, "/v1/deals?limit=4"),
]


@pytest.mark.parametrize(("takes", "path"), WAITS, ids=[takes.__name__ for takes, _ in WAITS])
async def test_read_that_waits_is_not_to_blame(
    limited: Service, short: None, takes: Callable[[AsyncExitStack, Service], Any], path: str
) -> None:
    await limited.client.post("/v1/deals/waits/events", json=registered())
    assert (await limited.client.get("/v1/search?q=deal")).status_code == 200
    async with AsyncExitStack() as stack:
        await takes(stack, limited)
        assert_waited(await limited.visitor.get(path))
    assert (await limited.client.get(path)).status_code == 200


def asks_long(cursor: Any, *_: Any) -> Any:
    return cursor.execute("SELECT sum(hash(a.range, b.range)) FROM range(1000000) AS a, range(1000000) AS b").fetchall()


def answers_long(_: Any) -> bytes:
    while True:
        time.sleep(0.01)
        threads.stop_if_cancelled()


@pytest.mark.parametrize(
    ("module", "name", "work", "path"),
    [(lists, "page", asks_long, "/v1/deals?limit=5"), (deals_api, "_as_links", answers_long, "/v1/deals/long/timemap")],
    ids=["question to the copy", "answer made in a thread"],
)
async def test_read_whose_own_work_takes_the_time_is_to_be_narrowed(
    limited: Service, short: None, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, work: Any, path: str
) -> None:
    await limited.client.post("/v1/deals/long/events", json=registered())
    # The copy follows before the time begins.
    assert (await limited.client.get("/v1/deals?limit=6")).status_code == 200
    monkeypatch.setattr(deadline, "ANONYMOUS_SECONDS", 1.5)
    monkeypatch.setattr(module, name, work)
    answer = await limited.visitor.get(path)
    assert (answer.status_code, answer.json()["code"]) == (400, "query_too_long")
    assert "limit" in answer.json()["detail"]
    monkeypatch.undo()
    assert (await limited.client.get(path)).status_code == 200


def test_statement_counts_for_a_short_time_only() -> None:
    work = WorkTime()
    work.add_statement(STATEMENT_SECONDS / 2)
    work.add_statement(STATEMENT_SECONDS * 60)
    assert work.seconds == STATEMENT_SECONDS * 1.5
