"""The history of one fact: the events that touch it, and its value after each of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from msgspec import Struct

from registry.domain.fold.facts import FactValue
from registry.domain.fold.order import END_OF_DAY, FoldKey, OrderedEvent
from registry.domain.fold.sorted_map import SortedMap


class FactHistory(Struct, frozen=True, gc=False):
    """The history of a fact.

    Attributes:
        base: The value before all events.
        values: The events that may change the fact, and its value after each of them.
        readers: The events for which the fact must exist.
    """

    base: FactValue = ()
    values: SortedMap[FoldKey, tuple[OrderedEvent, FactValue]] = SortedMap()
    readers: SortedMap[FoldKey, OrderedEvent] = SortedMap()

    def before(self, key: FoldKey) -> FactValue:
        """The value before the event at a place."""
        found = self.values.last_before(key)
        return found[1][1] if found else self.base

    def after(self, key: FoldKey) -> FactValue:
        """The value after the event at a place."""
        found = self.values.get(key)
        return found[1] if found else self.before(key)

    def last(self) -> FactValue:
        """The value after all events."""
        found = self.values.last()
        return found[1][1] if found else self.base

    def latest_first(self) -> Iterator[tuple[OrderedEvent, FactValue]]:
        """The events that may change the fact, the last one first, and its value after each of them."""
        return self.values.values_before((date.max, END_OF_DAY))

    def first_published(self, key: FoldKey, published_before: date, *, after: bool) -> OrderedEvent | None:
        """The first event at a place or later (with `after`: later) that was published before a day."""
        found = self.values.first_published(key, published_before, _publication, after=after)
        return found[1][0] if found else None

    def segments(self) -> list[tuple[date, FactValue]]:
        """Each effective date on which the value changes, with the value at the end of that day."""
        segments: list[tuple[date, FactValue]] = []
        for (day, _), (_, value) in self.values.entries():
            if segments and segments[-1][0] == day:
                segments.pop()
            if value != (segments[-1][1] if segments else self.base):
                segments.append((day, value))
        return segments


def _publication(change: tuple[OrderedEvent, FactValue]) -> date:
    return change[0].applied.published_on
