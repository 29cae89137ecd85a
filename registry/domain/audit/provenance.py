"""Provenance: the event behind each field."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.diff import diff
from registry.domain.audit.steps import changes_by_step
from registry.domain.fold import Rules
from registry.domain.history import StateAsOf
from registry.events.types import ClaimPreferred

S = TypeVar("S", bound=Struct)


class FieldProvenance(Struct, frozen=True, kw_only=True):
    """A field of a state, the event that set it, and the value before.

    Where a preferred claim is shown, `event` reported the claim and `preferred_by` selected it.
    """

    path: str
    value: Any
    before: Any
    event: UUID
    preferred_by: UUID | None = None


def provenance(snapshot: StateAsOf[S], rules: Rules[S]) -> list[FieldProvenance]:
    """The provenance of every field that has a value, in the order of the state's fields."""
    last_change: dict[str, tuple[Any, UUID]] = {}
    for event, changes in changes_by_step(snapshot, rules):
        for change in changes:
            last_change[change.path] = (change.before, event)
    preferences = {
        effective.event.field: effective.recorded.id
        for effective in snapshot.effective_events
        if effective.is_in_force and isinstance(effective.event, ClaimPreferred)
    }
    fields: list[FieldProvenance] = []
    for change in diff(None, snapshot.state):
        before, event = last_change[change.path]
        preferred = snapshot.preferred.get(change.path) == event
        fields.append(
            FieldProvenance(
                path=change.path,
                value=change.after,
                before=before,
                event=event,
                preferred_by=preferences[change.path] if preferred else None,
            )
        )
    return fields
