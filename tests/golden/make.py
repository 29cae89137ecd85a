"""Write the golden file of an event type that has none: `python -m tests.golden.make`.

A golden file shows how the first release with an event type stores, decodes and folds it. This program does not change
files that exist. A new schema version gets a file of its own, and so does an optional field that is added later
(`LATER`).
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import msgspec

from registry.append.seal import LogPlace, Recording, seal
from registry.domain.admission import admit, fill_defaults
from registry.domain.history import FoldedStream
from registry.domain.stream_kinds import RULES
from registry.events.codec import canonical, content_digest
from registry.events.sample import sample_event
from registry.events.store import SealedEvent
from registry.events.types import (
    EVENT_TYPES,
    Announcement,
    DealFact,
    EventRedacted,
    OrganizationAnnouncement,
    PrincipalAnnouncement,
    StreamKind,
)
from registry.events.values import decode_hook
from registry.transparency.merkle import leaf_hash

HERE = Path(__file__).parent
FIRST = datetime(2025, 10, 29, 1, 2, 3, 456789, tzinfo=UTC)

SOURCE = {
    "publisher": "한국경제 & Söhne",
    "url": "https://news.example/한국?id=1",
    "title": 'A "plant" <is> planned\u2028',
    "language": "ko",
    "published_on": "2025-10-28",
    "archived_url": "https://archive.example/1",
    "locator": "p. 3",
    "content_hash": "sha256:" + "0f" * 32,
}
BOTH = {"ko": "울산\n데이터센터 😀", "en": "Ulsan \\ data centre"}
AMOUNT = {
    "value": "5000000000.25",
    "currency": "USD",
    "qualifier": "about",
    "low": "4000000000",
    "high": "6000000000",
    "stated_as": [{"value": "7000000000000", "currency": "KRW", "qualifier": "more_than"}],
    "wording": "약 50억 달러",
}

REGISTERED = {
    "type": "deal_registered", "title": BOTH, "summary": BOTH, "kind": "investment", "sectors": ["ai", "cloud"],
}  # fmt: skip
PLEDGED = {
    "type": "pledge_announced", "pledge": "total", "amount": AMOUNT, "amount_basis": "additional",
    "commitment": "pledge", "additional_to": "other-deal/total", "by": ["amazon-web-services", "sk-group"],
    "horizon": {"from": "2025", "until": "2031"}, "purpose": BOTH,
}  # fmt: skip
SITE = {
    "type": "site_announced",
    "site": "mipo",
    "name": BOTH,
    "place": "KR-31",
    "latitude": "35.5",
    "longitude": "129.375",
    "precision": "locality",
    "power_mw": "103.5",
    "power_qualifier": "up_to",
    "gpus": 60000,
    "gpus_qualifier": "about",
}
MILESTONE = {
    "type": "milestone_scheduled", "milestone": "first-phase", "kind": "power_on", "site": "mipo", "name": BOTH,
    "planned": "2027-11~", "power_mw": "41",
}  # fmt: skip
PARTIES = {"type": "parties_joined", "parties": [{"organization": "sk-group", "name": BOTH, "role": "investor"}]}
CONDITION = {"type": "condition_set", "condition": "data-stays", "text": BOTH, "authority": "kftc"}
CLAIM = {
    "type": "claim_reported", "claim": "upi", "field": "/pledges/total/amount",
    "value": {"value": "5100000000", "currency": "USD"},
}  # fmt: skip
RELATED = {
    "type": "deals_related", "relation": "part_of", "deal": "other-deal", "pledge": "total", "other_pledge": "whole",
}  # fmt: skip
MERGED = {"type": "deal_merged", "into": "other-deal", "reason": "The same deal."}
SETBACK = {"type": "setback_reported", "setback": "appeal", "kind": "litigation", "text": BOTH}
INCENTIVE = {
    "type": "incentive_granted", "incentive": "tax-credit", "kind": "tax_credit",
    "amount": {"value": "10000000", "currency": "USD", "figure": "estimated", "price_year": 2020},
    "authority": "motie", "text": BOTH,
}  # fmt: skip
METRIC = {
    "type": "metric_reported", "metric": "capacity_per_year", "basis": "planned", "value": "12.5", "site": "mipo",
    "unit": "GWh", "qualifier": "about", "date": "2027-11~", "horizon": {"from": "2027", "until": "2029"},
}  # fmt: skip
CLASSIFIED = {"technology": ["solar", "wind"], "mode": ["expansion"], "ksic": ["C26"]}
ADDRESS = {"address": "Mipo-ro 1", "locality": "Ulsan", "district_code": "31140"}
ORGANIZATION = {"type": "organization_registered", "name": BOTH, "country": "KR"}
PARENT = {"type": "parent_set", "parent": "sk-square", "control": "owns", "share": "20.07"}
ORGANIZATION_MERGED = {"type": "organization_merged", "into": "sk-group", "reason": "The same."}

PRINCIPAL = {
    "type": "principal_registered", "name": "김민지", "kind": "person", "issuer": "https://id.example",
    "subject": "248289761001",
}  # fmt: skip
LIMITS = {"scopes": ["record", "correct"], "deals": ["plant"], "organizations": ["kt"], "sources": ["연합뉴스"]}
KEY = {"type": "key_issued", "key": "k1", "expires_at": "2027-11-06T00:00:00Z", **LIMITS}

SHAPES: dict[StreamKind, Any] = {
    "deal": Announcement,
    "organization": OrganizationAnnouncement,
    "principal": PrincipalAnnouncement,
}

# The events that must come before an event, and the event with every field. A type that is not listed here gets an
# example made from its fields' types, directly after the registration (`story_of`).
STORIES: dict[str, list[dict[str, Any]]] = {
    "deal_registered": [REGISTERED],
    "deal_revised": [
        REGISTERED,
        {"type": "deal_revised", "title": {"en": "Renamed"}, "summary": None, "kind": "programme", "sectors": ["ai"]},
    ],
    "condition_set": [REGISTERED, CONDITION],
    "condition_lifted": [REGISTERED, CONDITION, {"type": "condition_lifted", "condition": "data-stays"}],
    "parties_joined": [REGISTERED, PARTIES],
    "party_left": [REGISTERED, PARTIES, {"type": "party_left", "organization": "sk-group", "role": "investor"}],
    "partnership_formed": [
        REGISTERED,
        {"type": "partnership_formed", "members": ["kt", "microsoft"], "instrument": "contract", "name": BOTH},
    ],
    "stage_changed": [REGISTERED, {"type": "stage_changed", "stage": "construction", "reason": "Ground was broken."}],
    "pledge_announced": [REGISTERED, PLEDGED],
    "pledge_revised": [
        REGISTERED,
        PLEDGED,
        {"type": "pledge_revised", "pledge": "total", "amount": {"value": "6000000000", "currency": "USD"},
         "amount_basis": None, "commitment": "binding", "additional_to": None, "by": ["sk-group"],
         "horizon": {"until": "2032"}, "purpose": None},
    ],
    "pledge_confirmed": [
        REGISTERED, PLEDGED, {"type": "pledge_confirmed", "pledge": "total", "commitment": "binding"},
    ],
    "pledge_withdrawn": [
        REGISTERED, PLEDGED, {"type": "pledge_withdrawn", "pledge": "total", "reason": "The market."},
    ],
    "disbursement_reported": [
        REGISTERED,
        PLEDGED,
        {"type": "disbursement_reported", "pledge": "total", "amount": {"value": "1", "currency": "USD"},
         "by": ["sk-group"], "period": {"from": "2026-01", "until": "2026-03"}},
    ],
    "claim_reported": [REGISTERED, PLEDGED, CLAIM],
    "claim_preferred": [
        REGISTERED,
        PLEDGED,
        CLAIM,
        {"type": "claim_preferred", "field": "/pledges/total/amount", "claim": "upi", "reason": "It is the city's."},
    ],
    "claim_retracted": [REGISTERED, PLEDGED, CLAIM, {"type": "claim_retracted", "claim": "upi", "reason": "An error."}],
    "site_announced": [REGISTERED, SITE],
    "site_revised": [
        REGISTERED,
        SITE,
        {"type": "site_revised", "site": "mipo", "name": None, "place": "KR-28", "latitude": None, "longitude": None,
         "precision": "region", "power_mw": "90", "power_qualifier": None, "gpus": 50000, "gpus_qualifier": "nearly"},
    ],
    "site_dropped": [REGISTERED, SITE, {"type": "site_dropped", "site": "mipo", "reason": "No grid."}],
    "milestone_scheduled": [REGISTERED, SITE, MILESTONE],
    "milestone_rescheduled": [
        REGISTERED, SITE, MILESTONE,
        {"type": "milestone_rescheduled", "milestone": "first-phase", "planned": "2028", "power_mw": None,
         "reason": "Late."},
    ],
    "milestone_reached": [
        REGISTERED, SITE, MILESTONE,
        {"type": "milestone_reached", "milestone": "first-phase", "reached": "2025-10-29"},
    ],
    "milestone_cancelled": [
        REGISTERED, SITE, MILESTONE,
        {"type": "milestone_cancelled", "milestone": "first-phase", "reason": "Given up."},
    ],
    "setback_reported": [REGISTERED, SETBACK],
    "setback_resolved": [
        REGISTERED, SETBACK, {"type": "setback_resolved", "setback": "appeal", "reason": "The court agreed."},
    ],
    "incentive_granted": [REGISTERED, INCENTIVE],
    "incentive_revised": [
        REGISTERED, INCENTIVE,
        {"type": "incentive_revised", "incentive": "tax-credit", "kind": "grant", "amount": None, "authority": None,
         "text": {"en": "Now a grant."}},
    ],
    "incentive_ended": [
        REGISTERED, INCENTIVE, {"type": "incentive_ended", "incentive": "tax-credit", "reason": "It expired."},
    ],
    "metric_reported": [REGISTERED, SITE, METRIC],
    "metric_revised": [
        REGISTERED, SITE, METRIC, {**METRIC, "type": "metric_revised", "value": "14", "qualifier": None},
    ],
    "deals_related": [REGISTERED, PLEDGED, RELATED],
    "deals_unrelated": [REGISTERED, PLEDGED, RELATED, {**RELATED, "type": "deals_unrelated"}],
    "deal_merged": [REGISTERED, MERGED],
    "deal_unmerged": [REGISTERED, MERGED, {"type": "deal_unmerged", "reason": "Two deals after all."}],
    "principal_registered": [PRINCIPAL],
    "principal_renamed": [PRINCIPAL, {"type": "principal_renamed", "name": "Kim Min-ji"}],
    "key_issued": [PRINCIPAL, KEY],
    "key_revoked": [
        PRINCIPAL, KEY, {"type": "key_revoked", "key": "k1", "revoked_at": "2026-11-06T00:00:00Z"},
    ],
    "scopes_changed": [PRINCIPAL, KEY, {"type": "scopes_changed", "key": "k1", **LIMITS, "scopes": ["propose"]}],
    "event_corrected": [
        REGISTERED, PLEDGED,
        {"type": "event_corrected", "corrects": str(UUID(int=2)), "reason": "A slip.",
         "replacement": {"effective_on": "2025-10-27", "sources": [SOURCE],
                         "event": {**PLEDGED, "amount": {"value": "500000000", "currency": "USD"}}}},
    ],
    "event_voided": [
        REGISTERED, PLEDGED, {"type": "event_voided", "voids": str(UUID(int=2)), "reason": "Another deal's."},
    ],
    "event_redacted": [
        REGISTERED, PLEDGED,
        {"type": "event_corrected", "corrects": str(UUID(int=2)), "replacement": {"effective_on": "2025-10-27"}},
        {"type": "event_redacted", "redacts": str(UUID(int=2)), "reason": "A court's order."},
    ],
    "organization_registered": [ORGANIZATION],
    "organization_named": [
        ORGANIZATION, {"type": "organization_named", "name": "SK텔레콤㈜", "language": "ko", "kind": "legal"},
    ],
    "organization_identified": [
        ORGANIZATION, {"type": "organization_identified", "scheme": "wikidata", "identifier": "Q484131"},
    ],
    "parent_set": [ORGANIZATION, PARENT],
    "parent_ended": [ORGANIZATION, PARENT, {"type": "parent_ended", "parent": "sk-square"}],
    "organization_merged": [ORGANIZATION, ORGANIZATION_MERGED],
    "organization_unmerged": [
        ORGANIZATION, ORGANIZATION_MERGED, {"type": "organization_unmerged", "reason": "They are two."},
    ],
}  # fmt: skip


# Histories with fields that were added to a type later, by file name.
LATER: dict[str, list[dict[str, Any]]] = {
    "event_redacted.v1.effects": [
        REGISTERED, PLEDGED,
        {"type": "event_corrected", "corrects": str(UUID(int=2)), "replacement": {"effective_on": "2025-10-27"}},
        {"type": "event_corrected", "corrects": str(UUID(int=3)), "replacement": {"effective_on": "2025-10-26"}},
        {"type": "event_redacted", "redacts": str(UUID(int=3)), "reason": "A court's order."},
    ],
    "deal_registered.v1.classifications": [{**REGISTERED, "classifications": CLASSIFIED}],
    "deal_revised.v1.classifications": [
        {**REGISTERED, "classifications": CLASSIFIED},
        {"type": "deal_revised", "classifications": {"technology": ["hydrogen"], "mode": []}},
    ],
    "parties_joined.v1.share": [
        REGISTERED,
        {"type": "parties_joined",
         "parties": [{"organization": "kt", "role": "owner", "share": "49.5", "certainty": "reported"}]},
    ],
    "pledge_announced.v1.estimate": [
        REGISTERED, {**PLEDGED, "amount": {"value": "5", "currency": "USD", "figure": "modelled", "price_year": 2015}},
    ],
    "site_announced.v1.address": [REGISTERED, {**SITE, **ADDRESS}],
    "site_revised.v1.address": [
        REGISTERED, SITE, {"type": "site_revised", "site": "mipo", **ADDRESS, "locality": None},
    ],
}  # fmt: skip


def sealed(story: list[dict[str, Any]]) -> list[SealedEvent]:
    """The history as the recorder stores it, with fixed ids, instants and salts."""
    kind: StreamKind = story[0]["type"].partition("_")[0]
    shape: Any = SHAPES[kind]
    history: FoldedStream[Any] = FoldedStream("golden", RULES[kind])
    found: list[SealedEvent] = []
    for number, event in enumerate(story, 1):
        body = {"event": event} if kind == "principal" else {"event": event, "sources": [SOURCE]}
        announcement = msgspec.json.decode(json.dumps(body), type=shape, dec_hook=decode_hook)
        recorded_at = FIRST + timedelta(seconds=number)
        more: dict[str, Any] = {}
        if kind != "principal":
            more = {"effective_on": date(2025, 10, 29), "note": "왜: because"}
        effect = fill_defaults(history, announcement.event)
        filled = msgspec.structs.replace(announcement, id=UUID(int=number), event=effect, **more)
        place = LogPlace(kind, "golden", number, number, history.leaf_hash)
        one = seal(filled, place, Recording(recorded_at, "k0123456789ab"))
        one = salted(one, hashlib.sha256(b"salt %d" % number).digest())
        history = admit(history, one.recorded)
        found.append(one)
    return found


def salted(one: SealedEvent, salt: bytes) -> SealedEvent:
    """The event with another salt."""
    entry = msgspec.json.decode(one.entry)
    entry["content"] = content_digest(salt, one.content)
    data = canonical(entry)
    recorded = msgspec.structs.replace(one.recorded, leaf_hash=leaf_hash(data))
    return SealedEvent(recorded, data, one.content, salt)


def golden(type_: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of the golden file."""
    from tests.golden.test_golden import fold, rows

    story = sealed(events)
    stored = [
        {
            "position": one.recorded.position,
            "entry": one.entry.decode(),
            "content": one.content.decode(),
            "salt": one.salt.hex(),
            "leaf_hash": one.recorded.leaf_hash.hex(),
        }
        for one in story
    ]
    last = story[-1].recorded.event
    assert last is not None
    if isinstance(last, EventRedacted):
        for one, made in zip(stored, story, strict=True):
            if made.recorded.id in (last.redacts, *last.also):
                one["content"] = one["salt"] = None
    document: dict[str, Any] = {"type": type_, "schema": last.schema, "stored": stored}
    recorded = rows(document)
    document["reads"] = json.loads(msgspec.json.encode(recorded[-1]))
    document["state"] = fold(recorded)
    return document


def story_of(type_: str) -> list[dict[str, Any]]:
    """The events of an event type's golden file."""
    event = EVENT_TYPES[type_]
    first = REGISTERED if event in get_args(DealFact) else ORGANIZATION
    return STORIES.get(type_) or [first, sample_event(EVENT_TYPES[type_])]


def main() -> None:
    first = {f"{type_}.v{event.schema}": story_of(type_) for type_, event in EVENT_TYPES.items()}
    for name, story in (first | LATER).items():
        path = HERE / f"{name}.json"
        if not path.exists():
            document = golden(name.split(".")[0], story)
            path.write_text(json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
