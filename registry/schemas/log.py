"""Events of the log in a response, and what an append answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from registry.domain.audit.diff import Change
from registry.domain.fold.corrections import EffectiveEvent
from registry.events.codec import decode_entry
from registry.events.edtf import Precision
from registry.events.store import StoredEvent, decoded
from registry.events.types import EVENT_TYPES, AnyEvent, Day
from registry.events.values import Edtf, Source
from registry.schemas.base import Hex, Link, ResponseModel
from registry.schemas.deals import FlagResponse
from registry.schemas.history import precision_of, proof_link
from registry.schemas.values import SourceResponse, convert


class Receipt(ResponseModel, frozen=True, kw_only=True, gc=False):
    """Where an event was recorded.

    `effective_later` is the day on which it takes effect, and is there only if that is after today.
    """

    id: UUID
    version: int
    position: int
    recorded_at: datetime
    effective_later: Day | UnsetType = UNSET


class AppendResponse(ResponseModel, frozen=True, kw_only=True):
    """What was recorded, or would be (`dry_run`), and what it changes.

    `effective_later` is the first day of the events that take effect after today, and is there only if there are any.
    `changes` and `flags` are empty for a key that may not read, because they show what was recorded before.
    """

    deal: str | UnsetType = UNSET
    organization: str | UnsetType = UNSET
    principal: str | UnsetType = UNSET
    version: int
    position: int
    events: tuple[Receipt, ...]
    changes: list[Change]
    flags: tuple[FlagResponse, ...]
    effective_later: Day | UnsetType = UNSET


class LoggedEvent(ResponseModel, frozen=True, kw_only=True):
    """An event as it was recorded. `event`, `sources` and `note` are empty after a redaction.

    `date` is the loose date that `effective_on` follows from, where the source states no day; `effective_precision`
    says how precise it is.

    They are `withheld` from an event of a principal, which keys with the scope admin read at `/v1/principals`.
    `approved_by` is the second principal, where one approved the event.
    `leaf_hash` is the event's leaf in the Merkle tree (RFC 6962 §2.1), `previous` the leaf hash of the stream's event
    before it, `content_digest` the salted digest of the content.
    """

    id: UUID
    deal: str | UnsetType = UNSET
    organization: str | UnsetType = UNSET
    principal: str | UnsetType = UNSET
    version: int
    position: int
    type: str
    schema: int
    effective_on: Day | None
    date: Edtf | None
    effective_precision: Precision | None
    published_on: Day
    recorded_at: datetime
    recorded_by: str
    approved_by: str | UnsetType = UNSET
    event: AnyEvent | None
    sources: tuple[SourceResponse, ...]
    note: str | None
    erased: bool
    withheld: Literal[True] | UnsetType = UNSET
    leaf_hash: Hex
    previous: Hex | None
    content_digest: Hex
    salt: Hex | None
    proof: Link


class ExportedEvent(LoggedEvent, frozen=True, kw_only=True):
    """An event in an export. Its sources have the stored form, without the fields that the source did not state."""

    sources: tuple[Source, ...]  # type: ignore[assignment]


class EffectiveContent(ResponseModel, frozen=True, kw_only=True):
    """An event after corrections. `in_force` is the id of the event that its content comes from."""

    effective_on: Day | None
    date: Edtf | None
    effective_precision: Precision | None
    published_on: Day
    event: AnyEvent | None
    sources: tuple[SourceResponse, ...]
    in_force: UUID


class EventResponse(LoggedEvent, frozen=True, kw_only=True):
    """One event as recorded, as it reads after corrections, and what corrected or voided it."""

    reads: EffectiveContent
    corrected_by: tuple[UUID, ...]
    voided_by: UUID | None


class EventPage(ResponseModel, frozen=True, kw_only=True):
    """Events in the order of the log."""

    events: list[LoggedEvent]


def logged_event(stored: StoredEvent) -> LoggedEvent:
    """An event of the log, with the hashes that prove it."""
    return LoggedEvent(**_logged(stored))


def exported_event(stored: StoredEvent) -> ExportedEvent:
    """An event of the log as a line of an export."""
    return ExportedEvent(**{**_logged(stored), "sources": stored.recorded.sources})


class _UndecodedContent(Struct, frozen=True):
    """The content of an event, of which only what a line has by itself is decoded."""

    event: Raw
    sources: Raw = Raw(b"[]")
    note: str | None = None
    date: str | None = None


_undecoded = msgspec.json.Decoder(_UndecodedContent)


def exported_row(row: Any) -> ExportedEvent:
    """The same from a row of the log. The event and its sources keep their stored bytes, which are not decoded.

    Decoding and encoding them again takes two thirds of the time of a line.
    """
    withheld = row["stream"].startswith("principal/")
    if row["content"] is None or withheld or row["schema"] != EVENT_TYPES[row["type"]].schema:
        return exported_event(decoded(row))
    content = _undecoded.decode(row["content"])
    entry = decode_entry(row["entry"])
    kind, slug = row["stream"].split("/", 1)
    return ExportedEvent(
        id=UUID(int=row["id"].int),
        version=row["version"],
        position=row["position"],
        type=row["type"],
        schema=row["schema"],
        effective_on=row["effective_on"],
        date=content.date,
        effective_precision=precision_of(content.date),
        published_on=row["published_on"],
        recorded_at=row["recorded_at"],
        recorded_by=row["recorded_by"],
        approved_by=row["approved_by"] or UNSET,
        event=content.event,  # type: ignore[arg-type]
        sources=content.sources,  # type: ignore[arg-type]
        note=content.note,
        erased=False,
        leaf_hash=row["leaf_hash"].hex(),
        previous=entry.previous,
        content_digest=entry.content,
        salt=row["salt"].hex(),
        proof=proof_link(row["position"]),
        **{kind: slug},
    )


def event_response(stored: StoredEvent, effective: EffectiveEvent) -> EventResponse:
    """One event as recorded, and as it reads after corrections."""
    return EventResponse(
        **_logged(stored),
        reads=EffectiveContent(
            effective_on=effective.effective_on,
            date=effective.date,
            effective_precision=precision_of(effective.date),
            published_on=effective.published_on,
            event=None if effective.recorded.is_withheld else effective.event,
            sources=_sources(effective.sources),
            in_force=effective.content_record.id,
        ),
        corrected_by=tuple(correction.id for correction in effective.corrections),
        voided_by=effective.voided_by.id if effective.voided_by else None,
    )


def _logged(stored: StoredEvent) -> dict[str, Any]:
    """The fields of `LoggedEvent`.

    The log is public, the names and rights of principals are not. It shows the envelope of their events, which proves
    that they are there, and neither the content nor the salt, with which content could be guessed.
    """
    recorded = stored.recorded
    withheld = recorded.is_withheld
    entry = decode_entry(stored.entry)
    return {
        "id": recorded.id,
        recorded.kind: recorded.slug,
        "version": recorded.version,
        "position": recorded.position,
        "type": recorded.type,
        "schema": recorded.schema,
        "effective_on": recorded.effective_on,
        "date": recorded.date,
        "effective_precision": precision_of(recorded.date),
        "published_on": recorded.published_on,
        "recorded_at": recorded.recorded_at,
        "recorded_by": recorded.recorded_by,
        "approved_by": recorded.approved_by or UNSET,
        "event": None if withheld else recorded.event,
        "withheld": True if withheld else UNSET,
        "sources": _sources(recorded.sources),
        "note": recorded.note,
        "erased": recorded.erased and not withheld,
        "leaf_hash": recorded.leaf_hash.hex(),
        "previous": entry.previous,
        "content_digest": entry.content,
        "salt": stored.salt.hex() if stored.salt and not withheld else None,
        "proof": proof_link(recorded.position),
    }


def _sources(sources: tuple[Source, ...]) -> tuple[SourceResponse, ...]:
    return tuple(convert(source, SourceResponse) for source in sources)
