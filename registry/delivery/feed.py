"""The feed: whoever listens gets every event behind a position, in order and once, soon after it is committed.

One task a process reads what is new in the log, once for everybody who listens. Positions are committed in order, so
asking for what lies behind the last one misses nothing: polling is the truth, and a commit of this process or a NOTIFY
of another only says that asking is worth while now. Who falls behind, or comes back, reads on from the log itself.
Nothing here remembers who has read what: that is the listener's position.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import structlog
from msgspec import Struct

from registry.events import store, write_batch
from registry.events.store import StoredEvent
from registry.events.write_batch import Head
from registry.infra import postgres
from registry.infra.postgres import Connection, Pool
from registry.projections import event_index
from registry.queries.log import LogQueries
from registry.queries.streams import StreamReader
from registry.schemas import encode, logged_event

log = structlog.get_logger(__name__)

CHANNEL = "registry"

# Seconds between two looks at the log when nothing says that it has grown.
POLL = 1.0

# Seconds after a delivery before the next one: under load, many events are delivered at once.
MIN_POLL_INTERVAL = 0.05

# Seconds of silence after which a listener is told that the line still stands.
HEARTBEAT = 15.0

PAGE = 500

# How many of the newest events are kept ready, and how many bytes of them.
MAX_BUFFERED_EVENTS = 5_000
KEPT_BYTES = 16 * 2**20

# What a listener is sent at once, in bytes: a slow one holds no more than this.
CHUNK = 2**16

HEARTBEAT_COMMENT = b": the line stands\n\n"


class Filter(Struct, frozen=True):
    """Which events somebody wants: those to which all that is given applies."""

    type: str | None = None
    deal: str | None = None
    organization: str | None = None
    source: str | None = None

    def matches(self, line: FeedEvent) -> bool:
        """Whether an event is wanted."""
        return (
            (self.type is None or self.type == line.type)
            and (self.deal is None or line.stream == f"deal/{self.deal}")
            and (self.organization is None or f"organization:{self.organization}" in line.terms)
            and (self.source is None or event_index.source_term(self.source) in line.terms)
        )


class FeedEvent(Struct, frozen=True):
    """An event as it is delivered, with what filters look at."""

    position: int
    type: str
    stream: str
    terms: frozenset[str]
    text: bytes


class _Listener:
    def __init__(self, wanted: Filter, after: int) -> None:
        self.wanted = wanted
        self.after = after
        self.woken = asyncio.Event()
        self.waits = False


class Feed:
    """One per process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # The primary alone: a replica may not have yet what was just delivered.
        self._reader = LogQueries(StreamReader(pool))
        self._position: int | None = None
        self._lines: list[FeedEvent] = []
        self._bytes = 0
        self._listeners: dict[Filter, set[_Listener]] = {}
        self._wake = asyncio.Event()
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Feed:
        self._tasks = [
            asyncio.create_task(self._poll_loop(), name="feed"),
            asyncio.create_task(self._listen_for_notify(), name="feed wake-up"),
        ]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.end()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def listening(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    def on_commit(self, head: Head) -> None:
        """This process has recorded something."""
        if self._listeners:
            self._wake.set()

    def end(self) -> None:
        """Lets everybody who listens go; they come back with the position they have reached."""
        self._ending = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.woken.set()

    async def head(self) -> int:
        """The log's last position."""
        return (await write_batch.head(self._pool)).position

    async def listen(self, after: int, wanted: Filter) -> AsyncIterator[bytes]:
        """Server-sent events (WHATWG HTML §9.2): everything wanted behind a position, then all that comes.

        Ends when the service does, or when its database is lost: who listens comes back with its last position.
        """
        listener = _Listener(wanted, after)
        self._listeners.setdefault(wanted, set()).add(listener)
        self._wake.set()
        try:
            # Sent at once, so that the answer's head is.
            yield b"retry: 1000\n\n"
            while not self._ending:
                listener.woken.clear()
                try:
                    async for chunk in self._backlog(listener):
                        yield chunk
                except postgres.ERRORS as error:
                    log.warning("a listener was let go", error=str(error) or type(error).__name__)
                    return
                listener.waits = True
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        await listener.woken.wait()
                except TimeoutError:
                    yield HEARTBEAT_COMMENT
                finally:
                    listener.waits = False
        finally:
            self._listeners[wanted].discard(listener)
            if not self._listeners[wanted]:
                del self._listeners[wanted]

    async def _backlog(self, listener: _Listener) -> AsyncIterator[bytes]:
        """What a listener has not got yet: from what is kept ready, or from the log where that does not reach back."""
        while self._position is not None and listener.after < self._position and not self._ending:
            if self._lines and self._lines[0].position <= listener.after + 1:
                chunk = self._buffered(listener)
            else:
                reached = self._position
                wanted = listener.wanted
                events = await self._reader.events(
                    listener.after,
                    PAGE,
                    type=wanted.type,
                    deal=wanted.deal,
                    organization=wanted.organization,
                    source=wanted.source,
                )
                chunk = b"".join(line(event).text for event in events)
                listener.after = events[-1].recorded.position if len(events) == PAGE else reached
                if events:
                    listener.after = max(listener.after, events[-1].recorded.position)
            if chunk:
                yield chunk

    def _buffered(self, listener: _Listener) -> bytes:
        chunks = []
        size = 0
        for line in self._from(listener.after):
            listener.after = line.position
            if listener.wanted.matches(line):
                chunks.append(line.text)
                size += len(line.text)
                if size > CHUNK:
                    break
        return b"".join(chunks)

    def _from(self, after: int) -> Iterator[FeedEvent]:
        """The lines behind a position; they are kept without a gap."""
        for index in range(after + 1 - self._lines[0].position, len(self._lines)):
            yield self._lines[index]

    async def _poll_loop(self) -> None:
        """Reads what is new in the log, and wakes those who want it."""
        while True:
            try:
                grown = await self._read()
            except Exception as error:
                if not postgres.is_connection_lost(error):
                    log.exception("the feed failed")
                grown = False
                await asyncio.sleep(POLL)
            if grown:
                await asyncio.sleep(MIN_POLL_INTERVAL)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
            self._wake.clear()

    async def _read(self) -> bool:
        """One look at the log: whether there was something new."""
        if not self._listeners:
            # Nobody to read for; who comes next begins at the head of then.
            self._position = None
            self._forget()
            await self._wake.wait()
        if self._position is None:
            self._position = await self.head()
            self._wake_listeners(None, self._position)
            return False
        events = await store.feed(self._pool, self._position, PAGE)
        before = self._position
        lines = [line(event) for event in events]
        if any(event.recorded.type == "event_redacted" for event in events):
            # What is erased must not be delivered from memory.
            self._forget()
        if lines:
            self._lines += lines
            self._bytes += sum(len(new.text) for new in lines)
            self._position = lines[-1].position
            while len(self._lines) > MAX_BUFFERED_EVENTS or self._bytes > KEPT_BYTES:
                half = len(self._lines) // 2 or 1
                self._bytes -= sum(len(old.text) for old in self._lines[:half])
                del self._lines[:half]
            self._wake_listeners(lines, before)
        return bool(lines)

    def _forget(self) -> None:
        self._lines.clear()
        self._bytes = 0

    def _wake_listeners(self, lines: list[FeedEvent] | None, before: int) -> None:
        """Wakes those for whom there is something in these lines; None: everybody, for who knows what is new.

        Others who wait have nothing in them: what they had not got ended before.
        """
        for wanted, listeners in self._listeners.items():
            if lines is None or any(wanted.matches(line) for line in lines):
                for listener in listeners:
                    if lines is not None and listener.waits and not listener.woken.is_set():
                        listener.after = max(listener.after, before)
                    listener.woken.set()

    async def _listen_for_notify(self) -> None:
        """Listens to what other processes say. A lost message, or connection, delays: the next look finds it all."""
        while True:
            with suppress(*postgres.ERRORS):
                async with self._pool.acquire() as connection:
                    await self._listen_on(connection)
            await asyncio.sleep(POLL)

    async def _listen_on(self, connection: Connection) -> None:
        """Wakes the feed for every NOTIFY, until the connection ends."""
        ended = asyncio.Event()

        def wake(*_: object) -> None:
            self._wake.set()

        def end(*_: object) -> None:
            ended.set()

        connection.add_termination_listener(end)
        await connection.add_listener(CHANNEL, wake)
        try:
            await ended.wait()
        finally:
            with suppress(*postgres.ERRORS):
                connection.remove_termination_listener(end)
                await connection.remove_listener(CHANNEL, wake)


def line(stored: StoredEvent) -> FeedEvent:
    """An event as it is delivered: its position is the message's id, so that who comes back is understood."""
    recorded = stored.recorded
    text = b"id: %d\ndata: %b\n\n" % (recorded.position, encode(logged_event(stored)))
    stream = f"{recorded.kind}/{recorded.slug}"
    return FeedEvent(recorded.position, recorded.type, stream, frozenset(event_index.index_terms(recorded)), text)
