"""The facts of some deals in memory: of those that ever had a relation, and of those that changed lately.

Totals examine the deals with relations one by one, and carry sums forward by the deals that changed
(`question_cache.py`). Both ask for the facts of few deals, and would scan whole tables for them. The tables in memory
have the names of the copy's tables, in a schema of their own: `asking_memory` lets statements read them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.merges import survivor
from registry.infra.work_time import WaitingLock
from registry.projections.columnar.selection import run
from registry.projections.columnar.tables import EVENTS, TEXTS
from registry.projections.facts import FACT_TABLES
from registry.projections.point import Point

TABLES = (*(table.name for table in FACT_TABLES), EVENTS)
"""The tables in memory. The texts of events (`TEXTS`) are there only for the deals that changed."""

MAX_CHANGED = 500
"""The most deals that are in memory because they changed."""

SELECT_STATE = "SELECT position, reset FROM copied"

SELECT_RELATED = "SELECT deal, other_deal FROM relation_facts WHERE changed_at > $position"

MAX_WRITTEN = 2_000
"""The most rows that are known as written. Of more, only the deals are looked at."""

# What a search looks at in the rows of a table: a text, organizations, a place and a source.
_SEARCHED = {
    "deal_facts": "text, NULL, NULL, NULL",
    "party_facts": "text, [organization], NULL, NULL",
    "site_facts": "text, NULL, place, NULL",
    "pledge_facts": "NULL, organizations, NULL, NULL",
    TEXTS: "text, CASE WHEN participant IS NOT NULL THEN [participant] END, NULL, source",
}
_NOTHING = "NULL, NULL, NULL, NULL"


def written_columns(table: str) -> str:
    """The values of a `WrittenRow` in a row of a table."""
    return f"'{table}', deal, changed_at, {_SEARCHED.get(table, _NOTHING)}"


def _position_of(table: str) -> str:
    """The column of a table that says which event wrote a row."""
    return "position" if table == EVENTS else "changed_at"


_WRITTEN = "SELECT DISTINCT '{table}', deal, {position}, {searched} FROM {table} WHERE {position} > $position"

# The deals that changed in a table, each with the last event that wrote one of its rows.
_CHANGED = "SELECT '{table}', deal, max({position}) FROM {table} WHERE {position} > $position{among} GROUP BY deal"
_IN_MEMORY = " AND deal IN (SELECT deal FROM cache.memory.deals)"


def select_written(tables: Collection[str]) -> str:
    """The statement for the rows that were written in some tables after a position, as values of `WrittenRow`.

    One statement, because each takes DuckDB a millisecond before it begins.
    """
    return " UNION ALL ".join(
        _WRITTEN.format(table=table, position=_position_of(table), searched=_SEARCHED.get(table, _NOTHING))
        for table in tables
    )


def select_changed(tables: Collection[str]) -> str:
    """The statement for the deals that changed after a position.

    In all tables but that of events only for deals that are in memory: of the others, all facts are read or none.
    """
    return " UNION ALL ".join(
        _CHANGED.format(table=table, position=_position_of(table), among="" if table == EVENTS else _IN_MEMORY)
        for table in tables
    )


CREATE_TABLE = "CREATE OR REPLACE TABLE cache.memory.{table} AS SELECT * FROM {table} LIMIT 0"

DELETE_FACTS = "DELETE FROM cache.memory.{table} WHERE list_contains($deals, deal)"

INSERT_FACTS = "INSERT INTO cache.memory.{table} SELECT * FROM main.{table} WHERE deal IN (SELECT unnest($deals))"
# Most events are alone: this takes 2 ms of processor time for pledges, where the join takes 3.5.
INSERT_FACTS_OF_ONE = "INSERT INTO cache.memory.{table} SELECT * FROM main.{table} WHERE deal = $deal"
# For deals without earlier rows. Those that were written last are in the last blocks of the file.
INSERT_FACTS_OF_NEW = INSERT_FACTS + " AND {position} > $position"


class WrittenRow(Struct, frozen=True):
    """What a search looks at in a row that was written: one that an event opened, closed or replaced.

    Attributes:
        table: Its table.
        deal: Its deal; None for a text of an event of another stream.
        position: The event that wrote it.
        text: Its text.
        organizations: The organizations that it names by their slugs.
        place: Its place.
        source: Its source.
    """

    table: str
    deal: str | None
    position: int
    text: str | None = None
    organizations: Sequence[str] | None = None
    place: str | None = None
    source: str | None = None

    @property
    def texts(self) -> Sequence[str]:
        """Its text, and the slugs of its organizations."""
        return [*(self.organizations or ()), *([self.text] if self.text is not None else [])]


class Written(Struct, frozen=True):
    """What was written after a position, up to another one.

    Attributes:
        since: The position after which.
        until: The position up to which.
        rows: The rows; None if they came as files.
        count: How many they are.
        tables: Their tables.
        new: The deals that have no earlier events.
    """

    since: int
    until: int
    rows: Sequence[tuple[Any, ...]] | None
    count: int
    tables: frozenset[str]
    new: frozenset[str]


class MemoryState(Struct, frozen=True):
    """What the tables in memory have.

    Attributes:
        position: Up to which position of the log.
        reset: After which reset of facts (`fact_resets`).
        since: After which position all deals that changed are in memory.
        related: The deals that ever had a relation, in the order of slugs.
        related_at: A position since which the facts of these deals are the same.
        deals: All deals that are in memory.
        changed: Those of them that changed after `since`, with the last event: the texts of their events are in
            memory as well.
        written: The rows that were written after `written_since`.
        written_since: A position.
    """

    position: int
    reset: int
    since: int
    related: tuple[str, ...]
    related_at: int
    deals: frozenset[str]
    changed: Mapping[str, int]
    written: tuple[WrittenRow, ...]
    written_since: int

    def changed_after(self, position: int) -> list[str]:
        """The deals that changed after a position, which is not before `since`."""
        return [deal for deal, last in self.changed.items() if last > position]

    def written_after(self, position: int) -> Sequence[WrittenRow] | None:
        """The rows that were written after a position; None if they are not known."""
        if position < self.written_since:
            return None
        return [row for row in self.written if row.position > position]

    def changed_in(self, statement: str, position: int) -> list[str]:
        """The deals that changed in a table that a statement names, after a position that is not before `since`."""
        written = self.written_after(position)
        if written is None:
            return self.changed_after(position)
        found = {row.deal for row in written if row.table in statement}
        return [deal for deal in self.changed if deal in found]

    def unchanged(self, point: Point) -> Point:
        """The earliest point at which the deals with relations have the facts that they have at a point."""
        if not point.is_present or self.related_at > point.position:
            return point
        return replace(point, known=self.related_at, head=0)


class MemoryTables:
    """The tables in memory of one open copy. They follow the copy: only the deals that changed are read again."""

    def __init__(self) -> None:
        self._lock = WaitingLock()
        self._state: MemoryState | None = None

    @property
    def state(self) -> MemoryState | None:
        """What the tables have; None before the first question that reads them."""
        return self._state

    def follow(self, connection: DuckDBPyConnection, written: Written) -> None:
        """Bring the tables to where the copy is, if questions use them, before questions ask for that position.

        Args:
            connection: The copy.
            written: What was written to it last.
        """
        with self._lock:
            if self._state is not None:
                self._bring(connection, {}, written)

    def prepare(self, cursor: DuckDBPyConnection, merged: Mapping[str, str] = {}) -> MemoryState:
        """Return what the tables have: they are at the position of the question, or beyond.

        Args:
            cursor: The copy; its transaction has not read the tables in memory yet.
            merged: What each merged deal was merged into: a relation to it is one to that deal.
        """
        if (state := self._state) is not None and state.deals.issuperset(merged.values()):
            return state
        with self._lock:
            return self._bring(cursor, merged)

    def _bring(
        self, connection: DuckDBPyConnection, merged: Mapping[str, str], last: Written | None = None
    ) -> MemoryState:
        """Bring the tables to where the copy is."""
        with connection.cursor() as own:
            own.execute("BEGIN")
            ((position, reset),) = run(own, SELECT_STATE, {})
            old = self._state
            if old is None or old.reset != reset:
                related = tuple(sorted(_related_since(own, -1, merged)))
                old = MemoryState(position, reset, position, related, position, frozenset(), {}, (), position)
                run(own, "CREATE SCHEMA IF NOT EXISTS cache.memory", {})
                run(own, "CREATE OR REPLACE TABLE cache.memory.deals (deal VARCHAR)", {})
                for table in (*TABLES, TEXTS):
                    run(own, CREATE_TABLE.format(table=table), {})
            is_last = last is not None and (last.since, last.until) == (old.position, position)
            state = self._followed(own, old, position, merged, last if is_last else None)
            own.execute("COMMIT")
            self._state = state
            return state

    def _followed(
        self,
        own: DuckDBPyConnection,
        old: MemoryState,
        position: int,
        merged: Mapping[str, str],
        last: Written | None,
    ) -> MemoryState:
        changes = _changes_since(own, old.position, position, last)
        related = {*old.related, *merged.values()}
        if position != old.position and (last is None or "relation_facts" in last.tables):
            related |= _related_since(own, old.position, merged)
        is_same = related == set(old.related) and related.isdisjoint(changes.events)
        since, deals, changed = _read_changes(own, old, position, changes, related, last)
        written = (*old.written, *changes.rows) if changes.rows is not None else ()
        is_written_known = changes.rows is not None and len(written) <= MAX_WRITTEN
        return MemoryState(
            position,
            old.reset,
            since,
            old.related if is_same else tuple(sorted(related)),
            old.related_at if is_same else position,
            deals,
            changed,
            written if is_written_known else (),
            old.written_since if is_written_known else position,
        )


class _Changes(Struct):
    """What was written between two positions.

    Attributes:
        rows: The rows; None if they are too many.
        deals: By table, the deals with a row.
        events: By deal, the position of its last event.
    """

    rows: list[WrittenRow] | None
    deals: dict[str, set[str]]
    events: dict[str, int]


def _changes_since(own: DuckDBPyConnection, since: int, until: int, last: Written | None) -> _Changes:
    # An event writes at least its own row.
    is_known = (last.count if last is not None else until - since) <= MAX_WRITTEN
    changes = _Changes([] if is_known else None, {table: set() for table in (*TABLES, TEXTS)}, {})
    for row in _written_since(own, since, until, last, is_known=is_known):
        table, deal, at = row[:3]
        if deal is not None:
            changes.deals[table].add(deal)
        if table == EVENTS:
            changes.events[deal] = max(at, changes.events.get(deal, 0))
        if changes.rows is not None:
            changes.rows.append(WrittenRow(*row))
    return changes


def _read_changes(
    own: DuckDBPyConnection,
    old: MemoryState,
    position: int,
    changes: _Changes,
    related: set[str],
    last: Written | None,
) -> tuple[int, frozenset[str], dict[str, int]]:
    """Read the changed deals into memory. Returns since when they are held, which are held, and which changed."""
    since, held, new, changed = old.since, old.deals, set(changes.events), {**old.changed, **changes.events}
    if len((held | new) - related) > MAX_CHANGED:
        # Too many to hold: hold those that change from now on.
        _forget(own, (*TABLES, "deals"), held - related)
        since, held, new, changed = position, held & related, new & related, {}
        _forget(own, (TEXTS,), old.changed)
    else:
        with_texts = changes.deals[TEXTS] & new
        _forget(own, (TEXTS,), with_texts & old.changed.keys())
        _read(own, TEXTS, (new - old.changed.keys()) | with_texts, last)
    # A deal in memory is read again only in the tables that its events wrote: 21 ms of processor time for an event
    # with 51,000 deals, where reading it in all tables takes 69.
    for table in TABLES:
        again = changes.deals[table] & new & held
        _forget(own, (table,), again)
        _read(own, table, again | (related | new) - held, last)
    if added := (related | new) - held:
        run(own, "INSERT INTO cache.memory.deals SELECT unnest($deals)", {"deals": sorted(added)})
    return since, held | related | new, changed


def _written_since(
    own: DuckDBPyConnection, since: int, until: int, last: Written | None, *, is_known: bool
) -> Sequence[tuple[Any, ...]]:
    """The rows that were written after a position, up to that of the copy, or the deals that changed."""
    if since == until:
        return ()
    if last is not None and last.rows is not None:
        return last.rows
    tables = [table for table in (*TABLES, TEXTS) if last is None or table in last.tables]
    if not tables:
        return ()
    return run(own, (select_written if is_known else select_changed)(tables), {"position": since})


def _related_since(own: DuckDBPyConnection, position: int, merged: Mapping[str, str]) -> set[str]:
    """The deals of the relations that were written after a position."""
    pairs = run(own, SELECT_RELATED, {"position": position})
    return {one for deal, other in pairs for one in (deal, other, survivor(other, merged))}


def _forget(own: DuckDBPyConnection, tables: Sequence[str], deals: Collection[str]) -> None:
    """Forget the facts of some deals in some tables."""
    for table in tables if deals else ():
        run(own, DELETE_FACTS.format(table=table), {"deals": sorted(deals)})


def _read(own: DuckDBPyConnection, table: str, deals: Collection[str], last: Written | None) -> None:
    """Read the facts of some deals in a table, given what was written last if the tables have all that came before."""
    new = last.new.intersection(deals) if last is not None else frozenset[str]()
    if last is not None and len(new) > 1:
        if table in last.tables:
            given = {"deals": sorted(new), "position": last.since}
            run(own, INSERT_FACTS_OF_NEW.format(table=table, position=_position_of(table)), given)
        deals = set(deals) - new
    if deals:
        ordered = sorted(deals)
        statement = INSERT_FACTS_OF_ONE if len(ordered) == 1 else INSERT_FACTS
        run(own, statement.format(table=table), {"deals": ordered, "deal": ordered[0]})


@contextmanager
def asking_memory(cursor: DuckDBPyConnection) -> Iterator[None]:
    """Put questions to the tables in memory for a while: their names are looked up there first."""
    cursor.execute("SET search_path = 'cache.memory,main'")
    try:
        yield
    finally:
        cursor.execute("RESET search_path")
