"""Every principal as it is now: for the list of principals. No right is read from it (`queries/principals.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import PRINCIPALS
from registry.events.write_batch import WriteBatch
from registry.projections.stream_rows import StreamRowsProjection
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


class PrincipalsProjection(StreamRowsProjection):
    """The projection behind `GET /v1/principals`."""

    name = "principals"
    tables = ("principals",)
    rules = PRINCIPALS
    delete_statement = DELETE

    def upsert(self, writes: WriteBatch, streams: Sequence[FoldedStream[Any]]) -> None:
        writes.add(
            UPSERT,
            rows=(
                (stream.slug, stream.version, stream.events[-1].position, encode(principal_response(stream)))
                for stream in streams
            ),
        )


async def page(connection: Any, after: str, limit: int) -> list[msgspec.Raw]:
    """Principals after an id, in the order of ids."""
    return [msgspec.Raw(row["state"]) for row in await connection.fetch(SELECT_PAGE, after, limit)]
