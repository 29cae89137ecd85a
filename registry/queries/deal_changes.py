"""What changed in deals between two points, as a comparison of the portfolio lists it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.labels import Kind
from registry.domain.audit.portfolio_changes import PortfolioChange, What, changes_of_deal
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream
from registry.events.values import Localized


class DealChange(Struct, frozen=True):
    """What a change of a deal means in the portfolio. `field`, `before` and `after` are None for a whole deal."""

    deal: str
    title: Localized | None
    what: What
    kind: Kind
    field: str | None
    before: Any
    after: Any
    causes: tuple[UUID, ...]


class PortfolioChanges(Struct, frozen=True):
    """The changes of a page of deals, the later log position of the two points, and after which deal to go on."""

    changes: list[DealChange]
    position: int
    next: str | None


def for_thread(stream: FoldedStream[Deal]) -> FoldedStream[Deal]:
    """A copy of a cached stream without the flags that are kept with it and that a thread must not change."""
    copy = stream.copy()
    copy.assessment_cache = None
    return copy


def changes_of(streams: Sequence[FoldedStream[Deal]], start: AsOf, end: AsOf) -> list[DealChange]:
    """What changed in some deals between two points."""
    changes: list[DealChange] = []
    for stream in streams:
        found, deal = changes_of_deal(stream, start, end)
        changes += [_deal_change(stream.slug, deal.title, change) for change in found]
    return changes


def _deal_change(slug: str, title: Localized | None, change: PortfolioChange) -> DealChange:
    of_field = change.change
    return DealChange(
        deal=slug,
        title=title,
        what=change.what,
        kind=change.kind,
        field=of_field.path if of_field else None,
        before=of_field.before if of_field else None,
        after=of_field.after if of_field else None,
        causes=change.causes,
    )
