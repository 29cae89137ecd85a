"""The fold of a stream by fact: the events that touch each fact, and the value of the fact after each of them.

In whatever order events arrive, an inserted event changes the facts that it touches. A later event is applied again
only if it touches a fact whose value before it has changed. This ends where the values are what they were before. So
the cost of an event does not depend on what else the stream holds. A whole state is assembled only when it is asked
for. Insertion, removal and their convergence are one algorithm in one file; hence its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from datetime import date
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.fold.claims import sets_field
from registry.domain.fold.fact_history import FactHistory
from registry.domain.fold.facts import (
    HEADER,
    STAGE,
    FactKey,
    FactValue,
    Touched,
    gather,
    in_order,
    item_of_field,
    split,
)
from registry.domain.fold.order import END_OF_DAY, FoldKey, OrderedEvent, Rules
from registry.domain.fold.sorted_map import SortedMap
from registry.domain.fold.stage_history import StageHistory
from registry.domain.fold.state_assembly import CachedStates, assemble, assemble_latest
from registry.domain.refusal import Refusal
from registry.domain.stages import StageSignal, StageState
from registry.errors import RuleBroken
from registry.events.types import ClaimReported, ClaimRetracted
from registry.i18n import Message

S = TypeVar("S", bound=Struct)


_NEW = FactHistory()

# The slices of an update of at most this number of events are cached.
_MAX_SLICES = 8


def _publication(step: OrderedEvent) -> date:
    return step.applied.published_on


class Timeline(Struct, Generic[S], eq=False, gc=False):
    """The fold of a stream's events. An update costs what it changes, and a copy costs nothing.

    Attributes:
        refusals: The rule that each unapplied event breaks, by the event's id.
        blank: A state without any fact.
        latest_publication: The latest publication date that an event of the fold has or had.
        applied: The places of the events that the last update applied, for the first time or again.
        stages: What the events signal about the stage, and the stages.
    """

    rules: Rules[S]
    base: S
    refusals: Mapping[UUID, Message] = {}
    stages: StageHistory = StageHistory()
    latest_publication: date = date.min
    applied: tuple[FoldKey, ...] = ()
    _slug: str = ""
    # `__post_init__` makes it.
    blank: S = None  # type: ignore[assignment]
    _steps: SortedMap[FoldKey, OrderedEvent] = SortedMap()
    # The histories by list and key.
    _facts: dict[str, SortedMap[FactKey, FactHistory]] = {}
    # The claims and retractions that have a claim's id.
    _claims: SortedMap[str, tuple[OrderedEvent, ...]] = SortedMap()
    # Caches. The states that were assembled:
    _cached: CachedStates[S] = CachedStates()
    # What `touched` has last returned: an event's facts are asked for several times while it is recorded.
    _touched: tuple[OrderedEvent | None, Touched] = (None, Touched(()))
    # The facts before and after each event that the last update applied.
    _slices: Mapping[FoldKey, tuple[S, S]] = {}

    def __post_init__(self) -> None:
        self._slug = getattr(self.base, self.base.__struct_fields__[0])
        self.blank = self.rules.register(self._slug, None)
        self._facts = {HEADER[0]: SortedMap.of([(HEADER, FactHistory(self.base))])}

    def copy(self) -> Timeline[S]:
        """A copy that can grow independently."""
        return copy(self)

    # --- events -------------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> list[OrderedEvent]:
        """The events in the order of the fold."""
        return list(self._steps.first_values())

    def __contains__(self, step: OrderedEvent) -> bool:
        return step.key in self._steps

    def step(self, key: FoldKey) -> OrderedEvent:
        """The event at a place."""
        return self._steps[key]

    def steps_before(self, key: FoldKey) -> Iterator[OrderedEvent]:
        """The events before a place, the last one first."""
        return self._steps.values_before(key)

    def steps_from(self, key: FoldKey) -> Iterator[OrderedEvent]:
        """The events from a place on."""
        return (step for _, step in self._steps.entries(key))

    def first_published(self, key: FoldKey, published_before: date, *, after: bool) -> OrderedEvent | None:
        """The first event at a place or later (with `after`: later) that was published before a day."""
        found = self._steps.first_published(key, published_before, _publication, after=after)
        return found[1] if found else None

    def last_step(self) -> OrderedEvent | None:
        """The last event of the fold."""
        last = self._steps.last()
        return last[1] if last else None

    def first_steps(self, count: int) -> list[OrderedEvent]:
        """The first events of the fold."""
        return list(self._steps.first_values(count))

    def count(self, day: date | None) -> int:
        """The number of events in effect on a day; None: of all."""
        return len(self._steps) if day is None else self._steps.count((day, END_OF_DAY))

    def key_at(self, count: int) -> FoldKey | None:
        """The place of the last of the first `count` events."""
        return self._steps.key_at(count - 1) if count else None

    def extend(self, events: Iterable[OrderedEvent]) -> Timeline[S]:
        """Insert events, in any order."""
        self.update((), events)
        return self

    def insert(self, event: OrderedEvent) -> frozenset[FactKey]:
        """Insert an event. Returns the facts that it changes."""
        return self.update((), (event,))

    def remove(self, event: OrderedEvent) -> frozenset[FactKey]:
        """Remove an event. Returns the facts that this changes."""
        return self.update((event,), ())

    def update(self, removed: Iterable[OrderedEvent], added: Iterable[OrderedEvent]) -> frozenset[FactKey]:
        """Remove and insert events. Returns the facts whose value changes at any place."""
        return _Update(self).run(list(removed), list(added))

    # --- facts --------------------------------------------------------------------------------------------------------

    def fact(self, key: FactKey) -> FactHistory:
        """The history of a fact. STAGE has none: see `stages`."""
        of_list = self._facts.get(key[0])
        return of_list.get(key, _NEW) if of_list is not None else _NEW

    def facts(self, name: str | None = None) -> Iterator[tuple[FactKey, FactHistory]]:
        """The facts of a list that an event has ever touched, or all of them, but for the stage."""
        for of_list in self._facts.values() if name is None else filter(None, [self._facts.get(name)]):
            yield from of_list.entries()

    def touched(self, step: OrderedEvent) -> Touched:
        """The facts that an event of the fold may change. A retraction changes the item of the claim that it names."""
        known, touched = self._touched
        if step is known:
            return touched
        if (claim := _claim_of(step)) is not None:
            reports = (other.applied.event for other in self._claims.get(claim, (step,)))
            items = dict.fromkeys(
                item_of_field(report.field) for report in reports if isinstance(report, ClaimReported)
            )
            return Touched(tuple(items))
        touched = self.rules.touches(self._slug, step.applied)
        self._touched = (step, touched)
        return touched

    def claims(self) -> Iterator[tuple[OrderedEvent, ...]]:
        """The events of the fold that report or retract each claim's id."""
        return self._claims.first_values()

    def claim_steps(self, claim: str) -> tuple[OrderedEvent, ...]:
        """The events of the fold that report or retract a claim."""
        return self._claims.get(claim, ())

    def has_any(self, name: str) -> bool:
        """Whether any event of the fold touches a list."""
        return bool(self._facts.get(name))

    def items(self, name: str) -> tuple[Any, ...]:
        """A list of the state after all events."""
        return in_order(item for _, history in self.facts(name) for item in history.last())

    def slices(self, step: OrderedEvent) -> tuple[S, S]:
        """The facts that an event of the fold touches, and the stage, before and after it."""
        before, after = self.facts_around(step)
        if not self.stages.changes:
            return before, after
        return (
            replace(before, stage=self.stages.before(step.key)),
            replace(after, stage=self.stages.at(step.key)),
        )

    def facts_around(self, step: OrderedEvent) -> tuple[S, S]:
        """The facts that an event of the fold touches, before and after it."""
        key = step.key
        if key in self._slices:
            return self._slices[key]
        touched = self.touched(step)
        facts = (*touched.writes, *touched.reads)
        before = self.slice({fact: self.fact(fact).before(key) for fact in facts})
        return before, self.slice({fact: self.fact(fact).after(key) for fact in facts})

    def final(self, keys: Iterable[FactKey]) -> S:
        """Some facts after all events."""
        keys = list(keys)
        found = self.slice({key: self.fact(key).last() for key in keys if key != STAGE})
        return replace(found, stage=self.stages.last()) if STAGE in keys else found

    def slice(self, values: Mapping[FactKey, FactValue]) -> S:
        """A state that holds these facts only."""
        header: S = values.get(HEADER, self.blank)
        return gather(header, values)

    def stage_changes(self, count: int) -> Iterator[tuple[OrderedEvent, StageState | None]]:
        """Each of the first `count` events that changed the stage, with the stage after it."""
        last = self.key_at(count)
        for key, stage in self.stages.changes.entries():
            if last is None or key > last:
                return
            yield self._steps[key], stage

    # --- states -------------------------------------------------------------------------------------------------------

    def at(self, day: date | None) -> S:
        """The state on a day; None: after all events, also those with a future effective date."""
        last = self._steps.last() if day is None else self._steps.last_before((day, END_OF_DAY))
        return self.state_after(last[0]) if last else self.base

    def state_after(self, key: FoldKey) -> S:
        """The state after the event at a place, assembled from its facts."""
        cached = self._cached.last
        if cached is not None and cached[0] == key:
            return cached[1]
        state = self._assemble(key)
        self._cached = CachedStates((key, state), self._cached.latest, self._cached.outdated)
        return state

    def _assemble(self, key: FoldKey) -> S:
        last = self._steps.last()
        if last is None or last[0] != key:
            earlier: S = assemble(self._facts, self.stages, key)
            return earlier
        state = assemble_latest(self._facts, self.stages, self._cached)
        self._cached = CachedStates(self._cached.last, state)
        return state

    def states_around(self, step: OrderedEvent) -> tuple[S, S]:
        """The state before and after an event of the fold."""
        before = self._steps.last_before(step.key)
        return self.state_after(before[0]) if before else self.base, self.state_after(step.key)

    @property
    def states(self) -> list[S]:
        """The state after each event of `steps`."""
        return [self._assemble(step.key) for step in self._steps.first_values()]

    def segments(self, since: date = date.min) -> list[tuple[date, S]]:
        """Each effective date from `since` on, with the state at its end."""
        days = dict.fromkeys(key[0] for key, _ in self._steps.entries((since, ())))
        return [(day, self.at(day)) for day in days]


class _Update:
    """One update of a timeline: the events to apply again, in the order of the fold."""

    def __init__(self, timeline: Timeline[Any]) -> None:
        self._timeline = timeline
        self._pending: list[FoldKey] = []
        # The place of the last event: no later event depends on what it changes.
        self._last: FoldKey | None = None
        self._refusals = dict(timeline.refusals)
        self._signals: dict[FoldKey, StageSignal | None] = {}
        self._slices: dict[FoldKey, tuple[Any, Any]] = {}
        self._changed: set[FactKey] = set()
        self._outdated = dict(timeline._cached.outdated)

    def run(self, removed: list[OrderedEvent], added: list[OrderedEvent]) -> frozenset[FactKey]:
        """Remove and insert events. Returns the facts that this changes."""
        timeline = self._timeline
        # Events with the same claim's id depend on each other's items, so they are inserted again.
        claims = dict.fromkeys([claim for step in (*removed, *added) if (claim := _claim_of(step)) is not None])
        if claims:
            keys = {step.key for step in removed}
            related = [step for claim in claims for step in timeline._claims.get(claim, ()) if step.key not in keys]
            removed, added = [*removed, *related], [*added, *related]
        for step in removed:
            self._detach(step)
        for step in removed:
            timeline._steps = timeline._steps.delete(step.key)
        for step in added:
            timeline._steps = timeline._steps.set(step.key, step)
            timeline.latest_publication = max(timeline.latest_publication, step.applied.published_on)
        last = timeline.last_step()
        self._last = last.key if last is not None else None
        if claims:
            self._index_claims(removed, added)
        for step in added:
            self._attach(step)
        self._apply_pending()
        timeline.refusals, timeline.applied = self._refusals, tuple(self._signals)
        timeline._cached = timeline._cached.after_update(self._outdated)
        # Not those of a whole stream, which would double its memory.
        timeline._slices = self._slices if len(self._slices) <= _MAX_SLICES else {}
        stages = timeline.stages.updated(self._signals)
        if stages.changes is not timeline.stages.changes:
            self._changed.add(STAGE)
        timeline.stages = stages
        return frozenset(self._changed)

    def _index_claims(self, removed: list[OrderedEvent], added: list[OrderedEvent]) -> None:
        timeline = self._timeline
        for step, kept in (*((step, ()) for step in removed), *((step, (step,)) for step in added)):
            if (claim := _claim_of(step)) is not None:
                others = tuple(other for other in timeline._claims.get(claim, ()) if other.key != step.key)
                timeline._claims = timeline._claims.set(claim, (*others, *kept))

    def _put(self, fact: FactKey, history: FactHistory) -> None:
        if self._timeline._cached.latest is not None and fact not in self._outdated:
            self._outdated[fact] = self._timeline.fact(fact).last()
        facts, name = self._timeline._facts, fact[0]
        of_list = facts.get(name, _NO_FACTS)
        if fact == HEADER or history.values or history.readers:
            of_list = of_list.set(fact, history)
        else:
            of_list = of_list.delete(fact)
        self._timeline._facts = {**facts, name: of_list}

    def _detach(self, step: OrderedEvent) -> None:
        touched, key = self._timeline.touched(step), step.key
        for fact in touched.writes:
            history = self._timeline.fact(fact)
            old, new = history.after(key), history.before(key)
            history = FactHistory(history.base, history.values.delete(key), history.readers)
            self._put(fact, history)
            self._note_change(fact, history, key, old, new)
        for fact in touched.reads:
            history = self._timeline.fact(fact)
            self._put(fact, FactHistory(history.base, history.values, history.readers.delete(key)))
        self._refusals.pop(step.applied.id, None)
        self._signals[key] = None
        self._push_claims_about(key)

    def _attach(self, step: OrderedEvent) -> None:
        key = step.key
        for fact in self._timeline.touched(step).reads:
            history = self._timeline.fact(fact)
            self._put(fact, FactHistory(history.base, history.values, history.readers.set(key, step)))
        self._pending.append(key)

    def _apply_pending(self) -> None:
        heapify(self._pending)
        done = None
        while self._pending:
            key = heappop(self._pending)
            step = self._timeline._steps.get(key)
            if key != done and step is not None:
                self._apply(step)
            done = key

    def _apply(self, step: OrderedEvent) -> None:
        """Apply an event to the facts before it. What it changes applies later events again."""
        timeline, key, event = self._timeline, step.key, step.applied.id
        touched = timeline.touched(step)
        facts = (*touched.writes, *touched.reads)
        values = was = {fact: timeline.fact(fact).before(key) for fact in facts}
        before = after = timeline.slice(values)
        signal: StageSignal | None = None
        self._refusals.pop(event, None)
        try:
            if step.about is not None:
                self._check_target(step)
            after = timeline.rules.evolve_facts(before, step.applied)
            signal = timeline.rules.stage_signal(before, after, step.applied)
        except RuleBroken as error:
            self._refusals[event] = error.refusal
        if after is not before:
            values = split(after, facts, timeline.blank)
        for fact in touched.writes:
            history, new = timeline.fact(fact), values[fact]
            entry = history.values.get(key)
            if entry is None or new is not entry[1]:
                old = entry[1] if entry else was[fact]
                history = FactHistory(history.base, history.values.set(key, (step, new)), history.readers)
                self._put(fact, history)
                self._note_change(fact, history, key, old, new)
        self._signals[key] = signal
        self._slices[key] = before, after
        self._push_claims_about(key)

    def _note_change(self, fact: FactKey, history: FactHistory, key: FoldKey, old: FactValue, new: FactValue) -> None:
        """Apply the next event that may change the fact again, and, where the fact appears or vanishes, its readers."""
        if old == new:
            return
        self._changed.add(fact)
        if key == self._last:
            return
        following = history.values.first_after(key)
        if following is not None:
            heappush(self._pending, following[0])
        if bool(old) != bool(new):
            for reader, _ in history.readers.entries(key, following[0] if following else None):
                heappush(self._pending, reader)

    def _push_claims_about(self, key: FoldKey) -> None:
        """Apply the claims about an event again. They directly follow it, and their places start with its place."""
        if not self._timeline._claims:
            return
        day, place = key
        following = self._timeline._steps.first_after(key)
        while following is not None and following[0][0] == day and following[0][1][: len(place)] == place:
            heappush(self._pending, following[0])
            following = self._timeline._steps.first_after(following[0])

    def _check_target(self, step: OrderedEvent) -> None:
        """Check that the event that a claim is about is in the fold and set the field that the claim is about.

        The claim's place starts with that event's place, so the event has been applied before.
        """
        claim = step.applied.event
        assert isinstance(claim, ClaimReported)
        timeline, item = self._timeline, item_of_field(claim.field)
        day, place = step.key
        target = timeline._steps.get((day, place[:-1]))
        if (
            target is not None
            and target.applied.id == claim.about
            and claim.about not in self._refusals
            and _claim_of(target) is None
            and item in timeline.touched(target).writes
        ):
            history = timeline.fact(item)
            before = timeline.slice({item: history.before(target.key)})
            after = timeline.slice({item: history.after(target.key)})
            if sets_field(claim.field, target.applied.event, before, after):
                return
        raise RuleBroken(Refusal("claim-about-unrelated", field=claim.field, event=str(claim.about)))


_NO_FACTS: SortedMap[FactKey, FactHistory] = SortedMap()


def _claim_of(step: OrderedEvent) -> str | None:
    """The claim that an event reports or retracts."""
    event = step.applied.event
    return event.claim if type(event) is ClaimReported or type(event) is ClaimRetracted else None
