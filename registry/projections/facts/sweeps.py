"""What an event changes in the plane (days of the world × days of publication) of some facts.

A track is swept in the order of the fold (`sweep_line.py`). To find what an event changes, the sweep begins at the
event and moves two lines side by side: that of the history before the event, and that of the history with it. It drops
the publication days on which both are equal, because everything later is then the same in both, and skips entries that
change no state. So the work depends on what changes, not on the length of the history or the order in which it arrived.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from datetime import date
from operator import attrgetter
from typing import Protocol

from msgspec import Struct

from registry.domain.fold import FoldKey
from registry.projections.facts.sweep_line import (
    END_OF_TIME,
    ONE_DAY,
    Cell,
    Effects,
    Folding,
    Planes,
    SweepLine,
    TrackEntry,
    apply_entry,
    cells_from,
    differing,
    finish,
    settle,
    splice,
)

# After so many entries a sweep line is kept, with so many cells, so that a sweep begins near the first difference.
ENTRIES_BETWEEN_MARKS = 2
CELLS_OF_A_MARK = 16

_START: FoldKey = (date.min, ())


class Track(Protocol):
    """The history of facts that depend on each other: entries in the order of the fold, read from the timeline."""

    @property
    def folding(self) -> Folding:
        """How the entries are folded."""
        ...

    def next(self, place: FoldKey, *lines: SweepLine, after: bool) -> TrackEntry | None:
        """The first entry at a place or later (with `after`: later) that may change a state of one of these lines."""
        ...


class _Mark(Struct):
    """The cells before a place, settled up to its day, of the publication days from `first` on."""

    key: FoldKey
    first: date
    cells: list[Cell]

    def replace(self, cells: list[Cell]) -> None:
        """Keep these cells, only the last ones if they are many."""
        self.cells = cells
        if len(cells) > 2 * CELLS_OF_A_MARK:
            self.cells = cells[-CELLS_OF_A_MARK:]
            self.first = self.cells[0].known_from


_place = attrgetter("key")


class Marks:
    """Sweep lines of a track that are kept for the next sweep."""

    def __init__(self) -> None:
        self._marks: list[_Mark] = []

    def last_before(self, key: FoldKey, first: date) -> _Mark | None:
        """The last mark at or before a place that has the publication days from `first` on."""
        number = bisect_left(self._marks, key, key=_place)
        if number < len(self._marks) and self._marks[number].key == key and self._marks[number].first <= first:
            return self._marks[number]
        while number and self._marks[number - 1].first > first:
            number -= 1
        return self._marks[number - 1] if number else None

    def keep(self, key: FoldKey, line: SweepLine) -> date:
        """Keep the line before a place. Returns the first publication day that is kept."""
        mark = _Mark(key, line.cells[0].known_from, [])
        mark.replace(line.cells)
        index = bisect_left(self._marks, key, key=_place)
        if index < len(self._marks) and self._marks[index].key == key:
            self._marks[index] = mark
        else:
            self._marks.insert(index, mark)
        return mark.first

    def change(self, place: FoldKey, until: FoldKey | None, line: SweepLine, day: date, folding: Folding) -> None:
        """Replace what is kept after a place up to another one by a line, on its publication days."""
        for index in range(bisect_left(self._marks, place, key=_place), len(self._marks)):
            mark = self._marks[index]
            if mark.key == place:
                continue
            if until is not None and mark.key > until:
                break
            if line.end > mark.first:
                settled = settle(line, day, folding) if day < mark.key[0] else line
                mark.replace(splice(mark.cells, settled, mark.first))


class HistoryDifference(Struct):
    """What changes in the facts of a track, on the publication days from `first` on.

    Attributes:
        first: The first of these days.
        old: The runs that were swept, as they were.
        new: The runs as they are.
        old_effects: What the swept entries did to the stage.
        new_effects: What they do.
        ends: The day before which the publication days end on which an entry was swept.
    """

    first: date
    old: Planes
    new: Planes
    old_effects: Effects
    new_effects: Effects
    ends: dict[FoldKey, date]


def planes_of(track: Track, effects: Effects | None = None) -> Planes:
    """All runs of the facts of a track. What its entries do to the stage is added to `effects`."""
    planes: Planes = {}
    place, after, day = _START, False, date.min
    line = _initial(track)
    while (entry := track.next(place, line, after=after)) is not None:
        if day < entry.key[0]:
            line, day = settle(line, day, track.folding, planes), entry.key[0]
        line = apply_entry(line, entry, track.folding, effects)
        place, after = entry.key, True
    finish(settle(line, day, track.folding, planes), planes)
    return planes


def difference(
    before: Track, now: Track, marks: Marks | None, places: Collection[FoldKey], known: date
) -> HistoryDifference:
    """What changes from one track to another that differs at some places, on the publication days from `known` on."""
    found = _difference(before, now, marks, places, known, drops_equal=True)
    return _difference(before, now, marks, places, known, drops_equal=False) if _cuts_a_part(found) else found


def _cuts_a_part(found: HistoryDifference) -> bool:
    """Whether a run is known in several parts now, the last of which goes on after the days that were swept.

    The first part keeps the row of the run. The last one gets a row of its own, which must say until when it is known.
    """
    for key, runs in found.new.items():
        for run, parts in runs.items():
            was = found.old.get(key, {}).get(run)
            if (
                was
                and len(parts) > 1
                and parts[-1] != was[-1]
                and parts[-1].known_to == was[-1].known_to < END_OF_TIME
                and was[-1].known_from <= parts[-2].known_to
            ):
                return True
    return False


def _difference(  # noqa: C901 - the two lines are followed in one loop
    before: Track,
    now: Track,
    marks: Marks | None,
    places: Collection[FoldKey],
    known: date,
    *,
    drops_equal: bool,
) -> HistoryDifference:
    """The same. With `drops_equal`, the sweep drops the last publication days, on which both lines are equal."""
    folding = now.folding
    # With the day before, so that a run that now goes on from there is found.
    first = known - ONE_DAY if known > date.min else known
    found = HistoryDifference(first, {}, {}, {}, {}, {})
    place, last, after = min(places), max(places), False
    day = place[0]
    old = new = _line_before(before, marks, place, first)
    while True:
        ahead = now.next(place, old, new, after=after)
        was = before.next(place, old, new, after=after) if place <= last else ahead
        entry = min((one for one in (was, ahead) if one is not None), key=_place, default=None)
        if entry is None:
            break
        if day < entry.key[0]:
            if marks is not None:
                marks.change(place, (entry.key[0], ()), new, day, folding)
            old, new = settle(old, day, folding, found.old), settle(new, day, folding, found.new)
            day = entry.key[0]
        # A claim depends on the entry before it, which it is about: no line is compared between them.
        if drops_equal and entry.key > last and len(entry.key[1]) == 2:
            narrowed = differing(old, new)
            if narrowed is None:
                return found
            if narrowed[0].end < old.end:
                old, new = narrowed
                continue
        if marks is not None:
            marks.change(place, entry.key, new, day, folding)
        found.ends[entry.key] = old.end
        if was is not None and was.key == entry.key:
            old = apply_entry(old, was, folding, found.old_effects)
        if ahead is not None and ahead.key == entry.key:
            new = apply_entry(new, ahead, folding, found.new_effects)
        place, after = entry.key, True
    if marks is not None:
        marks.change(place, None, new, day, folding)
    finish(settle(old, day, folding, found.old), found.old)
    finish(settle(new, day, folding, found.new), found.new)
    return found


def _initial(track: Track) -> SweepLine:
    initial = track.folding.initial
    return SweepLine([Cell(date.min, initial, {}, initial)])


def _line_before(track: Track, marks: Marks | None, key: FoldKey, first: date) -> SweepLine:
    """The line before a place, settled up to its day, of the publication days from `first` on."""
    folding = track.folding
    place, day, line = _START, date.min, _initial(track)
    mark = marks.last_before(key, first) if marks is not None else None
    if mark is not None:
        place, day, line = mark.key, mark.key[0], SweepLine(mark.cells)
    elif marks is None:
        line = SweepLine(cells_from(line.cells, first))
    walked, after = 0, False
    while (entry := track.next(place, line, after=after)) is not None and entry.key < key:
        if day < entry.key[0]:
            line, day = settle(line, day, folding), entry.key[0]
        if marks is not None and walked >= ENTRIES_BETWEEN_MARKS and len(entry.key[1]) == 2:
            walked = 0
            line = SweepLine(cells_from(line.cells, min(first, marks.keep(entry.key, line))))
        line = apply_entry(line, entry, folding)
        place, after, walked = entry.key, True, walked + 1
    line = settle(line, day, folding) if day < key[0] else line
    return SweepLine(cells_from(line.cells, first))
