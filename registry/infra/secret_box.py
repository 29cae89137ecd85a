"""Encrypt secrets and seal rows that the database holds, with a key that it does not hold.

The key file has one Fernet key a line, the newest first: it encrypts and seals, and all of them decrypt and verify.
Several services on one database need the same file.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from registry.errors import SecretUnreadable

log = structlog.get_logger(__name__)


class Key(Fernet):
    """A line of the key file."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        # Not the line itself, which is Fernet's own keys: one key for one use.
        self.sealing = hmac.digest(line.encode(), b"registry seal", "sha256")


class SecretBox:
    """Encrypts with the first key of a file, which it creates when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: list[Key] = []

    def encrypt(self, secret: bytes) -> bytes:
        """Encrypt a secret. Raises SecretUnreadable if the key file cannot be used."""
        return self._keys(create=True)[0].encrypt(secret)

    def decrypt(self, token: bytes) -> bytes:
        """Decrypt a secret that a client gives. Raises SecretUnreadable if no key of the file fits."""
        try:
            return MultiFernet(self._keys()).decrypt(token)
        except InvalidToken:
            raise SecretUnreadable from None

    def decrypt_stored(self, stored: bytes) -> bytes:
        """Decrypt a secret of the database; that no key of the file fits is for the operator.

        Raises:
            SecretUnreadable: No key of the file fits.
        """
        try:
            return self.decrypt(stored)
        except SecretUnreadable as error:
            if error.case is None:
                log.error("no key of the key file fits a stored secret", file=str(self._path))
            raise

    def renew(self, stored: bytes) -> bytes | None:
        """A stored secret under the first key; None if it is already.

        Raises:
            SecretUnreadable: No key of the file fits.
        """
        try:
            self._keys()[0].decrypt(stored)
        except InvalidToken:
            return self.encrypt(self.decrypt_stored(stored))
        return None

    def seal(self, purpose: str, *fields: str) -> bytes:
        """A code that only a holder of the key file can make for these fields (HMAC-SHA256).

        Raises:
            SecretUnreadable: The key file cannot be used.
        """
        return _seal(self._keys(create=True)[0], purpose, fields)

    def verify(self, seal: bytes, purpose: str, *fields: str) -> bool:
        """Whether `seal` was made for these fields under a key of the file.

        Raises:
            SecretUnreadable: The key file cannot be used.
        """
        return any(hmac.compare_digest(_seal(key, purpose, fields), seal) for key in self._keys())

    def check(self) -> int:
        """The number of keys in the file. Raises SecretUnreadable if the file cannot be used."""
        return len(self._keys())

    def _keys(self, *, create: bool = False) -> list[Key]:
        if not self._loaded:
            try:
                if create and not self._path.exists():
                    self._create()
                self._loaded = [Key(line) for line in self._path.read_text().split()]
            except (OSError, ValueError) as error:
                # The client gets 503; the file and the reason are for the operator.
                log.error("the key file cannot be used", file=str(self._path), reason=str(error))
            if not self._loaded:
                raise SecretUnreadable("file")
        return self._loaded

    def _create(self) -> None:
        """Create the key file, unless another process does at the same time."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(fd)
        try:
            # Unlike a rename it does not replace a file that another process has created.
            os.link(aside, self._path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()


def _seal(key: Key, purpose: str, fields: Sequence[str]) -> bytes:
    return hmac.digest(key.sealing, msgspec.json.encode([purpose, *fields]), "sha256")
