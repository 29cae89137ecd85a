"""The rows of fact tables, and the changes of rows that events cause, collected for one batch.

A row is a period of a fact (a value with its effective dates), with an interval on each of the other two axes: the log
positions and the publication days for which it holds. Most deals are published in the order in which they are recorded,
so one row serves both axes. An event opens a row on the axes on which it begins the period; later events end it on each
axis separately. No row is ever deleted, so that a copy finds every change of a deal by `changed_at`; on an axis on
which a row no longer holds, its interval is empty.

Nothing is read from the database: the changes follow from the streams. A change finds its row by the date since which
the period holds, and either because the row is open on the recorded axis, or by a publication day on which it is known.
So a rebuild, which applies the events of a stream one by one in memory, makes the rows that the recorder's batches
made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TypeAlias

from msgspec import Struct

from registry.projections.facts.sweep_line import END_OF_TIME, EffectivePeriod, PublishedInterval, Rectangles
from registry.projections.facts.tables import FactTable, Ids, RowKey, Values
from registry.projections.point import END_OF_LOG

Moved: TypeAlias = tuple[date, date, date | None, date | None]
"""A period that is known on other publication days: the date since which it holds, a day on which it was known, and the
first day on which it is known and the day after the last (None: unchanged)."""


class FactChange(Struct, gc=False):
    """What an event changes in one fact.

    Attributes:
        closed: The days since which the periods hold that end on the recorded axis.
        moved: The periods on the published axis that are known on other days than before.
        opened: The periods that begin on the recorded axis, each with publication days on which it is known.
        known: The periods that begin on the published axis alone, with the days on which they are known.
    """

    closed: Sequence[date]
    moved: Sequence[Moved]
    opened: list[tuple[EffectivePeriod, PublishedInterval]]
    known: Sequence[tuple[EffectivePeriod, PublishedInterval]] = ()


class FactRow(Struct, gc=False):
    """A version of a fact. `ordinal` numbers the rows that one event opened for one fact and one day."""

    ids: Ids
    effective_from: date
    effective_to: date
    recorded_from: int
    recorded_to: int
    ordinal: int
    published_from: date
    published_to: date
    changed_at: int
    values: Values


class RowChange(Struct, gc=False):
    """A change of a row that an earlier batch wrote.

    The row holds from `effective_from` on. It is the one that is open on the recorded axis and ends there, if
    `recorded_to` is given; otherwise the one that is known on the day `known`, which gets other publication days.
    """

    ids: Ids
    effective_from: date
    changed_at: int
    recorded_to: int | None
    known: date | None
    published_from: date | None
    published_to: date | None


class ChangedFact(Struct):
    """What a batch changes in one fact.

    `rows` are those that it opens, by the day from which they hold. `moved` has the days from which the earlier rows
    hold that are known on other publication days.
    """

    rows: dict[date, list[FactRow]]
    moved: set[date]


class Round(Struct):
    """What one statement writes of a deal: its facts, those with rows by table, and the changes of earlier rows."""

    facts: dict[RowKey, ChangedFact]
    tables: dict[FactTable, list[ChangedFact]]
    changes: dict[FactTable, list[RowChange]]


class DealRows:
    """The changes of one deal's rows in a batch.

    `rounds` are statements: a row of an earlier batch that changes twice on the published axis needs two of them,
    because a change finds its row as it was before the statement.
    """

    def __init__(self, deal: str) -> None:
        self.deal = deal
        self.rounds = [Round({}, {}, {})]

    def apply(self, key: RowKey, position: int, change: FactChange) -> None:
        """Add what the event at a position changes in a fact."""
        fact = self._fact(key)
        moved = change.moved
        # Found before any of them changes: one may then be known on a day on which another was.
        found = [self._row_known(fact, since, day) for since, day, _, _ in moved]
        if any(row is None and since in fact.moved for row, (since, _, _, _) in zip(found, moved, strict=True)):
            self.rounds.append(Round({}, {}, {}))
            fact, found = self._fact(key), [None] * len(moved)
        for since in change.closed:
            row = next((r for r in fact.rows.get(since, ()) if r.recorded_to == END_OF_LOG), None)
            if row is not None:
                row.recorded_to, row.changed_at = position, position
            else:
                self._change(key, RowChange(key[1], since, position, position, None, None, None))
        for row, (since, day, first, last) in zip(found, moved, strict=True):
            if row is not None:
                row.published_from = row.published_from if first is None else first
                row.published_to = max(row.published_from, row.published_to if last is None else last)
                row.changed_at = position
            else:
                self._change(key, RowChange(key[1], since, position, None, day, first, last))
        fact.moved.update(since for since, _, _, _ in moved)
        for period, days in change.opened:
            fact.rows.setdefault(period[0], []).append(_row(key, period, position, END_OF_LOG, 0, days))
        ordinals: dict[date, int] = defaultdict(int)
        for period, days in change.known:
            ordinals[period[0]] += 1
            fact.rows.setdefault(period[0], []).append(_row(key, period, position, position, ordinals[period[0]], days))

    def _fact(self, key: RowKey) -> ChangedFact:
        last = self.rounds[-1]
        fact = last.facts.get(key)
        if fact is None:
            fact = last.facts[key] = ChangedFact({}, set())
            last.tables.setdefault(key[0], []).append(fact)
        return fact

    def _change(self, key: RowKey, change: RowChange) -> None:
        self.rounds[-1].changes.setdefault(key[0], []).append(change)

    @staticmethod
    def _row_known(fact: ChangedFact, since: date, day: date) -> FactRow | None:
        return next((r for r in fact.rows.get(since, ()) if r.published_from <= day < r.published_to), None)


def _row(
    key: RowKey, period: EffectivePeriod, opened: int, recorded_to: int, ordinal: int, known: PublishedInterval
) -> FactRow:
    since, until, values = period
    return FactRow(
        key[1], since, until, opened, recorded_to, ordinal, known.published_from, known.published_to, opened, values
    )


def changes_between(old: Rectangles, new: Rectangles, published_on: date) -> dict[RowKey, FactChange]:
    """What changes the rows of each fact from the periods `old` to `new`.

    On the last day there is, all that is published is known: its periods are those of the recorded axis. A row is
    opened for both axes where the same period begins on both; a period that begins on the recorded axis alone is known
    on no day, written as an empty interval at `published_on`, the event's.
    """
    changes: dict[RowKey, FactChange] = {}
    for key in {**old, **new}:
        was, now = _flat(old.get(key, {})), _flat(new.get(key, {}))
        moved, begins = _known_delta(was, now)
        if not moved and not begins:
            continue
        was_recorded = {period for period, days in was if days.published_to == END_OF_TIME}
        is_recorded = {period for period, days in now if days.published_to == END_OF_TIME}
        known: dict[EffectivePeriod, list[PublishedInterval]] = defaultdict(list)
        for period, days in begins:
            known[period].append(days)
        nowhere = PublishedInterval(published_on, published_on)
        opened = [
            (period, known[period].pop(0) if known.get(period) else nowhere) for period in is_recorded - was_recorded
        ]
        changes[key] = FactChange(
            [since for since, _, _ in was_recorded - is_recorded],
            moved,
            opened,
            [(period, days) for period, intervals in known.items() for days in intervals],
        )
    return changes


def _flat(
    periods: Mapping[EffectivePeriod, Sequence[PublishedInterval]],
) -> list[tuple[EffectivePeriod, PublishedInterval]]:
    return [(period, days) for period, intervals in periods.items() for days in intervals]


def _known_delta(
    old: Iterable[tuple[EffectivePeriod, PublishedInterval]], new: Iterable[tuple[EffectivePeriod, PublishedInterval]]
) -> tuple[list[Moved], list[tuple[EffectivePeriod, PublishedInterval]]]:
    """What changes the rows of one fact on the published axis from `old` to `new`.

    A period that was known on other days keeps its row if it is known on some of them, or directly before or after.

    Returns:
        The periods that are known on other days than before, and those that begin.
    """
    was, now = set(old), set(new)
    begins = sorted(now - was, key=_order)
    moved: list[Moved] = []
    for period, days in sorted(was - now, key=_order):
        same = next((b for b in begins if b[0] == period and _touches(b[1], days)), None)
        if same is None:
            moved.append((period[0], days.published_from, None, days.published_from))
        else:
            begins.remove(same)
            first = None if same[1].published_from == days.published_from else same[1].published_from
            last = None if same[1].published_to == days.published_to else same[1].published_to
            moved.append((period[0], days.published_from, first, last))
    return moved, begins


def _order(known: tuple[EffectivePeriod, PublishedInterval]) -> tuple[date, date, PublishedInterval]:
    return *known[0][:2], known[1]


def _touches(one: PublishedInterval, two: PublishedInterval) -> bool:
    return one.published_from <= two.published_to and two.published_from <= one.published_to
