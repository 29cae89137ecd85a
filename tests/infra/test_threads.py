"""Work in threads: it ends with the request that asked for it, and leaves the threads to others."""

from __future__ import annotations

import asyncio
import gc
import threading
from contextvars import copy_context
from datetime import date
from typing import Any

import pytest

from registry.domain.audit.comparison import compare
from registry.domain.calendar import Calendar
from registry.domain.history import AsOf, FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.events.types import PledgeAnnounced
from registry.infra import memory, threads
from registry.infra.threads import LONG, Cancelled, offload, offload_answer, stop_if_cancelled, until_cancelled
from registry.queries.deal_changes import changes_of
from registry.web.deals.comparison import compare_points
from registry.web.page.as_of import PageAsOf
from tests.conftest import PATIENCE
from tests.domain.builders import LogBuilder, usd


async def test_answer_ends_when_its_request_does() -> None:
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        try:
            while True:
                stop_if_cancelled()
        except Cancelled:
            ended.set()
            raise

    # More of them than there are threads: those that wait begin no more.
    tasks = [asyncio.create_task(offload_answer(LONG, work)) for _ in range(8)]
    assert await asyncio.to_thread(began.wait, PATIENCE)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(ended.wait, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        assert await offload_answer(LONG, threading.current_thread) is not threading.main_thread()


@pytest.mark.parametrize("call", [offload, offload_answer])
async def test_garbage_is_collected_often_during_long_work(call: Any) -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(memory.MOST_OBJECTS, *before[1:])
        assert (await call(LONG - 1, gc.get_threshold))[0] == memory.MOST_OBJECTS
        assert (await call(LONG, gc.get_threshold))[0] == memory.FEWEST_OBJECTS
    finally:
        gc.set_threshold(*before)


NOW = PageAsOf(
    clocks=AsOf(), effective_on=date(2024, 1, 1), calendar=Calendar(), today=date(2024, 1, 1), axis="published"
)


@pytest.mark.parametrize(
    "ask",
    [
        lambda events, points: changes_of([FoldedStream("long", DEALS, events)], points[0], points[1], Calendar()),
        lambda events, points: compare(events, points[0], points[1], DEALS, Calendar(), until_cancelled),
        lambda events, points: compare_points(FoldedStream("long", DEALS, events), points[0], points[1], NOW),
    ],
    ids=["all deals", "one deal", "page"],
)
def test_comparison_ends_when_its_request_does(ask: Any) -> None:
    log = LogBuilder()
    log.record(PledgeAnnounced(pledge="total", amount=usd("5")), "2024-06-01")
    points = AsOf(effective_on=date(2024, 1, 1)), AsOf(effective_on=date(2025, 1, 1))
    left, context = threading.Event(), copy_context()
    context.run(threads._cancelled.set, left)
    assert context.run(ask, log.events, points)
    left.set()
    with pytest.raises(Cancelled):
        context.run(ask, log.events, points)


async def test_work_on_few_items_stays_where_it_is() -> None:
    assert await offload_answer(LONG - 1, threading.current_thread) is threading.current_thread()
    stop_if_cancelled()
