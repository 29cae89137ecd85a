"""Sums of pledges without relations, as a database adds them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from registry.domain.totals.overlap import Column
from registry.domain.totals.rows import DealRow, PledgeRow
from registry.domain.totals.rules import Rule
from registry.events.values import Qualifier

GroupKey = tuple[str | None, ...]
"""The value of each dimension of a group; None where it is unknown."""


class AmountSum(Struct, frozen=True, gc=False):
    """Pledges of one column, rule and qualifier.

    Attributes:
        column: The column; of pledges without an exchange rate, the one that they would be in.
        rule: The rule by which all of them count.
        qualifier: Their qualifier.
        low: The sum of their lower bounds.
        high: The sum of their upper bounds.
        low_open: Whether their lower bounds may be lower still: only an upper end was stated.
        high_open: Whether their upper bounds have no limit: only a lower end was stated, or there is no rate.
        pledges: How many there are.
    """

    column: Column
    rule: Rule
    qualifier: Qualifier | None
    low: Decimal
    high: Decimal
    low_open: bool
    high_open: bool
    pledges: int


class Sums(Struct, frozen=True):
    """The sums of all pledges and of some groups, and the first pledges in them: those that do not count first."""

    overall: Sequence[AmountSum]
    groups: Mapping[GroupKey, Sequence[AmountSum]]
    overall_lines: Sequence[tuple[DealRow, PledgeRow]]
    group_lines: Mapping[GroupKey, Sequence[tuple[DealRow, PledgeRow]]]
