"""LRU cache of folded streams. Callers check that a cached stream is current before they use it.

The recorder checks the log's head while it holds the log's lock. Queries check the stream's version and its last leaf
hash, because after a failover another event may have the same version.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from registry.domain.fold.order import Rules
from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import RULES
from registry.errors import DatabaseUnavailable
from registry.events import store, stream_heads, write_batch
from registry.events.continuity import ContinuityGuard
from registry.events.stream_heads import StreamHeadRow
from registry.events.types import Recorded
from registry.infra import freeing, postgres
from registry.infra.threads import is_long, offload

# Stream heads that are cached, and new events that are read one by one to update them. With more new events it is
# cheaper to clear the heads and read them again.
MAX_CACHED_HEADS = 20_000
MAX_INCREMENTAL_EVENTS = 1_000

# Seconds in which the heads must be read. Less than it takes to fail over (docs/cluster.md).
HEAD_TIMEOUT_SECONDS = 5.0

# New events of a cached stream that are added to it one by one. With more of them the stream is read again.
MAX_ADDED_EVENTS = 20

# Attempts to read a stream that has the head which was just read, and the seconds between them: behind one address
# there may be several standbys.
READ_ATTEMPTS = 5
READ_RETRY_SECONDS = 0.05


def rules_for(stream: str) -> Rules[Any]:
    """The rules of a stream, by its kind."""
    return RULES[stream.partition("/")[0]]  # type: ignore[index]


def fold_stream(stream: str, events: Sequence[Recorded]) -> FoldedStream[Any]:
    """Fold the events of a stream."""
    return FoldedStream(stream.split("/", 1)[1], rules_for(stream), events)


def _reaches(events: Sequence[Recorded], head: tuple[int, bytes]) -> bool:
    """Whether events of a stream have its head, a version and a leaf hash."""
    version, leaf_hash = head
    return len(events) >= version and events[version - 1].leaf_hash == leaf_hash


async def _folded(streams: Mapping[str, Sequence[Recorded]]) -> dict[str, FoldedStream[Any]]:
    """Fold streams, in a thread if they are many or have many events together: a new one takes as long as an event."""
    size = sum(len(events) + 1 for events in streams.values())
    return await offload(size, lambda: {name: fold_stream(name, of_one) for name, of_one in streams.items()})


class HeadLookup:
    """The last events of the log and of streams, read for many callers with one query at a time.

    A caller that arrives while a query runs shares the next query, so its answer is never older than its question. At
    64 connections one round trip serves about thirty callers. A query reads the events since the query before it: a
    stream that has a cached head and no event since is not asked for again. All that a query returns is of one
    snapshot.

    Args:
        pool: The database.
        continuity: For the primary: the log must not end before the mark of this service.
    """

    def __init__(self, pool: postgres.Pool, continuity: ContinuityGuard | None = None) -> None:
        self._pool = pool
        self._continuity = continuity
        self._log_head = write_batch.Head(0, None, None)
        self._stream_heads: dict[str, StreamHeadRow] = {}
        # The callers by the stream they ask for; None: for the log.
        self._waiting: dict[str | None, list[asyncio.Future[Any]]] = {}
        self._task: asyncio.Task[None] | None = None

    def of_stream(self, stream: str) -> asyncio.Future[tuple[StreamHeadRow | None, write_batch.Head]]:
        """Return a stream's last event, None if there is no such stream, and the log's last event."""
        return self._coalesce(stream)

    async def of_log(self) -> write_batch.Head:
        """Return the log's last event."""
        _, log_head = await self._coalesce(None)
        return log_head

    def _coalesce(self, stream: str | None) -> asyncio.Future[tuple[StreamHeadRow | None, write_batch.Head]]:
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(stream, []).append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._run_lookups())
        return future

    async def _run_lookups(self) -> None:
        """Query until no caller waits."""
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            heads: dict[str, StreamHeadRow] = {}
            failure: Exception | None = None
            try:
                heads = await self._query_heads([stream for stream in waiting if stream is not None])
            except Exception as error:
                failure = error
            for stream, futures in waiting.items():
                for future in futures:
                    # The caller may have cancelled.
                    if future.done():
                        continue
                    if failure is None:
                        future.set_result((heads.get(stream) if stream is not None else None, self._log_head))
                    else:
                        future.set_exception(failure)
        self._task = None

    async def _query_heads(self, streams: Sequence[str]) -> dict[str, StreamHeadRow]:
        """The last events of these streams, and `_log_head` as of the same time.

        An answer that takes longer than HEAD_TIMEOUT_SECONDS is not used: another server may have become the primary
        meanwhile, and a frozen server that wakes up answers with an old log.
        """
        mark = self._continuity.mark if self._continuity is not None else None
        missing = [stream for stream in streams if stream not in self._stream_heads]
        async with self._pool.acquire_for(HEAD_TIMEOUT_SECONDS) as connection:
            read = await stream_heads.heads_since(connection, self._log_head, MAX_INCREMENTAL_EVENTS, missing)
            if read is None:
                self._stream_heads.clear()
                read = await stream_heads.heads(connection, streams)
        if self._continuity is not None and mark is not None:
            self._continuity.observe(read.log, mark)
            self._continuity.note(read.log)
        self._log_head = read.log
        self._stream_heads.update((stream, head) for stream, head in read.moved.items() if stream in self._stream_heads)
        self._stream_heads.update(read.streams)
        heads = {stream: self._stream_heads[stream] for stream in streams if stream in self._stream_heads}
        while len(self._stream_heads) > MAX_CACHED_HEADS:
            del self._stream_heads[next(iter(self._stream_heads))]
        return heads


class StreamCache:
    """Folded streams, at most `limit` events in all; the least recently used stream is evicted first.

    An event and the state after it take about 2.2 KB.
    """

    def __init__(self, limit: int = 40_000, continuity: ContinuityGuard | None = None) -> None:
        self._limit = limit
        self._continuity = continuity
        self._streams: OrderedDict[str, FoldedStream[Any]] = OrderedDict()
        self._lookups: dict[postgres.Pool, HeadLookup] = {}
        self._events = 0

    def get(self, name: str) -> FoldedStream[Any] | None:
        """The cached stream, current or not."""
        stream = self._streams.get(name)
        if stream is not None:
            self._streams.move_to_end(name)
        return stream

    def put(self, name: str, stream: FoldedStream[Any]) -> list[FoldedStream[Any]]:
        """Cache a stream and evict others above the limit. Returns those that are not long, for the caller to free."""
        self.evict([name])
        self._streams[name] = stream
        self._events += len(stream.events) + 1
        dropped = []
        while self._events > self._limit and len(self._streams) > 1:
            _, evicted = self._streams.popitem(last=False)
            self._events -= len(evicted.events) + 1
            if is_long(len(evicted.events)):
                freeing.large_once_unused(evicted)
            else:
                dropped.append(evicted)
        return dropped

    def evict(self, names: Iterable[str]) -> None:
        """Drop streams."""
        for name in names:
            evicted = self._streams.pop(name, None)
            if evicted is not None:
                self._events -= len(evicted.events) + 1

    def clear(self) -> None:
        """Drop all streams."""
        self._streams.clear()
        self._events = 0

    async def load(
        self, connection: postgres.Connection | postgres.Pool, names: Iterable[str]
    ) -> dict[str, FoldedStream[Any]]:
        """Return streams from the cache or from the log, without checking that cached ones are current."""
        streams = {name: stream for name in names if (stream := self.get(name)) is not None}
        if missing := [name for name in names if name not in streams]:
            streams |= await _folded(await store.streams(connection, missing))
        return streams

    def heads(self, pool: postgres.Pool, *, is_replica: bool = False) -> HeadLookup:
        """The last events of the log and of streams in the database of a pool."""
        lookup = self._lookups.get(pool)
        if lookup is None:
            lookup = self._lookups[pool] = HeadLookup(pool, None if is_replica else self._continuity)
        return lookup

    async def load_current(
        self, pool: postgres.Pool, name: str, *, is_replica: bool = False
    ) -> tuple[FoldedStream[Any] | None, write_batch.Head]:
        """Return a stream as the log has it now, None if it does not exist, and the log's head before it was read.

        Raises:
            DatabaseUnavailable: The servers behind the pool disagree about the stream.
        """
        head, log_head = await self.heads(pool, is_replica=is_replica).of_stream(name)
        if head is None:
            return None, log_head
        streams = await self.load_heads(pool, {name: head[:2]})
        return streams[name], log_head

    async def load_heads(
        self, pool: postgres.Connection | postgres.Pool, heads: Mapping[str, tuple[int, bytes]]
    ) -> dict[str, FoldedStream[Any]]:
        """Return the streams that have these heads (version and leaf hash), or later ones, from the cache or the log.

        Raises:
            DatabaseUnavailable: The servers behind the pool disagree about a stream.
        """
        streams: dict[str, FoldedStream[Any]] = {}
        stale = []
        for name, head in heads.items():
            cached = self.get(name)
            if cached is not None and (cached.version, cached.leaf_hash) == head:
                streams[name] = cached
            elif cached is not None and (grown := await self._grown(pool, name, cached, head)) is not None:
                streams[name] = grown
                self.put(name, grown)
            else:
                stale.append(name)
        for attempt in range(READ_ATTEMPTS):
            if not stale:
                break
            if attempt:
                await asyncio.sleep(READ_RETRY_SECONDS)
            read = await store.streams(pool, sorted(stale))
            lagging = [name for name, events in read.items() if not _reaches(events, heads[name])]
            current = {name: events for name, events in read.items() if name not in lagging}
            for name, stream in (await _folded(current)).items():
                streams[name] = stream
                self.put(name, stream)
            stale = lagging
        if stale:
            raise DatabaseUnavailable
        return {name: streams[name] for name in heads}

    async def _grown(
        self,
        pool: postgres.Connection | postgres.Pool,
        name: str,
        cached: FoldedStream[Any],
        head: tuple[int, bytes],
    ) -> FoldedStream[Any] | None:
        """The cached stream with the events since; None if they are many, or do not continue it up to the head."""
        version, leaf_hash = head
        added = version - cached.version
        if not 0 < added <= MAX_ADDED_EVENTS:
            return None
        events = await store.stream_since(pool, name, cached.version)
        if len(events) <= added or (events[0].leaf_hash, events[added].leaf_hash) != (cached.leaf_hash, leaf_hash):
            return None
        grown = cached.copy()
        for event in events[1:]:
            grown.append(event)
        return grown
