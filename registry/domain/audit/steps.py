"""What each step of a fold changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.diff import Change, diff
from registry.domain.fold import OrderedEvent
from registry.domain.history import StateAsOf

S = TypeVar("S", bound=Struct)


def changes_by_step(snapshot: StateAsOf[S]) -> Iterator[tuple[UUID, list[Change]]]:
    """Each event that a state is made of, the registration first, and what it changed."""
    if snapshot.state is None or snapshot.registration is None:
        return
    yield snapshot.registration.recorded.id, registration_changes(snapshot)
    for step in snapshot.steps:
        yield step.applied.id, changes_of(snapshot, step)


def registration_changes(snapshot: StateAsOf[S]) -> list[Change]:
    """The fields that the registration gave."""
    return diff(None, snapshot.base)


def changes_of(snapshot: StateAsOf[S], step: OrderedEvent) -> list[Change]:
    """What a step of a fold changed: the difference between the facts that it touches, before and after it."""
    before, after = snapshot.timeline.slices(step)
    return diff(snapshot.with_preferred_claims(before), snapshot.with_preferred_claims(after))
