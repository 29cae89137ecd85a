"""Folded streams kept in memory: the one view without a table. Bounded by events, and never believed without a check.

Whoever uses one must know that it is the log's: the recorder by the log's head under its lock, the reader by the
stream's version and last leaf hash (after a failover the same version may be another event).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from registry.domain.fold import DEALS, ORGANIZATIONS, Rules
from registry.domain.history import FoldedStream
from registry.events import store, write_batch
from registry.events.types import Recorded
from registry.infra import postgres


def rules_for(stream: str) -> Rules[Any]:
    """The rules of a stream, by its kind."""
    return DEALS if stream.startswith("deal/") else ORGANIZATIONS


def fold_stream(stream: str, events: Sequence[Recorded]) -> FoldedStream[Any]:
    """A stream folded."""
    return FoldedStream(stream.split("/", 1)[1], rules_for(stream), events)


# Ends of streams that are remembered, and events behind the last look that are told one by one: beyond them it is less
# work to ask anew.
MAX_CACHED_HEADS = 20_000
MAX_INCREMENTAL_EVENTS = 1_000


class HeadLookup:
    """Where the log, and single streams, end: asked for by many at once, answered with one question at a time.

    Whoever asks while a question is on its way shares the next one, so an answer is never older than what was asked;
    at 64 connections one trip to the database then serves thirty of them. The question is what has come since the last
    one: of a stream whose end was once looked up and that got no event since, nothing more has to be asked.
    """

    def __init__(self, pool: postgres.Pool) -> None:
        self._pool = pool
        self._log = write_batch.Head(0, None, None)
        self._ends: dict[str, store.StreamHeadRow] = {}
        self._asked: dict[str | None, list[asyncio.Future[Any]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of_stream(self, stream: str) -> tuple[store.StreamHeadRow | None, write_batch.Head]:
        """A stream's end, None when there is no such stream, and the log's last event."""
        return await self._coalesce(stream)

    async def of_log(self) -> write_batch.Head:
        """The log's last event."""
        _, log = await self._coalesce(None)
        return log

    async def _coalesce(self, key: str | None) -> tuple[store.StreamHeadRow | None, write_batch.Head]:
        answer = asyncio.get_running_loop().create_future()
        self._asked.setdefault(key, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.create_task(self._run_lookups())
        found: tuple[store.StreamHeadRow | None, write_batch.Head] = await answer
        return found

    async def _run_lookups(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            found: dict[str, store.StreamHeadRow] = {}
            failed: Exception | None = None
            try:
                found = await self._query_heads([key for key in asked if key is not None])
            except Exception as error:
                failed = error
            for key, waiting in asked.items():
                for answer in waiting:
                    # Who has gone away is answered by nobody.
                    if answer.done():
                        continue
                    if failed is None:
                        answer.set_result((found.get(key) if key is not None else None, self._log))
                    else:
                        answer.set_exception(failed)
        self._asking = None

    async def _query_heads(self, streams: Sequence[str]) -> dict[str, store.StreamHeadRow]:
        """The ends of these streams."""
        moved = await store.stream_heads_since(self._pool, self._log, MAX_INCREMENTAL_EVENTS)
        if moved is None:
            self._ends.clear()
            self._log = await write_batch.head(self._pool)
        else:
            self._log, fresh = moved
            self._ends.update((stream, end) for stream, end in fresh.items() if stream in self._ends)
        found = {stream: self._ends[stream] for stream in streams if stream in self._ends}
        if len(found) < len(streams):
            unknown = await store.current_stream_heads(
                self._pool, [stream for stream in streams if stream not in found]
            )
            found.update(unknown)
            self._ends.update(unknown)
            while len(self._ends) > MAX_CACHED_HEADS:
                del self._ends[next(iter(self._ends))]
        return found


class StreamCache:
    """The least recently used stream goes first when more than `limit` events are held.

    An event and the state after it take about 2.2 KB: with this limit an import of any length stays below 300 MB.
    """

    def __init__(self, limit: int = 40_000) -> None:
        self._limit = limit
        self._held: OrderedDict[str, FoldedStream[Any]] = OrderedDict()
        self._heads: dict[postgres.Pool, HeadLookup] = {}
        self._events = 0

    def get(self, stream: str) -> FoldedStream[Any] | None:
        history = self._held.get(stream)
        if history is not None:
            self._held.move_to_end(stream)
        return history

    def put(self, stream: str, history: FoldedStream[Any]) -> None:
        self.evict([stream])
        self._held[stream] = history
        self._events += len(history.events) + 1
        while self._events > self._limit and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._events -= len(dropped.events) + 1

    def evict(self, streams: Iterable[str]) -> None:
        for stream in streams:
            dropped = self._held.pop(stream, None)
            if dropped is not None:
                self._events -= len(dropped.events) + 1

    def clear(self) -> None:
        self._held.clear()
        self._events = 0

    async def load(
        self, connection: postgres.Connection | postgres.Pool, streams: Iterable[str]
    ) -> dict[str, FoldedStream[Any]]:
        """These streams, from memory or from the log. Only for who knows that what is held is current."""
        found = {stream: history for stream in streams if (history := self.get(stream)) is not None}
        missing = [stream for stream in streams if stream not in found]
        if missing:
            for stream, events in (await store.streams(connection, missing)).items():
                found[stream] = fold_stream(stream, events)
        return found

    def heads(self, pool: postgres.Pool) -> HeadLookup:
        """Where the log and its streams end, as this pool's database has it."""
        found = self._heads.get(pool)
        if found is None:
            found = self._heads[pool] = HeadLookup(pool)
        return found

    async def load_current(self, pool: postgres.Pool, stream: str) -> tuple[FoldedStream[Any] | None, write_batch.Head]:
        """A stream as the log has it now, None when there is none; and where the log ended before it was read.

        One look at its end tells whether what is held still holds.
        """
        end, log = await self.heads(pool).of_stream(stream)
        if end is None:
            return None, log
        version, leaf_hash, _ = end
        held = self.get(stream)
        if held is not None and held.version == version and held.leaf_hash == leaf_hash:
            return held, log
        events = (await store.streams(pool, [stream]))[stream]
        history = fold_stream(stream, events)
        self.put(stream, history)
        return history, log
