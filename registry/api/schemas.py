"""What answers look like, for whoever reads the API's documentation.

Answers are made by `answers.py` and the domain; these shapes only describe them. Every answer that a test of the API
receives is checked against them (tests/api/conftest.py), so that they cannot drift apart.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from registry.domain.assessment import Assessment
from registry.domain.audit.diff import Change
from registry.domain.audit.portfolio_changes import What
from registry.domain.deal import (
    ConditionState,
    MilestoneState,
    PartnershipState,
    PartyState,
    PledgeState,
    RelationState,
    SiteState,
)
from registry.domain.deduplication import Suggestion
from registry.domain.organization import IdentifierState, NameState, ParentState
from registry.domain.plausibility import Flag
from registry.domain.stages import StageState
from registry.domain.totals import Totals as Sums
from registry.events.types import AnyEvent, Control, DealKind, Localized, Source
from registry.projections.deal_versions import DealListItem
from registry.queries.answers import CitedSource, Unapplied, UnappliedReason

Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256, in hex.")]
Link = Annotated[str, Meta(pattern="^/", description="A path of this service.")]
ChangeKind = Literal["world", "record", "source", "learned_late"]


class ResponseModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object with these fields and no others."""


class RecordedEvent(ResponseModel, frozen=True, kw_only=True):
    """An event's place in the log."""

    id: UUID
    version: int
    position: int
    recorded_at: datetime


class RecordedAnswer(ResponseModel, frozen=True, kw_only=True):
    """What was recorded, or would be (`dry_run`), and what it changes in the state with all clocks open."""

    deal: str | UnsetType = UNSET
    organization: str | UnsetType = UNSET
    version: int
    position: int
    events: list[RecordedEvent]
    changes: list[Change]
    flags: list[Flag]


class RequestedAsOf(ResponseModel, frozen=True, kw_only=True):
    """The point in time that was asked for; null: open, as far as is known."""

    effective_on: date | None
    published_on: date | None
    recorded_at: datetime | None


class IncomingRelation(ResponseModel, frozen=True, kw_only=True):
    """Another deal that declares a relation to this one."""

    deal: str
    title: Localized | None
    relation: str
    pledge: str | None
    other_pledge: str | None
    since: date
    source: UUID


class DealState(RequestedAsOf, frozen=True, kw_only=True):
    """A deal's state at a point in time. Unknown is null or empty, never zero."""

    deal: str
    version: int
    position: int
    title: Localized | None
    kind: DealKind | None
    summary: Localized | None
    sectors: list[str]
    stage: StageState | None
    parties: list[PartyState]
    partnerships: list[PartnershipState]
    pledges: list[PledgeState]
    sites: list[SiteState]
    milestones: list[MilestoneState]
    relations: list[RelationState]
    conditions: list[ConditionState]
    sources: list[CitedSource]
    unapplied: list[Unapplied]
    erased: int
    first_event: UUID
    last_event: UUID
    remarks: Assessment | None
    organizations: dict[str, Any] | UnsetType = UNSET
    incoming: list[IncomingRelation] | UnsetType = UNSET


class EventMetadata(ResponseModel, frozen=True, kw_only=True):
    """Who wrote an event down, when, why, and on which source."""

    type: str
    version: int
    position: int
    effective_on: date | None
    published_on: date
    recorded_at: datetime
    recorded_by: str
    note: str | None
    sources: list[Source]
    proof: Link


class Correction(ResponseModel, frozen=True, kw_only=True):
    """What was done to an event of the record."""

    event: UUID
    type: str
    position: int
    recorded_at: datetime
    recorded_by: str
    reason: str | None
    in_force: bool


class AuditedEvent(EventMetadata, frozen=True, kw_only=True):
    """An event as it reads, and what it changed."""

    id: UUID
    kind: Literal["world", "record", "source"]
    reason: str | None
    event: AnyEvent | None
    as_recorded: AnyEvent | None
    erased: bool
    changes: list[Change]
    flags: list[Flag]
    visible: bool
    unapplied: UnappliedReason | None
    concerns: UUID | None
    corrections: list[Correction]
    voided_by: UUID | None
    superseded_by: UUID | None
    leaf_hash: Hex


class Audit(RequestedAsOf, frozen=True, kw_only=True):
    """Every event of a deal that was recorded by then, in the order of the log."""

    deal: str
    version: int
    position: int
    events: list[AuditedEvent]


class OrganizationAudit(RequestedAsOf, frozen=True, kw_only=True):
    """Every event of an organization's record that was recorded by then, in the order of the log; none is flagged."""

    organization: str
    version: int
    position: int
    events: list[AuditedEvent]


class FieldProvenance(EventMetadata, frozen=True, kw_only=True):
    """A field with the event that set it, and the value before."""

    field: str
    value: Any
    before: Any
    event: UUID
    corrected_by: UUID | None
    preferred_by: UUID | None


class Provenance(RequestedAsOf, frozen=True, kw_only=True):
    """Every field of a deal."""

    deal: str
    version: int
    position: int
    fields: list[FieldProvenance]


class Point(RequestedAsOf, frozen=True, kw_only=True):
    """A point in time."""

    position: int | None


class Cause(EventMetadata, frozen=True, kw_only=True):
    """An event that brought a change about."""

    event: UUID


class CausedChange(ResponseModel, frozen=True, kw_only=True):
    """A field's change, with the events that brought it about."""

    field: str
    before: Any
    after: Any
    causes: list[Cause]


class Movement(ResponseModel, frozen=True, kw_only=True):
    """A change in the words of a reader."""

    what: What
    kind: ChangeKind
    field: str | None
    before: Any
    after: Any
    causes: list[UUID]


class KnownAtPoints(ResponseModel, frozen=True, kw_only=True):
    """Whether the deal was known at the two points."""

    from_: bool = field(name="from")
    to: bool


class Comparison(ResponseModel, frozen=True, kw_only=True):
    """What lies between two points: in the world, in the record, at a source, or learned late."""

    deal: str
    from_: Point = field(name="from")
    to: Point
    known: KnownAtPoints
    world: list[CausedChange]
    record: list[CausedChange]
    source: list[CausedChange]
    learned_late: list[CausedChange]
    differences: list[Change]
    merged_into: Change | None
    summary: list[Movement]


class DealMovement(Movement, frozen=True, kw_only=True):
    """A change of one deal of the portfolio."""

    deal: str
    title: Localized | None


class PortfolioComparison(ResponseModel, frozen=True, kw_only=True):
    """What changed over all deals."""

    from_: Point = field(name="from")
    to: Point
    position: int
    changes: list[DealMovement]


class Memento(ResponseModel, frozen=True, kw_only=True):
    """A moment at which the state changed."""

    uri: Link
    position: int
    recorded_at: datetime


class Timemap(ResponseModel, frozen=True, kw_only=True):
    """Every moment at which a deal's state changed (RFC 7089 §5)."""

    original: Link
    timegate: Link
    mementos: list[Memento]


class Deals(RequestedAsOf, frozen=True, kw_only=True):
    """A page of deals; `next` is the cursor of the one after it."""

    position: int
    deals: list[DealListItem]
    next: str | None
    facets: dict[str, dict[str, int]] | UnsetType = UNSET


class TotalsAnswer(Point, frozen=True, kw_only=True):
    """The portfolio's amounts, with the words of each rule that decided."""

    totals: Sums
    rules: dict[str, str]


class Child(ResponseModel, frozen=True, kw_only=True):
    """An organization that this one owns, controls or manages, from when until when; `share` in percent."""

    organization: str
    control: Control | None
    share: str | None
    since: date
    until: date | None


class PartInDeal(ResponseModel, frozen=True, kw_only=True):
    """A deal that the organization takes part in, and in which roles."""

    deal: str
    title: Localized | None
    roles: list[str]


class OrganizationState(RequestedAsOf, frozen=True, kw_only=True):
    """An organization at a point in time."""

    organization: str
    name: Localized | None
    country: str | None
    names: list[NameState]
    identifiers: list[IdentifierState]
    parents: list[ParentState]
    version: int
    position: int
    sources: list[CitedSource]
    children: list[Child]
    duplicates: list[str]
    deals: list[PartInDeal]


class Similar(ResponseModel, frozen=True, kw_only=True):
    """Organizations that may be the same, the likeliest first. Nothing is merged unless somebody records it."""

    organization: str
    suggestions: list[Suggestion]


class ListedOrganization(ResponseModel, frozen=True, kw_only=True):
    """An organization as it is now."""

    organization: str
    name: Localized | None
    country: str | None
    names: list[NameState]
    identifiers: list[IdentifierState]
    parents: list[ParentState]


class OrganizationPage(ResponseModel, frozen=True, kw_only=True):
    """A page of organizations."""

    organizations: list[ListedOrganization]


class LoggedEvent(ResponseModel, frozen=True, kw_only=True):
    """An event as it was recorded. `event`, `sources` and `note` are gone where they were erased by law.

    `leaf_hash` is the event's leaf in the log's tree (RFC 6962 §2.1), `previous` the leaf hash of its stream's event
    before it, `content_digest` the salted digest of what was said.
    """

    id: UUID
    deal: str | UnsetType = UNSET
    organization: str | UnsetType = UNSET
    version: int
    position: int
    type: str
    schema: int
    effective_on: date | None
    published_on: date
    recorded_at: datetime
    recorded_by: str
    event: AnyEvent | None
    sources: list[Source]
    note: str | None
    erased: bool
    leaf_hash: Hex
    previous: Hex | None
    content_digest: Hex
    salt: Hex | None
    proof: Link


class EffectiveContent(ResponseModel, frozen=True, kw_only=True):
    """How an event reads now, and which record gives its words."""

    effective_on: date | None
    published_on: date
    event: AnyEvent | None
    sources: list[Source]
    in_force: UUID


class EventAnswer(LoggedEvent, frozen=True, kw_only=True):
    """One event, how it reads now, and what corrected it."""

    reads: EffectiveContent
    corrected_by: list[UUID]
    voided_by: UUID | None


class EventPage(ResponseModel, frozen=True, kw_only=True):
    """Events in the order of the log."""

    events: list[LoggedEvent]


class Live(ResponseModel, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["live"]


class Readiness(ResponseModel, frozen=True, kw_only=True):
    """Whether the service can do its work, and what of it cannot."""

    status: Literal["ready", "not ready"]
    database: bool
    migrations: bool
    recorder: bool
    reason: str | UnsetType = UNSET


class FieldError(ResponseModel, frozen=True, kw_only=True):
    """A field that is wrong: its JSON Pointer (RFC 6901) in the body, and what is wrong, as a text and as a code."""

    pointer: str
    detail: str
    code: str
    params: dict[str, Any] | UnsetType = UNSET


class ProblemDocument(ResponseModel, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457). `/docs/problems` explains each `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    params: dict[str, Any] | UnsetType = UNSET
    errors: list[FieldError] | UnsetType = UNSET
    parameter: str | UnsetType = UNSET
    rule: str | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    version: int | UnsetType = UNSET
    line: int | UnsetType = UNSET
