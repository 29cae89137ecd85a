"""What an event costs one processor, in process and without a database: reading a line, judging it, drawing the views.

What an import spends beside that is HTTP, the loop, and handing groups to Postgres.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from bench import plan
from registry.domain.history import History
from registry.draft import Draft, Request, Together
from registry.events import intake
from registry.events.merkle import Frontier
from registry.events.store import Head, Writes
from registry.projections import VIEWS
from registry.projections.histories import Histories, history_of

GROUP = 250


class Costs(Struct, frozen=True):
    """Microseconds of processor time an event."""

    reading: float
    judging: float
    drawing: float


class _InMemory(Histories):
    """Streams that are nowhere but here: what is not held is new."""

    async def load(self, connection: Any, streams: Iterable[str]) -> dict[str, History[Any]]:
        return {stream: self.get(stream) or history_of(stream, []) for stream in streams}


async def costs(deals: int, first: int) -> Costs:
    """What the histories of so many deals cost, as lines of an import."""
    lines = list(plan.lines(deals, first))
    held, frontier = _InMemory(limit=len(lines) * 2), Frontier()
    head = Head(0, None, None)
    judging = drawing = 0.0
    # As the service has it: what is made young is soon gone.
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        asked = [Together((_request(line),)) for line in lines]
        reading = time.process_time() - start
        for at in range(0, len(asked), GROUP):
            begun = time.process_time()
            draft = Draft(head, frontier, held)
            await draft.judge(None, asked[at : at + GROUP], datetime.now(UTC))
            draft.show(Writes())
            done = time.process_time()
            # Drawn once more, to know what of it that is.
            for view in VIEWS:
                pending = view.begin()
                for step in draft.steps:
                    pending.take(step)
                pending.write(Writes())
            drawn = time.process_time() - done
            drawing += drawn
            judging += done - begun - drawn
            head, frontier = draft.end(), draft.frontier
            for stream, history in draft.histories.items():
                held.put(stream, history)
    finally:
        gc.enable()
    return Costs(*(seconds / len(lines) * 1e6 for seconds in (reading, judging, drawing)))


def _request(line: bytes) -> Request:
    kind, slug, announcement = intake.import_line(line)
    return Request(kind=kind, slug=slug, announcements=(announcement,), by="bench", size=len(line), bulk=True)
