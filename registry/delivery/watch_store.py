"""The table `watches`. An e-mail address is personal: it is here, encrypted, and never in the log."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from registry.infra.postgres import Pool
from registry.schemas.deal_query import DealQuery, loaded, stored

_COLUMNS = """id, principal, email, language, digest, type, deal, organization, source, deals,
       position, created_at, confirmed_at, failures, next_at, disabled_at"""

INSERT_WATCH = f"""
INSERT INTO watches ({_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULL, 0, NULL, NULL)
"""  # noqa: S608 - a constant

SELECT_WATCH = f"SELECT {_COLUMNS} FROM watches WHERE id = $1"  # noqa: S608 - a constant

SELECT_OF_PRINCIPAL = f"""
SELECT {_COLUMNS}
  FROM watches
 WHERE principal = $1
 ORDER BY created_at, id
"""  # noqa: S608 - a constant

# In the order in which they are due. Another process does not claim a watch before the lease ends.
CLAIM_DUE = f"""
UPDATE watches
   SET next_at = $3
 WHERE id IN (SELECT id
                FROM watches
               WHERE confirmed_at IS NOT NULL AND disabled_at IS NULL AND position < $2
                     AND (next_at IS NULL OR next_at <= $1)
               ORDER BY next_at NULLS FIRST
               LIMIT $4
                 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
"""  # noqa: S608 - a constant

CONFIRM = """
UPDATE watches
   SET confirmed_at = $2, position = $3, next_at = $4
 WHERE id = $1 AND confirmed_at IS NULL
"""

ADVANCE = "UPDATE watches SET position = $2, failures = 0, next_at = $3 WHERE id = $1 AND position <= $2"

POSTPONE = "UPDATE watches SET failures = $2, next_at = $3, disabled_at = $4 WHERE id = $1"

DELETE_WATCH = "DELETE FROM watches WHERE id = $1"

# Of a principal's own watch only.
DELETE_OF_PRINCIPAL = "DELETE FROM watches WHERE id = $1 AND principal = $2"

DELETE_UNCONFIRMED = "DELETE FROM watches WHERE confirmed_at IS NULL AND created_at < $1"

Digest: TypeAlias = Literal["at_once", "daily"]
"""When a watch sends: soon after each event, or once a day."""


class Watch(Struct, frozen=True, kw_only=True):
    """A filter of events, saved by a principal, whose new events are sent to an address.

    `deals` are conditions that the events' deals meet. `position` is the last event that was sent or did not match.
    `email` is encrypted.
    """

    id: str
    principal: str
    email: bytes
    language: str
    digest: Digest
    type: list[str] | None
    deal: str | None
    organization: str | None
    source: str | None
    deals: DealQuery | None
    position: int
    created_at: datetime
    confirmed_at: datetime | None
    failures: int
    next_at: datetime | None
    disabled_at: datetime | None


async def insert(pool: Pool, watch: Watch) -> None:
    """Store a new watch, which is not confirmed."""
    w = watch
    fields = (w.id, w.principal, w.email, w.language, w.digest, w.type, w.deal, w.organization, w.source)
    await pool.execute(INSERT_WATCH, *fields, stored(w.deals), w.position, w.created_at)


async def load(pool: Pool, id: str) -> Watch | None:
    """A watch."""
    row = await pool.fetchrow(SELECT_WATCH, id)
    return _watch(row) if row is not None else None


async def load_of_principal(pool: Pool, principal: str) -> list[Watch]:
    """The watches of a principal, oldest first."""
    return [_watch(row) for row in await pool.fetch(SELECT_OF_PRINCIPAL, principal)]


async def claim_due(pool: Pool, now: datetime, head: int, until: datetime, limit: int) -> list[Watch]:
    """Claim confirmed watches that may be sent now, and for which the log up to `head` has unseen events."""
    return [_watch(row) for row in await pool.fetch(CLAIM_DUE, now, head, until, limit)]


async def confirm(pool: Pool, id: str, at: datetime, position: int, next_at: datetime | None) -> None:
    """Confirm a watch: events after a position are sent, from an instant on. Does nothing for a confirmed one."""
    await pool.execute(CONFIRM, id, at, position, next_at)


async def advance(pool: Pool, id: str, position: int, next_at: datetime | None) -> None:
    """Store that everything up to a position was sent, and when the next message may be."""
    await pool.execute(ADVANCE, id, position, next_at)


async def postpone(pool: Pool, id: str, failures: int, next_at: datetime, disabled_at: datetime | None) -> None:
    """Store that a message was not sent: when to try again, or that the watch has ended."""
    await pool.execute(POSTPONE, id, failures, next_at, disabled_at)


async def delete(pool: Pool, id: str) -> None:
    """Delete a watch with its address."""
    await pool.execute(DELETE_WATCH, id)


async def delete_of_principal(pool: Pool, id: str, principal: str) -> bool:
    """Delete a watch of a principal. Returns whether there was one."""
    status: str = await pool.execute(DELETE_OF_PRINCIPAL, id, principal)
    return status == "DELETE 1"


async def delete_unconfirmed(pool: Pool, before: datetime) -> None:
    """Delete the watches, with their addresses, that were not confirmed in time."""
    await pool.execute(DELETE_UNCONFIRMED, before)


def _watch(row: Any) -> Watch:
    return Watch(**{**row, "deals": loaded(row["deals"])})
