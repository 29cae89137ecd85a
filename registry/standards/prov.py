"""An event, and a deal's state, as linked data: JSON-LD 1.1 with the W3C's PROV ontology.

The terms are PROV's and Dublin Core's. What they have no term for, the content of an event and the state, is a JSON
literal, which RDF keeps as it is. The context is in the document: nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from registry.domain.fold.corrections import EffectiveEvent
from registry.events.store import StoredEvent
from registry.events.types import EventCorrected
from registry.events.values import Localized, Source

MEDIA_TYPE = "application/ld+json"

Json = dict[str, Any]


def _reference(term: str) -> Json:
    return {"@id": term, "@type": "@id"}


CONTEXT: Json = {
    "prov": "http://www.w3.org/ns/prov#",
    "dcterms": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "id": "@id",
    "type": "@type",
    "generatedAtTime": {"@id": "prov:generatedAtTime", "@type": "xsd:dateTime"},
    "endedAtTime": {"@id": "prov:endedAtTime", "@type": "xsd:dateTime"},
    "wasGeneratedBy": _reference("prov:wasGeneratedBy"),
    "wasAssociatedWith": _reference("prov:wasAssociatedWith"),
    "wasInvalidatedBy": _reference("prov:wasInvalidatedBy"),
    "wasRevisionOf": _reference("prov:wasRevisionOf"),
    "wasDerivedFrom": _reference("prov:wasDerivedFrom"),
    "specializationOf": _reference("prov:specializationOf"),
    "hadPrimarySource": _reference("prov:hadPrimarySource"),
    "isPartOf": _reference("dcterms:isPartOf"),
    "conformsTo": {"@id": "dcterms:type"},
    "issued": {"@id": "dcterms:issued", "@type": "xsd:date"},
    "valid": {"@id": "dcterms:valid", "@type": "xsd:date"},
    "title": {"@id": "dcterms:title", "@container": "@language"},
    "headline": {"@id": "dcterms:title"},
    "publisher": {"@id": "dcterms:publisher"},
    "language": {"@id": "dcterms:language"},
    "value": {"@id": "prov:value", "@type": "@json"},
}


def event_document(base: str, stored: StoredEvent, effective: EffectiveEvent, content: Any) -> bytes:
    """An event: what was stated, on which sources, and the recording that it comes from.

    Args:
        base: The address of the registry.
        stored: The event.
        effective: The event with its corrections.
        content: The event as the API shows it; None if it was redacted or is withheld.
    """
    recorded = stored.recorded
    address = f"{base}/v1/events/{recorded.id}"
    correction = recorded.event if isinstance(recorded.event, EventCorrected) else None
    return _encode(
        {
            "@context": CONTEXT,
            "id": address,
            "type": "prov:Entity",
            "conformsTo": recorded.type,
            "isPartOf": f"{base}/v1/{recorded.kind}s/{recorded.slug}",
            "issued": recorded.published_on,
            "valid": recorded.effective_on,
            "generatedAtTime": recorded.recorded_at,
            "wasGeneratedBy": {
                "id": f"{address}#recording",
                "type": "prov:Activity",
                "endedAtTime": recorded.recorded_at,
                "wasAssociatedWith": [
                    {"id": f"{base}/v1/principals/{name}", "type": "prov:Agent"}
                    for name in (recorded.recorded_by, recorded.approved_by)
                    if name is not None
                ],
            },
            "wasRevisionOf": f"{base}/v1/events/{correction.corrects}" if correction else None,
            "wasInvalidatedBy": f"{base}/v1/events/{effective.voided_by.id}#recording" if effective.voided_by else None,
            "hadPrimarySource": [_source(source) for source in recorded.sources],
            "value": content,
        }
    )


def deal_document(
    base: str, deal: str, *, title: Localized | None, state: Any, events: Iterable[UUID], at: datetime, query: str
) -> bytes:
    """A deal's state at a point in time, with the events that it follows from.

    Args:
        base: The address of the registry.
        deal: The deal.
        title: Its title.
        state: The state as the API shows it.
        events: The events that it follows from.
        at: The recording of the last of them.
        query: The point in time as a query string; the state at a fixed point has an address of its own.
    """
    address = f"{base}/v1/deals/{deal}"
    return _encode(
        {
            "@context": CONTEXT,
            "id": f"{address}{query}" if query else f"{address}#now",
            "type": "prov:Entity",
            "specializationOf": address,
            "title": dict(title) if title else None,
            "generatedAtTime": at,
            "wasDerivedFrom": [f"{base}/v1/events/{event}" for event in events],
            "value": state,
        }
    )


def _source(source: Source) -> Json:
    return {
        "id": source.url,
        "type": "prov:Entity",
        "headline": source.title,
        "publisher": source.publisher,
        "issued": source.published_on,
        "language": source.language,
    }


def _encode(document: Json) -> bytes:
    """JSON without the terms that are not stated, but for the content itself."""
    return msgspec.json.encode(_stated(document))


def _stated(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: each if name in ("value", "@context") else _stated(each)
            for name, each in value.items()
            if each is not None and each != []
        }
    if isinstance(value, list):
        return [_stated(each) for each in value]
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
