"""Who may do what: keys, stored as digests, and the scopes they carry.

A key is shown once, when it is made. The log names who recorded an event by the key's id, never by the key or its name.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

import asyncpg
from msgspec import Struct

from registry.errors import NotFound

Scope = Literal["read", "record", "correct", "redact", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
Pool: TypeAlias = "asyncpg.Pool[Any]"

ADD = "INSERT INTO keys (id, name, digest, scopes, created_at) VALUES ($1, $2, $3, $4, $5)"
FIND = "SELECT id, name, scopes FROM keys WHERE digest = $1 AND revoked_at IS NULL"
ALL = "SELECT id, name, scopes, created_at, revoked_at FROM keys ORDER BY created_at, id"
REVOKE = "UPDATE keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id"

# How long a process goes on believing in a key that another one revoked, in seconds.
CACHE_TTL_SECONDS = 5.0


class Key(Struct, frozen=True):
    """What a key may do. `id` is what the log shows."""

    id: str
    name: str
    scopes: frozenset[str]

    def allows(self, scope: Scope) -> bool:
        """What its scopes say and no more; admin may do everything."""
        return scope in self.scopes or "admin" in self.scopes


class KeyInfo(Struct, frozen=True):
    """A key as it is listed: without the key."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


def digest(token: str) -> bytes:
    """What is stored of a key: it has 256 random bits, so its plain SHA-256 cannot be searched."""
    return hashlib.sha256(token.encode()).digest()


class Keys:
    """Looks keys up, and remembers what it found for a few seconds."""

    def __init__(self, pool: Pool, admin_key: str | None = None) -> None:
        self._pool = pool
        self._admin = digest(admin_key) if admin_key else None
        self._known: dict[bytes, tuple[float, Key | None]] = {}

    async def find(self, token: str) -> Key | None:
        """The key that a bearer token is; None for an unknown or revoked one."""
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
    """Makes a key and answers with it: it cannot be read again."""
    id = "k" + secrets.token_hex(6)
    token = f"reg_{secrets.token_urlsafe(32)}"
    await pool.execute(ADD, id, name, digest(token), list(scopes), datetime.now(UTC))
    return token


async def all_keys(pool: Pool) -> list[KeyInfo]:
    """Every key there ever was, without the key itself."""
    return [
        KeyInfo(r["id"], r["name"], tuple(r["scopes"]), r["created_at"], r["revoked_at"]) for r in await pool.fetch(ALL)
    ]


async def revoke(pool: Pool, id: str) -> None:
    """Ends a key. Raises NotFound when there is no such key in force."""
    if await pool.fetchval(REVOKE, id, datetime.now(UTC)) is None:
        raise NotFound(f"There is no key '{id}' in force.")
