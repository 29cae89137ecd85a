"""Events about the money of a deal: incentives, pledges, and what further sources say (claims)."""

from __future__ import annotations

from uuid import UUID

from msgspec import UNSET, UnsetType

from registry.events.types.base import Event
from registry.events.values import (
    Amount,
    AmountBasis,
    Commitment,
    Count,
    FieldPath,
    Horizon,
    IncentiveKind,
    Line,
    Localized,
    Slug,
    Text,
)


class IncentiveGranted(Event, frozen=True, tag="incentive_granted"):
    """A public authority supports the deal. An incentive is never added to pledges."""

    incentive: Slug
    kind: IncentiveKind | None = None
    amount: Amount | None = None
    authority: Slug | None = None
    text: Localized | None = None


class IncentiveRevised(Event, frozen=True, tag="incentive_revised"):
    """An incentive changes."""

    incentive: Slug
    kind: IncentiveKind | UnsetType | None = UNSET
    amount: Amount | UnsetType | None = UNSET
    authority: Slug | UnsetType | None = UNSET
    text: Localized | UnsetType | None = UNSET


class IncentiveEnded(Event, frozen=True, tag="incentive_ended"):
    """An incentive ends or is taken back."""

    incentive: Slug
    reason: Text | None = None


class PledgeAnnounced(Event, frozen=True, tag="pledge_announced"):
    """A party says that it will invest an amount.

    Several organizations in `by` pledge jointly; their shares are not disclosed. `additional_to` is the deal or pledge,
    `DEAL` or `DEAL/PLEDGE`, that an additional amount comes on top of.
    """

    pledge: Slug
    amount: Amount | None = None
    amount_basis: AmountBasis | None = None
    commitment: Commitment | None = None
    additional_to: Line | None = None
    by: tuple[Slug, ...] = ()
    horizon: Horizon | None = None
    purpose: Localized | None = None


class PledgeRevised(Event, frozen=True, tag="pledge_revised"):
    """A party changes its pledge."""

    pledge: Slug
    amount: Amount | UnsetType | None = UNSET
    amount_basis: AmountBasis | UnsetType | None = UNSET
    commitment: Commitment | UnsetType | None = UNSET
    additional_to: Line | UnsetType | None = UNSET
    by: tuple[Slug, ...] | UnsetType | None = UNSET
    horizon: Horizon | UnsetType | None = UNSET
    purpose: Localized | UnsetType | None = UNSET


class PledgeConfirmed(Event, frozen=True, tag="pledge_confirmed"):
    """A party confirms its pledge, possibly at a higher commitment level."""

    pledge: Slug
    commitment: Commitment | UnsetType = UNSET


class PledgeWithdrawn(Event, frozen=True, tag="pledge_withdrawn"):
    """A party withdraws its pledge."""

    pledge: Slug
    reason: Text | None = None


class DisbursementReported(Event, frozen=True, tag="disbursement_reported"):
    """Money of a pledge was spent in the period."""

    pledge: Slug
    amount: Amount | None = None
    by: tuple[Slug, ...] = ()
    period: Horizon | None = None


class ClaimReported(Event, frozen=True, tag="claim_reported"):
    """Another source states a different value for a field.

    `about` is the event that set the field. If it is left out, the recorder fills it in.
    """

    claim: Slug
    field: FieldPath
    value: Amount | Line | Count
    about: UUID | None = None


class ClaimPreferred(Event, frozen=True, tag="claim_preferred"):
    """An editor selects the claim to use for a field. Without `claim`, the default rule applies again."""

    field: FieldPath
    claim: Slug | None = None
    reason: Text | None = None


class ClaimRetracted(Event, frozen=True, tag="claim_retracted"):
    """The source of a claim retracts it."""

    claim: Slug
    reason: Text | None = None


PledgeEvent = (
    IncentiveGranted
    | IncentiveRevised
    | IncentiveEnded
    | PledgeAnnounced
    | PledgeRevised
    | PledgeConfirmed
    | PledgeWithdrawn
    | DisbursementReported
    | ClaimReported
    | ClaimPreferred
    | ClaimRetracted
)
"""The events about pledges, incentives and claims."""
