"""The columns of a total: which pledges are added together, and the running sum of one column."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from registry.domain.money import format_decimal
from registry.domain.rates import Rate
from registry.domain.totals.overlap import Candidate
from registry.domain.totals.overlap import Column as ColumnKey
from registry.domain.totals.results import TotalsColumn
from registry.domain.totals.rows import DealRow, PledgeRow
from registry.domain.totals.rules import Rule
from registry.events.values import Qualifier

Nature = Literal["commitment", "intention"]
Basis = Literal["once", "annual"]


def nature_and_basis(pledge: PledgeRow) -> tuple[Nature, Basis]:
    """The part of the column key besides the currency.

    Intentions are never added to commitments, and an amount per year is never added to one without a period.
    """
    return (
        "intention" if pledge.commitment == "intention" else "commitment",
        "annual" if pledge.basis == "annual" else "once",
    )


class CountedPledge(Candidate, gc=False):
    """A pledge with an amount, its rows, and the rate of its conversion."""

    deal: DealRow
    pledge: PledgeRow
    rate: Rate | None

    @property
    def unrelated_rule(self) -> Rule:
        """The rule of a pledge that counts in both bounds."""
        return Rule.ADDITIONAL if self.pledge.basis == "additional" else Rule.COUNTED


class ColumnSum:
    """The running sum of one column."""

    __slots__ = ("certain", "high", "high_open", "low", "low_open", "pledges", "qualifiers")

    def __init__(self) -> None:
        self.low = self.high = Decimal(0)
        self.low_open = self.high_open = False
        self.qualifiers: set[Qualifier] = set()
        self.certain = self.pledges = 0

    def add(self, item: CountedPledge, in_low: bool, in_high: bool, count: int) -> None:
        """Add the amount of one pledge, or of `count` pledges with the same currency, nature, basis and qualifier."""
        if in_low:
            self.low += item.low
            self.certain += count
        if in_high:
            self.high += item.high
            self.pledges += count
        pledge = item.pledge
        if pledge.qualifier is not None and pledge.qualifier != "exact":
            self.qualifiers.add(pledge.qualifier)
            self.low_open |= pledge.qualifier == "up_to"
            self.high_open |= pledge.qualifier in ("at_least", "more_than")
        if pledge.value is None:
            self.low_open |= pledge.low is None
            self.high_open |= pledge.high is None

    def result(self, key: ColumnKey) -> TotalsColumn:
        """The sum as the API returns it."""
        currency, nature, basis = key
        return TotalsColumn(
            currency=currency,
            nature=nature,
            basis=basis,
            low=format_decimal(self.low),
            high=format_decimal(self.high),
            low_open=self.low_open,
            high_open=self.high_open,
            qualifiers=tuple(sorted(self.qualifiers)),
            certain=self.certain,
            pledges=self.pledges,
        )
