"""The moments at which the answer to a plain question about a deal changed: recordings and midnights.

Two neighbouring moments differ by one event, or by the events that take effect on one day. So only the facts that these
events touch are compared, and not whole states: the time for all moments grows with the number of events, and not with
its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import chain, pairwise
from typing import Any
from uuid import UUID

from msgspec import Struct

from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.fold.facts import STAGE, FactKey
from registry.domain.fold.order import END_OF_DAY, OrderedEvent
from registry.domain.history import AsOf, FoldedStream, LastChange, StateAsOf
from registry.domain.stream_kinds import DEALS
from registry.events.types import Recorded
from registry.i18n import Message
from registry.infra import freeing


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


def representation(snapshot: StateAsOf[Deal]) -> Any:
    """What two answers about a deal must differ in to be two mementos; None for no state.

    The version, the position, the repeated point in time and what is derived (`remarks`) do not count.
    """
    if snapshot.merged_into is not None:
        return snapshot.merged_into
    if snapshot.state is None:
        return None
    erased = sum(effective.recorded.erased for effective in snapshot.effective_events)
    # The response lists each source with the events that cite it: the same pairs, in eight times as much time.
    cited = {step.applied.id: step.effective.sources for step in snapshot.steps if step.effective.sources}
    if snapshot.registration is not None:
        cited[snapshot.registration.recorded.id] = snapshot.registration.sources
    return snapshot.state, cited, _unapplied(snapshot), erased


def _unapplied(snapshot: StateAsOf[Deal]) -> list[tuple[UUID, Message]]:
    return [(effective.recorded.id, refusal) for effective, refusal in snapshot.unapplied]


def change_points(events: Sequence[Recorded], calendar: Calendar) -> Iterator[ChangePoint]:
    """Every moment at which the answer to a question without a point in time changed, and the days on which it will.

    At each moment that question shows what is recorded by then and in effect on that day. The days to come show what
    is recorded now; a later event may change them. Two answers differ if their `representation` does.

    Args:
        events: The deal's events.
        calendar: The registry's calendar; a day begins at midnight there.
    """
    shown: _Moment | None = None
    stream = FoldedStream(events[0].slug if events else "", DEALS)
    for recorded, following in pairwise([*events, None]):
        assert recorded is not None
        stream = stream.copy()
        stream.append(recorded)
        until = following.recorded_at if following is not None else None
        for day, at, is_recording in _moments(stream, recorded, until, calendar):
            moment = _Moment(stream, day)
            if moment.differs_from(shown):
                yield ChangePoint(
                    at=at,
                    effective_on=day,
                    position=recorded.position,
                    recorded_at=recorded.recorded_at,
                    is_recording=is_recording,
                )
            shown = moment
    freeing.after_work(stream, shown)


def _moments(
    stream: FoldedStream[Deal], recorded: Recorded, until: datetime | None, calendar: Calendar
) -> Iterator[tuple[date, datetime, bool]]:
    """A recording, then each day on which an event takes effect before the next recording, with its first instant."""
    day = calendar.day_of(recorded.recorded_at)
    yield day, recorded.recorded_at, True
    for later in _days_after(stream, day):
        midnight = calendar.start_of(later)
        if until is not None and midnight >= until:
            return
        yield later, midnight, False


def _days_after(stream: FoldedStream[Deal], day: date) -> Iterator[date]:
    """The days after one on which an event, or the registration, takes effect."""
    registered = _registered_on(stream)
    while True:
        step = next(stream.timeline.steps_from((day, END_OF_DAY)), None)
        days = [found for found in (step.key[0] if step else None, registered) if found is not None and found > day]
        if not days:
            return
        day = min(days)
        yield day


def _registered_on(stream: FoldedStream[Deal]) -> date | None:
    registration = stream.record.registration
    return registration.registered_on if registration is not None else None


class _Moment:
    """A deal as its stream was when its last event had been appended, on a day."""

    def __init__(self, stream: FoldedStream[Deal], day: date) -> None:
        self._stream = stream
        self._day = day

    @property
    def _snapshot(self) -> StateAsOf[Deal]:
        # Of a copy: the stream itself keeps no flags, which each event would have to bring up to date.
        return self._stream.copy().state_as_of(AsOf(effective_on=self._day))

    @property
    def _is_known(self) -> bool:
        registration = self._stream.record.registration
        return self._stream.timeline.count(self._day) > 0 or (
            registration is not None and AsOf(effective_on=self._day).is_registered(registration)
        )

    def differs_from(self, earlier: _Moment | None) -> bool:
        """Whether the answers at two neighbouring moments differ."""
        if earlier is None:
            return self._stream.record.merged_into is not None or self._is_known
        before, after = earlier._stream.record.merged_into, self._stream.record.merged_into
        if before is not None or after is not None:
            return before != after
        if not earlier._is_known or not self._is_known:
            return earlier._is_known or self._is_known
        if earlier._stream is self._stream:
            return self._is_changed_by(self._steps_since(earlier._day), earlier)
        last = self._stream.last_change
        if last is None or earlier._is_changed_until(self._day):
            return bool(representation(earlier._snapshot) != representation(self._snapshot))
        return self._is_changed_by_last_event(last, earlier)

    def _is_changed_until(self, day: date) -> bool:
        """Whether an event of the earlier stream takes effect after this day, up to another."""
        return next(_days_after(self._stream, self._day), date.max) <= day

    def _steps_since(self, day: date) -> list[OrderedEvent]:
        steps = self._stream.timeline.steps_from((day, END_OF_DAY))
        found: list[OrderedEvent] = []
        for step in steps:
            if step.key[0] > self._day:
                break
            found.append(step)
        return found

    def _is_changed_by(self, steps: Sequence[OrderedEvent], earlier: _Moment) -> bool:
        """Whether events that took effect since an earlier day of the same stream change the answer."""
        timeline = self._stream.timeline
        if any(step.effective.sources or step.applied.id in timeline.refusals for step in steps):
            return True
        facts = dict.fromkeys(chain((STAGE,), *(timeline.touched(step).writes for step in steps)))
        return any(self._fact(fact) != earlier._fact(fact) for fact in facts)

    def _is_changed_by_last_event(self, last: LastChange, earlier: _Moment) -> bool:
        """Whether the last event changes the answer on its day."""
        stream = self._stream
        if stream.events[-1].erased:
            return True
        gone, come = self._visible(last.removed), self._visible(last.added)
        if _cited(gone) != _cited(come):
            return True
        old, new = earlier._stream.timeline.refusals, stream.timeline.refusals
        is_moved = any(step.applied.id in old or step.applied.id in new for step in (*gone, *come))
        if (is_moved or old != new) and _unapplied(earlier._snapshot) != _unapplied(self._snapshot):
            return True
        return any(self._fact(fact) != earlier._fact(fact) for fact in last.facts)

    def _visible(self, steps: Sequence[OrderedEvent]) -> list[OrderedEvent]:
        return [step for step in steps if step.key[0] <= self._day]

    def _fact(self, fact: FactKey) -> Any:
        """The value of a fact at the end of the day."""
        timeline, key = self._stream.timeline, (self._day, END_OF_DAY)
        if fact == STAGE:
            return timeline.stages.before(key)
        return self._stream.with_preferred_claims(timeline.slice({fact: timeline.fact(fact).before(key)}))


def _cited(steps: Sequence[OrderedEvent]) -> dict[Any, Any]:
    return {step.applied.id: step.effective.sources for step in steps if step.effective.sources}
