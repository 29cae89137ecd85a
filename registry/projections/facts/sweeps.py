"""The rectangles (effective date × publication date) of some facts, and what an event changes in them.

A group of facts is swept in the order of the fold (`sweep_line.py`). To find what an event changes, the sweep begins at
the event and moves two lines side by side: that of the history before the event, and that of the history with it. It
drops the publication days on which both are equal, because everything later is then the same in both, and skips entries
that change no state. So the work depends on what changes, not on the length of the history or the order in which it
arrived.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from datetime import date
from operator import attrgetter
from typing import Protocol

from msgspec import Struct

from registry.domain.fold.order import FoldKey
from registry.projections.facts.sweep_line import (
    END_OF_TIME,
    ONE_DAY,
    Effects,
    Folding,
    Rectangles,
    Segment,
    SweepEntry,
    SweepLine,
    apply_entry,
    differing,
    end_day,
    finish,
    segments_from,
    splice,
)

# A sweep stores its line after this number of entries, with this number of segments, so that the next sweep begins near
# the first difference.
ENTRIES_PER_SNAPSHOT = 2
SEGMENTS_PER_SNAPSHOT = 16

_START: FoldKey = (date.min, ())


class FactGroup(Protocol):
    """Facts that are folded together: their entries in the order of the fold, read from the timeline."""

    @property
    def folding(self) -> Folding:
        """How the entries are folded."""
        ...

    def next(self, place: FoldKey, *lines: SweepLine, after: bool) -> SweepEntry | None:
        """The first entry at a place or later (with `after`: later) that may change a state of one of these lines."""
        ...


class _Snapshot(Struct):
    """The line before a place, as of the end of the effective date before, on the publication days from `first` on."""

    key: FoldKey
    first: date
    segments: list[Segment]

    def replace(self, segments: list[Segment]) -> None:
        """Store these segments, only the last ones if they are many."""
        self.segments = segments
        if len(segments) > 2 * SEGMENTS_PER_SNAPSHOT:
            self.segments = segments[-SEGMENTS_PER_SNAPSHOT:]
            self.first = self.segments[0].published_from


_place = attrgetter("key")


class Snapshots:
    """Stored sweep lines of a group, from which the next sweep begins."""

    def __init__(self) -> None:
        self._snapshots: list[_Snapshot] = []

    def last_before(self, key: FoldKey, first: date) -> _Snapshot | None:
        """The last snapshot at or before a place that has the publication days from `first` on."""
        number = bisect_left(self._snapshots, key, key=_place)
        if (
            number < len(self._snapshots)
            and self._snapshots[number].key == key
            and self._snapshots[number].first <= first
        ):
            return self._snapshots[number]
        while number and self._snapshots[number - 1].first > first:
            number -= 1
        return self._snapshots[number - 1] if number else None

    def add(self, key: FoldKey, line: SweepLine) -> date:
        """Store the line before a place. Returns the first publication day that is stored."""
        snapshot = _Snapshot(key, line.segments[0].published_from, [])
        snapshot.replace(line.segments)
        index = bisect_left(self._snapshots, key, key=_place)
        if index < len(self._snapshots) and self._snapshots[index].key == key:
            self._snapshots[index] = snapshot
        else:
            self._snapshots.insert(index, snapshot)
        return snapshot.first

    def update(self, place: FoldKey, until: FoldKey | None, line: SweepLine, day: date, folding: Folding) -> None:
        """Replace the stored lines after a place up to another one by this line, on its publication days."""
        for index in range(bisect_left(self._snapshots, place, key=_place), len(self._snapshots)):
            snapshot = self._snapshots[index]
            if snapshot.key == place:
                continue
            if until is not None and snapshot.key > until:
                break
            if line.end > snapshot.first:
                ended = end_day(line, day, folding) if day < snapshot.key[0] else line
                snapshot.replace(splice(snapshot.segments, ended, snapshot.first))


class HistoryDifference(Struct):
    """What changes in the facts of a group, on the publication days from `first` on.

    Attributes:
        first: The first of these days.
        old: The periods that were swept, as they were.
        new: The periods as they are.
        old_effects: What the swept entries did to the stage.
        new_effects: What they do.
        ends: The day before which the publication days end on which an entry was swept.
    """

    first: date
    old: Rectangles
    new: Rectangles
    old_effects: Effects
    new_effects: Effects
    ends: dict[FoldKey, date]


def rectangles_of(group: FactGroup, effects: Effects | None = None) -> Rectangles:
    """All periods of the facts of a group. What its entries do to the stage is added to `effects`."""
    rectangles: Rectangles = {}
    place, after, day = _START, False, date.min
    line, folding = _initial(group), group.folding
    while (entry := group.next(place, line, after=after)) is not None:
        if day < entry.key[0]:
            line, day = end_day(line, day, folding, rectangles), entry.key[0]
        line = apply_entry(line, entry, folding, effects)
        place, after = entry.key, True
    finish(end_day(line, day, folding, rectangles), rectangles)
    return rectangles


def difference(
    before: FactGroup, now: FactGroup, snapshots: Snapshots | None, places: Collection[FoldKey], known: date
) -> HistoryDifference:
    """What changes from one group to another that differs at some places, on the publication days from `known` on."""
    found = _difference(before, now, snapshots, places, known, drops_equal=True)
    return _difference(before, now, snapshots, places, known, drops_equal=False) if _splits_a_period(found) else found


def _splits_a_period(found: HistoryDifference) -> bool:
    """Whether a period is known on several intervals now, the last of which goes on after the days that were swept.

    The first interval keeps the row of the period. The last one gets a row, which must say until when it is known.
    """
    for key, periods in found.new.items():
        for period, intervals in periods.items():
            was = found.old.get(key, {}).get(period)
            if (
                was
                and len(intervals) > 1
                and intervals[-1] != was[-1]
                and intervals[-1].published_to == was[-1].published_to < END_OF_TIME
                and was[-1].published_from <= intervals[-2].published_to
            ):
                return True
    return False


def _difference(  # noqa: C901 - the two lines are followed in one loop
    before: FactGroup,
    now: FactGroup,
    snapshots: Snapshots | None,
    places: Collection[FoldKey],
    known: date,
    *,
    drops_equal: bool,
) -> HistoryDifference:
    """As `difference`. With `drops_equal`, the sweep drops the last publication days, on which both lines are equal."""
    folding = now.folding
    # With the day before, so that a period that now goes on from there is found.
    first = known - ONE_DAY if known > date.min else known
    found = HistoryDifference(first, {}, {}, {}, {}, {})
    place, last, after = min(places), max(places), False
    day = place[0]
    old = new = _line_before(before, snapshots, place, first)
    while True:
        ahead = now.next(place, old, new, after=after)
        was = before.next(place, old, new, after=after) if place <= last else ahead
        entry = min((one for one in (was, ahead) if one is not None), key=_place, default=None)
        if entry is None:
            break
        if day < entry.key[0]:
            if snapshots is not None:
                snapshots.update(place, (entry.key[0], ()), new, day, folding)
            old, new = end_day(old, day, folding, found.old), end_day(new, day, folding, found.new)
            day = entry.key[0]
        # A claim depends on the entry before it, which it is about: no line is compared between them.
        if drops_equal and entry.key > last and len(entry.key[1]) == 2:
            narrowed = differing(old, new)
            if narrowed is None:
                return found
            if narrowed[0].end < old.end:
                old, new = narrowed
                continue
        if snapshots is not None:
            snapshots.update(place, entry.key, new, day, folding)
        found.ends[entry.key] = old.end
        if was is not None and was.key == entry.key:
            old = apply_entry(old, was, folding, found.old_effects)
        if ahead is not None and ahead.key == entry.key:
            new = apply_entry(new, ahead, folding, found.new_effects)
        place, after = entry.key, True
    if snapshots is not None:
        snapshots.update(place, None, new, day, folding)
    finish(end_day(old, day, folding, found.old), found.old)
    finish(end_day(new, day, folding, found.new), found.new)
    return found


def _initial(group: FactGroup) -> SweepLine:
    initial = group.folding.initial
    return SweepLine([Segment(date.min, initial, {}, initial)])


def _line_before(group: FactGroup, snapshots: Snapshots | None, key: FoldKey, first: date) -> SweepLine:
    """The line before a place, as of the end of the effective date before, on the publication days from `first` on."""
    folding = group.folding
    place, day, line = _START, date.min, _initial(group)
    snapshot = snapshots.last_before(key, first) if snapshots is not None else None
    if snapshot is not None:
        place, day, line = snapshot.key, snapshot.key[0], SweepLine(snapshot.segments)
    elif snapshots is None:
        line = SweepLine(segments_from(line.segments, first))
    walked, after = 0, False
    while (entry := group.next(place, line, after=after)) is not None and entry.key < key:
        if day < entry.key[0]:
            line, day = end_day(line, day, folding), entry.key[0]
        if snapshots is not None and walked >= ENTRIES_PER_SNAPSHOT and len(entry.key[1]) == 2:
            walked = 0
            line = SweepLine(segments_from(line.segments, min(first, snapshots.add(entry.key, line))))
        line = apply_entry(line, entry, folding)
        place, after, walked = entry.key, True, walked + 1
    line = end_day(line, day, folding) if day < key[0] else line
    return SweepLine(segments_from(line.segments, first))
