"""A list and a comparison computed from the events of deals, for certificates and their verification."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from registry.domain.audit.portfolio_changes import changes_of_deal
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream
from registry.domain.money.rates import Rates
from registry.domain.stream_kinds import DEALS
from registry.domain.totals import TotalsColumn
from registry.events.types import Recorded
from registry.queries.deal_conditions import SelectedDeals, SimilarWords, Streams, folded
from registry.schemas import ChangeSummary, DealResponse, summary_fields
from registry.schemas.deal_query import DealListQuery
from registry.transparency.deal_state import state_of
from registry.transparency.total_state import CertifiedQuery, sum_of


class CertifiedChange(ChangeSummary, frozen=True, kw_only=True):
    """A change of a deal between two points. `field`, `before` and `after` are null for a whole deal."""

    deal: str


class CertifiedSums(Struct, frozen=True):
    """The sums of the selected deals at the two points."""

    from_: tuple[TotalsColumn, ...] = field(name="from")
    to: tuple[TotalsColumn, ...]


class CertifiedComparison(Struct, frozen=True):
    """What changed, in the order of the deals, and the sums."""

    changes: tuple[CertifiedChange, ...]
    totals: CertifiedSums


def list_of(
    streams: Streams,
    organizations: Streams,
    as_of: AsOf,
    query: DealListQuery,
    size: int,
    similar: SimilarWords | None = None,
    *,
    is_whole: bool,
) -> tuple[DealResponse, ...]:
    """The states of the selected deals at a point in time, in the order of their slugs.

    Args:
        streams: All events of each deal, by slug, up to `size`.
        organizations: The same of each organization that the answer depends on.
        as_of: The point, with an effective date and a position.
        query: Which deals.
        size: The size of the checkpoint.
        similar: What misspelt words of the query were taken for.
        is_whole: Whether the deals and organizations are all of the log.

    Raises:
        LogCorrupt: The point has no effective date or no position, or is after the checkpoint.
        WrongWords: `similar` is wrong.
    """
    selected = SelectedDeals(query, streams, organizations, as_of, similar, is_whole=is_whole)
    slugs = sorted(selected.at(as_of, folded(streams, as_of)))
    return tuple(state_of(deal, streams[deal], as_of, size) for deal in slugs)


def comparison_of(
    streams: Streams,
    organizations: Streams,
    points: tuple[AsOf, AsOf],
    query: DealListQuery,
    rates: Rates,
    calendar: Calendar,
    similar: Sequence[SimilarWords] | None = None,
    *,
    is_whole: bool,
) -> CertifiedComparison:
    """What changed between two points in the deals that are selected at one of them, and the sums at both.

    At both points, those deals are compared that the words and the organization of the query select as these are known
    at the later point; each sum is of the deals that a list at its point has.

    Args:
        streams: All events of each deal, by slug, up to the later position or beyond.
        organizations: The same of each organization that the answer depends on.
        points: The points, with effective dates and positions.
        query: Which deals.
        rates: The exchange rates, which decide whether an amount is plausible.
        calendar: The registry's calendar, which decides what was learned late.
        similar: What misspelt words of the query were taken for, at each point.
        is_whole: Whether the deals and organizations are all of the log.

    Raises:
        WrongWords: `similar` is wrong.
    """
    views = [folded(streams, as_of) for as_of in points]
    selections = [
        SelectedDeals(query, streams, organizations, as_of, stated, is_whole=is_whole)
        for as_of, stated in zip(points, similar or ({}, {}), strict=True)
    ]
    compared = {slug for at, view in zip(points, views, strict=True) for slug in selections[1].at(at, view)}
    changes = [change for deal in sorted(compared) for change in _changes(deal, streams[deal], *points, calendar)]
    first, last = (
        sum_of(view, selection.at(as_of, view), as_of, CertifiedQuery(), rates, organizations).overall.columns
        for as_of, view, selection in zip(points, views, selections, strict=True)
    )
    return CertifiedComparison(tuple(changes), CertifiedSums(first, last))


def _changes(
    deal: str, events: Sequence[Recorded], start: AsOf, end: AsOf, calendar: Calendar
) -> list[CertifiedChange]:
    stream: FoldedStream[Deal] = FoldedStream(deal, DEALS, events)
    found, _ = changes_of_deal(stream, start, end, calendar)
    return [CertifiedChange(**summary_fields(change), deal=deal) for change in found]
