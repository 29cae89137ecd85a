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

from bench import workload
from registry.append.batch import AppendRequest, Batch, Submission
from registry.domain.history import FoldedStream
from registry.events import intake
from registry.events.store import Head, WriteBatch
from registry.projections import PROJECTIONS
from registry.projections.stream_cache import StreamCache, fold_stream
from registry.transparency.merkle import Frontier

GROUP = 250


class EventCost(Struct, frozen=True):
    """Microseconds of processor time an event."""

    reading: float
    validation_us: float
    projection_us: float


class _InMemory(StreamCache):
    """Streams that are nowhere but here: what is not held is new."""

    async def load(self, connection: Any, streams: Iterable[str]) -> dict[str, FoldedStream[Any]]:
        return {stream: self.get(stream) or fold_stream(stream, []) for stream in streams}


async def costs(deals: int, first: int) -> EventCost:
    """What the histories of so many deals cost, as lines of an import."""
    lines = list(workload.lines(deals, first))
    held, frontier = _InMemory(limit=len(lines) * 2), Frontier()
    head = Head(0, None, None)
    judging = drawing = 0.0
    # As the service has it: what is made young is soon gone.
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        asked = [Submission((_request(line),)) for line in lines]
        reading = time.process_time() - start
        for at in range(0, len(asked), GROUP):
            begun = time.process_time()
            draft = Batch(head, frontier, held)
            await draft.validate(None, asked[at : at + GROUP], datetime.now(UTC))
            draft.write_projections(WriteBatch())
            done = time.process_time()
            # Drawn once more, to know what of it that is.
            for view in PROJECTIONS:
                pending = view.start_batch()
                for step in draft.applied_changes:
                    pending.apply(step)
                pending.write(WriteBatch())
            drawn = time.process_time() - done
            drawing += drawn
            judging += done - begun - drawn
            head, frontier = draft.new_head(), draft.frontier
            for stream, history in draft.histories.items():
                held.put(stream, history)
    finally:
        gc.enable()
    return EventCost(*(seconds / len(lines) * 1e6 for seconds in (reading, judging, drawing)))


def _request(line: bytes) -> AppendRequest:
    kind, slug, announcement = intake.import_line(line)
    return AppendRequest(
        kind=kind, slug=slug, announcements=(announcement,), by="bench", size=len(line), low_priority=True
    )
