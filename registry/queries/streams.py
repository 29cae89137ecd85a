"""Read folded streams through a cache, from the primary or from a read replica."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.calendar import Calendar
from registry.domain.fold.record import resolve_record
from registry.domain.history import AsOf, FoldedStream
from registry.domain.money.rates import Rates
from registry.domain.principal import AuthorNames, given_name
from registry.domain.stream_kinds import DEALS
from registry.errors import DatabaseUnavailable
from registry.events import mirror_state, store, stream_heads
from registry.events.codec import stream_name
from registry.events.continuity import ContinuityGuard
from registry.events.stream_heads import StreamHeadRow
from registry.events.types import Recorded
from registry.events.write_batch import Head
from registry.infra import postgres
from registry.infra.postgres import Pool
from registry.projections.exchange_rates import RateCache
from registry.projections.point import Point
from registry.projections.stream_cache import HeadLookup, StreamCache
from registry.queries.replicas import ReadServers

T = TypeVar("T")

# Seconds that a request waits for its replica to reach the position that it names, before it asks the primary.
REACH_SECONDS = 0.5
REACH_RETRY_SECONDS = 0.02

# `date.max` stands for "unbounded" in the projections (asyncpg writes it as infinity), so a query asks for a day less.
LAST_DAY = date.max - timedelta(days=1)


class ResolvedAsOf(Struct, frozen=True, kw_only=True):
    """A point in time as a question gives it, and what follows from it.

    Attributes:
        as_of: The point, with the effective date where the question leaves it out.
        effective_on: That effective date.
        observed_on: The last day whose publications can be known: the effective date, but not after today or `log_day`.
        position: The last log position that the point includes; None where the question does not fix the log.
        log_day: The day at which the log stood there; None where the question does not fix the log.
        is_final: Whether no event can change the answer any more, except a redaction.
    """

    as_of: AsOf
    effective_on: date
    observed_on: date
    position: int | None = None
    log_day: date | None = None
    is_final: bool = False


class StreamReader:
    """The pools, the stream cache and the calendar that all queries of a process share.

    Args:
        servers: The primary and its replicas, or the pool of the primary.
        calendar: The registry's calendar.
        rates: The process's copy of the exchange rates.
        continuity: Notices a log that ends before what this service knows.
    """

    def __init__(
        self,
        servers: ReadServers | Pool,
        calendar: Calendar | None = None,
        rates: RateCache | None = None,
        continuity: ContinuityGuard | None = None,
    ) -> None:
        self.servers = servers if isinstance(servers, ReadServers) else ReadServers(servers)
        self.cache = StreamCache(continuity=continuity)
        self.calendar = calendar or Calendar()
        self._rates = rates or RateCache()

    def pool(self) -> Pool:
        """Return the pool that this request reads from."""
        return self.servers.current()

    async def head(self) -> Head:
        """Return the last event of the log."""
        return await self._first_read(self._head_of)

    async def head_of_stream(self, stream: str) -> StreamHeadRow | None:
        """Return a stream's version, last leaf hash and last position; None if it does not exist."""

        async def read(pool: Pool) -> StreamHeadRow | None:
            head, _ = await self._heads(pool).of_stream(stream)
            return head

        return await self._first_read(read)

    def _heads(self, pool: Pool) -> HeadLookup:
        return self.cache.heads(pool, is_replica=self.servers.is_replica(pool))

    async def _head_of(self, pool: Pool) -> Head:
        return await self._heads(pool).of_log()

    async def _first_read(self, read: Callable[[Pool], Awaitable[T]]) -> T:
        """Read from this request's server; if that is a replica that fails, from the primary.

        Every question begins with such a read, so a replica that has just died costs no request more than this.
        """
        pool = self.pool()
        if not self.servers.is_replica(pool):
            return await read(pool)
        try:
            return await read(pool)
        except (DatabaseUnavailable, TimeoutError, *postgres.ERRORS) as error:
            if not (isinstance(error, DatabaseUnavailable) or postgres.is_connection_lost(error)):
                raise
            self.servers.lost(pool)
            return await read(self.servers.use_primary())

    async def _reach(self, position: int | None) -> None:
        """Wait briefly until this request's server has a position, else turn to the primary.

        Clients thus read what they wrote.
        """
        if position is None or not self.servers.is_replica(self.pool()):
            return
        deadline = asyncio.get_running_loop().time() + REACH_SECONDS
        while (await self.head()).position < position:
            if asyncio.get_running_loop().time() > deadline:
                self.servers.use_primary()
                return
            await asyncio.sleep(REACH_RETRY_SECONDS)

    @property
    def rate_imports(self) -> int:
        """How many imports of exchange rates this process has read."""
        return self._rates.imports

    async def latest_rates(self) -> Rates:
        """Return all exchange rates, as of a moment ago (`RateCache.latest`)."""
        return await self._rates.latest(self.pool())

    async def rates(self, as_of: AsOf, head: Head | None = None) -> Rates:
        """Return the exchange rates for a question: those recorded by then, all of them while the log is open.

        Args:
            as_of: The point in time.
            head: The last event of the log, if the caller has it.
        """
        head = head or await self.head()
        return await self._rates.as_of(self.pool(), as_of, head.position)

    async def load(self, stream: str) -> tuple[FoldedStream[Any] | None, Head]:
        """Return a stream as the log has it now, None if it does not exist, and the log's head before it was read."""

        async def read(pool: Pool) -> tuple[FoldedStream[Any] | None, Head]:
            return await self.cache.load_current(pool, stream, is_replica=self.servers.is_replica(pool))

        return await self._first_read(read)

    async def merged_deals(self, point: Point) -> dict[str, str]:
        """Return what each deal merged by a point was merged into.

        A merge has no publication date and applies to all days, so only the log position hides it.
        """
        heads = await stream_heads.heads_of_streams_with(self.pool(), ("deal_merged",))
        merged: dict[str, str] = {}
        for name in heads:
            stream, _ = await self.load(name)
            if stream is None:
                continue
            record = stream.record
            if stream.events[-1].position > point.position:
                events = [event for event in stream.events if event.position <= point.position]
                record = resolve_record(stream.slug, events, DEALS)
            if record.merged_into is not None:
                merged[stream.slug] = record.merged_into
        return merged

    async def load_all(self, names: Sequence[str]) -> dict[str, FoldedStream[Any]]:
        """Return these streams as the log has them now, in this order, without those that do not exist."""
        heads = await stream_heads.current_stream_heads(self.pool(), names)
        return await self.load_heads({name: heads[name][:2] for name in names if name in heads})

    async def load_heads(self, heads: Mapping[str, tuple[int, bytes]]) -> dict[str, FoldedStream[Any]]:
        """Return the streams that have these heads (version and leaf hash), from the cache where it is current."""
        return await self.cache.load_heads(self.pool(), heads)

    async def author_names(self, events: Iterable[Recorded]) -> AuthorNames:
        """Return the display names of those who recorded and approved events, as of the recording of each."""
        return await self.author_names_of(
            {id for event in events for id in (event.recorded_by, event.approved_by) if id is not None}
        )

    async def author_names_of(self, ids: Collection[str]) -> AuthorNames:
        """Return the display names of principals, as of each log position."""
        if not ids:
            return AuthorNames()
        streams = await self.load_all([stream_name("principal", id) for id in sorted(ids)])
        names = [
            (stream.slug, event.position, name)
            for stream in streams.values()
            for event in stream.events
            if (name := given_name(event)) is not None
        ]
        # On a mirror, the events of principals have no content: it keeps the names that its origin publishes.
        without = [stream.slug for stream in streams.values() if any(event.erased for event in stream.events)]
        if without:
            mirrored = await mirror_state.names(self.pool(), without)
            names = sorted([*names, *((n.principal, n.position, n.name) for n in mirrored)], key=itemgetter(1))
        return AuthorNames(names)

    async def resolve(self, as_of: AsOf) -> ResolvedAsOf:
        """Fill in what a question leaves out.

        An instant that has passed and a position that the log has fix the log. The effective date is then the day of
        that instant, or of the recording of that position; of both, the earlier day. Otherwise it is today. Position 0
        has no recording and takes the day of the first one.
        """
        instant, position = as_of.recorded_at, as_of.position
        await self._reach(position)
        today = self.calendar.today()
        if instant is None and position is None:
            day = as_of.effective_on or today
            return ResolvedAsOf(as_of=replace(as_of, effective_on=day), effective_on=day, observed_on=min(day, today))
        head = await self.head()
        last, days, is_final = head.position, [], False
        if position is not None and position <= head.position:
            recorded_at = await self._recorded_at(max(position, 1), head)
            if recorded_at is not None:
                last, is_final = position, True
                days.append(self.calendar.day_of(recorded_at))
        if instant is not None and instant <= self.calendar.now():
            last = min(last, await store.position_at(self.pool(), instant))
            # An event may still be recorded at the instant of the last one, and never before it.
            is_final = is_final or (head.recorded_at is not None and instant < head.recorded_at)
            days.append(self.calendar.day_of(instant))
        log_day = min(days, default=None)
        day = as_of.effective_on or log_day or today
        # With the position, an event that is recorded at the instant meanwhile does not get into the answer.
        point = replace(as_of, effective_on=day, position=last if log_day else position)
        return ResolvedAsOf(
            as_of=point,
            effective_on=day,
            observed_on=min(day, log_day or today),
            position=last if log_day else None,
            log_day=log_day,
            is_final=is_final,
        )

    async def memento(self, as_of: AsOf, accepted: datetime, first: Recorded) -> AsOf:
        """Choose the memento for an instant that a request accepts (RFC 7089 §4.5).

        Args:
            as_of: The point that the request gives otherwise; its log is open.
            accepted: The instant.
            first: The first event of the original: before it there is no memento.

        Returns:
            The point, with the instant from which the log and the day stood as they did at the accepted one: all
            instants with the same state, day and log position lead to one memento. An instant that has not passed
            does not fix the log, and the point stays open.
        """
        instant = max(accepted, first.recorded_at)
        resolved = await self.resolve(replace(as_of, recorded_at=instant))
        if resolved.position is None or resolved.log_day is None:
            return as_of
        last = await self._recorded_at(resolved.position, await self.head()) or instant
        since = last if as_of.effective_on else max(last, self.calendar.start_of(resolved.log_day))
        return replace(as_of, recorded_at=since)

    async def _recorded_at(self, position: int, head: Head) -> datetime | None:
        """Return when the event at a position was recorded; None if a replica does not have it yet."""
        if position == head.position:
            return head.recorded_at
        return await store.recorded_at(self.pool(), position)

    async def position_at(self, as_of: AsOf, head: Head) -> int:
        """Return the last log position, up to `head`, that a point in time includes."""
        position = head.position if as_of.position is None else min(as_of.position, head.position)
        if as_of.recorded_at is not None:
            position = min(position, await store.position_at(self.pool(), as_of.recorded_at))
        return position

    async def point(self, resolved: ResolvedAsOf) -> Point:
        """Return the point at which a question looks at the fact tables.

        They are read along one axis of knowledge: with a publication day, along that axis alone.
        """
        as_of, day = resolved.as_of, min(resolved.effective_on, LAST_DAY)
        head = await self.head()
        if as_of.published_on is not None:
            return Point("published", as_of.published_on, day, head.position)
        return Point("recorded", await self.position_at(as_of, head), day, head.position)
