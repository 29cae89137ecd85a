"""Computes totals: assigns each pledge to its groups and columns, converts it, and adds it up.

The steps of a pledge stand here in their order, for whole totals and for the sums of one deal; hence the length of this
file.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal, localcontext
from itertools import product
from typing import Any

from msgspec.structs import replace

from registry.domain.checks.amount_checks import figure
from registry.domain.merges import redirected
from registry.domain.money.rates import Rate, Rates, RateUnavailable, convert
from registry.domain.stages import ENDED_STAGES
from registry.domain.totals.columns import CountedPledge, nature_and_basis
from registry.domain.totals.derivation import derive
from registry.domain.totals.doubts import DOUBTING_FLAGS, CheckedFigure, members_not_below_aggregates
from registry.domain.totals.groups import GroupBuilder
from registry.domain.totals.lines import counted_line, excluded_line
from registry.domain.totals.overlap import Key, Relations
from registry.domain.totals.results import Group, Totals, TotalsLine, TotalsQuery
from registry.domain.totals.rows import EXACT, DealRow, PledgeRow
from registry.domain.totals.rules import Rule
from registry.domain.totals.sums import NO_COLUMN, AmountSum, GroupKey, PledgeSum, Sums
from registry.events.currencies import Currency
from registry.events.values import Relation

_ZERO = Decimal(0)

SINGLE_VALUED = frozenset({"stage", "commitment", "year"})
"""The dimensions of which each pledge has one value: its groups divide the total."""

MAX_RATES = 1000
"""The most exchange rates that a result lists."""


def compute_totals(
    rows: Iterable[DealRow], query: TotalsQuery, rates: Rates | None = None, others: Iterable[DealRow] = ()
) -> Totals:
    """The totals of some deals.

    Args:
        rows: The deals to add up, in the order of their slugs.
        query: What to compute.
        rates: The exchange rates; required if the query names a currency. Amounts of two currencies are compared with
            them, too.
        others: Deals that are not added, but whose relations decide what is part of what.

    Raises:
        ValueError: The query names a currency and `rates` is missing.
    """
    rows, others = list(rows), list(others)
    builder = TotalsBuilder(query, rates)
    builder.add(rows, others)
    totals = builder.result(builder.page_of_groups(), len(builder.groups))
    if query.estimates != "both":
        return totals
    return with_both_sums(totals, compute_totals(rows, without_estimates(query, totals), rates, others))


def without_estimates(query: TotalsQuery, totals: Totals) -> TotalsQuery:
    """The query for the sums without estimates, in the same groups."""
    keys = tuple(group.keys for group in totals.groups)
    return replace(query, estimates="exclude", keys=keys, lines=0, explain=False)


def with_both_sums(totals: Totals, without: Totals) -> Totals:
    """The totals, with the sums without estimates in the same groups."""
    groups = [
        replace(group, without_estimates=other.columns)
        for group, other in zip((totals.overall, *totals.groups), (without.overall, *without.groups), strict=True)
    ]
    return replace(totals, overall=groups[0], groups=tuple(groups[1:]))


class TotalsBuilder:
    """Totals under construction.

    `add` takes deals one by one; `add_sums` takes what a database has added up of deals without relations. Between the
    two, `sizes` says how large the groups of the deals are, so that the database can choose a page of all groups.
    """

    def __init__(self, query: TotalsQuery, rates: Rates | None) -> None:
        self.query = query
        self.rates = rates
        self.is_money = query.measure == "amount"
        self.relations = Relations()
        self.overall = GroupBuilder((), query.lines, has_share=False)
        self.groups: dict[GroupKey, GroupBuilder] = {}
        # How many pledges all groups together can still list.
        self.unlisted = query.lines
        self.used_rates: dict[tuple[str, date], Rate | RateUnavailable] = {}
        # The pledges that are not below an aggregate that they are part of.
        self.not_below: set[Key] = set()

    def add(self, rows: Iterable[DealRow], others: Iterable[DealRow] = ()) -> None:
        """Add deals; see `compute_totals`. All deals with relations are added at once."""
        rows = list(rows)
        with localcontext(EXACT):
            self._declare_relations({row.deal: row for row in (*others, *rows)})
            for row in rows:
                self._add_deal(row)
            for group in (self.overall, *self.groups.values()):
                if group.related:
                    group.resolve_overlaps(
                        self.relations, is_money=self.is_money, comparable=self.query.currency is not None
                    )
            for key, (in_low, in_high) in self.overall.counted.items():
                item = self.overall.related[key]
                for group_key in self._group_keys(item.deal, item.pledge) if self.query.group_by else ():
                    self._group(group_key).add_share(item, in_low, in_high)

    def copy(self, query: TotalsQuery) -> TotalsBuilder:
        """Totals of the same deals, to which sums can be added by themselves.

        Args:
            query: The query; it may ask for another page of groups.
        """
        made = copy.copy(self)
        made.query, made.unlisted = query, query.lines
        made.used_rates = dict(self.used_rates)
        made.overall = self.overall.copy()
        made.groups = dict(self.groups)
        return made

    def sums_of(self, row: DealRow) -> Iterator[PledgeSum]:
        """What each pledge of a deal without relations adds; nothing is added here."""
        for pledge in row.pledges:
            keys = self._group_keys(row, pledge) if self.query.group_by else ()
            item = self._amount_or_exclusion(row, pledge, related=False)
            if isinstance(item, TotalsLine):
                has_column = item.rule is Rule.NO_RATE and self.query.currency is not None
                column = (self.query.currency or "", *nature_and_basis(pledge)) if has_column else NO_COLUMN
                one = AmountSum(column, item.rule, None, _ZERO, _ZERO, False, False, 1)
                yield PledgeSum(keys, one, one, None)
                continue
            is_open = pledge.value is None
            low_open, high_open = is_open and pledge.low is None, is_open and pledge.high is None
            rule = item.unrelated_rule
            one = AmountSum(item.column, rule, pledge.qualifier, item.low, item.high, low_open, high_open, 1)
            shared = replace(one, rule=_uncertain(item).unrelated_rule) if len(keys) > 1 else one
            yield PledgeSum(keys, one, shared, (item.rate.from_, item.rate.asked) if item.rate is not None else None)

    def sizes(self) -> dict[GroupKey, int]:
        """The size of each group, by which groups are ordered."""
        return {key: group.size(self.query.weights) for key, group in self.groups.items()}

    def page_of_groups(self) -> list[GroupKey]:
        """The groups of the query's page, the largest first."""
        if self.query.keys is not None:
            return list(self.query.keys)
        sizes = self.sizes()
        ordered = sorted(sizes, key=lambda key: (-sizes[key], [(part is None, part or "") for part in key]))
        return ordered[self.query.skip : self.query.skip + self.query.groups]

    def add_sums(self, sums: Sums, groups: Sequence[GroupKey]) -> None:
        """Add what was added up of all other deals: for the overall sums, and for some groups."""
        with localcontext(EXACT):
            for one in sums.overall:
                self.overall.add_sum(one)
            for key in groups:
                # The copied totals have the same groups.
                group = self.groups[key] = self._group(key).copy()
                for one in sums.groups.get(key, ()):
                    group.add_sum(one)
        self._list(self.overall, sums.overall_lines)
        for key in groups:
            self._list(self._group(key), sums.group_lines.get(key, ()))

    def _list(self, group: GroupBuilder, pledges: Sequence[tuple[DealRow, PledgeRow]]) -> None:
        """List pledges whose amounts are in sums that were added."""
        for row, pledge in pledges:
            item = self._amount_or_exclusion(row, pledge, related=False)
            if isinstance(item, TotalsLine):
                group.excluded.append(item)
                continue
            shared = group is not self.overall and len(self._group_keys(row, pledge)) > 1
            self._list_one(group, _uncertain(item) if shared else item)

    @staticmethod
    def _list_one(group: GroupBuilder, item: CountedPledge) -> None:
        """List a pledge without relations."""
        if item.flagged:
            group.list_first(counted_line(item, item.unrelated_rule, in_low=False, in_high=True))
        elif len(group.listed) < group.limit:
            group.listed.append((item.unrelated_rule, item))

    def result(
        self, groups: Sequence[GroupKey], number_of_groups: int, more_rates: Iterable[tuple[str, date]] = ()
    ) -> Totals:
        """The totals.

        Args:
            groups: The groups of the page, in their order.
            number_of_groups: How many groups there are.
            more_rates: Currencies and days of conversions in the sums that were added.
        """
        rates = [rate for rate in self.used_rates.values() if isinstance(rate, Rate)] if self.query.with_rates else []
        if more_rates and self.query.currency is not None and self.rates is not None:
            used = sorted({(rate.from_, rate.asked) for rate in rates} | set(more_rates))
            asked = ((one, day, self.rates.rate(one, self.query.currency, day)) for one, day in used[:MAX_RATES])  # type: ignore[arg-type]
            rates = [rate for _, _, rate in asked if isinstance(rate, Rate)]
            rates_left = max(0, len(used) - MAX_RATES)
        else:
            rates = sorted(rates, key=lambda rate: (rate.from_, rate.asked))
            rates, rates_left = rates[:MAX_RATES], max(0, len(rates) - MAX_RATES)
        shown = [self._group(key) for key in groups]
        last = self.query.skip + len(shown)
        return Totals(
            measure=self.query.measure,
            currency=self.query.currency,
            group_by=",".join(self.query.group_by) or None,
            overall=self._result(self.overall),
            groups=tuple(map(self._result, shown)),
            number_of_groups=number_of_groups,
            next_group=last if last < number_of_groups else None,
            rates=tuple(rates),
            more_rates=rates_left,
        )

    def _declare_relations(self, deals: dict[str, DealRow]) -> None:
        for row in deals.values():
            for r in row.relations:
                one, other = (row.deal, r.pledge), self._redirect(deals, r.relation, (r.deal, r.other_pledge))
                if other is not None and one != other:
                    self.relations.declare(r.relation, one, other, r.source)
        for deal in self.relations.deals & deals.keys():
            self.relations.add_pledges(deal, (p.pledge for p in deals[deal].pledges))
            for pledge in deals[deal].pledges:
                if pledge.additional_to:
                    base, _, part = pledge.additional_to.partition("/")
                    other = self._redirect(deals, None, (base, part or None))
                    if other is not None:
                        self.relations.declare_separate((deal, pledge.pledge), other)
        compared: dict[Key, CheckedFigure] = {
            (deal, pledge.pledge): CheckedFigure(found, pledge.announced_on or pledge.stated_on)
            for deal in self.relations.deals & deals.keys()
            for pledge in deals[deal].pledges
            if pledge.status != "withdrawn"
            and (found := figure(pledge.currency, pledge.value, pledge.low, pledge.high)) is not None
        }
        self.not_below |= {member for member, _ in members_not_below_aggregates(compared, self.relations, self.rates)}

    def _redirect(self, deals: dict[str, DealRow], relation: Relation | None, key: Key) -> Key | None:
        """The pledge or deal that a relation to `key` counts for."""
        return redirected(
            relation,
            key,
            self.query.merged,
            lambda into: [p.pledge for p in deals[into].pledges] if into in deals else (),
        )

    # --- adding pledges -----------------------------------------------------------------------------------------------

    def _add_deal(self, row: DealRow) -> None:
        related = row.deal in self.relations.deals
        for pledge in row.pledges:
            keys = self._group_keys(row, pledge) if self.query.group_by else ()
            item = self._amount_or_exclusion(row, pledge, related)
            groups = [self._group(key) for key in keys]
            if isinstance(item, TotalsLine):
                for group in (self.overall, *groups):
                    group.exclude(item)
                    if item.rule is Rule.NO_RATE and self.query.currency is not None:
                        group.open_high((self.query.currency, *nature_and_basis(pledge)))
                continue
            self._add(self.overall, item, related)
            if len(groups) > 1:
                # The split between the groups is unknown: none of them certainly has it, each of them possibly.
                item = _uncertain(item)
            for group in groups:
                self._add(group, item, related)

    def _add(self, group: GroupBuilder, item: CountedPledge, related: bool) -> None:
        if related:
            group.related[item.key] = item
            return
        rule = item.unrelated_rule
        group.include(item, rule, rule.counts_low, rule.counts_high)
        group.add_share(item, rule.counts_low, rule.counts_high)
        self._list_one(group, item)

    def _amount_or_exclusion(self, row: DealRow, pledge: PledgeRow, related: bool) -> CountedPledge | TotalsLine:
        """The pledge with its bounds, or the line that says why it is in no total."""
        key: Key = (row.deal, pledge.pledge)
        currency = pledge.currency
        low = pledge.low if pledge.low is not None else pledge.value
        high = pledge.high if pledge.high is not None else pledge.value
        flags = (*pledge.flags, *(("member-not-below-aggregate",) if key in self.not_below else ()))
        part_of = self.relations.direct_containers(key) if related else ()

        def excluded(rule: Rule, **reason: Any) -> TotalsLine:
            return excluded_line(row, pledge, rule, part_of=part_of, flags=flags, **reason)

        if pledge.excluded is not None:
            return excluded(pledge.excluded, because=pledge.because)
        if pledge.status == "withdrawn":
            return excluded(Rule.WITHDRAWN)
        if row.stage in ENDED_STAGES:
            return excluded(Rule.CANCELLED)
        if related and (newer := self.relations.superseded_by(key)):
            return excluded(Rule.SUPERSEDED, because=newer, events=self.relations.events(key, newer))
        if (currency is None and self.is_money) or (low is None and high is None):
            return excluded(Rule.NOT_STATED)
        if pledge.is_estimate and self.query.estimates == "exclude":
            return excluded(Rule.ESTIMATE)
        # One end of a range: "at least 3" adds 3 to both bounds, "at most 5" adds 5 to the upper bound only.
        low = _ZERO if low is None else low
        high = low if high is None else high
        rate: Rate | None = None
        target = self.query.currency
        # Not compared in the condition: mypy would narrow both to every pair of currencies, a third of its time.
        is_other = currency != target
        if target is not None and currency is not None and is_other:
            available = self._rate(currency, target, pledge.stated_on)
            if isinstance(available, RateUnavailable):
                return excluded(Rule.NO_RATE, reason=available.reason)
            rate, currency = available, target
            exact = low == high
            low = convert(low, rate)
            high = low if exact else convert(high, rate)
        column = (currency or pledge.unit or "", *nature_and_basis(pledge))
        flagged = not DOUBTING_FLAGS.isdisjoint(flags)
        return CountedPledge(key, column, low, high, pledge.stated_on, True, flagged, row, pledge, rate, flags)

    def _rate(self, currency: Currency, target: Currency, stated_on: date) -> Rate | RateUnavailable:
        """The rate of the query's day, or of the amount's; never of a day after the query's effective date."""
        day = self.query.rates_of or stated_on
        if self.query.effective_on is not None and day > self.query.effective_on:
            day = self.query.effective_on
        rate = self.used_rates.get((currency, day))
        if rate is None:
            if self.rates is None:
                raise ValueError("a query that names a currency needs rates")
            rate = self.used_rates[currency, day] = self.rates.rate(currency, target, day)
        return rate

    # --- groups -------------------------------------------------------------------------------------------------------

    def _group(self, key: GroupKey) -> GroupBuilder:
        group = self.groups.get(key)
        if group is None:
            has_share = SINGLE_VALUED.issuperset(self.query.group_by)
            group = self.groups[key] = GroupBuilder(key, self.query.lines, has_share=has_share)
        return group

    def _group_keys(self, row: DealRow, pledge: PledgeRow) -> tuple[GroupKey, ...]:
        """The groups of a pledge: one for each combination of its values of the dimensions."""
        return tuple(product(*(self._values(name, row, pledge) for name in self.query.group_by)))

    def _values(self, dimension: str, row: DealRow, pledge: PledgeRow) -> tuple[str | None, ...]:
        """The values that a pledge has of a dimension; None where it is unknown."""
        match dimension:
            case "country":
                return tuple(dict.fromkeys(place[:2] for place in _places(row, pledge))) or (None,)
            case "region":
                return _places(row, pledge) or (None,)
            case "sector":
                return tuple(dict.fromkeys(row.sectors)) or (None,)
            case "stage":
                return (row.stage,)
            case "organization":
                # A pledge that names no party belongs to the deal's investors.
                roll_up = self.query.roll_up
                return tuple(dict.fromkeys(roll_up.get(o, o) for o in pledge.by or row.investors)) or (None,)
            case "commitment":
                return (pledge.commitment,)
            case "year":
                return (str(pledge.stated_on.year),)
            case _:
                axis = dimension.removeprefix("classification:") + ":"
                codes = (c.removeprefix(axis) for c in row.classifications if c.startswith(axis))
                return tuple(dict.fromkeys(codes)) or (None,)

    # --- the result ---------------------------------------------------------------------------------------------------

    def _result(self, group: GroupBuilder) -> Group:
        group.excluded.sort(key=lambda line: line.deal)
        group.listed.sort(key=lambda listed: listed[1].deal.deal)
        unrelated = (counted_line(item, rule, rule.counts_low, rule.counts_high) for rule, item in group.listed)
        lines = (*group.resolved, *group.excluded, *unrelated)
        lines = lines[: group.limit if group is self.overall else max(0, self.unlisted)]
        self.unlisted -= 0 if group is self.overall else len(lines)
        columns = tuple(total.result(key, is_money=self.is_money) for key, total in sorted(group.sums.items()))
        of_total = (
            tuple(total.result(key, is_money=self.is_money) for key, total in sorted(group.share.items()))
            if group.has_share
            else None
        )
        more = sum(group.rules.values()) - len(lines)
        key = group.key[0] if group.key else None
        derivation = derive(key, columns, lines, group.included_in, more) if self.query.explain else None
        return Group(
            key=key,
            keys=group.key,
            columns=columns,
            of_total=of_total,
            # In an order of their own: that in which the pledges were read is not the same in every copy.
            rules=dict(sorted(group.rules.items(), key=lambda one: (-one[1], one[0]))),
            lines=lines,
            more=more,
            explain=derivation,
        )


def _places(row: DealRow, pledge: PledgeRow) -> tuple[str, ...]:
    """The places of a figure of a site, or of the deal."""
    return row.places if pledge.places is None else pledge.places


def _uncertain(item: CountedPledge) -> CountedPledge:
    return replace(item, certain=False)
