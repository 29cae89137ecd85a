"""The input of totals: the few fields of a deal that a total depends on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal

from msgspec import Struct

from registry.domain.deal import Deal, PledgeState
from registry.domain.deal.codes import codes_of
from registry.domain.totals.rules import Rule
from registry.events.currencies import Currency
from registry.events.values import AmountBasis, Commitment, Figure, Qualifier, Relation, Stage

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Enough digits to add any number of amounts (18 digits before the point, 6 after it) without rounding."""


class RelationRow(Struct, frozen=True, gc=False):
    """A relation that the deal declares. `source` is the id of the event that declares it."""

    relation: Relation
    pledge: str | None
    deal: str
    other_pledge: str | None
    source: str


class PledgeRow(Struct, frozen=True, gc=False):
    """A pledge. `value`, `low` and `high` are in units of `currency`; the amount applies from `stated_on`.

    `figure` tells an estimated or modelled amount from a stated one. `flags` are the rules of the flags on the amount,
    but for those that follow from relations. `announced_on` is the day of the pledge; None: `stated_on`.

    A figure of another measure (`measures.py`) has a `unit` (empty: that of the measure) in place of a currency, a
    `nature` (planned, actual, target) of its own, the place of its site, and the rule that excludes it, with its cause.
    """

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
    figure: Figure | None = None
    flags: tuple[str, ...] = ()
    announced_on: date | None = None
    unit: str | None = None
    nature: str | None = None
    places: tuple[str, ...] | None = None
    excluded: Rule | None = None
    because: tuple[tuple[str, str | None], ...] = ()

    @property
    def is_estimate(self) -> bool:
        """Whether the amount was estimated or modelled."""
        return self.figure in ("estimated", "modelled")


class DealRow(Struct, frozen=True, gc=False):
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


def row_of(deal: Deal, flags: Mapping[str, tuple[str, ...]] = {}) -> DealRow:
    """The row of a deal's state; `flags` are the rules of the flags on its amounts, by pledge."""
    return DealRow(
        deal.deal,
        deal.stage.value if deal.stage else None,
        deal.sectors,
        tuple(dict.fromkeys(s.place for s in deal.sites if s.place and s.status != "dropped")),
        tuple(dict.fromkeys(p.organization for p in deal.parties if p.role == "investor" and p.left_on is None)),
        tuple(RelationRow(r.relation, r.pledge, r.deal, r.other_pledge, str(r.source)) for r in deal.relations),
        tuple(_pledge_row(pledge, flags.get(pledge.pledge, ())) for pledge in deal.pledges),
        codes_of(deal, "classifications"),
    )


def _pledge_row(pledge: PledgeState, flags: tuple[str, ...]) -> PledgeRow:
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
        amount.figure if amount else None,
        flags,
        pledge.announced_on,
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
