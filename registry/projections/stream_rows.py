"""Projections with one row for each stream of a kind: its state after its last event."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from registry.domain.fold.order import Rules
from registry.domain.history import FoldedStream
from registry.events.write_batch import WriteBatch
from registry.projections.projection import AppliedChange, BatchProjector


class StreamRowsProjection(ABC):
    """The rows of the streams that are folded by `rules`.

    Attributes:
        name: The projection's name.
        tables: Its table.
        rules: The rules by which its streams are folded.
        delete_statement: Deletes the rows of the streams whose slugs are its parameter.
    """

    name: str
    tables: tuple[str, ...]
    rules: ClassVar[Rules[Any]]
    delete_statement: ClassVar[str]

    @abstractmethod
    def upsert(self, writes: WriteBatch, streams: Sequence[FoldedStream[Any]]) -> None:
        """Write the rows of some streams, at least one."""

    def start_batch(self) -> BatchProjector:
        return _LastStates(self)

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(
            self.delete_statement, [stream.slug for stream in streams if stream.rules is self.rules]
        )

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        if own := [stream for stream in streams if stream.rules is self.rules]:
            self.upsert(writes, own)


class _LastStates:
    """The streams of a batch, after their last events in it."""

    def __init__(self, projection: StreamRowsProjection) -> None:
        self._projection = projection
        self._last: dict[str, FoldedStream[Any]] = {}

    def apply(self, change: AppliedChange) -> None:
        if change.after.rules is self._projection.rules:
            self._last[change.after.slug] = change.after

    def write(self, writes: WriteBatch) -> None:
        if self._last:
            self._projection.upsert(writes, list(self._last.values()))
