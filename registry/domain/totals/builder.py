"""Computes totals: assigns each pledge to its groups and columns, converts it, and adds it up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal, localcontext

from registry.domain.merges import redirected_pledge, survivor
from registry.domain.rates import Rate, Rates, RateUnavailable, convert
from registry.domain.totals.columns import CountedPledge, nature_and_basis
from registry.domain.totals.derivation import derive
from registry.domain.totals.groups import GroupBuilder
from registry.domain.totals.lines import counted_line, excluded_line
from registry.domain.totals.overlap import Key, Relations
from registry.domain.totals.results import Group, Totals, TotalsLine, TotalsQuery
from registry.domain.totals.rows import EXACT, DealRow, PledgeRow, SimpleSum
from registry.domain.totals.rules import Rule
from registry.events.currencies import Currency
from registry.events.values import AmountBasis, Qualifier, Relation

_ZERO = Decimal(0)

_AmountKind = tuple[tuple[str | None, ...], str, bool, AmountBasis | None, Qualifier | None]
"""What unlisted pledges must have in common to be added at once: groups, currency, nature, basis and qualifier."""


def compute_totals(
    rows: Iterable[DealRow],
    query: TotalsQuery,
    rates: Rates | None = None,
    others: Iterable[DealRow] = (),
    simple_sums: Iterable[SimpleSum] = (),
) -> Totals:
    """The totals of some deals.

    Args:
        rows: The deals to add up.
        rates: The exchange rates; required if the query names a currency.
        others: Deals that are not added, but whose relations decide what is part of what.
        simple_sums: Sums of further deals without relations. They are added, not listed; see `can_use_sums`.

    Raises:
        ValueError: The query names a currency and `rates` is missing.
    """
    with localcontext(EXACT):
        return _TotalsBuilder(query, rates).build(list(rows), others, simple_sums)


def can_use_sums(query: TotalsQuery) -> bool:
    """Whether `SimpleSum`s can answer the query: a conversion needs each amount's day, a group each deal's fields."""
    return query.currency is None and query.group_by is None


class _TotalsBuilder:
    def __init__(self, query: TotalsQuery, rates: Rates | None) -> None:
        self.query = query
        self.rates = rates
        self.relations = Relations()
        self.overall = GroupBuilder(None, query.lines)
        self.groups: dict[str | None, GroupBuilder] = {}
        # How many pledges all groups together can still collect, and can still list.
        self.room = self.unlisted = query.lines
        self.used_rates: dict[tuple[str, date], Rate | RateUnavailable] = {}
        self.unlisted_amounts: dict[_AmountKind, tuple[CountedPledge, list[Decimal]]] = {}

    def build(self, rows: list[DealRow], others: Iterable[DealRow], simple_sums: Iterable[SimpleSum]) -> Totals:
        self._declare_relations({row.deal: row for row in (*others, *rows)})
        for row in rows:
            self._add_deal(row)
        self._add_unlisted()
        for simple in simple_sums:
            self._add_simple_sum(simple)
        groups = sorted(self.groups.values(), key=lambda g: (g.key is None, g.key or ""))
        for group in (self.overall, *groups):
            if group.related:
                group.resolve_overlaps(self.relations, comparable=self.query.currency is not None)
        rates = [r for r in self.used_rates.values() if isinstance(r, Rate)]
        return Totals(
            currency=self.query.currency,
            group_by=self.query.group_by,
            overall=self._result(self.overall),
            groups=tuple(map(self._result, groups)),
            rates=tuple(sorted(rates, key=lambda r: (r.from_, r.asked))),
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

    def _redirect(self, deals: dict[str, DealRow], relation: Relation | None, key: Key) -> Key | None:
        """What a relation to `key` counts for: the same, or what stands for it if its deal was merged."""
        deal, pledge = key
        into = survivor(deal, self.query.merged)
        if into == deal:
            return key
        pledge, has_effect = redirected_pledge(
            relation, pledge, [p.pledge for p in deals[into].pledges] if into in deals else ()
        )
        return (into, pledge) if has_effect else None

    # --- adding pledges -----------------------------------------------------------------------------------------------

    def _add_deal(self, row: DealRow) -> None:
        related = row.deal in self.relations.deals
        grouped = self.query.group_by is not None
        deal_keys = self._group_keys_of_deal(row) if grouped else ()
        lists_full = not related and len(self.overall.listed) >= self.query.lines and (not grouped or self.room <= 0)
        for pledge in row.pledges:
            keys = deal_keys if deal_keys is not None else self._group_keys_of_pledge(row, pledge)
            if lists_full and self._group_simple(row, pledge, keys):
                continue
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
                item = CountedPledge(
                    item.key, item.column, item.low, item.high, item.stated_on, False, row, pledge, item.rate
                )
            for group in groups:
                self._add(group, item, related)

    def _add(self, group: GroupBuilder, item: CountedPledge, related: bool) -> None:
        if related:
            group.related[item.key] = item
            return
        rule = item.unrelated_rule if item.certain else Rule.SHARED
        group.include(item, rule, item.certain, True)
        if len(group.listed) < group.limit and (group is self.overall or self.room > 0):
            group.listed.append((rule, item))
            self.room -= group is not self.overall

    def _group_simple(self, row: DealRow, pledge: PledgeRow, keys: tuple[str | None, ...]) -> bool:
        """Collect a pledge that no list has room for with those of its kind; False if it must be looked at alone.

        Most pledges of a large portfolio are such pledges, and adding them at once is faster.
        """
        value, currency = pledge.value, pledge.currency
        if value is None or currency is None or pledge.low is not None or pledge.high is not None:
            return False
        if pledge.status == "withdrawn" or row.stage in ("cancelled", "withdrawn"):
            return False
        target = self.query.currency
        if target is not None and target != currency:
            rate = self._rate(currency, target, pledge.stated_on)
            if isinstance(rate, RateUnavailable):
                return False
            value, currency = convert(value, rate), target
        kind = (keys, currency, pledge.commitment == "intention", pledge.basis, pledge.qualifier)
        collected = self.unlisted_amounts.get(kind)
        if collected is None:
            column = (currency, *nature_and_basis(pledge))
            first = CountedPledge((row.deal, None), column, _ZERO, _ZERO, pledge.stated_on, True, row, pledge, None)
            self.unlisted_amounts[kind] = (first, [value])
        else:
            collected[1].append(value)
        return True

    def _add_unlisted(self) -> None:
        """Add the collected pledges, each kind at once."""
        for (keys, *_), (first, values) in self.unlisted_amounts.items():
            amount = sum(values, _ZERO)
            item = CountedPledge(
                first.key, first.column, amount, amount, first.stated_on, True, first.deal, first.pledge, None
            )
            self.overall.include(item, first.unrelated_rule, True, True, len(values))
            certain = len(keys) == 1
            rule = first.unrelated_rule if certain else Rule.SHARED
            for key in keys:
                self._group(key).include(item, rule, certain, True, len(values))

    def _add_simple_sum(self, simple: SimpleSum) -> None:
        currency, nature, basis, qualifier = simple.kind.split(" ")
        pledge = PledgeRow(
            "",
            "announced",
            currency,  # type: ignore[arg-type]
            simple.amount,
            None,
            None,
            qualifier or None,  # type: ignore[arg-type]
            basis or None,  # type: ignore[arg-type]
            nature or None,  # type: ignore[arg-type]
            (),
            date.min,
            None,
        )
        row = DealRow("", None, (), (), (), (), ())
        column = (currency, *nature_and_basis(pledge))
        item = CountedPledge(("", None), column, simple.amount, simple.amount, date.min, True, row, pledge, None)
        self.overall.include(item, item.unrelated_rule, True, True, simple.pledges)

    def _amount_or_exclusion(self, row: DealRow, pledge: PledgeRow, related: bool) -> CountedPledge | TotalsLine:
        """The pledge with its bounds, or the line that says why it is in no total."""
        key: Key = (row.deal, pledge.pledge)
        currency = pledge.currency
        low = pledge.low if pledge.low is not None else pledge.value
        high = pledge.high if pledge.high is not None else pledge.value
        if pledge.status == "withdrawn":
            return excluded_line(row, pledge, Rule.WITHDRAWN)
        if row.stage in ("cancelled", "withdrawn"):
            return excluded_line(row, pledge, Rule.CANCELLED)
        if related and (newer := self.relations.superseded_by(key)):
            return excluded_line(row, pledge, Rule.SUPERSEDED, newer, self.relations.events(key, newer))
        if currency is None or (low is None and high is None):
            return excluded_line(row, pledge, Rule.NOT_STATED)
        # One end of a range: "at least 3" adds 3 to both bounds, "at most 5" adds 5 to the upper bound only.
        low = _ZERO if low is None else low
        high = low if high is None else high
        rate: Rate | None = None
        target = self.query.currency
        if target is not None and target != currency:
            available = self._rate(currency, target, pledge.stated_on)
            if isinstance(available, RateUnavailable):
                return excluded_line(row, pledge, Rule.NO_RATE, reason=available.reason)
            rate, currency = available, target
            exact = low == high
            low = convert(low, rate)
            high = low if exact else convert(high, rate)
        column = (currency, *nature_and_basis(pledge))
        return CountedPledge(key, column, low, high, pledge.stated_on, True, row, pledge, rate)

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

    def _group(self, key: str | None) -> GroupBuilder:
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = GroupBuilder(key, self.query.lines)
        return group

    def _group_keys_of_deal(self, row: DealRow) -> tuple[str | None, ...] | None:
        """The groups of all the deal's pledges; None where each pledge has its own."""
        match self.query.group_by:
            case "country":
                return tuple(dict.fromkeys(place[:2] for place in row.places)) or (None,)
            case "region":
                return row.places or (None,)
            case "sector":
                return row.sectors or (None,)
            case "stage":
                return (row.stage,)
            case _:
                return None

    def _group_keys_of_pledge(self, row: DealRow, pledge: PledgeRow) -> tuple[str | None, ...]:
        match self.query.group_by:
            case "organization":
                # A pledge that names no party belongs to the deal's investors.
                roll_up = self.query.roll_up
                return tuple(dict.fromkeys(roll_up.get(o, o) for o in pledge.by or row.investors)) or (None,)
            case "commitment":
                return (pledge.commitment,)
            case _:
                return (str(pledge.stated_on.year),)

    # --- the result ---------------------------------------------------------------------------------------------------

    def _result(self, group: GroupBuilder) -> Group:
        unrelated = (counted_line(item, rule, item.certain, True) for rule, item in group.listed)
        lines = (*group.resolved, *group.excluded, *unrelated)
        lines = lines[: group.limit if group is self.overall else max(0, self.unlisted)]
        self.unlisted -= 0 if group is self.overall else len(lines)
        columns = tuple(total.result(key) for key, total in sorted(group.sums.items()))
        more = sum(group.rules.values()) - len(lines)
        derivation = derive(group.key, columns, lines, group.included_in, more) if self.query.explain else None
        return Group(key=group.key, columns=columns, rules=group.rules, lines=lines, more=more, explain=derivation)
