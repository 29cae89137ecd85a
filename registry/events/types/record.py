"""Events about the registry's own records: merges of deals, corrections, voids and redactions."""

from __future__ import annotations

from datetime import date
from typing import TypeAlias
from uuid import UUID

from msgspec import UNSET, UnsetType

from registry.events.types.base import Event
from registry.events.types.deals import RelationEvent, WholeDealEvent
from registry.events.types.organizations import OrganizationMerged, OrganizationUnmerged, StatedOrganizationEvent
from registry.events.types.pledges import ClaimPreferred, ClaimRetracted, PledgeEvent
from registry.events.types.sites import SiteEvent
from registry.events.values import Edtf, EventPart, Slug, Source, Text


class DealMerged(Event, frozen=True, tag="deal_merged"):
    """This deal is a duplicate: its slug redirects to another. No event moves, so the merge can be undone."""

    into: Slug
    reason: Text | None = None


class DealUnmerged(Event, frozen=True, tag="deal_unmerged"):
    """The merge of this deal is undone."""

    reason: Text | None = None


Correctable = WholeDealEvent | PledgeEvent | SiteEvent | RelationEvent | StatedOrganizationEvent
"""The events that a correction can replace."""

# Some structs have a field of the type's name.
Day: TypeAlias = date


class Replacement(EventPart, frozen=True):
    """The corrected form of an event. What is left out stays as it is in the corrected event.

    `effective_on` and `date` are one statement: a correction that gives one of them replaces both.
    """

    effective_on: Day | UnsetType | None = UNSET
    date: Edtf | UnsetType | None = UNSET
    sources: tuple[Source, ...] | UnsetType = UNSET
    event: Correctable | UnsetType = UNSET


class EventCorrected(Event, frozen=True, tag="event_corrected"):
    """A recording error is corrected. The event keeps its type and its position in the log."""

    corrects: UUID
    replacement: Replacement
    reason: Text | None = None


class EventVoided(Event, frozen=True, tag="event_voided"):
    """An event that was recorded by mistake is withdrawn; it may itself be a correction or a void."""

    voids: UUID
    reason: Text | None = None


# Events that act on other events. They keep their effect when they are redacted, or a voided event would apply again.
RedactedEffect = (
    EventVoided
    | EventCorrected
    | ClaimPreferred
    | ClaimRetracted
    | DealMerged
    | DealUnmerged
    | OrganizationMerged
    | OrganizationUnmerged
)


class Effect(EventPart, frozen=True):
    """The effect that a redacted event keeps: the event reduced to the ids that it refers to.

    The effect of a correction has the corrected event's id and, if that event acts on others, its effect.
    """

    event: UUID
    does: RedactedEffect


class EventRedacted(Event, frozen=True, tag="event_redacted"):
    """The content of an event is erased by law. Its leaf hash stays, so every proof stays valid.

    The recorder fills in `also` and `effects`, so that the log names everything that a redaction changes. `also` are
    events whose content is erased too because it quotes the erased one: its corrections, and for a correction the later
    ones. `effects` are the effects that the erased events keep.
    """

    redacts: UUID
    reason: Text
    also: tuple[UUID, ...] = ()
    effects: tuple[Effect, ...] = ()
