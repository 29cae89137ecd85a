"""Queries about the log: its head, and events by position, type, deal, organization or source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias
from uuid import UUID

from registry.domain.audit.entries import BOOKKEEPING_TAGS
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.order import fold_order_of
from registry.domain.fold.record import resolve_record
from registry.domain.history import AsOf
from registry.domain.principal import REGISTRY, REPLAYER, given_name
from registry.domain.quotes import Quotes
from registry.errors import NotFound
from registry.events import mirror_state, store
from registry.events.codec import stream_name
from registry.events.mirror_state import PrincipalName
from registry.events.store import StoredEvent
from registry.events.write_batch import Head
from registry.infra.postgres import Pool
from registry.projections import event_index, exchange_rates
from registry.queries.event_filter import ANY_EVENT, EventFilter
from registry.queries.streams import StreamReader
from registry.schemas.mirroring import LogEntries, LogEntry

# Positions that one look at the index of events returns.
INDEX_PAGE = 1000

# Bytes of content after which a page of entries ends.
MAX_ENTRIES_BYTES = 8 * 2**20

Positions: TypeAlias = Callable[[int, int], Awaitable[list[int]]]
"""Finds the positions of the next events, up to a limit, after a position or, for the newest, before it."""


class LogQueries:
    """Answer questions about the log."""

    def __init__(self, streams: StreamReader) -> None:
        self._streams = streams
        self._is_replayed: bool | None = None

    async def head(self) -> Head:
        """Return the last event of the log."""
        return await self._streams.head()

    async def is_replayed(self) -> bool:
        """Return whether the log begins with a replay, whose instants are stated and not measured."""
        if self._is_replayed is None:
            self._is_replayed = await begins_with_replay(self._streams.pool())
        return bool(self._is_replayed)

    async def events(
        self,
        after: int,
        limit: int,
        event_filter: EventFilter = ANY_EVENT,
        *,
        positions: Positions | None = None,
    ) -> list[StoredEvent]:
        """Return at most `limit` events after a position that match a filter, in the order of the log.

        `positions` finds the events that may match.
        """
        pool, terms = self._streams.pool(), event_filter.terms
        if not terms and positions is None:
            # A query for each type, because each can use the index of types.
            types, stream = event_filter.type or (None,), event_filter.stream
            found = [await store.feed(pool, after, limit, type=one, stream=stream) for one in types]
            return sorted(chain(*found), key=_position)[:limit]
        find = positions or partial(event_index.find, pool, terms[0])
        matches: list[StoredEvent] = []
        while len(matches) < limit:
            page = await find(after, INDEX_PAGE)
            matches += [stored for stored in await store.events_at(pool, page) if _matches(stored, event_filter)]
            if len(page) < INDEX_PAGE:
                break
            after = page[-1]
        return matches[:limit]

    async def rows(self, after: int, until: int, limit: int, event_filter: EventFilter = ANY_EVENT) -> list[Any]:
        """Return the rows of at most `limit` events at positions in (after, until], whose content is not decoded.

        The filter is by type and deal only.
        """
        pool, types, stream = self._streams.pool(), event_filter.type or (None,), event_filter.stream
        found = [await store.feed_rows(pool, after, limit, until=until, type=one, stream=stream) for one in types]
        return found[0] if len(found) == 1 else sorted(chain(*found), key=itemgetter("position"))[:limit]

    async def newest(
        self,
        before: int,
        limit: int,
        event_filter: EventFilter = ANY_EVENT,
        *,
        positions: Positions | None = None,
    ) -> list[StoredEvent]:
        """Return the last events before a position that match a filter, the newest first."""
        pool, terms = self._streams.pool(), event_filter.terms
        if not terms and positions is None:
            types, stream = event_filter.type or (None,), event_filter.stream
            found = [await store.newest(pool, before, limit, type=one, stream=stream) for one in types]
            return sorted(chain(*found), key=_position, reverse=True)[:limit]
        find = positions or partial(event_index.find_newest, pool, terms[0])
        matches: list[StoredEvent] = []
        while len(matches) < limit:
            page = await find(before, INDEX_PAGE)
            stored = await store.events_at(pool, page)
            matches += [event for event in reversed(stored) if _matches(event, event_filter)]
            if len(page) < INDEX_PAGE:
                break
            before = page[-1]
        return matches[:limit]

    async def last_position(self, as_of: AsOf) -> int:
        """Return the last log position that a point in time includes."""
        return await self._streams.position_at(as_of, await self._streams.head())

    async def recorded_at(self, position: int) -> datetime | None:
        """Return when the event at a position was recorded; None if there is none."""
        return await store.recorded_at(self._streams.pool(), position)

    async def visible(self, events: Sequence[StoredEvent], as_of: AsOf) -> list[StoredEvent]:
        """Return those of the events that a point in time includes.

        An event counts with the dates that it has after the corrections recorded by then. An event of the record itself
        (a registration, correction, void, merge …) has no dates: it is included once it is recorded.
        """
        if as_of.effective_on is None and as_of.published_on is None:
            return [event for event in events if as_of.was_recorded(event.recorded)]
        names = dict.fromkeys(stream_name(event.recorded.kind, event.recorded.slug) for event in events)
        visible: set[UUID] = set()
        for stream in (await self._streams.load_all(list(names))).values():
            recorded = [event for event in stream.events if as_of.was_recorded(event)]
            record = resolve_record(stream.slug, recorded, stream.rules)
            for effective in record.effective_events:
                if effective.recorded.type in BOOKKEEPING_TAGS or as_of.is_visible(
                    fold_order_of(effective, record.by_id, record.claims)
                ):
                    visible.add(effective.recorded.id)
        return [event for event in events if event.recorded.id in visible]

    async def entries(self, after: int, limit: int) -> LogEntries:
        """Return the bytes of the events after a position: at most `limit`, and few where they have much content."""
        entries: list[LogEntry] = []
        size = 0
        for row in await store.feed_rows(self._streams.pool(), after, limit):
            shown = not row["stream"].startswith("principal/") and row["content"] is not None
            entries.append(
                LogEntry(
                    position=row["position"],
                    entry=row["entry"].decode(),
                    content=row["content"].decode() if shown else None,
                    salt=row["salt"].hex() if shown else None,
                )
            )
            size += len(row["content"] or b"")
            if size > MAX_ENTRIES_BYTES:
                break
        return LogEntries(entries=tuple(entries))

    async def principal_names(self) -> list[PrincipalName]:
        """Return the display names of all principals, each from its position on, in the order of the log."""
        pool, names = self._streams.pool(), []
        for type in ("principal_registered", "principal_renamed"):
            after = 0
            while events := await store.feed(pool, after, INDEX_PAGE, type=type):
                after = events[-1].recorded.position
                named = [event.recorded for event in events]
                names += [PrincipalName(e.slug, e.position, name) for e in named if (name := given_name(e))]
        # On a mirror, the events have no content.
        names += await mirror_state.all_names(pool)
        return sorted(names, key=lambda name: name.position)

    async def rate_imports(self, first: int) -> list[Quotes]:
        """Return all rates that the import with a number, and those after it, recorded."""
        return await exchange_rates.load(self._streams.pool(), first)

    async def event(self, id: UUID) -> tuple[StoredEvent, EffectiveEvent]:
        """Return an event as recorded, and as it reads after corrections.

        Raises:
            NotFound: The log has no event with this id.
        """
        stored = (await store.by_ids(self._streams.pool(), [id])).get(id)
        if stored is None:
            raise NotFound("event", event=str(id))
        stream, _ = await self._streams.load(f"{stored.recorded.kind}/{stored.recorded.slug}")
        assert stream is not None
        return stored, stream.record.by_id[id]


async def begins_with_replay(pool: Pool) -> bool | None:
    """Whether the log begins with the registration of the replayer (`append/replay.py`); None if it is empty."""
    first = await store.events_at(pool, [1])
    if not first:
        return None
    recorded = first[0].recorded
    return (recorded.kind, recorded.slug, recorded.recorded_by) == ("principal", REPLAYER, REGISTRY)


def _position(stored: StoredEvent) -> int:
    return stored.recorded.position


def _matches(stored: StoredEvent, event_filter: EventFilter) -> bool:
    recorded = stored.recorded
    terms = frozenset(event_index.index_terms(recorded) if event_filter.terms else ())
    return event_filter.matches(recorded.type, stream_name(recorded.kind, recorded.slug), terms)
