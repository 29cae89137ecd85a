"""Events with their proofs: the streams that bundles contain, and the verification that they are whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from registry.errors import LogCorrupt
from registry.events.codec import content_digest, entry_columns, from_row
from registry.events.types import EventRedacted, Recorded
from registry.transparency.checkpoint import Checkpoint, VerifierKey
from registry.transparency.findings import Finding
from registry.transparency.heads import StreamHead, open_heads, verify_head
from registry.transparency.merkle import HASH_SIZE, ProofError, leaf_hash, verify_inclusion
from registry.transparency.verify import compare_times, read_entry

# A hash in JSON is in hexadecimal; in C2SP texts it is in base64.
Hex = str


class ProvenEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event with the bytes that were hashed, as text, and its audit path.

    `content` and `salt` are null once redacted.
    """

    position: int
    entry: str
    content: str | None
    salt: Hex | None
    path: tuple[Hex, ...]


class ProvenHead(Struct, frozen=True, forbid_unknown_fields=True):
    """The proof of a stream's head: its leaf in the tree of heads, the audit path, and the signed statement."""

    lines: str
    path: tuple[Hex, ...]
    statement: str


class Bundle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="bundle"):
    """A document that can be verified offline."""


class CertifiedDeal(Struct, frozen=True, forbid_unknown_fields=True):
    """All events of a deal up to the checkpoint, and the proof that there are no others (`ProvenHead`)."""

    deal: str
    events: tuple[ProvenEvent, ...]
    lines: str
    path: tuple[Hex, ...]


class CertifiedOrganization(Struct, frozen=True, forbid_unknown_fields=True):
    """The same of an organization."""

    organization: str
    events: tuple[ProvenEvent, ...]
    lines: str
    path: tuple[Hex, ...]


class BundleVerification(Struct, frozen=True, kw_only=True):
    """The result of verifying a bundle.

    Attributes:
        proves: What the bundle proves.
        position: The log position of the answer.
        size: The size of the checkpoint.
        origin: The log's name.
        erased: How many events have no content.
        filters: The filters of the answer.
        similar: What misspelt words of the filter `q` were taken for, as the registry states it.
    """

    proves: Finding
    position: int
    size: int
    origin: str
    erased: int = 0
    filters: dict[str, str] = {}
    similar: dict[str, tuple[str, ...]] = {}


def verify_event(proven: ProvenEvent, checkpoint: Checkpoint) -> Recorded:
    """The event of a proven entry and its content. Does not check `previous`."""
    entry_bytes = proven.entry.encode()
    leaf = leaf_hash(entry_bytes)
    verify_inclusion(proven.position - 1, checkpoint.size, leaf, _hashes(proven.path), checkpoint.root)
    entry = read_entry(proven.position, entry_bytes)
    content = None
    if proven.content is not None and proven.salt is not None:
        content = proven.content.encode()
        if content_digest(_hash(proven.salt), content) != entry.content:
            raise LogCorrupt(detail=Finding("content_digest", position=proven.position))
    elif proven.content is not None or proven.salt is not None:
        raise LogCorrupt(detail=Finding("content_or_salt_missing", position=proven.position))
    return from_row({**entry_columns(entry), "position": proven.position, "leaf_hash": leaf, "content": content})


def verify_stream(
    stream: str,
    proven_events: Sequence[ProvenEvent],
    proven_head: ProvenHead,
    checkpoint: Checkpoint,
    keys: tuple[VerifierKey, ...],
) -> list[Recorded]:
    """All events of a stream up to a checkpoint."""
    events: list[Recorded] = []
    previous: Recorded | None = None
    for proven in proven_events:
        recorded = verify_event(proven, checkpoint)
        previous_leaf = read_entry(proven.position, proven.entry.encode()).previous
        version = len(events) + 1
        if (
            f"{recorded.kind}/{recorded.slug}" != stream
            or recorded.version != version
            or previous_leaf != (previous.leaf_hash.hex() if previous else None)
            or (previous is not None and recorded.position <= previous.position)
        ):
            raise LogCorrupt(
                detail=Finding("bundle_event_order", position=proven.position, version=version, stream=stream)
            )
        events.append(recorded)
        previous = recorded
    verify_times(events)
    if previous is None:
        raise LogCorrupt(detail=Finding("bundle_events_missing"))
    head, heads, _ = open_heads(proven_head.statement, keys)
    if head != checkpoint:
        raise LogCorrupt(detail=Finding("heads_of_another_checkpoint"))
    last = verify_head(stream, proven_head.lines, _hashes(proven_head.path), heads)
    if last != StreamHead(stream, previous.version, previous.leaf_hash):
        raise LogCorrupt(detail=Finding("bundle_last_event", stream=stream))
    _verify_redactions(events)
    return events


def verify_times(events: Iterable[Recorded]) -> None:
    """Check that no event was recorded before one that is in front of it in the log.

    Args:
        events: Events of a log, in the order of their positions.
    """
    before: datetime | None = None
    for event in events:
        if (earlier := compare_times(event.position, before, event.recorded_at)) is not None:
            raise LogCorrupt(detail=earlier)
        before = event.recorded_at


def _verify_redactions(events: Sequence[Recorded]) -> None:
    """Content may be missing only where a redaction in the bundle names the event."""
    redacted = {id for e in events if isinstance(e.event, EventRedacted) for id in (e.event.redacts, *e.event.also)}
    for event in events:
        if event.erased and event.id not in redacted:
            raise LogCorrupt(detail=Finding("content_without_redaction", position=event.position))


def _hashes(path: Iterable[Hex]) -> list[bytes]:
    return [_hash(each) for each in path]


def _hash(text: Hex) -> bytes:
    # Accept only the canonical form: otherwise a changed text could decode to the same bytes.
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if data.hex() != text or len(data) != HASH_SIZE:
        raise ProofError(reason=Finding("hash_hex", text=text[:80], size=HASH_SIZE))
    return data
