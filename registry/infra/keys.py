"""API keys and their scopes. The database stores a digest of each key.

A key is shown once, when it is created. The log names the key that recorded an event by its id.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import Literal, get_args

from msgspec import Struct

from registry.errors import NotFound
from registry.infra.postgres import Pool

Scope = Literal["read", "record", "correct", "redact", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

ADD = "INSERT INTO keys (id, name, digest, scopes, created_at) VALUES ($1, $2, $3, $4, $5)"
FIND = "SELECT id, name, scopes FROM keys WHERE digest = $1 AND revoked_at IS NULL"
ALL = "SELECT id, name, scopes, created_at, revoked_at FROM keys ORDER BY created_at, id"
REVOKE = "UPDATE keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id"

# Key cache TTL: a key that another process revoked works this many seconds longer.
CACHE_TTL_SECONDS = 5.0


class Key(Struct, frozen=True):
    """A key and its scopes. `id` is what the log shows."""

    id: str
    name: str
    scopes: frozenset[str]

    def allows(self, scope: Scope) -> bool:
        """Whether the key has the scope; admin includes all scopes."""
        return scope in self.scopes or "admin" in self.scopes


class KeyInfo(Struct, frozen=True):
    """A key as listed, without its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


def digest(token: str) -> bytes:
    """The stored digest of a key. A plain SHA-256 is enough, because a key has 256 random bits."""
    return hashlib.sha256(token.encode()).digest()


class Keys:
    """Look up keys, with a cache of a few seconds."""

    def __init__(self, pool: Pool, admin_key: str | None = None) -> None:
        self._pool = pool
        self._admin = digest(admin_key) if admin_key else None
        self._known: dict[bytes, tuple[float, Key | None]] = {}

    async def find(self, token: str) -> Key | None:
        """The key of a bearer token; None if it is unknown or revoked."""
        hashed = digest(token)
        if self._admin is not None and secrets.compare_digest(hashed, self._admin):
            return Key("admin", "REGISTRY_ADMIN_KEY", frozenset(SCOPES))
        known = self._known.get(hashed)
        if known is not None and time.monotonic() - known[0] < CACHE_TTL_SECONDS:
            return known[1]
        row = await self._pool.fetchrow(FIND, hashed)
        key = Key(row["id"], row["name"], frozenset(row["scopes"])) if row else None
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[hashed] = (time.monotonic(), key)
        return key


async def create(pool: Pool, name: str, scopes: tuple[Scope, ...]) -> str:
    """Create a key and return its secret, which cannot be read again."""
    id = "k" + secrets.token_hex(6)
    token = f"reg_{secrets.token_urlsafe(32)}"
    await pool.execute(ADD, id, name, digest(token), list(scopes), datetime.now(UTC))
    return token


async def all_keys(pool: Pool) -> list[KeyInfo]:
    """Every key, including revoked ones, without its secret."""
    return [
        KeyInfo(r["id"], r["name"], tuple(r["scopes"]), r["created_at"], r["revoked_at"]) for r in await pool.fetch(ALL)
    ]


async def revoke(pool: Pool, id: str) -> None:
    """Revoke a key.

    Raises:
        NotFound: No such key is in force.
    """
    if await pool.fetchval(REVOKE, id, datetime.now(UTC)) is None:
        raise NotFound("key", key=id)
