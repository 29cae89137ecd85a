"""What each step of a fold changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.diff import Change, diff
from registry.domain.fold import Rules
from registry.domain.history import StateAsOf

S = TypeVar("S", bound=Struct)


def changes_by_step(snapshot: StateAsOf[S], rules: Rules[S]) -> Iterator[tuple[UUID, list[Change]]]:
    """Each event that a state is made of, the registration first, and what it changed."""
    if snapshot.state is None or snapshot.registration is None:
        return
    applied_events = snapshot.applied_events
    shown = rules.apply_preferred_claims(snapshot.base, snapshot.preferred, applied_events)
    yield snapshot.registration.recorded.id, diff(None, shown)
    folded = snapshot.base
    for step, state in zip(snapshot.steps, snapshot.states, strict=True):
        if state is folded:
            yield step.applied.id, []
            continue
        before, shown = shown, rules.apply_preferred_claims(state, snapshot.preferred, applied_events)
        yield step.applied.id, diff(before, shown)
        folded = state
