"""Events about a deal as a whole, and about its relations to other deals."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from registry.events.types.base import Event
from registry.events.values import (
    Certainty,
    Classifications,
    DealKind,
    ExternalIdentifier,
    Instrument,
    Localized,
    Party,
    Relation,
    Role,
    SetbackKind,
    Slug,
    Stage,
    Text,
)


class DealRegistered(Event, frozen=True, tag="deal_registered"):
    """The registry starts to track a deal. This is the first event of its stream."""

    title: Localized
    summary: Localized | None = None
    kind: DealKind | None = None
    sectors: tuple[Slug, ...] = ()
    classifications: Classifications | None = None


class DealRevised(Event, frozen=True, tag="deal_revised"):
    """The deal itself changes: its title, summary, kind, sectors or classifications.

    An axis that `classifications` leaves out stays as it is; an axis without codes is cleared.
    """

    title: Localized | UnsetType = UNSET
    summary: Localized | UnsetType | None = UNSET
    kind: DealKind | UnsetType | None = UNSET
    sectors: tuple[Slug, ...] | UnsetType | None = UNSET
    classifications: Classifications | UnsetType | None = UNSET


class DealIdentified(Event, frozen=True, tag="deal_identified"):
    """The deal has these identifiers in other registers or lists. A scheme and value identify one deal."""

    identifiers: Annotated[tuple[ExternalIdentifier, ...], Meta(min_length=1, max_length=200)]


class ConditionSet(Event, frozen=True, tag="condition_set"):
    """The deal depends on a condition, such as the approval of an authority."""

    condition: Slug
    text: Localized | None = None
    authority: Slug | None = None


class ConditionLifted(Event, frozen=True, tag="condition_lifted"):
    """A condition no longer applies."""

    condition: Slug


class PartiesJoined(Event, frozen=True, tag="parties_joined"):
    """Organizations join the deal, each in a role."""

    parties: Annotated[tuple[Party, ...], Meta(min_length=1, max_length=200)]


class PartyLeft(Event, frozen=True, tag="party_left"):
    """An organization leaves the deal, or only the given role."""

    organization: Slug
    role: Role | None = None


class PartnershipFormed(Event, frozen=True, tag="partnership_formed"):
    """Organizations commit to each other, by an instrument such as a memorandum of understanding."""

    members: tuple[Slug, ...] = ()
    instrument: Instrument | None = None
    name: Localized | None = None


class StageChanged(Event, frozen=True, tag="stage_changed"):
    """A source declares the stage of the deal."""

    stage: Stage
    reason: Text | None = None


class StatusObserved(Event, frozen=True, tag="status_observed"):
    """A source found the deal in this stage on the effective date. Since when, it does not say."""

    stage: Stage
    certainty: Certainty | None = None


class SetbackReported(Event, frozen=True, tag="setback_reported"):
    """Something stands in the way of the deal. It does not change the stage."""

    setback: Slug
    kind: SetbackKind | None = None
    text: Localized | None = None


class SetbackResolved(Event, frozen=True, tag="setback_resolved"):
    """A setback no longer stands in the way."""

    setback: Slug
    reason: Text | None = None


WholeDealEvent = (
    DealRegistered
    | DealRevised
    | DealIdentified
    | ConditionSet
    | ConditionLifted
    | PartiesJoined
    | PartyLeft
    | PartnershipFormed
    | StageChanged
    | StatusObserved
    | SetbackReported
    | SetbackResolved
)
"""The events about a deal as a whole."""


class DealsRelated(Event, frozen=True, tag="deals_related"):
    """This deal, or its `pledge`, relates to another deal, or to that deal's `other_pledge`."""

    relation: Relation
    deal: Slug
    pledge: Slug | None = None
    other_pledge: Slug | None = None


class DealsUnrelated(Event, frozen=True, tag="deals_unrelated"):
    """A relation no longer applies."""

    relation: Relation
    deal: Slug
    pledge: Slug | None = None
    other_pledge: Slug | None = None


RelationEvent = DealsRelated | DealsUnrelated
"""The events about relations."""
