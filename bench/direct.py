"""Recording in process, without HTTP: decode, check, record, with so many announcements in flight.

`python -m bench.direct DATABASE_URL DEALS [FIRST]` records made-up histories and prints what it took as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import psutil

from bench import plan
from registry import postgres
from registry.events import intake
from registry.events.types import Announcement
from registry.recorder import Recorder, Request

IN_FLIGHT = 2_000


class Line(Announcement, frozen=True, kw_only=True):
    """A line of the plan."""

    deal: str


async def record(url: str, deals: int, first: int) -> dict[str, float]:
    """Records the histories of so many deals; events per second, seconds, and the most memory held, in MB."""
    lines = intake.Intake(Line)
    process = psutil.Process()
    peak = before = process.memory_info().rss
    async with await postgres.pool(url, name="bench") as pool, Recorder(pool) as recorder:
        room = asyncio.Semaphore(IN_FLIGHT)
        failed: list[BaseException] = []

        async def one(said: Line) -> None:
            try:
                await recorder.record(Request(kind="deal", slug=said.deal, announcements=(said,), by="bench"))
            except BaseException as error:
                failed.append(error)
            finally:
                room.release()

        start = time.perf_counter()
        done = 0
        async with asyncio.TaskGroup() as tasks:
            for line in plan.lines(deals, first):
                await room.acquire()
                tasks.create_task(one(lines.one(line)))
                done += 1
                if done % 5_000 == 0:
                    peak = max(peak, process.memory_info().rss)
        took = time.perf_counter() - start
    if failed:
        raise failed[0]
    return {"rate": done / took, "seconds": took, "before": before / 2**20, "peak": peak / 2**20}


def main() -> None:
    import uvloop

    url, deals, *first = sys.argv[1:]
    print(json.dumps(uvloop.run(record(url, int(deals), int(first[0]) if first else 0))))


if __name__ == "__main__":
    main()


__all__ = ["Line", "record"]
