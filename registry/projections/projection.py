"""The interface of a projection: rows that follow from the log, written in the transaction of the event.

A projection applies events one by one, and it can rebuild all rows of a stream; both must give the same rows
(`registry rebuild --check`). To add one, write its module, a line in `projections/__init__.py`, and its migration. Its
SQL names tables without a schema, because a rebuild runs the same statements on tables beside the live ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from registry.domain.history import FoldedStream
from registry.events.types import Recorded
from registry.events.write_batch import WriteBatch


class AppliedChange(Struct, frozen=True):
    """An event, and its stream before and after it.

    `erased`: the event is a redaction that removed content, so the stream's rows have to be rebuilt.
    """

    recorded: Recorded
    before: FoldedStream[Any]
    after: FoldedStream[Any]
    erased: bool = False


class BatchProjector(Protocol):
    """The changes that the events of one batch make in a projection."""

    def apply(self, change: AppliedChange) -> None:
        """Add an event."""
        ...

    def write(self, writes: WriteBatch) -> None:
        """Add the changes to what the transaction writes."""
        ...


class Projection(Protocol):
    """Tables that are derived from the log."""

    @property
    def name(self) -> str:
        """The name in the command line and in log lines."""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables, each of which can be emptied."""
        ...

    def start_batch(self) -> BatchProjector:
        """Start the changes of one batch, whose events are applied in their order."""
        ...

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Delete the rows of these streams before anything else is written."""
        ...

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Insert all rows of these streams, which have none."""
        ...
