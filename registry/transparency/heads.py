"""The last event of every stream under one hash: what proves that a deal's history ends where it is said to end.

An RFC 6962 tree of exactly 65,536 leaves. A stream's leaf is the one numbered by the first two bytes of SHA-256(its
name); the leaf's data are the lines `<stream> <version> <leaf hash in hexadecimal>` of all streams that fall there, in
the order of their names' bytes. With each checkpoint the signer signs a statement beside it: the origin with `/heads`
behind it, the size and root of the checkpoint, and `heads <base64>`. (Not a line of the checkpoint itself: there are
verifiers that know none but the first three.) Whoever reads all entries can compute the same. It is held in memory and
moved forward by the signer, never by an append; nothing is read or written here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from hashlib import sha256

from msgspec import Struct

from registry.transparency.checkpoint import Checkpoint, CheckpointError, VerifierKey, verify_note
from registry.transparency.merkle import HASH_SIZE, ProofError, leaf_hash, node_hash, verify_inclusion

DEPTH = 16
BUCKETS = 1 << DEPTH
"""Leaves of the tree: few enough to hold all inner hashes in 4 MB, enough for a million streams at 15 lines a leaf."""

_ORIGIN = "/heads"
_LINE = "heads "


class StreamHead(Struct, frozen=True):
    """A stream's last event: its version, and its leaf hash."""

    stream: str
    version: int
    leaf_hash: bytes


class HeadProof(Struct, frozen=True):
    """Proves a stream's last event, or that there is no such stream: the leaf's data, and its audit path."""

    lines: str
    path: tuple[bytes, ...]


def bucket_of(stream: str) -> int:
    """The number of the leaf in which a stream's last event stands."""
    return int.from_bytes(sha256(stream.encode()).digest()[:2])


class StreamHeadTree:
    """The tree over the last events of all streams as it moves forward with the log."""

    __slots__ = ("_lines", "_nodes")

    def __init__(self) -> None:
        self._lines: dict[int, bytes] = {}
        # Node 1 is the root, the children of node i are 2i and 2i + 1, the leaves begin at BUCKETS.
        node = leaf_hash(b"")
        levels = []
        for depth in range(DEPTH, -1, -1):
            levels.append(node * (1 << depth))
            node = node_hash(node, node)
        self._nodes = bytearray(HASH_SIZE) + b"".join(reversed(levels))

    def update(self, heads: Iterable[StreamHead]) -> None:
        """Takes in the last events of streams that have new ones."""
        fresh: dict[int, dict[bytes, bytes]] = {}
        for head in heads:
            name = head.stream.encode()
            fresh.setdefault(bucket_of(head.stream), {})[name] = b"%b %d %b\n" % (
                name,
                head.version,
                head.leaf_hash.hex().encode(),
            )
        nodes = self._nodes
        for bucket, lines in fresh.items():
            held = {line.partition(b" ")[0]: line for line in self._lines.get(bucket, b"").splitlines(keepends=True)}
            data = self._lines[bucket] = b"".join(line for _, line in sorted((held | lines).items()))
            at = (BUCKETS + bucket) * HASH_SIZE
            nodes[at : at + HASH_SIZE] = leaf_hash(data)
        changed = {(BUCKETS + bucket) >> 1 for bucket in fresh}
        while changed and changed != {0}:
            for number in changed:
                children = 2 * number * HASH_SIZE
                nodes[number * HASH_SIZE : (number + 1) * HASH_SIZE] = sha256(
                    b"\x01" + nodes[children : children + 2 * HASH_SIZE]
                ).digest()
            changed = {number >> 1 for number in changed}

    def root(self) -> bytes:
        """The hash over all of them."""
        return self._node(1)

    def prove(self, stream: str) -> HeadProof:
        """The proof of a stream's last event as it stands; of its absence where there is no such stream."""
        bucket = bucket_of(stream)
        number = BUCKETS + bucket
        path = tuple(self._node(number >> height ^ 1) for height in range(DEPTH))
        return HeadProof(self._lines.get(bucket, b"").decode(), path)

    def _node(self, number: int) -> bytes:
        return bytes(self._nodes[number * HASH_SIZE : (number + 1) * HASH_SIZE])


def heads_statement(head: Checkpoint, root: bytes) -> Checkpoint:
    """What the signer says of the heads of a tree: its text is that of a checkpoint with an origin of its own."""
    return Checkpoint(f"{head.origin}{_ORIGIN}", head.size, head.root, (_LINE + base64.b64encode(root).decode(),))


def open_heads(note: str | bytes, keys: Iterable[VerifierKey]) -> tuple[Checkpoint, bytes, VerifierKey]:
    """The tree that a signed statement is about, the root of its heads, and who signed. Raises CheckpointError."""
    parsed, key = verify_note(note, keys)
    said = Checkpoint.parse(parsed.text)
    head = Checkpoint(key.name, said.size, said.root)
    try:
        root = base64.b64decode(said.extensions[0].removeprefix(_LINE), validate=True)
    except (IndexError, ValueError):
        root = b""
    if len(root) != HASH_SIZE or said != heads_statement(head, root):
        raise CheckpointError(reason="it is no statement of the last events of this log's streams.")
    return head, root, key


def verify_head(stream: str, lines: str, path: Sequence[bytes], root: bytes) -> StreamHead | None:
    """The last event of a stream that the root commits to; None proves that the stream has none.

    Raises ProofError."""
    bucket = bucket_of(stream)
    verify_inclusion(bucket, BUCKETS, leaf_hash(lines.encode()), path, root)
    found: StreamHead | None = None
    before = b""
    for line in lines.splitlines(keepends=True):
        match line.removesuffix("\n").split(" "):
            case [name, version, leaf] if (
                line.endswith("\n") and bucket_of(name) == bucket and name.encode() > before and version.isdecimal()
            ):
                before = name.encode()
                try:
                    head = StreamHead(name, int(version), bytes.fromhex(leaf))
                except ValueError:
                    raise ProofError(reason=f"the leaf of '{name}' is no SHA-256 hash.") from None
                if name == stream:
                    found = head
            case _:
                raise ProofError(reason="the heads beside it are not one stream a line, in the order of their names.")
    return found
