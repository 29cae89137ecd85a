"""The events of the log, one frozen struct each, and the announcement that carries an event to the registry.

Start here, then read `domain/deal.py`, `append/recorder.py` and `queries/deals.py`.

An event holds what a source states and no more: a field that the source does not state is left out, and it is never
zero. In a `…_revised` event a field that is left out stays as it is, and null clears it. The types of the values are in
`values.py`. The form of an event never changes once it has been recorded: a new form is a new schema version, with an
upcaster in `codec.py`. All event types are in this file, so that they can be read as one list; hence its length.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from registry.events.values import (
    Amount,
    AmountBasis,
    Certainty,
    Classifications,
    Commitment,
    Control,
    Count,
    DealKind,
    Decimal,
    Degrees,
    DistrictCode,
    Edtf,
    EventPart,
    ExternalIdentifier,
    FieldPath,
    Horizon,
    Identifier,
    IdentifierScheme,
    IncentiveKind,
    Instant,
    Instrument,
    Language,
    Line,
    Localized,
    MetricBasis,
    MetricName,
    MilestoneKind,
    NameKind,
    Party,
    Place,
    Precision,
    PrincipalKind,
    Qualifier,
    Relation,
    Role,
    Scope,
    SetbackKind,
    Slug,
    Source,
    Stage,
    Text,
    Url,
    metric_id,
)


class Event(EventPart, frozen=True, tag_field="type"):
    """A fact about a deal or an organization, or a change to the registry's own records."""

    schema: ClassVar[int] = 1


# --- the deal ---------------------------------------------------------------------------------------------------------


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


# --- incentives -------------------------------------------------------------------------------------------------------


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


# --- pledges ----------------------------------------------------------------------------------------------------------


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


# --- claims -----------------------------------------------------------------------------------------------------------


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


# --- sites and milestones ---------------------------------------------------------------------------------------------


class SiteAnnounced(Event, frozen=True, tag="site_announced"):
    """A site of the deal. `power_mw` is grid connection or IT load in MW, as announced."""

    site: Slug
    name: Localized | None = None
    place: Place | None = None
    address: Line | None = None
    locality: Line | None = None
    district_code: DistrictCode | None = None
    latitude: Degrees | None = None
    longitude: Degrees | None = None
    precision: Precision | None = None
    power_mw: Decimal | None = None
    power_qualifier: Qualifier | None = None
    gpus: Count | None = None
    gpus_qualifier: Qualifier | None = None


class SiteRevised(Event, frozen=True, tag="site_revised"):
    """The plan for a site changes."""

    site: Slug
    name: Localized | UnsetType | None = UNSET
    place: Place | UnsetType | None = UNSET
    address: Line | UnsetType | None = UNSET
    locality: Line | UnsetType | None = UNSET
    district_code: DistrictCode | UnsetType | None = UNSET
    latitude: Degrees | UnsetType | None = UNSET
    longitude: Degrees | UnsetType | None = UNSET
    precision: Precision | UnsetType | None = UNSET
    power_mw: Decimal | UnsetType | None = UNSET
    power_qualifier: Qualifier | UnsetType | None = UNSET
    gpus: Count | UnsetType | None = UNSET
    gpus_qualifier: Qualifier | UnsetType | None = UNSET


class SiteDropped(Event, frozen=True, tag="site_dropped"):
    """The deal gives up a site."""

    site: Slug
    reason: Text | None = None


class MilestoneScheduled(Event, frozen=True, tag="milestone_scheduled"):
    """A milestone is planned. `power_mw` is the total capacity in MW once it is reached."""

    milestone: Slug
    kind: MilestoneKind | None = None
    site: Slug | None = None
    name: Localized | None = None
    planned: Edtf | None = None
    power_mw: Decimal | None = None


class MilestoneRescheduled(Event, frozen=True, tag="milestone_rescheduled"):
    """The plan for a milestone changes."""

    milestone: Slug
    planned: Edtf | UnsetType | None = UNSET
    power_mw: Decimal | UnsetType | None = UNSET
    reason: Text | None = None


class MilestoneReached(Event, frozen=True, tag="milestone_reached"):
    """A milestone is reached, on `reached` or else on the effective date of the announcement."""

    milestone: Slug
    reached: Edtf | None = None


class MilestoneCancelled(Event, frozen=True, tag="milestone_cancelled"):
    """A milestone is cancelled."""

    milestone: Slug
    reason: Text | None = None


# --- metrics ----------------------------------------------------------------------------------------------------------


class MetricReported(Event, frozen=True, tag="metric_reported"):
    """A quantity other than money, such as jobs, of the deal or of one of its sites.

    The metric, the site, the basis, and the date or the horizon identify it: another value of the same is a revision.
    `unit` is stated for `capacity_per_year` only; all other metrics have a unit of their own.
    """

    metric: MetricName
    basis: MetricBasis
    value: Decimal
    site: Slug | None = None
    unit: Line | None = None
    qualifier: Qualifier | None = None
    date: Edtf | None = None
    horizon: Horizon | None = None

    @property
    def metric_id(self) -> str:
        """The id of the metric in paths."""
        return metric_id(self.metric, self.basis, self.site, self.date, self.horizon)


class MetricRevised(Event, frozen=True, tag="metric_revised"):
    """The value of a metric changes. The first five fields tell which metric; null as value takes the value back."""

    metric: MetricName
    basis: MetricBasis
    site: Slug | None = None
    date: Edtf | None = None
    horizon: Horizon | None = None
    value: Decimal | UnsetType | None = UNSET
    unit: Line | UnsetType | None = UNSET
    qualifier: Qualifier | UnsetType | None = UNSET

    @property
    def metric_id(self) -> str:
        """The id of the metric in paths."""
        return metric_id(self.metric, self.basis, self.site, self.date, self.horizon)


# --- relations --------------------------------------------------------------------------------------------------------


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


# --- organizations ----------------------------------------------------------------------------------------------------


class OrganizationRegistered(Event, frozen=True, tag="organization_registered"):
    """The registry starts to track an organization. This is the first event of its stream."""

    name: Localized
    country: Place | None = None


class OrganizationNamed(Event, frozen=True, tag="organization_named"):
    """The organization uses this name."""

    name: Line
    language: Language
    kind: NameKind = "alias"


class OrganizationIdentified(Event, frozen=True, tag="organization_identified"):
    """The organization has this identifier in a public register."""

    scheme: IdentifierScheme
    identifier: Identifier


class ParentSet(Event, frozen=True, tag="parent_set"):
    """Another organization owns, controls or manages this one. `share` is in percent."""

    parent: Slug
    control: Control | None = None
    share: Decimal | None = None


class ParentEnded(Event, frozen=True, tag="parent_ended"):
    """Another organization is no longer a parent of this one."""

    parent: Slug


class OrganizationMerged(Event, frozen=True, tag="organization_merged"):
    """This organization is a duplicate: its slug redirects to another. No event moves, so the merge can be undone."""

    into: Slug
    reason: Text | None = None


class OrganizationUnmerged(Event, frozen=True, tag="organization_unmerged"):
    """The merge of this organization is undone."""

    reason: Text | None = None


# --- principals: who may write to the registry ------------------------------------------------------------------------
#
# Principals are the record's own: only their position hides them from an as-of query, and they are neither corrected
# nor voided. A redaction erases a name, never a right (`domain/principal.py`), so the events that change rights hold no
# free text that would have to be erased.


class PrincipalRegistered(Event, frozen=True, tag="principal_registered"):
    """A person or a system that may write to the registry. This is the first event of its stream.

    `issuer` and `subject` identify a principal that signs in through an OpenID provider.
    """

    name: Line
    kind: PrincipalKind | None = None
    issuer: Url | None = None
    subject: Line | None = None


class PrincipalRenamed(Event, frozen=True, tag="principal_renamed"):
    """The principal has another display name. Earlier events keep the earlier one."""

    name: Line


class KeyIssued(Event, frozen=True, tag="key_issued"):
    """A key of the principal: its id and its rights, never its secret or a digest of it.

    `deals` and `organizations` limit the key to these streams, `sources` to announcements that cite only these
    publishers. If `key` is left out, the registry makes an id.
    """

    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=6)]
    key: Slug | None = None
    deals: tuple[Slug, ...] = ()
    organizations: tuple[Slug, ...] = ()
    sources: tuple[Line, ...] = ()
    expires_at: Instant | None = None


class KeyRevoked(Event, frozen=True, tag="key_revoked"):
    """A key has no rights any more, from `revoked_at` or else from the recording of this event."""

    key: Slug
    revoked_at: Instant | None = None


class ScopesChanged(Event, frozen=True, tag="scopes_changed"):
    """The rights of a key, or without `key` those that the principal has when it signs in without one."""

    scopes: Annotated[tuple[Scope, ...], Meta(max_length=6)]
    key: Slug | None = None
    deals: tuple[Slug, ...] = ()
    organizations: tuple[Slug, ...] = ()
    sources: tuple[Line, ...] = ()


# --- merges of deals, corrections, voids and redactions ---------------------------------------------------------------


class DealMerged(Event, frozen=True, tag="deal_merged"):
    """This deal is a duplicate: its slug redirects to another. No event moves, so the merge can be undone."""

    into: Slug
    reason: Text | None = None


class DealUnmerged(Event, frozen=True, tag="deal_unmerged"):
    """The merge of this deal is undone."""

    reason: Text | None = None


_OfDeals = (
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
    | IncentiveGranted
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
    | SiteAnnounced
    | SiteRevised
    | SiteDropped
    | MilestoneScheduled
    | MilestoneRescheduled
    | MilestoneReached
    | MilestoneCancelled
    | MetricReported
    | MetricRevised
    | DealsRelated
    | DealsUnrelated
)
_OfOrganizations = OrganizationRegistered | OrganizationNamed | OrganizationIdentified | ParentSet | ParentEnded

# The events that a correction can replace.
Correctable = _OfDeals | _OfOrganizations


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

    Of a correction, it keeps the corrected event's id, and where that event acts on others, its effect.
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


# --- all events -------------------------------------------------------------------------------------------------------

BookkeepingEvent = EventCorrected | EventVoided | EventRedacted
DealFact = _OfDeals | DealMerged | DealUnmerged
DealEvent = DealFact | BookkeepingEvent
OrganizationFact = _OfOrganizations | OrganizationMerged | OrganizationUnmerged
OrganizationEvent = OrganizationFact | BookkeepingEvent
PrincipalFact = PrincipalRegistered | PrincipalRenamed | KeyIssued | KeyRevoked | ScopesChanged
PrincipalEvent = PrincipalFact | EventRedacted
AnyEvent = DealFact | OrganizationFact | PrincipalFact | BookkeepingEvent

# Events about the registry's own records. They were never published, so neither their published date nor their
# effective date hides them from an as-of query.
BOOKKEEPING_TYPES = (
    DealRegistered,
    ClaimPreferred,
    DealMerged,
    DealUnmerged,
    OrganizationRegistered,
    OrganizationMerged,
    OrganizationUnmerged,
    PrincipalRegistered,
    EventCorrected,
    EventVoided,
    EventRedacted,
)


def tag_of(event: type[Event] | Event) -> str:
    """The event type's name in JSON, such as `pledge_announced`."""
    return str(event.__struct_config__.tag)


EVENT_TYPES: dict[str, type[Event]] = {tag_of(t): t for t in get_args(AnyEvent)}

# --- announcements and recorded events --------------------------------------------------------------------------------

StreamKind = Literal["deal", "organization", "principal"]

# The kinds of streams that forms and imports record in.
AnnouncedKind = Literal["deal", "organization"]


class Announcement(EventPart, frozen=True):
    """What a client posts to a deal: an event, the date from which it applies, and its sources.

    `effective_on` is a local date without a time zone. Where the source is less precise, `date` states the loose date
    instead (EDTF, also a quarter), and `effective_on` follows from it (`edtf.effective_day`). A client that sets `id`
    can send the announcement again safely.
    """

    event: DealEvent
    id: UUID | None = None
    effective_on: Day | None = None
    date: Edtf | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=50)] = ()
    note: Text | None = None


class OrganizationAnnouncement(EventPart, frozen=True):
    """What a client posts to an organization."""

    event: OrganizationEvent
    id: UUID | None = None
    effective_on: Day | None = None
    date: Edtf | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=50)] = ()
    note: Text | None = None


class PrincipalAnnouncement(EventPart, frozen=True):
    """What a client posts to a principal. It has no date and no source: it is true from its recording on."""

    effective_on: ClassVar[None] = None
    date: ClassVar[None] = None
    sources: ClassVar[tuple[Source, ...]] = ()
    note: ClassVar[None] = None

    event: PrincipalEvent
    id: UUID | None = None


AnyAnnouncement = Announcement | OrganizationAnnouncement | PrincipalAnnouncement


class Recorded(Struct, frozen=True, kw_only=True, gc=False):
    """An event with its place in the log.

    Attributes:
        position: Number of the event in the log, from 1, without gaps.
        version: Number of the event in its stream, from 1.
        published_on: The earliest date among the sources, or the UTC day of recording if none is dated.
        recorded_at: When the registry recorded the event, in UTC.
        recorded_by: The principal that recorded the event.
        approved_by: The second principal, where one approved the event.
        event: None if the content was redacted and the event has no effect that it keeps.
        date: The loose date that `effective_on` follows from, if the source states no day.
        erased: Whether the content was redacted.
    """

    position: int
    kind: StreamKind
    slug: str
    version: int
    id: UUID
    type: str
    schema: int
    effective_on: Day | None
    published_on: Day
    recorded_at: datetime
    recorded_by: str
    event: AnyEvent | None
    sources: tuple[Source, ...]
    note: str | None
    leaf_hash: bytes
    approved_by: str | None = None
    erased: bool = False
    date: Edtf | None = None

    @property
    def is_withheld(self) -> bool:
        """Whether only keys with the scope admin see the content: it names a person, or says who may do what."""
        return self.kind == "principal"
