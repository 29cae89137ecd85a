"""Sums of pledges without relations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

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


NO_COLUMN = ("", "", "")
"""Of pledges that are in no column."""

_NOTHING = (Decimal(0), Decimal(0), 0)


class RunningSums:
    """The sums of pledges by column, rule and qualifier: pledges are added to them and taken away again."""

    __slots__ = ("_sums",)

    def __init__(self, sums: Iterable[AmountSum] = ()) -> None:
        self._sums: dict[tuple[Any, ...], tuple[Decimal, Decimal, int]] = {}
        for one in sums:
            self.add(one)

    def __iter__(self) -> Iterator[AmountSum]:
        for (column, rule, qualifier, low_open, high_open), (low, high, pledges) in self._sums.items():
            yield AmountSum(column, rule, qualifier, low, high, low_open, high_open, pledges)

    def add(self, one: AmountSum, times: int = 1) -> None:
        """Add pledges (1), or take them away (-1)."""
        key = (one.column, one.rule, one.qualifier, one.low_open, one.high_open)
        low, high, pledges = self._sums.get(key, _NOTHING)
        added = (low + times * one.low, high + times * one.high, pledges + times * one.pledges)
        if any(added):
            self._sums[key] = added
        else:
            self._sums.pop(key, None)


class PledgeSum(Struct, frozen=True, gc=False):
    """What a pledge without relations adds.

    Attributes:
        groups: The groups that it is in.
        overall: What it adds to the sums of all pledges.
        in_groups: What it adds to each of its groups.
        rate: The currency and the day of its conversion.
    """

    groups: tuple[GroupKey, ...]
    overall: AmountSum
    in_groups: AmountSum
    rate: tuple[str, date] | None


class Sums(Struct, frozen=True):
    """The sums of all pledges and of some groups, and the first pledges in them: those that do not count first."""

    overall: Sequence[AmountSum]
    groups: Mapping[GroupKey, Sequence[AmountSum]]
    overall_lines: Sequence[tuple[DealRow, PledgeRow]]
    group_lines: Mapping[GroupKey, Sequence[tuple[DealRow, PledgeRow]]]
