"""Seal an event: its canonical bytes, the salted digest of its content, and its leaf hash."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET

from registry.events.codec import SALT_BYTES, Content, Entry, canonical, content_digest, random_bytes, stream_name
from registry.events.store import SealedEvent
from registry.events.types import AnyEvent, Day, Recorded, StreamKind, tag_of
from registry.events.values import Source
from registry.transparency.merkle import leaf_hash
from registry.transparency.tiles import MAX_ENTRY, EntryTooLarge


def seal(
    *,
    kind: StreamKind,
    slug: str,
    position: int,
    version: int,
    id: UUID,
    event: AnyEvent,
    effective_on: Day | None,
    published_on: Day,
    sources: tuple[Source, ...],
    note: str | None,
    recorded_at: datetime,
    recorded_by: str,
    previous: bytes | None,
    date: str | None = None,
    approved_by: str | None = None,
) -> SealedEvent:
    """Seal one event at its position.

    `previous` is the leaf hash of the event before it in its stream, `date` the loose date that `effective_on` follows
    from.

    Raises:
        EntryTooLarge: The entry exceeds the limit of the tile format.
    """
    content = canonical(Content(event=event, sources=sources, note=note, date=date))
    salt = random_bytes(SALT_BYTES)
    type_ = tag_of(event)
    entry = canonical(
        Entry(
            approved_by=approved_by if approved_by is not None else UNSET,
            content=content_digest(salt, content),
            effective_on=effective_on,
            id=id,
            previous=previous.hex() if previous else None,
            published_on=published_on,
            recorded_at=recorded_at,
            recorded_by=recorded_by,
            schema=event.schema,
            stream=stream_name(kind, slug),
            type=type_,
            version=version,
        )
    )
    if len(entry) > MAX_ENTRY:
        raise EntryTooLarge(size=len(entry), limit=MAX_ENTRY)
    recorded = Recorded(
        position=position,
        kind=kind,
        slug=slug,
        version=version,
        id=id,
        type=type_,
        schema=event.schema,
        effective_on=effective_on,
        published_on=published_on,
        recorded_at=recorded_at,
        recorded_by=recorded_by,
        event=event,
        sources=sources,
        note=note,
        leaf_hash=leaf_hash(entry),
        date=date,
        approved_by=approved_by,
    )
    return SealedEvent(recorded, entry, content, salt)


def uuid7(now: datetime) -> UUID:
    """A time-ordered id: 48 bits of Unix milliseconds, then random bits (RFC 9562 §5.7)."""
    milliseconds = int(now.timestamp() * 1000)
    bits = (milliseconds << 80) | int.from_bytes(random_bytes(10))
    bits = bits & ~(0xF << 76) | 7 << 76
    bits = bits & ~(0x3 << 62) | 2 << 62
    return UUID(int=bits)
