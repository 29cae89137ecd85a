"""Queries about one source: what rests on it, and what would become of that if the source were retracted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.audit.provenance import FieldProvenance, provenance
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.history import AsOf, FoldedStream
from registry.domain.principal import AuthorNames
from registry.domain.sources.identity import source_id
from registry.domain.sources.retraction import CitingEvent, Treatment, citations, plan_retraction
from registry.errors import NotFound
from registry.events import store
from registry.events.codec import stream_name
from registry.events.types import EventCorrected
from registry.events.values import Localized, Source
from registry.infra import freeing
from registry.infra.threads import is_long, offload_answer, until_cancelled
from registry.projections import event_index
from registry.queries.streams import StreamReader

STREAMS_AT_ONCE = 1000
"""So many streams are loaded before the events that a retraction treats are looked for in them."""


class CitedEvent(Struct, frozen=True):
    """An event that cites a source, at its place in its stream's history, and the fields that it set."""

    kind: Literal["deal", "organization"]
    slug: str
    title: Localized | None
    entry: AuditEntry
    in_force: bool
    fields: Sequence[FieldProvenance]

    @property
    def effective(self) -> EffectiveEvent:
        """The event as it reads after corrections."""
        return self.entry.effective


class CitedEvents(Struct, frozen=True):
    """A page of what rests on a source. `next` is the position after which the next page begins."""

    id: str
    source: Source
    events: list[CitedEvent]
    authors: AuthorNames
    next: int | None


class SourceQueries:
    """Answer questions about a source."""

    def __init__(self, streams: StreamReader) -> None:
        self._streams = streams

    async def use(self, id: str, after: int, limit: int) -> CitedEvents:
        """Return the events that cite a source, as they read now, in the order of the log.

        Raises:
            NotFound: No event cites such a source.
        """
        positions = await self._positions(id, after, limit + 1)
        events = await store.events_at(self._streams.pool(), positions[:limit])
        if not events and after == 0:
            raise NotFound("source", id=id)
        names = dict.fromkeys(stream_name(event.recorded.kind, event.recorded.slug) for event in events)
        streams = await self._streams.load_all(list(names))
        size = sum(stream.version for stream in streams.values())
        copies = [stream.copy_for_thread() if is_long(size) else stream for stream in streams.values()]
        # Only what is listed leaves the thread: the other events of a long deal take 10 ms to free.
        found = await offload_answer(
            size, _cited_events_of, copies, id, {event.recorded.id for event in events}, self._streams.calendar
        )
        listed = []
        for event in events:
            # A correction is listed in the event that it is about.
            cited = found.pop(event.recorded.id, None)
            if cited is not None:
                listed.append(cited)
        last = positions[limit - 1] if len(positions) > limit else None
        authors = await self._streams.author_names([event.effective.recorded for event in listed])
        return CitedEvents(id, _source_of(listed, id), listed, authors, last)

    async def plan(
        self, id: str, chosen: Mapping[UUID, Treatment], limit: int | None = None
    ) -> list[tuple[FoldedStream[Any], list[CitingEvent]]]:
        """Return what becomes of each event that cites a source if it is retracted, by stream.

        Args:
            id: The source's id.
            chosen: The treatments that an editor chose, by event.
            limit: The most events; None: all.

        Raises:
            NotFound: No event cites such a source.
        """
        names = await event_index.streams_with(self._streams.pool(), f"source:{id}")
        if not names:
            raise NotFound("source", id=id)
        plans: list[tuple[FoldedStream[Any], list[CitingEvent]]] = []
        for first in range(0, len(names), STREAMS_AT_ONCE):
            if limit is not None and sum(len(plan) for _, plan in plans) >= limit:
                break
            streams = await self._streams.load_all(names[first : first + STREAMS_AT_ONCE])
            size = sum(stream.version for stream in streams.values())
            copies = {name: stream.copy_for_thread() if is_long(size) else stream for name, stream in streams.items()}
            await offload_answer(size, _add_plans, plans, copies, id, chosen, limit)
        return plans

    async def source(self, id: str) -> Source:
        """Return a source as the first event cites it.

        Raises:
            NotFound: No event cites such a source.
        """
        events = await store.events_at(self._streams.pool(), await self._positions(id, 0, 1))
        if not events:
            raise NotFound("source", id=id)
        recorded = events[0].recorded
        sources = recorded.sources
        if isinstance(recorded.event, EventCorrected):
            sources = (*sources, *(recorded.event.replacement.sources or ()))
        return next((source for source in sources if source_id(source) == id), Source())

    async def _positions(self, id: str, after: int, limit: int) -> list[int]:
        return await event_index.find(self._streams.pool(), f"source:{id}", after, limit)


def _add_plans(
    plans: list[tuple[FoldedStream[Any], list[CitingEvent]]],
    streams: Mapping[str, FoldedStream[Any]],
    id: str,
    chosen: Mapping[UUID, Treatment],
    limit: int | None,
) -> None:
    """Add the plans of some streams, until there are as many events as the limit."""
    listed = sum(len(plan) for _, plan in plans)
    for name, stream in until_cancelled(streams.items()):
        kind: Literal["deal", "organization"] = "deal" if name.startswith("deal/") else "organization"
        if plan := plan_retraction(kind, stream, id, chosen, None if limit is None else limit - listed):
            plans.append((stream, plan))
            listed += len(plan)


def _cited_events_of(
    streams: Iterable[FoldedStream[Any]], id: str, listed: Collection[UUID], calendar: Calendar
) -> dict[UUID, CitedEvent]:
    """What `_cited_events` finds in some streams, of the events that are listed."""
    found: dict[UUID, CitedEvent] = {}
    for stream in until_cancelled(streams):
        of_stream = _cited_events(stream, id, calendar)
        found.update((event, of_stream[event]) for event in listed if event in of_stream)
        freeing.after_work(of_stream)
    return found


def _cited_events(stream: FoldedStream[Any], id: str, calendar: Calendar) -> dict[UUID, CitedEvent]:
    """The events of a stream that cite a source or did before a correction, by id; a correction by its own id, too."""
    as_of = AsOf()
    snapshot = stream.state_as_of(as_of)
    in_force = {effective.recorded.id for effective in citations(stream, id)}
    fields: dict[UUID, list[FieldProvenance]] = {}
    if snapshot.state is not None:
        for field in provenance(snapshot):
            fields.setdefault(field.event, []).append(field)
    is_deal = isinstance(stream.state, Deal)
    title = stream.state.title if is_deal else stream.state.name
    found: dict[UUID, CitedEvent] = {}
    for entry in audit_trail(stream.events, as_of, stream.rules, calendar, snapshot=snapshot):
        effective = entry.effective
        sources = (*effective.recorded.sources, *effective.sources)
        if entry.target_event is None and any(source_id(source) == id for source in sources):
            event = effective.recorded.id
            resting = fields.get(event, []) if event in in_force else []
            found[event] = CitedEvent(
                "deal" if is_deal else "organization", stream.slug, title, entry, event in in_force, resting
            )
    return found


def _source_of(events: Sequence[CitedEvent], id: str) -> Source:
    """The source as the latest event cites it; as the latest one with a title, if any has one."""
    cited = [
        source
        for event in events
        for source in (*event.effective.recorded.sources, *event.effective.sources)
        if source_id(source) == id
    ]
    titled = [source for source in cited if source.title] or cited
    return titled[-1] if titled else Source()
