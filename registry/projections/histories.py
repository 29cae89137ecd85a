"""Folded streams kept in memory: the one view without a table. Bounded by events, and never believed without a check.

Whoever uses one must know that it is the log's: the recorder by the log's head under its lock, the reader by the
stream's version and last leaf hash (after a failover the same version may be another event).
"""

from __future__ import annotations

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


class Histories:
    """The least recently used stream goes first when more than `limit` events are held."""

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._held: OrderedDict[str, History[Any]] = OrderedDict()
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

    async def load(self, connection: store.Connection, streams: Iterable[str]) -> dict[str, History[Any]]:
        """These streams, from memory or from the log. Only for who knows that what is held is current."""
        found = {stream: history for stream in streams if (history := self.get(stream)) is not None}
        missing = [stream for stream in streams if stream not in found]
        if missing:
            for stream, events in (await store.streams(connection, missing)).items():
                found[stream] = history_of(stream, events)
        return found

    async def current(self, connection: store.Connection | store.Pool, stream: str) -> History[Any] | None:
        """A stream as the log has it now; None when there is none.

        One look at its head tells whether what is held still holds.
        """
        head = await store.stream_head(connection, stream)
        if head is None:
            return None
        version, leaf_hash, _ = head
        held = self.get(stream)
        if held is not None and held.version == version and held.leaf_hash == leaf_hash:
            return held
        events = (await store.streams(connection, [stream]))[stream]
        history = history_of(stream, events)
        self.put(stream, history)
        return history
