"""Work in threads: it ends with the request that asked for it, and leaves the threads to others."""

from __future__ import annotations

import asyncio
import threading

import pytest

from registry.infra.threads import LONG, Left, answer_apart, stop_if_left
from tests.conftest import PATIENCE


async def test_answer_ends_when_its_request_does() -> None:
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        try:
            while True:
                stop_if_left()
        except Left:
            ended.set()
            raise

    # More of them than there are threads: those that wait begin no more.
    tasks = [asyncio.create_task(answer_apart(LONG, work)) for _ in range(8)]
    assert await asyncio.to_thread(began.wait, PATIENCE)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(ended.wait, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        assert await answer_apart(LONG, threading.current_thread) is not threading.main_thread()


async def test_work_on_few_items_stays_where_it_is() -> None:
    assert await answer_apart(LONG - 1, threading.current_thread) is threading.current_thread()
    stop_if_left()
