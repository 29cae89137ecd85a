"""How a history is read: the one rule behind every state, now, then, in the audit and in the rebuild.

Asked for a stream as of (effective, published, recorded): take the events recorded by then; apply the corrections and
voids among them; keep what was published and in effect by then; fold that in the order (effective_on, place). The
record's own events are hidden by their position alone. Everything is by position, nothing by timestamp or id. Pure: no
clock, no database.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.domain import deal as deals
from registry.domain import organization as organizations
from registry.domain.deal import AppliedEvent, Deal
from registry.domain.organization import Organization
from registry.domain.refusal import Refusal
from registry.events.codec import published_on
from registry.events.types import (
    BOOKKEEPING_TYPES,
    AnyEvent,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    DealRegistered,
    DealUnmerged,
    Effect,
    EventCorrected,
    EventRedacted,
    EventVoided,
    MilestoneRescheduled,
    OrganizationMerged,
    OrganizationRegistered,
    OrganizationUnmerged,
    PledgeConfirmed,
    PledgeRevised,
    Recorded,
    RedactedEffect,
    Replacement,
    SiteRevised,
    Source,
)
from registry.i18n import Label

S = TypeVar("S")


class AsOf(Struct, frozen=True, kw_only=True):
    """A point in time on each axis, each meaning "no later than"; None leaves it open.

    `position` counts the whole log.
    """

    effective_on: date | None = None
    published_on: date | None = None
    recorded_at: datetime | None = None
    position: int | None = None

    def recorded(self, event: Recorded) -> bool:
        """Whether the registry had written the event down by then."""
        return (self.position is None or event.position <= self.position) and (
            self.recorded_at is None or event.recorded_at <= self.recorded_at
        )

    def public(self, placed: OrderedEvent) -> bool:
        """Whether an event of the world was published and in effect by then."""
        return (self.published_on is None or placed.reading.published_on <= self.published_on) and (
            self.effective_on is None or placed.key[0] <= self.effective_on
        )


UNBOUNDED = AsOf()


class EffectiveEvent(Struct, frozen=True, kw_only=True, gc=False):
    """An event as it reads once corrections and voids are applied. `in_force` is the record that gives its words.

    `event` is None where these were erased by law; of what acts on others that stays.
    """

    recorded: Recorded
    event: AnyEvent | None
    effective_on: date | None
    published_on: date
    sources: tuple[Source, ...]
    source_record: Recorded
    corrections: tuple[Recorded, ...] = ()
    voided_by: Recorded | None = None

    @property
    def is_in_force(self) -> bool:
        """Not voided, and with something to say, or to do to others, that was not erased."""
        return self.voided_by is None and self.event is not None


def keep_redacted_effects(events: Sequence[Recorded]) -> list[Recorded]:
    """The events, the erased ones with what their redactions say that they go on doing to others.

    Whatever was asked: what was voided stays voided, from the void on, wherever the redaction of the void stands.
    """
    effects = {
        effect.event: effect.does for e in events if isinstance(e.event, EventRedacted) for effect in e.event.effects
    }
    if not effects:
        return list(events)
    return [replace(e, event=effects[e.id]) if e.erased and e.id in effects else e for e in events]


def apply_corrections(events: Sequence[Recorded]) -> list[EffectiveEvent]:
    """Every event as it reads, in the order of the log.

    Corrections belong to the original event; the latest that is not voided wins. Where that one was erased by law, the
    event says nothing: what was called wrong does not become true again.
    """
    voided: dict[UUID, Recorded] = {}
    for recorded in reversed(events):  # a void can only name what was there before it, so later ones are settled first
        if isinstance(recorded.event, EventVoided) and recorded.id not in voided:
            voided[recorded.event.voids] = recorded
    root: dict[UUID, UUID] = {}
    corrections: dict[UUID, list[Recorded]] = {}
    for recorded in events:
        if isinstance(recorded.event, EventCorrected):
            original = root[recorded.id] = root.get(recorded.event.corrects, recorded.event.corrects)
            corrections.setdefault(original, []).append(recorded)
    return [_reading(recorded, corrections.get(recorded.id, ()), voided) for recorded in events]


def _reading(original: Recorded, corrections: Sequence[Recorded], voided: Mapping[UUID, Recorded]) -> EffectiveEvent:
    plain = EffectiveEvent(
        recorded=original,
        event=original.event,
        effective_on=original.effective_on,
        published_on=original.published_on,
        sources=original.sources,
        source_record=original,
        corrections=tuple(corrections),
        voided_by=voided.get(original.id),
    )
    for correction in reversed(corrections):
        # No correction brings back what was erased.
        if correction.id in voided or (original.erased and not correction.erased):
            continue
        new = correction.event.replacement  # type: ignore[union-attr]
        if correction.erased:
            return replace(plain, event=None if new.event is UNSET else new.event, sources=(), source_record=correction)
        sources = original.sources if new.sources is UNSET else new.sources
        return replace(
            plain,
            event=original.event if new.event is UNSET else new.event,
            effective_on=original.effective_on if new.effective_on is UNSET else new.effective_on,
            published_on=published_on(sources, original.recorded_at),
            sources=sources,
            source_record=correction,
        )
    return plain


# --- the fold ---------------------------------------------------------------------------------------------------------


class Rules(Struct, Generic[S], frozen=True):
    """What differs between kinds of streams: how one begins, goes on, and is shown."""

    registered: type[AnyEvent]
    merged: type[AnyEvent]
    unmerged: type[AnyEvent]
    create: Callable[[str, Any], S]
    evolve: Callable[[S, AppliedEvent], S | Refusal]
    follow: Callable[[S, dict[str, UUID | None], dict[UUID, AppliedEvent]], S]


DEALS: Rules[Deal] = Rules(
    DealRegistered, DealMerged, DealUnmerged, deals.register, deals.evolve, deals.apply_preferred_claims
)
ORGANIZATIONS: Rules[Organization] = Rules(
    OrganizationRegistered,
    OrganizationMerged,
    OrganizationUnmerged,
    organizations.register,
    organizations.evolve,
    lambda organization, _preferred, _own: organization,
)

_REVISIONS = (PledgeRevised, PledgeConfirmed, SiteRevised, MilestoneRescheduled)
_OF_CLAIMS = (ClaimReported, ClaimRetracted)

# Where an event stands in the fold: its effective date, then its place. An event's place is its position; a claim's is
# right behind the event that it speaks of, a retraction's right behind its claim.
FoldPosition = tuple[int, ...]
Key = tuple[date, FoldPosition]

# Behind every place of a day.
_LAST: FoldPosition = (2**63,)


class OrderedEvent(Struct, frozen=True, gc=False):
    """A reading at its place in the fold. `about` is the event that a claim speaks of."""

    key: Key
    happened: AppliedEvent
    reading: EffectiveEvent
    about: UUID | None


def fold_order_of(
    reading: EffectiveEvent, readings: Mapping[UUID, EffectiveEvent], claims: Mapping[str, EffectiveEvent]
) -> OrderedEvent:
    """Where a reading stands. A claim holds from the date of the event it speaks of, whenever it was made."""
    event = reading.event
    about: EffectiveEvent | None = None
    if isinstance(event, ClaimReported):
        about = readings.get(event.about) if event.about else None
        if about is not None and isinstance(about.event, _OF_CLAIMS):
            about = None  # no claim speaks of a claim (the fold refuses it), so places never go in circles
    elif isinstance(event, ClaimRetracted):
        about = claims.get(event.claim)
    own = (reading.recorded.position,)
    if about is None:
        key: Key = (reading.effective_on or reading.published_on, own)
    else:
        spoken_of = fold_order_of(about, readings, claims).key
        key = (spoken_of[0], spoken_of[1] + own)
    happened = AppliedEvent(
        reading.recorded.id,
        event,  # type: ignore[arg-type]
        key[0],
        reading.published_on,
        reading.sources,
        reading.source_record.recorded_at,
    )
    return OrderedEvent(key, happened, reading, event.about if isinstance(event, ClaimReported) else None)


def _accepts_claims(placed: OrderedEvent) -> bool:
    return not isinstance(placed.happened.event, _OF_CLAIMS)


class Timeline(Generic[S]):
    """A fold kept step by step: `states[i]` is what is so after `steps[i]`. Inserting refolds only what comes after."""

    def __init__(self, rules: Rules[S], base: S) -> None:
        self.rules = rules
        self.base = base
        self.steps: list[OrderedEvent] = []
        self.states: list[S] = []
        self.refusals: dict[UUID, Refusal] = {}
        self._keys: list[Key] = []

    def copy(self) -> Timeline[S]:
        """The same timeline, to go on with tentatively."""
        twin: Timeline[S] = object.__new__(Timeline)
        twin.rules, twin.base = self.rules, self.base
        twin.steps, twin.states, twin._keys = self.steps.copy(), self.states.copy(), self._keys.copy()
        twin.refusals = self.refusals.copy()
        return twin

    def extend(self, placed: Iterable[OrderedEvent]) -> Timeline[S]:
        """Takes many in, in any order, and folds once."""
        self.steps.extend(placed)
        self.steps.sort(key=lambda p: p.key)
        self._keys = [p.key for p in self.steps]
        self._fold(0)
        return self

    def insert(self, placed: OrderedEvent) -> int:
        """Takes one in; answers with the index from which states may have changed."""
        at = bisect_right(self._keys, placed.key)
        self.steps.insert(at, placed)
        self._keys.insert(at, placed.key)
        self._fold(at)
        return at

    def remove(self, event: UUID) -> None:
        """Takes one out again."""
        at = next(i for i, placed in enumerate(self.steps) if placed.happened.id == event)
        del self.steps[at], self._keys[at]
        self.refusals.pop(event, None)
        self._fold(at)

    def _fold(self, start: int) -> None:
        state = self.states[start - 1] if start else self.base
        del self.states[start:]
        for placed in self.steps[start:]:
            self.refusals.pop(placed.happened.id, None)
            if placed.about is not None and not self._has_target(placed):
                after: S | Refusal = Refusal("event-unknown", event=str(placed.about))
            else:
                after = self.rules.evolve(state, placed.happened)
            if isinstance(after, Refusal):
                self.refusals[placed.happened.id] = after
            else:
                state = after
            self.states.append(state)

    def _has_target(self, claim: OrderedEvent) -> bool:
        """Whether the event that a claim speaks of stands there: its place is what the claim's own was made of."""
        day, own = claim.key
        key = (day, own[:-1])
        at = bisect_left(self._keys, key)
        if at == len(self._keys) or self._keys[at] != key:
            return False
        return self.steps[at].happened.id == claim.about and _accepts_claims(self.steps[at])

    def at(self, day: date | None) -> S:
        """What is so on a day; None: when all that is announced has come to hold."""
        count = self.count(day)
        return self.states[count - 1] if count else self.base

    def count(self, day: date | None) -> int:
        """How many steps hold on a day."""
        return len(self._keys) if day is None else bisect_right(self._keys, (day, _LAST))

    def segments(self, since: date = date.min) -> list[tuple[date, S]]:
        """Each day, from `since` on, from which something else is so, with what is so from then on."""
        days: list[tuple[date, S]] = []
        first = bisect_left(self._keys, (since, ()))
        for key, state in zip(self._keys[first:], self.states[first:], strict=True):
            if days and days[-1][0] == key[0]:
                days[-1] = (key[0], state)
            else:
                days.append((key[0], state))
        return days


class StateAsOf(Struct, Generic[S], frozen=True, kw_only=True):
    """A stream at a point in time. `state` is None where nothing was known of it; `steps` are what it rests on."""

    state: S | None
    version: int
    position: int
    recorded_at: datetime | None
    readings: list[EffectiveEvent]
    steps: list[OrderedEvent]
    states: list[S]
    base: S
    registration: EffectiveEvent | None
    unapplied: list[tuple[EffectiveEvent, Refusal]]
    merged_into: str | None
    preferred: dict[str, UUID | None]
    # What is concluded of each step of a history that is kept, by whoever concludes it; None where none is kept.
    assessment_cache: dict[UUID, Any] | None = None

    @property
    def applied_event(self) -> dict[UUID, AppliedEvent]:
        """What happened, by the event's id."""
        return {placed.happened.id: placed.happened for placed in self.steps}


class RecordState(Struct, Generic[S], frozen=True, kw_only=True):
    """What corrections, preferences and merges make of a list of events, before any public clock is looked at."""

    readings: list[EffectiveEvent]
    by_id: dict[UUID, EffectiveEvent]
    claims: dict[str, EffectiveEvent]
    registration: EffectiveEvent | None
    preferred: dict[str, UUID | None]
    merged_into: str | None
    base: S

    def facts(self) -> list[OrderedEvent]:
        """The events of the world that stand, each at its place."""
        return [
            fold_order_of(reading, self.by_id, self.claims)
            for reading in self.readings
            if reading.is_in_force and not isinstance(reading.event, BOOKKEEPING_TYPES)
        ]

    def registered_by(self, clocks: AsOf) -> bool:
        """Whether the stream is known there by its registration's own dates, with nothing else to show for it."""
        return self.registration is not None and registered_by(
            self.registration, clocks.effective_on, clocks.published_on
        )


def resolve_record(slug: str, events: Sequence[Recorded], rules: Rules[S]) -> RecordState[S]:
    """Reads a stream's record: who corrected what, which claim is preferred, where the stream was merged to."""
    readings = apply_corrections(events)
    by_id = {reading.recorded.id: reading for reading in readings}
    claims: dict[str, EffectiveEvent] = {}
    for reading in readings:  # before all else: a preference may have been corrected to a claim of later
        if reading.is_in_force and isinstance(reading.event, ClaimReported):
            claims.setdefault(reading.event.claim, reading)
    preferred: dict[str, UUID | None] = {}
    merged_into: str | None = None
    registration: EffectiveEvent | None = None
    for reading in readings:
        if reading.recorded.version == 1:
            registration = reading
        if not reading.is_in_force:
            continue
        event = reading.event
        if isinstance(event, ClaimPreferred):
            claim = claims.get(event.claim) if event.claim else None
            preferred[event.field] = claim.recorded.id if claim else None
        elif isinstance(event, (DealMerged, OrganizationMerged)):
            merged_into = event.into
        elif isinstance(event, (DealUnmerged, OrganizationUnmerged)):
            merged_into = None
    content = registration.event if registration and isinstance(registration.event, rules.registered) else None
    return RecordState(
        readings=readings,
        by_id=by_id,
        claims=claims,
        registration=registration,
        preferred=preferred,
        merged_into=merged_into,
        base=rules.create(slug, content),
    )


def state_as_of(slug: str, events: Sequence[Recorded], clocks: AsOf, rules: Rules[S]) -> StateAsOf[S]:
    """The stream at a point in time: the rule at the head of this module, in four steps."""
    written = [event for event in events if clocks.recorded(event)]
    record = resolve_record(slug, written, rules)
    timeline = Timeline(rules, record.base).extend(placed for placed in record.facts() if clocks.public(placed))
    return _view(written, record, timeline, len(timeline.steps), clocks)


def _view(
    written: Sequence[Recorded], record: RecordState[S], timeline: Timeline[S], count: int, clocks: AsOf
) -> StateAsOf[S]:
    """What the first `count` steps of a timeline make of a record."""
    steps, states = timeline.steps[:count], timeline.states[:count]
    state = states[-1] if states else record.base
    own = {placed.happened.id: placed.happened for placed in steps} if record.claims else {}
    known = bool(steps) or record.registered_by(clocks)
    return StateAsOf(
        state=timeline.rules.follow(state, record.preferred, own) if known else None,
        version=written[-1].version if written else 0,
        position=written[-1].position if written else 0,
        recorded_at=written[-1].recorded_at if written else None,
        readings=record.readings,
        steps=steps,
        states=states,
        base=record.base,
        registration=record.registration,
        unapplied=[
            (placed.reading, timeline.refusals[placed.happened.id])
            for placed in steps
            if placed.happened.id in timeline.refusals
        ]
        if timeline.refusals
        else [],
        merged_into=record.merged_into,
        preferred=record.preferred,
    )


def registered_by(registration: EffectiveEvent, effective: date | None, published: date | None) -> bool:
    """Whether a registration is known there by its own dates, with nothing else to show for the deal."""
    return (published is None or registration.published_on <= published) and (
        effective is None or registration.effective_on is None or registration.effective_on <= effective
    )


# --- a stream that goes on --------------------------------------------------------------------------------------------


class FoldedStream(Generic[S]):
    """A stream kept folded so that the next event costs one step; with all clocks open it is what the recorder holds.

    `clocks` fixes the public dates for those who follow what was so, or public, by then while the record grows.
    """

    # What a view remembers of how it has drawn this very history, so that the next event costs it one step, too.
    projection_state: Any = None
    assessment_cache: dict[UUID, Any] | None = None

    def __init__(self, slug: str, rules: Rules[S], events: Sequence[Recorded] = (), clocks: AsOf = UNBOUNDED) -> None:
        self.slug = slug
        self.rules = rules
        self.clocks = clocks
        self.events: list[Recorded] = keep_redacted_effects(events)
        self._study()

    def _study(self) -> None:
        self.record = resolve_record(self.slug, self.events, self.rules)
        facts = (placed for placed in self.record.facts() if self.clocks.public(placed))
        self.timeline = Timeline(self.rules, self.record.base).extend(facts)

    @property
    def version(self) -> int:
        return self.events[-1].version if self.events else 0

    @property
    def leaf_hash(self) -> bytes | None:
        return self.events[-1].leaf_hash if self.events else None

    @property
    def state(self) -> S:
        """What will be so once all that is announced has come to hold."""
        return self.at(None)

    def at(self, day: date | None) -> S:
        """What is so on a day, as far as it is recorded now."""
        return self.with_preferred_claims(self.timeline.at(day))

    def with_preferred_claims(self, state: S) -> S:
        """A state of the fold with its disputed fields showing the followed claims."""
        if not self.record.claims:
            return state
        own = {p.happened.id: p.happened for p in self.timeline.steps}
        return self.rules.follow(state, self.record.preferred, own)

    def state_as_of(self, clocks: AsOf) -> StateAsOf[S]:
        """The stream at a point in time, as `view` has it, from what is folded already where that is the same.

        It is, where every event was recorded by then and no date of publishing is asked for: the events in effect by a
        day are the first ones of the fold, and what they make is kept.
        """
        if (
            self.clocks != UNBOUNDED
            or clocks.published_on is not None
            or not (self.events and clocks.recorded(self.events[-1]))
        ):
            return state_as_of(self.slug, self.events, clocks, self.rules)
        if self.assessment_cache is None:
            self.assessment_cache = {}
        count = self.timeline.count(clocks.effective_on)
        return replace(
            _view(self.events, self.record, self.timeline, count, clocks), assessment_cache=self.assessment_cache
        )

    def copy(self) -> FoldedStream[S]:
        """The same history, to go on with tentatively."""
        twin: FoldedStream[S] = object.__new__(FoldedStream)
        twin.slug, twin.rules, twin.clocks, twin.events = self.slug, self.rules, self.clocks, self.events.copy()
        record = self.record
        # Claims and preferences are never added to, but studied anew.
        twin.record = replace(record, readings=record.readings.copy(), by_id=record.by_id.copy())
        twin.timeline = self.timeline.copy()
        return twin

    def append(self, recorded: Recorded) -> None:
        """Takes the stream's next event in. A correction, or the like, makes it read the whole record anew."""
        self.projection_state = self.assessment_cache = None
        self.events.append(recorded)
        event = recorded.event
        if isinstance(event, EventRedacted):
            gone = {event.redacts, *event.also}
            self.events = keep_redacted_effects([without_content(e) if e.id in gone else e for e in self.events])
        if (
            event is None
            or isinstance(event, (*BOOKKEEPING_TYPES, ClaimReported, ClaimRetracted))
            or not self.record.readings
        ):
            self._study()
            return
        reading = _reading(recorded, (), {})
        self.record.readings.append(reading)
        self.record.by_id[recorded.id] = reading
        placed = fold_order_of(reading, self.record.by_id, self.record.claims)
        if self.clocks.public(placed):
            self.timeline.insert(placed)


def without_content(recorded: Recorded) -> Recorded:
    """What the log keeps of an event whose content was erased."""
    return replace(recorded, event=None, sources=(), note=None, erased=True)


# --- the strict door --------------------------------------------------------------------------------------------------


def fill_defaults(history: FoldedStream[S], event: AnyEvent) -> AnyEvent:
    """The event with what its announcement left for the registry to fill in, so that it is stored whole.

    A correction takes what it leaves out from the event as it then reads; a claim names the event that set its field.
    """
    if isinstance(event, EventCorrected):
        reading = history.record.by_id.get(_original_of(history, event.corrects))
        if reading is None or reading.event is None or isinstance(reading.event, (EventCorrected, EventVoided)):
            return event
        new = event.replacement
        whole = Replacement(
            effective_on=reading.effective_on if new.effective_on is UNSET else new.effective_on,
            sources=reading.sources if new.sources is UNSET else new.sources,
            event=reading.event if new.event is UNSET else new.event,  # type: ignore[arg-type]
        )
        return replace(event, replacement=whole)
    if isinstance(event, ClaimReported) and event.about is None:
        setter = _last_setter(history, event.field)
        return replace(event, about=setter) if setter else event
    if isinstance(event, EventRedacted):
        also = _corrections_quoting(history, event.redacts)
        erased = (history.record.by_id.get(id) for id in (event.redacts, *also))
        return replace(
            event,
            also=also,
            effects=tuple(
                Effect(event=reading.recorded.id, does=does)
                for reading in erased
                if reading is not None and (does := _effect(reading.recorded.event)) is not None
            ),
        )
    return event


def _effect(event: AnyEvent | None) -> RedactedEffect | None:
    """What an event goes on doing to others when its words are gone; None: nothing."""
    match event:
        case EventCorrected(replacement=Replacement(event=ClaimPreferred() | ClaimRetracted() as new)):
            return replace(event, replacement=Replacement(event=replace(new, reason=None)), reason=None)
        case EventCorrected():
            return replace(event, replacement=Replacement(), reason=None)
        case EventVoided() | ClaimPreferred() | ClaimRetracted() | DealMerged() | DealUnmerged():
            return replace(event, reason=None)
        case OrganizationMerged() | OrganizationUnmerged():
            return replace(event, reason=None)
        case _:
            return None


def _corrections_quoting(history: FoldedStream[S], event: UUID) -> tuple[UUID, ...]:
    """What repeats an event's content: its corrections, as each is stored whole; of a correction the later ones."""
    original = history.record.by_id.get(_original_of(history, event))
    named = history.record.by_id.get(event)
    if original is None or named is None:
        return ()
    after = named.recorded.position
    return tuple(c.id for c in original.corrections if c.position > after and not c.erased)


def admit(history: FoldedStream[S], recorded: Recorded) -> tuple[Refusal, tuple[UUID, ...]] | FoldedStream[S]:
    """The history with the event, or why it is refused, with the events that it would leave without ground.

    Strict where the fold is tolerant: with all clocks open, nothing may be left unapplied that was applied before. An
    erasure by law alone is never refused for what rests on the erased: the law does not wait.
    """
    refusal = _admit_of_record(history, recorded)
    if refusal is not None:
        return refusal, ()
    after = history.copy()
    after.append(recorded)
    stranded = tuple(event for event in after.timeline.refusals if event not in history.timeline.refusals)
    if not stranded or isinstance(recorded.event, EventRedacted):
        return after
    if recorded.id in stranded:
        return after.timeline.refusals[recorded.id], ()
    listed = tuple(f"{event} ({after.timeline.refusals[event].code})" for event in stranded)
    return (
        Refusal("would-strand-events", events=listed),
        stranded,
    )


def _admit_of_record(history: FoldedStream[S], recorded: Recorded) -> Refusal | None:  # noqa: C901 - one line a rule
    event = recorded.event
    first = isinstance(event, history.rules.registered)
    if not history.events:
        if first:
            return None
        return Refusal("not-registered", slug=history.slug)
    if first:
        return Refusal("already-registered", slug=history.slug)
    merged = history.record.merged_into
    if isinstance(event, EventCorrected):
        return _admit_correction(history, event)
    if isinstance(event, EventVoided):
        return _admit_void(history, event)
    if isinstance(event, EventRedacted):
        return _admit_redaction(history, event)
    if isinstance(event, ClaimPreferred):
        return _admit_preference(history, event)
    if isinstance(event, (DealMerged, OrganizationMerged)):
        if event.into == history.slug:
            return Refusal("merge-into-itself")
        return Refusal("already-merged", into=merged) if merged else None
    if isinstance(event, (DealUnmerged, OrganizationUnmerged)):
        return None if merged else Refusal("not-merged")
    if merged:
        return Refusal("merged", slug=history.slug, into=merged)
    return None


def _original_of(history: FoldedStream[S], event: UUID) -> UUID:
    """The original that a chain of corrections belongs to."""
    reading = history.record.by_id.get(event)
    while reading is not None and isinstance(reading.recorded.event, EventCorrected):
        event = reading.recorded.event.corrects
        reading = history.record.by_id.get(event)
    return event


def _unknown_event(event: UUID) -> Refusal:
    return Refusal("event-unknown", event=str(event))


def _admit_correction(history: FoldedStream[S], event: EventCorrected) -> Refusal | None:
    reading = history.record.by_id.get(_original_of(history, event.corrects))
    if reading is None:
        return _unknown_event(event.corrects)
    original = reading.recorded
    if original.erased:
        return Refusal("event-redacted", event=str(original.id))
    if isinstance(
        original.event, (EventVoided, EventRedacted, DealMerged, DealUnmerged, OrganizationMerged, OrganizationUnmerged)
    ):
        return Refusal("not-correctable", type=Label(f"event/{original.type}"))
    if reading.voided_by is not None:
        return Refusal("event-voided", voided_by=str(reading.voided_by.id))
    new = event.replacement
    if new.event is UNSET:
        return Refusal("event-redacted", event=str(reading.source_record.id))
    if type(new.event) is not type(original.event):
        return Refusal("type-changed", type=Label(f"event/{original.type}"))
    if isinstance(new.event, ClaimReported) and new.event.about is None:
        return Refusal("claim-about-missing")
    if (new.event, new.effective_on, new.sources) == (reading.event, reading.effective_on, reading.sources):
        return Refusal("corrects-nothing")
    return None


def _admit_void(history: FoldedStream[S], event: EventVoided) -> Refusal | None:
    reading = history.record.by_id.get(event.voids)
    if reading is None:
        return _unknown_event(event.voids)
    if reading.recorded.version == 1:
        return Refusal("registration-voided")
    if isinstance(reading.recorded.event, EventRedacted):
        return Refusal("redaction-voided")
    if reading.voided_by is not None:
        return Refusal("already-voided", voided_by=str(reading.voided_by.id))
    return None


def _admit_redaction(history: FoldedStream[S], event: EventRedacted) -> Refusal | None:
    reading = history.record.by_id.get(event.redacts)
    if reading is None:
        return _unknown_event(event.redacts)
    if reading.recorded.erased:
        return Refusal("already-redacted")
    if isinstance(reading.recorded.event, EventRedacted):
        return Refusal("redaction-redacted")
    return None


def _admit_preference(history: FoldedStream[S], event: ClaimPreferred) -> Refusal | None:
    chosen = history.record.preferred.get(event.field)
    if event.claim is None:
        if chosen is None:
            return Refusal("no-preference", field=event.field)
        return None
    claim = history.record.claims.get(event.claim)
    if claim is None or not isinstance(claim.event, ClaimReported) or claim.event.field != event.field:
        return Refusal("claim-unknown", claim=event.claim)
    if chosen == claim.recorded.id:
        return Refusal("already-preferred", claim=event.claim)
    retracted = any(
        isinstance(placed.happened.event, ClaimRetracted) and placed.happened.event.claim == event.claim
        for placed in history.timeline.steps
    )
    if retracted:
        return Refusal("claim-retracted", claim=event.claim)
    return None


def _last_setter(history: FoldedStream[S], path: str) -> UUID | None:
    """The event that last set a field of the fold, with all clocks open; to say the same value again is to set it."""
    _, name, key, field = path.split("/")
    id_field = name.removesuffix("s")
    held: Any = None
    setter: UUID | None = None
    for placed, state in zip(history.timeline.steps, history.timeline.states, strict=True):
        event = placed.happened.event
        item = next((i for i in getattr(state, name, ()) if getattr(i, id_field) == key), None)
        if item is None or placed.happened.id in history.timeline.refusals:
            continue
        value = getattr(item, field, None)
        said = isinstance(event, _REVISIONS) and getattr(event, id_field, None) == key
        if held is None or held != (value,) or (said and getattr(event, field, UNSET) is not UNSET):
            setter = placed.happened.id
        held = (value,)
    return setter
