"""The moments at which the answer to a plain question about a stream changed: recordings and midnights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import Any, TypeVar

from msgspec import Struct

from registry.domain.calendar import Calendar
from registry.domain.fold import Rules
from registry.domain.history import AsOf, FoldedStream, StateAsOf
from registry.events.types import Recorded

S = TypeVar("S", bound=Struct)


class ChangePoint(Struct, frozen=True, kw_only=True):
    """A moment at which the answer changed, or will.

    Attributes:
        at: The instant (UTC): of a recording, or the first of a day.
        effective_on: The day on which the instant falls.
        position: The log position of the stream's last event by then.
        recorded_at: When that event was recorded (UTC).
        is_recording: Whether the recording of that event changed the answer; otherwise the day did.
    """

    at: datetime
    effective_on: date
    position: int
    recorded_at: datetime
    is_recording: bool


def change_points(
    events: Sequence[Recorded],
    rules: Rules[S],
    calendar: Calendar,
    representation: Callable[[StateAsOf[S]], Any],
) -> list[ChangePoint]:
    """Every moment at which the answer to a question without a point in time changed, and the days on which it will.

    At each moment that question shows what is recorded by then and in effect on that day. The days to come show what
    is recorded now; a later event may change them.

    Args:
        events: The stream's events.
        rules: The rules of its kind.
        calendar: The registry's calendar; a day begins at midnight there.
        representation: What two answers must differ in to be two; None where there is no answer yet.
    """
    points: list[ChangePoint] = []
    shown: Any = None
    if not events:
        return points
    stream: FoldedStream[S] = FoldedStream(events[0].slug, rules)
    for recorded, following in pairwise([*events, None]):
        assert recorded is not None
        stream.append(recorded)
        until = following.recorded_at if following is not None else None
        for day, at, is_recording in _moments(stream, recorded, until, calendar):
            answer = representation(stream.state_as_of(AsOf(effective_on=day)))
            if answer != shown:
                points.append(
                    ChangePoint(
                        at=at,
                        effective_on=day,
                        position=recorded.position,
                        recorded_at=recorded.recorded_at,
                        is_recording=is_recording,
                    )
                )
            shown = answer
    return points


def _moments(
    stream: FoldedStream[S], recorded: Recorded, until: datetime | None, calendar: Calendar
) -> Iterator[tuple[date, datetime, bool]]:
    """A recording, then each day on which an event takes effect before the next recording, with its first instant."""
    day = calendar.day_of(recorded.recorded_at)
    yield day, recorded.recorded_at, True
    days = {step.key[0] for step in stream.timeline.steps}
    registration = stream.record.registration
    if registration is not None and registration.registered_on is not None:
        days.add(registration.registered_on)
    for later in sorted(later for later in days if later > day):
        midnight = calendar.start_of(later)
        if until is not None and midnight >= until:
            return
        yield later, midnight, False
