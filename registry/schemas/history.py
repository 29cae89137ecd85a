"""What explains a state in a response: its history, and the provenance of its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from registry.domain.audit.diff import Change
from registry.domain.audit.entries import AuditEntry
from registry.domain.audit.labels import Kind, Label
from registry.domain.audit.provenance import FieldProvenance
from registry.domain.checks.plausibility import Flag
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.history import AsOf, StateAsOf
from registry.domain.principal import AuthorNames
from registry.events.edtf import Precision, precision
from registry.events.types import AnyEvent, Day
from registry.events.values import Edtf
from registry.schemas.base import Hex, Link, RequestedAsOf, ResponseModel
from registry.schemas.deals import FlagResponse, RefusalResponse, refusal_response
from registry.schemas.values import SourceResponse, convert, convert_any


class EventMetadata(ResponseModel, frozen=True, kw_only=True):
    """Who recorded an event, when, why, and citing which sources; its dates and sources after corrections.

    The names are those that the principals had when the event was recorded.
    """

    type: str
    version: int
    position: int
    effective_on: Day | None
    date: Edtf | None
    effective_precision: Precision | None
    published_on: Day
    recorded_at: datetime
    recorded_by: str
    recorded_by_name: str
    approved_by: str | None
    approved_by_name: str | None
    note: str | None
    sources: tuple[SourceResponse, ...]
    proof: Link


class Correction(ResponseModel, frozen=True, kw_only=True):
    """A correction, void or redaction of an event."""

    event: UUID
    type: str
    position: int
    recorded_at: datetime
    recorded_by: str
    recorded_by_name: str
    reason: str | None
    in_force: bool


class HistoryEntry(EventMetadata, frozen=True, kw_only=True):
    """An event as it reads after corrections, and what it changed.

    `kind` is the kind of change: of the world, of the record, at a source, or `learned_late`: the record of an earlier
    day lacked the event, although it was in effect before that day. `label` says more: `claimed`, `corroborated`
    (another source gives the value shown), `preferred`, `retracted` or `observed` at a source; `corrected`, `voided`,
    `redacted`, `re_recorded` or `record_keeping` of the record.
    """

    id: UUID
    kind: Kind
    label: Label
    reason: str | None
    event: AnyEvent | None
    as_recorded: AnyEvent | None
    erased: bool
    changes: list[Change]
    flags: tuple[FlagResponse, ...]
    visible: bool
    unapplied: RefusalResponse | None
    concerns: UUID | None
    corrections: list[Correction]
    voided_by: UUID | None
    superseded_by: UUID | None
    leaf_hash: Hex


class DealHistory(RequestedAsOf, frozen=True, kw_only=True):
    """Every event of a deal that was recorded by the point in time, in the order of the log."""

    deal: str
    version: int
    position: int
    events: list[HistoryEntry]


class OrganizationHistory(RequestedAsOf, frozen=True, kw_only=True):
    """Every event of an organization that was recorded by the point in time, in the order of the log."""

    organization: str
    version: int
    position: int
    events: list[HistoryEntry]


class ProvenanceEntry(EventMetadata, frozen=True, kw_only=True):
    """A field with the event that set it, and its value before."""

    field: str
    value: Any
    before: Any
    event: UUID
    corrected_by: UUID | None
    preferred_by: UUID | None


class Provenance(RequestedAsOf, frozen=True, kw_only=True):
    """A page of the fields of a deal, each with the event that set it. `next` is the cursor of the next page."""

    deal: str
    version: int
    position: int
    fields: list[ProvenanceEntry]
    next: str | None = None


def precision_of(date: str | None) -> Precision | None:
    """How precise a loose date is; None without one."""
    return None if date is None else precision(date)


def proof_link(position: int) -> str:
    """The path of an event's inclusion proof."""
    return f"/v1/log/proof/inclusion?position={position}"


def changes_response(changes: Sequence[Change]) -> list[Change]:
    """Changes with their values as responses show them."""
    return [Change(change.path, convert_any(change.before), convert_any(change.after)) for change in changes]


def flags_response(flags: Sequence[Flag]) -> tuple[FlagResponse, ...]:
    """Flags with their texts in English."""
    return tuple(convert(flag, FlagResponse) for flag in flags)


def deal_history(
    as_of: AsOf,
    snapshot: StateAsOf[Any],
    entries: Sequence[AuditEntry],
    flags: Mapping[UUID, Sequence[Flag]],
    names: AuthorNames,
    after: int = 0,
    limit: int | None = None,
) -> DealHistory:
    """A page of the history of a deal, from its audit trail and the flags of its events."""
    return DealHistory(
        deal=snapshot.record.slug,
        version=snapshot.version,
        position=snapshot.position,
        effective_on=as_of.effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        events=_history_entries(entries, flags, names, after, limit),
    )


def organization_history(as_of: AsOf, entries: Sequence[AuditEntry], names: AuthorNames) -> OrganizationHistory:
    """The history of an organization, from at least one entry of its audit trail."""
    last = entries[-1].effective.recorded
    return OrganizationHistory(
        organization=last.slug,
        version=last.version,
        position=last.position,
        effective_on=as_of.effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        events=_history_entries(entries, {}, names),
    )


def _history_entries(
    entries: Sequence[AuditEntry],
    flags: Mapping[UUID, Sequence[Flag]],
    names: AuthorNames,
    after: int = 0,
    limit: int | None = None,
) -> list[HistoryEntry]:
    """The entries, with each correction, void and redaction listed in the entry of the event that it is about."""
    corrections: dict[UUID, list[Correction]] = {}
    for entry in entries:
        if entry.target_event is not None:
            corrections.setdefault(entry.target_event, []).append(_correction(entry, names))
    return [
        _history_entry(
            entry, corrections.get(entry.effective.recorded.id, []), flags.get(entry.effective.recorded.id, ()), names
        )
        for entry in islice((entry for entry in entries if entry.effective.recorded.position > after), limit)
    ]


def _correction(entry: AuditEntry, names: AuthorNames) -> Correction:
    recorded = entry.effective.recorded
    return Correction(
        event=recorded.id,
        type=recorded.type,
        position=recorded.position,
        recorded_at=recorded.recorded_at,
        recorded_by=recorded.recorded_by,
        recorded_by_name=names.of(recorded),
        reason=reason_of(recorded.event),
        in_force=entry.effective.voided_by is None and entry.superseded_by is None,
    )


def _history_entry(
    entry: AuditEntry, corrections: list[Correction], flags: Sequence[Flag], names: AuthorNames
) -> HistoryEntry:
    effective, recorded = entry.effective, entry.effective.recorded
    return HistoryEntry(
        id=recorded.id,
        **event_metadata(effective, names),
        kind=entry.kind,
        label=entry.label,
        reason=reason_of(recorded.event),
        event=effective.event,
        as_recorded=recorded.event if effective.content_record is not recorded else None,
        erased=recorded.erased or effective.event is None,
        changes=changes_response(entry.changes),
        flags=flags_response(flags),
        visible=entry.visible,
        unapplied=refusal_response(entry.unapplied) if entry.unapplied is not None else None,
        concerns=entry.target_event,
        corrections=corrections,
        voided_by=effective.voided_by.id if effective.voided_by else None,
        superseded_by=entry.superseded_by,
        leaf_hash=recorded.leaf_hash.hex(),
    )


def event_metadata(effective: EffectiveEvent, names: AuthorNames) -> dict[str, Any]:
    """The fields of `EventMetadata`."""
    recorded = effective.recorded
    return {
        "type": recorded.type,
        "version": recorded.version,
        "position": recorded.position,
        "effective_on": effective.effective_on,
        "date": effective.date,
        "effective_precision": precision_of(effective.date),
        "published_on": effective.published_on,
        "recorded_at": recorded.recorded_at,
        "recorded_by": recorded.recorded_by,
        "recorded_by_name": names.of(recorded),
        "approved_by": recorded.approved_by,
        "approved_by_name": names.of_approver(recorded),
        "note": recorded.note,
        "sources": tuple(convert(source, SourceResponse) for source in effective.sources),
        "proof": proof_link(recorded.position),
    }


def reason_of(event: Any) -> str | None:
    """The reason that a correction, a void, a redaction or a change of stage gives."""
    return getattr(event, "reason", None)


def provenance_response(
    slug: str,
    snapshot: StateAsOf[Any],
    as_of: AsOf,
    effective_on: date,
    fields: Sequence[FieldProvenance],
    names: AuthorNames,
) -> Provenance:
    """Some fields of a deal, each with the event that set it."""
    entries = []
    for one in fields:
        effective = snapshot.record.by_id[one.event]
        corrected = effective.content_record is not effective.recorded
        entries.append(
            ProvenanceEntry(
                field=one.path,
                value=convert_any(one.value),
                before=convert_any(one.before),
                event=one.event,
                **event_metadata(effective, names),
                corrected_by=effective.content_record.id if corrected else None,
                preferred_by=one.preferred_by,
            )
        )
    return Provenance(
        deal=slug,
        version=snapshot.version,
        position=snapshot.position,
        effective_on=effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        fields=entries,
    )
