"""The secrets of API keys. The database stores a digest of each, and which key of which principal it belongs to.

A secret is shown once, when its key is issued. What a key may do is in the log (`domain/principal.py`); the digests are
outside it, so that nothing that is published can be tried against guessed secrets.
"""

from __future__ import annotations

import hashlib
import secrets

from msgspec import Struct

from registry.infra.postgres import Connection, Pool

INSERT_DIGEST = """
INSERT INTO keys (id, principal, digest)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING id
"""

SELECT_OWNER = "SELECT principal, id FROM keys WHERE digest = $1"


class KeyOwner(Struct, frozen=True):
    """The key that a secret belongs to."""

    principal: str
    key: str


def new_key_id() -> str:
    """A random id for a key."""
    return "k" + secrets.token_hex(6)


def new_secret() -> str:
    """A random secret of 256 bits."""
    return f"reg_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> bytes:
    """The stored digest of a secret. A plain SHA-256 is enough, because a secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


async def store_digest(connection: Connection | Pool, owner: KeyOwner, secret: str) -> bool:
    """Store the digest of a key's secret. Returns False if the key or the secret has one already."""
    return await connection.fetchval(INSERT_DIGEST, owner.key, owner.principal, digest(secret)) is not None


async def find_owner(connection: Connection | Pool, hashed: bytes) -> KeyOwner | None:
    """The key that a secret with this digest belongs to."""
    row = await connection.fetchrow(SELECT_OWNER, hashed)
    return KeyOwner(row["principal"], row["id"]) if row is not None else None


async def principal_of(connection: Connection | Pool, key: str) -> str | None:
    """The principal that a key belongs to."""
    principal: str | None = await connection.fetchval("SELECT principal FROM keys WHERE id = $1", key)
    return principal
