"""What a view is: rows that follow from the log, written in the transaction of the event that changes them.

A view has one way for what events change, one by one, and one that makes a stream's rows anew; both must give the same
rows. To add a view: its module, one line in `projections.VIEWS`, its migration. Its SQL names its tables without a
schema: `rebuild.py` runs the same statements on tables that stand beside the live ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from registry.domain.history import FoldedStream
from registry.events.types import Recorded
from registry.events.write_batch import WriteBatch


class AppliedChange(Struct, frozen=True):
    """One event, and its stream before and after it with all clocks open.

    `erased` says that the event's redaction took content away: what views hold of the stream is to be made anew.
    """

    recorded: Recorded
    before: FoldedStream[Any]
    after: FoldedStream[Any]
    erased: bool = False


class BatchProjector(Protocol):
    """What a view makes of a group's events, until it is written with them."""

    def apply(self, step: AppliedChange) -> None:
        """One event more."""
        ...

    def write(self, writes: WriteBatch) -> None:
        """Adds what the events changed to what the transaction that records them writes."""
        ...


class Projection(Protocol):
    """A table (or more) that can be thrown away and made anew from the log."""

    @property
    def name(self) -> str:
        """What it is called in the command and the logs."""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables it keeps, each of which can be emptied."""
        ...

    def start_batch(self) -> BatchProjector:
        """For a group's events, in their order."""
        ...

    def delete_rows(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Adds that the rows of these streams go, before anything else is written."""
        ...

    def rebuild(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Adds the rows of these streams, of which there are none."""
        ...
