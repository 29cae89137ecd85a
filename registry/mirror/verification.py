"""Verify a page of another registry's log before it is copied. Pure: no network and no database.

A page is right if the tree that it extends is the beginning of the tree that the origin signed. A consistency proof
from the page's end to the signed checkpoint shows that, so each page is verified by itself, and before it is stored.
Then every entry is compared with its content and with its place in its stream, and every checkpoint and statement of
heads of these sizes with the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import asdict

from registry import schemas
from registry.events.codec import canonical, content_digest, entry_columns, from_row
from registry.events.store import StoredEvent
from registry.mirror.contradiction import Contradiction, OriginUnreadable
from registry.transparency.checkpoint import (
    Checkpoint,
    CheckpointError,
    VerifierKey,
    open_checkpoint,
    parse_note,
    verify_note,
)
from registry.transparency.checkpoint_store import SignedCheckpoint
from registry.transparency.cosignatures import split_cosignatures
from registry.transparency.findings import Finding
from registry.transparency.heads import open_heads
from registry.transparency.merkle import Frontier, ProofError, leaf_hash, verify_consistency
from registry.transparency.tiles import Tile
from registry.transparency.verify import compare_times, read_entry


class VerifiedCheckpoint(Struct, frozen=True):
    """A checkpoint of the origin that agrees with the copied log, the key that signed it, and other signature lines."""

    verifier: str
    signed: SignedCheckpoint
    others: list[str]


def open_signed(note: str, keys: Sequence[VerifierKey], position: int) -> Checkpoint:
    """The checkpoint of a note that one of the trusted keys has signed.

    Raises:
        Contradiction: A trusted key's signature does not verify, or none has signed: the origin has a new key, or
            another one answers in its place.
        OriginUnreadable: The answer is no signed note.
    """
    try:
        if not is_signed(note, keys):
            finding = Finding("mirror_key", keys=tuple(map(str, keys)))
            raise Contradiction("key", position, finding, note=note)
    except CheckpointError as error:
        raise OriginUnreadable(problem=error.message) from None
    try:
        return open_checkpoint(note, keys)
    except CheckpointError as error:
        finding = Finding("mirror_signature", problem=error.message)
        raise Contradiction("signature", position, finding, note=note) from None


def is_signed(note: str, keys: Sequence[VerifierKey]) -> bool:
    """Whether a note has a signature line of one of the keys, not verified. Raises CheckpointError."""
    known = {(key.name, key.key_id) for key in keys}
    return any((one.name, one.key_id) in known for one in parse_note(note).signatures)


def verify_continues(size: int, root: bytes, target: Checkpoint, proof: Sequence[bytes], known: str, note: str) -> None:
    """Check that the signed tree begins with the copied one.

    Args:
        size: Events of the copied log.
        root: Its root.
        target: The origin's checkpoint.
        proof: The consistency proof between the two.
        known: The newest checkpoint that was copied.
        note: The note of `target`; both are kept as evidence.

    Raises:
        Contradiction: The tree is smaller, or differs.
    """
    if target.size < size:
        finding = Finding("mirror_rollback", known=size, size=target.size)
        raise Contradiction("rollback", target.size, finding, known=known, note=note)
    if not size:
        return
    try:
        verify_consistency(size, target.size, proof, root, target.root)
    except ProofError as error:
        finding = Finding("mirror_fork", known=size, size=target.size, problem=error.message)
        evidence = {"known": known, "note": note, "proof": [node.hex() for node in proof]}
        raise Contradiction("fork", size, finding, **evidence) from None


def leaves_of(entries: Sequence[schemas.LogEntry], frontier: Frontier) -> tuple[Frontier, list[Tile]]:
    """The tree with the entries of a page, which follow each other, and the tiles that they complete."""
    extended = frontier.copy()
    tiles: list[Tile] = []
    for entry in entries:
        if entry.position != extended.size + 1:
            finding = Finding("mirror_positions", position=entry.position, expected=extended.size + 1)
            raise Contradiction("entry", extended.size + 1, finding, entry=entry.entry)
        tiles += extended.append(leaf_hash(entry.entry.encode()))
    return extended, tiles


def verify_entries(
    entries: Sequence[schemas.LogEntry],
    extended: Frontier,
    target: Checkpoint,
    proof: Sequence[bytes],
    note: str,
) -> None:
    """Check that the tree with a page's entries is the beginning of the signed tree.

    Raises:
        Contradiction: One of the entries is not the one that was signed.
    """
    try:
        verify_consistency(extended.size, target.size, proof, extended.root(), target.root)
    except ProofError as error:
        first, last = entries[0].position, entries[-1].position
        finding = Finding("mirror_entries", first=first, last=last, size=target.size, problem=error.message)
        evidence = {"note": note, "entries": [one.entry for one in entries], "proof": [node.hex() for node in proof]}
        raise Contradiction("entry", first, finding, **evidence) from None


def stream_of(entry: schemas.LogEntry) -> str:
    """The stream of an entry."""
    return read_entry(entry.position, entry.entry.encode()).stream


def verify_contents(
    entries: Iterable[schemas.LogEntry], heads: Mapping[str, tuple[int, bytes]], recorded_at: datetime | None
) -> list[StoredEvent]:
    """The events of entries that are proved to be the origin's.

    Args:
        entries: The entries.
        heads: The version and the last leaf hash of each stream before them.
        recorded_at: When the last event before them was recorded.

    Raises:
        Contradiction: The content is not that of the entry, or the entry is not the next one of its stream, or it was
            recorded before the one in front of it.
        UnknownEventType, msgspec.ValidationError: This release cannot decode the event.
    """
    after = {stream: (version, leaf.hex()) for stream, (version, leaf) in heads.items()}
    events = []
    for one in entries:
        data = one.entry.encode()
        entry = read_entry(one.position, data)
        version, previous = after.get(entry.stream, (0, None))
        if (entry.version, entry.previous) != (version + 1, previous) or canonical(entry) != data:
            finding = Finding("mirror_order", position=one.position, stream=entry.stream, version=version + 1)
            raise Contradiction("order", one.position, finding, entry=one.entry)
        if (earlier := compare_times(one.position, recorded_at, entry.recorded_at)) is not None:
            raise Contradiction("order", one.position, earlier, entry=one.entry)
        recorded_at = entry.recorded_at
        leaf = leaf_hash(data)
        after[entry.stream] = (entry.version, leaf.hex())
        content, salt = _content_of(one, entry.content, withheld=entry.stream.startswith("principal/"))
        row = {**entry_columns(entry), "position": one.position, "leaf_hash": leaf, "content": content}
        events.append(StoredEvent(from_row(row), data, content, salt))
    return events


def _content_of(entry: schemas.LogEntry, digest: str, *, withheld: bool) -> tuple[bytes | None, bytes | None]:
    if withheld or (entry.content is None and entry.salt is None):
        return None, None
    content, salt = (entry.content or "").encode(), bytes.fromhex(entry.salt or "")
    if content_digest(salt, content) != digest:
        finding = Finding("content_digest", position=entry.position)
        raise Contradiction("content", entry.position, finding, **asdict(entry))
    return content, salt


def verify_checkpoint(
    stated: schemas.CheckpointAndHeads, root: bytes, heads: bytes, keys: Sequence[VerifierKey]
) -> VerifiedCheckpoint | None:
    """Compare a checkpoint that the origin states with the copied log of this size; None if no trusted key signed it.

    Args:
        stated: The checkpoint and its statement of heads.
        root: The root of the copied log at its size.
        heads: The root of the heads of all streams at its size.
        keys: The trusted keys.

    Raises:
        Contradiction: The origin signed another tree, or other heads.
    """
    try:
        if not is_signed(stated.note, keys):
            # By a key of earlier times that the operator does not trust: it proves nothing, and is not copied.
            return None
    except CheckpointError as error:
        raise OriginUnreadable(problem=error.message) from None
    evidence = {"note": stated.note, "heads": stated.heads}
    checkpoint = open_signed(stated.note, keys, stated.size)
    if (checkpoint.size, checkpoint.root) != (stated.size, root):
        finding = Finding("mirror_other_root", size=checkpoint.size)
        raise Contradiction("fork", stated.size, finding, **evidence)
    try:
        head, stated_heads, _ = open_heads(stated.heads, keys)
    except CheckpointError as error:
        finding = Finding("mirror_heads", size=stated.size, problem=error.message)
        raise Contradiction("heads", stated.size, finding, **evidence) from None
    if head != checkpoint or heads != stated_heads:
        finding = Finding("log_heads", source=Finding("source_origin", size=stated.size))
        raise Contradiction("heads", stated.size, finding, **evidence)
    _, key = verify_note(stated.note, keys)
    note, others = split_cosignatures(stated.note, key)
    signed = SignedCheckpoint(stated.size, note, stated.heads, stated.signed_at)
    return VerifiedCheckpoint(str(key), signed, others)
