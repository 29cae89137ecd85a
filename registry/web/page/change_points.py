"""The days and times at which a deal, an organization or the log changed: where the sliders of a page stop."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from typing import Any

from msgspec import Struct

from registry.domain.history import FoldedStream

# Events recorded within this time of each other, as those of one request or import, are one change to a reader.
MERGED_WITHIN = timedelta(seconds=2)


class ChangePoints(Struct, frozen=True):
    """The points on each time axis at which a stream changed, in ascending order."""

    effective: list[date]
    published: list[date]
    recorded: list[datetime]


def change_points(stream: FoldedStream[Any]) -> ChangePoints:
    """The points at which a stream changed. A correction and the event that it corrects are two points."""
    effective = {placed.key[0] for placed in stream.timeline.steps}
    registration = stream.record.registration
    if registration is not None and registration.registered_on is not None:
        effective.add(registration.registered_on)
    published = {event.published_on for event in stream.record.effective_events if event.is_in_force}
    corrections = {e.recorded_at for e in stream.events if e.type in ("event_corrected", "event_voided")}
    recorded = merge_times((event.recorded_at for event in stream.events), corrections)
    return ChangePoints(sorted(effective), sorted(published), recorded)


def merge_times(times: Iterable[datetime], corrections: Collection[datetime] = ()) -> list[datetime]:
    """Times in ascending order, of those close to each other the last. A correction merges only with corrections."""
    merged: list[datetime] = []
    for moment in sorted(times):
        same_kind = bool(merged) and (moment in corrections) == (merged[-1] in corrections)
        if same_kind and moment - merged[-1] < MERGED_WITHIN:
            merged[-1] = moment
        else:
            merged.append(moment)
    return merged
