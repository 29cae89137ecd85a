"""A deal's state as certificates contain it: a certificate states it, and verification computes it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from registry.domain.deal import Deal
from registry.domain.fold.items import item_types
from registry.domain.fold.redaction import with_redacted_effects
from registry.domain.history import AsOf, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.errors import LogCorrupt
from registry.events.types import Recorded
from registry.events.values import AMOUNT_NOTES
from registry.schemas import DealResponse, deal_response
from registry.schemas.deal_query import FIELD_FILTERS
from registry.transparency.findings import Finding

DERIVED_LATER = frozenset({"corroborated"})
"""Fields that follow from others and that the first certificates do not have (tests/transparency/data).

The id of a source is one too.
"""

STATED_LATER = frozenset(
    {
        *(*FIELD_FILTERS.values(), *item_types(Deal)),
        *("observed_on", "certainty", "share", *AMOUNT_NOTES, "address", "locality", "district_code", "quote"),
    }
)
"""Fields that events state and that the first certificates do not have: where one is missing, no event states it."""


def equals_state(certified: Any, folded: Any) -> bool:
    """Whether a certificate's state is the state of its events. An older certificate lacks the fields added later."""
    match certified, folded:
        case dict(), dict():
            missing = folded.keys() - certified.keys()
            derived = DERIVED_LATER | {"id"} if "publisher" in folded else DERIVED_LATER
            return (
                all(name in derived or (name in STATED_LATER and not folded[name]) for name in missing)
                and certified.keys() <= folded.keys()
                and all(equals_state(value, folded[name]) for name, value in certified.items())
            )
        case list(), list():
            return len(certified) == len(folded) and all(map(equals_state, certified, folded))
        case _:
            return bool(certified == folded)


def state_of(deal: str, events: Sequence[Recorded], as_of: AsOf, size: int) -> DealResponse:
    """The deal's state as a certificate contains it.

    Raises:
        LogCorrupt: The point in time has no effective date or no position, is after the checkpoint, or the deal was not
            known then.
    """
    if as_of.position is None or as_of.effective_on is None or as_of.position > size:
        raise LogCorrupt(detail=Finding("bundle_as_of"))
    view = state_as_of(deal, with_redacted_effects(events), as_of, DEALS)
    if view.state is None:
        raise LogCorrupt(detail=Finding("bundle_deal_unknown", deal=deal))
    return deal_response(view.state, view, as_of, as_of.effective_on)
