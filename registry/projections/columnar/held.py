"""The facts of some deals in memory: of those that ever had a relation, and of those that changed lately.

Totals examine the deals with relations one by one, and carry sums forward by the deals that changed (`kept.py`). Both
ask for the facts of few deals, and would scan whole tables for them. The tables in memory have the names of the copy's
tables, in a schema of their own: a question is put to them by `asking_held`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.merges import survivor
from registry.infra.own_work import WaitingLock
from registry.projections.columnar.selection import Point, run
from registry.projections.columnar.tables import EVENTS, TEXTS
from registry.projections.facts import FACT_TABLES

TABLES = (*(table.name for table in FACT_TABLES), EVENTS)
"""Of the texts of events (`TEXTS`), only those of the deals that changed are held."""

MAX_CHANGED = 500
"""The most deals that are held because they changed."""

SELECT_STATE = "SELECT position, reset FROM copied"

SELECT_RELATED = "SELECT deal, other_deal FROM relation_facts WHERE changed_at > $position"

# One statement, because each takes DuckDB a millisecond before it begins.
SELECT_CHANGED = " UNION ALL ".join(
    f"SELECT DISTINCT '{table}', deal FROM {table} WHERE {'position' if table == EVENTS else 'changed_at'} > $position"
    for table in TABLES
)

CREATE_TABLE = "CREATE OR REPLACE TABLE kept.held.{table} AS SELECT * FROM {table} LIMIT 0"

DELETE_FACTS = "DELETE FROM kept.held.{table} WHERE list_contains($deals, deal)"

INSERT_FACTS = "INSERT INTO kept.held.{table} SELECT * FROM main.{table} WHERE deal IN (SELECT unnest($deals))"


class HeldState(Struct, frozen=True):
    """What is held.

    Attributes:
        position: Up to which position of the log.
        reset: After which reset of facts (`fact_resets`).
        since: After which position all deals that changed are held.
        related: The deals that ever had a relation, in the order of slugs.
        related_at: A position since which the facts of these deals are the same.
        deals: All deals that are held.
        changed: Those of them that changed after `since`: the texts of their events are held as well.
    """

    position: int
    reset: int
    since: int
    related: tuple[str, ...]
    related_at: int
    deals: frozenset[str]
    changed: frozenset[str]

    def unchanged(self, point: Point) -> Point:
        """The earliest point at which the deals with relations have the facts that they have at a point."""
        if not point.is_present or self.related_at > point.position:
            return point
        return replace(point, known=self.related_at, head=0)


class HeldFacts:
    """The tables in memory of one open copy. They follow the copy: only the deals that changed are read again."""

    def __init__(self) -> None:
        self._lock = WaitingLock()
        self._state: HeldState | None = None

    def follow(self, connection: DuckDBPyConnection) -> None:
        """Bring the tables to where the copy is, if questions use them: the next one then finds it done."""
        if self._state is not None:
            with connection.cursor() as cursor:
                self.prepare(cursor)

    def prepare(self, cursor: DuckDBPyConnection, merged: Mapping[str, str] = {}) -> HeldState:
        """Bring the tables to the state that the question's transaction sees, or beyond.

        Args:
            cursor: The copy; its transaction has not read the tables in memory yet.
            merged: What each merged deal was merged into: a relation to it is one to that deal.
        """
        ((position, reset),) = run(cursor, SELECT_STATE, {})
        old = self._state
        if (
            old is not None
            and old.reset == reset
            and old.position >= position
            and old.deals.issuperset(merged.values())
        ):
            return old
        with self._lock, cursor.cursor() as own:
            own.execute("BEGIN")
            ((position, reset),) = run(own, SELECT_STATE, {})
            old = self._state
            if old is None or old.reset != reset:
                related = tuple(sorted(_related_since(own, -1, merged)))
                old = HeldState(position, reset, position, related, position, frozenset(), frozenset())
                run(own, "CREATE SCHEMA IF NOT EXISTS kept.held", {})
                run(own, "CREATE OR REPLACE TABLE kept.held.deals (deal VARCHAR)", {})
                for table in (*TABLES, TEXTS):
                    run(own, CREATE_TABLE.format(table=table), {})
            state = self._followed(own, old, position, merged)
            own.execute("COMMIT")
            self._state = state
            return state

    def _followed(self, own: DuckDBPyConnection, old: HeldState, position: int, merged: Mapping[str, str]) -> HeldState:
        related = {*old.related, *merged.values(), *_related_since(own, old.position, merged)}
        changed_in: dict[str, set[str]] = {table: set() for table in TABLES}
        for table, deal in run(own, SELECT_CHANGED, {"position": old.position}):
            changed_in[table].add(deal)
        changed = changed_in[EVENTS]
        since, deals, all_changed = old.since, old.deals, old.changed | changed
        if len((deals | changed) - related) > MAX_CHANGED:
            # Too many to hold: hold those that change from now on.
            _forget(own, (*TABLES, "deals"), deals - related)
            since, deals, changed = position, deals & related, changed & related
            _forget(own, (TEXTS,), old.changed)
            all_changed = frozenset()
        else:
            _forget(own, (TEXTS,), changed & old.changed)
            _read(own, TEXTS, changed)
        # A held deal is read again only in the tables that its events wrote: 21 ms of processor time for an event with
        # 51,000 deals, where reading it in all tables takes 69.
        for table in TABLES:
            again = changed_in[table] & changed & deals
            _forget(own, (table,), again)
            _read(own, table, again | (related | changed) - deals)
        if added := (related | changed) - deals:
            run(own, "INSERT INTO kept.held.deals SELECT unnest($deals)", {"deals": sorted(added)})
        is_same = related == set(old.related) and related.isdisjoint(changed)
        return HeldState(
            position,
            old.reset,
            since,
            old.related if is_same else tuple(sorted(related)),
            old.related_at if is_same else position,
            deals | related | changed,
            all_changed,
        )


def _related_since(own: DuckDBPyConnection, position: int, merged: Mapping[str, str]) -> set[str]:
    """The deals of the relations that were written after a position."""
    pairs = run(own, SELECT_RELATED, {"position": position})
    return {one for deal, other in pairs for one in (deal, other, survivor(other, merged))}


def _forget(own: DuckDBPyConnection, tables: Sequence[str], deals: Collection[str]) -> None:
    """Forget the facts of some deals in some tables."""
    for table in tables if deals else ():
        run(own, DELETE_FACTS.format(table=table), {"deals": sorted(deals)})


def _read(own: DuckDBPyConnection, table: str, deals: Collection[str]) -> None:
    """Read the facts of some deals in a table."""
    if deals:
        run(own, INSERT_FACTS.format(table=table), {"deals": sorted(deals)})


@contextmanager
def asking_held(cursor: DuckDBPyConnection) -> Iterator[None]:
    """Put questions to the tables in memory for a while: their names are looked up there first."""
    cursor.execute("SET search_path = 'kept.held,main'")
    try:
        yield
    finally:
        cursor.execute("RESET search_path")
