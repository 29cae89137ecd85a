"""Deals as Open Contracting Data Standard 1.1: one release for each event, and the record that they compile to.

A deal is a planning process. What fits no field of OCDS stays out; what extends it, as the standard allows, is listed
in `docs/integrations.md`. A release has what its event changed, as the log stood then, so it never changes afterwards:
compiling the releases by the standard's merge rules gives the compiled release (tests/standards/test_ocds.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from registry.domain.deal import Deal, MilestoneState, PledgeState, SiteState
from registry.domain.fold import DEALS
from registry.domain.history import FoldedStream
from registry.domain.sources import source_id
from registry.events.edtf import first_day, last_day
from registry.events.types import Recorded
from registry.events.values import Amount, Edtf, Horizon, Localized, Source

VERSION = "1.1"
ALWAYS = ("ocid", "id", "date", "tag", "language", "initiationType")
LANGUAGE = "en"

# The roles of OCDS that mean what ours do. The codelist is open: the other roles keep our codes.
ROLES = {"investor": "funder", "financier": "funder", "supplier": "supplier", "builder": "supplier"}
MILESTONE_TYPES = {"approval": "approval", "financing": "financing"}
MILESTONE_STATUSES = {"planned": "scheduled", "reached": "met", "cancelled": "notMet"}

Json = dict[str, Any]


class Release(Struct, frozen=True):
    """A release: its event, and the fields that the event changed."""

    event: Recorded
    changed: Json


class History(Struct, frozen=True):
    """The releases of a deal, and what they compile to."""

    releases: tuple[Release, ...]
    compiled: Json


def ocid(prefix: str, deal: str) -> str:
    """The identifier of a deal's process."""
    return f"{prefix}-{deal}"


def history(prefix: str, deal: str, events: Iterable[Recorded]) -> History:
    """The releases of a deal's events, in the order of the log.

    Args:
        prefix: The publisher's prefix of identifiers.
        deal: The deal.
        events: Its events up to the point in time; the effective date is open.
    """
    releases, compiled = [], dict[str, Any]()
    for event, document in _documents(prefix, deal, events):
        after = _with_stubs(compiled, document)
        releases.append(Release(event, _difference(compiled, after)))
        compiled = after
    return History(tuple(releases), compiled)


def _documents(prefix: str, deal: str, events: Iterable[Recorded]) -> Iterator[tuple[Recorded, Json]]:
    """Each event with the whole deal as it stood when the event was recorded."""
    stream = FoldedStream(deal, DEALS)
    for event in events:
        if stream.events:
            stream.append(event)
        else:
            stream = FoldedStream(deal, DEALS, [event])
        sources = [source for each in stream.record.effective_events for source in each.sources]
        yield event, _document(prefix, stream.state, sources)


# --- a deal -----------------------------------------------------------------------------------------------------------


def _document(prefix: str, deal: Deal, sources: Iterable[Source]) -> Json:
    planning = {
        "budget": {
            "id": deal.deal,
            **_texts("project", deal.title),
            **_texts("description", deal.summary),
            "budgetBreakdown": [_pledge(deal, pledge) for pledge in deal.pledges],
        },
        "stage": {"value": deal.stage.value, "basis": deal.stage.basis, "since": deal.stage.since}
        if deal.stage
        else None,
        "milestones": [_milestone(milestone) for milestone in deal.milestones],
        "locations": [_location(site) for site in deal.sites],
        "documents": _documents_of(sources),
    }
    document: Json = _stated(
        {
            "planning": planning,
            "parties": _parties(deal),
            "relatedProcesses": [
                {
                    "id": ":".join(filter(None, (each.relation, each.pledge, each.deal, each.other_pledge))),
                    "relationship": [each.relation],
                    "scheme": "ocid",
                    "identifier": ocid(prefix, each.deal),
                }
                for each in deal.relations
            ],
        }
    )
    return document


def _pledge(deal: Deal, pledge: PledgeState) -> Json:
    only = pledge.by[0] if len(pledge.by) == 1 else None
    return {
        "id": pledge.pledge,
        **_texts("description", pledge.purpose),
        "amount": _value(pledge.amount),
        "amountBasis": pledge.amount_basis,
        "commitment": pledge.commitment,
        "status": pledge.status,
        "period": _period(pledge.horizon),
        "sourceParty": {"id": only, "name": _name_of(deal, only)} if only else None,
        "sourceParties": list(pledge.by) if len(pledge.by) > 1 else None,
    }


def _value(amount: Amount | None) -> Json | None:
    """An amount. A range, a qualifier and other currencies have fields of our own."""
    if amount is None:
        return None
    return {
        "amount": _number(amount.value),
        "currency": amount.currency,
        "qualifier": amount.qualifier,
        "low": _number(amount.low),
        "high": _number(amount.high),
        "figure": amount.figure,
        "priceYear": amount.price_year,
        "wording": amount.wording,
    }


def _number(text: str | None) -> Decimal | None:
    """A number of JSON with all its digits."""
    return Decimal(text) if text is not None else None


def _milestone(milestone: MilestoneState) -> Json:
    return {
        "id": milestone.milestone,
        **_texts("title", milestone.name),
        "type": MILESTONE_TYPES.get(milestone.kind, "delivery") if milestone.kind else None,
        "code": milestone.kind,
        "status": MILESTONE_STATUSES[milestone.status],
        "dueDate": _last_instant(milestone.planned),
        "dateMet": _last_instant(milestone.reached),
        "dueDateStated": milestone.planned,
        "dateMetStated": milestone.reached,
    }


def _location(site: SiteState) -> Json:
    point = (
        {"type": "Point", "coordinates": [Decimal(site.longitude), Decimal(site.latitude)]}
        if site.latitude and site.longitude
        else None
    )
    return {
        "id": site.site,
        **_texts("description", site.name),
        "status": site.status,
        "geometry": point,
        "gazetteer": {"scheme": "ISO3166-2", "identifiers": [site.place]} if site.place else None,
        "address": {"streetAddress": site.address, "locality": site.locality},
    }


def _parties(deal: Deal) -> list[Json]:
    """One entry for each organization, with the roles that it has now; one that left keeps the day."""
    parties: dict[str, Json] = {}
    for party in deal.parties:
        entry = parties.setdefault(party.organization, {"id": party.organization, "roles": []})
        entry |= _texts("name", party.name)
        role = ROLES.get(party.role, party.role) if party.role else None
        if party.left_on is None:
            entry.pop("leftOn", None)
            if role and role not in entry["roles"]:
                entry["roles"].append(role)
        elif not entry["roles"]:
            entry["leftOn"] = party.left_on
    return list(parties.values())


def _documents_of(sources: Iterable[Source]) -> list[Json]:
    documents = {}
    for source in sources:
        id = source_id(source)
        if id is None:
            continue
        documents[id] = {
            "id": id,
            "title": source.title,
            "publisher": source.publisher,
            "url": source.url,
            "datePublished": f"{source.published_on}T00:00:00Z" if source.published_on else None,
            "language": source.language,
        }
    return list(documents.values())


def _name_of(deal: Deal, organization: str) -> str | None:
    names = [party.name for party in deal.parties if party.organization == organization and party.name]
    return _plain(names[-1]) if names else None


def _texts(name: str, text: Localized | None) -> Json:
    """A text in the language of the release, and its other languages with the standard's suffixes."""
    if not text:
        return {}
    others = {f"{name}_{tag}": value for tag, value in text.items() if tag != LANGUAGE}
    return {name: _plain(text), **others}


def _plain(text: Localized) -> str:
    return text.get(LANGUAGE) or next(iter(text.values()))


def _period(horizon: Horizon | None) -> Json | None:
    if horizon is None:
        return None
    return {
        "startDate": f"{first_day(horizon.from_)}T00:00:00Z" if horizon.from_ else None,
        "endDate": _last_instant(horizon.until),
    }


def _last_instant(loose: Edtf | None) -> str | None:
    """The last possible day of a loose date, as OCDS's date-time."""
    return f"{last_day(loose)}T23:59:59Z" if loose else None


# --- the rules of merging ---------------------------------------------------------------------------------------------


def _stated(value: Any) -> Any:
    """Without what is None or empty, in depth."""
    if isinstance(value, dict):
        shown = {name: _stated(each) for name, each in value.items()}
        return {name: each for name, each in shown.items() if each not in (None, [], {})}
    return [_stated(each) for each in value] if isinstance(value, list) else value


def _by_id(value: list[Any]) -> dict[str, Json] | None:
    """The objects of a list by id; None if the list is a value as a whole."""
    return {each["id"]: each for each in value} if value and isinstance(value[0], dict) and "id" in value[0] else None


def _with_stubs(before: Json, after: Json) -> Json:
    """Keep the id of every object that was removed: a release cannot remove an object from a list, only its fields."""
    kept = dict(after)
    for name, old in before.items():
        new = after.get(name)
        if isinstance(old, dict):
            nested = _with_stubs(old, new or {})
            if nested:
                kept[name] = nested
        elif isinstance(old, list) and (was := _by_id(old)) is not None:
            now = _by_id(new or []) or {}
            objects = {id: _with_stubs(was.get(id, {}), now.get(id, {"id": id})) for id in dict.fromkeys((*was, *now))}
            kept[name] = list(objects.values())
    return kept


def _difference(before: Json, after: Json) -> Json:
    """The fields to state so that merging them into `before` gives `after`. A field that is gone is null."""
    changed: Json = {}
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict):
            changed[name] = _difference(old, new or {})
        elif isinstance(new, list) and (now := _by_id(new)) is not None:
            was = _by_id(old or []) or {}
            changed[name] = [
                {"id": id} | _difference(was.get(id, {}), each) for id, each in now.items() if was.get(id) != each
            ]
        else:
            changed[name] = new
    return changed


# --- packages ---------------------------------------------------------------------------------------------------------


def release(prefix: str, deal: str, one: Release, *, is_first: bool) -> Json:
    """A release."""
    return {
        **_head(prefix, deal, str(one.event.id), one.event.recorded_at),
        "tag": ["planning" if is_first else "planningUpdate"],
        **one.changed,
    }


def compiled_release(prefix: str, deal: str, found: History) -> Json:
    """What the releases compile to."""
    last = found.releases[-1].event
    id = f"{ocid(prefix, deal)}-{last.recorded_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    return {**_head(prefix, deal, id, last.recorded_at), "tag": ["compiled"], **found.compiled}


def _head(prefix: str, deal: str, id: str, at: datetime) -> Json:
    return {
        "ocid": ocid(prefix, deal),
        "id": id,
        "date": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "language": LANGUAGE,
        "initiationType": "tender",
    }


def package(uri: str, publisher: str, licence: str | None, at: datetime, content: Mapping[str, Any]) -> Json:
    """A release package or a record package; `licence` is the address of the data's licence."""
    return {
        "uri": uri,
        "version": VERSION,
        "publishedDate": f"{at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "publisher": {"name": publisher},
        **({"license": licence} if licence is not None else {}),
        **content,
    }


_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode(document: Json) -> bytes:
    """JSON. Amounts are numbers, as the standard wants them, with all their digits."""
    return _encode(document)
