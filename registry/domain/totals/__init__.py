"""Totals that explain themselves: what was pledged, as an interval, with the rule by which each pledge counts or not.

The low end counts nothing that may be counted twice, the high end everything that is not certainly counted twice. What
is marked as part of something counted is in neither: an aggregate and its members never add up. Intentions and
commitments are separate columns, and so are annual amounts, which are never multiplied. Figures are exact decimals;
conversion is asked for, and every rate used is in the answer. Pure: rows in, figures out; no clock, no database.

The rows (`DealRow`) are what totals need of a deal's state and no more, so that a portfolio can be added up without
folding it again. A view stores them as arrays, and is rebuilt when their shape changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Literal

import msgspec
from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.money import format_decimal
from registry.domain.rates import Rate, Rates, RateUnavailable, convert
from registry.domain.totals.overlap import Candidate, Key, OverlapResult, Relations, name_of, resolve_overlaps
from registry.domain.totals.overlap import Column as ColumnKey
from registry.events.types import AmountBasis, Commitment, Currency, Qualifier, Relation, Stage

Nature = Literal["commitment", "intention"]
Basis = Literal["once", "annual"]
GroupBy = Literal["organization", "country", "region", "sector", "stage", "commitment", "year"]
Rule = Literal[
    "counted",
    "additional",
    "aggregate",
    "members",
    "contained",
    "part_of",
    "part_of_each_other",
    "overlaps",
    "outweighed",
    "shared",
    "superseded",
    "withdrawn",
    "cancelled",
    "not_stated",
    "no_rate",
]

RULES: dict[Rule, str] = {
    "counted": "Counts in both ends.",
    "additional": "Counts in both ends: it was announced on top of something else.",
    "aggregate": "Counts in the low end; in the high end its members do in its place, since they add up to more.",
    "members": "Counts in the high end only, with the other members, in place of the amount they are part of.",
    "contained": "Counts in the low end; in the high end the amount that it is part of counts in its place.",
    "part_of": "Does not count: it is part of an amount that does.",
    "part_of_each_other": "Does not count: it and another amount are each marked part of the other; that one counts.",
    "overlaps": "Counts in the high end only: it may overlap with an amount that counts in the low end.",
    "outweighed": "Does not count: it is not certain, and in the high end its members, which add up to more, do.",
    "shared": "Counts in the high end only: it belongs to several groups, and how it is split was not said.",
    "superseded": "Does not count: a later deal or pledge took its place.",
    "withdrawn": "Does not count: it was withdrawn.",
    "cancelled": "Does not count: its deal was cancelled or withdrawn.",
    "not_stated": "Does not count: no amount was stated. Unknown is not zero.",
    "no_rate": "Does not count: there is no reference rate to convert it at.",
}

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_ZERO = Decimal(0)


# --- rows -------------------------------------------------------------------------------------------------------------


class RelationRow(Struct, frozen=True, array_like=True, gc=False):
    """A relation that the deal declares; `source` is the event that says so."""

    relation: Relation
    pledge: str | None
    deal: str
    other_pledge: str | None
    source: str


class PledgeRow(Struct, frozen=True, array_like=True, gc=False):
    """A pledge. `value`, `low` and `high` are in units of `currency`; `stated_on` is the day the amount is of."""

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
    """A deal. `places` are ISO 3166 codes of the sites that stand; `investors` the parties in that role."""

    deal: str
    stage: Stage | None
    sectors: tuple[str, ...]
    places: tuple[str, ...]
    investors: tuple[str, ...]
    relations: tuple[RelationRow, ...]
    pledges: tuple[PledgeRow, ...]


def row_of(deal: Deal) -> DealRow:
    """What totals need of a deal."""
    pledges = []
    for pledge in deal.pledges:
        amount = pledge.amount
        pledges.append(
            PledgeRow(
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
        )
    return DealRow(
        deal.deal,
        deal.stage.value if deal.stage else None,
        deal.sectors,
        tuple(dict.fromkeys(s.place for s in deal.sites if s.place and s.status != "dropped")),
        tuple(dict.fromkeys(p.organization for p in deal.parties if p.role == "investor" and p.left_on is None)),
        tuple(RelationRow(r.relation, r.pledge, r.deal, r.other_pledge, str(r.source)) for r in deal.relations),
        tuple(pledges),
    )


encode_row: Callable[[DealRow], bytes] = msgspec.json.Encoder().encode
decode_row: Callable[[bytes], DealRow] = msgspec.json.Decoder(DealRow).decode


class SimpleSum(Struct, frozen=True, gc=False):
    """What a deal's pledges come to, where each counts in both ends by itself: so many, all of one `kind`.

    `kind` is their currency, nature, basis and qualifier; empty where there are none. Deals of one kind are added by
    adding their sums: a view keeps them, so that a database can.
    """

    kind: str
    amount: Decimal
    pledges: int


def simple_sum(row: DealRow) -> SimpleSum | None:
    """A deal's sum; None where it has to be looked at: for relations, what was withdrawn or unsaid, or two kinds."""
    if row.relations or row.stage in ("cancelled", "withdrawn"):
        return None
    kind = ""
    total = _ZERO
    for pledge in row.pledges:
        if pledge.value is None or pledge.low is not None or pledge.high is not None or pledge.status == "withdrawn":
            return None
        nature = "intention" if pledge.commitment == "intention" else ""
        own = f"{pledge.currency} {nature} {pledge.basis or ''} {pledge.qualifier or ''}"
        if kind not in ("", own):
            return None
        kind = own
        total = _EXACT.add(total, pledge.value)
    return SimpleSum(kind, total, len(row.pledges))


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


# --- what is asked and answered ---------------------------------------------------------------------------------------


class TotalsQuery(Struct, frozen=True, kw_only=True):
    """How to add up.

    `currency` None adds up each currency by itself. Rates are those of the day an amount was stated, or of `rates_of`;
    never of a day after `asked_on`, the day the question is about. `roll_up` maps an organization to the one it counts
    under: the record it was merged into, or its parent at that time. `lines` bounds the pledges that are listed, of the
    whole and of all groups together.
    """

    currency: Currency | None = None
    group_by: GroupBy | None = None
    rates_of: date | None = None
    asked_on: date | None = None
    roll_up: Mapping[str, str] = {}
    explain: bool = False
    lines: int = 1000


class TotalsColumn(Struct, frozen=True, kw_only=True):
    """One sum: of a currency, a nature (commitment, intention) and a basis (once, annual: so much a year).

    `low_open`: the low end may be lower still (up to); `high_open`: the high end has no limit (more than). `pledges` is
    how many count in the high end; `certain`, how many in the low end.
    """

    currency: str
    nature: str
    basis: str
    low: str
    high: str
    low_open: bool
    high_open: bool
    qualifiers: tuple[Qualifier, ...]
    certain: int
    pledges: int


class OriginalAmount(Struct, frozen=True, omit_defaults=True):
    """The amount as it was stated."""

    currency: Currency
    value: str | None = None
    low: str | None = None
    high: str | None = None
    qualifier: Qualifier | None = None
    basis: AmountBasis | None = None


class TotalsLine(Struct, frozen=True, kw_only=True):
    """A pledge and how it counts. `low` and `high` are what it adds to the ends of its column; `because` what decides.

    `because` holds pledges and deals (`DEAL/PLEDGE`, `DEAL`), `events` the ids of the events that declared a relation.
    """

    deal: str
    pledge: str
    rule: Rule
    low: str
    high: str
    currency: str | None
    nature: str
    basis: str
    stated: OriginalAmount | None = None
    rate: Rate | None = None
    because: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    reason: str | None = None


class DerivationNode(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of the derivation.

    `operation`: list (separate sums), add (the children), count (a pledge), convert (its amount), leave_out (it, or all
    of the children). A pledge's children are its conversion and the pledges that it stands for.
    """

    label: str
    operation: str
    why: str | None = None
    low: str | None = None
    high: str | None = None
    currency: str | None = None
    rule: Rule | None = None
    deal: str | None = None
    pledge: str | None = None
    because: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    stated: OriginalAmount | None = None
    rate: Rate | None = None
    children: tuple[DerivationNode, ...] = ()


class Group(Struct, frozen=True, kw_only=True):
    """The sums of one group. `key` None: what the group is made by was not said. `rules` counts the pledges by rule.

    `lines` lists them one by one, those outside the plain case first; `more` counts those left unlisted.
    """

    key: str | None
    columns: tuple[TotalsColumn, ...]
    rules: dict[Rule, int]
    lines: tuple[TotalsLine, ...]
    more: int
    explain: DerivationNode | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """The answer: everything together, and each group by itself. Groups may share amounts: they do not add up."""

    currency: Currency | None
    group_by: GroupBy | None
    overall: Group
    groups: tuple[Group, ...]
    rates: tuple[Rate, ...]


# --- adding up --------------------------------------------------------------------------------------------------------


class _Item(Candidate, gc=False):
    """A pledge that counts, with its rows and the rate it was converted at."""

    deal: DealRow
    pledge: PledgeRow
    rate: Rate | None

    @property
    def plainly(self) -> Rule:
        return "additional" if self.pledge.basis == "additional" else "counted"


class _Sum:
    """A column while it is added up."""

    __slots__ = ("certain", "high", "high_open", "low", "low_open", "pledges", "qualifiers")

    def __init__(self) -> None:
        self.low = self.high = _ZERO
        self.low_open = self.high_open = False
        self.qualifiers: set[Qualifier] = set()
        self.certain = self.pledges = 0

    def add(self, item: _Item, in_low: bool, in_high: bool, count: int) -> None:
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


class _Group:
    """A group while it is added up. Pledges without relations are added at once, the others when all are there."""

    def __init__(self, key: str | None, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.sums: dict[ColumnKey, _Sum] = {}
        self.rules: dict[Rule, int] = {}
        self.listed: list[tuple[Rule, _Item]] = []
        self.left_out: list[TotalsLine] = []
        self.related: dict[Key, _Item] = {}
        self.settled: list[TotalsLine] = []
        self.inside: dict[str, str] = {}

    def include(self, item: _Item, rule: Rule, in_low: bool, in_high: bool, count: int = 1) -> None:
        """Adds a pledge, or so many alike with their figures in one."""
        if in_low or in_high:
            total = self.sums.get(item.column)
            if total is None:
                total = self.sums[item.column] = _Sum()
            total.add(item, in_low, in_high, count)
        self.rules[rule] = self.rules.get(rule, 0) + count

    def exclude(self, line: TotalsLine) -> None:
        self.rules[line.rule] = self.rules.get(line.rule, 0) + 1
        if len(self.left_out) < self.limit:
            self.left_out.append(line)

    def resolve_overlaps(self, relations: Relations, comparable: bool) -> None:
        """Adds the pledges that stand in relations, each by the rule that decides."""
        settled = resolve_overlaps(self.related, relations, comparable)
        members: dict[Key, list[Key]] = {}
        for key, wholes in settled.inside_high.items():
            if key in settled.high:
                for whole in wholes:
                    members.setdefault(whole, []).append(key)
        for key, item in self.related.items():
            rule, because = _rule(key, item, settled, members)
            in_low, in_high = key in settled.low, key in settled.high
            self.include(item, rule, in_low, in_high)
            if because and rule in ("part_of", "part_of_each_other", "members", "contained"):
                self.inside[name_of(key)] = name_of(because[0])
            self.settled.append(_line(item, rule, in_low, in_high, because, relations.events(key, because)))


def _rule(
    key: Key, item: _Item, settled: OverlapResult, members: Mapping[Key, list[Key]]
) -> tuple[Rule, tuple[Key, ...]]:
    """Why a pledge counts, or does not, and the others that decide it."""
    in_low, in_high = key in settled.low, key in settled.high
    if in_low and in_high:
        return item.plainly, ()
    wholes = settled.inside_low.get(key) or settled.inside_high.get(key) or ()
    if in_low:
        return ("contained", wholes) if wholes else ("aggregate", tuple(sorted(members[key], key=name_of)))
    beside = settled.beside.get(key, ())
    if in_high:
        return ("overlaps", beside) if beside else ("members", wholes) if wholes else ("shared", ())
    if wholes:
        return ("part_of_each_other" if key in settled.equals else "part_of"), wholes
    # What keeps it out of the one end, and what stands for it in the other.
    return "outweighed", tuple(sorted({*beside, *members.get(key, ())}, key=name_of))


def compute_totals(
    rows: Iterable[DealRow],
    question: TotalsQuery,
    rates: Rates | None = None,
    others: Iterable[DealRow] = (),
    plains: Iterable[SimpleSum] = (),
) -> Totals:
    """The totals of these deals.

    `others` are deals outside the selection whose relations still tell what is part of what; they are not added.
    `plains` are sums of deals that nobody has to look at; they are added, and not listed. `takes_plains` says for which
    questions. `rates` must be given when the question names a currency.
    """
    with localcontext(_EXACT):
        return _TotalsBuilder(question, rates).run(list(rows), others, plains)


def can_use_sums(question: TotalsQuery) -> bool:
    """Whether sums say enough: a conversion needs the day that each amount is of, a group what each belongs to."""
    return question.currency is None and question.group_by is None


_Alike = tuple[tuple[str | None, ...], str, bool, AmountBasis | None, Qualifier | None]
"""What plain pledges have in common that are added at once: their groups, column and qualifier."""


class _TotalsBuilder:
    def __init__(self, question: TotalsQuery, rates: Rates | None) -> None:
        self.question = question
        self.rates = rates
        self.relations = Relations()
        self.overall = _Group(None, question.lines)
        self.groups: dict[str | None, _Group] = {}
        self.room = self.left = question.lines  # for the pledges that all groups together list
        self.used: dict[tuple[str, date], Rate | RateUnavailable] = {}
        self.alike: dict[_Alike, tuple[_Item, list[Decimal]]] = {}

    def run(self, rows: list[DealRow], others: Iterable[DealRow], plains: Iterable[SimpleSum]) -> Totals:
        every = {row.deal: row for row in (*others, *rows)}
        for row in every.values():
            for r in row.relations:
                self.relations.declare(r.relation, (row.deal, r.pledge), (r.deal, r.other_pledge), r.source)
        for deal in self.relations.deals & every.keys():
            self.relations.add_pledges(deal, (p.pledge for p in every[deal].pledges))
            for pledge in every[deal].pledges:
                if pledge.additional_to:
                    base, _, part = pledge.additional_to.partition("/")
                    self.relations.declare_separate((deal, pledge.pledge), (base, part or None))
        for row in rows:
            self._place(row)
        self._add_grouped()
        for sums in plains:
            self._add_plain(sums)
        groups = sorted(self.groups.values(), key=lambda g: (g.key is None, g.key or ""))
        for group in (self.overall, *groups):
            if group.related:
                group.resolve_overlaps(self.relations, comparable=self.question.currency is not None)
        rates = [r for r in self.used.values() if isinstance(r, Rate)]
        return Totals(
            currency=self.question.currency,
            group_by=self.question.group_by,
            overall=self._finish(self.overall),
            groups=tuple(map(self._finish, groups)),
            rates=tuple(sorted(rates, key=lambda r: (r.from_, r.asked))),
        )

    def _place(self, row: DealRow) -> None:
        related = row.deal in self.relations.deals
        grouped = self.question.group_by is not None
        of_deal = self._keys_of_deal(row) if grouped else ()
        full = not related and len(self.overall.listed) >= self.question.lines and (not grouped or self.room <= 0)
        for pledge in row.pledges:
            keys = of_deal if of_deal is not None else self._keys_of_pledge(row, pledge)
            if full and self._group_simple(row, pledge, keys):
                continue
            item = self._figure(row, pledge, related)
            groups = [self._group(key) for key in keys]
            if isinstance(item, TotalsLine):
                for group in (self.overall, *groups):
                    group.exclude(item)
                continue
            self._add(self.overall, item, related)
            if len(groups) > 1:
                # Whose it is, of several, was not said: it is certainly none's, and possibly each one's.
                item = _Item(item.key, item.column, item.low, item.high, item.stated_on, False, row, pledge, item.rate)
            for group in groups:
                self._add(group, item, related)

    def _add(self, group: _Group, item: _Item, related: bool) -> None:
        if related:
            group.related[item.key] = item
            return
        rule: Rule = item.plainly if item.certain else "shared"
        group.include(item, rule, item.certain, True)
        if len(group.listed) < group.limit and (group is self.overall or self.room > 0):
            group.listed.append((rule, item))
            self.room -= group is not self.overall

    def _group_simple(self, row: DealRow, pledge: PledgeRow, keys: tuple[str | None, ...]) -> bool:
        """Collects the plain pledges that no list has room for, alike with alike: a large portfolio is mostly these."""
        value, currency = pledge.value, pledge.currency
        if value is None or currency is None or pledge.low is not None or pledge.high is not None:
            return False
        if pledge.status == "withdrawn" or row.stage in ("cancelled", "withdrawn"):
            return False
        wanted = self.question.currency
        if wanted is not None and wanted != currency:
            found = self._rate(currency, wanted, pledge.stated_on)
            if isinstance(found, RateUnavailable):
                return False
            value, currency = convert(value, found), wanted
        kind = (keys, currency, pledge.commitment == "intention", pledge.basis, pledge.qualifier)
        known = self.alike.get(kind)
        if known is None:
            column = (currency, *_kind(pledge))
            item = _Item((row.deal, None), column, _ZERO, _ZERO, pledge.stated_on, True, row, pledge, None)
            self.alike[kind] = (item, [value])
        else:
            known[1].append(value)
        return True

    def _add_grouped(self) -> None:
        """Adds what was set aside, each kind at once."""
        for (keys, *_), (one, values) in self.alike.items():
            together = sum(values, _ZERO)
            at_once = _Item(one.key, one.column, together, together, one.stated_on, True, one.deal, one.pledge, None)
            self.overall.include(at_once, one.plainly, True, True, len(values))
            alone = len(keys) == 1
            for key in keys:
                self._group(key).include(at_once, one.plainly if alone else "shared", alone, True, len(values))

    def _add_plain(self, sums: SimpleSum) -> None:
        currency, nature, basis, qualifier = sums.kind.split(" ")
        pledge = PledgeRow(
            "",
            "announced",
            currency,  # type: ignore[arg-type]
            sums.amount,
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
        item = _Item(
            ("", None), (currency, *_kind(pledge)), sums.amount, sums.amount, date.min, True, row, pledge, None
        )
        self.overall.include(item, item.plainly, True, True, sums.pledges)

    def _figure(self, row: DealRow, pledge: PledgeRow, related: bool) -> _Item | TotalsLine:
        """The pledge with its figures, or why it cannot count whatever else there is."""
        key: Key = (row.deal, pledge.pledge)
        currency = pledge.currency
        low = pledge.low if pledge.low is not None else pledge.value
        high = pledge.high if pledge.high is not None else pledge.value
        if pledge.status == "withdrawn":
            return _excluded_line(row, pledge, "withdrawn")
        if row.stage in ("cancelled", "withdrawn"):
            return _excluded_line(row, pledge, "cancelled")
        if related and (newer := self.relations.superseded_by(key)):
            return _excluded_line(row, pledge, "superseded", newer, self.relations.events(key, newer))
        if currency is None or (low is None and high is None):
            return _excluded_line(row, pledge, "not_stated")
        # Half a range: "at least 3" adds 3 to both ends, "at most 5" adds 5 to the high end only.
        low = _ZERO if low is None else low
        high = low if high is None else high
        rate: Rate | None = None
        wanted = self.question.currency
        if wanted is not None and wanted != currency:
            found = self._rate(currency, wanted, pledge.stated_on)
            if isinstance(found, RateUnavailable):
                return _excluded_line(row, pledge, "no_rate", reason=found.reason)
            rate, currency = found, wanted
            same = low == high
            low = convert(low, rate)
            high = low if same else convert(high, rate)
        return _Item(key, (currency, *_kind(pledge)), low, high, pledge.stated_on, True, row, pledge, rate)

    def _rate(self, currency: Currency, wanted: Currency, stated_on: date) -> Rate | RateUnavailable:
        """Of the day that was asked for, and never of a day after the one that the question is about."""
        day = self.question.rates_of or stated_on
        if self.question.asked_on is not None and day > self.question.asked_on:
            day = self.question.asked_on
        found = self.used.get((currency, day))
        if found is None:
            if self.rates is None:
                raise ValueError("a question that names a currency needs rates")
            found = self.used[currency, day] = self.rates.rate(currency, wanted, day)
        return found

    def _group(self, name: str | None) -> _Group:
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = _Group(name, self.question.lines)
        return group

    def _keys_of_deal(self, row: DealRow) -> tuple[str | None, ...] | None:
        """The groups that all pledges of the deal fall into; None where each pledge has its own."""
        match self.question.group_by:
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

    def _keys_of_pledge(self, row: DealRow, pledge: PledgeRow) -> tuple[str | None, ...]:
        match self.question.group_by:
            case "organization":
                # Where nobody said who pledges, those who invest in the deal do.
                under = self.question.roll_up
                return tuple(dict.fromkeys(under.get(o, o) for o in pledge.by or row.investors)) or (None,)
            case "commitment":
                return (pledge.commitment,)
            case _:
                return (str(pledge.stated_on.year),)

    def _finish(self, group: _Group) -> Group:
        plainly = (_line(item, rule, item.certain, True) for rule, item in group.listed)
        every = (*group.settled, *group.left_out, *plainly)
        lines = every[: group.limit if group is self.overall else max(0, self.left)]
        self.left -= 0 if group is self.overall else len(lines)
        columns = tuple(
            TotalsColumn(
                currency=currency,
                nature=nature,
                basis=basis,
                low=format_decimal(total.low),
                high=format_decimal(total.high),
                low_open=total.low_open,
                high_open=total.high_open,
                qualifiers=tuple(sorted(total.qualifiers)),
                certain=total.certain,
                pledges=total.pledges,
            )
            for (currency, nature, basis), total in sorted(group.sums.items())
        )
        more = sum(group.rules.values()) - len(lines)
        explained = _explain(group, columns, lines, more) if self.question.explain else None
        return Group(key=group.key, columns=columns, rules=group.rules, lines=lines, more=more, explain=explained)


def _kind(pledge: PledgeRow) -> tuple[Nature, Basis]:
    """The column: who only says to intend is not added to who pledges, and so much a year is no amount."""
    return (
        "intention" if pledge.commitment == "intention" else "commitment",
        "annual" if pledge.basis == "annual" else "once",
    )


def _line(
    item: _Item,
    rule: Rule,
    in_low: bool,
    in_high: bool,
    because: tuple[Key, ...] = (),
    events: tuple[str, ...] = (),
) -> TotalsLine:
    return TotalsLine(
        deal=item.deal.deal,
        pledge=item.pledge.pledge,
        rule=rule,
        low=format_decimal(item.low) if in_low else "0",
        high=format_decimal(item.high) if in_high else "0",
        currency=item.column[0],
        nature=item.column[1],
        basis=item.column[2],
        stated=_stated(item.pledge),
        rate=item.rate,
        because=tuple(map(name_of, because)),
        events=events,
    )


def _excluded_line(
    row: DealRow,
    pledge: PledgeRow,
    rule: Rule,
    because: tuple[Key, ...] = (),
    events: tuple[str, ...] = (),
    reason: str | None = None,
) -> TotalsLine:
    nature, basis = _kind(pledge)
    return TotalsLine(
        deal=row.deal,
        pledge=pledge.pledge,
        rule=rule,
        low="0",
        high="0",
        currency=pledge.currency,
        nature=nature,
        basis=basis,
        stated=_stated(pledge),
        because=tuple(map(name_of, because)),
        events=events,
        reason=reason,
    )


def _stated(pledge: PledgeRow) -> OriginalAmount | None:
    if pledge.currency is None:
        return None
    value, low, high = (None if d is None else format_decimal(d) for d in (pledge.value, pledge.low, pledge.high))
    return OriginalAmount(pledge.currency, value, low, high, pledge.qualifier, pledge.basis)


# --- explaining -------------------------------------------------------------------------------------------------------


def _explain(
    group: _Group, columns: tuple[TotalsColumn, ...], lines: tuple[TotalsLine, ...], more: int
) -> DerivationNode:
    """The derivation: a sum for each column, in it the pledges that count, under each of them those it stands for."""
    listed = {f"{line.deal}/{line.pledge}": line for line in lines}
    beneath: dict[str, list[TotalsLine]] = {}
    for name, whole in group.inside.items():
        if name in listed and whole in listed and not _counts(listed[name]):
            beneath.setdefault(whole, []).append(listed[name])
    hidden = {f"{line.deal}/{line.pledge}" for under in beneath.values() for line in under}

    def node(line: TotalsLine) -> DerivationNode:
        # A pledge hidden beneath another holds nothing itself: the tree of an answer stays two pledges deep.
        name = f"{line.deal}/{line.pledge}"
        steps: list[DerivationNode] = []
        if line.rate is not None and line.stated is not None:
            text = f"{line.stated.currency} to {line.currency} at the rate of {line.rate.day}"
            steps.append(DerivationNode(label=text, operation="convert", rate=line.rate, stated=line.stated))
        steps += [node(part) for part in beneath.get(name, ())] if name not in hidden else []
        return DerivationNode(
            label=name,
            operation="count" if _counts(line) else "leave_out",
            why=line.reason or RULES[line.rule],
            low=line.low,
            high=line.high,
            currency=line.currency,
            rule=line.rule,
            deal=line.deal,
            pledge=line.pledge,
            because=line.because,
            events=line.events,
            stated=line.stated,
            children=tuple(steps),
        )

    shown = [line for line in lines if f"{line.deal}/{line.pledge}" not in hidden]
    sums = [
        DerivationNode(
            label=f"{column.nature}, {column.basis}, {column.currency}",
            operation="add",
            low=column.low,
            high=column.high,
            currency=column.currency,
            children=tuple(
                node(line)
                for line in shown
                if _counts(line)
                and (line.currency, line.nature, line.basis) == (column.currency, column.nature, column.basis)
            ),
        )
        for column in columns
    ]
    left_out = tuple(node(line) for line in shown if not _counts(line))
    if left_out:
        sums.append(DerivationNode(label="left out", operation="leave_out", children=left_out))
    if more:
        sums.append(DerivationNode(label=f"{more} more pledges, not listed", operation="count"))
    return DerivationNode(label=group.key or "total", operation="list", children=tuple(sums))


def _counts(line: TotalsLine) -> bool:
    return not RULES[line.rule].startswith("Does not count")
