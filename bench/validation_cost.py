"""Processor time of one event in the write path, without HTTP and without a database.

An import also spends time on HTTP, on the event loop and on sending batches to Postgres.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from bench import workload
from registry.append.batch import Batch
from registry.append.requests import AppendRequest, Submission
from registry.append.submission_queue import MAX_IMPORT_BATCH_EVENTS
from registry.domain.calendar import Calendar
from registry.domain.history import FoldedStream
from registry.domain.money.rates import Rates
from registry.domain.quotes import group_rows
from registry.events import intake
from registry.events.write_batch import Head
from registry.imports.rates import packaged_history
from registry.projections.stream_cache import StreamCache, fold_stream
from registry.transparency.merkle import Frontier


class EventCost(Struct, frozen=True):
    """Microseconds of processor time per event."""

    decoding_us: float
    validation_us: float
    projection_us: float


class _InMemory(StreamCache):
    """A cache without a log behind it: a stream that is not cached is new."""

    async def load(self, connection: Any, streams: Iterable[str]) -> dict[str, FoldedStream[Any]]:
        return {stream: self.get(stream) or fold_stream(stream, []) for stream in streams}


async def costs(deals: int, first: int) -> EventCost:
    """The cost of an event in the histories of `deals` deals, sent as lines of an import."""
    lines = list(workload.lines(deals, first))
    cache, frontier = _InMemory(limit=len(lines) * 2), Frontier()
    head, rates = Head(0, None, None), Rates(group_rows(packaged_history()))
    validation = projection = 0.0
    # The service freezes its objects at the start and rarely collects, so garbage collection is not measured.
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        submissions = [Submission((_request(line),)) for line in lines]
        decoding = time.process_time() - start
        for at in range(0, len(submissions), MAX_IMPORT_BATCH_EVENTS):
            start = time.process_time()
            batch = Batch(head, frontier, cache, Calendar(), rates)
            await batch.validate(None, submissions[at : at + MAX_IMPORT_BATCH_EVENTS], datetime.now(UTC))
            validated = time.process_time()
            await batch.as_one_statement()
            projection += time.process_time() - validated
            validation += validated - start
            head, frontier = batch.new_head, batch.frontier
            for name, stream in batch.streams.items():
                cache.put(name, stream)
    finally:
        gc.enable()
    return EventCost(*(seconds / len(lines) * 1e6 for seconds in (decoding, validation, projection)))


def _request(line: bytes) -> AppendRequest:
    kind, slug, announcement = intake.import_line(line)
    return AppendRequest(
        kind=kind, slug=slug, announcements=(announcement,), by="bench", size=len(line), low_priority=True
    )
