"""A deal's state in a response, what is concluded from it, and the list of its past states."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from registry.domain.assessment import Assessment, ExternalStageCodes
from registry.domain.audit.change_points import ChangePoint
from registry.domain.deal import (
    Deal,
)
from registry.domain.fold.claims import ClaimState
from registry.domain.history import AsOf, StateAsOf
from registry.domain.merges import redirected_pledge, survivor
from registry.domain.organizations.mentions import mentioned_organizations
from registry.domain.stages import Inactivity, LadderStep
from registry.i18n import Message
from registry.schemas.base import Link, ResponseModel
from registry.schemas.derive import response_to
from registry.schemas.lists import DealListItem
from registry.schemas.organizations import OrganizationFields
from registry.schemas.sources import CitedSource, cited_sources
from registry.schemas.values import (
    AmountResponse,
    LocalizedResponse,
    convert,
    convert_long,
)

# `Memento` has a field of the type's name.
Instant: TypeAlias = datetime


@response_to(ClaimState)
class ClaimResponse(ResponseModel, frozen=True, kw_only=True):
    """One source's value for one field. `claim` is null for the value of the event that set the field.

    `status` is standing, superseded (the field was set again since) or retracted. `followed` states whether the state
    shows this value, `rule` why: `as_announced` (the event that set the field) or `preferred` (an editor selected it).
    `corroborated` states whether a standing claim agrees with the value that the state shows: the same amount in any
    stated currency, or dates of which one contains the other.
    """

    value: AmountResponse | str | int | None


class UnappliedEvent(ResponseModel, frozen=True, kw_only=True):
    """An event that the state, as of the point that was asked for, cannot include, and the rule that it breaks."""

    event: UUID
    type: str
    rule: str
    detail: str


class RefusalResponse(ResponseModel, frozen=True, kw_only=True):
    """The rule that an event breaks."""

    rule: str
    detail: str


class FlagResponse(ResponseModel, frozen=True, kw_only=True):
    """A failed plausibility check. `figures` are the compared values, `events` the ids of the events with them."""

    rule: str
    detail: str
    field: str
    figures: dict[str, str]
    events: tuple[str, ...]


class AssessmentResponse(ResponseModel, frozen=True, kw_only=True):
    """What the registry concludes from a deal's state.

    Attributes:
        undated: Whether neither the deal's registration nor its sources have a date, so that it is known on every day.
    """

    flags: tuple[FlagResponse, ...]
    undated: bool
    ladder: tuple[LadderStep, ...]
    quiet: Inactivity | None
    elsewhere: ExternalStageCodes | None


class IncomingRelation(ResponseModel, frozen=True, kw_only=True):
    """A relation to this deal that another deal declares."""

    deal: str
    title: LocalizedResponse | None
    relation: str
    pledge: str | None
    other_pledge: str | None
    since: date
    source: UUID


if TYPE_CHECKING:
    # A type checker sees the fields that `response_to` adds as those of the state.
    class _DealFields(Deal, ResponseModel, frozen=True, kw_only=True): ...
else:
    _DealFields = ResponseModel


@response_to(Deal)
class DealFields(_DealFields, frozen=True, kw_only=True):
    """The fields of a deal: each that `domain/deal/state.py` has, in depth."""

    deal: str


class DealResponse(DealFields, frozen=True, kw_only=True):
    """A deal's state as of a point in time. Unknown is null or empty, never zero."""

    effective_on: date
    published_on: date | None
    recorded_at: datetime | None
    version: int
    position: int
    sources: tuple[CitedSource, ...]
    unapplied: tuple[UnappliedEvent, ...]
    erased: int
    first_event: UUID
    last_event: UUID
    remarks: AssessmentResponse | None
    organizations: dict[str, OrganizationFields] | UnsetType = UNSET
    incoming: tuple[IncomingRelation, ...] | UnsetType = UNSET


class Memento(ResponseModel, frozen=True, kw_only=True):
    """A moment at which the answer to a plain request became the state at `uri`.

    Attributes:
        datetime: The moment (UTC): of a recording, or the midnight at which an event took effect.
        effective_on: The day on which it falls, in the registry's time zone.
        position: The log position of the deal's last event by then.
        recorded_at: When that event was recorded.
    """

    uri: Link
    datetime: Instant
    effective_on: date
    position: int
    recorded_at: Instant


class Timemap(ResponseModel, frozen=True, kw_only=True):
    """Every moment at which the answer to a plain request changed (RFC 7089 §5).

    `upcoming` are the days on which it will change by what is recorded now; they are no mementos yet.
    """

    original: Link
    timegate: Link
    mementos: list[Memento]
    upcoming: list[Memento]


def deal_link(slug: str, as_of: AsOf) -> str:
    """The path of a deal's state at a point in time."""
    point = {name: _parameter(value) for name, value in asdict(as_of).items() if value is not None}
    return f"/v1/deals/{slug}?{urlencode(point)}" if point else f"/v1/deals/{slug}"


def _parameter(value: date | datetime | int) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def timemap(slug: str, points: Iterable[ChangePoint], now: datetime) -> Timemap:
    """The TimeMap of a deal: the changes by now are mementos."""
    mementos: list[Memento] = []
    upcoming: list[Memento] = []
    for point in points:
        is_past = point.is_recording or point.at <= now
        if point.is_recording:
            as_of = AsOf(position=point.position)
        elif is_past:
            as_of = AsOf(recorded_at=point.at)
        else:
            as_of = AsOf(effective_on=point.effective_on)
        memento = Memento(
            uri=deal_link(slug, as_of),
            datetime=point.at,
            effective_on=point.effective_on,
            position=point.position,
            recorded_at=point.recorded_at,
        )
        (mementos if is_past else upcoming).append(memento)
    path = deal_link(slug, AsOf())
    return Timemap(original=path, timegate=path, mementos=mementos, upcoming=upcoming)


def deal_response(
    state: Deal,
    snapshot: StateAsOf[Deal],
    as_of: AsOf,
    effective_on: date,
    remarks: AssessmentResponse | None = None,
) -> DealResponse:
    """A deal's state as of a point in time. A certificate has no remarks: it holds what follows from the events."""
    fields = convert_long(state, DealFields)
    return DealResponse(
        **{name: getattr(fields, name) for name in DealFields.__struct_fields__},
        version=snapshot.version,
        position=snapshot.position,
        effective_on=effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        sources=cited_sources(snapshot),
        unapplied=tuple(
            UnappliedEvent(
                event=effective.recorded.id, type=effective.recorded.type, rule=refusal.code, detail=str(refusal)
            )
            for effective, refusal in snapshot.unapplied
        ),
        erased=sum(effective.recorded.erased for effective in snapshot.effective_events),
        first_event=snapshot.effective_events[0].recorded.id,
        last_event=snapshot.effective_events[-1].recorded.id,
        remarks=remarks,
    )


def assessment_response(assessment: Assessment) -> AssessmentResponse:
    """What the registry concludes from a deal's state."""
    return convert(assessment, AssessmentResponse)


def refusal_response(refusal: Message) -> RefusalResponse:
    """The rule that an event breaks, with its text in English."""
    return RefusalResponse(rule=refusal.code, detail=str(refusal))


def named_organizations(deal: DealFields) -> list[str]:
    """The slugs of the organizations that a deal's state names, each once."""
    return list(dict.fromkeys(mentioned_organizations(deal)))


def incoming_relations(
    slug: str, rows: Iterable[DealListItem], merged: Mapping[str, str], pledges: Collection[str]
) -> tuple[IncomingRelation, ...]:
    """The relations to a deal, from the list rows of the deals that declare them.

    Args:
        slug: The deal.
        rows: The deals that declare a relation to it, or to a deal merged into it.
        merged: What each merged deal was merged into.
        pledges: The deal's pledges. A relation to a pledge of a merged deal counts for the pledge with the same id.
    """
    relations: list[IncomingRelation] = []
    for row in rows:
        for relation in row.relations:
            if survivor(relation.deal, merged) != slug:
                continue
            other_pledge, has_effect = relation.other_pledge, True
            if relation.deal != slug:
                other_pledge, has_effect = redirected_pledge(relation.relation, relation.other_pledge, pledges)
                has_effect = has_effect and (row.deal, relation.pledge) != (slug, other_pledge)
            if has_effect:
                relations.append(
                    IncomingRelation(
                        deal=row.deal,
                        title=row.title,
                        relation=relation.relation,
                        pledge=relation.pledge,
                        other_pledge=other_pledge,
                        since=relation.since,
                        source=relation.source,
                    )
                )
    return tuple(relations)
