"""Where the signing key is: a file of this host, a file that is mounted on every host, or the database.

A key in the database is sealed with AES-256-GCM under a key derived from REGISTRY_SIGNING_SECRET: a reader of the
database cannot sign, and every service that has the secret can. The newest key signs; older ones stay to verify with.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from registry.infra.postgres import Connection, Pool
from registry.infra.settings import Settings
from registry.transparency.checkpoint import BadKey, SigningKey
from registry.transparency.findings import Finding
from registry.transparency.signer import Signer, SignerStateCorrupt

SELECT_NEWEST_KEY = """
SELECT verifier, sealed
  FROM signing_keys
 WHERE origin = $1
 ORDER BY number DESC
 LIMIT 1
"""

SELECT_VERIFIERS = "SELECT verifier FROM signing_keys WHERE origin = $1 ORDER BY number"

INSERT_KEY = """
INSERT INTO signing_keys (number, origin, verifier, sealed, created_at)
SELECT (SELECT coalesce(max(number), 0) + 1 FROM signing_keys), $1, $2, $3, $4
"""

NONCE_BYTES = 12


class KeySource(Struct, frozen=True):
    """Where the key and the signer's state are.

    Attributes:
        origin: The log's origin, which is the key's name.
        file: The file of the key.
        state: The path beside which the signer keeps its state.
        secret: Opens the key in the database; None if the key is in the file.
    """

    origin: str
    file: Path
    state: Path
    secret: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> KeySource:
        """The source that the settings name.

        The state is beside the file. If the file's directory cannot be written, as with a mounted secret, or if the
        key is in the database, the state is in the data directory.
        """
        file, own = settings.signing_key, settings.data_dir / "signing.key"
        is_read_only = file.exists() and not os.access(file.parent, os.W_OK)
        state = own if settings.signing_secret is not None or is_read_only else file
        return cls(settings.log_origin, file, state, settings.signing_secret)

    @property
    def is_shared(self) -> bool:
        """Whether other services have the same key and states of their own."""
        return self.secret is not None or self.state != self.file

    @property
    def public_keys(self) -> Path:
        """The file of the public keys that this host knows."""
        return self.state.with_name(f"{self.state.name}.pub")

    @property
    def is_available(self) -> bool:
        """Whether this service can sign, or could once."""
        return self.secret is not None or self.file.exists() or self.public_keys.exists()

    async def check(self, connection: Connection | Pool) -> None:
        """Read the key, if this service has one, and change nothing.

        Raises:
            SignerStateCorrupt: The key or what it signed last cannot be read.
        """
        if self.secret is not None:
            row = await connection.fetchrow(SELECT_NEWEST_KEY, self.origin)
            if row is not None:
                _unseal(row["sealed"], row["verifier"], self.origin, self.secret)
        elif self.is_shared:
            _read(self.file)
        elif self.is_available:
            Signer(self.file, self.origin).check()

    async def shared_key(self, connection: Connection) -> SigningKey:
        """The key that all services share. Creates the one in the database on first use.

        The caller holds the signers' lock.

        Raises:
            SignerStateCorrupt: The key cannot be read.
        """
        if self.secret is None:
            return _read(self.file)
        row = await connection.fetchrow(SELECT_NEWEST_KEY, self.origin)
        if row is None:
            return await create(connection, self.origin, self.secret)
        return _unseal(row["sealed"], row["verifier"], self.origin, self.secret)


async def create(connection: Connection | Pool, origin: str, secret: str) -> SigningKey:
    """Create a key in the database. It signs from the next checkpoint on.

    Raises:
        SignerStateCorrupt: The origin cannot be a key's name.
    """
    try:
        key = SigningKey.generate(origin)
    except BadKey as error:
        raise SignerStateCorrupt(reason=error.message) from error
    verifier, nonce = str(key.verifier), secrets.token_bytes(NONCE_BYTES)
    sealed = nonce + AESGCM(_derived(origin, secret)).encrypt(nonce, key.secret().encode(), verifier.encode())
    await connection.execute(INSERT_KEY, origin, verifier, sealed, datetime.now(UTC))
    return key


async def verifiers(connection: Connection | Pool, origin: str) -> list[str]:
    """The public keys of the keys in the database, oldest first."""
    return [row["verifier"] for row in await connection.fetch(SELECT_VERIFIERS, origin)]


def _read(file: Path) -> SigningKey:
    try:
        return SigningKey.parse(file.read_text().removesuffix("\n"))
    except (OSError, ValueError, BadKey) as error:
        # Not chained: both could show a part of the key.
        problem = error.message if isinstance(error, BadKey) else Finding("state_not_text")
        raise SignerStateCorrupt(reason=Finding("state_key", file=str(file), problem=problem)) from None


def _derived(origin: str, secret: str) -> bytes:
    return HKDF(SHA256(), 32, salt=origin.encode(), info=b"registry signing key").derive(secret.encode())


def _unseal(sealed: bytes, verifier: str, origin: str, secret: str) -> SigningKey:
    nonce, text = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return SigningKey.parse(AESGCM(_derived(origin, secret)).decrypt(nonce, text, verifier.encode()).decode())
    except (InvalidTag, ValueError, BadKey):
        # Not chained: a traceback with local variables would show the secret.
        raise SignerStateCorrupt(reason=Finding("state_key_sealed", key=verifier)) from None
