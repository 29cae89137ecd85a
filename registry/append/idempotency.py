"""Recognise what was recorded before: a request by its `Idempotency-Key`, an announcement by its id.

An idempotency record is what was answered to a request with a key, so that a retry gets the same answer. It is written
in the transaction of its events. This is the only module whose SQL names the idempotency table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from registry.append.requests import AppendRequest, AppendResult
from registry.domain.checks.plausibility import Flag
from registry.errors import IdConflict
from registry.events import write_batch
from registry.events.codec import Content, canonical, stream_name
from registry.events.types import AnyAnnouncement, EventCorrected, EventRedacted, Recorded
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


def find_replayed(
    known_events: Mapping[UUID, Recorded], request: AppendRequest, announcement: AnyAnnouncement
) -> Recorded | None:
    """The recorded event that has the announcement's id and content; None if the id is new.

    Raises:
        IdConflict: The id belongs to an event with other content.
    """
    known = known_events.get(announcement.id) if announcement.id is not None else None
    if known is None:
        return None
    if (
        (known.kind, known.slug) == (request.kind, request.slug)
        and known.event is not None
        and known.effective_on == announcement.effective_on
        and _has_same_content(known, announcement)
    ):
        return known
    raise IdConflict(id=str(known.id), stream=stream_name(known.kind, known.slug), version=known.version)


def _has_same_content(known: Recorded, announcement: AnyAnnouncement) -> bool:
    """Whether an announcement has the recorded content, apart from the fields that the recorder filled in."""
    recorded, event = known.event, announcement.event
    if isinstance(event, EventCorrected) and isinstance(recorded, EventCorrected):
        new, old = event.replacement, recorded.replacement
        filled_in = {name: getattr(old, name) for name in new.__struct_fields__ if getattr(new, name) is UNSET}
        event = msgspec.structs.replace(event, replacement=msgspec.structs.replace(new, **filled_in))
    elif isinstance(event, EventRedacted) and isinstance(recorded, EventRedacted):
        event = msgspec.structs.replace(event, also=recorded.also, effects=recorded.effects)
    elif hasattr(event, "about") and event.about is None and type(recorded) is type(event):
        event = msgspec.structs.replace(event, about=recorded.about)  # type: ignore[union-attr]
    assert recorded is not None
    posted = Content(event=event, sources=announcement.sources, note=announcement.note, date=announcement.date)
    known_content = Content(event=recorded, sources=known.sources, note=known.note, date=known.date)
    return canonical(posted) == canonical(known_content)
