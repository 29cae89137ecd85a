"""Canonical bytes of events, and the upcasters that decode the bytes of earlier releases.

An event is stored as two byte strings. Its **content** is the event, its sources and its note. Its **entry** is the
envelope that becomes a leaf of the Merkle tree: the fields that the registry adds, and a salted digest of the content.
Redaction erases the content and the salt, so every proof stays valid and the content cannot be guessed. Both are
canonical JSON (RFC 8785). Stored bytes are never rewritten: upcasting happens when they are read, after hashing.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from registry.errors import UnknownEventType
from registry.events.types import EVENT_TYPES, AnyEvent, Recorded, StreamKind
from registry.events.values import Edtf, Source, Text, decode_hook

# msgspec's sorted order equals that of RFC 8785 here: all keys are ASCII, and no event holds a float
# (tests/events/test_codec.py::test_canonical_bytes_are_those_of_rfc_8785).
_encode = msgspec.json.Encoder(order="sorted").encode

SALT_BYTES = 32


class Content(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """The event, its sources, a note on why it is recorded, and the loose date that its effective date follows from."""

    event: AnyEvent
    sources: tuple[Source, ...] = ()
    note: Text | None = None
    date: Edtf | None = None


class Entry(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """The envelope that is hashed into the tree.

    `content` and `previous` are hex SHA-256; `previous` is the stream's last leaf. `approved_by` is there only if a
    second principal approved the event.
    """

    approved_by: str | UnsetType = UNSET
    content: str
    effective_on: date | None
    id: UUID
    previous: str | None
    published_on: date
    recorded_at: datetime
    recorded_by: str
    schema: int
    stream: str
    type: str
    version: int


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

# From (event type, schema version) to the function that returns the next version. A changed event adds one line here
# and a golden file.
UPCASTERS: dict[tuple[str, int], Upcaster] = {}

_content = msgspec.json.Decoder(Content, dec_hook=decode_hook)
_entry = msgspec.json.Decoder(Entry)
_raw_content = msgspec.json.Decoder()


def canonical(value: Any) -> bytes:
    """Encode a value as canonical JSON (RFC 8785)."""
    return _encode(value)


_RANDOM_BUFFER_BYTES = 4096
_random = bytearray()
_random_lock = threading.Lock()


def random_bytes(count: int) -> bytes:
    """Return bytes from the operating system's secure random source; no two threads get the same ones.

    They are read in blocks: two system calls per event took a fifth of the time that validating it takes.
    """
    with _random_lock:
        if len(_random) < count:
            _random.extend(os.urandom(max(count, _RANDOM_BUFFER_BYTES)))
        taken = bytes(_random[-count:])
        del _random[-count:]
    return taken


def content_digest(salt: bytes, content: bytes) -> str:
    """Hex SHA-256 of salt ‖ content. The salt has a fixed length, so no other pair gives the same input."""
    return hashlib.sha256(salt + content).hexdigest()


def decode_entry(data: bytes) -> Entry:
    """Decode an entry.

    Raises:
        msgspec.ValidationError: The bytes are not an entry.
    """
    return _entry.decode(data)


def entry_columns(entry: Entry) -> dict[str, Any]:
    """The fields of an entry as the columns of its row have them."""
    columns = msgspec.structs.asdict(entry)
    return columns | {"approved_by": entry.approved_by or None}


def decode_content(data: bytes, type: str, schema: int, position: int = 0) -> Content:
    """Decode content of any schema version into the current one.

    Raises:
        UnknownEventType: This release does not know the event type or the schema version.
    """
    known = EVENT_TYPES.get(type)
    if known is None or schema > known.schema:
        raise UnknownEventType(position=position, type=type, schema=schema)
    if schema == known.schema:
        return _content.decode(data)
    raw = _raw_content.decode(data)
    while schema < known.schema:
        step = UPCASTERS.get((type, schema))
        if step is None:
            raise UnknownEventType(position=position, type=type, schema=schema)
        raw["event"] = step(raw["event"])
        schema += 1
    return msgspec.convert(raw, Content, dec_hook=decode_hook)


def stream_name(kind: StreamKind, slug: str) -> str:
    """The name of a stream in the log, such as `deal/aws-korea-2031`."""
    return f"{kind}/{slug}"


def earliest_publication(sources: tuple[Source, ...]) -> date | None:
    """The earliest day on which a source was published; None if none is dated."""
    return min((source.published_on for source in sources if source.published_on is not None), default=None)


def published_on(sources: tuple[Source, ...], recorded_at: datetime) -> date:
    """The earliest date among the sources, or the UTC day of recording if none is dated."""
    return earliest_publication(sources) or recorded_at.date()


def from_row(row: Any) -> Recorded:
    """Decode a row with the columns of `events` and the `content` of `event_contents`.

    A redacted event has no content and gets the event None; the fold takes its effect from the redaction.
    """
    kind, slug = row["stream"].split("/", 1)
    content = row["content"]
    decoded = decode_content(content, row["type"], row["schema"], row["position"]) if content is not None else None
    return Recorded(
        position=row["position"],
        kind=kind,
        slug=slug,
        version=row["version"],
        id=UUID(int=row["id"].int),
        type=row["type"],
        schema=row["schema"],
        effective_on=row["effective_on"],
        published_on=row["published_on"],
        recorded_at=row["recorded_at"],
        recorded_by=row["recorded_by"],
        event=decoded.event if decoded else None,
        sources=decoded.sources if decoded else (),
        note=decoded.note if decoded else None,
        date=decoded.date if decoded else None,
        leaf_hash=row["leaf_hash"],
        approved_by=row["approved_by"],
        erased=content is None,
    )
