"""The as-of rule: the state of a stream at a point on three time axes.

To answer a question as of (effective date, publication date, recorded time or position):

1. take the events recorded by then;
2. apply the corrections, voids, preferred claims and merges among them;
3. keep the events that were published and in effect by then;
4. fold those in the order (effective date, publication date, position).

Bookkeeping events (corrections, voids, preferences, merges) have no effective or publication date: only their position
hides them. No order depends on a recorded time or an id. Everything here is pure: no clock, no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.applied_event import AppliedEvent
from registry.domain.corrections import EffectiveEvent, apply_corrections, effective_event
from registry.domain.fold import CLAIM_TYPES, OrderedEvent, Rules, Timeline, fold_order_of
from registry.domain.redaction import keep_redacted_effects, redact
from registry.events.types import (
    BOOKKEEPING_TYPES,
    ClaimPreferred,
    ClaimReported,
    DealMerged,
    DealUnmerged,
    EventRedacted,
    OrganizationMerged,
    OrganizationUnmerged,
    Recorded,
)
from registry.i18n import Message

S = TypeVar("S")


class AsOf(Struct, frozen=True, kw_only=True):
    """A point on each time axis, inclusive; None means unbounded. `position` counts the whole log."""

    effective_on: date | None = None
    published_on: date | None = None
    recorded_at: datetime | None = None
    position: int | None = None

    def was_recorded(self, event: Recorded) -> bool:
        """Whether the event was recorded by then."""
        return (self.position is None or event.position <= self.position) and (
            self.recorded_at is None or event.recorded_at <= self.recorded_at
        )

    def is_visible(self, event: OrderedEvent) -> bool:
        """Whether the event was published and in effect by then."""
        return (self.published_on is None or event.effective.published_on <= self.published_on) and (
            self.effective_on is None or event.key[0] <= self.effective_on
        )

    def is_registered(self, registration: EffectiveEvent) -> bool:
        """Whether a stream was known by then from its registration alone, without any other event."""
        return (self.published_on is None or registration.published_on <= self.published_on) and (
            self.effective_on is None
            or registration.effective_on is None
            or registration.effective_on <= self.effective_on
        )


UNBOUNDED = AsOf()


class RecordState(Struct, Generic[S], frozen=True, kw_only=True):
    """The bookkeeping of a stream: its events with corrections applied, preferred claims, and where it was merged to.

    Attributes:
        claims: The event that reported each claim, by the claim's id.
        preferred: The event of the preferred claim, by field; None where the preference was withdrawn.
        base: The state from which the fold starts: the registered deal or organization.
    """

    effective_events: list[EffectiveEvent]
    by_id: dict[UUID, EffectiveEvent]
    claims: dict[str, EffectiveEvent]
    registration: EffectiveEvent | None
    preferred: dict[str, UUID | None]
    merged_into: str | None
    base: S

    def foldable_events(self) -> list[OrderedEvent]:
        """The events in force that change the state, each at its place in the fold."""
        return [
            fold_order_of(effective, self.by_id, self.claims)
            for effective in self.effective_events
            if effective.is_in_force and not isinstance(effective.event, BOOKKEEPING_TYPES)
        ]


def resolve_record(slug: str, events: Sequence[Recorded], rules: Rules[S]) -> RecordState[S]:
    """Apply a stream's bookkeeping events: corrections, voids, preferences and merges."""
    effective_events = apply_corrections(events)
    claims: dict[str, EffectiveEvent] = {}
    for effective in effective_events:  # All claims first: a preference may be corrected to name a later claim.
        if effective.is_in_force and isinstance(effective.event, ClaimReported):
            claims.setdefault(effective.event.claim, effective)
    preferred: dict[str, UUID | None] = {}
    merged_into: str | None = None
    registration: EffectiveEvent | None = None
    for effective in effective_events:
        if effective.recorded.version == 1:
            registration = effective
        if not effective.is_in_force:
            continue
        match effective.event:
            case ClaimPreferred(field=field, claim=claim):
                reported = claims.get(claim) if claim else None
                preferred[field] = reported.recorded.id if reported else None
            case DealMerged(into=into) | OrganizationMerged(into=into):
                merged_into = into
            case DealUnmerged() | OrganizationUnmerged():
                merged_into = None
            case _:
                pass
    content = registration.event if registration and isinstance(registration.event, rules.registered) else None
    return RecordState(
        effective_events=effective_events,
        by_id={effective.recorded.id: effective for effective in effective_events},
        claims=claims,
        registration=registration,
        preferred=preferred,
        merged_into=merged_into,
        base=rules.register(slug, content),
    )


class StateAsOf(Struct, Generic[S], frozen=True, kw_only=True):
    """A stream as of a point. `state` is None if the stream was not known by then.

    Attributes:
        version: The number of events recorded by then.
        steps: The visible events in the order of the fold; `states[i]` is the state after `steps[i]`.
        base: The state before the first step.
        unapplied: The visible events that the state could not take, each with the rule that it breaks.
        assessment_cache: The flags of each step, by the number of imports of exchange rates and the event; kept with a
            cached stream, None without one.
    """

    state: S | None
    version: int
    position: int
    recorded_at: datetime | None
    effective_events: list[EffectiveEvent]
    steps: list[OrderedEvent]
    states: list[S]
    base: S
    registration: EffectiveEvent | None
    unapplied: list[tuple[EffectiveEvent, Message]]
    merged_into: str | None
    preferred: dict[str, UUID | None]
    assessment_cache: dict[tuple[int, UUID], Any] | None = None

    @property
    def applied_events(self) -> dict[UUID, AppliedEvent]:
        """The events of the steps, by id."""
        return {step.applied.id: step.applied for step in self.steps}


def state_as_of(slug: str, events: Sequence[Recorded], as_of: AsOf, rules: Rules[S]) -> StateAsOf[S]:
    """A stream as of a point: the rule at the head of this module, in four steps."""
    recorded = [event for event in events if as_of.was_recorded(event)]
    record = resolve_record(slug, recorded, rules)
    visible = [event for event in record.foldable_events() if as_of.is_visible(event)]
    timeline = Timeline(rules, record.base).extend(visible)
    return _state_after(len(visible), timeline, record, recorded, as_of)


def _state_after(
    count: int, timeline: Timeline[S], record: RecordState[S], recorded: Sequence[Recorded], as_of: AsOf
) -> StateAsOf[S]:
    """The stream after the first `count` steps of a timeline."""
    steps, states = timeline.steps[:count], timeline.states[:count]
    state = states[-1] if states else record.base
    applied_events = {step.applied.id: step.applied for step in steps} if record.claims else {}
    known = bool(steps) or (record.registration is not None and as_of.is_registered(record.registration))
    return StateAsOf(
        state=timeline.rules.apply_preferred_claims(state, record.preferred, applied_events) if known else None,
        version=recorded[-1].version if recorded else 0,
        position=recorded[-1].position if recorded else 0,
        recorded_at=recorded[-1].recorded_at if recorded else None,
        effective_events=record.effective_events,
        steps=steps,
        states=states,
        base=record.base,
        registration=record.registration,
        unapplied=[
            (step.effective, timeline.refusals[step.applied.id])
            for step in steps
            if step.applied.id in timeline.refusals
        ]
        if timeline.refusals
        else [],
        merged_into=record.merged_into,
        preferred=record.preferred,
    )


class FoldedStream(Generic[S]):
    """A stream kept folded, so that the next event costs one step of the fold. The recorder caches unbounded ones.

    Args:
        as_of: Bounds on the effective and the publication date, for a caller that follows a past state while the
            record grows.
    """

    # What a projection remembers of the rows it has written for this stream, so that the next event costs it one step.
    projection_state: Any = None
    fact_history: Any = None
    assessment_cache: dict[tuple[int, UUID], Any] | None = None

    def __init__(self, slug: str, rules: Rules[S], events: Sequence[Recorded] = (), as_of: AsOf = UNBOUNDED) -> None:
        self.slug = slug
        self.rules = rules
        self.as_of = as_of
        self.events: list[Recorded] = keep_redacted_effects(events)
        self._fold_all()

    def _fold_all(self) -> None:
        self.record = resolve_record(self.slug, self.events, self.rules)
        visible = (event for event in self.record.foldable_events() if self.as_of.is_visible(event))
        self.timeline = Timeline(self.rules, self.record.base).extend(visible)

    @property
    def version(self) -> int:
        """The number of events."""
        return self.events[-1].version if self.events else 0

    @property
    def leaf_hash(self) -> bytes | None:
        """The last event's leaf hash."""
        return self.events[-1].leaf_hash if self.events else None

    @property
    def state(self) -> S:
        """The state after all events, also those with a future effective date."""
        return self.at(None)

    def at(self, day: date | None) -> S:
        """The state on a day, as far as it is recorded."""
        return self.with_preferred_claims(self.timeline.at(day))

    def with_preferred_claims(self, state: S) -> S:
        """A state of the timeline with the preferred claims' values."""
        if not self.record.claims:
            return state
        applied_events = {step.applied.id: step.applied for step in self.timeline.steps}
        return self.rules.apply_preferred_claims(state, self.record.preferred, applied_events)

    def state_as_of(self, as_of: AsOf) -> StateAsOf[S]:
        """The stream as of a point, equal to what the function `state_as_of` returns.

        Where all events were recorded by then and no publication date is given, the visible events are the first ones
        of the timeline, so their states need no second fold.
        """
        if (
            self.as_of != UNBOUNDED
            or as_of.published_on is not None
            or not (self.events and as_of.was_recorded(self.events[-1]))
        ):
            return state_as_of(self.slug, self.events, as_of, self.rules)
        if self.assessment_cache is None:
            self.assessment_cache = {}
        count = self.timeline.count(as_of.effective_on)
        state = _state_after(count, self.timeline, self.record, self.events, as_of)
        return replace(state, assessment_cache=self.assessment_cache)

    def copy(self) -> FoldedStream[S]:
        """A copy that can grow independently."""
        copy: FoldedStream[S] = object.__new__(FoldedStream)
        copy.slug, copy.rules, copy.as_of, copy.events = self.slug, self.rules, self.as_of, self.events.copy()
        # `append` adds to these two fields only and replaces the whole record for all others.
        copy.record = replace(
            self.record, effective_events=self.record.effective_events.copy(), by_id=self.record.by_id.copy()
        )
        copy.timeline = self.timeline.copy()
        return copy

    def append(self, recorded: Recorded) -> None:
        """Add the stream's next event. Bookkeeping events and claims fold the whole stream again."""
        self.projection_state = self.assessment_cache = None
        self.events.append(recorded)
        event = recorded.event
        if isinstance(event, EventRedacted):
            self.events = redact(self.events, event)
        if event is None or isinstance(event, (*BOOKKEEPING_TYPES, *CLAIM_TYPES)) or not self.record.effective_events:
            self._fold_all()
            return
        effective = effective_event(recorded)
        self.record.effective_events.append(effective)
        self.record.by_id[recorded.id] = effective
        ordered = fold_order_of(effective, self.record.by_id, self.record.claims)
        if self.as_of.is_visible(ordered):
            self.timeline.insert(ordered)
