"""Admission: whether a stream can take a new event, and the event as it is stored.

The fold leaves an event that breaks a rule unapplied; a new event that breaks a rule, or makes a recorded event
unapplied, is not recorded at all.
"""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from registry.domain.fold.claims import sets_field
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.facts import item_of_field
from registry.domain.fold.record import BOOKKEEPING
from registry.domain.fold.redaction import redacted_effect
from registry.domain.history import FoldedStream
from registry.domain.refusal import Refusal
from registry.errors import FieldError, Invalid, RuleBroken
from registry.events.codec import earliest_publication
from registry.events.edtf import effective_day
from registry.events.types import (
    AnyAnnouncement,
    AnyEvent,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    Day,
    DealMerged,
    DealUnmerged,
    Effect,
    EventCorrected,
    EventRedacted,
    EventVoided,
    KeyIssued,
    KeyRevoked,
    OrganizationMerged,
    OrganizationUnmerged,
    Recorded,
    Replacement,
    ScopesChanged,
)
from registry.events.values import Source
from registry.i18n import Label

S = TypeVar("S", bound=Struct)

_WITHOUT_CONTENT = (
    EventVoided,
    EventRedacted,
    DealMerged,
    DealUnmerged,
    OrganizationMerged,
    OrganizationUnmerged,
)


def admit(stream: FoldedStream[S], recorded: Recorded) -> FoldedStream[S]:
    """The stream with a new event.

    A redaction is admitted even if it leaves later events unapplied: the law requires the erasure.

    Raises:
        RuleBroken: The event breaks a rule. Its `events` are the recorded events that the new one would make unapplied.
    """
    _check_bookkeeping(stream, recorded)
    after = stream.copy()
    after.append(recorded)
    if not after.timeline.refusals:
        return after
    unapplied = tuple(event for event in after.timeline.refusals if event not in stream.timeline.refusals)
    if not unapplied or isinstance(recorded.event, EventRedacted):
        return after
    if recorded.id in unapplied:
        raise RuleBroken(after.timeline.refusals[recorded.id])
    reasons = tuple(f"{event} ({after.timeline.refusals[event].code})" for event in unapplied)
    raise RuleBroken(Refusal("would-strand-events", events=reasons), tuple(str(event) for event in unapplied))


def fill_defaults(stream: FoldedStream[S], event: AnyEvent) -> AnyEvent:
    """The event as it is stored: complete, with the values that the announcement may leave out.

    A correction takes what it leaves out from the event as it is effective. A claim is about the event that set its
    field. A redaction lists the corrections that repeat the content and the effects that stay.
    """
    match event:
        case EventCorrected():
            return _complete_correction(stream, event)
        case ClaimReported(about=None):
            setter = _last_setter(stream, event.field)
            return replace(event, about=setter) if setter else event
        case EventRedacted():
            also = _corrections_quoting(stream, event.redacts)
            redacted = [e for e in map(stream.record.by_id.get, (event.redacts, *also)) if e is not None]
            effects = tuple(
                Effect(event=e.recorded.id, does=effect)
                for e in redacted
                if (effect := redacted_effect(e.recorded.event)) is not None
            )
            return replace(event, also=also, effects=effects)
        case _:
            return event


def check_claim_date(stream: FoldedStream[S], given: AnyAnnouncement, id: UUID, at: str) -> None:
    """Check that a claim, or the correction of one, was given no other effective date than its event's.

    Args:
        stream: The stream with the announcement's event.
        given: The announcement as the client gave it.
        id: The id of its event.
        at: The announcement's pointer in the request.

    Raises:
        Invalid: The announcement gives another date.
    """
    if type(given.event) not in (ClaimReported, EventCorrected):
        return
    day, pointer = given.effective_on, f"{at}/effective_on"
    if isinstance(given.event, EventCorrected):
        day, pointer = given.event.replacement.effective_on or None, f"{at}/event/replacement/effective_on"
        original = _original(stream, id)
        id = original.recorded.id if original else id
    step = stream.record.place(id)
    if step is None or not isinstance(step.applied.event, ClaimReported) or day is None:
        return
    if step.applied.effective_on != day:
        raise Invalid([FieldError(pointer, "claim_date", day=step.applied.effective_on)])


def _complete_correction(stream: FoldedStream[S], event: EventCorrected) -> EventCorrected:
    effective = _original(stream, event.corrects)
    if effective is None or effective.event is None or isinstance(effective.event, (EventCorrected, EventVoided)):
        return event
    new = event.replacement
    sources = effective.sources if new.sources is UNSET else new.sources
    effective_on, loose = _corrected_dates(effective, new, sources)
    replacement = Replacement(
        effective_on=effective_on,
        date=loose,
        sources=sources,
        event=effective.event if new.event is UNSET else new.event,  # type: ignore[arg-type]
    )
    return replace(event, replacement=replacement)


def _corrected_dates(
    effective: EffectiveEvent, new: Replacement, sources: tuple[Source, ...]
) -> tuple[Day | None, str | UnsetType | None]:
    """The effective date of a corrected event, and the loose date that it follows from; UNSET for none.

    Raises:
        Invalid: The correction gives both dates, and they disagree.
    """
    loose = (effective.date if new.effective_on is UNSET else None) if new.date is UNSET else new.date
    if loose is None:
        return effective.effective_on if new.effective_on is UNSET else new.effective_on, UNSET
    day = effective_day(loose, earliest_publication(sources))
    if new.effective_on not in (UNSET, None, day):
        raise Invalid([FieldError("/event/replacement/effective_on", "date_disagrees", day=day, date=loose)])
    return day, loose


def _original(stream: FoldedStream[S], event: UUID) -> EffectiveEvent | None:
    """The original event of a chain of corrections."""
    effective = stream.record.by_id.get(event)
    while effective is not None and isinstance(effective.recorded.event, EventCorrected):
        effective = stream.record.by_id.get(effective.recorded.event.corrects)
    return effective


def _corrections_quoting(stream: FoldedStream[S], event: UUID) -> tuple[UUID, ...]:
    """The later corrections of an event, or of a correction: each is stored whole and so repeats its content."""
    original, named = _original(stream, event), stream.record.by_id.get(event)
    if original is None or named is None:
        return ()
    return tuple(c.id for c in original.corrections if c.position > named.recorded.position and not c.erased)


def _last_setter(stream: FoldedStream[S], path: str) -> UUID | None:
    """The event that last set a field of the fold. A revision that repeats the value sets it, too."""
    timeline, item = stream.timeline, item_of_field(path)
    history = timeline.fact(item)
    for step, value in history.latest_first():
        before, after = timeline.slice({item: history.before(step.key)}), timeline.slice({item: value})
        if step.applied.id not in timeline.refusals and sets_field(path, step.applied.event, before, after):
            return step.applied.id
    return None


def _check_bookkeeping(stream: FoldedStream[S], recorded: Recorded) -> None:  # noqa: C901 - one case for each type
    """Check the rules that concern the stream itself: registration, corrections, voids, redactions, merges."""
    event, merged_into = recorded.event, stream.record.merged_into
    if not stream.events:
        if isinstance(event, stream.rules.registered):
            return
        raise RuleBroken(Refusal("not-registered", slug=stream.slug))
    if type(event) not in BOOKKEEPING:
        if merged_into:
            raise RuleBroken(Refusal("merged", slug=stream.slug, into=merged_into))
        return
    match event:
        case EventCorrected():
            _check_correction(stream, event)
        case EventVoided():
            _check_void(stream, event)
        case EventRedacted():
            _check_redaction(stream, event)
        case ClaimPreferred():
            _check_preference(stream, event)
        case DealMerged() | OrganizationMerged():
            if event.into == stream.slug:
                raise RuleBroken(Refusal("merge-into-itself"))
            if merged_into:
                raise RuleBroken(Refusal("already-merged", into=merged_into))
        case DealUnmerged() | OrganizationUnmerged():
            if not merged_into:
                raise RuleBroken(Refusal("not-merged"))
        case _:
            raise RuleBroken(Refusal("already-registered", slug=stream.slug))


def _check_correction(stream: FoldedStream[S], event: EventCorrected) -> None:
    effective = _original(stream, event.corrects)
    if effective is None:
        raise RuleBroken(Refusal("event-unknown", event=str(event.corrects)))
    original, new = effective.recorded, event.replacement
    if original.erased:
        raise RuleBroken(Refusal("event-redacted", event=str(original.id)))
    if isinstance(original.event, _WITHOUT_CONTENT):
        raise RuleBroken(Refusal("not-correctable", type=Label(f"event/{original.type}")))
    if effective.voided_by is not None:
        raise RuleBroken(Refusal("event-voided", voided_by=str(effective.voided_by.id)))
    if new.event is UNSET:
        raise RuleBroken(Refusal("event-redacted", event=str(effective.content_record.id)))
    if type(new.event) is not type(original.event):
        raise RuleBroken(Refusal("type-changed", type=Label(f"event/{original.type}")))
    if isinstance(new.event, ClaimReported) and new.event.about is None:
        raise RuleBroken(Refusal("claim-about-missing"))
    dates = (new.effective_on, None if new.date is UNSET else new.date)
    known_dates = (effective.effective_on, effective.date)
    if (new.event, dates, new.sources) == (effective.event, known_dates, effective.sources):
        raise RuleBroken(Refusal("corrects-nothing"))


def _check_void(stream: FoldedStream[S], event: EventVoided) -> None:
    effective = stream.record.by_id.get(event.voids)
    if effective is None:
        raise RuleBroken(Refusal("event-unknown", event=str(event.voids)))
    if effective.recorded.version == 1:
        raise RuleBroken(Refusal("registration-voided"))
    if isinstance(effective.recorded.event, EventRedacted):
        raise RuleBroken(Refusal("redaction-voided"))
    if effective.voided_by is not None:
        raise RuleBroken(Refusal("already-voided", voided_by=str(effective.voided_by.id)))


def _check_redaction(stream: FoldedStream[S], event: EventRedacted) -> None:
    effective = stream.record.by_id.get(event.redacts)
    if effective is None:
        raise RuleBroken(Refusal("event-unknown", event=str(event.redacts)))
    if effective.recorded.erased:
        raise RuleBroken(Refusal("already-redacted"))
    if isinstance(effective.recorded.event, EventRedacted):
        raise RuleBroken(Refusal("redaction-redacted"))
    if isinstance(effective.recorded.event, (KeyIssued, KeyRevoked, ScopesChanged)):
        raise RuleBroken(Refusal("right-redacted"))


def _check_preference(stream: FoldedStream[S], event: ClaimPreferred) -> None:
    preferred = stream.record.preferred.get(event.field)
    if event.claim is None:
        if preferred is None:
            raise RuleBroken(Refusal("no-preference", field=event.field))
        return
    claim = stream.record.claims.get(event.claim)
    if claim is None or not isinstance(claim.event, ClaimReported) or claim.event.field != event.field:
        raise RuleBroken(Refusal("claim-unknown", claim=event.claim))
    if preferred == claim.recorded.id:
        raise RuleBroken(Refusal("already-preferred", claim=event.claim))
    events = (step.applied.event for step in stream.timeline.claim_steps(event.claim))
    if any(isinstance(other, ClaimRetracted) for other in events):
        raise RuleBroken(Refusal("claim-retracted", claim=event.claim))
