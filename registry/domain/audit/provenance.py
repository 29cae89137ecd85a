"""Provenance: the event behind each field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.diff import diff
from registry.domain.audit.steps import changes_by_step
from registry.domain.claims import LISTS
from registry.domain.fold import Rules
from registry.domain.history import StateAsOf
from registry.events.types import ClaimPreferred

S = TypeVar("S", bound=Struct)


class FieldProvenance(Struct, frozen=True, kw_only=True):
    """A field of a state, the event that set the value shown, and the value before.

    Where a preferred claim is shown, `event` reported the claim and `preferred_by` selected it. Where none is shown,
    also after the claim was retracted or the preference withdrawn, `event` is the deal's own event that set the field.
    """

    path: str
    value: Any
    before: Any
    event: UUID
    preferred_by: UUID | None = None


def provenance(snapshot: StateAsOf[S], rules: Rules[S]) -> list[FieldProvenance]:
    """The provenance of every field that has a value, in the order of the state's fields."""
    last_change = _last_changes(snapshot, rules)
    preferred_by: dict[str, UUID] = {}
    if any(snapshot.preferred.values()):
        # A value that no preferred claim replaces was set by a step of the fold without preferences.
        recorded = _last_changes(replace(snapshot, preferred={}), rules)
        last_change |= {path: change for path, change in recorded.items() if not path.endswith("/claims")}
        preferences = _preferences(snapshot)
        for path, before, claim in _values_of_preferred_claims(snapshot.state):
            last_change[path] = (before, claim)
            preferred_by[path] = preferences[path]
    fields: list[FieldProvenance] = []
    for change in diff(None, snapshot.state):
        path = change.path
        before, event = last_change[path]
        fields.append(
            FieldProvenance(
                path=path, value=change.after, before=before, event=event, preferred_by=preferred_by.get(path)
            )
        )
    return fields


def _last_changes(snapshot: StateAsOf[S], rules: Rules[S]) -> dict[str, tuple[Any, UUID]]:
    """The value of each field before its last change, and the event that changed it."""
    return {change.path: (change.before, event) for event, changes in changes_by_step(snapshot) for change in changes}


def _preferences(snapshot: StateAsOf[S]) -> dict[str, UUID]:
    """The preference in force of each field."""
    return {
        effective.event.field: effective.recorded.id
        for effective in snapshot.effective_events
        if effective.is_in_force and isinstance(effective.event, ClaimPreferred)
    }


def _values_of_preferred_claims(state: Any) -> Iterator[tuple[str, Any, UUID]]:
    """Each field that shows a preferred claim's value, the recorded value that it replaces, and the claim's event."""
    for item in (item for name in LISTS for item in getattr(state, name, ())):
        recorded = {claim.field: claim.value for claim in item.claims if claim.claim is None}
        for claim in item.claims:
            if claim.followed and claim.claim is not None and claim.value != recorded[claim.field]:
                yield claim.field, recorded[claim.field], claim.event
