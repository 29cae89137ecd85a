"""Signed notes, checkpoints and proof bundles: parse, write and verify the log's C2SP texts.

Formats: c2sp.org/signed-note with Ed25519 (type 0x01), c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof. Verification
needs only a public key: no file and no network. `signer.py` decides what is signed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from registry.errors import RegistryError
from registry.transparency.findings import Finding
from registry.transparency.merkle import EMPTY_ROOT, HASH_SIZE, ProofError, verify_consistency, verify_inclusion

ED25519 = b"\x01"
"""Signature type of Ed25519 (signed-note, Signature types)."""

MAX_NOTE = 1 << 20
MAX_SIGNATURES = 64
"""Limits of a note, in bytes and signatures. signed-note demands that at least 16 signatures are accepted."""

_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class CheckpointError(RegistryError):
    """A checkpoint does not verify."""

    code = "bad_checkpoint"


class BadKey(RegistryError):
    """A text is not a key of a signed note."""

    code = "bad_note_key"


class VerifierKey(Struct, frozen=True):
    """A public key and its name. As text it is a vkey: `<name>+<key id>+<base64>` (signed-note, Verifier keys)."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key) (signed-note, Signatures)."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(ED25519 + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Parse a vkey.

        Raises:
            BadKey: It is malformed, of another type than Ed25519, or its id does not match name and public key.
        """
        name, material = parse_key(vkey, ED25519)
        key = cls(name, material)
        if str(key) != vkey:
            raise BadKey(reason=Finding("key_id"))
        return key

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the signature of the text was made with this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key and its name. `str` and `repr` show the public key only, so that a log line cannot leak it."""

    __slots__ = ("_private", "verifier")

    # The encoding of golang.org/x/mod/sumdb/note, which C2SP tools read. Unlike PKCS #8 it includes the name, so a key
    # cannot sign for another log by mistake.
    _PREFIX = "PRIVATE+KEY+"

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = VerifierKey(name, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """Generate a key. Raises BadKey when the name is not valid in a note."""
        if not is_key_name(name):
            raise BadKey(reason=Finding("key_name", name=name))
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Parse what `secret` wrote. Raises BadKey, whose message never contains the text."""
        if not text.startswith(cls._PREFIX):
            raise BadKey(reason=Finding("key_prefix", prefix=cls._PREFIX))
        name, seed = parse_key(text.removeprefix(cls._PREFIX), ED25519)
        key = cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        if key.secret() != text:
            raise BadKey(reason=Finding("key_id"))
        return key

    def secret(self) -> str:
        """`PRIVATE+KEY+<name>+<key id>+<base64 of 0x01 ‖ seed>`."""
        seed = encode_base64(ED25519 + self._private.private_bytes_raw())
        return f"{self._PREFIX}{self.verifier.name}+{self.verifier.key_id.hex()}+{seed}"

    def sign(self, text: str) -> str:
        """Sign a text, which ends in a newline. Returns the note."""
        signature = self.verifier.key_id + self._private.sign(text.encode())
        return f"{text}\n— {self.verifier.name} {encode_base64(signature)}\n"

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"


class Signature(Struct, frozen=True):
    """A signature line of a note, not verified: the key name and id that it states, and the signature."""

    name: str
    key_id: bytes
    signature: bytes


class Note(Struct, frozen=True):
    """A parsed note. Its signatures are not verified."""

    text: str
    signatures: tuple[Signature, ...]


def parse_note(note: str | bytes) -> Note:
    """Parse a signed note without verifying its signatures. Raises CheckpointError when it is malformed."""
    try:
        data = note if isinstance(note, bytes) else note.encode()
        decoded = data.decode()
    except UnicodeError:
        raise CheckpointError(reason=Finding("note_not_utf8")) from None
    if len(data) > MAX_NOTE:
        raise CheckpointError(reason=Finding("note_too_long", limit=MAX_NOTE))
    if _CONTROL.search(decoded):
        raise CheckpointError(reason=Finding("note_control_character"))
    text, blank, tail = decoded.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise CheckpointError(reason=Finding("note_unsigned"))
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise CheckpointError(reason=Finding("note_too_many_signatures", limit=MAX_SIGNATURES))
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> Signature:
    match line.split(" "):
        case ["—", name, encoded] if is_key_name(name):
            signature = _decode_base64(encoded)
            if signature is not None and len(signature) > 4:
                return Signature(name, signature[:4], signature[4:])
    raise CheckpointError(reason=Finding("note_signature_malformed"))


def verify_note(note: str | bytes, keys: Iterable[VerifierKey]) -> tuple[Note, VerifierKey]:
    """Parse a note that one of these keys has signed. Signatures of other keys are ignored.

    Returns:
        The note, and the first of its signers.

    Raises:
        CheckpointError: The note is malformed, no key has signed it, or a signature with the name and id of one of the
            keys does not verify (signed-note, Signatures).
    """
    parsed = parse_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signers = []
    for signature in parsed.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            if not key.verify(parsed.text, signature.signature):
                raise CheckpointError(reason=Finding("note_signature_wrong", key=key.name))
            signers.append(key)
    if not signers:
        raise CheckpointError(reason=Finding("note_signer_unknown"))
    return parsed, signers[0]


class Checkpoint(Struct, frozen=True):
    """A tree head: the log's origin, its size in leaves, the root at that size, and optional extension lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or "" in self.extensions or any("\n" in line for line in (self.origin, *self.extensions)):
            raise CheckpointError(reason=Finding("checkpoint_lines"))
        if not 0 <= self.size < 1 << 63 or len(self.root) != HASH_SIZE:
            raise CheckpointError(reason=Finding("checkpoint_size_or_root"))
        if not self.size and self.root != EMPTY_ROOT:
            raise CheckpointError(reason=Finding("checkpoint_empty_root"))

    def body(self) -> str:
        """The text that is signed: one line for each part (tlog-checkpoint, Note text)."""
        return "".join(
            f"{line}\n" for line in (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        )

    @classmethod
    def parse(cls, body: str) -> Checkpoint:
        """Parse what `body` wrote. Raises CheckpointError."""
        match body.split("\n"):
            case [origin, size, root, *extensions, ""] if _DECIMAL.fullmatch(size):
                return cls(origin, int(size), _decode_base64(root) or b"", tuple(extensions))
        raise CheckpointError(reason=Finding("checkpoint_format"))


def open_checkpoint(note: str | bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Verify a note that one of the log's keys has signed. Returns its checkpoint.

    A key of the log has the log's origin as its name. Raises CheckpointError.
    """
    parsed, key = verify_note(note, keys)
    checkpoint = Checkpoint.parse(parsed.text)
    if checkpoint.origin != key.name:
        raise CheckpointError(reason=Finding("checkpoint_origin", origin=checkpoint.origin, key=key.name))
    return checkpoint


def verify_consistent(earlier: Checkpoint, later: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that the later tree begins with the earlier one. No proof is needed from an empty tree.

    Raises ProofError.
    """
    if earlier.origin != later.origin:
        raise ProofError(reason=Finding("consistency_origins", earlier=earlier.origin, later=later.origin))
    if earlier.size or proof:
        verify_consistency(earlier.size, later.size, proof, earlier.root, later.root)


class Proof(Struct, frozen=True):
    """Proves one entry offline, with the log's public key: the leaf index, its audit path, and the signed checkpoint.

    `extra` is opaque and not authenticated (tlog-proof, Format).
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    _HEADER = "c2sp.org/tlog-proof@v1"

    def __str__(self) -> str:
        extra = [f"extra {encode_base64(self.extra)}"] if self.extra is not None else []
        lines = [self._HEADER, *extra, f"index {self.index}", *(encode_base64(node) for node in self.path), ""]
        return "".join(f"{line}\n" for line in lines) + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Parse what `str` wrote, without its checkpoint. Raises ProofError when the text is malformed."""
        head, blank, checkpoint = text.partition("\n\n")
        header, *lines = head.split("\n")
        if not blank or header != cls._HEADER:
            raise ProofError(reason=Finding("proof_header", header=cls._HEADER))
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _decode_base64(lines.pop(0).removeprefix("extra "))
            if not extra:
                raise ProofError(reason=Finding("proof_extra"))
        if not lines or not lines[0].startswith("index ") or not _DECIMAL.fullmatch(lines[0].removeprefix("index ")):
            raise ProofError(reason=Finding("proof_index"))
        path = tuple(_decode_base64(line) or b"" for line in lines[1:])
        if any(len(node) != HASH_SIZE for node in path):
            raise ProofError(reason=Finding("proof_path"))
        return cls(int(lines[0].removeprefix("index ")), path, checkpoint, extra)

    def verify(self, leaf: bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
        """Check the checkpoint's signature and that the leaf hash is in its tree. Returns the checkpoint.

        Raises CheckpointError, ProofError.
        """
        checkpoint = open_checkpoint(self.checkpoint, keys)
        verify_inclusion(self.index, checkpoint.size, leaf, self.path, checkpoint.root)
        return checkpoint


def is_key_name(name: str) -> bool:
    """Whether a text can be the name of a key in a signed note."""
    return bool(name) and "+" not in name and not any(char.isspace() or char < " " for char in name)


def parse_key(text: str, type: bytes) -> tuple[str, bytes]:
    """The name and the 32 bytes of a key of a type in `<name>+<key id>+<base64>`. Raises BadKey."""
    match text.split("+", 2):
        case [name, key_id, encoded] if is_key_name(name) and len(key_id) == 8:
            material = _decode_base64(encoded)
            if material is None or len(material) != 33 or material[:1] != type:
                raise BadKey(reason=Finding("key_type"))
            return name, material[1:]
    raise BadKey(reason=Finding("key_format"))


def encode_base64(data: bytes) -> str:
    """Canonical base64 (RFC 4648 §4)."""
    return base64.b64encode(data).decode()


def _decode_base64(text: str) -> bytes | None:
    # Accept only the canonical encoding of RFC 4648 §4: otherwise a changed text could decode to the same bytes.
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None
