"""What changed in deals between two points, as a comparison of the portfolio lists it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import asdict

from registry.domain.audit.portfolio_changes import PortfolioChange, changes_of_deal
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream
from registry.domain.stream_caches import StreamCaches
from registry.events.values import Localized
from registry.infra.threads import until_cancelled
from registry.projections.columnar.lists import PagePlace


class DealChange(PortfolioChange, frozen=True, kw_only=True):
    """What a change of a deal means in the portfolio, with the deal's title."""

    deal: str
    title: Localized | None


class PortfolioChanges(Struct, frozen=True):
    """The changes of a page of deals, the later log position of the two points, and where the next page begins."""

    changes: list[DealChange]
    position: int
    next: PagePlace | None


def for_thread(stream: FoldedStream[Deal]) -> FoldedStream[Deal]:
    """A copy of a cached stream without its cached flags, which a thread must not change."""
    copy = stream.copy()
    copy.caches = StreamCaches()
    return copy


def changes_of(streams: Sequence[FoldedStream[Deal]], start: AsOf, end: AsOf, calendar: Calendar) -> list[DealChange]:
    """What changed in some deals between two points; it ends early when the request is cancelled."""
    changes: list[DealChange] = []
    for stream in until_cancelled(streams):
        found, deal = changes_of_deal(stream, start, end, calendar, until_cancelled)
        changes += [DealChange(**asdict(change), deal=stream.slug, title=deal.title) for change in found]
    return changes
