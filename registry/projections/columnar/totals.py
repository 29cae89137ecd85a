"""Totals of many deals: DuckDB adds up the pledges of deals without relations, `domain/totals` those of the others.

The statements of one total share their conditions and columns, so they are in one file; hence its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.domain.merges import survivor
from registry.domain.rates import Rates
from registry.domain.totals import (
    AmountSum,
    DealRow,
    GroupKey,
    PledgeRow,
    Rule,
    Sums,
    Totals,
    TotalsBuilder,
    TotalsQuery,
    with_both_sums,
    without_estimates,
)
from registry.projections.columnar.conversion import Conversion, prepare
from registry.projections.columnar.deal_rows import PLEDGE_COLUMNS, deal_rows, pledge_row
from registry.projections.columnar.doubts import Doubts, prepare_doubts
from registry.projections.columnar.measures import containing, figures
from registry.projections.columnar.related import PREFIX, are_held, prepare_related
from registry.projections.columnar.selection import Point, Selection, run

# Relations that say that two amounts have nothing in common decide nothing by themselves.
_RELATED = """
SELECT r.deal, r.other_deal
  FROM relation_facts AS r
 WHERE {r} AND r.relation NOT IN ('additional_to', 'separate_from')
"""

_SELECTED = "SELECT d.deal FROM deal_facts AS d WHERE {conditions} AND d.deal IN (SELECT unnest($deals))"

# Deals with an amount whose rate has too many digits for DuckDB.
_ODD = """
SELECT DISTINCT p.deal
  FROM pledge_facts AS p {join}
 WHERE {p} AND r.available AND r.multiplier IS NULL
"""

# Every pledge with the rule by which it counts and its bounds; `others` leaves out the deals that are not selected and
# those that are examined one by one.
_PLEDGES = """
WITH stopped AS (
    SELECT s.deal FROM stage_facts AS s WHERE {s} AND s.stage IN ('cancelled', 'withdrawn')
), pledges AS (
    SELECT p.deal, p.pledge, p.announced_on, p.qualifier, {keys}
           {currency} AS currency,
           {nature_and_basis},
           CASE WHEN p.status IN ('withdrawn', 'dropped') THEN p.status
                WHEN p.deal IN (SELECT deal FROM stopped) THEN 'cancelled'
                WHEN p.currency IS NULL OR coalesce(p.value, p.low, p.high) IS NULL THEN 'not_stated'
                {estimate}
                {no_rate}
                WHEN {doubted} THEN 'flagged'
                WHEN p.amount_basis = 'additional' THEN 'additional'
                ELSE 'counted' END AS rule,
           {amounts},
           p.value IS NULL AND p.low IS NULL AS low_open,
           p.value IS NULL AND p.high IS NULL AS high_open
      FROM {source} AS p {joins}
     WHERE {p} {others}
)
"""

_IS_ESTIMATE = "coalesce(p.figure IN ('estimated', 'modelled'), false)"

_LOW, _HIGH = "coalesce(p.low, p.value, 0)", "coalesce(p.high, p.value, p.low, 0)"

_MONEY = """
CASE p.commitment WHEN 'intention' THEN 'intention' ELSE 'commitment' END AS nature,
CASE p.amount_basis WHEN 'annual' THEN 'annual' ELSE 'once' END AS basis
"""

# What is added up by: all pledges of one kind, and of one combination of values of the dimensions.
_ADD_UP = """
SELECT {keys} rule, currency, nature, basis, qualifier, low_open, high_open, {sums}, count(*) AS pledges
  FROM pledges
 GROUP BY ALL
"""

_OVERALL = """
SELECT rule, currency, nature, basis, qualifier, low_open, high_open, sum(low), sum(high), sum(pledges)::BIGINT
  FROM summed
 GROUP BY ALL
"""

_RATES_USED = """
SELECT DISTINCT stated, day FROM {source} WHERE rule IN ('counted', 'additional', 'flagged') AND stated <> $target
"""

_GROUPED = """
CREATE OR REPLACE TEMP TABLE grouped AS
SELECT {names}, rule, currency, nature, basis, qualifier, low_open, high_open, {shared} AS shared,
       sum(low) AS low, sum(high) AS high, sum(pledges)::BIGINT AS pledges
  FROM {source}
 GROUP BY ALL
"""

# All groups with their sizes, those of the deals that are examined one by one included.
_RANK = """
CREATE OR REPLACE TEMP TABLE ranked AS
WITH sizes AS (
    SELECT {names}, sum(high * coalesce(weight, 0)) AS size
      FROM (SELECT {names}, currency, {millionths} AS high FROM grouped GROUP BY ALL) AS s
           LEFT JOIN (SELECT unnest($currencies) AS currency, unnest($weights)::HUGEINT AS weight) AS w
                  ON w.currency = s.currency
     GROUP BY {names}
    UNION ALL
    SELECT {examined_names}, unnest($sizes)::HUGEINT
)
SELECT {names}, sum(size) AS size FROM sizes GROUP BY {names}
"""

_GROUPS = """
SELECT {names} FROM ranked ORDER BY size DESC, {order} LIMIT $groups OFFSET $skip
"""

_LINES = """
SELECT {names} l.deal, s.stage, {columns}
  FROM (SELECT *
          FROM {source}
         ORDER BY {rank} rule IN ('counted', 'additional'), deal, announced_on, pledge
         LIMIT $lines) AS l
       JOIN pledge_facts AS t ON t.deal = l.deal AND t.pledge = l.pledge AND {t}
       LEFT JOIN stage_facts AS s ON s.deal = l.deal AND {s}
 ORDER BY {rank} l.rule IN ('counted', 'additional'), l.deal, l.announced_on, l.pledge
"""


_FIGURE_LINES = """
SELECT {names} l.deal, l.pledge
  FROM {source} AS l
 ORDER BY {rank} l.rule = 'counted', l.deal, l.announced_on, l.pledge
 LIMIT $lines
"""


class Scan(Struct, frozen=True):
    """The parts of the statements of one question."""

    point: Point
    selection: Selection
    query: TotalsQuery
    rates: Rates
    conversion: Conversion | None
    doubts: Doubts
    examined: Sequence[str]

    @property
    def parameters(self) -> dict[str, Any]:
        roll_up = self.query.roll_up
        return {
            **self.point.parameters,
            **self.selection.parameters,
            **(self.conversion.parameters if self.conversion else {}),
            "examined": list(self.examined),
            "rolled": list(roll_up),
            "rolled_to": list(roll_up.values()),
            "groups": self.query.groups,
            "skip": self.query.skip,
            "lines": self.query.lines,
            "currencies": list(self.query.weights),
            "weights": list(self.query.weights.values()),
        }

    @property
    def is_money(self) -> bool:
        """Whether amounts are added up, not another measure."""
        return self.query.measure == "amount"

    @property
    def others(self) -> str:
        """The condition that leaves a pledge to DuckDB."""
        condition = ""
        if not self.selection.is_all:
            condition += f"AND p.deal IN ({self.selection.slugs(self.point)})"
        if self.examined:
            condition += " AND p.deal NOT IN (SELECT unnest($examined))"
        return condition

    @property
    def variants(self) -> list[list[Dimension]]:
        """The values of the dimensions, in one or several ways that each are about other pledges."""
        variants: list[list[Dimension]] = [[]]
        for number, name in enumerate(self.query.group_by, 1):
            ways = dimensions(name, number, self.point, self.query)
            variants = [[*variant, way] for variant in variants for way in ways]
        return variants

    def add_up(self) -> str:
        """The statement for the sums of all pledges, by the lists of their values of the dimensions."""
        return " UNION ALL ".join(f"({self._add_up(variant)})" for variant in self.variants)

    def _add_up(self, variant: Sequence[Dimension]) -> str:
        keys = "".join(f"{way.as_list(f'keys{number}')} AS keys{number}, " for number, way in enumerate(variant, 1))
        if self.conversion is None:
            sums = "sum(low) AS low, sum(high) AS high"
        else:
            keys += "stated, day, "
            whole = f"coalesce(sum(units), 0)::HUGEINT * {1_000_000 // self.conversion.units}"
            sums = ", ".join(f"{whole} + coalesce(sum({bound}), 0) AS {bound}" for bound in ("low", "high"))
        return self.pledges(variant) + _ADD_UP.format(keys=keys, sums=sums)

    def listed(self) -> str:
        """All pledges with the lists of their values of the dimensions."""
        return " UNION ALL BY NAME ".join(
            f"({self.pledges(variant)} SELECT deal, pledge, announced_on, rule{lists} FROM pledges)"
            for variant in self.variants
            for lists in ["".join(f", {way.as_list(f'keys{n}')} AS keys{n}" for n, way in enumerate(variant, 1))]
        )

    def pledges(self, variant: Sequence[Dimension]) -> str:
        """The common table expressions of all pledges, with their values of the dimensions."""
        conversion, point = self.conversion, self.point
        joins = " ".join(way.join for way in variant)
        keys = "".join(f"{way.value} AS keys{number}, " for number, way in enumerate(variant, 1))
        if conversion is None:
            amounts, currency, no_rate = f"{_LOW} AS low, {_HIGH} AS high", "p.currency", ""
            joins += f" {self.doubts.join}"
        else:
            low, high = amounts_of(conversion)
            amounts = (
                f"{conversion.whole} AS units, CASE WHEN units IS NULL THEN {low} END AS low,"
                f" CASE WHEN units IS NULL THEN {high} END AS high"
            )
            keys += f"p.currency AS stated, {conversion.day if not variant else 'NULL::DATE'} AS day,"
            currency = "CASE WHEN p.currency IS NOT NULL THEN $target END"
            no_rate = f"""
                WHEN p.currency <> $target AND r.available IS NULL THEN error('no rate was looked up')
                WHEN p.currency <> $target AND NOT r.available THEN '{Rule.NO_RATE}'"""
            joins += f" {conversion.join}"
        return _PLEDGES.format(
            s=point.at("s"),
            p=point.at("p") if self.is_money else "true",
            source="pledge_facts" if self.is_money else f"({figures(self.query.measure, point)})",
            nature_and_basis=_MONEY if self.is_money else "p.nature, '' AS basis",
            keys=keys,
            currency=currency,
            no_rate=no_rate,
            estimate=f"WHEN {_IS_ESTIMATE} THEN '{Rule.ESTIMATE}'" if self.query.estimates == "exclude" else "",
            doubted=self.doubts.is_doubted,
            amounts=amounts,
            joins=joins,
            others=self.others + "".join(f" AND {way.condition}" for way in variant if way.condition),
        )

    @property
    def names(self) -> list[str]:
        return [f"key{number}" for number in range(1, len(self.query.group_by) + 1)]

    def unnested(self, source: str) -> str:
        """The rows of a table with lists of values of the dimensions, once for each of their groups."""
        for number in range(1, len(self.query.group_by) + 1):
            source = f"(SELECT *, unnest(keys{number}) AS key{number} FROM {source})"
        return source


def amounts_of(conversion: Conversion) -> tuple[str, str]:
    """The bounds of a row `p` of `pledge_facts`, in millionths of the currency that it is converted to.

    The lower bound of a doubted amount is zero.
    """
    low, high = conversion.converted("p.low_millionths"), conversion.converted("p.high_millionths")
    converted_low = f"CASE WHEN p.currency = $target THEN p.low_millionths ELSE {low} END"
    return (
        f"CASE WHEN {conversion.doubts.is_doubted} THEN 0 ELSE {converted_low} END",
        f"CASE WHEN p.low_millionths = p.high_millionths THEN {converted_low}"
        f" WHEN p.currency = $target THEN p.high_millionths ELSE {high} END",
    )


class Dimension(Struct, frozen=True):
    """The values of a dimension of a row `p` of `pledge_facts`. An unknown value is NULL.

    Attributes:
        value: The value, or the list of values.
        join: The join that it needs.
        is_list: Whether it is a list.
        condition: Which pledges it is about; empty for all.
    """

    value: str
    join: str = ""
    is_list: bool = False
    condition: str = ""

    def as_list(self, column: str) -> str:
        """The list of values, from the column that holds them."""
        return column if self.is_list else f"[{column}]"


def dimensions(name: str, number: int, point: Point, query: TotalsQuery) -> list[Dimension]:
    """A dimension: most have one expression for all pledges, organizations a faster one for those of a single one."""
    table = f"k{number}"
    match name:
        case "commitment":
            return [Dimension("p.commitment")]
        case "year":
            return [Dimension("year(p.stated_on)::VARCHAR")]
        case "stage":
            join = f"LEFT JOIN stage_facts AS {table} ON {table}.deal = p.deal AND {point.at(table)}"
            return [Dimension(f"{table}.stage", join)]
        case "organization":
            # The investors matter for pledges that name no organization.
            unnamed = f"SELECT o.deal FROM pledge_facts AS o WHERE {point.at('o')} AND o.organization IS NULL"
            needed = f" AND s.deal IN ({unnamed})" if query.measure == "amount" else ""
            values = (
                f"SELECT s.deal, list(DISTINCT s.organization) AS keys FROM party_facts AS s WHERE {point.at('s')}"
                f" AND s.role = 'investor' AND s.left_on IS NULL{needed} GROUP BY s.deal"
            )
            single = "p.organization"
            keys = f"CASE WHEN len(p.organizations) > 0 THEN p.organizations ELSE {table}.keys END"
            if query.roll_up:
                single = "coalesce(map($rolled, $rolled_to)[p.organization], p.organization)"
                rolled = f"list_transform({keys}, lambda o: coalesce(map($rolled, $rolled_to)[o], o))"
                keys = f"list_distinct({rolled})"
            join = f"LEFT JOIN ({values}) AS {table} ON {table}.deal = p.deal"
            return [
                Dimension(single, condition="p.organization IS NOT NULL"),
                Dimension(f"coalesce({keys}, [NULL])", join, is_list=True, condition="p.organization IS NULL"),
            ]
        case "country" | "region":
            place = "left(s.place, 2)" if name == "country" else "s.place"
            values = (
                f"SELECT s.deal, list(DISTINCT {place}) AS keys FROM site_facts AS s WHERE {point.at('s')}"
                " AND s.status <> 'dropped' AND s.place IS NOT NULL GROUP BY s.deal"
            )
        case "sector":
            values = f"SELECT s.deal, list_distinct(s.sectors) AS keys FROM deal_facts AS s WHERE {point.at('s')}"
        case _:
            axis = name.removeprefix("classification:")
            codes = f"list_filter(s.classifications, lambda c: starts_with(c, '{axis}:'))"
            values = (
                f"SELECT s.deal, list_distinct(list_transform({codes}, lambda c: substr(c, {len(axis) + 2}))) AS keys"
                f" FROM deal_facts AS s WHERE {point.at('s')}"
            )
    keys = f"CASE WHEN len({table}.keys) > 0 THEN {table}.keys ELSE [NULL] END"
    if name in ("country", "region") and query.measure != "amount":
        place = "left(p.place, 2)" if name == "country" else "p.place"
        keys = f"CASE WHEN p.site IS NOT NULL THEN [{place}] ELSE {keys} END"
    return [
        Dimension(
            keys,
            f"LEFT JOIN ({values}) AS {table} ON {table}.deal = p.deal",
            is_list=True,
        )
    ]


def totals(cursor: DuckDBPyConnection, point: Point, selection: Selection, query: TotalsQuery, rates: Rates) -> Totals:
    """The totals of the selected deals at a point: the same as `compute_totals` of all of them.

    Args:
        cursor: The copy.
        point: The point.
        selection: Which deals.
        query: What to compute, with the page of groups.
        rates: The exchange rates.
    """
    builder = TotalsBuilder(query, rates)
    conversion = None
    if query.currency is not None:
        conversion = prepare(cursor, point, query.currency, rates, query.rates_of, query.effective_on or date.max)
    doubts = Doubts("", any=False)
    if query.measure == "amount":
        doubts = conversion.doubts if conversion is not None else prepare_doubts(cursor, rates)
    prepare_related(cursor, query.merged)
    examined, chosen, others = examine(cursor, point, selection, query, rates, conversion)
    builder.add(chosen, others)
    scan = Scan(point, selection, query, rates, conversion, doubts, examined)
    run(cursor, f"CREATE OR REPLACE TEMP TABLE summed AS {scan.add_up()}", scan.parameters)
    overall = [_amount_sum(row, conversion) for row in run(cursor, _OVERALL, {})]
    lines = _overall_lines(cursor, scan) if query.lines else []
    if query.group_by:
        groups, number, sums, group_lines = _groups(cursor, scan, builder)
    else:
        groups, number, sums, group_lines = [], 0, {}, {}
    builder.add_sums(Sums(overall, sums, lines, group_lines), groups)
    found = builder.result(groups, number, _rates_used(cursor, scan))
    if query.estimates != "both":
        return found
    return with_both_sums(found, totals(cursor, point, selection, without_estimates(query, found), rates))


def examine(
    cursor: DuckDBPyConnection,
    point: Point,
    selection: Selection,
    query: TotalsQuery,
    rates: Rates,
    conversion: Conversion | None,
) -> tuple[list[str], list[DealRow], list[DealRow]]:
    """The deals that DuckDB cannot add up: those with relations, and those whose rates have too many digits.

    Returns:
        The slugs of these deals, the rows of those that are selected, and the rows of the others, whose relations
        decide too.
    """
    related = _related_deals(cursor, point, query.merged)
    if query.measure != "amount":
        related |= {deal for (deal,) in run(cursor, containing(query.measure, point), point.parameters)}
    odd: set[str] = set()
    if conversion is not None:
        statement = _ODD.format(join=conversion.join, p=point.at("p"))
        odd = {deal for (deal,) in run(cursor, statement, {**point.parameters, **conversion.parameters})}
    examined = sorted(related | odd)
    if not examined:
        return [], [], []
    rows = deal_rows(cursor, point, examined, rates, query.measure, prefix=PREFIX if are_held(cursor, examined) else "")
    selected = _selected(cursor, point, selection, examined)
    chosen = [row for row in rows if row.deal in selected]
    return examined, chosen, [row for row in rows if row.deal in related and row.deal not in selected]


def _related_deals(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> set[str]:
    """The deals that declare a relation, or that one is declared to."""
    return set(chain.from_iterable(related_pairs(cursor, point, merged)))


def related_pairs(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each deal that declares a relation, with the deal that it is declared to."""
    pairs = run(cursor, _RELATED.format(r=point.at("r")), point.parameters)
    return [(deal, survivor(other, merged)) for deal, other in pairs]


def _selected(cursor: DuckDBPyConnection, point: Point, selection: Selection, deals: Sequence[str]) -> set[str]:
    statement = _SELECTED.format(conditions=selection.conditions(point))
    parameters = {**point.parameters, **selection.parameters, "deals": list(deals)}
    return {deal for (deal,) in run(cursor, statement, parameters)}


def _rates_used(cursor: DuckDBPyConnection, scan: Scan) -> list[tuple[str, date]]:
    if scan.conversion is None:
        return []
    statement = _RATES_USED.format(source="summed")
    if scan.query.group_by:
        statement = scan.pledges([]) + _RATES_USED.format(source="pledges")
    return [(currency, day) for currency, day in run(cursor, statement, scan.parameters)]


# --- sums -------------------------------------------------------------------------------------------------------------


_RULES = {rule.value: rule for rule in Rule}


def _amount_sum(row: tuple[Any, ...], conversion: Conversion | None, *, shared: bool = False) -> AmountSum:
    rule, currency, nature, basis, qualifier, low_open, high_open, low, high, pledges = row
    counts = _RULES[rule].counts
    return AmountSum(
        (currency or "", nature, basis),
        Rule.SHARED if shared and _RULES[rule].counts_low else _RULES[rule],
        qualifier,
        _decimal(low, conversion),
        _decimal(high, conversion),
        low_open and counts,
        high_open and counts,
        pledges,
    )


def _decimal(total: Any, conversion: Conversion | None) -> Decimal:
    """A sum: DuckDB returns numbers as they were stated, and converted ones in millionths."""
    if total is None:
        return Decimal(0)
    return Decimal(total) if conversion is None else Decimal(total).scaleb(-6)


def _groups(
    cursor: DuckDBPyConnection, scan: Scan, builder: TotalsBuilder
) -> tuple[list[GroupKey], int, dict[GroupKey, list[AmountSum]], dict[GroupKey, list[tuple[DealRow, PledgeRow]]]]:
    """The keys of the page, the number of groups, and the sums and first lines of those on the page."""
    names = ", ".join(scan.names)
    shared = " * ".join(f"len(keys{number})" for number in range(1, len(scan.names) + 1)) + " > 1"
    parameters = scan.parameters
    run(cursor, _GROUPED.format(names=names, shared=shared, source=scan.unnested("summed")), {})
    examined = builder.sizes()
    counted = "sum(CASE WHEN rule IN ('counted', 'additional', 'flagged') THEN high END)"
    rank = _RANK.format(
        names=names,
        millionths=f"coalesce({counted if scan.conversion else f'({counted} * 1000000)'}, 0)::HUGEINT",
        examined_names=", ".join(f"unnest($of_{name}::VARCHAR[])" for name in scan.names),
    )
    for place, name in enumerate(scan.names):
        parameters[f"of_{name}"] = [key[place] for key in examined]
    run(cursor, rank, {**parameters, "sizes": list(examined.values())})
    ((number,),) = run(cursor, "SELECT count(*) FROM ranked", {})
    order = ", ".join(f"{name} NULLS LAST" for name in scan.names)
    keys: list[GroupKey] = (
        list(scan.query.keys)
        if scan.query.keys is not None
        else run(cursor, _GROUPS.format(names=names, order=order), parameters)
    )
    count = len(scan.names)
    columns = {f"page_{name}": [key[place] for key in keys] for place, name in enumerate(scan.names)}
    run(
        cursor,
        "CREATE OR REPLACE TEMP TABLE shown AS SELECT unnest(range(len($page_key1))) AS rank, "
        + ", ".join(f"unnest($page_{name}::VARCHAR[]) AS {name}" for name in scan.names),
        columns,
    )
    same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM t.{name}" for name in scan.names)
    sums: dict[GroupKey, list[AmountSum]] = {}
    for row in run(cursor, f"SELECT t.* FROM grouped AS t JOIN shown AS s ON {same}", {}):
        key, (*values, is_shared, low, high, pledges) = tuple(row[:count]), row[count:]
        one = _amount_sum((*values, low, high, pledges), scan.conversion, shared=is_shared)
        sums.setdefault(key, []).append(one)
    return keys, number, sums, _group_lines(cursor, scan, same) if scan.query.lines and keys else {}


# --- lines ------------------------------------------------------------------------------------------------------------


def _overall_lines(cursor: DuckDBPyConnection, scan: Scan) -> list[tuple[DealRow, PledgeRow]]:
    if not scan.is_money:
        return _figure_lines(cursor, scan, "", f"({scan.pledges([])} SELECT * FROM pledges)", "").get((), [])
    statement = _lines(scan, "", f"({scan.pledges([])} SELECT * FROM pledges)", "")
    return [_line(scan, *row) for row in run(cursor, statement, scan.parameters)]


def _group_lines(cursor: DuckDBPyConnection, scan: Scan, same: str) -> dict[GroupKey, list[tuple[DealRow, PledgeRow]]]:
    source = f"(SELECT t.*, s.rank FROM {scan.unnested(f'({scan.listed()})')} AS t JOIN shown AS s ON {same})"
    names = "".join(f"l.{name}, " for name in scan.names)
    if not scan.is_money:
        return _figure_lines(cursor, scan, names, source, "rank,")
    found: dict[GroupKey, list[tuple[DealRow, PledgeRow]]] = {}
    count = len(scan.names)
    rows = run(cursor, _lines(scan, names, source, "rank,"), scan.parameters)
    deals = {row.deal: row for row in deal_rows(cursor, scan.point, sorted({row[count] for row in rows}), scan.rates)}
    for row in rows:
        # With the whole deal, because the groups of a pledge follow from it.
        _, pledge = _line(scan, *row[count:])
        found.setdefault(tuple(row[:count]), []).append((deals[row[count]], pledge))
    return found


def _figure_lines(
    cursor: DuckDBPyConnection, scan: Scan, names: str, source: str, rank: str
) -> dict[GroupKey, list[tuple[DealRow, PledgeRow]]]:
    """The first lines of a measure, by group."""
    rows = run(cursor, _FIGURE_LINES.format(names=names, source=source, rank=rank), scan.parameters)
    slugs = sorted({row[-2] for row in rows})
    deals = {row.deal: row for row in deal_rows(cursor, scan.point, slugs, scan.rates, scan.query.measure)}
    found: dict[GroupKey, list[tuple[DealRow, PledgeRow]]] = {}
    for *key, deal, name in rows:
        figure = next(figure for figure in deals[deal].pledges if figure.pledge == name)
        found.setdefault(tuple(key), []).append((deals[deal], figure))
    return found


def _lines(scan: Scan, names: str, source: str, rank: str) -> str:
    return _LINES.format(
        names=names, columns=PLEDGE_COLUMNS, source=source, rank=rank, t=scan.point.at("t"), s=scan.point.at("s")
    )


def _line(scan: Scan, deal: str, stage: Any, *pledge: Any) -> tuple[DealRow, PledgeRow]:
    return DealRow(deal, stage, (), (), (), (), ()), pledge_row(*pledge, rates=scan.rates)
