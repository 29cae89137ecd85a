"""The sweep line: the state of some facts at one place of the fold, for every publication day.

A fact has a value at each point of (effective date × publication date). These points form rectangles on which the value
is the same: a period of effective dates × an interval of publication dates. The sweep line algorithm finds them: a line
moves along the effective dates. The line is a list of segments: a segment is the state on the publication days from its
own first day to that of the next segment. An entry of the fold changes the segments of the days on which it is known.
At the end of each effective date, the periods of the facts that ended on that date are complete.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Struct

from registry.domain.fold.order import FoldKey
from registry.projections.facts.tables import RowKey, Values

# "Unbounded": after every day.
END_OF_TIME = date.max

ONE_DAY = timedelta(days=1)

TimedAction: TypeAlias = tuple[date, date, Any]
"""An action, and the publication days [from, to) on which it is known."""

EffectivePeriod: TypeAlias = tuple[date, date, Values]
"""A value that a fact has on the effective dates [from, to): maximal, so that the periods are a canonical form."""


class SweepEntry(Struct, frozen=True, gc=False):
    """The actions at a place in the fold, with their publication days, the first of which is `published_from`."""

    key: FoldKey
    actions: tuple[TimedAction, ...]
    published_from: date


class PublishedInterval(Struct, frozen=True, order=True):
    """The publication days [published_from, published_to) on which a fact has a period, for the log as it is now."""

    published_from: date
    published_to: date


Rectangles: TypeAlias = dict[RowKey, dict[EffectivePeriod, list[PublishedInterval]]]
"""The periods of facts, each with the intervals of publication days on which it is known."""

Effects: TypeAlias = dict[FoldKey, list[TimedAction]]
"""What entries do to the stage, with the publication days."""


class Folding(Struct, frozen=True, kw_only=True):
    """How entries are folded.

    Attributes:
        initial: The state before the first entry.
        apply: The state after an action, and what the action does to the deal's stage (None: nothing).
        facts: The facts of a state.
    """

    initial: Any
    apply: Callable[[Any, Any], tuple[Any, Any]]
    facts: Callable[[Any], Mapping[RowKey, Values]]


class Segment(Struct, frozen=True):
    """The state on the publication days from `published_from` on.

    Attributes:
        published_from: The first of these days.
        state: The state after the entries so far.
        open: The values of the facts at the end of the effective date before, each with the date since when.
        previous: The state at the end of the effective date before.
    """

    published_from: date
    state: Any
    open: dict[RowKey, tuple[date, Values]]
    previous: Any


class SweepLine(Struct, frozen=True):
    """The segments of the publication days before `end`."""

    segments: list[Segment]
    end: date = END_OF_TIME

    def end_of(self, index: int) -> date:
        """The day before which a segment ends."""
        return self.segments[index + 1].published_from if index + 1 < len(self.segments) else self.end


_published_from = attrgetter("published_from")


def apply_entry(line: SweepLine, entry: SweepEntry, folding: Folding, effects: Effects | None = None) -> SweepLine:
    """The line after an entry."""
    for published_from, published_to, action in entry.actions:
        first = _index(line.segments, published_from)
        segments = line.segments[:first]
        for index in range(first, len(line.segments)):
            segment, end = line.segments[index], line.end_of(index)
            start, stop = max(segment.published_from, published_from), min(end, published_to)
            if start >= stop:
                segments.append(segment)
                continue
            if segment.published_from < start:
                segments.append(segment)
            state, effect = folding.apply(segment.state, action)
            segments.append(Segment(start, state, segment.open, segment.previous))
            if stop < end:
                segments.append(Segment(stop, segment.state, segment.open, segment.previous))
            if effect is not None and effects is not None:
                effects.setdefault(entry.key, []).append((start, stop, effect))
        line = SweepLine(segments, line.end)
    return line


def end_day(line: SweepLine, day: date, folding: Folding, rectangles: Rectangles | None = None) -> SweepLine:
    """The line at the end of an effective date. The periods that ended on that date are added to `rectangles`."""
    segments: list[Segment] = []
    was_changed = False
    for index, segment in enumerate(line.segments):
        is_changed = segment.state is not segment.previous
        if is_changed:
            now = folding.facts(segment.state)
            opened = {key: (day, values) for key, values in now.items()}
            for key, (since, values) in segment.open.items():
                if key in now and now[key] == values:
                    opened[key] = (since, values)
                elif rectangles is not None:
                    _add(
                        rectangles,
                        key,
                        (since, day, values),
                        PublishedInterval(segment.published_from, line.end_of(index)),
                    )
            segment = Segment(segment.published_from, segment.state, opened, segment.state)
        # Neighbours that have not changed were compared before.
        if segments and (is_changed or was_changed) and _equal(segments[-1], segment):
            was_changed = True
            continue
        segments.append(segment)
        was_changed = is_changed
    return SweepLine(segments, line.end)


def finish(line: SweepLine, rectangles: Rectangles) -> None:
    """Add the periods that have not ended to `rectangles`."""
    for index, segment in enumerate(line.segments):
        for key, (since, values) in segment.open.items():
            _add(
                rectangles,
                key,
                (since, END_OF_TIME, values),
                PublishedInterval(segment.published_from, line.end_of(index)),
            )


def _add(rectangles: Rectangles, key: RowKey, period: EffectivePeriod, known: PublishedInterval) -> None:
    """Add an interval of a period; the intervals of a period come in order, and those that touch become one."""
    days = rectangles.setdefault(key, {}).setdefault(period, [])
    if days and days[-1].published_to == known.published_from:
        known = PublishedInterval(days.pop().published_from, known.published_to)
    days.append(known)


# --- segments ---------------------------------------------------------------------------------------------------------


def segments_from(segments: list[Segment], first: date) -> list[Segment]:
    """The segments of the publication days from `first` on."""
    index = _index(segments, first)
    segment = segments[index]
    if first <= segment.published_from:
        return segments[index:] if index else segments
    return [Segment(first, segment.state, segment.open, segment.previous), *segments[index + 1 :]]


def splice(segments: list[Segment], line: SweepLine, first: date) -> list[Segment]:
    """The segments with those of a line on its publication days from `first` on."""
    start = max(first, line.segments[0].published_from)
    below = segments[: bisect_left(segments, start, key=_published_from)]
    above = segments_from(segments, line.end) if line.end < END_OF_TIME else []
    return _append(_append(below, segments_from(line.segments, start)), above)


def differing(old: SweepLine, new: SweepLine) -> tuple[SweepLine, SweepLine] | None:
    """The lines without the last publication days, on which they are equal; None if they are equal on all.

    The first of the equal days is kept: a period that was known on it may begin earlier because of the event.
    """
    equal_from = old.end
    for day in sorted({segment.published_from for line in (old, new) for segment in line.segments}, reverse=True):
        if not _equal(old.segments[_index(old.segments, day)], new.segments[_index(new.segments, day)]):
            break
        equal_from = day
    else:
        return None
    if equal_from >= old.end - ONE_DAY:
        return old, new
    end = equal_from + ONE_DAY
    return (
        SweepLine([segment for segment in old.segments if segment.published_from < end], end),
        SweepLine([segment for segment in new.segments if segment.published_from < end], end),
    )


def _index(segments: list[Segment], day: date) -> int:
    """The index of the segment of a publication day, of the first segment for days before it."""
    return max(0, bisect_right(segments, day, key=_published_from) - 1) if len(segments) > 1 else 0


def _append(segments: list[Segment], more: list[Segment]) -> list[Segment]:
    """Two lists of segments without equal neighbours, as one such list."""
    return [*segments, *(more[1:] if segments and more and _equal(segments[-1], more[0]) else more)]


def _equal(one: Segment, two: Segment) -> bool:
    return (
        (one.state is two.state or one.state == two.state)
        and (one.previous is two.previous or one.previous == two.previous)
        and (one.open is two.open or one.open == two.open)
    )
