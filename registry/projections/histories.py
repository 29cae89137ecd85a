"""Folded streams kept in memory: the one view without a table. Bounded by events, and never believed without a check.

Whoever uses one must know that it is the log's: the recorder by the log's head under its lock, the reader by the
stream's version and last leaf hash (after a failover the same version may be another event).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from registry.domain.history import DEALS, ORGANIZATIONS, History, Rules
from registry.events import store
from registry.events.types import Recorded


def rules_of(stream: str) -> Rules[Any]:
    """The rules of a stream, by its kind."""
    return DEALS if stream.startswith("deal/") else ORGANIZATIONS


def history_of(stream: str, events: Sequence[Recorded]) -> History[Any]:
    """A stream folded."""
    return History(stream.split("/", 1)[1], rules_of(stream), events)


class Heads:
    """Where the log, and single streams, end: asked for by many at once, answered with one question at a time.

    Whoever asks while a question is on its way shares the next one, so an answer is never older than what was asked;
    at 64 connections one trip to the database then serves thirty of them.
    """

    def __init__(self, pool: store.Pool) -> None:
        self._pool = pool
        self._asked: dict[str | None, list[asyncio.Future[Any]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def of_stream(self, stream: str) -> tuple[int, bytes, int] | None:
        """A stream's version, last leaf hash and last position; None when there is no such stream."""
        found: tuple[int, bytes, int] | None = await self._share(stream)
        return found

    async def of_log(self) -> store.Head:
        """The log's last event."""
        found: store.Head = await self._share(None)
        return found

    async def _share(self, key: str | None) -> Any:
        answer = asyncio.get_running_loop().create_future()
        self._asked.setdefault(key, []).append(answer)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, {}
            found: dict[str | None, Any] = {}
            failed: Exception | None = None
            try:
                if None in asked:
                    found[None] = await store.head(self._pool)
                if streams := [key for key in asked if key is not None]:
                    found.update(await store.ends(self._pool, streams))
            except Exception as error:
                failed = error
            for key, waiting in asked.items():
                for answer in waiting:
                    # Who has gone away is answered by nobody.
                    if answer.done():
                        continue
                    if failed is None:
                        answer.set_result(found.get(key))
                    else:
                        answer.set_exception(failed)
        self._asking = None


class Histories:
    """The least recently used stream goes first when more than `limit` events are held.

    An event and the state after it take about 2.2 KB: with this limit an import of any length stays below 300 MB.
    """

    def __init__(self, limit: int = 40_000) -> None:
        self._limit = limit
        self._held: OrderedDict[str, History[Any]] = OrderedDict()
        self._heads: dict[store.Pool, Heads] = {}
        self._events = 0

    def get(self, stream: str) -> History[Any] | None:
        history = self._held.get(stream)
        if history is not None:
            self._held.move_to_end(stream)
        return history

    def put(self, stream: str, history: History[Any]) -> None:
        self.forget([stream])
        self._held[stream] = history
        self._events += len(history.events) + 1
        while self._events > self._limit and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._events -= len(dropped.events) + 1

    def forget(self, streams: Iterable[str]) -> None:
        for stream in streams:
            dropped = self._held.pop(stream, None)
            if dropped is not None:
                self._events -= len(dropped.events) + 1

    def clear(self) -> None:
        self._held.clear()
        self._events = 0

    async def load(self, connection: store.Connection | store.Pool, streams: Iterable[str]) -> dict[str, History[Any]]:
        """These streams, from memory or from the log. Only for who knows that what is held is current."""
        found = {stream: history for stream in streams if (history := self.get(stream)) is not None}
        missing = [stream for stream in streams if stream not in found]
        if missing:
            for stream, events in (await store.streams(connection, missing)).items():
                found[stream] = history_of(stream, events)
        return found

    def heads(self, pool: store.Pool) -> Heads:
        """Where the log and its streams end, as this pool's database has it."""
        found = self._heads.get(pool)
        if found is None:
            found = self._heads[pool] = Heads(pool)
        return found

    async def current(self, pool: store.Pool, stream: str) -> History[Any] | None:
        """A stream as the log has it now; None when there is none.

        One look at its head tells whether what is held still holds.
        """
        head = await self.heads(pool).of_stream(stream)
        if head is None:
            return None
        version, leaf_hash, _ = head
        held = self.get(stream)
        if held is not None and held.version == version and held.leaf_hash == leaf_hash:
            return held
        events = (await store.streams(pool, [stream]))[stream]
        history = history_of(stream, events)
        self.put(stream, history)
        return history
