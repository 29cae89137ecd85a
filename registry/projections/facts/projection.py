"""The projection of the fact tables: the statements that write the rows of `rows.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any

from registry.domain.deal import Deal
from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.events.write_batch import WriteBatch
from registry.projections.facts.changes import change_facts
from registry.projections.facts.rows import ChangedFact, DealRows, FactRow, Round, RowChange
from registry.projections.facts.tables import FACT_TABLES, FactTable
from registry.projections.projection import AppliedChange, BatchProjector

# A change finds one row, by the table's key: LIMIT makes Postgres look each one up, whatever its statistics say.
CHANGE = """
changed_{table} AS (
    UPDATE {table} AS t
       SET recorded_to = coalesce(c.recorded_to, t.recorded_to),
           published_from = coalesce(c.published_from, t.published_from),
           published_to = greatest(coalesce(c.published_from, t.published_from),
                                   coalesce(c.published_to, t.published_to)),
           changed_at = c.changed_at
      FROM (
            SELECT f.ctid, max(c.changed_at) AS changed_at, max(c.recorded_to) AS recorded_to,
                   max(c.published_from) AS published_from, max(c.published_to) AS published_to
              FROM unnest($1::fact_change[]) AS c
                   CROSS JOIN LATERAL (
                       SELECT ctid
                         FROM {table}
                        WHERE deal = c.deal{ids} AND effective_from = c.effective_from
                          AND CASE WHEN c.known IS NULL THEN recorded_to = 4611686018427387904
                                   ELSE published_from <= c.known AND published_to > c.known END
                        LIMIT 1
                   ) AS f
             GROUP BY f.ctid
           ) AS c
     WHERE t.ctid = c.ctid
)
"""

INSERT = """
opened_{table} AS (
    INSERT INTO {table} ({columns})
    SELECT {values}
      FROM unnest($1::{type}[])
)
"""

DELETE = "DELETE FROM {table} WHERE deal = ANY ($1::text[])"

RESET = "INSERT INTO fact_resets (deal) SELECT unnest($1::text[])"

_ROW_COLUMNS = (
    "deal",
    "effective_from",
    "effective_to",
    "recorded_from",
    "recorded_to",
    "ordinal",
    "published_from",
    "published_to",
    "changed_at",
)


class DealFacts:
    """The projection of deals: each fact of a deal at every point in time."""

    name = "deal_facts"
    tables = tuple(table.name for table in FACT_TABLES)

    def start_batch(self) -> BatchProjector:
        """Start the changes of one batch."""
        return _FactBatch()

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Delete the rows of these deals before anything else is written."""
        _delete(writes, [stream.slug for stream in streams if stream.rules is DEALS])

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Insert all rows of these deals: those that their events leave when they are applied one by one."""
        _write(writes, [replay(stream) for stream in streams if stream.rules is DEALS])


class _FactBatch:
    """What the events of a batch change in the facts of their deals. A deal with a redaction is written again."""

    def __init__(self) -> None:
        self._deals: dict[str, DealRows] = {}
        self._rewritten: dict[str, FoldedStream[Deal]] = {}

    def apply(self, change: AppliedChange) -> None:
        """Add an event."""
        if change.recorded.kind != "deal":
            return
        deal = change.recorded.slug
        if change.erased or deal in self._rewritten:
            self._deals.pop(deal, None)
            self._rewritten[deal] = change.after
        else:
            apply_change(self._deals.setdefault(deal, DealRows(deal)), change)

    def write(self, writes: WriteBatch) -> None:
        """Add the changes to what the transaction writes."""
        if self._rewritten:
            _delete(writes, list(self._rewritten))
            writes.add_prerequisite(RESET, list(self._rewritten))
        _write(writes, [*self._deals.values(), *map(replay, self._rewritten.values())])


def replay(stream: FoldedStream[Deal]) -> DealRows:
    """The rows that the events of a deal leave."""
    rows = DealRows(stream.slug)
    before: FoldedStream[Deal] = FoldedStream(stream.slug, DEALS)
    for recorded in stream.events:
        after = before.copy()
        after.append(recorded)
        apply_change(rows, AppliedChange(recorded, before, after))
        before = after
    return rows


def apply_change(rows: DealRows, change: AppliedChange) -> None:
    """Add what an event changes in each fact of its deal."""
    recorded = change.recorded
    for key, of_fact in change_facts(change.before, change.after, recorded).items():
        rows.apply(key, recorded.position, of_fact)


# --- statements -------------------------------------------------------------------------------------------------------


def _delete(writes: WriteBatch, deals: list[str]) -> None:
    for table in FACT_TABLES:
        writes.add_prerequisite(DELETE.format(table=table.name), deals)


def _write(writes: WriteBatch, deals: Sequence[DealRows]) -> None:
    """Add the changes of some deals to what the transaction writes: the last round of each deal in its statement."""
    rounds = max((len(deal.rounds) for deal in deals), default=0)
    for number in range(-rounds, 0):
        add = writes.add if number == -1 else partial(_add_before, writes)
        _add_round(add, [(deal.deal, deal.rounds[number]) for deal in deals if len(deal.rounds) >= -number])


def _add_round(add: Callable[..., None], deals: Sequence[tuple[str, Round]]) -> None:
    """Add one round of deals. All changes are before all rows, because a change must not find them.

    The changes of a deal are in one statement, because each finds its row as it was before the statement.
    """
    changes: dict[FactTable, list[tuple[str, list[RowChange]]]] = {}
    opened: dict[FactTable, list[tuple[str, list[ChangedFact]]]] = {}
    for deal, one in deals:
        for table, of_table in one.changes.items():
            changes.setdefault(table, []).append((deal, of_table))
        for table, facts in one.tables.items():
            opened.setdefault(table, []).append((deal, facts))
    for table in FACT_TABLES:
        if table in changes:
            add(_change_statement(table), rows=_encode_changes(changes[table]), grouped=True)
    for table in FACT_TABLES:
        if table in opened:
            add(_insert_statement(table), rows=_encode_rows(opened[table]))


def _add_before(writes: WriteBatch, part: str, *, rows: Iterable[Any], grouped: bool = False) -> None:
    writes.add_prerequisite(f"WITH {part} SELECT 1", rows=rows, grouped=grouped)


def _encode_changes(changes: Iterable[tuple[str, Iterable[RowChange]]]) -> Iterator[tuple[Any, ...]]:
    for deal, of_deal in changes:
        for change in of_deal:
            yield _encode_change(deal, change)


def _encode_rows(opened: Iterable[tuple[str, list[ChangedFact]]]) -> Iterator[tuple[Any, ...]]:
    for deal, facts in opened:
        # Each fact is freed here: thousands at once hold the event loop.
        facts.reverse()
        while facts:
            for of_day in facts.pop().rows.values():
                for row in of_day:
                    yield _encode_row(deal, row)


def _encode_change(deal: str, change: RowChange) -> tuple[Any, ...]:
    return (
        deal,
        change.ids,
        change.effective_from,
        change.changed_at,
        change.recorded_to,
        change.known,
        change.published_from,
        change.published_to,
    )


def _encode_row(deal: str, row: FactRow) -> tuple[Any, ...]:
    return (
        deal,
        row.effective_from,
        row.effective_to,
        row.recorded_from,
        row.recorded_to,
        row.ordinal,
        row.published_from,
        row.published_to,
        row.changed_at,
        *row.ids,
        *row.values,
    )


@cache
def _change_statement(table: FactTable) -> str:
    ids = "".join(
        f" AND {column.name} = c.ids[{number}]" + (f"::{column.cast}" if column.cast else "")
        for number, column in enumerate(table.ids, 1)
    )
    return CHANGE.format(table=table.name, ids=ids)


@cache
def _insert_statement(table: FactTable) -> str:
    columns = [(name, None) for name in _ROW_COLUMNS] + [(c.name, c.cast) for c in (*table.ids, *table.values)]
    return INSERT.format(
        table=table.name,
        type=table.row_type or f"new_{table.name}",
        columns=", ".join(name for name, _ in columns),
        values=", ".join(f"{name}::{cast}" if cast else name for name, cast in columns),
    )
