"""The history of facts in the plane (days of the world × days of publication), and what an event changes in it.

A track is swept in the order of the fold. At each place the column holds the state for every publication day, as cells:
a cell is the state on the days from its own first day to that of the next cell. An entry changes the cells of the days
on which it is known. To find what an event changes, the sweep begins at the event, follows the old and the new column
side by side, and stops where they are equal: what comes after is the same in both. It looks only at publication days
that the event can change. So the work depends on what changes, not on the length of the history.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

from msgspec import Struct

from registry.domain.fold import FoldKey
from registry.projections.facts.tables import FactKey, Values

# "Unbounded": after every day.
END_OF_TIME = date.max

# A column is kept after about so many entries, so that a sweep begins near the first difference.
ENTRIES_BETWEEN_MARKS = 16

Run: TypeAlias = tuple[date, date, Values]
"""A value that a fact has in [from, to) of the world: a maximal interval, so that runs are a canonical form."""


class KnownRun(Struct, frozen=True, order=True):
    """The publication days [known_from, known_to) on which a run is the same, for the log as it is now."""

    known_from: date
    known_to: date


Piece: TypeAlias = tuple[date, date, Any]
"""An action, and the publication days [from, to) on which it is known."""

Facts: TypeAlias = Callable[[Any], Mapping[FactKey, Values]]

Apply: TypeAlias = Callable[[Any, Any], tuple[Any, Any]]
"""The state after an action, and what the action does to the deal's stage (None: nothing)."""

Effects: TypeAlias = dict[FoldKey, list[Piece]]
"""What entries do to the stage, on which publication days."""

Planes: TypeAlias = dict[FactKey, dict[Run, list[KnownRun]]]
"""The runs of facts, each with the publication days on which it is known."""


class Entry(Struct, frozen=True, gc=False):
    """A place in the fold, and what is done there on which publication days."""

    key: FoldKey
    pieces: tuple[Piece, ...]


class Cell(Struct, frozen=True):
    """The state on the publication days from `known_from` on.

    `open` has the values of the facts as of the day before, each with the day since when; they are those of `settled`.
    """

    known_from: date
    state: Any
    open: dict[FactKey, tuple[date, Values]]
    settled: Any


Column: TypeAlias = list[Cell]

_key = attrgetter("key")
_place = itemgetter(0)


class Track:
    """The history of facts that depend on each other: its entries in the order of the fold."""

    def __init__(self, initial: Any, apply: Apply, facts: Facts) -> None:
        self.initial = initial
        self.apply = apply
        self.facts = facts
        self.entries: list[Entry] = []
        # Columns before an entry, each with the entry's key.
        self._marks: list[tuple[FoldKey, Column]] = []

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        insort(self.entries, entry, key=_key)

    def get(self, key: FoldKey) -> Entry | None:
        """The entry at a place."""
        index = bisect_left(self.entries, key, key=_key)
        return self.entries[index] if index < len(self.entries) and self.entries[index].key == key else None

    def remove(self, entry: Entry) -> None:
        """Remove an entry."""
        del self.entries[bisect_left(self.entries, entry.key, key=_key)]
        index = bisect_left(self._marks, entry.key, key=_place)
        if index < len(self._marks) and self._marks[index][0] == entry.key:
            del self._marks[index]

    def forget_columns(self) -> None:
        """Drop the kept columns, because other entries than those of one event have changed."""
        self._marks.clear()

    def column_before(self, key: FoldKey) -> Column:
        """The column before a place, settled up to its day."""
        number = bisect_left(self._marks, key, key=_place)
        if number < len(self._marks) and self._marks[number][0] == key:
            return self._marks[number][1]
        start, day, column = 0, date.min, [Cell(date.min, self.initial, {}, self.initial)]
        if number:
            (day, _), column = self._marks[number - 1]
            start = bisect_left(self.entries, self._marks[number - 1][0], key=_key)
        marks: list[tuple[FoldKey, Column]] = []
        for index in range(start, bisect_left(self.entries, key, key=_key)):
            entry = self.entries[index]
            if day < entry.key[0]:
                column, day = settle(column, day, self.facts), entry.key[0]
            # A claim depends on the entry before it, which it is about: no sweep begins between them.
            if index - start >= ENTRIES_BETWEEN_MARKS * (len(marks) + 1) and len(entry.key[1]) == 2:
                marks.append((entry.key, column))
            column = act(column, entry, self.apply)
        self._marks[number:number] = marks
        return settle(column, day, self.facts) if day < key[0] else column

    def replace_mark(self, key: FoldKey, first: date, column: Column) -> None:
        """Replace the kept column before a place, if there is one, for the publication days from `first` on."""
        index = bisect_left(self._marks, key, key=_place)
        if index < len(self._marks) and self._marks[index][0] == key:
            below = [cell for cell in self._marks[index][1] if cell.known_from < first]
            self._marks[index] = (key, _joined([*below, *column]))

    def planes(self) -> Planes:
        """All runs of the facts."""
        planes: Planes = {}
        day, column = date.min, [Cell(date.min, self.initial, {}, self.initial)]
        for entry in self.entries:
            if day < entry.key[0]:
                column, day = settle(column, day, self.facts, planes), entry.key[0]
            column = act(column, entry, self.apply)
        _finish(settle(column, day, self.facts, planes), planes)
        return planes


class Difference(Struct):
    """What changes in the facts of a track, on the publication days from `first` on.

    Attributes:
        first: The first of these days.
        old: The runs that were swept, as they were.
        new: The runs as they are.
        old_effects: What the swept entries did to the stage.
        new_effects: What they do.
    """

    first: date
    old: Planes
    new: Planes
    old_effects: Effects
    new_effects: Effects


def difference(track: Track, removed: Sequence[Entry], added: Sequence[Entry]) -> Difference:
    """What changed in a track from which the entries `removed` were taken, and to which `added` were added."""
    changed = sorted([*removed, *added], key=_key)
    known = min(piece[0] for entry in changed for piece in entry.pieces)
    # With the day before, so that a run that now goes on from there is found.
    first = known - timedelta(days=1) if known > date.min else known
    found = Difference(first, {}, {}, {}, {})
    start, last = changed[0].key, changed[-1].key
    only_new = {entry.key for entry in added}
    day = start[0]
    old = new = _from(track.column_before(start), first)
    for entry, is_removed in _with_removed(track, start, removed):
        if day < entry.key[0]:
            old, new = settle(old, day, track.facts, found.old), settle(new, day, track.facts, found.new)
            day = entry.key[0]
        if entry.key > last and _same(old, new):
            return found
        if not is_removed:
            track.replace_mark(entry.key, first, new)
            new = act(new, entry, track.apply, found.new_effects)
        if is_removed or entry.key not in only_new:
            old = act(old, entry, track.apply, found.old_effects)
    _finish(settle(old, day, track.facts, found.old), found.old)
    _finish(settle(new, day, track.facts, found.new), found.new)
    return found


def _with_removed(track: Track, start: FoldKey, removed: Sequence[Entry]) -> Iterator[tuple[Entry, bool]]:
    """The entries of a track from a place on, with the removed ones at their places."""
    taken = sorted(removed, key=_key, reverse=True)
    for index in range(bisect_left(track.entries, start, key=_key), len(track.entries)):
        entry = track.entries[index]
        while taken and taken[-1].key <= entry.key:
            yield taken.pop(), True
        yield entry, False
    while taken:
        yield taken.pop(), True


def act(column: Column, entry: Entry, apply: Apply, effects: Effects | None = None) -> Column:
    """The column after an entry."""
    for known_from, known_to, action in entry.pieces:
        cells: Column = []
        for index, cell in enumerate(column):
            end = column[index + 1].known_from if index + 1 < len(column) else END_OF_TIME
            start, stop = max(cell.known_from, known_from), min(end, known_to)
            if start >= stop:
                cells.append(cell)
                continue
            if cell.known_from < start:
                cells.append(cell)
            state, effect = apply(cell.state, action)
            cells.append(Cell(start, state, cell.open, cell.settled))
            if stop < end:
                cells.append(Cell(stop, cell.state, cell.open, cell.settled))
            if effect is not None and effects is not None:
                effects.setdefault(entry.key, []).append((start, stop, effect))
        column = cells
    return column


def settle(column: Column, day: date, facts: Facts, planes: Planes | None = None) -> Column:
    """The column at the end of a day. The runs that ended on that day are added to `planes`."""
    cells: Column = []
    for index, cell in enumerate(column):
        if cell.state is not cell.settled:
            now = facts(cell.state)
            opened = {key: (day, values) for key, values in now.items()}
            for key, (since, values) in cell.open.items():
                if key in now and now[key] == values:
                    opened[key] = (since, values)
                elif planes is not None:
                    end = column[index + 1].known_from if index + 1 < len(column) else END_OF_TIME
                    _add(planes, key, (since, day, values), KnownRun(cell.known_from, end))
            cell = Cell(cell.known_from, cell.state, opened, cell.state)
        cells.append(cell)
    return _joined(cells)


def _finish(column: Column, planes: Planes) -> None:
    """Add the runs that have not ended to `planes`."""
    for index, cell in enumerate(column):
        end = column[index + 1].known_from if index + 1 < len(column) else END_OF_TIME
        for key, (since, values) in cell.open.items():
            _add(planes, key, (since, END_OF_TIME, values), KnownRun(cell.known_from, end))


def _add(planes: Planes, key: FactKey, run: Run, known: KnownRun) -> None:
    """Add a run's days to the planes; the days of a run come in order, and those that touch are one interval."""
    days = planes.setdefault(key, {}).setdefault(run, [])
    if days and days[-1].known_to == known.known_from:
        known = KnownRun(days.pop().known_from, known.known_to)
    days.append(known)


def _from(column: Column, first: date) -> Column:
    """A column's cells on the publication days from `first` on."""
    index = max(i for i, cell in enumerate(column) if cell.known_from <= first)
    cell = column[index]
    return [Cell(first, cell.state, cell.open, cell.settled), *column[index + 1 :]]


def _joined(cells: Iterable[Cell]) -> Column:
    """The cells, equal neighbours as one."""
    joined: Column = []
    for cell in cells:
        if not joined or not _equal(joined[-1], cell):
            joined.append(cell)
    return joined


def _equal(one: Cell, two: Cell) -> bool:
    return (
        (one.state is two.state or one.state == two.state)
        and (one.settled is two.settled or one.settled == two.settled)
        and (one.open is two.open or one.open == two.open)
    )


def _same(old: Column, new: Column) -> bool:
    return len(old) == len(new) and all(
        one.known_from == two.known_from and _equal(one, two) for one, two in zip(old, new, strict=True)
    )
