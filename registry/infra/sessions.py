"""Sessions of the pages: the table, which stores a digest of each session's secret.

A session says who has signed in and with which key. What that principal may do is looked up for each request, so a key
that is revoked ends its sessions.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from msgspec import Struct

from registry.infra.postgres import Connection, Pool

# A session ends after this time without a request, and after this time in any case (OWASP ASVS 3.3).
IDLE = timedelta(hours=2)
LIFETIME = timedelta(hours=12)

# The time of the last request is written at most this often.
TOUCH_INTERVAL = timedelta(minutes=1)

MAX_AGENT_LENGTH = 200

INSERT = """
INSERT INTO sessions (id, digest, principal, key, created_at, seen_at, expires_at, agent)
VALUES ($1, $2, $3, $4, $5, $5, $6, $7)
"""

SELECT_BY_DIGEST = """
SELECT id, principal, key, created_at, seen_at, expires_at, agent
  FROM sessions
 WHERE digest = $1 AND expires_at > $2 AND seen_at > $3
"""

SELECT_BY_PRINCIPAL = """
SELECT id, principal, key, created_at, seen_at, expires_at, agent
  FROM sessions
 WHERE principal = $1 AND expires_at > $2 AND seen_at > $3
 ORDER BY created_at DESC, id
"""

TOUCH = "UPDATE sessions SET seen_at = $2 WHERE id = $1"
DELETE = "DELETE FROM sessions WHERE id = $1 AND principal = $2 RETURNING id"
DELETE_OTHERS = "DELETE FROM sessions WHERE principal = $1 AND id <> $2"
DELETE_EXPIRED = "DELETE FROM sessions WHERE expires_at <= $1 OR seen_at <= $2"


class SessionRow(Struct, frozen=True):
    """A session, without its secret. `key` is the key that was used to sign in, if one was."""

    id: str
    principal: str
    key: str | None
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    agent: str


def _digest(secret: str) -> bytes:
    """A plain SHA-256 is enough, because the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


async def create(connection: Connection | Pool, principal: str, key: str | None, agent: str, now: datetime) -> str:
    """Create a session and return its secret, the value of the cookie. Sessions that have ended are deleted."""
    await connection.execute(DELETE_EXPIRED, now, now - IDLE)
    secret = secrets.token_urlsafe(32)
    id, shown = secrets.token_hex(8), agent[:MAX_AGENT_LENGTH]
    await connection.execute(INSERT, id, _digest(secret), principal, key, now, now + LIFETIME, shown)
    return secret


async def find(connection: Connection | Pool, secret: str, now: datetime) -> SessionRow | None:
    """The session with this secret; None if there is none or it has ended."""
    row = await connection.fetchrow(SELECT_BY_DIGEST, _digest(secret), now, now - IDLE)
    if row is None:
        return None
    if now - row["seen_at"] > TOUCH_INTERVAL:
        await connection.execute(TOUCH, row["id"], now)
    return SessionRow(**row)


async def of_principal(connection: Connection | Pool, principal: str, now: datetime) -> list[SessionRow]:
    """The sessions of a principal, the newest first."""
    return [SessionRow(**row) for row in await connection.fetch(SELECT_BY_PRINCIPAL, principal, now, now - IDLE)]


async def end(connection: Connection | Pool, id: str, principal: str) -> bool:
    """End a session of a principal. Returns False if the principal has no such session."""
    return await connection.fetchval(DELETE, id, principal) is not None


async def end_others(connection: Connection | Pool, principal: str, kept: str) -> None:
    """End all sessions of a principal but one."""
    await connection.execute(DELETE_OTHERS, principal, kept)
