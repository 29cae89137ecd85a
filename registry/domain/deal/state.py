"""The state of a deal: what is known of it at one point in time. Unknown is None or empty, never zero."""

from __future__ import annotations

from datetime import date
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from registry.domain.fold.claims import ClaimState
from registry.domain.fold.items import ListItem
from registry.domain.stages import StageState
from registry.events.types.deals import ConditionSet, SetbackReported
from registry.events.types.pledges import (
    IncentiveGranted,
    IncentiveRevised,
    PledgeAnnounced,
    PledgeConfirmed,
    PledgeRevised,
)
from registry.events.types.sites import (
    MetricReported,
    MetricRevised,
    MilestoneRescheduled,
    MilestoneScheduled,
    SiteAnnounced,
    SiteRevised,
)
from registry.events.values import (
    Amount,
    AmountBasis,
    Certainty,
    Classifications,
    Commitment,
    DealKind,
    Decimal,
    Edtf,
    Horizon,
    IncentiveKind,
    Instrument,
    Localized,
    MetricBasis,
    MetricName,
    MilestoneKind,
    Place,
    Precision,
    Qualifier,
    Relation,
    Role,
    SetbackKind,
)

# `MetricState` has a field of the type's name.
DayOfStatement: TypeAlias = date


class PartyState(ListItem, frozen=True, gc=False):
    """An organization's part in the deal, from `joined_on` until `left_on`."""

    id_fields = ("organization", "role", "joined_on")
    fact_fields = ("organization",)
    order = ("joined_on", "organization", "role")
    ended_by = ("left_on", None)

    organization: str
    name: Localized | None
    role: Role | None
    joined_on: date
    left_on: date | None = None
    share: Decimal | None = None
    certainty: Certainty | None = None


class DealIdentifierState(ListItem, frozen=True, gc=False):
    """An identifier of the deal in another register or list."""

    id_fields = ("scheme", "value")
    order = ("scheme", "value")

    scheme: str
    value: str


class PartnershipState(Struct, frozen=True, gc=False):
    """An agreement between organizations, by an instrument such as a memorandum of understanding."""

    members: tuple[str, ...]
    instrument: Instrument | None
    name: Localized | None
    formed_on: date


class ConditionState(ListItem, frozen=True, gc=False):
    """A condition that an authority set for the deal."""

    id_fields = ("condition",)
    order = ("set_on", "condition")
    announced_by = ConditionSet
    ended_by = ("lifted_on", None)

    condition: str
    text: Localized | None
    authority: str | None
    set_on: date
    lifted_on: date | None = None


class SetbackState(ListItem, frozen=True, gc=False):
    """Something that stands in the way of the deal, from `reported_on` until `resolved_on`."""

    id_fields = ("setback",)
    order = ("reported_on", "setback")
    announced_by = SetbackReported
    ended_by = ("resolved_on", None)

    setback: str
    kind: SetbackKind | None
    text: Localized | None
    reported_on: date
    resolved_on: date | None = None


class Disbursement(Struct, frozen=True, gc=False):
    """An amount reported as spent."""

    amount: Amount | None
    by: tuple[str, ...]
    period: Horizon | None
    reported_on: date


class PledgeState(ListItem, frozen=True, kw_only=True, gc=False):
    """An amount that parties say they will invest. `status` is announced, confirmed or withdrawn.

    Two or more organizations in `by` pledge jointly; how they split the amount is not disclosed. `stated_on` is the day
    from which the present amount applies.
    """

    id_fields = ("pledge",)
    order = ("announced_on", "pledge")
    announced_by = PledgeAnnounced
    revised_by = (PledgeRevised, PledgeConfirmed)
    ended_by = ("status", "withdrawn")

    pledge: str
    amount: Amount | None
    amount_basis: AmountBasis | None
    commitment: Commitment | None
    status: str
    additional_to: str | None
    by: tuple[str, ...]
    horizon: Horizon | None
    purpose: Localized | None
    announced_on: date
    stated_on: date
    claims: tuple[ClaimState, ...] = ()
    disbursed: tuple[Disbursement, ...] = ()


class IncentiveState(ListItem, frozen=True, kw_only=True, gc=False):
    """Public support of the deal. `status` is granted or ended."""

    id_fields = ("incentive",)
    order = ("granted_on", "incentive")
    announced_by = IncentiveGranted
    revised_by = (IncentiveRevised,)
    ended_by = ("status", "ended")

    incentive: str
    kind: IncentiveKind | None
    amount: Amount | None
    authority: str | None
    text: Localized | None
    status: str
    granted_on: date
    claims: tuple[ClaimState, ...] = ()


class SiteState(ListItem, frozen=True, kw_only=True, gc=False):
    """A place with planned capacity: MW as an exact decimal, GPUs as a count. `status` is announced or dropped."""

    id_fields = ("site",)
    order = ("announced_on", "site")
    announced_by = SiteAnnounced
    revised_by = (SiteRevised,)
    ended_by = ("status", "dropped")

    site: str
    name: Localized | None
    place: Place | None
    address: str | None = None
    locality: str | None = None
    district_code: str | None = None
    latitude: str | None
    longitude: str | None
    precision: Precision | None
    power_mw: Decimal | None
    power_qualifier: Qualifier | None
    gpus: int | None
    gpus_qualifier: Qualifier | None
    status: str
    announced_on: date
    claims: tuple[ClaimState, ...] = ()


class MilestoneState(ListItem, frozen=True, kw_only=True, gc=False):
    """A dated step. `status` is planned, reached or cancelled; dates keep the precision of their source (EDTF)."""

    id_fields = ("milestone",)
    order = ("scheduled_on", "milestone")
    announced_by = MilestoneScheduled
    revised_by = (MilestoneRescheduled,)
    ended_by = ("status", "cancelled")

    milestone: str
    kind: MilestoneKind | None
    site: str | None
    name: Localized | None
    planned: Edtf | None
    reached: Edtf | None
    power_mw: Decimal | None
    status: str
    scheduled_on: date
    claims: tuple[ClaimState, ...] = ()


class MetricState(ListItem, frozen=True, kw_only=True, gc=False):
    """A quantity other than money, of the deal or of a site. `metric_id` names it in paths."""

    id_fields = ("metric_id",)
    order = ("metric_id",)
    announced_by = MetricReported
    revised_by = (MetricRevised,)

    metric_id: str
    metric: MetricName
    site: str | None
    basis: MetricBasis
    date: Edtf | None
    horizon: Horizon | None
    value: Decimal | None
    unit: str | None
    qualifier: Qualifier | None
    stated_on: DayOfStatement
    claims: tuple[ClaimState, ...] = ()


class RelationState(ListItem, frozen=True, gc=False):
    """This deal (or its `pledge`) is `relation` to `deal` (or its `other_pledge`); `source` is the declaring event."""

    id_fields = ("relation", "pledge", "deal", "other_pledge")
    order = ("since", "relation", "deal", "pledge", "other_pledge")

    relation: Relation
    deal: str
    pledge: str | None
    other_pledge: str | None
    since: date
    source: UUID


class Deal(Struct, frozen=True, kw_only=True, gc=False):
    """The state of a deal: the fold of its events. Unknown is None or empty, never zero."""

    deal: str
    title: Localized | None
    kind: DealKind | None = None
    summary: Localized | None = None
    sectors: tuple[str, ...] = ()
    classifications: Classifications | None = None
    identifiers: tuple[DealIdentifierState, ...] = ()
    stage: StageState | None = None
    parties: tuple[PartyState, ...] = ()
    partnerships: tuple[PartnershipState, ...] = ()
    pledges: tuple[PledgeState, ...] = ()
    sites: tuple[SiteState, ...] = ()
    milestones: tuple[MilestoneState, ...] = ()
    metrics: tuple[MetricState, ...] = ()
    incentives: tuple[IncentiveState, ...] = ()
    setbacks: tuple[SetbackState, ...] = ()
    relations: tuple[RelationState, ...] = ()
    conditions: tuple[ConditionState, ...] = ()


Item = PledgeState | SiteState | MilestoneState | IncentiveState | MetricState
