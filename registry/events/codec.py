"""Events ↔ stored bytes: the canonical JSON that is hashed and kept, and the upcasters that read what older versions
wrote.

Two byte strings are kept of an event. Its **content** is what was said (event, sources, note). Its **entry** is the
envelope that becomes a leaf of the tree: everything the registry adds, and a salted digest of the content, so that
content erased by law leaves every proof valid and cannot be guessed from what stays. Both are RFC 8785 (JCS)
canonical JSON. Stored bytes are never rewritten: upcasting happens on the way out, after hashing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from registry.errors import UnknownEventType
from registry.events.types import EVENT_TYPES, AnyEvent, Recorded, StreamKind
from registry.events.values import Source, Text, decode_hook

# msgspec's sorted order is RFC 8785's for our grammar: keys are ASCII names, and no event holds a float
# (tests/events/test_codec.py::test_canonical_bytes_are_those_of_rfc_8785).
_encode = msgspec.json.Encoder(order="sorted").encode

SALT_BYTES = 32


class Content(Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What was said: the event, who said so, and why the registry recorded it."""

    event: AnyEvent
    sources: tuple[Source, ...] = ()
    note: Text | None = None


class Entry(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """The envelope that is hashed into the tree.

    `content` and `previous` are hex SHA-256; `previous` is the stream's last leaf.
    """

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

# (type, the schema version it reads) → one step to the next version. A changed shape adds one line here and a golden
# file.
UPCASTERS: dict[tuple[str, int], Upcaster] = {}

_content = msgspec.json.Decoder(Content, dec_hook=decode_hook)
_entry = msgspec.json.Decoder(Entry)
_raw_content = msgspec.json.Decoder()


def canonical(value: Any) -> bytes:
    """RFC 8785 canonical JSON of a struct of events, or of an entry."""
    return _encode(value)


_RANDOM_BUFFER_BYTES = 4096
_random = bytearray()


def random_bytes(count: int) -> bytes:
    """So many bytes of the system's secure randomness, each given once.

    Fetched some at a time: two calls of the system for each event took a fifth of judging it.
    """
    if len(_random) < count:
        _random.extend(os.urandom(max(count, _RANDOM_BUFFER_BYTES)))
    given = bytes(_random[-count:])
    del _random[-count:]
    return given


def content_digest(salt: bytes, content: bytes) -> str:
    """Hex SHA-256 of salt ‖ content. The salt has a fixed length, so the two cannot be shifted against each other."""
    return hashlib.sha256(salt + content).hexdigest()


def decode_entry(data: bytes) -> Entry:
    """The envelope behind a leaf. Raises msgspec.ValidationError when the bytes are not an entry."""
    return _entry.decode(data)


def decode_content(data: bytes, type: str, schema: int, position: int = 0) -> Content:
    """What was said, in today's shape, whatever version wrote it.

    Raises UnknownEventType when the type or schema version is not known: it is never skipped.
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
    """A stream's name in the log: kind and slug."""
    return f"{kind}/{slug}"


def published_on(sources: tuple[Source, ...], recorded_at: datetime) -> date:
    """The day the public could know: the earliest dated source's, else the UTC day of recording."""
    dated = [source.published_on for source in sources if source.published_on is not None]
    return min(dated) if dated else recorded_at.date()


def from_row(row: Any) -> Recorded:
    """A stored row (the columns of `events`, and `content` of `event_contents`) as a Recorded.

    Erased content gives event None; what it goes on doing to others, its redaction says (`history.revived`).
    """
    kind, slug = row["stream"].split("/", 1)
    content = row["content"]
    said = decode_content(content, row["type"], row["schema"], row["position"]) if content is not None else None
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
        event=said.event if said else None,
        sources=said.sources if said else (),
        note=said.note if said else None,
        leaf_hash=row["leaf_hash"],
        erased=content is None,
    )
