"""Every principal as it is now: for the list of principals. No right is read from it (`queries/principals.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from registry.domain.fold import PRINCIPALS
from registry.domain.history import FoldedStream
from registry.events.write_batch import WriteBatch
from registry.projections.projection import AppliedChange, BatchProjector
from registry.schemas import encode
from registry.schemas.principals import principal_response

UPSERT = """
written_principals AS (
    INSERT INTO principals (principal, version, position, state)
    SELECT principal, version, position, state
      FROM unnest($1::new_principal[])
    ON CONFLICT (principal) DO UPDATE
       SET version = excluded.version, position = excluded.position, state = excluded.state
)
"""

DELETE = "DELETE FROM principals WHERE principal = ANY ($1::text[])"

SELECT_PAGE = """
SELECT state
  FROM principals
 WHERE principal > $1
 ORDER BY principal
 LIMIT $2
"""


class PrincipalsProjection:
    """The projection behind `GET /v1/principals`."""

    name = "principals"
    tables = ("principals",)

    def start_batch(self) -> BatchProjector:
        return _PrincipalRows()

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(DELETE, [stream.slug for stream in streams if stream.rules is PRINCIPALS])

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        _upsert(writes, [stream for stream in streams if stream.rules is PRINCIPALS])


class _PrincipalRows:
    """The principals of a batch, after their last events in it."""

    def __init__(self) -> None:
        self._last: dict[str, FoldedStream[Any]] = {}

    def apply(self, change: AppliedChange) -> None:
        if change.recorded.kind == "principal":
            self._last[change.after.slug] = change.after

    def write(self, writes: WriteBatch) -> None:
        _upsert(writes, list(self._last.values()))


def _upsert(writes: WriteBatch, streams: Sequence[FoldedStream[Any]]) -> None:
    if streams:
        writes.add(
            UPSERT,
            [
                (stream.slug, stream.version, stream.events[-1].position, encode(principal_response(stream)))
                for stream in streams
            ],
        )


async def page(connection: Any, after: str, limit: int) -> list[msgspec.Raw]:
    """Principals after an id, in the order of ids."""
    return [msgspec.Raw(row["state"]) for row in await connection.fetch(SELECT_PAGE, after, limit)]
