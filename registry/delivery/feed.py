"""The feed: every listener gets every matching event after its position, in order and once, soon after the commit.

One task per process reads new events from the log, once for all listeners. Positions commit in order, so reading what
follows the last position misses nothing: polling is enough, and a commit of this process or a NOTIFY of another one
only shortens the wait. A listener that falls behind, or that reconnects, reads the log from its own position; the feed
stores no positions.

Events are encoded as server-sent events once for all listeners, not once for each response.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import structlog
from msgspec import Raw, Struct
from msgspec.structs import replace

from registry.events import store, write_batch
from registry.events.notifications import NOTIFY_CHANNEL, NOTIFY_RIGHTS
from registry.events.store import StoredEvent
from registry.events.write_batch import Head
from registry.infra import postgres, tasks
from registry.infra.postgres import Connection, Pool
from registry.projections import event_index
from registry.queries.event_filter import EventFilter
from registry.queries.log import LogQueries
from registry.queries.streams import StreamReader
from registry.schemas import encode
from registry.schemas.cloud_events import cloud_event

log = structlog.get_logger(__name__)


# Seconds between two reads of the log without a notification.
POLL_SECONDS = 1.0

# Seconds between two deliveries: under load, many events are delivered at once.
MIN_POLL_INTERVAL = 0.05

# Seconds without an event after which a listener is sent a comment, so that proxies keep the connection open.
HEARTBEAT_SECONDS = 15.0

# Events read from the log at once.
PAGE = 500

# Limits of the buffer of the newest events.
MAX_BUFFERED_EVENTS = 5_000
MAX_BUFFERED_BYTES = 16 * 2**20

# Bytes that a listener is sent at once: the most that a slow one keeps in memory.
CHUNK_BYTES = 2**16

HEARTBEAT_COMMENT = b": heartbeat\n\n"


class FeedEvent(Struct, frozen=True):
    """An event as it is delivered, with the fields that filters compare. `text` is the server-sent message.

    `cloud_event` is a CloudEvent's JSON up to its data.
    """

    position: int
    type: str
    stream: str
    terms: frozenset[str]
    text: bytes
    cloud_event: bytes = b""

    def message(self, *, as_cloud_event: bool) -> bytes:
        """The server-sent message: its data are the event, or the event as a CloudEvent in the structured mode."""
        if not as_cloud_event:
            return self.text
        lines, _, data = self.text.partition(b"data: ")
        return b"%bdata: %b%b}\n\n" % (lines, self.cloud_event, data[:-2])


class _Listener:
    """A connected client: its filter, the position up to which it has been sent everything, and its state."""

    def __init__(self, event_filter: EventFilter, after: int, *, as_cloud_events: bool) -> None:
        self.filter = event_filter
        self.as_cloud_events = as_cloud_events
        self.after = after
        self.woken = asyncio.Event()
        self.waits = False
        # Whether rights have changed since it was sent something: perhaps those of its key.
        self.has_new_rights = False


class Feed:
    """Delivers new events to listeners. One per process."""

    def __init__(
        self, pool: Pool, queries: LogQueries | None = None, *, use_notify: bool = True, source: str = ""
    ) -> None:
        """`source` is the log's name, which CloudEvents have.

        Without `use_notify` (behind a pooler in transaction mode), polling finds the commits of other processes."""
        self._pool = pool
        self._source = source
        self._use_notify = use_notify
        # Reads from the primary: a replica may lack what was just delivered.
        self._queries = queries or LogQueries(StreamReader(pool))
        self._position: int | None = None
        self._buffer: list[FeedEvent] = []
        self._buffered_bytes = 0
        self._listeners: dict[EventFilter, set[_Listener]] = {}
        self._wake = asyncio.Event()
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []
        # Called with the payload of each NOTIFY: this or another process has recorded events.
        self.notify_listeners: list[Callable[[str], None]] = []

    async def __aenter__(self) -> Feed:
        self._tasks = [asyncio.create_task(self._poll_loop(), name="feed")]
        if self._use_notify:
            self._tasks.append(asyncio.create_task(self._listen_for_notify(), name="feed wake-up"))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.end()
        await tasks.end(*self._tasks)

    @property
    def listening(self) -> int:
        """The number of listeners."""
        return sum(map(len, self._listeners.values()))

    @property
    def idle(self) -> int:
        """The number of listeners that wait for new events."""
        return sum(listener.waits for listeners in self._listeners.values() for listener in listeners)

    def on_commit(self, head: Head) -> None:
        """Commit listener: this process has recorded events."""
        if self._listeners:
            self._wake.set()

    def end(self) -> None:
        """End all streams. Clients reconnect with the position that they have reached."""
        self._ending = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.woken.set()

    async def head(self) -> int:
        """The log's last position."""
        return (await write_batch.head(self._pool)).position

    async def listen(
        self, after: int, event_filter: EventFilter, *, as_cloud_events: bool = False
    ) -> AsyncIterator[bytes]:
        """Server-sent events (WHATWG HTML §9.2): every matching event after a position, then new ones.

        Ends when the service stops or loses its database. The client reconnects with its last position.
        """
        listener = _Listener(event_filter, after, as_cloud_events=as_cloud_events)
        self._listeners.setdefault(event_filter, set()).add(listener)
        self._wake.set()
        try:
            # Sent at once, so that the response headers are sent too.
            yield b"retry: 1000\n\n"
            while not self._ending:
                listener.woken.clear()
                if listener.has_new_rights:
                    # The handler that sends these messages checks the key before each one, so this makes it look now.
                    listener.has_new_rights = False
                    yield HEARTBEAT_COMMENT
                try:
                    async for chunk in self._backlog(listener):
                        yield chunk
                except postgres.ERRORS as error:
                    log.warning("feed stream ended", error=str(error) or type(error).__name__)
                    return
                listener.waits = True
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await listener.woken.wait()
                except TimeoutError:
                    yield HEARTBEAT_COMMENT
                finally:
                    listener.waits = False
        finally:
            self._listeners[event_filter].discard(listener)
            if not self._listeners[event_filter]:
                del self._listeners[event_filter]

    async def _backlog(self, listener: _Listener) -> AsyncIterator[bytes]:
        """What the listener has not been sent yet: from the buffer, or from the log where the buffer starts later."""
        while self._position is not None and listener.after < self._position and not self._ending:
            if self._buffer and self._buffer[0].position <= listener.after + 1:
                chunk = self._buffered(listener)
            else:
                reached = self._position
                events = await self._queries.events(listener.after, PAGE, listener.filter)
                chunk = b"".join(
                    feed_event(event, self._source).message(as_cloud_event=listener.as_cloud_events) for event in events
                )
                listener.after = events[-1].recorded.position if len(events) == PAGE else reached
                if events:
                    listener.after = max(listener.after, events[-1].recorded.position)
            if chunk:
                yield chunk

    def _buffered(self, listener: _Listener) -> bytes:
        chunks = []
        size = 0
        for event in self._from(listener.after):
            listener.after = event.position
            if listener.filter.matches(event.type, event.stream, event.terms):
                chunks.append(event.message(as_cloud_event=listener.as_cloud_events))
                size += len(chunks[-1])
                if size > CHUNK_BYTES:
                    break
        return b"".join(chunks)

    def _from(self, after: int) -> Iterator[FeedEvent]:
        """The buffered events after a position. The buffer has no gaps."""
        for index in range(after + 1 - self._buffer[0].position, len(self._buffer)):
            yield self._buffer[index]

    async def _poll_loop(self) -> None:
        """Read new events and wake the listeners that they match."""
        while True:
            try:
                has_new_events = await self._read()
            except Exception as error:
                if not postgres.is_connection_lost(error):
                    log.exception("reading the feed failed")
                has_new_events = False
                await asyncio.sleep(POLL_SECONDS)
            if has_new_events:
                await asyncio.sleep(MIN_POLL_INTERVAL)
                continue
            await tasks.wait_for(self._wake, POLL_SECONDS)
            self._wake.clear()

    async def _read(self) -> bool:
        """Read the log once. Returns whether there were new events."""
        if not self._listeners:
            # Without listeners nothing is read; the next one starts at the head.
            self._position = None
            self._clear_buffer()
            await self._wake.wait()
        if self._position is None:
            self._position = await self.head()
            self._wake_listeners(None, self._position)
            return False
        events = await store.feed(self._pool, self._position, PAGE)
        before = self._position
        new = [feed_event(event, self._source) for event in events]
        if any(event.recorded.type == "event_redacted" for event in events):
            # Redacted content must not be delivered from the buffer.
            self._clear_buffer()
        if new:
            self._buffer += new
            self._buffered_bytes += sum(len(event.text) for event in new)
            self._position = new[-1].position
            while len(self._buffer) > MAX_BUFFERED_EVENTS or self._buffered_bytes > MAX_BUFFERED_BYTES:
                half = len(self._buffer) // 2 or 1
                self._buffered_bytes -= sum(len(event.text) for event in self._buffer[:half])
                del self._buffer[:half]
            self._wake_listeners(new, before)
        return bool(new)

    def _clear_buffer(self) -> None:
        self._buffer.clear()
        self._buffered_bytes = 0

    def _wake_listeners(self, new: list[FeedEvent] | None, before: int) -> None:
        """Wake the listeners that match one of the new events, which follow position `before`; None wakes all.

        An event of a principal wakes all too. The other waiting listeners have been sent everything up to `before`.
        """
        has_rights = any(event.stream.startswith("principal/") for event in new or ())
        if has_rights:
            # The notification may come later than this read, or never.
            for rights_listener in self.notify_listeners:
                rights_listener(NOTIFY_RIGHTS)
        for event_filter, listeners in self._listeners.items():
            is_woken = new is None or has_rights
            if is_woken or any(event_filter.matches(event.type, event.stream, event.terms) for event in new or ()):
                for listener in listeners:
                    listener.has_new_rights |= has_rights
                    if new is not None and listener.waits and not listener.woken.is_set():
                        listener.after = max(listener.after, before)
                    listener.woken.set()

    async def _listen_for_notify(self) -> None:
        """Wake up when another process commits. A lost notification only delays: the next read finds the events."""
        while True:
            with suppress(*postgres.ERRORS):
                async with self._pool.acquire() as connection:
                    await self._listen_on(connection)
            await asyncio.sleep(POLL_SECONDS)

    async def _listen_on(self, connection: Connection) -> None:
        """Wake the feed on every NOTIFY, if anybody listens, until the connection ends."""
        ended = asyncio.Event()

        def wake(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            if self._listeners:
                self._wake.set()
            for listener in self.notify_listeners:
                listener(str(payload))

        def end(*_: object) -> None:
            ended.set()

        connection.add_termination_listener(end)
        await connection.add_listener(NOTIFY_CHANNEL, wake)
        try:
            await ended.wait()
        finally:
            with suppress(*postgres.ERRORS):
                connection.remove_termination_listener(end)
                await connection.remove_listener(NOTIFY_CHANNEL, wake)


def feed_event(stored: StoredEvent, source: str = "") -> FeedEvent:
    """Encode an event of the log that `source` names.

    The event's type is the message's, and its position is the id that a client sends to resume (Last-Event-ID).
    """
    recorded = stored.recorded
    event = cloud_event(stored, source)
    data = bytes(event.data)
    parts = (recorded.position, recorded.type.encode(), data)
    attributes = encode(replace(event, data=Raw(b"null"))).removesuffix(b"null}")
    text = b"id: %d\nevent: %b\ndata: %b\n\n" % parts
    stream = f"{recorded.kind}/{recorded.slug}"
    return FeedEvent(
        recorded.position, recorded.type, stream, frozenset(event_index.index_terms(recorded)), text, attributes
    )
