"""Sessions of the pages: the table, which stores a digest of each session's secret and a seal of each row.

A session says who has signed in and with which key. What that principal may do is looked up for each request, so a key
that is revoked ends its sessions.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

import structlog
from msgspec import Struct

from registry.infra.postgres import Pool
from registry.infra.secret_box import SecretBox

log = structlog.get_logger(__name__)

# A session ends after this time without a request, and after this time in any case (OWASP ASVS 3.3).
IDLE = timedelta(hours=2)
LIFETIME = timedelta(hours=12)

# Sessions of one principal. One more ends the one that was unused for longest.
MAX_OF_PRINCIPAL = 100

# The time of the last request is written at most this often.
TOUCH_INTERVAL = timedelta(minutes=1)

MAX_AGENT_LENGTH = 200

INSERT = """
INSERT INTO sessions (id, digest, principal, key, created_at, seen_at, expires_at, agent, seal)
VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8)
"""

SELECT_BY_DIGEST = """
SELECT id, principal, key, created_at, seen_at, expires_at, agent, seal
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
DELETE_LEAST_USED = """
DELETE FROM sessions
 WHERE id IN (SELECT id FROM sessions WHERE principal = $1 ORDER BY seen_at DESC, created_at DESC OFFSET $2)
"""
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


class Sessions:
    """The sessions of a database.

    A row counts only with a seal under a key outside the database, so that its application role cannot make a session
    for a principal, or give one to another (tests/web/test_forged_rows.py). It can delete sessions, and keep one from
    ending for want of use.
    """

    def __init__(self, pool: Pool, box: SecretBox) -> None:
        self._pool = pool
        self._box = box

    async def create(self, principal: str, key: str | None, agent: str, now: datetime) -> str:
        """Create a session and return its secret, the value of the cookie. Sessions that have ended are deleted."""
        await self._pool.execute(DELETE_EXPIRED, now, now - IDLE)
        secret = secrets.token_urlsafe(32)
        digest, id, expires_at = _digest(secret), secrets.token_hex(8), now + LIFETIME
        seal = self._box.seal(*_sealed(digest, id, principal, key, expires_at))
        await self._pool.execute(DELETE_LEAST_USED, principal, MAX_OF_PRINCIPAL - 1)
        await self._pool.execute(INSERT, id, digest, principal, key, now, expires_at, agent[:MAX_AGENT_LENGTH], seal)
        return secret

    async def find(self, secret: str, now: datetime) -> SessionRow | None:
        """The session with this secret; None if there is none or it has ended."""
        digest = _digest(secret)
        row = await self._pool.fetchrow(SELECT_BY_DIGEST, digest, now, now - IDLE)
        if row is None:
            return None
        fields = dict(row)
        seal = fields.pop("seal")
        session = SessionRow(**fields)
        sealed = _sealed(digest, session.id, session.principal, session.key, session.expires_at)
        if not self._box.verify(seal, *sealed):
            log.error("a session was not made by a service with this key file", session=session.id)
            return None
        if now - session.seen_at > TOUCH_INTERVAL:
            await self._pool.execute(TOUCH, session.id, now)
        return session

    async def of_principal(self, principal: str, now: datetime) -> list[SessionRow]:
        """The sessions of a principal, the newest first."""
        return [SessionRow(**row) for row in await self._pool.fetch(SELECT_BY_PRINCIPAL, principal, now, now - IDLE)]

    async def end(self, id: str, principal: str) -> bool:
        """End a session of a principal. Returns False if the principal has no such session."""
        return await self._pool.fetchval(DELETE, id, principal) is not None

    async def end_others(self, principal: str, kept: str) -> None:
        """End all sessions of a principal but one."""
        await self._pool.execute(DELETE_OTHERS, principal, kept)


def _digest(secret: str) -> bytes:
    """A plain SHA-256 is enough, because the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


def _sealed(digest: bytes, id: str, principal: str, key: str | None, expires_at: datetime) -> tuple[str, ...]:
    return "session", digest.hex(), id, principal, key or "", expires_at.isoformat()
