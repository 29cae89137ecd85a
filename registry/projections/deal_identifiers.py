"""Which deal has an identifier of another register or list: a scheme and value identify at most one deal."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from registry.domain.deal import Deal
from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import DEALS
from registry.events.types import BOOKKEEPING_TYPES, DealIdentified, Recorded
from registry.events.write_batch import WriteBatch
from registry.projections.projection import AppliedChange, BatchProjector

# Reading the count of deleted rows makes Postgres delete before it inserts.
WRITE = """
unidentified AS (
    DELETE FROM deal_identifiers WHERE deal = ANY ($1::text[])
    RETURNING 1
), identified AS (
    INSERT INTO deal_identifiers (scheme, value, deal)
    SELECT scheme, value, deal
      FROM unnest($2::new_deal_identifier[])
     WHERE (SELECT count(*) FROM unidentified) >= 0
)
"""

DELETE = "DELETE FROM deal_identifiers WHERE deal = ANY ($1::text[])"

SELECT_OWNERS = """
SELECT DISTINCT deal
  FROM deal_identifiers JOIN unnest($1::text[], $2::text[]) AS i (scheme, value) USING (scheme, value)
"""

_IDENTIFYING = frozenset((DealIdentified, *BOOKKEEPING_TYPES))

IdentifierKey = tuple[str, str]
"""A scheme and a value."""


def may_identify(event: Recorded) -> bool:
    """Whether an event may give a deal an identifier or take one: also a correction or a void of such an event."""
    return event.event is None or type(event.event) in _IDENTIFYING


class DealIdentifiers:
    """The projection behind the uniqueness of identifiers."""

    name = "deal_identifiers"
    tables = ("deal_identifiers",)

    def start_batch(self) -> BatchProjector:
        return _IdentifierRows()

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(DELETE, [stream.slug for stream in streams if stream.rules is DEALS])

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        _write(writes, [stream for stream in streams if stream.rules is DEALS])


class _IdentifierRows:
    """The deals of a batch whose identifiers differ after it."""

    def __init__(self) -> None:
        self._changed: dict[str, FoldedStream[Deal]] = {}

    def apply(self, change: AppliedChange) -> None:
        if change.recorded.kind != "deal" or not (change.erased or may_identify(change.recorded)):
            return
        slug = change.recorded.slug
        if slug in self._changed or identifiers(change.before) != identifiers(change.after):
            self._changed[slug] = change.after

    def write(self, writes: WriteBatch) -> None:
        _write(writes, list(self._changed.values()))


def identifiers(stream: FoldedStream[Deal]) -> frozenset[IdentifierKey]:
    """The identifiers of a deal after all its events."""
    # Not from the whole state: that of a deal with 10,000 pledges takes 70 ms to assemble.
    return frozenset((one.scheme, one.value) for one in stream.timeline.items("identifiers"))


def _write(writes: WriteBatch, streams: Sequence[FoldedStream[Deal]]) -> None:
    rows = ((scheme, value, stream.slug) for stream in streams for scheme, value in sorted(identifiers(stream)))
    writes.add(WRITE, [stream.slug for stream in streams], rows=rows)


async def owners(connection: Any, keys: Collection[IdentifierKey]) -> list[str]:
    """The deals that have one of these identifiers, as committed."""
    rows = await connection.fetch(SELECT_OWNERS, [scheme for scheme, _ in keys], [value for _, value in keys])
    return [row["deal"] for row in rows]


SELECT_DEALS = "SELECT value, deal FROM deal_identifiers WHERE scheme = $1 AND value = ANY ($2::text[])"

SELECT_SCHEME = """
SELECT value, deal
  FROM deal_identifiers
 WHERE scheme = $1 AND value > $2
 ORDER BY value
 LIMIT $3
"""


async def deals_with(connection: Any, scheme: str, values: Collection[str]) -> dict[str, str]:
    """The deals that have these identifiers of a scheme, as committed, by identifier."""
    return {row["value"]: row["deal"] for row in await connection.fetch(SELECT_DEALS, scheme, list(values))}


async def of_scheme(connection: Any, scheme: str, after: str, limit: int) -> list[tuple[str, str]]:
    """Identifiers of a scheme in order, with their deals, as committed."""
    return [(row["value"], row["deal"]) for row in await connection.fetch(SELECT_SCHEME, scheme, after, limit)]
