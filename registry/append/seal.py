"""Seal an event: its canonical bytes, the salted digest of its content, and its leaf hash."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct

from registry.events.codec import (
    SALT_BYTES,
    Content,
    Entry,
    canonical,
    content_digest,
    published_on,
    random_bytes,
    stream_name,
)
from registry.events.store import SealedEvent
from registry.events.types import AnyAnnouncement, Recorded, StreamKind, tag_of
from registry.transparency.merkle import leaf_hash
from registry.transparency.tiles import MAX_ENTRY, EntryTooLarge


class LogPlace(Struct, frozen=True):
    """Where an event comes in the log and in its stream.

    Attributes:
        previous: The leaf hash of the event before it in its stream; None for the first one.
    """

    kind: StreamKind
    slug: str
    version: int
    position: int
    previous: bytes | None


class Recording(Struct, frozen=True):
    """When an event is recorded (UTC), and the principals that record and, if any does, approve it."""

    at: datetime
    by: str
    approved_by: str | None = None


def seal(announcement: AnyAnnouncement, place: LogPlace, recording: Recording) -> SealedEvent:
    """Seal an announcement, which has an id, as the event at a place.

    Raises:
        EntryTooLarge: The entry exceeds the limit of the tile format.
    """
    assert announcement.id is not None
    event, sources = announcement.event, announcement.sources
    content = canonical(Content(event=event, sources=sources, note=announcement.note, date=announcement.date))
    salt = random_bytes(SALT_BYTES)
    type_, published = tag_of(event), published_on(sources, recording.at)
    entry = canonical(
        Entry(
            approved_by=recording.approved_by if recording.approved_by is not None else UNSET,
            content=content_digest(salt, content),
            effective_on=announcement.effective_on,
            id=announcement.id,
            previous=place.previous.hex() if place.previous else None,
            published_on=published,
            recorded_at=recording.at,
            recorded_by=recording.by,
            schema=event.schema,
            stream=stream_name(place.kind, place.slug),
            type=type_,
            version=place.version,
        )
    )
    if len(entry) > MAX_ENTRY:
        raise EntryTooLarge(size=len(entry), limit=MAX_ENTRY)
    recorded = Recorded(
        position=place.position,
        kind=place.kind,
        slug=place.slug,
        version=place.version,
        id=announcement.id,
        type=type_,
        schema=event.schema,
        effective_on=announcement.effective_on,
        published_on=published,
        recorded_at=recording.at,
        recorded_by=recording.by,
        event=event,
        sources=sources,
        note=announcement.note,
        leaf_hash=leaf_hash(entry),
        date=announcement.date,
        approved_by=recording.approved_by,
    )
    return SealedEvent(recorded, entry, content, salt)


def uuid7(now: datetime) -> UUID:
    """A time-ordered id: 48 bits of Unix milliseconds, then random bits (RFC 9562 §5.7)."""
    milliseconds = int(now.timestamp() * 1000)
    bits = (milliseconds << 80) | int.from_bytes(random_bytes(10))
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return UUID(int=bits)
