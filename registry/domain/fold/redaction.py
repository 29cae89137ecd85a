"""Redactions: what remains of an event whose content was erased by law."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from registry.events.types import (
    AnyEvent,
    ClaimPreferred,
    ClaimRetracted,
    DealMerged,
    DealUnmerged,
    EventCorrected,
    EventRedacted,
    EventVoided,
    OrganizationMerged,
    OrganizationUnmerged,
    Recorded,
    RedactedEffect,
    Replacement,
)


def without_content(recorded: Recorded) -> Recorded:
    """The event as the log keeps it after its redaction."""
    return replace(recorded, event=None, sources=(), note=None, erased=True)


def redact(events: Sequence[Recorded], redaction: EventRedacted) -> list[Recorded]:
    """The events, those that a redaction names without their content."""
    redacted = {redaction.redacts, *redaction.also}
    return with_redacted_effects([without_content(e) if e.id in redacted else e for e in events])


def with_redacted_effects(events: Sequence[Recorded]) -> list[Recorded]:
    """The events, each redacted one with the effect on other events that its redaction lists.

    A redaction erases text, not effects: an event that a redacted void had voided stays voided at every as-of point
    after the void.
    """
    effects = {
        effect.event: effect.does
        for recorded in events
        if isinstance(recorded.event, EventRedacted)
        for effect in recorded.event.effects
    }
    if not effects:
        return list(events)
    return [replace(e, event=effects[e.id]) if e.erased and e.id in effects else e for e in events]


def redacted_effect(event: AnyEvent | None) -> RedactedEffect | None:
    """The effect that an event keeps on other events after its redaction, without any text; None if it has none."""
    match event:
        case EventCorrected(replacement=Replacement(event=ClaimPreferred() | ClaimRetracted() as new)):
            return replace(event, replacement=Replacement(event=replace(new, reason=None)), reason=None)
        case EventCorrected():
            return replace(event, replacement=Replacement(), reason=None)
        case EventVoided() | ClaimPreferred() | ClaimRetracted() | DealMerged() | DealUnmerged():
            return replace(event, reason=None)
        case OrganizationMerged() | OrganizationUnmerged():
            return replace(event, reason=None)
        case _:
            return None
