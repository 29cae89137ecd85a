"""The columns of a total: which pledges are added together, and the running sum of one column."""

from __future__ import annotations

from decimal import Decimal

from registry.domain.money import format_decimal
from registry.domain.money.rates import Rate
from registry.domain.totals.overlap import Column as ColumnKey
from registry.domain.totals.overlap import OverlapCandidate
from registry.domain.totals.results import TotalsColumn
from registry.domain.totals.rows import DealRow, PledgeRow
from registry.domain.totals.rules import Rule
from registry.domain.totals.sums import AmountSum
from registry.events.values import Qualifier


def nature_and_basis(pledge: PledgeRow) -> tuple[str, str]:
    """The part of the column key besides the currency.

    Intentions are never added to commitments, and an amount per year is never added to one without a period. Planned,
    actual and target figures are never added to each other; they have no basis.
    """
    if pledge.nature is not None:
        return pledge.nature, ""
    return (
        "intention" if pledge.commitment == "intention" else "commitment",
        "annual" if pledge.basis == "annual" else "once",
    )


class CountedPledge(OverlapCandidate, gc=False):
    """A pledge with an amount, its rows, the rate of its conversion, and the flags on its amount."""

    deal: DealRow
    pledge: PledgeRow
    rate: Rate | None
    flags: tuple[str, ...]

    @property
    def unrelated_rule(self) -> Rule:
        """The rule of a pledge that no other one excludes."""
        if self.flagged:
            return Rule.FLAGGED
        if not self.certain:
            return Rule.SHARED
        return Rule.ADDITIONAL if self.pledge.basis == "additional" else Rule.COUNTED


class ColumnSum:
    """The running sum of one column."""

    __slots__ = ("certain", "high", "high_open", "low", "low_open", "pledges", "qualifiers")

    def __init__(self) -> None:
        self.low = self.high = Decimal(0)
        self.low_open = self.high_open = False
        self.qualifiers: set[Qualifier] = set()
        self.certain = self.pledges = 0

    def copy(self) -> ColumnSum:
        """A sum that can be added to by itself."""
        made = ColumnSum()
        made.low, made.high, made.low_open, made.high_open = self.low, self.high, self.low_open, self.high_open
        made.qualifiers, made.certain, made.pledges = set(self.qualifiers), self.certain, self.pledges
        return made

    def add(self, item: CountedPledge, in_low: bool, in_high: bool) -> None:
        """Add the amount of one pledge."""
        if in_low:
            self.low += item.low
            self.certain += 1
        if in_high:
            self.high += item.high
            self.pledges += 1
        pledge = item.pledge
        self._qualify(pledge.qualifier)
        if pledge.value is None:
            self.low_open |= pledge.low is None
            self.high_open |= pledge.high is None

    def add_sum(self, one: AmountSum) -> None:
        """Add pledges that were added up elsewhere."""
        if one.rule.counts_low:
            self.low += one.low
            self.certain += one.pledges
        if one.rule.counts_high:
            self.high += one.high
            self.pledges += one.pledges
        self._qualify(one.qualifier)
        self.low_open |= one.low_open
        self.high_open |= one.high_open

    def _qualify(self, qualifier: Qualifier | None) -> None:
        if qualifier is not None and qualifier != "exact":
            self.qualifiers.add(qualifier)
            self.low_open |= qualifier == "up_to"
            self.high_open |= qualifier in ("at_least", "more_than")

    def result(self, key: ColumnKey, *, is_money: bool) -> TotalsColumn:
        """The sum as the API returns it."""
        unit, nature, basis = key
        return TotalsColumn(
            currency=unit if is_money else None,
            unit=None if is_money else unit or None,
            nature=nature,
            basis=basis or None,
            low=format_decimal(self.low),
            high=format_decimal(self.high),
            low_open=self.low_open,
            high_open=self.high_open,
            qualifiers=tuple(sorted(self.qualifiers)),
            certain=self.certain,
            pledges=self.pledges,
        )
