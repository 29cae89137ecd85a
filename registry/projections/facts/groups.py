"""The groups of facts of a deal, read from the histories in its timeline (`fold/timeline.py`).

A group has facts that must be folded together. `touches` (`deal/facts.py`) alone decides which facts an event
touches. A fact that has rows is a group of its own, folded by `evolve_facts` on a slice with that fact. The title is
known from the first day on which anything about the deal is known, so all events are entries of the header. The stage
follows from what the other groups signal about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.checks.doubted_amounts import Checks, checks_after
from registry.domain.deal import Deal, evolve_facts, stage_signal
from registry.domain.fold.claims import apply_preferred_claims, sets_field
from registry.domain.fold.fact_history import FactHistory
from registry.domain.fold.facts import HEADER, FactKey, FactValue, in_order, key_of
from registry.domain.fold.order import CLAIM_TYPES, FoldKey, OrderedEvent
from registry.domain.fold.timeline import Timeline
from registry.domain.history import FoldedStream
from registry.domain.stages import StageSignal, StageState, next_stage
from registry.errors import RuleBroken
from registry.events.types import ClaimReported
from registry.projections.facts.signals import StageSignals, published_from
from registry.projections.facts.sweep_line import END_OF_TIME, Folding, SweepEntry, SweepLine
from registry.projections.facts.sweeps import FactGroup
from registry.projections.facts.tables import STAGE_FACTS, TABLE_OF, RowKey, Values, rows_of, stage_values

CLAIMED: FactKey = ("claimed",)
"""The facts with claims that share an id: which claim counts depends on all of them, so they are one group."""

_OF_HEADER = (HEADER[0], "identifiers")

Action: TypeAlias = tuple[OrderedEvent, Mapping[FactKey, FactValue], bool]
"""An event, the facts of other groups that it reads, and whether it also writes some of them."""

Registration: TypeAlias = tuple[date, date]
"""The effective date and the publication day from which on a deal is known by its registration alone."""


class FactState(Struct, frozen=True, eq=False):
    """A deal that holds some facts, and the last event that claims may be about, with the deal before it.

    `checks` tells what its amounts are compared with. States with the same deal and checks are equal whatever their
    `target`, because only the claims directly after an event need it.
    """

    deal: Deal
    checks: Checks = {}
    target: tuple[UUID, Any, Deal] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FactState) and self.deal == other.deal and self.checks == other.checks

    __hash__ = None  # type: ignore[assignment]


def shared_facts(timeline: Timeline[Deal]) -> frozenset[FactKey]:
    """The facts with claims whose id a claim about another fact has too."""
    written = (timeline.touched(steps[0]).writes for steps in timeline.claims() if steps)
    return frozenset(fact for facts in written if len(facts) > 1 for fact in facts)


def group_of(fact: FactKey, shared: frozenset[FactKey]) -> FactKey | None:
    """The group of a fact; None for one that has no rows."""
    if fact in shared:
        return CLAIMED
    if fact[0] in _OF_HEADER:
        return HEADER
    return fact if fact[0] in TABLE_OF else None


def groups_of(timeline: Timeline[Deal], shared: frozenset[FactKey]) -> list[FactKey]:
    """The groups of a deal, the stage's excepted."""
    facts = (group_of(fact, shared) for fact, _ in timeline.facts())
    return list(dict.fromkeys([HEADER, *(group for group in facts if group is not None)]))


def new_group(stream: FoldedStream[Deal], key: FactKey, shared: frozenset[FactKey]) -> FactGroup:
    """A group, the stage's excepted."""
    if key == HEADER:
        return _HeaderGroup(stream)
    return _ItemGroup(stream, sorted(shared) if key == CLAIMED else [key])


def ungrouped_signal(timeline: Timeline[Deal], step: OrderedEvent) -> StageSignal | None:
    """What an event that is in no group signals about the stage."""
    return stage_signal(timeline.blank, timeline.blank, step.applied)


def makes_fact(timeline: Timeline[Deal], step: OrderedEvent, fact: FactKey) -> bool:
    """Whether a deal has a fact from an event on if it did not have it before."""
    try:
        return bool(getattr(evolve_facts(timeline.blank, step.applied), fact[0]))
    except RuleBroken:
        return False


class _ItemGroup:
    """The events that touch one fact, or one of several that share claims."""

    def __init__(self, stream: FoldedStream[Deal], facts: Sequence[FactKey]) -> None:
        self._timeline, self._preferred = stream.timeline, stream.record.preferred
        self._facts = facts
        self._histories = [stream.timeline.fact(fact) for fact in facts]
        self._initial = FactState(stream.timeline.blank)

    @property
    def folding(self) -> Folding:
        # Made for each use: a group that kept its own methods would be freed by a garbage collection only.
        return Folding(initial=self._initial, apply=self._apply, facts=self._rows)

    def next(self, place: FoldKey, *lines: SweepLine, after: bool) -> SweepEntry | None:
        published_before = max(line.end for line in lines)
        if len(self._histories) == 1:
            return self._next(self._histories[0], place, published_before, after=after)
        found = [self._next(history, place, published_before, after=after) for history in self._histories]
        return min((entry for entry in found if entry is not None), key=lambda entry: entry.key, default=None)

    def _next(self, history: FactHistory, place: FoldKey, published_before: date, *, after: bool) -> SweepEntry | None:
        while (step := history.first_published(place, published_before, after=after)) is not None:
            entry = self._entry(step)
            if entry is not None and entry.published_from < published_before:
                return entry
            place, after = step.key, True
        return None

    def _entry(self, step: OrderedEvent) -> SweepEntry | None:
        """An event with the facts that it reads, from the day on which all of them are known; None if one never is."""
        touched, published_from = self._timeline.touched(step), step.applied.published_on
        read: dict[FactKey, FactValue] = {}
        for fact in touched.reads:
            if fact in self._facts:
                continue
            made = self._made(fact, step)
            if made is None:
                return None
            published_from, read[fact] = max(published_from, made[0]), made[1]
        action: Action = (step, read, len(touched.writes) > 1)
        return SweepEntry(step.key, ((published_from, END_OF_TIME, action),), published_from)

    def _made(self, fact: FactKey, reader: OrderedEvent) -> tuple[date, FactValue] | None:
        """The first day on which a fact is known at a reader's place, and a value of it."""
        history, first = self._timeline.fact(fact), None
        for key, (step, value) in history.values.entries(None, reader.key):
            published = step.applied.published_on
            if (first is None or published < first[0]) and makes_fact(self._timeline, step, fact):
                first = published, value or history.after(key)
                if published <= reader.applied.published_on:
                    break
        return first

    def _apply(self, state: FactState, action: Action) -> tuple[FactState, StageSignal | None]:
        """The facts after an event, and what it signals. An event that breaks a rule leaves the facts as they are.

        A claim about an event comes directly after it, and has to be about a field that it set (see `Timeline`).
        """
        step, read, writes_others = action
        event = step.applied.event
        try:
            if isinstance(event, ClaimReported) and step.about is not None and not _is_about_target(event, state):
                return state, None
            before = _with_facts(state.deal, read)
            after = evolve_facts(before, step.applied)
        except RuleBroken:
            return (state if isinstance(event, CLAIM_TYPES) else FactState(state.deal, state.checks)), None
        checks = checks_after(state.checks, before, step.applied)
        if isinstance(event, CLAIM_TYPES):
            return FactState(after, checks, state.target), None
        own = self._own(after) if read or writes_others else after
        return FactState(own, checks, (step.applied.id, event, state.deal)), stage_signal(before, after, step.applied)

    def _own(self, deal: Deal) -> Deal:
        """The deal with this group's facts only."""
        names = {fact[0] for fact in self._facts}
        items = {name: tuple(i for i in getattr(deal, name) if key_of(name, i) in self._facts) for name in names}
        return replace(self._timeline.blank, **items)

    def _rows(self, state: FactState) -> dict[RowKey, Values]:
        deal = apply_preferred_claims(state.deal, self._preferred, {})
        return rows_of(deal, state.checks, dict.fromkeys(fact[0] for fact in self._facts))


def _is_about_target(claim: ClaimReported, state: FactState) -> bool:
    if state.target is None:
        return False
    id, event, before = state.target
    return id == claim.about and sets_field(claim.field, event, before, state.deal)


def _with_facts(deal: Deal, facts: Mapping[FactKey, FactValue]) -> Deal:
    for (name, *_), items in facts.items():
        deal = replace(deal, **{name: in_order((*getattr(deal, name), *items))})
    return deal


# --- the header -------------------------------------------------------------------------------------------------------


def registration(stream: FoldedStream[Deal]) -> Registration | None:
    """The day since which a deal is known by its registration alone, on both axes; None if the registration is void."""
    registered = stream.record.registration
    return None if registered is None else (registered.registered_on or date.min, registered.published_on)


class _HeaderGroup:
    """The events that revise or identify a deal, and those from which on it is known."""

    def __init__(self, stream: FoldedStream[Deal]) -> None:
        self._timeline = stream.timeline
        self._histories = [history for name in _OF_HEADER for _, history in stream.timeline.facts(name)]
        self._registered: SweepEntry | None = None
        if (point := registration(stream)) is not None:
            # Before all events of its day.
            key = (point[0], (0, point[1].toordinal()))
            self._registered = SweepEntry(key, ((point[1], END_OF_TIME, None),), point[1])

    @property
    def folding(self) -> Folding:
        # Made for each use, as in `_ItemGroup`.
        return Folding(initial=None, apply=self._apply, facts=_header_rows)

    def next(self, place: FoldKey, *lines: SweepLine, after: bool) -> SweepEntry | None:
        published_before = max(line.end for line in lines)
        steps = [history.first_published(place, published_before, after=after) for history in self._histories]
        unknown_before = max(map(_unknown_before, lines))
        if unknown_before > date.min:
            steps.append(self._timeline.first_published(place, unknown_before, after=after))
        found = [_header_entry(step) for step in steps if step is not None]
        registered = self._registered
        if registered is not None and (registered.key > place or (registered.key == place and not after)):
            found.append(registered)
        return min(found, key=lambda entry: entry.key, default=None)

    def _apply(self, state: Deal | None, step: OrderedEvent | None) -> tuple[Deal, None]:
        """The header after an event; `step` is None for the registration."""
        state = self._timeline.base if state is None else state
        if step is None or not any(fact[0] in _OF_HEADER for fact in self._timeline.touched(step).writes):
            return state, None
        return evolve_facts(state, step.applied), None


def _header_entry(step: OrderedEvent) -> SweepEntry:
    published = step.applied.published_on
    return SweepEntry(step.key, ((published, END_OF_TIME, step),), published)


def _unknown_before(line: SweepLine) -> date:
    """The first publication day from which on the deal is known on all days of a line."""
    for index in range(len(line.segments) - 1, -1, -1):
        if line.segments[index].state is None:
            return line.end_of(index)
    return date.min


def _header_rows(state: Deal | None) -> dict[RowKey, Values]:
    return {} if state is None else rows_of(state, {}, (HEADER[0],))


# --- the stage --------------------------------------------------------------------------------------------------------


class StageGroup:
    """What the events of a deal signal about its stage."""

    def __init__(self, signals: StageSignals) -> None:
        self._signals = signals
        self.folding = Folding(initial=None, apply=_apply_signal, facts=_stage_rows)

    def next(self, place: FoldKey, *lines: SweepLine, after: bool) -> SweepEntry | None:
        best: SweepEntry | None = None
        for signal, entries in self._signals.kinds.items():
            published_before = max(line.end if signal is None else _changed_before(line, signal) for line in lines)
            if published_before > date.min:
                found = entries.first_published(place, published_before, published_from, after=after)
                if found is not None and (best is None or found[0] < best.key):
                    best = found[1]
        return best


def _changed_before(line: SweepLine, signal: StageSignal) -> date:
    """The first publication day from which on a signal changes the stage on no day of a line."""
    for index in range(len(line.segments) - 1, -1, -1):
        stage: StageState | None = line.segments[index].state
        if next_stage(stage, signal, date.max, is_pledged=False) != stage:
            return line.end_of(index)
    return date.min


def _apply_signal(stage: StageState | None, action: tuple[StageSignal, date]) -> tuple[StageState | None, None]:
    """The stage after a signal. A withdrawal is in the group only where no other pledge stands."""
    signal, on = action
    return next_stage(stage, signal, on, is_pledged=False), None


def _stage_rows(stage: StageState | None) -> dict[RowKey, Values]:
    return {(STAGE_FACTS, ()): stage_values(stage)} if stage is not None else {}
