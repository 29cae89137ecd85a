"""The sums of one group while they are computed, and the rule that each related pledge gets."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from registry.domain.totals.columns import ColumnSum, CountedPledge
from registry.domain.totals.lines import counted_line
from registry.domain.totals.overlap import Column as ColumnKey
from registry.domain.totals.overlap import Key, OverlapResult, Relations, name_of, resolve_overlaps
from registry.domain.totals.results import TotalsLine
from registry.domain.totals.rules import Rule
from registry.domain.totals.sums import AmountSum, GroupKey

MILLION = 10**6
"""Amounts have at most six decimals."""


class GroupBuilder:
    """A group under construction.

    Pledges without relations are added at once. Those with relations wait in `related` until all of them are known;
    `resolve_overlaps` then adds them.

    Args:
        key: The values of the dimensions.
        limit: How many pledges it lists at most.
        has_share: Whether it has a share in the sums of all deals.
    """

    def __init__(self, key: GroupKey, limit: int, *, has_share: bool) -> None:
        self.key = key
        self.limit = limit
        self.has_share = has_share
        self.sums: dict[ColumnKey, ColumnSum] = {}
        self.rules: dict[Rule, int] = {}
        self.listed: list[tuple[Rule, CountedPledge]] = []
        # The lines of pledges that do not count in both bounds.
        self.excluded: list[TotalsLine] = []
        self.related: dict[Key, CountedPledge] = {}
        self.resolved: list[TotalsLine] = []
        self.included_in: dict[str, str] = {}
        # Whether each related pledge counts in the lower and in the upper bound.
        self.counted: dict[Key, tuple[bool, bool]] = {}
        # What the group's pledges add to the sums of all deals.
        self.share: dict[ColumnKey, ColumnSum] = {}

    def copy(self) -> GroupBuilder:
        """A group that sums can be added to by itself. What it knows of related pledges is complete, and shared."""
        made = copy.copy(self)
        made.sums = {key: total.copy() for key, total in self.sums.items()}
        made.share = {key: total.copy() for key, total in self.share.items()}
        made.rules, made.listed, made.excluded = dict(self.rules), list(self.listed), list(self.excluded)
        return made

    def include(self, item: CountedPledge, rule: Rule, in_low: bool, in_high: bool) -> None:
        """Add one pledge."""
        if in_low or in_high:
            self._sum(item.column).add(item, in_low, in_high)
        self.rules[rule] = self.rules.get(rule, 0) + 1

    def add_sum(self, one: AmountSum) -> None:
        """Add pledges that were added up elsewhere."""
        if one.rule.counts:
            self._sum(one.column).add_sum(one)
            if self.has_share:
                self.share.setdefault(one.column, ColumnSum()).add_sum(one)
        elif one.rule is Rule.NO_RATE:
            self.open_high(one.column)
        self.rules[one.rule] = self.rules.get(one.rule, 0) + one.pledges

    def size(self, weights: Mapping[str, int]) -> int:
        """The upper bounds of all columns, each by the weight of its currency: an integer, so that it is exact."""
        return sum(
            int(total.high * MILLION) * weights.get(currency, 0) for (currency, _, _), total in self.sums.items()
        )

    def exclude(self, line: TotalsLine) -> None:
        """Count a pledge that is in neither bound, and list it while there is room."""
        self.rules[line.rule] = self.rules.get(line.rule, 0) + 1
        self.list_first(line)

    def list_first(self, line: TotalsLine) -> None:
        """List a pledge before those that count in both bounds, while there is room."""
        if len(self.excluded) < self.limit:
            self.excluded.append(line)

    def open_high(self, column: ColumnKey) -> None:
        """Note that a column lacks an amount that cannot be converted: its upper bound has no limit."""
        self._sum(column).high_open = True
        if self.has_share:
            self.share.setdefault(column, ColumnSum()).high_open = True

    def add_share(self, item: CountedPledge, in_low: bool, in_high: bool) -> None:
        """Add what a pledge adds to the sums of all deals."""
        if self.has_share and (in_low or in_high):
            self.share.setdefault(item.column, ColumnSum()).add(item, in_low, in_high)

    def _sum(self, column: ColumnKey) -> ColumnSum:
        total = self.sums.get(column)
        if total is None:
            total = self.sums[column] = ColumnSum()
        return total

    def resolve_overlaps(self, relations: Relations, *, is_money: bool, comparable: bool) -> None:
        """Add the pledges that have relations, each by its rule.

        An amount of money excludes its parts in other columns, too; a planned figure excludes no actual one.
        """
        if is_money:
            self._resolve(self.related, relations, comparable)
            return
        for column in dict.fromkeys(item.column for item in self.related.values()):
            same = {key: item for key, item in self.related.items() if item.column == column}
            self._resolve(same, relations, comparable=True)

    def _resolve(self, related: Mapping[Key, CountedPledge], relations: Relations, comparable: bool) -> None:
        result = resolve_overlaps(related, relations, comparable)
        members: dict[Key, list[Key]] = {}
        for key, wholes in result.inside_high.items():
            if key in result.high:
                for whole in wholes:
                    members.setdefault(whole, []).append(key)
        for key, item in related.items():
            rule, because = _rule_and_cause(key, item, result, members)
            in_low, in_high = key in result.low, key in result.high
            self.include(item, rule, in_low, in_high)
            self.counted[key] = in_low, in_high
            if because and rule in _PART_RULES:
                self.included_in[name_of(key)] = name_of(because[0])
            events, part_of = relations.events(key, because), relations.direct_containers(key)
            self.resolved.append(counted_line(item, rule, in_low, in_high, because, events, part_of))


_PART_RULES = frozenset({Rule.PART_OF, Rule.PART_OF_EACH_OTHER, Rule.MEMBERS, Rule.CONTAINED})


def _rule_and_cause(
    key: Key, item: CountedPledge, result: OverlapResult, members: Mapping[Key, list[Key]]
) -> tuple[Rule, tuple[Key, ...]]:
    """The rule of a pledge that has relations, and the pledges that decide it."""
    in_low, in_high = key in result.low, key in result.high
    if in_low and in_high:
        return item.unrelated_rule, ()
    if in_high and item.flagged:
        return Rule.FLAGGED, result.inside_high.get(key, ())
    wholes = result.inside_low.get(key) or result.inside_high.get(key) or ()
    if in_low:
        return (Rule.CONTAINED, wholes) if wholes else (Rule.AGGREGATE, tuple(sorted(members[key], key=name_of)))
    overlapping = result.overlapping.get(key, ())
    if in_high:
        if overlapping:
            return Rule.OVERLAPS, overlapping
        return (Rule.MEMBERS, wholes) if wholes else (Rule.SHARED, ())
    if wholes:
        return (Rule.PART_OF_EACH_OTHER if key in result.equals else Rule.PART_OF), wholes
    # The overlapping pledges exclude it from the lower bound, its members from the upper bound.
    return Rule.OUTWEIGHED, tuple(sorted({*overlapping, *members.get(key, ())}, key=name_of))
