"""The point in time at which a question looks at the fact tables, and its conditions in SQL."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from msgspec import Struct

from registry.domain.history import AsOf

Axis = Literal["recorded", "published"]

# "Unbounded" on the axis of positions: after every position. The SQL of tables has the number itself.
END_OF_LOG = 2**62


class Point(Struct, frozen=True):
    """A point at which all deals are looked at.

    Attributes:
        axis: The axis of knowledge.
        known: What is known on it: the events up to a position, or what was published by a day.
        day: The effective date.
        head: The log's head when the question came: the copy holds the log up to it or beyond.
    """

    axis: Axis
    known: int | date
    day: date
    head: int

    @property
    def position(self) -> int:
        """The log position of the answer."""
        return self.known if isinstance(self.known, int) else self.head

    @property
    def as_of(self) -> AsOf:
        """The same point for the fold of one stream."""
        published = None if isinstance(self.known, int) else self.known
        return AsOf(effective_on=self.day, published_on=published, position=self.position)

    @property
    def is_present(self) -> bool:
        """Whether it is the latest position of the log, at which the next event changes what is known."""
        return self.axis == "recorded" and self.known == self.head

    @property
    def found_deals(self) -> str:
        """The table of the cursor with the deals that a search finds at the point: `id`, `score` (`SearchAtPoint`)."""
        return f"deals_{self.axis}_{str(self.known).replace('-', '_')}_{self.day:%Y_%m_%d}"

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of `at`."""
        return {"known": self.known, "day": self.day}

    def at(self, table: str) -> str:
        """The condition that a row of a fact table holds at the point."""
        return f"{table}.effective_from <= $day AND {table}.effective_to > $day AND {self.is_known(table)}"

    def is_known(self, table: str) -> str:
        """The condition that a row of a fact table is known at the point, for any effective date."""
        return f"{table}.{self.axis}_from <= $known AND {table}.{self.axis}_to > $known"

    def was_known(self, event: str) -> str:
        """The condition that an event was known at the point."""
        return f"{event}.position <= $known" if self.axis == "recorded" else f"{event}.published_on <= $known"
