"""Texts of events that search looks at and that are no facts of a deal: sources, and organizations.

A row is a text of one event, as it reads after corrections: in effect from the event's day, published from its
publication date, and known from the position that gave the event the text until the one that took it away. A void or a
correction ends the rows of the event that it is about and opens new ones. The columnar copy reads them (`columnar/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from registry.domain.fold.corrections import EffectiveEvent, effective_event
from registry.domain.fold.record import RecordState, resolve_record
from registry.domain.history import FoldedStream
from registry.domain.search.event_texts import CHANGING, EventText, texts_of
from registry.domain.stream_kinds import PRINCIPALS
from registry.events.codec import stream_name
from registry.events.types import Recorded
from registry.events.write_batch import WriteBatch
from registry.projections.point import END_OF_LOG
from registry.projections.projection import AppliedChange, BatchProjector

INSERT = """
opened_texts AS (
    INSERT INTO event_texts (stream, position, recorded_from, ordinal, recorded_to, effective_from, published_from,
                             changed_at, source, publisher, title, url, name)
    SELECT stream, position, recorded_from, ordinal, recorded_to, effective_from, published_from,
           changed_at, source, publisher, title, url, name
      FROM unnest($1::new_event_text[])
)
"""

CLOSE = """
closed_texts AS (
    UPDATE event_texts AS t
       SET recorded_to = c.at, changed_at = c.at
      FROM unnest($1::bigint[], $2::bigint[]) AS c (position, at)
     WHERE t.position = c.position AND t.recorded_to = 4611686018427387904
)
"""

DELETE = "DELETE FROM event_texts WHERE position = ANY ($1::bigint[])"


class TextRow(Struct):
    """A text with the points at which it stands."""

    stream: str
    position: int
    recorded_from: int
    ordinal: int
    recorded_to: int
    effective_from: date
    published_from: date
    changed_at: int
    text: EventText


class EventTexts:
    """The projection behind the search for sources, for the names of organizations, and for members and authorities."""

    name = "event_texts"
    tables = ("event_texts",)

    def start_batch(self) -> BatchProjector:
        return _TextRows()

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(DELETE, [event.position for stream in streams for event in stream.events])

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        rows = _TextRows()
        for stream in streams:
            rows.replay(stream)
        rows.write(writes)


class _TextRows:
    """The rows that a batch opens by the position of their event, and the events whose earlier rows it ends."""

    def __init__(self) -> None:
        self._rows: dict[int, list[TextRow]] = {}
        self._closed: dict[int, int] = {}
        self._redacted: dict[str, FoldedStream[Any]] = {}

    def apply(self, change: AppliedChange) -> None:
        if change.recorded.kind == "principal":
            return
        name = stream_name(change.recorded.kind, change.recorded.slug)
        if change.erased or name in self._redacted:
            self._redacted[name] = change.after
        else:
            self._apply(change.recorded, change.before.record, change.after.record)

    def _apply(self, recorded: Recorded, before: RecordState[Any], after: RecordState[Any]) -> None:
        if type(recorded.event) not in CHANGING:
            self._open(effective_event(recorded), recorded.position)
            return
        for id in before.affected_by(recorded.event):
            old, new = before.by_id[id], after.by_id[id]
            if _stands(old) != _stands(new):
                self._close(old.recorded.position, recorded.position)
                self._open(new, recorded.position)

    def _close(self, position: int, at: int) -> None:
        opened = [row for row in self._rows.get(position, ()) if row.recorded_to == END_OF_LOG]
        for row in opened:
            row.recorded_to = row.changed_at = at
        if not opened:
            self._closed.setdefault(position, at)

    def _open(self, effective: EffectiveEvent, at: int) -> None:
        recorded = effective.recorded
        stream = stream_name(recorded.kind, recorded.slug)
        effective_from, published_from, texts = _stands(effective)
        rows = self._rows.setdefault(recorded.position, [])
        rows += [
            TextRow(stream, recorded.position, at, n, END_OF_LOG, effective_from, published_from, at, text)
            for n, text in enumerate(texts)
        ]

    def replay(self, stream: FoldedStream[Any]) -> None:
        """Open the rows that the events of a stream leave."""
        if stream.rules is PRINCIPALS:
            return
        record = resolve_record(stream.slug, (), stream.rules)
        for recorded in stream.events:
            after, _ = record.plus(recorded, stream.rules)
            self._apply(recorded, record, after)
            record = after

    def write(self, writes: WriteBatch) -> None:
        for stream in self._redacted.values():
            positions = [event.position for event in stream.events]
            writes.add_prerequisite(DELETE, positions)
            for position in positions:
                self._rows.pop(position, None)
                self._closed.pop(position, None)
            self.replay(stream)
        if self._closed:  # rows of earlier batches
            writes.add(CLOSE, list(self._closed), list(self._closed.values()))
        writes.add(INSERT, rows=(_encoded(row) for of_event in self._rows.values() for row in of_event))


def _stands(effective: EffectiveEvent) -> tuple[date, date, list[EventText]]:
    """From which day the texts of an event are in effect, from which they are public, and the texts."""
    return effective.registered_on or date.min, effective.published_on, list(texts_of(effective))


def _encoded(row: TextRow) -> tuple[Any, ...]:
    text = row.text
    return (
        row.stream,
        row.position,
        row.recorded_from,
        row.ordinal,
        row.recorded_to,
        row.effective_from,
        row.published_from,
        row.changed_at,
        text.source,
        text.publisher,
        text.title,
        text.url,
        text.name,
    )


SELECT_SOURCES = """
SELECT DISTINCT ON (source) source, publisher, title, url
  FROM event_texts
 WHERE position = ANY ($1::bigint[]) AND source = ANY ($2::text[])
 ORDER BY source, title IS NULL, position DESC
"""


async def sources_at(connection: Any, positions: Sequence[int], ids: Sequence[str]) -> dict[str, EventText]:
    """What events at these positions say of these sources, by id."""
    rows = await connection.fetch(SELECT_SOURCES, list(positions), list(ids))
    return {row["source"]: EventText(row["source"], row["publisher"], row["title"], row["url"]) for row in rows}
