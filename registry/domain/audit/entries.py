"""The audit trail of a stream: every event and what it changed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from operator import attrgetter
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.diff import Change, diff
from registry.domain.audit.labels import (
    Kind,
    Label,
    LabelContext,
    earlier_recording_days,
    first_observation,
    kind_of,
    re_recorded_events,
    renames_of,
)
from registry.domain.audit.steps import changes_of, registration_changes
from registry.domain.calendar import Calendar
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.order import Rules, fold_order_of
from registry.domain.fold.sorted_map import SortedMap
from registry.domain.history import AsOf, FoldedStream, StateAsOf, state_as_of
from registry.events.types import (
    BOOKKEEPING_TYPES,
    ClaimPreferred,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Recorded,
    StatusObserved,
    tag_of,
)
from registry.i18n import Message

S = TypeVar("S", bound=Struct)

BOOKKEEPING_TAGS = frozenset(tag_of(kind) for kind in BOOKKEEPING_TYPES)
_OBSERVATION = tag_of(StatusObserved)


class AuditEntry(Struct, frozen=True, kw_only=True):
    """An event with its corrections applied, and what it changed.

    An event of the world or of a source has the changes that it makes at its place in the fold; a bookkeeping event has
    the changes that it made when it was recorded. A voided event, and one that is not visible, has none.

    Attributes:
        day: From when the event applies: a claim from the day of the event that it is about.
        visible: Whether the event was published and in effect by the as-of point.
        unapplied: The rule that the event breaks, if the state could not take it.
        label: Which kind of change it is, in detail (`labels.py`).
        target_event: The original event that a correction, a void or a redaction is about.
        superseded_by: The later correction, or the later preference, that replaces this one.
    """

    effective: EffectiveEvent
    day: date
    changes: list[Change]
    visible: bool
    label: Label
    unapplied: Message | None = None
    target_event: UUID | None = None
    superseded_by: UUID | None = None

    @property
    def kind(self) -> Kind:
        """The kind of change: of the world, of the record, at a source, or learned late."""
        return kind_of(self.label)


def audit_trail(
    events: Sequence[Recorded],
    as_of: AsOf,
    rules: Rules[S],
    calendar: Calendar,
    *,
    snapshot: StateAsOf[S] | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[AuditEntry]:
    """The events of a stream recorded by the as-of point, in the order of the log, each with what it changed.

    Args:
        events: The stream's events.
        as_of: The point.
        rules: The rules of the stream's kind.
        calendar: The registry's calendar: the day of a recording decides what was learned late.
        snapshot: The stream as of the point, if the caller has it.
        after: The log position after which a page of the trail begins.
        limit: The number of events of the page; None for all. The corrections, voids and redactions that are about
            events of the page are listed as well.
    """
    if not events:
        return []
    snapshot = snapshot or state_as_of(events[0].slug, events, as_of, rules)
    recorded = snapshot.record.events
    first = bisect_right(recorded, after, key=attrgetter("position"))
    page = {event.id for event in (recorded[first:] if limit is None else recorded[first : first + limit])}
    targets = target_events(recorded)
    listed = [event for event in recorded if event.id in page or targets.get(event.id) in page]
    bookkeeping = _bookkeeping_changes(recorded, listed, as_of, rules)
    superseded = _superseded(snapshot.effective_events)
    labels = _label_context(snapshot, calendar)
    entries: list[AuditEntry] = []
    for event in listed:
        effective = snapshot.record.by_id[event.id]
        step = snapshot.step(event.id)
        changes = changes_of(snapshot, step) if step is not None else []
        if event.version == 1 and snapshot.is_known:
            changes = registration_changes(snapshot)
        changes = changes or bookkeeping.get(event.id, [])
        day = fold_order_of(effective, snapshot.record.by_id, SortedMap()).key[0] if step is None else step.key[0]
        entries.append(
            AuditEntry(
                effective=effective,
                day=day,
                changes=changes,
                label=labels.label(effective, day, changes),
                visible=event.type in BOOKKEEPING_TAGS or step is not None,
                unapplied=snapshot.timeline.refusals.get(event.id) if step is not None else None,
                target_event=targets.get(event.id),
                superseded_by=superseded.get(event.id),
            )
        )
    return entries


def _label_context(snapshot: StateAsOf[S], calendar: Calendar) -> LabelContext:
    """What the labels of a stream's events depend on."""
    is_observed = any(event.type == _OBSERVATION for event in snapshot.record.events)
    return LabelContext(
        first_observation=first_observation(snapshot.steps) if is_observed else None,
        earlier_days=earlier_recording_days(snapshot.record.events, calendar),
        re_recorded=re_recorded_events(snapshot.effective_events),
        renames=renames_of(snapshot.effective_events),
    )


def _bookkeeping_changes(
    events: Sequence[Recorded], listed: Sequence[Recorded], as_of: AsOf, rules: Rules[S]
) -> dict[UUID, list[Change]]:
    """What the listed bookkeeping events changed when they were recorded, but for the registration.

    It is the difference between the states before and after.
    """
    wanted = [event for event in listed if event.version > 1 and event.type in BOOKKEEPING_TAGS]
    if not wanted:
        return {}
    changes: dict[UUID, list[Change]] = {}
    first, ids = wanted[0].position, {event.id for event in wanted}
    earlier = [event for event in events if event.position < first]
    stream: FoldedStream[S] = FoldedStream(events[0].slug, rules, earlier, as_of)
    for recorded in events[len(earlier) :]:
        if recorded.position > wanted[-1].position:
            break
        if recorded.id not in ids:
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
    known = stream.timeline.count(None) or (registration is not None and stream.as_of.is_registered(registration))
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
