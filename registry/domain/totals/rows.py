"""The input of totals: the few fields of a deal that a total depends on.

A projection stores these rows as JSON arrays, so that a portfolio is added up without folding its deals again. When a
row's fields change, the projection must be rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec
from msgspec import Struct

from registry.domain.deal import Deal, PledgeState
from registry.events.currencies import Currency
from registry.events.values import AmountBasis, Commitment, Qualifier, Relation, Stage

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Enough digits to add any number of amounts (18 digits before the point, 6 after it) without rounding."""


class RelationRow(Struct, frozen=True, array_like=True, gc=False):
    """A relation that the deal declares. `source` is the id of the event that declares it."""

    relation: Relation
    pledge: str | None
    deal: str
    other_pledge: str | None
    source: str


class PledgeRow(Struct, frozen=True, array_like=True, gc=False):
    """A pledge. `value`, `low` and `high` are in units of `currency`; the amount applies from `stated_on`."""

    pledge: str
    status: str
    currency: Currency | None
    value: Decimal | None
    low: Decimal | None
    high: Decimal | None
    qualifier: Qualifier | None
    basis: AmountBasis | None
    commitment: Commitment | None
    by: tuple[str, ...]
    stated_on: date
    additional_to: str | None


class DealRow(Struct, frozen=True, array_like=True, gc=False):
    """A deal. `places` are the ISO 3166 codes of its sites that were not dropped; `investors` its current investors.

    `classifications` are `AXIS:CODE`.
    """

    deal: str
    stage: Stage | None
    sectors: tuple[str, ...]
    places: tuple[str, ...]
    investors: tuple[str, ...]
    relations: tuple[RelationRow, ...]
    pledges: tuple[PledgeRow, ...]
    classifications: tuple[str, ...] = ()


encode_row: Callable[[DealRow], bytes] = msgspec.json.Encoder().encode
decode_row: Callable[[bytes], DealRow] = msgspec.json.Decoder(DealRow).decode


def row_of(deal: Deal) -> DealRow:
    """The row of a deal's state."""
    return DealRow(
        deal.deal,
        deal.stage.value if deal.stage else None,
        deal.sectors,
        tuple(dict.fromkeys(s.place for s in deal.sites if s.place and s.status != "dropped")),
        tuple(dict.fromkeys(p.organization for p in deal.parties if p.role == "investor" and p.left_on is None)),
        tuple(RelationRow(r.relation, r.pledge, r.deal, r.other_pledge, str(r.source)) for r in deal.relations),
        tuple(_pledge_row(pledge) for pledge in deal.pledges),
        tuple(f"{axis}:{code}" for axis, codes in (deal.classifications or {}).items() for code in codes),
    )


def _pledge_row(pledge: PledgeState) -> PledgeRow:
    amount = pledge.amount
    return PledgeRow(
        pledge.pledge,
        pledge.status,
        amount.currency if amount else None,
        _decimal(amount.value if amount else None),
        _decimal(amount.low if amount else None),
        _decimal(amount.high if amount else None),
        amount.qualifier if amount else None,
        pledge.amount_basis,
        pledge.commitment,
        pledge.by,
        pledge.stated_on,
        pledge.additional_to,
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


class SimpleSum(Struct, frozen=True, gc=False):
    """The sum of a deal's pledges, where each of them is certain to count in both bounds.

    `kind` is their common currency, nature, basis and qualifier, separated by spaces; empty for a deal without pledges.
    Sums of one kind can be added to each other, so a projection stores them and the database adds them.
    """

    kind: str
    amount: Decimal
    pledges: int


def simple_sum(row: DealRow) -> SimpleSum | None:
    """The sum of a deal's pledges, or None where `compute_totals` must examine the deal.

    It must where the deal has relations, a range, an unknown amount, something withdrawn, or two kinds of pledges.
    """
    if row.relations or row.stage in ("cancelled", "withdrawn"):
        return None
    kind = ""
    total = Decimal(0)
    for pledge in row.pledges:
        if pledge.value is None or pledge.low is not None or pledge.high is not None or pledge.status == "withdrawn":
            return None
        nature = "intention" if pledge.commitment == "intention" else ""
        pledge_kind = f"{pledge.currency} {nature} {pledge.basis or ''} {pledge.qualifier or ''}"
        if kind not in ("", pledge_kind):
            return None
        kind = pledge_kind
        total = EXACT.add(total, pledge.value)
    return SimpleSum(kind, total, len(row.pledges))
