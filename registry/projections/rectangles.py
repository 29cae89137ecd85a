"""Rectangles (effective × known) of a deal: from when until when a state is in effect, and is known.

Two axes of knowledge have rectangles of their own: what the registry knew (a log position), and what was public (a
day, for the log as it is now). An event closes the rectangles that it contradicts and opens new ones. Nothing is read
from the database to do so: the open rectangles follow from the stream as it was before the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise
from operator import attrgetter, is_
from typing import TypeAlias

from msgspec import Struct

from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import Deal
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream
from registry.domain.timeline import Timeline
from registry.events.types import BOOKKEEPING_TYPES, Recorded
from registry.projections.list_rows import ListRow, list_row

# "Unbounded" on the two axes: after every date and every position.
END_OF_TIME = date.max
MAX_POSITION = 2**62

ONE_DAY = timedelta(days=1)

RECORDED, PUBLISHED = b"r", b"p"

# A state of the deal, and the day from which it is in effect, until the day of the next one.
Segment: TypeAlias = tuple[date, Deal]
Span: TypeAlias = tuple[date, ListRow]

# The first days of the rectangles that close; and of those that open, the first day, the day after the last, the row.
Delta: TypeAlias = tuple[list[date], list[tuple[date, date, ListRow]]]

_BOOKKEEPING_EVENTS = frozenset(BOOKKEEPING_TYPES)


class Rectangle(Struct, gc=False):
    """A row that is in effect in [effective_from, effective_to), as known in [known_from, known_to)."""

    clock: bytes
    deal: str
    effective_from: date
    effective_to: date
    known_from: int
    known_to: int
    row: ListRow


# --- spans ------------------------------------------------------------------------------------------------------------


def segments(
    stream: FoldedStream[Deal], published: date | None = None, timeline: Timeline[Deal] | None = None
) -> list[Segment]:
    """The states of a deal. A registration alone is known from its own date."""
    if stream.record.merged_into is not None:
        return []
    found = (timeline or stream.timeline).segments()
    registration = stream.record.registration
    if registration is not None and AsOf(published_on=published).is_registered(registration):
        since = _registered_since(registration)
        if not found or since < found[0][0]:
            found.insert(0, (since, stream.record.base))
    return found


# The fields that list rows depend on: two states with the same objects in all of them have the same row.
_row_fields = attrgetter(
    *("title", "kind", "stage", "sectors", "classifications", "identifiers"),
    *("parties", "sites", "pledges", "relations"),
)


def _extend_spans(
    stream: FoldedStream[Deal], spans: list[Span], segments: Iterable[Segment], last: Deal | None = None
) -> list[Span]:
    """Append segments to spans and merge equal neighbours. `last` is the state of the last span, where known."""
    for since, folded in segments:
        state = stream.with_preferred_claims(folded)
        if last is None or not all(map(is_, _row_fields(last), _row_fields(state))):
            row = list_row(state)
            if not spans or spans[-1][1] != row:
                spans.append((since, row))
        last = state
    return spans


class SpanCache:
    """The spans of a stream, kept with it, so that the next event computes only those that it can change.

    `spans` are all spans, or only the last ones (`complete` is False). `first` and `latest` are the publication days
    of the deal's events.
    """

    __slots__ = ("complete", "first", "latest", "spans")

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.complete = True
        self.first = END_OF_TIME
        self.latest = date.min

    def all(self, stream: FoldedStream[Deal]) -> list[Span]:
        """All spans of the stream that this is the cache of."""
        if not self.complete:
            self.spans, self.complete = _extend_spans(stream, [], segments(stream)), True
        return self.spans

    def index_before(self, day: date) -> int | None:
        """The index of the span in effect on the day before; None when that span is not kept."""
        for i in range(len(self.spans) - 1, -1, -1):
            if self.spans[i][0] < day:
                return i
        return None


def span_cache(stream: FoldedStream[Deal]) -> SpanCache:
    """The cache that is kept with a stream; a new one where there is none."""
    if stream.projection_state is None:
        cache = stream.projection_state = SpanCache()
        cache.complete = not stream.events
        days = [step.effective.published_on for step in stream.timeline.steps]
        if stream.record.registration is not None:
            days.append(stream.record.registration.published_on)
        cache.first, cache.latest = min(days, default=END_OF_TIME), max(days, default=date.min)
    found: SpanCache = stream.projection_state
    return found


def is_plain(event: Recorded) -> bool:
    """Whether an event changes nothing before its own effective date: not bookkeeping, and not redacted."""
    return event.event is not None and type(event.event) not in _BOOKKEEPING_EVENTS


def _effective_day(stream: FoldedStream[Deal], event: Recorded) -> date | None:
    """The day from which an event of the stream is in effect."""
    for step in reversed(stream.timeline.steps):
        if step.effective.recorded.position == event.position:
            return step.key[0]
    return None


def changed_spans(
    before: FoldedStream[Deal], after: FoldedStream[Deal], event: Recorded
) -> tuple[list[Span], list[Span]]:
    """The spans that an event may change, before it and after it. Keeps the new spans with the stream."""
    old, new = span_cache(before), SpanCache()
    new.first, new.latest = min(old.first, event.published_on), max(old.latest, event.published_on)
    day = _effective_day(after, event) if is_plain(event) else None
    kept = old.index_before(day) if day is not None else None
    if kept is None or day is None:
        was, now = old.all(before), _extend_spans(after, [], segments(after))
    else:
        was = old.spans[kept:]
        now = _extend_spans(after, was[:1], after.timeline.segments(day), after.at(day - ONE_DAY))
        new.complete = old.complete and kept == 0
    # Two spans are enough for the next event on the same or a later day, and every cached stream keeps its own.
    new.complete = new.complete and len(now) <= 2
    new.spans = now[-2:]
    after.projection_state = new
    return was, now


# --- rectangles -------------------------------------------------------------------------------------------------------


class RectangleWriter:
    """The rectangles of one deal on one axis. It keeps those that have to be inserted, and the rows to be closed."""

    def __init__(self, clock: bytes, deal: str) -> None:
        self.clock = clock
        self.deal = deal
        self.rectangles: list[Rectangle] = []
        self.closed: list[tuple[date, int]] = []
        self._open: dict[date, Rectangle] = {}

    def advance(self, delta: Delta, known: int) -> None:
        """Close and open rectangles from `known` on."""
        closing, opening = delta
        for since in closing:
            rectangle = self._open.pop(since, None)
            if rectangle is None:
                self.closed.append((since, known))
            elif rectangle.known_from >= known:
                self.rectangles.remove(rectangle)
            else:
                rectangle.known_to = known
        for since, until, row in opening:
            opened = self._open[since] = Rectangle(self.clock, self.deal, since, until, known, MAX_POSITION, row)
            self.rectangles.append(opened)


def span_delta(before: Sequence[Span], after: Sequence[Span]) -> Delta:
    """The rectangles that close and open when these spans replace those."""
    remaining = {since: (until, row) for since, until, row in _with_ends(before)}
    opening = []
    for since, until, row in _with_ends(after):
        if remaining.get(since) == (until, row):
            del remaining[since]
        else:
            opening.append((since, until, row))
    return list(remaining), opening


def _with_ends(spans: Sequence[Span]) -> Iterator[tuple[date, date, ListRow]]:
    """Spans with the day before which each ends."""
    for i, (since, row) in enumerate(spans, 1):
        yield since, spans[i][0] if i < len(spans) else END_OF_TIME, row


def rectangles(stream: FoldedStream[Deal]) -> list[Rectangle]:
    """All rectangles of a deal, on both axes."""
    if is_chronological(stream):
        return _chronological_rectangles(stream)
    return [*recorded_rectangles(stream), *published_rectangles(stream)]


def is_chronological(stream: FoldedStream[Deal]) -> bool:
    """Whether the events were recorded, published and in effect in the same order, as in most deals.

    Then the state after each event is the fold of it and of the events before it, on both axes.
    """
    registration, steps = stream.record.registration, stream.timeline.steps
    if registration is None or stream.record.claims or not all(map(is_plain, stream.events[1:])):
        return False
    places = [(step.key[0], step.effective.published_on, step.effective.recorded.position) for step in steps]
    return (
        not registration.recorded.erased
        and len(steps) == len(stream.events) - 1
        and all(one[0] <= two[0] and one[1] <= two[1] and one[2] < two[2] for one, two in pairwise(places))
        and (
            not steps or (_registered_since(registration) < places[0][0] and registration.published_on <= places[0][1])
        )
    )


def _registered_since(registration: EffectiveEvent) -> date:
    """The day from which a registration alone is known."""
    return registration.effective_on or date.min


def _chronological_rectangles(stream: FoldedStream[Deal]) -> list[Rectangle]:
    """The rectangles of a chronological deal, which are the same on both axes except for the values on the axis."""
    registration = stream.record.registration
    assert registration is not None
    recorded, published = RectangleWriter(RECORDED, stream.slug), RectangleWriter(PUBLISHED, stream.slug)
    cache = SpanCache()
    cache.spans = _extend_spans(stream, [], [(_registered_since(registration), stream.record.base)])
    delta = span_delta([], cache.spans)
    recorded.advance(delta, registration.recorded.position)
    published.advance(delta, registration.published_on.toordinal())
    # The state on the day before the current step's day, and the state after the last step.
    before = last = stream.record.base
    current_day = date.min
    for step, state in zip(stream.timeline.steps, stream.timeline.states, strict=True):
        day = step.key[0]
        if day > current_day:
            before, current_day = last, day
        last = state
        kept = cache.index_before(day)
        was = cache.spans[kept:]
        cache.spans[kept:] = _extend_spans(stream, was[:1], [(day, state)], before)
        delta = span_delta(was, cache.spans[kept:])
        recorded.advance(delta, step.effective.recorded.position)
        published.advance(delta, step.effective.published_on.toordinal())
    return [*recorded.rectangles, *published.rectangles]


def recorded_rectangles(stream: FoldedStream[Deal]) -> list[Rectangle]:
    """The rectangles of a deal as the registry came to know it: a replay of its events."""
    writer = RectangleWriter(RECORDED, stream.slug)
    replay: FoldedStream[Deal] = FoldedStream(stream.slug, DEALS)
    cache = SpanCache()
    for event in stream.events:
        replay.append(event)
        day = _effective_day(replay, event) if is_plain(event) else None
        _recompute_from(writer, cache, event.position, replay, day, replay.timeline, None)
    return writer.rectangles


def published_rectangles(stream: FoldedStream[Deal]) -> list[Rectangle]:
    """The rectangles of a deal as the public came to know it, for the log as it is now."""
    writer = RectangleWriter(PUBLISHED, stream.slug)
    record = stream.record
    if record.merged_into is not None:
        return []
    steps = sorted(stream.timeline.steps, key=lambda s: (s.effective.published_on, s.effective.recorded.position))
    registered = record.registration.published_on if record.registration else None
    days = sorted({step.effective.published_on for step in steps} | ({registered} if registered else set()))
    timeline: Timeline[Deal] = Timeline(DEALS, record.base)
    cache = SpanCache()
    remaining = iter(steps)
    step = next(remaining, None)
    for known in days:
        first: date | None = None
        while step is not None and step.effective.published_on <= known:
            timeline.insert(step)
            first = min(first or date.max, step.key[0])
            step = next(remaining, None)
        # The registration may be in effect before everything that was public by then, so all spans may change.
        day = None if known == registered else first
        _recompute_from(writer, cache, known.toordinal(), stream, day, timeline, known)
    return writer.rectangles


def _recompute_from(
    writer: RectangleWriter,
    cache: SpanCache,
    known: int,
    stream: FoldedStream[Deal],
    day: date | None,
    timeline: Timeline[Deal],
    published: date | None,
) -> None:
    """Write what is in effect as known from `known` on. Spans before `day` are unchanged; None: all may change."""
    kept = cache.index_before(day) if day is not None else None
    if kept is None or day is None:
        was, now = cache.spans, _extend_spans(stream, [], segments(stream, published, timeline))
        cache.spans = now
    else:
        was = cache.spans[kept:]
        before = stream.with_preferred_claims(timeline.at(day - ONE_DAY))
        now = _extend_spans(stream, was[:1], timeline.segments(day), before)
        cache.spans[kept:] = now
    writer.advance(span_delta(was, now), known)
