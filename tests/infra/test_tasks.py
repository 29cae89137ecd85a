"""Background tasks end, also if they miss a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from registry.infra import tasks


async def test_a_task_that_misses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    missed = 0

    async def work() -> None:
        nonlocal missed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                missed += 1
                if missed == 3:
                    raise

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    await tasks.end(working, None)
    assert working.cancelled()
    assert missed == 3


async def test_the_error_of_a_task_that_had_failed_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> None:
        raise ValueError("no such thing")

    failed = asyncio.create_task(fail(), name="failing")
    await asyncio.wait([failed])
    await tasks.end(failed)
    captured = capsys.readouterr()
    assert "a background task had failed" in captured.out + captured.err
