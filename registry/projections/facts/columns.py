"""The history of facts in the plane (days of the world × days of publication), and what an event changes in it.

A track is swept in the order of the fold. At each place the column holds the state for every publication day, as cells:
a cell is the state on the days from its own first day to that of the next cell. An entry changes the cells of the days
on which it is known. To find what an event changes, the sweep begins at the event and follows the old and the new
column side by side. It leaves the publication days on which both are equal, because what comes after is the same in
both, and it passes over entries that change no state. So the work depends on what changes, not on how long the history
is or in which order it arrived.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Struct

from registry.domain.fold import FoldKey
from registry.projections.facts.entries import END_OF_TIME, Entry, EntryList, Piece
from registry.projections.facts.tables import FactKey, Values

# After so many entries a column is kept, with so many cells, so that a sweep begins near the first difference.
ENTRIES_BETWEEN_MARKS = 8
CELLS_OF_A_MARK = 32

ONE_DAY = timedelta(days=1)

Run: TypeAlias = tuple[date, date, Values]
"""A value that a fact has in [from, to) of the world: a maximal interval, so that runs are a canonical form."""


class KnownRun(Struct, frozen=True, order=True):
    """The publication days [known_from, known_to) on which a run is the same, for the log as it is now."""

    known_from: date
    known_to: date


Planes: TypeAlias = dict[FactKey, dict[Run, list[KnownRun]]]
"""The runs of facts, each with the publication days on which it is known."""

Effects: TypeAlias = dict[FoldKey, list[Piece]]
"""What entries do to the stage, on which publication days."""


class Folding(Struct, frozen=True, kw_only=True):
    """How the entries of a track are folded.

    Attributes:
        initial: The state before the first entry.
        apply: The state after an action, and what the action does to the deal's stage (None: nothing).
        facts: The facts of a state.
        kind: The kind of an entry, by which a state may absorb it; None for one that no state absorbs.
        absorbs: Whether no entry of a kind changes a state.
    """

    initial: Any
    apply: Callable[[Any, Any], tuple[Any, Any]]
    facts: Callable[[Any], Mapping[FactKey, Values]]
    kind: Callable[[Entry], Hashable] | None = None
    absorbs: Callable[[Any, Any], bool] = lambda _state, _kind: False


class Cell(Struct, frozen=True):
    """The state on the publication days from `known_from` on.

    `open` has the values of the facts as of the day before, each with the day since when; they are those of `settled`.
    """

    known_from: date
    state: Any
    open: dict[FactKey, tuple[date, Values]]
    settled: Any


class Column(Struct, frozen=True):
    """The cells of the publication days before `end`."""

    cells: list[Cell]
    end: date = END_OF_TIME

    def end_of(self, index: int) -> date:
        """The day before which a cell ends."""
        return self.cells[index + 1].known_from if index + 1 < len(self.cells) else self.end


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


_known_from = attrgetter("known_from")
_place = attrgetter("key")


class Track:
    """The history of facts that depend on each other: its entries in the order of the fold."""

    def __init__(self, folding: Folding) -> None:
        self.folding = folding
        # The entries of each kind.
        self._entries: dict[Hashable, EntryList] = {}
        self._marks: list[_Mark] = []

    def entries(self) -> list[Entry]:
        """All entries in the order of the fold."""
        return sorted((entry for entries in self._entries.values() for entry in entries), key=_place)

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        kind = self.folding.kind(entry) if self.folding.kind is not None else None
        self._entries.setdefault(kind, EntryList()).add(entry)

    def get(self, key: FoldKey) -> Entry | None:
        """The entry at a place."""
        return next((found for entries in self._entries.values() if (found := entries.get(key)) is not None), None)

    def remove(self, key: FoldKey) -> None:
        """Remove the entry at a place."""
        for entries in self._entries.values():
            if entries.get(key) is not None:
                entries.remove(key)
        self._marks = [mark for mark in self._marks if mark.key != key]

    def forget_columns(self) -> None:
        """Drop the kept columns, because other entries than those of one event have changed."""
        self._marks.clear()

    def next(self, place: FoldKey, *columns: Column, after: bool) -> Entry | None:
        """The first entry at or after a place that changes a state of one of these columns."""
        best: Entry | None = None
        for kind, entries in self._entries.items():
            entry = entries.next(place, max(column.end for column in columns), after=after)
            if entry is None or (best is not None and best.key < entry.key):
                continue
            if kind is not None:
                known_before = max(self._absorbed_from(column, kind) for column in columns)
                entry = entries.next(place, known_before, after=after)
            if entry is not None and (best is None or entry.key < best.key):
                best = entry
        return best

    def _absorbed_from(self, column: Column, kind: Hashable) -> date:
        """The publication day from which on all cells absorb entries of a kind."""
        for index in range(len(column.cells) - 1, -1, -1):
            if not self.folding.absorbs(column.cells[index].state, kind):
                return column.end_of(index)
        return date.min

    def column_before(self, key: FoldKey, first: date) -> Column:
        """The column before a place, settled up to its day, of the publication days from `first` on."""
        number = bisect_left(self._marks, key, key=_place)
        if number < len(self._marks) and self._marks[number].key == key and self._marks[number].first <= first:
            return Column(_cells_from(self._marks[number].cells, first))
        while number and self._marks[number - 1].first > first:
            number -= 1
        day = date.min
        place: FoldKey = (date.min, ())
        column = Column([Cell(date.min, self.folding.initial, {}, self.folding.initial)])
        if number:
            place, column = self._marks[number - 1].key, Column(self._marks[number - 1].cells)
            day = place[0]
        elif self.folding.kind is not None:
            column = Column(_cells_from(column.cells, first))
        walked, after = 0, False
        while (entry := self.next(place, column, after=after)) is not None and entry.key < key:
            if day < entry.key[0]:
                column, day = settle(column, day, self.folding), entry.key[0]
            # A claim depends on the entry before it, which it is about: no sweep begins between them.
            if self.folding.kind is None and walked >= ENTRIES_BETWEEN_MARKS and len(entry.key[1]) == 2:
                walked = 0
                mark = _Mark(entry.key, column.cells[0].known_from, [])
                mark.replace(column.cells)
                self._keep(mark)
                column = Column(_cells_from(column.cells, min(first, mark.first)))
            column = act(column, entry, self.folding)
            place, after, walked = entry.key, True, walked + 1
        column = settle(column, day, self.folding) if day < key[0] else column
        return Column(_cells_from(column.cells, first))

    def _keep(self, mark: _Mark) -> None:
        index = bisect_left(self._marks, mark.key, key=_place)
        if index < len(self._marks) and self._marks[index].key == mark.key:
            self._marks[index] = mark
        else:
            self._marks.insert(index, mark)

    def replace_marks(self, place: FoldKey, until: FoldKey | None, column: Column, day: date) -> None:
        """Replace the kept columns after a place up to another one by a column, on its publication days."""
        for index in range(bisect_left(self._marks, place, key=_place), len(self._marks)):
            mark = self._marks[index]
            if mark.key == place:
                continue
            if until is not None and mark.key > until:
                break
            if column.end > mark.first:
                settled = settle(column, day, self.folding) if day < mark.key[0] else column
                mark.replace(_spliced(mark.cells, settled, mark.first))

    def planes(self) -> Planes:
        """All runs of the facts."""
        planes: Planes = {}
        day, column = date.min, Column([Cell(date.min, self.folding.initial, {}, self.folding.initial)])
        for entry in self.entries():
            if day < entry.key[0]:
                column, day = settle(column, day, self.folding, planes), entry.key[0]
            column = act(column, entry, self.folding)
        _finish(settle(column, day, self.folding, planes), planes)
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
    changed = sorted([*removed, *added], key=_place)
    known = min(entry.known_from for entry in changed)
    # With the day before, so that a run that now goes on from there is found.
    first = known - ONE_DAY if known > date.min else known
    found = Difference(first, {}, {}, {}, {})
    only_new, taken = {entry.key for entry in added}, sorted(removed, key=_place, reverse=True)
    place, last, after = changed[0].key, changed[-1].key, False
    day = place[0]
    old = new = track.column_before(place, first)
    while (entry := _next(track, place, old, new, taken, after=after)) is not None:
        is_removed = bool(taken) and entry is taken[-1]
        if day < entry.key[0]:
            track.replace_marks(place, (entry.key[0], ()), new, day)
            old, new = settle(old, day, track.folding, found.old), settle(new, day, track.folding, found.new)
            day = entry.key[0]
        if entry.key > last and len(entry.key[1]) == 2:
            narrowed = _different(old, new)
            if narrowed is None:
                return found
            if narrowed[0].end < old.end:
                old, new = narrowed
                continue
        track.replace_marks(place, entry.key, new, day)
        if is_removed:
            taken.pop()
        else:
            new = act(new, entry, track.folding, found.new_effects)
        if is_removed or entry.key not in only_new:
            old = act(old, entry, track.folding, found.old_effects)
        # The entry that replaces a removed one may be at its place.
        place, after = entry.key, not is_removed
    track.replace_marks(place, None, new, day)
    _finish(settle(old, day, track.folding, found.old), found.old)
    _finish(settle(new, day, track.folding, found.new), found.new)
    return found


def _next(
    track: Track, place: FoldKey, old: Column, new: Column, removed: Sequence[Entry], *, after: bool
) -> Entry | None:
    """The next entry that changes one of the columns, or that was removed."""
    entry = track.next(place, old, new, after=after)
    return removed[-1] if removed and (entry is None or removed[-1].key <= entry.key) else entry


def _different(old: Column, new: Column) -> tuple[Column, Column] | None:
    """The columns without the last publication days, on which they are equal; None if they are equal on all.

    The first of these days stays, so that a run that now begins earlier, and was known there, is found.
    """
    equal_from = old.end
    for day in sorted({cell.known_from for column in (old, new) for cell in column.cells}, reverse=True):
        if not _equal(_cell_on(old, day), _cell_on(new, day)):
            break
        equal_from = day
    else:
        return None
    if equal_from >= old.end - ONE_DAY:
        return old, new
    end = equal_from + ONE_DAY
    return (
        Column([cell for cell in old.cells if cell.known_from < end], end),
        Column([cell for cell in new.cells if cell.known_from < end], end),
    )


def act(column: Column, entry: Entry, folding: Folding, effects: Effects | None = None) -> Column:
    """The column after an entry."""
    for known_from, known_to, action in entry.pieces:
        cells: list[Cell] = []
        for index, cell in enumerate(column.cells):
            end = column.end_of(index)
            start, stop = max(cell.known_from, known_from), min(end, known_to)
            if start >= stop:
                cells.append(cell)
                continue
            if cell.known_from < start:
                cells.append(cell)
            state, effect = folding.apply(cell.state, action)
            cells.append(Cell(start, state, cell.open, cell.settled))
            if stop < end:
                cells.append(Cell(stop, cell.state, cell.open, cell.settled))
            if effect is not None and effects is not None:
                effects.setdefault(entry.key, []).append((start, stop, effect))
        column = Column(cells, column.end)
    return column


def settle(column: Column, day: date, folding: Folding, planes: Planes | None = None) -> Column:
    """The column at the end of a day. The runs that ended on that day are added to `planes`."""
    cells: list[Cell] = []
    for index, cell in enumerate(column.cells):
        if cell.state is not cell.settled:
            now = folding.facts(cell.state)
            opened = {key: (day, values) for key, values in now.items()}
            for key, (since, values) in cell.open.items():
                if key in now and now[key] == values:
                    opened[key] = (since, values)
                elif planes is not None:
                    _add(planes, key, (since, day, values), KnownRun(cell.known_from, column.end_of(index)))
            cell = Cell(cell.known_from, cell.state, opened, cell.state)
        cells.append(cell)
    return Column(_joined(cells), column.end)


def _finish(column: Column, planes: Planes) -> None:
    """Add the runs that have not ended to `planes`."""
    for index, cell in enumerate(column.cells):
        for key, (since, values) in cell.open.items():
            _add(planes, key, (since, END_OF_TIME, values), KnownRun(cell.known_from, column.end_of(index)))


def _add(planes: Planes, key: FactKey, run: Run, known: KnownRun) -> None:
    """Add a run's days to the planes; the days of a run come in order, and those that touch are one interval."""
    days = planes.setdefault(key, {}).setdefault(run, [])
    if days and days[-1].known_to == known.known_from:
        known = KnownRun(days.pop().known_from, known.known_to)
    days.append(known)


# --- cells ------------------------------------------------------------------------------------------------------------


def _cell_on(column: Column, day: date) -> Cell:
    return column.cells[max(0, bisect_left(column.cells, day + ONE_DAY, key=_known_from) - 1)]


def _cells_from(cells: list[Cell], first: date) -> list[Cell]:
    """The cells of the publication days from `first` on."""
    index = max(0, bisect_left(cells, first + ONE_DAY, key=_known_from) - 1)
    cell = cells[index]
    return [Cell(max(first, cell.known_from), cell.state, cell.open, cell.settled), *cells[index + 1 :]]


def _spliced(cells: list[Cell], column: Column, first: date) -> list[Cell]:
    """Cells with those of a column on its publication days from `first` on."""
    start = max(first, column.cells[0].known_from)
    below = [cell for cell in cells if cell.known_from < start]
    above = _cells_from(cells, column.end) if column.end < END_OF_TIME else []
    return _joined([*below, *_cells_from(column.cells, start), *above])


def _joined(cells: Iterable[Cell]) -> list[Cell]:
    """The cells, equal neighbours as one."""
    joined: list[Cell] = []
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
