"""The texts by which the log commits itself: signed notes, checkpoints and proof bundles, as C2SP has them.

Formats: c2sp.org/signed-note with Ed25519 (type 0x01), c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof. Whoever has a
public key can check with this module alone; it reads no file and no network, and remembers nothing. What may be signed
is decided in signer.py.
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
from registry.transparency.merkle import EMPTY_ROOT, HASH_SIZE, ProofError, verify_consistency, verify_inclusion

ED25519 = b"\x01"
"""The signature type of Ed25519 (signed-note, Signature types)."""

MAX_NOTE = 1 << 20
MAX_SIGNATURES = 64
"""Bytes and signatures beyond which a note is not even parsed (signed-note asks for a limit of at least 16
signatures)."""

_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


class CheckpointError(RegistryError):
    """A checkpoint does not verify."""

    code = "bad_checkpoint"


class BadKey(RegistryError):
    """A text is not a key of a signed note."""

    code = "bad_note_key"


class VerifierKey(Struct, frozen=True):
    """A public key and the name it signs under; as text, `<name>+<key id>+<base64>`, the note's vkey."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key) (signed-note, Signatures)."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(ED25519 + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """What `str` wrote. Raises BadKey, also for a type other than Ed25519 and for an id that is not the key's
        own."""
        name, material = _key_material(vkey)
        key = cls(name, material)
        if str(key) != vkey:
            raise BadKey(reason="its id is not that of its name and public key.")
        return key

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the signature is this key's over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key and the name it signs under. Its text stands in no log: `str` and `repr` show the public half."""

    __slots__ = ("_private", "verifier")

    # golang.org/x/mod/sumdb/note defines this encoding, and the tools around C2SP's formats read it. Unlike PKCS #8 it
    # names the log, so a key can't by mistake sign for another one.
    _PREFIX = "PRIVATE+KEY+"

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = VerifierKey(name, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A new key. Raises BadKey when the name can't be a note's key name."""
        if not _is_name(name):
            raise BadKey(reason=f"'{name}' can't be its name, which has neither spaces nor plus signs.")
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """What `secret` wrote. Raises BadKey, which never repeats the text."""
        if not text.startswith(cls._PREFIX):
            raise BadKey(reason=f"a private one begins with {cls._PREFIX}.")
        name, seed = _key_material(text.removeprefix(cls._PREFIX))
        key = cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        if key.secret() != text:
            raise BadKey(reason="its id is not that of its name and public key.")
        return key

    def secret(self) -> str:
        """`PRIVATE+KEY+<name>+<key id>+<base64 of 0x01 ‖ seed>`."""
        seed = _base64(ED25519 + self._private.private_bytes_raw())
        return f"{self._PREFIX}{self.verifier.name}+{self.verifier.key_id.hex()}+{seed}"

    def sign(self, text: str) -> str:
        """The signed note over a text, which ends in a newline."""
        signature = self.verifier.key_id + self._private.sign(text.encode())
        return f"{text}\n— {self.verifier.name} {_base64(signature)}\n"

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier})"


class Signature(Struct, frozen=True):
    """One signature line of a note: who is said to have signed, and the bytes that must prove it."""

    name: str
    key_id: bytes
    signature: bytes


class Note(Struct, frozen=True):
    """A note as it reads, with its signatures not yet checked."""

    text: str
    signatures: tuple[Signature, ...]


def parse_note(note: str | bytes) -> Note:
    """Reads a signed note without checking its signatures. Raises CheckpointError when it is malformed."""
    try:
        data = note if isinstance(note, bytes) else note.encode()
        whole = data.decode()
    except UnicodeError:
        raise CheckpointError(reason="it is not UTF-8.") from None
    if len(data) > MAX_NOTE or _CONTROL.search(whole):
        raise CheckpointError(reason=f"it has control characters or more than {MAX_NOTE} bytes.")
    text, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise CheckpointError(reason="it has no signatures, each on its own line after the last empty one.")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise CheckpointError(reason=f"it has more than {MAX_SIGNATURES} signatures.")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> Signature:
    match line.split(" "):
        case ["—", name, encoded] if _is_name(name):
            signature = _decode_base64(encoded)
            if signature is not None and len(signature) > 4:
                return Signature(name, signature[:4], signature[4:])
    raise CheckpointError(reason="a line after the last empty one is not a signature.")


def verify_note(note: str | bytes, keys: Iterable[VerifierKey]) -> tuple[Note, VerifierKey]:
    """Reads a note that one of these keys has signed, and says which. Signatures of other keys are ignored.

    Raises CheckpointError when the note is malformed, when none of the keys has signed it, or when a signature in the
    name and id of one of them is not its own (signed-note, Signatures)."""
    parsed = parse_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    signers = []
    for signature in parsed.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            if not key.verify(parsed.text, signature.signature):
                raise CheckpointError(reason=f"the signature of {key.name} is not over this text.")
            signers.append(key)
    if not signers:
        raise CheckpointError(reason="none of the known keys has signed it.")
    return parsed, signers[0]


class Checkpoint(Struct, frozen=True):
    """A tree head: the log's origin, its size in leaves, the root at that size, and extension lines if any."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or "" in self.extensions or any("\n" in line for line in (self.origin, *self.extensions)):
            raise CheckpointError(reason="its origin and its extensions are lines, and none is empty.")
        if not 0 <= self.size < 1 << 63 or len(self.root) != HASH_SIZE:
            raise CheckpointError(reason="its size is no count of leaves, or its root no SHA-256 hash.")
        if not self.size and self.root != EMPTY_ROOT:
            raise CheckpointError(reason="a tree of 0 leaves has another root.")

    def body(self) -> str:
        """The note text: the four parts, one a line (tlog-checkpoint, Note text)."""
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), _base64(self.root), *self.extensions))

    @classmethod
    def parse(cls, body: str) -> Checkpoint:
        """What `body` wrote. Raises CheckpointError."""
        match body.split("\n"):
            case [origin, size, root, *extensions, ""] if _DECIMAL.fullmatch(size):
                return cls(origin, int(size), _decode_base64(root) or b"", tuple(extensions))
        raise CheckpointError(reason="its lines are not an origin, a size and a root.")


def open_checkpoint(note: str | bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint in a note that one of the log's keys has signed. A log's keys bear the name of its origin.

    Raises CheckpointError."""
    parsed, key = verify_note(note, keys)
    checkpoint = Checkpoint.parse(parsed.text)
    if checkpoint.origin != key.name:
        raise CheckpointError(reason=f"it is of {checkpoint.origin}, and signed by the key of {key.name}.")
    return checkpoint


def verify_consistent(earlier: Checkpoint, later: Checkpoint, proof: Sequence[bytes]) -> None:
    """Checks that the later tree begins with the earlier one. Nothing needs proving after an empty tree.

    Raises ProofError."""
    if earlier.origin != later.origin:
        raise ProofError(reason=f"{earlier.origin} and {later.origin} are two logs.")
    if earlier.size or proof:
        verify_consistency(earlier.size, later.size, proof, earlier.root, later.root)


class Proof(Struct, frozen=True):
    """A bundle that proves one entry to whoever has the log's public key: the leaf's index, its audit path, and the
    signed checkpoint as it was issued. `extra` is opaque and not authenticated (tlog-proof, Format)."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    _HEADER = "c2sp.org/tlog-proof@v1"

    def __str__(self) -> str:
        extra = [f"extra {_base64(self.extra)}"] if self.extra is not None else []
        lines = [self._HEADER, *extra, f"index {self.index}", *(_base64(node) for node in self.path), ""]
        return "".join(f"{line}\n" for line in lines) + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> Proof:
        """What `str` wrote. Raises ProofError when the text is malformed; the checkpoint in it is not looked into."""
        head, blank, checkpoint = text.partition("\n\n")
        header, *lines = head.split("\n")
        if not blank or header != cls._HEADER:
            raise ProofError(reason=f"its first line is not {cls._HEADER}, or it has no checkpoint.")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _decode_base64(lines.pop(0).removeprefix("extra "))
            if not extra:
                raise ProofError(reason="its extra data is not base64.")
        if not lines or not lines[0].startswith("index ") or not _DECIMAL.fullmatch(lines[0].removeprefix("index ")):
            raise ProofError(reason="it has no index.")
        path = tuple(_decode_base64(line) or b"" for line in lines[1:])
        if any(len(node) != HASH_SIZE for node in path):
            raise ProofError(reason="a line of its path is no SHA-256 hash in base64.")
        return cls(int(lines[0].removeprefix("index ")), path, checkpoint, extra)

    def verify(self, leaf: bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
        """Checks that the leaf hash is in the tree of the checkpoint, and the checkpoint signed; gives the checkpoint.

        Raises CheckpointError, ProofError."""
        checkpoint = open_checkpoint(self.checkpoint, keys)
        verify_inclusion(self.index, checkpoint.size, leaf, self.path, checkpoint.root)
        return checkpoint


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(char.isspace() or char < " " for char in name)


def _key_material(text: str) -> tuple[str, bytes]:
    match text.split("+", 2):
        case [name, key_id, encoded] if _is_name(name) and len(key_id) == 8:
            material = _decode_base64(encoded)
            if material is None or len(material) != 33 or material[:1] != ED25519:
                raise BadKey(reason="it is not an Ed25519 key, the only kind that is used here.")
            return name, material[1:]
    raise BadKey(reason="it has not the form <name>+<key id>+<base64>.")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode_base64(text: str) -> bytes | None:
    # Only the one way that RFC 4648 §4 writes these bytes: else a changed text could mean the same.
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if _base64(data) == text else None
