"""A point in time and the deals of a question, as conditions in SQL."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.search_text import Search
from registry.projections.columnar.measures import figures

Axis = Literal["recorded", "published"]


class Point(Struct, frozen=True):
    """A point at which all deals are looked at.

    Attributes:
        axis: The axis of knowledge.
        known: What is known on it: the events up to a position, or what was published by a day.
        day: The effective date.
        head: The log's head when the question came: the copy holds the log up to it or beyond.
    """

    axis: Axis
    known: int | date
    day: date
    head: int

    @property
    def position(self) -> int:
        """The log position of the answer."""
        return self.known if isinstance(self.known, int) else self.head

    @property
    def is_present(self) -> bool:
        """Whether it is the latest position of the log, at which the next event changes what is known."""
        return self.axis == "recorded" and self.known == self.head

    @property
    def found_deals(self) -> str:
        """The table of the cursor with the deals that a search finds at the point: `id`, `score` (`SearchAtPoint`)."""
        return f"deals_{self.axis}_{str(self.known).replace('-', '_')}_{self.day:%Y_%m_%d}"

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of `at`."""
        return {"known": self.known, "day": self.day}

    def at(self, table: str) -> str:
        """The condition that a row of a fact table holds at the point."""
        return f"{table}.effective_from <= $day AND {table}.effective_to > $day AND {self.is_known(table)}"

    def is_known(self, table: str) -> str:
        """The condition that a row of a fact table is known at the point, for any effective date."""
        return f"{table}.{self.axis}_from <= $known AND {table}.{self.axis}_to > $known"

    def was_known(self, event: str) -> str:
        """The condition that an event was known at the point."""
        return f"{event}.position <= $known" if self.axis == "recorded" else f"{event}.published_on <= $known"


class Selection(Struct, frozen=True, kw_only=True):
    """Which deals a question is about: those that meet every condition that is given.

    Attributes:
        organizations: The records of one organization, of which a current party is one; with `role`, in that role.
        role: The role of a current party.
        share_min, share_max: Bounds of the stated share of a current party in percent; with `organizations` and `role`,
            of that one.
        region: A country or a subdivision of a site that was not dropped.
        extent: With `region`: `within`, deals with no site elsewhere; `beyond`, those that also have one.
        sector, classification, identifier, stage, kind: A value that the deal has.
        commitment: The commitment level of a pledge that was not withdrawn.
        currency: The currency in which such a pledge is stated.
        amount_min, amount_max: Bounds of the stated amount of such a pledge, in `currency`.
        metric: A quantity of the deal or of a site that was not dropped, stated as totals take it (`measures.py`).
        metric_basis, metric_min, metric_max, metric_unit: The basis, the bounds and the unit of one figure of it.
        incentive: The kind of an incentive that has not ended.
        setback: The kind of a setback that was not resolved.
        search: Words that the deal has. The question keeps the deals that have them first (`search.SearchAtPoint`).
        updated_since: The deal has an event that was recorded then or later.
    """

    organizations: tuple[str, ...] = ()
    role: str | None = None
    share_min: Decimal | None = None
    share_max: Decimal | None = None
    region: str | None = None
    extent: Literal["within", "beyond"] | None = None
    sector: str | None = None
    classification: str | None = None
    identifier: str | None = None
    stage: str | None = None
    kind: str | None = None
    commitment: str | None = None
    currency: str | None = None
    amount_min: Decimal | None = None
    amount_max: Decimal | None = None
    metric: str | None = None
    metric_basis: str | None = None
    metric_min: Decimal | None = None
    metric_max: Decimal | None = None
    metric_unit: str | None = None
    incentive: str | None = None
    setback: str | None = None
    search: Search | None = None
    updated_since: datetime | None = None

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
        given = {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("search", "metric")}
        return {**given, "organizations": list(self.organizations)}

    def kept_as(self, *asked: Any) -> tuple[Any, ...] | None:
        """What a question about the selection is kept as (`kept.py`); None: what is searched for has no other point."""
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
        own = []
        if self.kind is not None:
            own.append("d.kind = $kind")
        for name, column in (
            ("sector", "sectors"),
            ("classification", "classifications"),
            ("identifier", "identifiers"),
        ):
            if getattr(self, name) is not None:
                own.append(f"list_contains(d.{column}, ${name})")
        return own

    def _of_other_tables(self, point: Point) -> list[str]:
        """Conditions on other facts of the deal."""
        found = [*self._of_parties(point), *self._of_sites(point), *self._of_metrics(point)]
        if self.incentive is not None:
            found.append(
                f"d.deal IN (SELECT i.deal FROM incentive_facts AS i WHERE {point.at('i')} AND i.status <> 'ended'"
                " AND i.kind = $incentive)"
            )
        if self.setback is not None:
            found.append(
                f"d.deal IN (SELECT s.deal FROM setback_facts AS s WHERE {point.at('s')} AND s.resolved_on IS NULL"
                " AND s.kind = $setback)"
            )
        if self.stage is not None:
            found.append(f"d.deal IN (SELECT s.deal FROM stage_facts AS s WHERE {point.at('s')} AND s.stage = $stage)")
        if self.commitment is not None:
            found.append(self._standing_pledge(point, "p.commitment = $commitment"))
        if self.currency is not None:
            amount = "p.currency = $currency"
            if self.amount_min is not None:
                amount += " AND coalesce(p.high, p.value, p.low) >= $amount_min"
            if self.amount_max is not None:
                amount += " AND coalesce(p.low, p.value, p.high) <= $amount_max"
            found.append(self._standing_pledge(point, amount))
        if self.search is not None:
            found.append(f"d.deal IN (SELECT id FROM {point.found_deals})")
        if self.updated_since is not None:
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
                ("p.role = $role", self.role is not None),
                ("p.share >= $share_min", self.share_min is not None),
                ("p.share <= $share_max", self.share_max is not None),
            )
            if is_given
        ]
        if not party:
            return []
        conditions = " AND ".join([point.at("p"), "p.left_on IS NULL", *party])
        return [f"d.deal IN (SELECT p.deal FROM party_facts AS p WHERE {conditions})"]

    def _of_metrics(self, point: Point) -> list[str]:
        """Conditions on one figure of a quantity."""
        if self.metric is None:
            return []
        conditions = ["f.status <> 'dropped'"]
        if self.metric_basis is not None:
            conditions.append("f.nature = $metric_basis")
        if self.metric_min is not None:
            conditions.append("f.value >= $metric_min")
        if self.metric_max is not None:
            conditions.append("f.value <= $metric_max")
        if self.metric_unit is not None:
            conditions.append("f.currency = $metric_unit")
        source = figures(self.metric, point)
        return [f"d.deal IN (SELECT f.deal FROM ({source}) AS f WHERE {' AND '.join(conditions)})"]

    def _of_sites(self, point: Point) -> list[str]:
        """Conditions on the sites of the deal."""
        if self.region is None:
            return []
        sites = f"SELECT s.deal FROM site_facts AS s WHERE {point.at('s')} AND s.status <> 'dropped'"
        found = [f"d.deal IN ({sites} AND (s.place = $region OR left(s.place, 2) = $region))"]
        if self.extent is not None:
            elsewhere = f"{sites} AND (s.place IS NULL OR s.place <> $region AND left(s.place, 2) <> $region)"
            found.append(f"d.deal {'NOT ' if self.extent == 'within' else ''}IN ({elsewhere})")
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


def run(cursor: DuckDBPyConnection, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement, which is given those of the parameters that it names."""
    named = {name: value for name, value in parameters.items() if f"${name}" in statement}
    cursor.execute(statement, named)
    rows: list[tuple[Any, ...]] = []
    while more := cursor.fetchmany(ROWS_PER_READ):
        rows += more
    return rows
