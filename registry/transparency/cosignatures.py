"""Cosignatures of witnesses on checkpoints (C2SP tlog-cosignature, Ed25519): keys, signing, and how many are needed.

A cosignature states that, at its time, the checkpoint was the largest consistent tree that the witness had seen of the
log. It is a signature line of the checkpoint's note, after the log's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from registry.transparency.checkpoint import (
    BadKey,
    CheckpointError,
    VerifierKey,
    encode_base64,
    is_key_name,
    parse_key,
    parse_note,
)
from registry.transparency.findings import Finding

COSIGNATURE = b"\x04"
"""Signature type of Ed25519 cosignatures (tlog-cosignature, Format)."""

_TIME_BYTES = 8
_SIGNATURE_BYTES = _TIME_BYTES + 64


class WitnessKey(Struct, frozen=True):
    """The public key and the name of a witness. As text it is a vkey of type 0x04."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ 0x0A ‖ 0x04 ‖ public key)."""
        return sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(COSIGNATURE + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> WitnessKey:
        """Parse a vkey.

        Raises:
            BadKey: It is malformed, no key of a witness, or its id does not match name and public key.
        """
        key = cls(*parse_key(vkey, COSIGNATURE))
        if str(key) != vkey:
            raise BadKey(reason=Finding("key_id"))
        return key

    def verify(self, text: str, signature: bytes) -> int | None:
        """The time of a cosignature of a checkpoint's text, in seconds since 1970; None if it does not verify."""
        if len(signature) != _SIGNATURE_BYTES:
            return None
        time = int.from_bytes(signature[:_TIME_BYTES])
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public_key)
            key.verify(signature[_TIME_BYTES:], _message(text, time))
        except InvalidSignature:
            return None
        return time


class CosigningKey:
    """The private key of a witness. `str` and `repr` show the public key only."""

    __slots__ = ("_private", "public")

    _PREFIX = "PRIVATE+KEY+"

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = WitnessKey(name, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> CosigningKey:
        """Generate a key. Raises BadKey when the name is not valid in a note."""
        if not is_key_name(name):
            raise BadKey(reason=Finding("key_name", name=name))
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> CosigningKey:
        """Parse what `secret` wrote. Raises BadKey, whose message never contains the text."""
        if not text.startswith(cls._PREFIX):
            raise BadKey(reason=Finding("key_prefix", prefix=cls._PREFIX))
        name, seed = parse_key(text.removeprefix(cls._PREFIX), COSIGNATURE)
        key = cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        if key.secret() != text:
            raise BadKey(reason=Finding("key_id"))
        return key

    def secret(self) -> str:
        """`PRIVATE+KEY+<name>+<key id>+<base64 of 0x04 ‖ seed>`."""
        seed = encode_base64(COSIGNATURE + self._private.private_bytes_raw())
        return f"{self._PREFIX}{self.public.name}+{self.public.key_id.hex()}+{seed}"

    def cosign(self, text: str, time: int) -> str:
        """The signature line for a checkpoint's text, at a time in seconds since 1970."""
        signature = self._private.sign(_message(text, time))
        line = encode_base64(self.public.key_id + time.to_bytes(_TIME_BYTES) + signature)
        return f"— {self.public.name} {line}\n"

    def __repr__(self) -> str:
        return f"CosigningKey({self.public})"


class Quorum(Struct, frozen=True):
    """How many of some witnesses must have cosigned a checkpoint."""

    needed: int
    keys: tuple[WitnessKey, ...]

    def check(self, note: str) -> None:
        """Check that a checkpoint has enough cosignatures; one public key counts once.

        Raises:
            CheckpointError: It has fewer, or one with the name and id of a key does not verify.
        """
        found = {key.public_key for key in cosigners(note, self.keys)}
        if len(found) < self.needed:
            raise CheckpointError(reason=Finding("witnesses_missing", found=len(found), needed=self.needed))


def cosigners(note: str, keys: Iterable[WitnessKey]) -> list[WitnessKey]:
    """The witnesses that have cosigned a checkpoint. Raises CheckpointError where a cosignature is wrong."""
    parsed = parse_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    found = []
    for line in parsed.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            if key.verify(parsed.text, line.signature) is None:
                raise CheckpointError(reason=Finding("note_signature_wrong", key=key.name))
            found.append(key)
    return found


def split_cosignatures(note: str, verifier: VerifierKey) -> tuple[str, list[str]]:
    """The note with the log's own signature only, and the other signature lines."""
    text, _, lines = note.rpartition("\n\n")
    own: list[str] = []
    others: list[str] = []
    for line, signature in zip(lines.splitlines(keepends=True), parse_note(note).signatures, strict=True):
        is_own = (signature.name, signature.key_id) == (verifier.name, verifier.key_id)
        (own if is_own else others).append(line)
    return f"{text}\n\n{''.join(own)}", others


def name_of(line: str) -> str:
    """The witness's name and key id in a signature line, which stand for it where its public key is not known."""
    [signature] = parse_note(f"\n\n{line}").signatures
    return f"{signature.name}+{signature.key_id.hex()}"


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def accept_lines(note: str, answer: str, keys: Sequence[WitnessKey]) -> list[str]:
    """The lines of a witness's answer that are valid cosignatures of these keys on a checkpoint. Others are ignored.

    Raises:
        CheckpointError: A line with the name and id of a key does not verify, or the answer is no signature lines.
    """
    text = parse_note(note).text
    lines = answer.splitlines(keepends=True)
    extended = f"{text}\n{answer}"
    accepted = {(key.name, key.key_id) for key in cosigners(extended, keys)}
    signatures = parse_note(extended).signatures
    return [line for line, one in zip(lines, signatures, strict=True) if (one.name, one.key_id) in accepted]
