"""What lies between two points in time, in a response: of one deal, and over all deals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from msgspec import field

from registry.domain.audit.comparison import AttributedChange, Comparison
from registry.domain.audit.diff import Change
from registry.domain.audit.labels import Kind, Label
from registry.domain.audit.portfolio_changes import PortfolioChange, What, portfolio_changes
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.history import AsOf
from registry.domain.principal import AuthorNames
from registry.domain.totals import TotalsColumn
from registry.schemas.base import RequestedPoint, ResponseModel
from registry.schemas.history import EventMetadata, changes_response, event_metadata
from registry.schemas.values import LocalizedResponse, convert_any


class Cause(EventMetadata, frozen=True, kw_only=True):
    """An event that caused a change."""

    event: UUID


class CausedChange(ResponseModel, frozen=True, kw_only=True):
    """A change of a field, with the events that caused it. `label` is what a history calls such an event."""

    label: Label
    field: str
    before: Any
    after: Any
    causes: list[Cause]


class ChangeSummary(ResponseModel, frozen=True, kw_only=True):
    """What a change means in a portfolio."""

    what: What
    kind: Kind
    field: str | None
    before: Any
    after: Any
    causes: tuple[UUID, ...]


class KnownAtPoints(ResponseModel, frozen=True, kw_only=True):
    """Whether the deal was known at the two points."""

    from_: bool = field(name="from")
    to: bool


class DealComparison(ResponseModel, frozen=True, kw_only=True):
    """What lies between two points: in the world, in the record, at a source, or learned late."""

    deal: str
    from_: RequestedPoint = field(name="from")
    to: RequestedPoint
    known: KnownAtPoints
    world: list[CausedChange]
    record: list[CausedChange]
    source: list[CausedChange]
    learned_late: list[CausedChange]
    differences: list[Change]
    merged_into: Change | None
    summary: list[ChangeSummary]


class DealChangeSummary(ChangeSummary, frozen=True, kw_only=True):
    """A change of one deal of the portfolio."""

    deal: str
    title: LocalizedResponse | None


class ComparedTotals(ResponseModel, frozen=True, kw_only=True):
    """The sums of the compared deals at the two points."""

    from_: tuple[TotalsColumn, ...] = field(name="from")
    to: tuple[TotalsColumn, ...]


class PortfolioComparison(ResponseModel, frozen=True, kw_only=True):
    """What changed between two points over all deals: the changes of a page of them. `next` is the next page's cursor.

    `totals` are those of all deals, not of the page.
    """

    from_: RequestedPoint = field(name="from")
    to: RequestedPoint
    position: int
    changes: list[DealChangeSummary]
    totals: ComparedTotals
    next: str | None


def requested_point(as_of: AsOf, effective_on: date) -> RequestedPoint:
    """A point in time as it was asked for, with the day that an open effective date stands for."""
    return RequestedPoint(
        effective_on=effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        position=as_of.position,
    )


def deal_comparison(
    slug: str,
    start: RequestedPoint,
    end: RequestedPoint,
    comparison: Comparison[Any],
    effective_events: Mapping[UUID, EffectiveEvent],
    names: AuthorNames,
) -> DealComparison:
    """The changes of a deal between two points, split by kind, each with its causes."""
    by_kind: dict[Kind, list[CausedChange]] = {}
    for change in comparison.changes:
        by_kind.setdefault(change.kind, []).append(_caused_change(change, effective_events, names))
    return DealComparison(
        deal=slug,
        from_=start,
        to=end,
        known=KnownAtPoints(from_=comparison.before is not None, to=comparison.after is not None),
        world=by_kind.get("world", []),
        record=by_kind.get("record", []),
        source=by_kind.get("source", []),
        learned_late=by_kind.get("learned_late", []),
        differences=changes_response(comparison.differences),
        merged_into=comparison.merged_into,
        summary=[ChangeSummary(**summary_fields(change)) for change in portfolio_changes(comparison)],
    )


def _caused_change(
    change: AttributedChange, effective_events: Mapping[UUID, EffectiveEvent], names: AuthorNames
) -> CausedChange:
    return CausedChange(
        label=change.label,
        field=change.path,
        before=convert_any(change.before),
        after=convert_any(change.after),
        causes=[
            Cause(event=id, **event_metadata(effective_events[id], names))
            for id in change.causes
            if id in effective_events
        ],
    )


def summary_fields(change: PortfolioChange) -> dict[str, Any]:
    """The fields of `ChangeSummary`."""
    fields = {name: getattr(change, name) for name in ChangeSummary.__struct_fields__}
    return fields | {"before": convert_any(change.before), "after": convert_any(change.after)}
