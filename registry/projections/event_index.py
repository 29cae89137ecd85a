"""The events that name an organization or cite a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from registry.domain.history import FoldedStream
from registry.domain.organizations.mentions import mentioned_organizations
from registry.domain.sources.identity import source_id
from registry.events.types import EventCorrected, Recorded
from registry.events.values import Source
from registry.events.write_batch import WriteBatch
from registry.infra.postgres import Pool
from registry.projections.projection import AppliedChange, BatchProjector

INSERT = """
mentioned AS (
    INSERT INTO mentions (term, position)
    SELECT term, position
      FROM unnest($1::new_mention[])
    ON CONFLICT DO NOTHING
)
"""

DELETE = "DELETE FROM mentions WHERE position = ANY ($1::bigint[])"

SELECT_POSITIONS = """
SELECT position
  FROM mentions
 WHERE term = $1 AND position > $2
 ORDER BY position
 LIMIT $3
"""


SELECT_NEWEST_POSITIONS = """
SELECT position
  FROM mentions
 WHERE term = $1 AND position < $2
 ORDER BY position DESC
 LIMIT $3
"""

SELECT_STREAMS_WITH = """
SELECT stream
  FROM mentions JOIN events USING (position)
 WHERE term = $1
 GROUP BY stream
 ORDER BY min(position)
"""

SELECT_DEALS_WITH = """
SELECT DISTINCT stream
  FROM mentions JOIN events USING (position)
 WHERE term = ANY ($1::text[]) AND stream LIKE 'deal/%'
 ORDER BY stream
"""


def source_term(source: Source | str) -> str | None:
    """The term of a source, or of an article by its address."""
    id = source_id(source)
    return f"source:{id}" if id is not None else None


def index_terms(recorded: Recorded) -> Iterator[str]:
    """The terms of an event."""
    sources: tuple[Source, ...] = recorded.sources
    if isinstance(recorded.event, EventCorrected) and recorded.event.replacement.sources is not UNSET:
        sources = (*sources, *recorded.event.replacement.sources)
    for source in sources:
        term = source_term(source)
        if term:
            yield term
    if recorded.event is not None:
        for slug in mentioned_organizations(recorded.event):
            yield f"organization:{slug}"
    if recorded.kind == "organization":
        yield f"organization:{recorded.slug}"


class EventIndex:
    """The projection behind `GET /v1/events?organization=` and `?source=`."""

    name = "mentions"
    tables = ("mentions",)

    def start_batch(self) -> BatchProjector:
        return _EventIndexRows()

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(DELETE, [event.position for stream in streams for event in stream.events])

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add(INSERT, rows=(row for stream in streams for event in stream.events for row in _rows_of(event)))


class _EventIndexRows:
    """The terms of the events of a batch, and the events whose content a redaction in the batch removed."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int]] = []
        self._redacted: set[int] = set()

    def apply(self, change: AppliedChange) -> None:
        self._rows += _rows_of(change.recorded)
        if change.erased:
            self._redacted |= {e.position for e in change.after.events if e.erased}

    def write(self, writes: WriteBatch) -> None:
        if self._redacted:
            writes.add_prerequisite(DELETE, list(self._redacted))
        writes.add(INSERT, rows=(row for row in self._rows if row[1] not in self._redacted))


def _rows_of(event: Recorded) -> list[tuple[str, int]]:
    return [(term, event.position) for term in dict.fromkeys(index_terms(event))]


async def find(connection: Any, term: str, after: int, limit: int) -> list[int]:
    """The positions after `after` of the events with a term."""
    return [row["position"] for row in await connection.fetch(SELECT_POSITIONS, term, after, limit)]


async def find_newest(connection: Any, term: str, before: int, limit: int) -> list[int]:
    """The last positions before `before` of the events with a term, the newest first."""
    return [row["position"] for row in await connection.fetch(SELECT_NEWEST_POSITIONS, term, before, limit)]


async def deals_with(pool: Pool, terms: Sequence[str]) -> list[str]:
    """The streams of the deals with an event that has one of these terms."""
    return [row["stream"] for row in await pool.fetch(SELECT_DEALS_WITH, list(terms))]


async def streams_with(pool: Pool, term: str) -> list[str]:
    """The streams of the events with a term, in the order of the first such event."""
    return [row["stream"] for row in await pool.fetch(SELECT_STREAMS_WITH, term)]
