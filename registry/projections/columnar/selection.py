"""The deals of a question, as conditions in SQL."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import asdict, replace

from registry.domain.search.texts import Search
from registry.projections.columnar.measures import figures, quantities
from registry.projections.facts import TABLE_OF
from registry.projections.point import Point
from registry.schemas.deal_query import FIELD_FILTERS, ITEM_FILTERS, DealListQuery

BOUNDS = ("share_min", "share_max", "amount_min", "amount_max", "metric_min", "metric_max")
"""The filters that are numbers."""

ITEM_TABLES = {name: TABLE_OF[of_deal] for name, of_deal in ITEM_FILTERS.items()}
"""By filter of items: their table."""


class Selection(Struct, frozen=True):
    """Which deals a question is about: those that meet every condition that is given.

    Attributes:
        query: The conditions, without the organization and the words, in whose place are:
        organizations: The records of the organization, of which a current party is one.
        search: What the words are searched as. The question keeps the deals that have them first
            (`search_at_point.py`).
    """

    query: DealListQuery = DealListQuery()
    organizations: tuple[str, ...] = ()
    search: Search | None = None

    @property
    def is_all(self) -> bool:
        """Whether the selection has no condition."""
        return self == _ALL

    @property
    def is_search(self) -> bool:
        """Whether it has no other condition than the words of a search."""
        return self.search is not None and replace(self, search=None).is_all

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of `conditions`."""
        given = asdict(self.query) | {"organizations": list(self.organizations)}
        return given | {name: Decimal(bound) for name in BOUNDS if (bound := given[name]) is not None}

    def cache_key(self, *asked: Any) -> tuple[Any, ...] | None:
        """A question's key in `QuestionCache`; None for a search, which is resolved for one point only."""
        return (*asked, self) if self.search is None else None

    def slugs(self, point: Point) -> str:
        """The query of the slugs of the selected deals."""
        if self.is_search:
            # 3 ms for 100,000 deals, where `conditions` take 25.
            return f"SELECT d.id AS deal FROM {point.found_deals} AS d"
        return f"SELECT d.deal FROM deal_facts AS d WHERE {self.conditions(point)}"

    def conditions(self, point: Point) -> str:
        """The conditions on a row `d` of `deal_facts`, which hold at a point."""
        return " AND ".join([point.at("d"), *self._own(), *self._of_other_tables(point)])

    def _own(self) -> list[str]:
        """Conditions on the row itself."""
        return [
            f"d.{field} = ${name}" if field == name else f"list_contains(d.{field}, ${name})"
            for name, field in FIELD_FILTERS.items()
            if getattr(self.query, name) is not None
        ]

    def _of_other_tables(self, point: Point) -> list[str]:
        """Conditions on other facts of the deal."""
        found = [*self._of_parties(point), *self._of_sites(point), *self._of_metrics(point)]
        for name, table in ITEM_TABLES.items():
            if getattr(self.query, name) is not None:
                found.append(
                    f"d.deal IN (SELECT i.deal FROM {table.name} AS i WHERE {point.at('i')} AND {table.stands('i')}"
                    f" AND i.kind = ${name})"
                )
        if self.query.stage is not None:
            found.append(f"d.deal IN (SELECT s.deal FROM stage_facts AS s WHERE {point.at('s')} AND s.stage = $stage)")
        if self.query.commitment is not None:
            found.append(self._standing_pledge(point, "p.commitment = $commitment"))
        if self.query.currency is not None:
            amount = "p.currency = $currency"
            if self.query.amount_min is not None:
                amount += " AND coalesce(p.high, p.value, p.low) >= $amount_min"
            if self.query.amount_max is not None:
                amount += " AND coalesce(p.low, p.value, p.high) <= $amount_max"
            found.append(self._standing_pledge(point, amount))
        if self.search is not None:
            found.append(f"d.deal IN (SELECT id FROM {point.found_deals})")
        if self.query.updated_since is not None:
            found.append(
                f"d.deal IN (SELECT e.deal FROM deal_events AS e WHERE {point.was_known('e')}"
                " AND e.recorded_at >= $updated_since)"
            )
        return found

    def _of_parties(self, point: Point) -> list[str]:
        """Conditions on one current party of the deal."""
        party = [
            condition
            for condition, is_given in (
                ("list_contains($organizations, p.organization)", bool(self.organizations)),
                ("p.role = $role", self.query.role is not None),
                ("p.share >= $share_min", self.query.share_min is not None),
                ("p.share <= $share_max", self.query.share_max is not None),
            )
            if is_given
        ]
        if not party:
            return []
        conditions = " AND ".join([point.at("p"), "p.left_on IS NULL", *party])
        return [f"d.deal IN (SELECT p.deal FROM party_facts AS p WHERE {conditions})"]

    def _of_metrics(self, point: Point) -> list[str]:
        """Conditions on a quantity: on any figure of it, or with bounds on how much the deal has of it in all."""
        if self.query.metric is None:
            return []
        has_bounds = self.query.metric_min is not None or self.query.metric_max is not None
        source = (quantities if has_bounds else figures)(self.query.metric, point)
        conditions = [] if has_bounds else ["f.status <> 'dropped'"]
        if self.query.metric_basis is not None:
            conditions.append("f.nature = $metric_basis")
        if self.query.metric_min is not None:
            conditions.append("f.value >= $metric_min")
        if self.query.metric_max is not None:
            conditions.append("f.value <= $metric_max")
        if self.query.metric_unit is not None:
            conditions.append("f.currency = $metric_unit")
        return [f"d.deal IN (SELECT f.deal FROM ({source}) AS f WHERE {' AND '.join(conditions)})"]

    def _of_sites(self, point: Point) -> list[str]:
        """Conditions on the sites of the deal."""
        if self.query.region is None:
            return []
        sites = f"SELECT s.deal FROM site_facts AS s WHERE {point.at('s')} AND s.status <> 'dropped'"
        if self.query.extent == "unstated":
            return [f"d.deal NOT IN ({sites} AND s.place IS NOT NULL)"]
        there = f"{sites} AND (s.place = $region OR left(s.place, 2) = $region)"
        if self.query.extent == "country":
            return [f"d.deal IN ({sites} AND s.place = left($region, 2))", f"d.deal NOT IN ({there})"]
        found = [f"d.deal IN ({there})"]
        if self.query.extent is not None:
            elsewhere = f"{sites} AND (s.place IS NULL OR s.place <> $region AND left(s.place, 2) <> $region)"
            found.append(f"d.deal {'NOT ' if self.query.extent == 'within' else ''}IN ({elsewhere})")
        return found

    @staticmethod
    def _standing_pledge(point: Point, condition: str) -> str:
        return (
            f"d.deal IN (SELECT p.deal FROM pledge_facts AS p WHERE {point.at('p')} AND p.status <> 'withdrawn'"
            f" AND {condition})"
        )


_ALL = Selection()


ROWS_PER_READ = 500
"""DuckDB makes the rows of one call while it holds the interpreter, and so the event loop: 500 of them for 1 ms."""


_PARAMETER = re.compile(r"\$(\w+)")


def named(statement: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that a statement names: DuckDB refuses others."""
    names = set(_PARAMETER.findall(statement))
    return {name: value for name, value in parameters.items() if name in names}


def run(cursor: DuckDBPyConnection, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement, which is given those of the parameters that it names."""
    cursor.execute(statement, named(statement, parameters))
    rows: list[tuple[Any, ...]] = []
    while more := cursor.fetchmany(ROWS_PER_READ):
        rows += more
    return rows
