"""The positions of the log at which a stream changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from msgspec import Struct

from registry.domain.fold import Rules
from registry.domain.history import FoldedStream
from registry.events.types import Recorded

S = TypeVar("S", bound=Struct)


class ChangePoint(Struct, frozen=True):
    """A position of the log at which a state changed, and when it was recorded (UTC)."""

    position: int
    recorded_at: datetime


def change_points(events: Sequence[Recorded], rules: Rules[S]) -> list[ChangePoint]:
    """Every position at which a stream's state, or the record that it is merged into, changed."""
    points: list[ChangePoint] = []
    if not events:
        return points
    stream: FoldedStream[S] = FoldedStream(events[0].slug, rules)
    before: tuple[S | None, str | None] = (None, None)
    for recorded in events:
        stream.append(recorded)
        after = (stream.state, stream.record.merged_into)
        if after != before:
            points.append(ChangePoint(recorded.position, recorded.recorded_at))
        before = after
    return points
