"""A list and a comparison recomputed from the events of deals: what certificates state, and verification repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from registry.domain.audit.portfolio_changes import changes_of_deal
from registry.domain.deal import Deal
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream, state_as_of
from registry.domain.rates import Rates
from registry.domain.redaction import keep_redacted_effects
from registry.domain.totals import TotalsColumn, row_of
from registry.events.types import Recorded
from registry.schemas import ChangeSummary, DealResponse, summary_fields
from registry.transparency.deal_state import state_of
from registry.transparency.total_state import CertifiedQuery, CertifiedSelection, total_of


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
    streams: Mapping[str, Sequence[Recorded]], as_of: AsOf, selection: CertifiedSelection, size: int
) -> tuple[DealResponse, ...]:
    """The states of the selected deals at a point in time, in the order of their slugs.

    Args:
        streams: All events of each deal, by slug, up to `size`.
        as_of: The point, with an effective date and a position.
        selection: Which deals.
        size: The size of the checkpoint.

    Raises:
        LogCorrupt: The point has no effective date or no position, or is after the checkpoint.
    """
    selected = sorted(deal for deal, events in streams.items() if _is_selected(deal, events, as_of, selection))
    return tuple(state_of(deal, streams[deal], as_of, size) for deal in selected)


def comparison_of(
    streams: Mapping[str, Sequence[Recorded]], start: AsOf, end: AsOf, selection: CertifiedSelection, rates: Rates
) -> CertifiedComparison:
    """What changed between two points in the deals that are selected at one of them, and the sums at both.

    Args:
        streams: All events of each deal, by slug, up to the later position or beyond.
        start: The one point, with an effective date and a position.
        end: The other point.
        selection: Which deals.
        rates: The exchange rates, which decide whether an amount is plausible.
    """
    changes: list[CertifiedChange] = []
    for deal, events in sorted(streams.items()):
        if any(_is_selected(deal, events, as_of, selection) for as_of in (start, end)):
            changes += _changes(deal, events, start, end)
    query = CertifiedQuery(**{name: getattr(selection, name) for name in CertifiedSelection.__struct_fields__})
    first, last = (total_of(streams, as_of, query, rates).overall.columns for as_of in (start, end))
    return CertifiedComparison(tuple(changes), CertifiedSums(first, last))


def _is_selected(deal: str, events: Sequence[Recorded], as_of: AsOf, selection: CertifiedSelection) -> bool:
    view = state_as_of(deal, keep_redacted_effects(events), as_of, DEALS)
    return view.merged_into is None and view.state is not None and selection.selects(row_of(view.state))


def _changes(deal: str, events: Sequence[Recorded], start: AsOf, end: AsOf) -> list[CertifiedChange]:
    stream: FoldedStream[Deal] = FoldedStream(deal, DEALS, events)
    found, _ = changes_of_deal(stream, start, end)
    return [CertifiedChange(**summary_fields(change), deal=deal) for change in found]
