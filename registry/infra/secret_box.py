"""Encrypt secrets that the database holds, with a key that it does not hold.

The key file has one Fernet key a line, the newest first: it encrypts, and all of them decrypt. Several services on one
database need the same file.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from registry.errors import SecretUnreadable


class SecretBox:
    """Encrypts with the first key of a file, which it creates when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: list[Fernet] = []

    def encrypt(self, secret: bytes) -> bytes:
        """Encrypt a secret. Raises SecretUnreadable if the key file cannot be used."""
        return self._keys(create=True)[0].encrypt(secret)

    def decrypt(self, stored: bytes) -> bytes:
        """Decrypt a secret. Raises SecretUnreadable if no key of the file fits."""
        try:
            return MultiFernet(self._keys()).decrypt(stored)
        except InvalidToken:
            raise SecretUnreadable(file=str(self._path)) from None

    def renew(self, stored: bytes) -> bytes | None:
        """A stored secret under the first key; None if it is already.

        Raises:
            SecretUnreadable: No key of the file fits.
        """
        try:
            self._keys()[0].decrypt(stored)
        except InvalidToken:
            return self.encrypt(self.decrypt(stored))
        return None

    def _keys(self, *, create: bool = False) -> list[Fernet]:
        if not self._loaded:
            try:
                if create and not self._path.exists():
                    self._create()
                self._loaded = [Fernet(line) for line in self._path.read_text().split()]
            except (OSError, ValueError):
                self._loaded = []
            if not self._loaded:
                raise SecretUnreadable("file", file=str(self._path)) from None
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
