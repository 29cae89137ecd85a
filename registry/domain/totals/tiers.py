"""How firm a pledge is, as charts show it: each tier includes the ones after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

from msgspec import Struct

from registry.domain.totals.rows import DealRow, PledgeRow

PledgeFilter = Callable[[DealRow, PledgeRow], bool]


def _is_committed(row: DealRow, pledge: PledgeRow) -> bool:
    return pledge.commitment != "intention"


def _is_under_construction(row: DealRow, pledge: PledgeRow) -> bool:
    return _is_committed(row, pledge) and row.stage in ("construction", "operating")


def _is_confirmed(row: DealRow, pledge: PledgeRow) -> bool:
    confirmed = pledge.status == "confirmed" or pledge.commitment in ("binding", "budget")
    return _is_under_construction(row, pledge) or (_is_committed(row, pledge) and confirmed)


TIERS: dict[str, PledgeFilter] = {
    "intended": lambda row, pledge: True,
    "pledged": _is_committed,
    "confirmed": _is_confirmed,
    "construction": _is_under_construction,
    "operating": lambda row, pledge: _is_committed(row, pledge) and row.stage == "operating",
}
"""The tiers, and which pledges belong to each."""


class TierAmounts(Struct, frozen=True):
    """The amounts from a day on in one currency: each tier's lower bound, the upper bound of all, and what changed."""

    day: date
    tiers: dict[str, Decimal]
    upper: Decimal
    deals: tuple[str, ...]
