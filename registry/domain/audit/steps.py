"""What each step of a fold changed."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from registry.domain.audit.diff import Change, diff
from registry.domain.fold.order import OrderedEvent
from registry.domain.history import StateAsOf

S = TypeVar("S", bound=Struct)


def registration_changes(snapshot: StateAsOf[S]) -> list[Change]:
    """The fields that the registration gave."""
    return diff(None, snapshot.base)


def changes_of(snapshot: StateAsOf[S], step: OrderedEvent) -> list[Change]:
    """What a step of a fold changed: the difference between the facts that it touches, before and after it."""
    before, after = snapshot.timeline.slices(step)
    return diff(snapshot.with_preferred_claims(before), snapshot.with_preferred_claims(after))
