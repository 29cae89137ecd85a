"""The fold: events in effective order, and the state after each of them.

An event's place in the fold is its effective date, then its publication date, then its position in the log: of two
statements about one day, the one published later is the newer word, also where it was recorded first. A claim's place
is directly after the event that it is about, and a retraction's directly after its claim, whenever they were published
or recorded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain import deal, organization
from registry.domain.applied_event import AppliedEvent
from registry.domain.claims import apply_preferred_claims, sets_field
from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import Deal
from registry.domain.organization import Organization
from registry.domain.refusal import Refusal
from registry.errors import RuleBroken
from registry.events.types import (
    AnyEvent,
    ClaimReported,
    ClaimRetracted,
    DealMerged,
    DealRegistered,
    DealUnmerged,
    OrganizationMerged,
    OrganizationRegistered,
    OrganizationUnmerged,
)
from registry.i18n import Message

S = TypeVar("S")


class Rules(Struct, Generic[S], frozen=True):
    """What differs between the kinds of streams: their own event types, and the functions that fold them."""

    registered: type[AnyEvent]
    merged: type[AnyEvent]
    unmerged: type[AnyEvent]
    register: Callable[[str, Any], S]
    evolve: Callable[[S, AppliedEvent], S]
    apply_preferred_claims: Callable[[S, dict[str, UUID | None], dict[UUID, AppliedEvent]], S]


DEALS: Rules[Deal] = Rules(DealRegistered, DealMerged, DealUnmerged, deal.register, deal.evolve, apply_preferred_claims)
ORGANIZATIONS: Rules[Organization] = Rules(
    OrganizationRegistered,
    OrganizationMerged,
    OrganizationUnmerged,
    organization.register,
    organization.evolve,
    lambda state, _preferred, _applied_events: state,  # Organizations have no claims.
)

CLAIM_TYPES = (ClaimReported, ClaimRetracted)

FoldKey = tuple[date, tuple[int, ...]]
"""The place of an event in the fold: its effective date; then the ordinal of its publication date and its position.

A claim has the place of the event it is about with its own position appended, a retraction that of its claim.
"""

# Greater than the publication date of any event.
_END_OF_DAY = (2**63,)


class OrderedEvent(Struct, frozen=True, gc=False):
    """An event at its place in the fold. `about` is the event that a claim is about."""

    key: FoldKey
    applied: AppliedEvent
    effective: EffectiveEvent
    about: UUID | None


def fold_order_of(
    effective: EffectiveEvent, by_id: Mapping[UUID, EffectiveEvent], claims: Mapping[str, EffectiveEvent]
) -> OrderedEvent:
    """The event at its place in the fold.

    Args:
        effective: The event.
        by_id: The stream's events by id.
        claims: The event that reported each claim, by the claim's id.
    """
    event = effective.event
    target: EffectiveEvent | None = None
    if isinstance(event, ClaimReported):
        target = by_id.get(event.about) if event.about else None
        if target is not None and isinstance(target.event, CLAIM_TYPES):
            target = None  # The fold refuses a claim about a claim, so the recursion below ends.
    elif isinstance(event, ClaimRetracted):
        target = claims.get(event.claim)
    position = effective.recorded.position
    if target is None:
        day = effective.effective_on or effective.published_on
        key: FoldKey = (day, (effective.published_on.toordinal(), position))
    else:
        day, place = fold_order_of(target, by_id, claims).key
        key = (day, (*place, position))
    applied = AppliedEvent(
        effective.recorded.id,
        event,  # type: ignore[arg-type]
        key[0],
        effective.published_on,
        effective.sources,
        effective.content_record.recorded_at,
    )
    return OrderedEvent(key, applied, effective, event.about if isinstance(event, ClaimReported) else None)


class Timeline(Generic[S]):
    """A fold that keeps every step: `states[i]` is the state after `steps[i]`. An insert folds again from there only.

    `refusals` holds the rule that each unapplied event breaks, by the event's id.
    """

    def __init__(self, rules: Rules[S], base: S) -> None:
        self.rules = rules
        self.base = base
        self.steps: list[OrderedEvent] = []
        self.states: list[S] = []
        self.refusals: dict[UUID, Message] = {}
        self._keys: list[FoldKey] = []

    def copy(self) -> Timeline[S]:
        """A copy that can grow independently."""
        copy: Timeline[S] = object.__new__(Timeline)
        copy.rules, copy.base = self.rules, self.base
        copy.steps, copy.states, copy._keys = self.steps.copy(), self.states.copy(), self._keys.copy()
        copy.refusals = self.refusals.copy()
        return copy

    def extend(self, events: Iterable[OrderedEvent]) -> Timeline[S]:
        """Insert events, in any order, and fold once."""
        self.steps.extend(events)
        self.steps.sort(key=lambda event: event.key)
        self._keys = [event.key for event in self.steps]
        self._fold(0)
        return self

    def insert(self, event: OrderedEvent) -> int:
        """Insert an event. Returns the index of the first state that may have changed."""
        index = bisect_right(self._keys, event.key)
        self.steps.insert(index, event)
        self._keys.insert(index, event.key)
        self._fold(index)
        return index

    def remove(self, event: UUID) -> None:
        """Remove an event."""
        index = next(i for i, step in enumerate(self.steps) if step.applied.id == event)
        del self.steps[index], self._keys[index]
        self.refusals.pop(event, None)
        self._fold(index)

    def _fold(self, start: int) -> None:
        state = self.states[start - 1] if start else self.base
        del self.states[start:]
        for step in self.steps[start:]:
            self.refusals.pop(step.applied.id, None)
            try:
                if step.about is not None:
                    self._check_target(step)
                state = self.rules.evolve(state, step.applied)
            except RuleBroken as error:
                self.refusals[step.applied.id] = error.refusal
            self.states.append(state)

    def _check_target(self, step: OrderedEvent) -> None:
        """Check that the event that a claim is about is in the fold and set the field that the claim is about.

        The claim's key starts with that event's key, so the event is one of the steps before the claim.
        """
        claim = step.applied.event
        assert isinstance(claim, ClaimReported)
        day, place = step.key
        key = (day, place[:-1])
        index = bisect_left(self._keys, key)
        if index < len(self._keys) and self._keys[index] == key:
            target = self.steps[index].applied
            before = self.states[index - 1] if index else self.base
            if (
                target.id == claim.about
                and target.id not in self.refusals
                and not isinstance(target.event, CLAIM_TYPES)
                and sets_field(claim.field, target.event, before, self.states[index])
            ):
                return
        raise RuleBroken(Refusal("claim-about-unrelated", field=claim.field, event=str(claim.about)))

    def at(self, day: date | None) -> S:
        """The state on a day; None: after all events, also those with a future effective date."""
        count = self.count(day)
        return self.states[count - 1] if count else self.base

    def count(self, day: date | None) -> int:
        """The number of steps in effect on a day."""
        return len(self._keys) if day is None else bisect_right(self._keys, (day, _END_OF_DAY))

    def segments(self, since: date = date.min) -> list[tuple[date, S]]:
        """Each effective date from `since` on, with the state at its end."""
        days: list[tuple[date, S]] = []
        first = bisect_left(self._keys, (since, ()))
        for key, state in zip(self._keys[first:], self.states[first:], strict=True):
            if days and days[-1][0] == key[0]:
                days[-1] = (key[0], state)
            else:
                days.append((key[0], state))
        return days
