"""Encrypt a file with a passphrase while it is written, and decrypt it while it is read.

scrypt (RFC 7914) makes the key. The content is sealed in chunks with AES-256-GCM; the nonce of a chunk has its number
and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015), so that chunks
that are missing, added or in another order are detected.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"investment-registry-encrypted@v1\n"
SALT_SIZE = 16
PREFIX_SIZE = 7
CHUNK_SIZE = 64 * 1024
TAG_SIZE = 16

# 128 MiB and half a second for each try of a passphrase.
SCRYPT_COST = 2**17


class WrongPassphrase(Exception):
    """The passphrase is another one, or the file was changed or cut."""


def is_encrypted(start: bytes) -> bool:
    """Whether a file that begins with these bytes is encrypted."""
    return start.startswith(MAGIC)


class _Sealer:
    """The key of one file, and the nonces of its chunks."""

    def __init__(self, header: bytes, passphrase: str) -> None:
        salt, self._prefix = header[len(MAGIC) : len(MAGIC) + SALT_SIZE], header[-PREFIX_SIZE:]
        key = Scrypt(salt=salt, length=32, n=SCRYPT_COST, r=8, p=1).derive(passphrase.encode())
        self._cipher = AESGCM(key)
        self._header = header
        self._number = 0

    def _nonce(self, *, last: bool) -> bytes:
        nonce = self._prefix + self._number.to_bytes(4) + (b"\1" if last else b"\0")
        self._number += 1
        return nonce

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(last=last), chunk, self._header)

    def open(self, chunk: bytes, *, last: bool) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(last=last), chunk, self._header)
        except InvalidTag:
            raise WrongPassphrase from None


class EncryptingWriter(io.RawIOBase):
    """Encrypts what is written into another file. `close` completes it, and leaves the other file open."""

    def __init__(self, out: BinaryIO, passphrase: str) -> None:
        header = MAGIC + os.urandom(SALT_SIZE) + os.urandom(PREFIX_SIZE)
        self._sealer = _Sealer(header, passphrase)
        self._out = out
        self._pending = bytearray()
        out.write(header)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pending += data
        # The last chunk is written when the file is closed, and may be full.
        while len(self._pending) > CHUNK_SIZE:
            self._out.write(self._sealer.seal(bytes(self._pending[:CHUNK_SIZE]), last=False))
            del self._pending[:CHUNK_SIZE]
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._out.write(self._sealer.seal(bytes(self._pending), last=True))
        super().close()


class DecryptingReader(io.RawIOBase):
    """Reads what an EncryptingWriter wrote. Raises WrongPassphrase."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        header = source.read(len(MAGIC) + SALT_SIZE + PREFIX_SIZE)
        self._sealer = _Sealer(header, passphrase)
        self._source = source
        # Even an empty content has one chunk.
        self._next = source.read(CHUNK_SIZE + TAG_SIZE) or bytes(TAG_SIZE)
        self._plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain and self._next:
            following = self._source.read(CHUNK_SIZE + TAG_SIZE)
            self._plain = self._sealer.open(self._next, last=not following)
            self._next = following
        size = min(len(buffer), len(self._plain))
        buffer[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size
