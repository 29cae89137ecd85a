"""What answers look like: the shapes of the JSON that the API and the pages show, made from what the reader found.

Asks nothing and decides nothing: a state, a history or an event goes in, a document comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from registry.domain.assessment import Assessment
from registry.domain.audit.comparison import AttributedChange, Comparison
from registry.domain.audit.entries import AuditEntry
from registry.domain.audit.portfolio_changes import PortfolioChange, portfolio_changes
from registry.domain.audit.provenance import FieldProvenance
from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import Deal
from registry.domain.explicit_nulls import with_explicit_nulls
from registry.domain.history import AsOf, StateAsOf
from registry.domain.plausibility import Flag
from registry.events.store import StoredEvent
from registry.events.types import Localized, Source

_encode = msgspec.json.Encoder().encode


def encode(answer: Any) -> bytes:
    """An answer as JSON: null says that nothing was stated. The words of events stand in it as they were said."""
    return _encode(with_explicit_nulls(answer))


def pre_encode(answer: Any) -> Any:
    """An answer with its parts encoded already: what is said anew of it is all that costs."""
    answer = with_explicit_nulls(answer)
    parts = {name: getattr(answer, name) for name in answer.__struct_fields__}
    return replace(answer, **{n: Raw(_encode(part)) for n, part in parts.items() if isinstance(part, (Struct, tuple))})


def encode_partial(answer: Any) -> bytes:
    """Such an answer as JSON."""
    return _encode(answer)


class CitedSource(Struct, frozen=True, kw_only=True):
    """A source, with the events of the answer that rest on it."""

    publisher: str | None
    url: str | None
    title: str | None
    language: str | None
    published_on: date | None
    archived_url: str | None
    locator: str | None
    content_hash: str | None
    events: tuple[UUID, ...]


class Unapplied(Struct, frozen=True):
    """An event that the history, as it was asked for, cannot carry, and why."""

    event: UUID
    type: str
    rule: str
    detail: str


class UnappliedReason(Struct, frozen=True):
    """Why an event is not applied: the broken rule, and what to do about it."""

    rule: str
    detail: str


class DealAnswer(Struct, frozen=True, kw_only=True):
    """A deal's state at a point in time, with the point it was asked for."""

    deal: str
    version: int
    position: int
    effective_on: date
    published_on: date | None
    recorded_at: datetime | None
    title: Localized | None
    kind: str | None
    summary: Localized | None
    sectors: Any
    stage: Any
    parties: Any
    partnerships: Any
    pledges: Any
    sites: Any
    milestones: Any
    relations: Any
    conditions: Any
    sources: tuple[CitedSource, ...]
    unapplied: tuple[Unapplied, ...]
    erased: int
    first_event: UUID
    last_event: UUID
    remarks: Assessment | None


def cited(seen: StateAsOf[Any]) -> tuple[CitedSource, ...]:
    """The sources that a view rests on, each once, with the events that cite it, in the order of the log."""
    found: dict[Source, list[UUID]] = {}
    readings = [p.effective for p in seen.steps]
    if seen.registration is not None:
        readings.append(seen.registration)
    for reading in sorted(readings, key=lambda r: r.recorded.position):
        for source in reading.sources:
            found.setdefault(source, []).append(reading.recorded.id)
    return tuple(CitedSource(**msgspec.structs.asdict(source), events=tuple(ids)) for source, ids in found.items())


def deal_answer(
    state: Deal, seen: StateAsOf[Deal], clocks: AsOf, effective_on: date, remarks: Assessment | None = None
) -> DealAnswer:
    """What `GET /v1/deals/{deal}` answers; a certificate goes without remarks: it shows what the events alone make."""
    return DealAnswer(
        deal=state.deal,
        version=seen.version,
        position=seen.position,
        effective_on=effective_on,
        published_on=clocks.published_on,
        recorded_at=clocks.recorded_at,
        title=state.title,
        kind=state.kind,
        summary=state.summary,
        sectors=state.sectors,
        stage=state.stage,
        parties=state.parties,
        partnerships=state.partnerships,
        pledges=state.pledges,
        sites=state.sites,
        milestones=state.milestones,
        relations=state.relations,
        conditions=state.conditions,
        sources=cited(seen),
        unapplied=tuple(Unapplied(r.recorded.id, r.recorded.type, why.code, str(why)) for r, why in seen.unapplied),
        erased=sum(r.recorded.erased for r in seen.effective_events),
        first_event=seen.effective_events[0].recorded.id,
        last_event=seen.effective_events[-1].recorded.id,
        remarks=remarks,
    )


def organizations_in(deal: Mapping[str, Any]) -> list[str]:
    """Every organization that a deal's state names, once."""
    named = [party["organization"] for party in deal["parties"]]
    named += [slug for pledge in deal["pledges"] for slug in pledge["by"]]
    named += [slug for partnership in deal["partnerships"] for slug in partnership["members"]]
    named += [condition["authority"] for condition in deal["conditions"] if condition["authority"]]
    return list(dict.fromkeys(named))


def incoming(slug: str, listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The relations to a deal that others declare, from their rows in the list."""
    return [
        {**relation, "deal": row["deal"], "title": row["title"]}
        for row in listed
        for relation in row["relations"]
        if relation["deal"] == slug
    ]


def log_entry(stored: StoredEvent) -> dict[str, Any]:
    """An event of the log, with the bytes' fingerprints that prove it."""
    recorded = stored.recorded
    entry = msgspec.json.decode(stored.entry)
    return {
        "id": recorded.id,
        recorded.kind: recorded.slug,
        "version": recorded.version,
        "position": recorded.position,
        "type": recorded.type,
        "schema": recorded.schema,
        "effective_on": recorded.effective_on,
        "published_on": recorded.published_on,
        "recorded_at": recorded.recorded_at,
        "recorded_by": recorded.recorded_by,
        "event": recorded.event,
        "sources": recorded.sources,
        "note": recorded.note,
        "erased": recorded.erased,
        "leaf_hash": recorded.leaf_hash.hex(),
        "previous": entry["previous"],
        "content_digest": entry["content"],
        "salt": stored.salt.hex() if stored.salt else None,
        "proof": proof_link(recorded.position),
    }


def event_answer(stored: StoredEvent, reading: EffectiveEvent) -> dict[str, Any]:
    """What `GET /v1/events/{id}` answers: the event as recorded, how it reads now, and what corrected or voided it."""
    return {
        **log_entry(stored),
        "reads": {
            "effective_on": reading.effective_on,
            "published_on": reading.published_on,
            "event": reading.event,
            "sources": reading.sources,
            "in_force": reading.content_record.id,
        },
        "corrected_by": [c.id for c in reading.corrections],
        "voided_by": reading.voided_by.id if reading.voided_by else None,
    }


def proof_link(position: int) -> str:
    """Where the proof of an event's place in the log is."""
    return f"/v1/log/proof/inclusion?position={position}"


def event_metadata(reading: EffectiveEvent) -> dict[str, Any]:
    """Who wrote an event down, when, why, and on which source."""
    recorded = reading.recorded
    return {
        "event": recorded.id,
        "type": recorded.type,
        "version": recorded.version,
        "position": recorded.position,
        "effective_on": reading.effective_on,
        "published_on": reading.published_on,
        "recorded_at": recorded.recorded_at,
        "recorded_by": recorded.recorded_by,
        "note": recorded.note,
        "sources": reading.sources,
        "proof": proof_link(recorded.position),
    }


def reason_of(event: Any) -> str | None:
    """Why an event of the record was recorded, where it says so."""
    return getattr(event, "reason", None)


def audit_document(clocks: AsOf, entries: Sequence[AuditEntry], flags: Mapping[UUID, Sequence[Flag]]) -> dict[str, Any]:
    """What `/events` of a deal or an organization answers, of which there is one entry at least.

    Every event with what it changed, corrections beside what they correct.
    """
    beside: dict[UUID, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry.target_event is not None:
            by = entry.effective.recorded
            beside.setdefault(entry.target_event, []).append(
                {
                    "event": by.id,
                    "type": by.type,
                    "position": by.position,
                    "recorded_at": by.recorded_at,
                    "recorded_by": by.recorded_by,
                    "reason": reason_of(by.event),
                    "in_force": entry.effective.voided_by is None and entry.superseded_by is None,
                }
            )
    last = entries[-1].effective.recorded
    return {
        last.kind: last.slug,
        "version": last.version,
        "position": last.position,
        "effective_on": clocks.effective_on,
        "published_on": clocks.published_on,
        "recorded_at": clocks.recorded_at,
        "events": [
            _audited(entry, beside.get(entry.effective.recorded.id, []), flags.get(entry.effective.recorded.id, ()))
            for entry in entries
        ],
    }


def _audited(entry: AuditEntry, beside: list[dict[str, Any]], flags: Sequence[Flag]) -> dict[str, Any]:
    reading, recorded = entry.effective, entry.effective.recorded
    document = event_metadata(reading)
    document["id"] = document.pop("event")
    corrected = reading.content_record is not recorded
    return {
        **document,
        "kind": entry.change_of,
        "reason": reason_of(recorded.event),
        "event": reading.event,
        "as_recorded": recorded.event if corrected else None,
        "erased": recorded.erased or reading.event is None,
        "changes": entry.changes,
        "flags": flags,
        "visible": entry.visible,
        "unapplied": entry.unapplied and UnappliedReason(entry.unapplied.code, str(entry.unapplied)),
        "concerns": entry.target_event,
        "corrections": beside,
        "voided_by": reading.voided_by.id if reading.voided_by else None,
        "superseded_by": entry.superseded_by,
        "leaf_hash": recorded.leaf_hash.hex(),
    }


def blame_document(
    slug: str, seen: StateAsOf[Any], clocks: AsOf, effective_on: date, fields: Sequence[FieldProvenance]
) -> dict[str, Any]:
    """What `GET /v1/deals/{deal}/blame` answers: every field with the event that set it, and the value before."""
    by_id = {reading.recorded.id: reading for reading in seen.effective_events}
    return {
        "deal": slug,
        "version": seen.version,
        "position": seen.position,
        "effective_on": effective_on,
        "published_on": clocks.published_on,
        "recorded_at": clocks.recorded_at,
        "fields": [
            {
                "field": field.path,
                "value": field.value,
                "before": field.before,
                **event_metadata(by_id[field.event]),
                "corrected_by": corrected.id if (corrected := _correction(by_id[field.event])) else None,
                "preferred_by": field.preferred_by,
            }
            for field in fields
        ],
    }


def _correction(reading: EffectiveEvent) -> Any:
    return reading.content_record if reading.content_record is not reading.recorded else None


# The kinds of change in a comparison, under the names that people read.
KINDS = {"world": "world", "record": "record", "source": "source", "learned_late": "learned_late"}


def point(clocks: AsOf, effective_on: date) -> dict[str, Any]:
    """A point in time as it was asked for."""
    return {
        "effective_on": effective_on,
        "published_on": clocks.published_on,
        "recorded_at": clocks.recorded_at,
        "position": clocks.position,
    }


def comparison_document(
    slug: str, at: dict[str, Any], then: dict[str, Any], found: Comparison[Any], readings: Mapping[UUID, EffectiveEvent]
) -> dict[str, Any]:
    """What `GET /v1/deals/{deal}/compare` answers: the changes, split by kind, each with its causes."""
    split: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for change in found.changes:
        split[change.kind].append(_caused(change, readings))
    return {
        "deal": slug,
        "from": at,
        "to": then,
        "known": {"from": found.before is not None, "to": found.after is not None},
        **split,
        "differences": found.differences,
        "merged_into": found.merged_into,
        "summary": [_movement(m) for m in portfolio_changes(found)],
    }


def _caused(change: AttributedChange, readings: Mapping[UUID, EffectiveEvent]) -> dict[str, Any]:
    return {
        "field": change.path,
        "before": change.before,
        "after": change.after,
        "causes": [event_metadata(readings[cause]) for cause in change.causes if cause in readings],
    }


def _movement(movement: PortfolioChange) -> dict[str, Any]:
    change = movement.change
    return {
        "what": movement.what,
        "kind": movement.kind,
        "field": change.path if change else None,
        "before": change.before if change else None,
        "after": change.after if change else None,
        "causes": movement.causes,
    }


def movement_document(slug: str, title: Localized | None, movement: PortfolioChange) -> dict[str, Any]:
    """One line of the portfolio's comparison."""
    return {"deal": slug, "title": title, **_movement(movement)}
