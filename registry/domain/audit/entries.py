"""The audit trail of a stream: every event and what it changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.diff import Change, diff
from registry.domain.audit.steps import changes_by_step
from registry.domain.corrections import EffectiveEvent
from registry.domain.fold import CLAIM_TYPES, Rules
from registry.domain.history import AsOf, FoldedStream, state_as_of
from registry.events.types import (
    BOOKKEEPING_TYPES,
    ClaimPreferred,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Recorded,
    tag_of,
)
from registry.i18n import Message

S = TypeVar("S", bound=Struct)

ChangeOf = Literal["world", "record", "source"]

BOOKKEEPING_TAGS = frozenset(tag_of(kind) for kind in BOOKKEEPING_TYPES)
_CLAIM_TAGS = frozenset(tag_of(kind) for kind in CLAIM_TYPES)


class AuditEntry(Struct, frozen=True, kw_only=True):
    """An event with its corrections applied, and what it changed.

    An event of the world or of a source has the changes that it makes at its place in the fold; a bookkeeping event has
    the changes that it made when it was recorded. A voided event, and one that is not visible, has none.

    Attributes:
        visible: Whether the event was published and in effect by the as-of point.
        unapplied: The rule that the event breaks, if the state could not take it.
        target_event: The original event that a correction, a void or a redaction is about.
        superseded_by: The later correction, or the later preference, that replaces this one.
    """

    effective: EffectiveEvent
    change_of: ChangeOf
    changes: list[Change]
    visible: bool
    unapplied: Message | None = None
    target_event: UUID | None = None
    superseded_by: UUID | None = None


def change_of(recorded: Recorded) -> ChangeOf:
    """Whether an event changes the world, the record or what a source says. The content is not needed for it."""
    if recorded.type in BOOKKEEPING_TAGS:
        return "record"
    return "source" if recorded.type in _CLAIM_TAGS else "world"


def audit_trail(events: Sequence[Recorded], as_of: AsOf, rules: Rules[S]) -> list[AuditEntry]:
    """Every event of a stream recorded by the as-of point, in the order of the log, with what it changed."""
    if not events:
        return []
    snapshot = state_as_of(events[0].slug, events, as_of, rules)
    folded = dict(changes_by_step(snapshot))
    bookkeeping = _bookkeeping_changes(events, as_of, rules)
    unapplied = {effective.recorded.id: refusal for effective, refusal in snapshot.unapplied}
    visible = {step.applied.id for step in snapshot.steps}
    targets = target_events(events)
    superseded = _superseded(snapshot.effective_events)
    entries: list[AuditEntry] = []
    for effective in snapshot.effective_events:
        recorded = effective.recorded
        entries.append(
            AuditEntry(
                effective=effective,
                change_of=change_of(recorded),
                changes=folded.get(recorded.id) or bookkeeping.get(recorded.id, []),
                visible=recorded.type in BOOKKEEPING_TAGS or recorded.id in visible,
                unapplied=unapplied.get(recorded.id),
                target_event=targets.get(recorded.id),
                superseded_by=superseded.get(recorded.id),
            )
        )
    return entries


def _bookkeeping_changes(events: Sequence[Recorded], as_of: AsOf, rules: Rules[S]) -> dict[UUID, list[Change]]:
    """What each bookkeeping event changed when it was recorded: the difference between the states before and after."""
    changes: dict[UUID, list[Change]] = {}
    stream: FoldedStream[S] = FoldedStream(events[0].slug, rules, (), as_of)
    for recorded in events:
        if not as_of.was_recorded(recorded):
            break
        if recorded.version == 1 or recorded.type not in BOOKKEEPING_TAGS:
            stream.append(recorded)
            continue
        before, merged_into = _known_state(stream), stream.record.merged_into
        stream.append(recorded)
        changes[recorded.id] = diff(before, _known_state(stream))
        if stream.record.merged_into != merged_into:
            changes[recorded.id].append(Change("/merged_into", merged_into, stream.record.merged_into))
    return changes


def _known_state(stream: FoldedStream[S]) -> S | None:
    registration = stream.record.registration
    known = stream.timeline.steps or (registration is not None and stream.as_of.is_registered(registration))
    return stream.state if known else None


def target_events(events: Sequence[Recorded]) -> dict[UUID, UUID]:
    """The original event that each correction, void and redaction is about; a chain leads to its first event."""
    targets: dict[UUID, UUID] = {}
    for recorded in events:
        match recorded.event:
            case EventCorrected(corrects=target) | EventVoided(voids=target) | EventRedacted(redacts=target):
                targets[recorded.id] = targets.get(target, target)
            case _:
                pass
    return targets


def _superseded(effective_events: Sequence[EffectiveEvent]) -> dict[UUID, UUID]:
    """The later correction of each record whose content no longer applies, and the later preference of each field."""
    superseded: dict[UUID, UUID] = {}
    for effective in effective_events:
        for earlier in (effective.recorded, *effective.corrections):
            if earlier.position < effective.content_record.position:
                superseded[earlier.id] = effective.content_record.id
    preferences: dict[str, UUID] = {}
    for effective in reversed(effective_events):
        if effective.is_in_force and isinstance(effective.event, ClaimPreferred):
            later = preferences.get(effective.event.field)
            if later is not None:
                superseded.setdefault(effective.recorded.id, later)
            preferences[effective.event.field] = effective.recorded.id
    return superseded
