"""The heads of all streams under one hash: proves that a stream ends with a given event.

An RFC 6962 tree of exactly 65,536 leaves. The first two bytes of SHA-256(stream) are the index of the stream's leaf.
The leaf's data are the lines `<stream> <version> <leaf hash in hexadecimal>` of all streams with that index, in the
byte order of their names. With each checkpoint the signer signs a second note: the origin followed by `/heads`, the
size and root of the checkpoint, and `heads <base64>`. It is not an extension line of the checkpoint, because some
verifiers reject those.

The root can be computed from the log's entries alone. The signer keeps the tree in memory and updates it before it
signs; appending never does. Pure functions: nothing is read or written here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from msgspec import Struct

from registry.transparency.checkpoint import Checkpoint, CheckpointError, VerifierKey, verify_note
from registry.transparency.findings import Finding
from registry.transparency.merkle import HASH_SIZE, ProofError, leaf_hash, node_hash, verify_inclusion

DEPTH = 16
BUCKETS = 1 << DEPTH
"""Leaves of the tree. All its hashes take 4 MB, and a million streams make about 15 lines a leaf."""

_ORIGIN = "/heads"
_LINE = "heads "


class StreamHead(Struct, frozen=True):
    """The last event of a stream: its version and its leaf hash."""

    stream: str
    version: int
    leaf_hash: bytes


class HeadProof(Struct, frozen=True):
    """Proves the head of a stream, or that the stream does not exist: the leaf's data, and its audit path."""

    lines: str
    path: tuple[bytes, ...]


def bucket_of(stream: str) -> int:
    """The index of the leaf that has the stream's line."""
    return int.from_bytes(sha256(stream.encode()).digest()[:2])


class StreamHeadTree:
    """The tree over the heads of all streams, updated as the log grows."""

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
        """Replace or add the heads of these streams."""
        updates: dict[int, dict[bytes, bytes]] = {}
        for head in heads:
            name = head.stream.encode()
            updates.setdefault(bucket_of(head.stream), {})[name] = b"%b %d %b\n" % (
                name,
                head.version,
                head.leaf_hash.hex().encode(),
            )
        nodes = self._nodes
        changed = {(BUCKETS + bucket) >> 1 for bucket in updates}
        while updates:
            # Freed one by one: while all are freed at once, no other thread runs.
            bucket, lines = updates.popitem()
            known = {line.partition(b" ")[0]: line for line in self._lines.get(bucket, b"").splitlines(keepends=True)}
            data = self._lines[bucket] = b"".join(line for _, line in sorted((known | lines).items()))
            offset = (BUCKETS + bucket) * HASH_SIZE
            nodes[offset : offset + HASH_SIZE] = leaf_hash(data)
        while changed and changed != {0}:
            for number in changed:
                children = 2 * number * HASH_SIZE
                nodes[number * HASH_SIZE : (number + 1) * HASH_SIZE] = sha256(
                    b"\x01" + nodes[children : children + 2 * HASH_SIZE]
                ).digest()
            changed = {number >> 1 for number in changed}

    def lines(self) -> list[str]:
        """The line of every stream."""
        return [line for _, lines in sorted(self._lines.items()) for line in lines.decode().splitlines()]

    def root(self) -> bytes:
        """The root of the tree."""
        return self._node(1)

    def prove(self, stream: str) -> HeadProof:
        """Prove the current head of a stream, or that the stream does not exist."""
        bucket = bucket_of(stream)
        number = BUCKETS + bucket
        path = tuple(self._node(number >> height ^ 1) for height in range(DEPTH))
        return HeadProof(self._lines.get(bucket, b"").decode(), path)

    def _node(self, number: int) -> bytes:
        return bytes(self._nodes[number * HASH_SIZE : (number + 1) * HASH_SIZE])


def heads_statement(head: Checkpoint, root: bytes) -> Checkpoint:
    """The statement of heads that the signer signs: in form, a checkpoint with an origin of its own."""
    return Checkpoint(f"{head.origin}{_ORIGIN}", head.size, head.root, (_LINE + base64.b64encode(root).decode(),))


def open_heads(note: str | bytes, keys: Iterable[VerifierKey]) -> tuple[Checkpoint, bytes, VerifierKey]:
    """Verify a signed statement of heads.

    Returns:
        The checkpoint that the statement belongs to, the root of the heads, and the key that signed it.

    Raises:
        CheckpointError: The note is malformed, or no key has signed it.
    """
    parsed, key = verify_note(note, keys)
    statement = Checkpoint.parse(parsed.text)
    head = Checkpoint(key.name, statement.size, statement.root)
    try:
        root = base64.b64decode(statement.extensions[0].removeprefix(_LINE), validate=True)
    except (IndexError, ValueError):
        root = b""
    if len(root) != HASH_SIZE or statement != heads_statement(head, root):
        raise CheckpointError(reason=Finding("heads_statement"))
    return head, root, key


def parse_head(line: str) -> StreamHead:
    """The head of a stream from its line.

    Raises:
        ProofError: The line is malformed.
    """
    try:
        name, version, leaf = line.split(" ")
        return StreamHead(name, int(version), bytes.fromhex(leaf))
    except ValueError:
        raise ProofError(reason=Finding("heads_lines")) from None


def parse_heads(texts: Iterable[str]) -> Iterator[StreamHead]:
    """The heads of streams from texts of their lines.

    Raises:
        ProofError: A line is malformed.
    """
    return (parse_head(line) for text in texts for line in text.splitlines())


def verify_head(stream: str, lines: str, path: Sequence[bytes], root: bytes) -> StreamHead | None:
    """The head of a stream that the root commits to; None proves that the stream does not exist.

    Raises:
        ProofError: The path does not lead to the root, or the leaf is malformed.
    """
    bucket = bucket_of(stream)
    verify_inclusion(bucket, BUCKETS, leaf_hash(lines.encode()), path, root)
    result: StreamHead | None = None
    previous = b""
    for line in lines.splitlines(keepends=True):
        match line.removesuffix("\n").split(" "):
            case [name, version, leaf] if (
                line.endswith("\n") and bucket_of(name) == bucket and name.encode() > previous and version.isdecimal()
            ):
                previous = name.encode()
                try:
                    head = StreamHead(name, int(version), bytes.fromhex(leaf))
                except ValueError:
                    raise ProofError(reason=Finding("heads_leaf_hash", stream=name)) from None
                if name == stream:
                    result = head
            case _:
                raise ProofError(reason=Finding("heads_lines"))
    return result
