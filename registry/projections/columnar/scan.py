"""The pledges of a question about totals as DuckDB adds them up: the rule of each, its bounds and its groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from registry.domain.money.rates import Rates
from registry.domain.stages import ENDED_STAGES
from registry.domain.totals import Rule, TotalsQuery
from registry.projections.columnar.conversion import Conversion
from registry.projections.columnar.doubts import Doubts
from registry.projections.columnar.measures import figures
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point

# Every pledge with the rule by which it counts and its bounds; `others` leaves out the deals that are not selected and
# those that are examined one by one.
_PLEDGES = """
WITH stopped AS (
    SELECT s.deal FROM stage_facts AS s WHERE {s} AND s.stage IN {ended}
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
            amounts = "p.in_units AS units, p.in_low AS low, p.in_high AS high"
            keys += f"p.currency AS stated, {conversion.day if not variant else 'NULL::DATE'} AS day,"
            currency = "CASE WHEN p.currency IS NOT NULL THEN $target END"
            no_rate = f"""
                WHEN p.currency <> $target AND p.available IS NULL THEN error('no rate was looked up')
                WHEN p.currency <> $target AND NOT p.available THEN '{Rule.NO_RATE}'"""
        return _PLEDGES.format(
            ended=ENDED_STAGES,
            s=point.at("s"),
            p=point.at("p") if self.is_money else "true",
            source=self._source,
            nature_and_basis=_MONEY if self.is_money else "p.nature, '' AS basis",
            keys=keys,
            currency=currency,
            no_rate=no_rate,
            estimate=f"WHEN {_IS_ESTIMATE} THEN '{Rule.ESTIMATE}'" if self.query.estimates == "exclude" else "",
            doubted="p.is_doubted" if conversion is not None else self.doubts.is_doubted,
            amounts=amounts,
            joins=joins,
            others=self.others + "".join(f" AND {way.condition}" for way in variant if way.condition),
        )

    @property
    def _source(self) -> str:
        """What is added up."""
        if not self.is_money:
            return f"({figures(self.query.measure, self.point)})"
        return f"({self.conversion.source})" if self.conversion is not None else "pledge_facts"

    @property
    def names(self) -> list[str]:
        return [f"key{number}" for number in range(1, len(self.query.group_by) + 1)]

    def unnested(self, source: str) -> str:
        """The rows of a table with lists of values of the dimensions, once for each of their groups."""
        for number in range(1, len(self.query.group_by) + 1):
            source = f"(SELECT *, unnest(keys{number}) AS key{number} FROM {source})"
        return source


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
        keys = f"CASE WHEN p.is_of_site THEN [{place}] ELSE {keys} END"
    return [
        Dimension(
            keys,
            f"LEFT JOIN ({values}) AS {table} ON {table}.deal = p.deal",
            is_list=True,
        )
    ]
