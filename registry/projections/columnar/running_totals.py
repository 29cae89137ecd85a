"""The sums of a question about totals, which follow the log: only the deals that changed are added up again.

DuckDB adds up all deals once. After an event, Python subtracts what the changed deals added and adds what they add now:
an event changes few deals, and a statement takes DuckDB some milliseconds before it begins. DuckDB orders the groups
when it adds them up; afterwards Python moves the groups of changed deals to their new places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.domain.totals import NO_COLUMN, AmountSum, DealRow, GroupKey, Rule, RunningSums, TotalsBuilder
from registry.domain.totals.groups import MILLION
from registry.domain.totals.rows import EXACT
from registry.projections.columnar.scan import Scan
from registry.projections.columnar.selection import run

_OVERALL = """
SELECT rule, currency, nature, basis, qualifier, low_open, high_open, sum(low), sum(high), sum(pledges)::BIGINT
  FROM {source}
 GROUP BY ALL
"""

_RATES = """
SELECT stated, day, sum(pledges)::BIGINT
  FROM {source}
 WHERE rule IN ('counted', 'additional', 'flagged') AND stated <> $target
 GROUP BY ALL
"""

# The number of groups, the first of them in their order and some others, and their sums, split by rule, currency and
# the other columns of the result.
_GROUPS = """
WITH summed AS MATERIALIZED (
    SELECT {names}, rule, currency, nature, basis, qualifier, low_open, high_open, {shared} AS shared,
           sum(low) AS low, sum(high) AS high, sum(pledges)::BIGINT AS pledges
      FROM {source}
     GROUP BY ALL
), sizes AS (
    SELECT {names}, sum(CASE WHEN rule IN ('counted', 'additional', 'flagged') THEN {millionths} END * weight) AS size
      FROM summed AS s
           LEFT JOIN (SELECT unnest($currencies) AS currency, unnest($weights)::HUGEINT AS weight) AS w
                  ON w.currency = s.currency
     GROUP BY {names}
), ranked AS (
    SELECT {names}, count(*) OVER () AS number, row_number() OVER (ORDER BY coalesce(size, 0) DESC, {order}) AS rank
      FROM sizes
)
SELECT number, rank, {page_names}, rule, currency, nature, basis, qualifier, low_open, high_open, shared,
       low, high, pledges
  FROM ranked AS p
       JOIN summed AS t ON {same}
 WHERE rank <= $first OR EXISTS (SELECT 1 FROM (SELECT {others}) AS o WHERE {same_other})
 ORDER BY rank
"""

SPARE_GROUPS = 100
"""So many groups more than those of a page are read: groups of changed deals may leave the page."""

_RULES = {rule.value: rule for rule in Rule}


class _AddedGroups(Struct):
    """Groups as DuckDB added them up.

    Attributes:
        number: How many there are.
        first: The first ones, in their order.
        others: Groups that are here if there are any such.
        sums: The sums of those that are here.
        sizes: Their sizes.
    """

    number: int
    first: list[GroupKey]
    others: set[GroupKey]
    sums: dict[GroupKey, list[AmountSum]]
    sizes: dict[GroupKey, int]

    def has(self, wanted: int, groups: Collection[GroupKey]) -> bool:
        """Whether it has the first `wanted` groups, and these ones."""
        if len(self.first) == self.number:
            return True
        unchanged = sum(1 for key in self.first if key not in groups)
        return unchanged >= wanted and all(key in self.sums or key in self.others for key in groups)


class RunningTotals:
    """The sums of a question, by the rule of a pledge and what else the result tells apart.

    Args:
        scan: The question.
        source: The table of the sums of all deals that DuckDB adds up.
        examined: The deals that are examined one by one because of their relations.
    """

    def __init__(self, cursor: DuckDBPyConnection, scan: Scan, source: str, examined: Iterable[str]) -> None:
        self.examined = frozenset(examined)
        self._source = source
        # Takes and adds single deals.
        self._builder = TotalsBuilder(scan.query, scan.rates)
        self._rows: dict[str, DealRow | None] = {}
        # What single deals change of the groups that DuckDB has added up.
        self._changes: dict[GroupKey, RunningSums] = {}
        self._groups: _AddedGroups | None = None
        self._weights: Mapping[str, int] = {}
        overall = run(cursor, _OVERALL.format(source=source), {})
        with localcontext(EXACT):
            self.overall = RunningSums(_amount_sum(row, scan) for row in overall)
        self.rates: Counter[tuple[str, date]] = Counter()
        if scan.conversion is not None and not scan.query.group_by:
            for currency, day, pledges in run(cursor, _RATES.format(source=source), scan.parameters):
                self.rates[currency, day] = pledges

    def has_row(self, deal: str) -> bool:
        """Whether a deal was added or left out by itself."""
        return deal in self._rows or deal in self.examined

    def change(self, before: Mapping[str, DealRow | None], now: Mapping[str, DealRow | None]) -> None:
        """Replace what some deals add.

        Args:
            before: The rows of those that were not changed before; None: a deal added nothing.
            now: The rows of all of them.
        """
        with localcontext(EXACT):
            for deal, row in now.items():
                self._add(before[deal] if deal in before else self._rows.get(deal), -1)
                self._add(row, 1)
                self._rows[deal] = row
        self.rates = +self.rates

    def _add(self, row: DealRow | None, times: int) -> None:
        """Add what a deal adds (1), or take it away (-1)."""
        for one in self._builder.sums_of(row) if row is not None else ():
            self.overall.add(one.overall, times)
            if one.rate is not None:
                self.rates[one.rate] += times
            for key in one.groups:
                self._changes.setdefault(key, RunningSums()).add(one.in_groups, times)

    # --- groups -------------------------------------------------------------------------------------------------------

    def page(
        self, cursor: DuckDBPyConnection, scan: Scan, examined: Mapping[GroupKey, int]
    ) -> tuple[list[GroupKey], int, dict[GroupKey, list[AmountSum]]]:
        """The groups of the query's page, the number of all groups, and the sums of those of the page.

        Args:
            cursor: The copy.
            scan: The question.
            examined: The sizes of the groups of the deals that are examined one by one.
        """
        query = scan.query
        changed = {*self._changes, *examined, *(query.keys or ())}
        with localcontext(EXACT):
            groups = self._read(cursor, scan, query.skip + query.groups, changed)
            sums = {key: [one for one in self._now(groups, key) if one.pledges] for key in self._changes}
            sizes = {key: groups.sizes[key] for key in groups.first}
            sizes |= {key: groups.sizes[key] for key in changed & groups.sizes.keys()}
            sizes |= {key: _size(now, query.weights) for key, now in sums.items()}
            empty = {key for key, now in sums.items() if not now} - examined.keys()
            sizes = {key: size + examined.get(key, 0) for key, size in sizes.items() if key not in empty}
            sizes |= {key: size for key, size in examined.items() if key not in sizes}
        number = groups.number + sum(1 for key in sizes if key not in groups.sizes) - len(empty & groups.sizes.keys())
        if query.keys is not None:
            page = list(query.keys)
        else:
            ordered = sorted(sizes, key=lambda key: (-sizes[key], [(part is None, part or "") for part in key]))
            page = ordered[query.skip : query.skip + query.groups]
        return page, number, {key: sums[key] if key in sums else groups.sums.get(key, []) for key in page}

    def _now(self, groups: _AddedGroups, key: GroupKey) -> RunningSums:
        """The sums of a group with the deals that changed."""
        now = RunningSums(groups.sums.get(key, ()))
        for one in self._changes[key]:
            now.add(one)
        return now

    def _read(self, cursor: DuckDBPyConnection, scan: Scan, wanted: int, changed: Collection[GroupKey]) -> _AddedGroups:
        """The groups that DuckDB has added up: the first `wanted` ones, and the changed ones."""
        weights = scan.query.weights
        if self._groups is None or self._weights != weights or not self._groups.has(wanted, changed):
            self._groups, self._weights = self._read_now(cursor, scan, wanted, changed), weights
        return self._groups

    def _read_now(
        self, cursor: DuckDBPyConnection, scan: Scan, wanted: int, changed: Collection[GroupKey]
    ) -> _AddedGroups:
        first, names, count = wanted + len(changed) + SPARE_GROUPS, scan.names, len(scan.names)
        statement = _GROUPS.format(
            names=", ".join(names),
            shared=" * ".join(f"len(keys{number})" for number in range(1, count + 1)) + " > 1",
            source=scan.unnested(self._source),
            millionths="high" if scan.query.currency is not None else "(high * 1000000)::HUGEINT",
            order=", ".join(f"{name} NULLS LAST" for name in names),
            page_names=", ".join(f"p.{name}" for name in names),
            same=same_group(scan, "p", "t"),
            others=", ".join(f"unnest($page_{name}::VARCHAR[]) AS {name}" for name in names),
            same_other=same_group(scan, "o", "p"),
        )
        found = _AddedGroups(0, [], set(changed), {}, {})
        parameters = {**scan.parameters, **keys_of(scan, list(changed)), "first": first}
        for number, rank, *values in run(cursor, statement, parameters):
            found.number, key, (*columns, is_shared, low, high, pledges) = number, tuple(values[:count]), values[count:]
            if key not in found.sums and rank <= first:
                found.first.append(key)
            found.sums.setdefault(key, []).append(_amount_sum((*columns, low, high, pledges), scan, shared=is_shared))
        found.sizes = {key: _size(sums, scan.query.weights) for key, sums in found.sums.items()}
        return found


def _size(sums: Iterable[AmountSum], weights: Mapping[str, int]) -> int:
    """The size of a group, as `GroupBuilder.size` has it."""
    return sum(int(one.high * MILLION) * weights.get(one.column[0], 0) for one in sums if one.rule.counts_high)


def keys_of(scan: Scan, keys: Sequence[GroupKey]) -> dict[str, Any]:
    """Groups as parameters: a list of the values of each dimension."""
    return {f"page_{name}": [key[place] for key in keys] for place, name in enumerate(scan.names)}


def same_group(scan: Scan, one: str, other: str) -> str:
    """The condition that rows of two tables are of one group."""
    return " AND ".join(f"{one}.{name} IS NOT DISTINCT FROM {other}.{name}" for name in scan.names)


def _amount_sum(row: tuple[Any, ...], scan: Scan, *, shared: bool = False) -> AmountSum:
    name, currency, nature, basis, qualifier, low_open, high_open, low, high, pledges = row
    rule = _RULES[name]
    if not rule.counts:
        column = (currency or "", nature, basis) if rule is Rule.NO_RATE else NO_COLUMN
        return AmountSum(column, rule, None, Decimal(0), Decimal(0), False, False, pledges)
    if shared and rule.counts_low:
        rule = Rule.SHARED
    sums = _decimal(low, scan), _decimal(high, scan)
    return AmountSum((currency or "", nature, basis), rule, qualifier, *sums, low_open, high_open, pledges)


def _decimal(total: Any, scan: Scan) -> Decimal:
    """A sum: DuckDB returns numbers as they were stated, and converted ones in millionths."""
    if total is None:
        return Decimal(0)
    return Decimal(total) if scan.query.currency is None else Decimal(total).scaleb(-6)
