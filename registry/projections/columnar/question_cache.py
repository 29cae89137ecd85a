"""The cache of answers about all deals, carried from one position of the log to the next.

Most questions about all deals are sums over deals, or a value for each deal. After an event, only those of the changed
deals differ: their contribution at the earlier position is subtracted, and the one at the new position is added. The
tables know every earlier position, so one statement computes both, on the few deals that are in memory
(`memory_tables.py`). A write then costs a question some milliseconds, where a scan of 100,000 deals takes a hundred.
What a search finds is cached as well: a changed deal is searched again only if a row was written that the search looks
at.

Only questions at the latest position are cached here: no later event changes an answer about the past (`copy.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import count
from threading import Lock
from typing import Any, TypeVar

import msgspec
from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.infra.work_time import WaitingLock
from registry.projections.columnar.memory_tables import MemoryTables, WrittenRow, asking_memory
from registry.projections.columnar.selection import run
from registry.projections.point import Point

T = TypeVar("T")
V = TypeVar("V")

MAX_TABLES = 48
MAX_ROWS = 1_500_000
"""Rows of all tables together: about 60 MB."""
MAX_CARRIED = 10_000
"""A table to which more rows were added than this, and than it had at first, is made again."""
MAX_VALUES = 32
MAX_VALUES_AT = 256

# The events of the deals in memory by each of two positions, as a digest.
_MEMORY_EVENTS = """
SELECT struct_pack(events := count(*) FILTER (position <= $before),
                   digest := bit_xor(hash(deal, position)) FILTER (position <= $before)),
       struct_pack(events := count(*) FILTER (position <= $now),
                   digest := bit_xor(hash(deal, position)) FILTER (position <= $now))
  FROM cache.memory.deal_events
"""

_once = count(1)

Select = Callable[[Point, Sequence[str]], tuple[str, dict[str, Any]]]
"""Makes the statement of a question, and its parameters, for a point and the deals that it leaves out."""


class _Table:
    """A table in memory, and what it holds. Readers and writers hold its lock."""

    def __init__(self, name: str, schema: str = "cache.main") -> None:
        self.name = f"{schema}.{name}"
        # What the deals in memory add at the table's position, and which of their events are in it.
        self.memory_sums = f"{self.name}_memory"
        self.memory_events: Any = None
        self.lock = WaitingLock()
        self.position = -1
        self.reset = -1
        self.left_out: Sequence[str] = ()
        # What was made of it (`QuestionCache.followed`).
        self.value: Any = None
        self.rows = 0
        self.added = 0
        self.is_dropped = False

    @property
    def is_long(self) -> bool:
        """Whether so many rows were added that it is cheaper to make the table again."""
        return self.added > self.rows + MAX_CARRIED


class QuestionCache:
    """What is cached of the questions to one open copy.

    Attributes:
        memory: The facts of some deals.
        rates: For each table of exchange rates and way to choose a day: up to which position and after which reset it
            has the rates of all amounts.
        inexact: The tables that have a rate with too many digits for DuckDB.
        doubts: For each state of the exchange rates: up to which position and after which reset amounts were examined,
            and whether any is doubted.
        places: Up to which position and after which reset the places of sites are known, and these places.
        published: The same of the days on which events were published.
    """

    def __init__(self) -> None:
        self.memory = MemoryTables()
        self.rates: dict[Hashable, tuple[int, int]] = {}
        self.inexact: set[str] = set()
        self.doubts: dict[int, tuple[int, int, bool]] = {}
        self.places: tuple[int, int, frozenset[str]] = (-1, -1, frozenset())
        self.published: tuple[int, int, frozenset[date]] = (-1, -1, frozenset())
        self._lock = Lock()
        self._tables: OrderedDict[bytes, _Table] = OrderedDict()
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._values_at: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()
        self._numbers = count(1)

    def value(self, key: Hashable, make: Callable[[], T]) -> T:
        """A value that is made once; `key` is all that it depends on."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                cached: T = self._values[key]
                return cached
        made = make()
        with self._lock:
            self._values[key] = made
            if len(self._values) > MAX_VALUES:
                self._values.popitem(last=False)
        return made

    def value_at(
        self, key: Hashable, point: Point, make: Callable[[], T], is_same: Callable[[T, Sequence[WrittenRow]], bool]
    ) -> T:
        """A small value at a point, which is made again only if rows were written that it depends on.

        Args:
            key: All that it depends on, beside the rows of the copy.
            point: The point; at another than the latest position of the log, the value is not cached.
            make: Makes the value.
            is_same: Whether it is the same after these rows were written.
        """
        if not point.is_present or (memory := self.memory.state) is None:
            return make()
        key = (key, point.day, memory.reset)
        with self._lock:
            since, found = self._values_at.get(key, (-1, None))
        if since > point.position:
            return make()
        written = memory.written_after(since)
        value: T = make() if written is None or not is_same(found, written) else found
        with self._lock:
            self._values_at[key] = point.position, value
            self._values_at.move_to_end(key)
            if len(self._values_at) > MAX_VALUES_AT:
                self._values_at.popitem(last=False)
        return value

    @contextmanager
    def sums(
        self,
        cursor: DuckDBPyConnection,
        point: Point,
        asked: Any,
        select: Select,
        sums: Sequence[str],
        left_out: Sequence[str] = (),
        decides: str = "",
    ) -> Iterator[str]:
        """The table of the sums of a question; its last columns are the sums, and a row may add nothing.

        The transaction of the cursor ends and another one begins.

        Args:
            cursor: The copy.
            point: The point.
            asked: All that the statement depends on, beside the position and what is left out; None: it is not cached.
            select: Makes the statement. It adds up by deal: its rows are those of one deal, and of the others.
            sums: The columns that are added up; others identify a row.
            left_out: The deals that the statement leaves out.
            decides: Another statement whose tables decide what a deal adds.
        """

        @asking_memory(cursor)
        def carry(table: _Table) -> tuple[int, Any]:
            now, parameters = select(point, left_out)
            memory = self.memory.prepare(cursor)
            if left_out == table.left_out and not memory.changed_in(now + decides, table.position):
                return 0, None
            # What the deals in memory added at the table's position is known, unless more deals of that time are in
            # memory now.
            positions = {"before": table.position, "now": point.position}
            ((memory_before, memory_now),) = run(cursor, _MEMORY_EVENTS, positions)
            if table.memory_events != memory_before:
                before, parameters_before = select(replace(point, known=table.position), table.left_out)
                run(cursor, f"CREATE OR REPLACE TABLE {table.memory_sums} AS {before}", parameters_before)
            run(cursor, f"CREATE OR REPLACE TEMP TABLE memory_now AS {now}", parameters)
            negated = ", ".join(f"-{name} AS {name}" for name in sums)
            added = ", ".join(f"sum({name}) AS {name}" for name in sums)
            changed = " OR ".join(f"sum({name}) <> 0" for name in sums)
            ((rows,),) = run(
                cursor,
                f"INSERT INTO {table.name} SELECT * EXCLUDE ({', '.join(sums)}), {added}"
                f" FROM (SELECT * REPLACE ({negated}) FROM {table.memory_sums} UNION ALL FROM memory_now)"
                f" GROUP BY ALL HAVING {changed}",
                {},
            )
            run(cursor, f"CREATE OR REPLACE TABLE {table.memory_sums} AS FROM memory_now", {})
            return rows, memory_now

        with self._at(cursor, point, asked, select, left_out, carry) as table:
            yield table.name

    @contextmanager
    def followed(
        self,
        cursor: DuckDBPyConnection,
        point: Point,
        asked: Any,
        select: Select,
        make: Callable[[str], V],
        follow: Callable[[V, int], None],
    ) -> Iterator[V]:
        """A value that is made of a table once, and then follows the log by itself. Otherwise as `sums`.

        Args:
            cursor: The copy.
            point: The point.
            asked: All that the value depends on, beside the position; None: it is not cached.
            select: Makes the statement of the table.
            make: Makes the value of the table.
            follow: Brings the value from a position to the point, by the facts in memory.
        """

        @asking_memory(cursor)
        def carry(table: _Table) -> tuple[int, Any]:
            follow(table.value, table.position)
            return 0, None

        with self._at(cursor, point, asked, select, (), carry, make) as table:
            yield table.value

    @contextmanager
    def values(self, cursor: DuckDBPyConnection, point: Point, asked: Any, select: Select) -> Iterator[str]:
        """The table of the values of deals; its column `deal` says whose they are. Otherwise as `sums`."""

        def carry(table: _Table) -> tuple[int, Any]:
            now, parameters = select(point, ())
            deals = self.memory.prepare(cursor).changed_in(now, table.position)
            if not deals:
                return 0, None
            parameters = {**parameters, "changed": deals}
            with asking_memory(cursor):
                ((deleted,),) = run(cursor, f"DELETE FROM {table.name} WHERE list_contains($changed, deal)", parameters)
                ((inserted,),) = run(
                    cursor, f"INSERT INTO {table.name} FROM ({now}) WHERE list_contains($changed, deal)", parameters
                )
            return inserted - deleted, None

        with self._at(cursor, point, asked, select, (), carry) as table:
            yield table.name

    @contextmanager
    def matches(
        self,
        cursor: DuckDBPyConnection,
        point: Point,
        asked: Any,
        find: Callable[[Sequence[str] | None], str],
        changed: Callable[[int], Sequence[str]],
    ) -> Iterator[tuple[str, int]]:
        """The table of the deals that a search finds, with their `score`, and their number.

        Args:
            cursor: The copy; its transaction ends and another one begins.
            point: The latest position of the log.
            asked: All that decides whether a deal matches, beside the deal's own facts and texts.
            find: Makes the query of what is found: of all deals, or of some.
            changed: The deals that are to be searched again because of what was written after a position.
        """

        def carry(table: _Table) -> tuple[int, Any]:
            deals = changed(table.position)
            if not deals:
                return 0, None
            now = find(deals)
            ((deleted,),) = run(
                cursor, f"DELETE FROM {table.name} WHERE list_contains($deals, deal)", {"deals": list(deals)}
            )
            ((inserted,),) = run(cursor, f"INSERT INTO {table.name} {now}", {})
            return inserted - deleted, None

        def select(_: Point, __: Sequence[str]) -> tuple[str, dict[str, Any]]:
            return find(None), {}

        with self._at(cursor, point, asked, select, (), carry) as table:
            yield table.name, table.rows + table.added

    @contextmanager
    def _at(
        self,
        cursor: DuckDBPyConnection,
        point: Point,
        asked: Any,
        select: Select,
        left_out: Sequence[str],
        carry: Callable[[_Table], tuple[int, Any]],
        make: Callable[[str], Any] = str,
    ) -> Iterator[_Table]:
        """The table at a point: as it is cached, or carried forward from an earlier position, or made.

        `carry` returns how many rows it added, and which events of the deals in memory are in the table.
        """
        if asked is None or not point.is_present:
            yield _made_once(cursor, point, select, left_out, make)
            return
        key = msgspec.msgpack.encode((asked, point.day))
        with self._locked(key) as table:
            memory = self.memory.prepare(cursor)
            # Another transaction: this one does not see what others have put into memory since it began.
            cursor.execute("COMMIT")
            cursor.execute("BEGIN")
            is_valid = table.reset == memory.reset
            if is_valid and table.position > point.position:
                yield _made_once(cursor, point, select, left_out, make)
                return
            memory_events, added = table.memory_events, 0
            if is_valid and memory.since <= table.position < point.position and not table.is_long:
                added, memory_events = carry(table)
            elif not is_valid or table.position != point.position:
                statement, parameters = select(point, left_out)
                ((table.rows,),) = run(cursor, f"CREATE OR REPLACE TABLE {table.name} AS {statement}", parameters)
                table.added, memory_events, table.value = 0, None, make(table.name)
            cursor.execute("COMMIT")
            table.position, table.reset, table.left_out = point.position, memory.reset, left_out
            table.memory_events = memory_events
            table.added += added
            cursor.execute("BEGIN")
            yield table
        self._drop_some(cursor)

    @contextmanager
    def _locked(self, key: bytes) -> Iterator[_Table]:
        """The table of a question, while no other question reads or changes it."""
        while True:
            with self._lock:
                table = self._tables.get(key)
                if table is None:
                    table = self._tables[key] = _Table(f"asked_{next(self._numbers)}")
                self._tables.move_to_end(key)
            with table.lock:
                if not table.is_dropped:
                    yield table
                    return

    def _drop_some(self, cursor: DuckDBPyConnection) -> None:
        """Drop the tables that were asked for longest ago, while there are too many."""
        with self._lock:
            for key, table in list(self._tables.items()):
                rows = sum(one.rows + one.added for one in self._tables.values())
                if rows <= MAX_ROWS and len(self._tables) <= MAX_TABLES:
                    return
                if table.lock.take():
                    with cursor.cursor() as own:
                        run(own, f"DROP TABLE IF EXISTS {table.name}", {})
                        run(own, f"DROP TABLE IF EXISTS {table.memory_sums}", {})
                    table.is_dropped = True
                    table.lock.release()
                    del self._tables[key]


def _made_once(
    cursor: DuckDBPyConnection, point: Point, select: Select, left_out: Sequence[str], make: Callable[[str], Any]
) -> _Table:
    """The table of a question that is not cached, for this cursor alone."""
    statement, parameters = select(point, left_out)
    # A question may ask for several.
    table = _Table(f"asked_once_{next(_once)}", "temp.main")
    ((table.rows,),) = run(cursor, f"CREATE TEMP TABLE {table.name} AS {statement}", parameters)
    table.value = make(table.name)
    return table
