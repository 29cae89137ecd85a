"""The sweep line: the state of some facts at one place of the fold, for every publication day.

A fact has a value at each point of a plane, the days of the world × the days of publication. A sweep moves a line over
the plane along the days of the world (the sweep line algorithm). The line is a list of cells: a cell is the state on
the publication days from its own first day to that of the next cell. An entry of the fold changes the cells of the days
on which it is known. At the end of each day of the world the line is settled: the runs of the facts that ended on that
day are complete.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec import Struct

from registry.domain.fold import FoldKey
from registry.projections.facts.tables import RowKey, Values

# "Unbounded": after every day.
END_OF_TIME = date.max

ONE_DAY = timedelta(days=1)

Piece: TypeAlias = tuple[date, date, Any]
"""An action, and the publication days [from, to) on which it is known."""

Run: TypeAlias = tuple[date, date, Values]
"""A value that a fact has in [from, to) of the world: a maximal interval, so that runs are a canonical form."""


class TrackEntry(Struct, frozen=True, gc=False):
    """A place in the fold, and what is done there on which publication days, the first of which is `known_from`."""

    key: FoldKey
    pieces: tuple[Piece, ...]
    known_from: date


class KnownRun(Struct, frozen=True, order=True):
    """The publication days [known_from, known_to) on which a run is the same, for the log as it is now."""

    known_from: date
    known_to: date


Planes: TypeAlias = dict[RowKey, dict[Run, list[KnownRun]]]
"""The runs of facts, each with the publication days on which it is known."""

Effects: TypeAlias = dict[FoldKey, list[Piece]]
"""What entries do to the stage, on which publication days."""


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


class Cell(Struct, frozen=True):
    """The state on the publication days from `known_from` on.

    `open` has the values of the facts as of the day before, each with the day since when; they are those of `settled`.
    """

    known_from: date
    state: Any
    open: dict[RowKey, tuple[date, Values]]
    settled: Any


class SweepLine(Struct, frozen=True):
    """The cells of the publication days before `end`."""

    cells: list[Cell]
    end: date = END_OF_TIME

    def end_of(self, index: int) -> date:
        """The day before which a cell ends."""
        return self.cells[index + 1].known_from if index + 1 < len(self.cells) else self.end


_known_from = attrgetter("known_from")


def apply_entry(line: SweepLine, entry: TrackEntry, folding: Folding, effects: Effects | None = None) -> SweepLine:
    """The line after an entry."""
    for known_from, known_to, action in entry.pieces:
        first = _index(line.cells, known_from)
        cells = line.cells[:first]
        for index in range(first, len(line.cells)):
            cell, end = line.cells[index], line.end_of(index)
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
        line = SweepLine(cells, line.end)
    return line


def settle(line: SweepLine, day: date, folding: Folding, planes: Planes | None = None) -> SweepLine:
    """The line at the end of a day. The runs that ended on that day are added to `planes`."""
    cells: list[Cell] = []
    was_changed = False
    for index, cell in enumerate(line.cells):
        is_changed = cell.state is not cell.settled
        if is_changed:
            now = folding.facts(cell.state)
            opened = {key: (day, values) for key, values in now.items()}
            for key, (since, values) in cell.open.items():
                if key in now and now[key] == values:
                    opened[key] = (since, values)
                elif planes is not None:
                    _add(planes, key, (since, day, values), KnownRun(cell.known_from, line.end_of(index)))
            cell = Cell(cell.known_from, cell.state, opened, cell.state)
        # Neighbours that have not changed were compared before.
        if cells and (is_changed or was_changed) and _equal(cells[-1], cell):
            was_changed = True
            continue
        cells.append(cell)
        was_changed = is_changed
    return SweepLine(cells, line.end)


def finish(line: SweepLine, planes: Planes) -> None:
    """Add the runs that have not ended to `planes`."""
    for index, cell in enumerate(line.cells):
        for key, (since, values) in cell.open.items():
            _add(planes, key, (since, END_OF_TIME, values), KnownRun(cell.known_from, line.end_of(index)))


def _add(planes: Planes, key: RowKey, run: Run, known: KnownRun) -> None:
    """Add a run's days to the planes; the days of a run come in order, and those that touch are one interval."""
    days = planes.setdefault(key, {}).setdefault(run, [])
    if days and days[-1].known_to == known.known_from:
        known = KnownRun(days.pop().known_from, known.known_to)
    days.append(known)


# --- cells ------------------------------------------------------------------------------------------------------------


def cells_from(cells: list[Cell], first: date) -> list[Cell]:
    """The cells of the publication days from `first` on."""
    index = _index(cells, first)
    cell = cells[index]
    if first <= cell.known_from:
        return cells[index:] if index else cells
    return [Cell(first, cell.state, cell.open, cell.settled), *cells[index + 1 :]]


def splice(cells: list[Cell], line: SweepLine, first: date) -> list[Cell]:
    """Cells with those of a line on its publication days from `first` on."""
    start = max(first, line.cells[0].known_from)
    below = cells[: bisect_left(cells, start, key=_known_from)]
    above = cells_from(cells, line.end) if line.end < END_OF_TIME else []
    return _append(_append(below, cells_from(line.cells, start)), above)


def differing(old: SweepLine, new: SweepLine) -> tuple[SweepLine, SweepLine] | None:
    """The lines without the last publication days, on which they are equal; None if they are equal on all.

    The first of these days stays, so that a run that now begins earlier, and was known there, is found.
    """
    equal_from = old.end
    for day in sorted({cell.known_from for line in (old, new) for cell in line.cells}, reverse=True):
        if not _equal(old.cells[_index(old.cells, day)], new.cells[_index(new.cells, day)]):
            break
        equal_from = day
    else:
        return None
    if equal_from >= old.end - ONE_DAY:
        return old, new
    end = equal_from + ONE_DAY
    return (
        SweepLine([cell for cell in old.cells if cell.known_from < end], end),
        SweepLine([cell for cell in new.cells if cell.known_from < end], end),
    )


def _index(cells: list[Cell], day: date) -> int:
    """The index of the cell of a publication day, of the first cell for days before it."""
    return max(0, bisect_right(cells, day, key=_known_from) - 1) if len(cells) > 1 else 0


def _append(cells: list[Cell], more: list[Cell]) -> list[Cell]:
    """Two lists of cells without equal neighbours, as one such list."""
    return [*cells, *(more[1:] if cells and more and _equal(cells[-1], more[0]) else more)]


def _equal(one: Cell, two: Cell) -> bool:
    return (
        (one.state is two.state or one.state == two.state)
        and (one.settled is two.settled or one.settled == two.settled)
        and (one.open is two.open or one.open == two.open)
    )
