"""A totals query and its result, as the API returns it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal

from msgspec import Struct

from registry.domain.money.rates import Rate
from registry.domain.totals.rules import Rule
from registry.domain.totals.sums import GroupKey
from registry.events.currencies import Currency
from registry.events.values import AmountBasis, Figure, Qualifier

Estimates = Literal["include", "exclude", "both"]

GROUPINGS = ("organization", "country", "region", "sector", "stage", "commitment", "year")
"""What totals can be grouped by, besides `classification:AXIS`."""


class TotalsQuery(Struct, frozen=True, kw_only=True):
    """What to compute.

    Attributes:
        currency: The currency to convert to; None computes a sum per currency.
        rates_of: The day whose rates convert every amount; None: the day from which each amount applies.
        effective_on: The effective date of the query. A rate of a later day is never used.
        roll_up: Maps an organization to the one it is grouped under: the record it was merged into, or its parent.
        merged: What each merged deal was merged into. A relation to it counts for that deal (`merges.py`).
        explain: Whether each group has a derivation.
        groups: The most groups of a page; the largest come first.
        skip: How many groups come before the page.
        weights: What a unit of each currency is worth, so that groups with several currencies can be ordered.
        lines: How many pledges the result lists, at most: for the overall sums, and for all groups together.
        measure: What is added up (`measures.py`).
        estimates: Whether amounts count that were estimated or modelled; `both`: the sums without them, too.
        keys: The groups of the page, where they are known.
        with_rates: Whether the result lists the exchange rates that it used.
    """

    currency: Currency | None = None
    group_by: tuple[str, ...] = ()
    rates_of: date | None = None
    effective_on: date | None = None
    roll_up: Mapping[str, str] = {}
    merged: Mapping[str, str] = {}
    explain: bool = False
    groups: int = 100_000
    skip: int = 0
    weights: Mapping[str, int] = {}
    lines: int = 1000
    measure: str = "amount"
    estimates: Estimates = "include"
    keys: tuple[GroupKey, ...] | None = None
    with_rates: bool = True


class TotalsColumn(Struct, frozen=True, kw_only=True):
    """One sum: of a currency, a nature (commitment, intention) and a basis (once, annual: the amount per year).

    A sum of another measure has no currency and no basis; its nature is planned, actual or target, and its `unit` is
    null where the measure has a unit of its own.

    `low_open`: the lower bound may be lower still ("up to"); `high_open`: the upper bound has no limit ("more than", or
    an amount without an exchange rate). `pledges` counts the pledges in the upper bound, `certain` those in the lower
    bound.
    """

    currency: str | None
    unit: str | None = None
    nature: str
    basis: str | None
    low: str
    high: str
    low_open: bool
    high_open: bool
    qualifiers: tuple[Qualifier, ...]
    certain: int
    pledges: int


class OriginalAmount(Struct, frozen=True, omit_defaults=True):
    """The amount as its source stated it, before any conversion."""

    currency: Currency
    value: str | None = None
    low: str | None = None
    high: str | None = None
    qualifier: Qualifier | None = None
    basis: AmountBasis | None = None
    figure: Figure | None = None


class TotalsLine(Struct, frozen=True, kw_only=True):
    """A pledge, the rule by which it counts, and what it adds to the bounds of its column (`low`, `high`).

    Of another measure, `pledge` is the id of a metric, or `SITE/power_mw` or `SITE/gpus`.

    `because` names the pledges and deals that decide (`DEAL/PLEDGE`, `DEAL`); `events` are the ids of the events that
    declare the relations to them. `part_of` names those that it is declared to be part of, whichever rule decides: it
    is shown as "of which" under them. `flags` are the rules of the flags on the amount. `reason` is set where no
    exchange rate is available.
    """

    deal: str
    pledge: str
    rule: Rule
    low: str
    high: str
    currency: str | None
    unit: str | None = None
    nature: str
    basis: str | None
    stated: OriginalAmount | None = None
    rate: Rate | None = None
    because: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    part_of: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    reason: str | None = None


class DerivationNode(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of the derivation of a total.

    `operation` is one of: list (separate sums), add (the children; `nature` and `basis` name the column), count (a
    pledge, or `pledges` of them that are not listed), convert (an amount), leave_out (a pledge, or all children). A
    pledge's children are its conversion and the pledges that it includes.
    """

    label: str
    operation: str
    why: str | None = None
    low: str | None = None
    high: str | None = None
    currency: str | None = None
    nature: str | None = None
    basis: str | None = None
    pledges: int | None = None
    rule: Rule | None = None
    deal: str | None = None
    pledge: str | None = None
    because: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    stated: OriginalAmount | None = None
    rate: Rate | None = None
    children: tuple[DerivationNode, ...] = ()


class Group(Struct, frozen=True, kw_only=True):
    """The sums of one group by itself. `rules` counts the pledges by rule.

    `of_total` is what its pledges add to the sums of all deals, where each pledge is in one group (stage, commitment,
    year): a subset of them. A pledge may count in its group and not in the total, where a relation excludes it.

    `keys` are the values of the dimensions, null where one is unknown; `key` is the first of them.

    `lines` lists the pledges, those of the rules other than `counted` first; `more` is how many are not listed.
    `without_estimates` are the sums without amounts that were estimated or modelled, if both were asked for.
    """

    key: str | None
    keys: tuple[str | None, ...]
    columns: tuple[TotalsColumn, ...]
    rules: dict[Rule, int]
    lines: tuple[TotalsLine, ...]
    more: int
    of_total: tuple[TotalsColumn, ...] | None = None
    without_estimates: tuple[TotalsColumn, ...] | None = None
    explain: DerivationNode | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """The result: the sums of a measure of all deals and of each group. Groups may share amounts and need not add up.

    `groups` is a page of `number_of_groups`, the largest first; `next_group` is how many groups come before the next
    page, null after the last. `rates` lists the exchange rates used, `more_rates` how many are not listed.
    """

    measure: str
    currency: Currency | None
    group_by: str | None
    overall: Group
    groups: tuple[Group, ...]
    number_of_groups: int
    next_group: int | None
    rates: tuple[Rate, ...]
    more_rates: int
