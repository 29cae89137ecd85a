"""Idempotency records: what was answered to a request with an `Idempotency-Key`, so that a retry gets the same answer.

The only module whose SQL names the idempotency table. A record is written in the transaction of its events.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec import Struct

from registry.append.requests import AppendResult
from registry.domain.checks.plausibility import Flag
from registry.events import write_batch
from registry.events.write_batch import Head
from registry.infra.postgres import Connection, Pool
from registry.schemas import Receipt

# The API promises 24 hours; records older than this are deleted, a few rows at a time, outside the appends.
RETENTION = timedelta(hours=48)
DELETE_BATCH_SIZE = 5_000

# The database's clock, the log's head and the records of a batch's keys, in one round trip.
SELECT_HEAD_AND_RECORDS = f"""
SELECT clock_timestamp() AS now, h.position, h.leaf_hash, h.recorded_at, i.owner, i.key, i.request, i.answer
  FROM (SELECT) AS always
       LEFT JOIN ({write_batch.HEAD}) AS h ON true
       LEFT JOIN (
           SELECT owner, key, request, answer
             FROM unnest($1::text[], $2::text[]) AS k (owner, key) JOIN idempotency USING (owner, key)
       ) AS i ON true
"""  # noqa: S608 - put together from constants

INSERT_RECORDS = """
remembered AS (
    INSERT INTO idempotency (owner, key, request, answer, stream, created_at)
    SELECT owner, key, request, answer, stream, created_at
      FROM unnest($1::new_answer[])
)
"""

DELETE_EXPIRED = """
DELETE FROM idempotency
 WHERE (owner, key) IN (SELECT owner, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2)
"""

# A redaction removes from the stored responses what the events changed, and the digests of the requests, from which a
# short secret could be guessed. The rest stays, so that a retry still finds that it was recorded.
REDACT_RESPONSES = """
UPDATE idempotency
   SET answer = convert_to((convert_from(answer, 'UTF8')::jsonb - 'changes' - 'flags')::text, 'UTF8'), request = ''
 WHERE stream = $1
"""


class IdempotencyRecord(NamedTuple):
    """A stored response, as the composite type `new_answer` has it."""

    owner: str
    key: str
    digest: bytes
    response: bytes
    stream: str
    created_at: datetime


Key = tuple[str, str]
"""An owner (the id of an API key) and an `Idempotency-Key` of theirs."""

StoredResponses = dict[Key, tuple[bytes, bytes]]
"""For each key the digest of its request and the response."""


async def load_head_and_responses(
    connection: Connection, keys: Sequence[Key]
) -> tuple[datetime, Head, StoredResponses]:
    """The time of the database's clock, the log's head, and the responses that are stored for these keys."""
    rows = await connection.fetch(SELECT_HEAD_AND_RECORDS, [owner for owner, _ in keys], [key for _, key in keys])
    head = Head(rows[0]["position"] or 0, rows[0]["leaf_hash"], rows[0]["recorded_at"])
    responses = {(row["owner"], row["key"]): (row["request"], row["answer"]) for row in rows if row["key"] is not None}
    return rows[0]["now"], head, responses


async def delete_expired(pool: Pool, now: datetime) -> None:
    """Delete the records that are older than RETENTION."""
    while await pool.execute(DELETE_EXPIRED, now - RETENTION, DELETE_BATCH_SIZE) == f"DELETE {DELETE_BATCH_SIZE}":
        pass


class _StoredResponse(Struct, frozen=True):
    """The fields of a stored response that a result repeats. A redaction removes `flags`."""

    version: int
    position: int
    events: tuple[Receipt, ...]
    flags: tuple[Flag, ...] = ()


_decoder = msgspec.json.Decoder(_StoredResponse)


def replay_result(response: bytes) -> AppendResult:
    """The result of a request whose response is stored."""
    stored = _decoder.decode(response)
    return AppendResult(stored.version, stored.position, stored.events, stored.flags, response, new=False)
