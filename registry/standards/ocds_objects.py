"""What the parts of a deal are in OCDS: budget items, milestones, locations, parties, documents, related processes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from registry.domain.deal import Deal, MilestoneState, PledgeState, RelationState, SiteState
from registry.events.edtf import first_day, last_day
from registry.events.values import Amount, Edtf, Horizon, Localized, Source

LANGUAGE = "en"

# The roles of OCDS that mean what ours do. The codelist is open: the other roles keep our codes.
ROLES = {"investor": "funder", "financier": "funder", "supplier": "supplier", "builder": "supplier"}
MILESTONE_TYPES = {"approval": "approval", "financing": "financing"}
MILESTONE_STATUSES = {"planned": "scheduled", "reached": "met", "cancelled": "notMet"}

Json = dict[str, Any]


def ocid(prefix: str, deal: str) -> str:
    """The identifier of a deal's process."""
    return f"{prefix}-{deal}"


def budget_item(deal: Deal, pledge: PledgeState) -> Json:
    only = pledge.by[0] if len(pledge.by) == 1 else None
    return {
        "id": pledge.pledge,
        **texts("description", pledge.purpose),
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


def milestone_of(milestone: MilestoneState) -> Json:
    return {
        "id": milestone.milestone,
        **texts("title", milestone.name),
        "type": MILESTONE_TYPES.get(milestone.kind, "delivery") if milestone.kind else None,
        "code": milestone.kind,
        "status": MILESTONE_STATUSES[milestone.status],
        "dueDate": _last_instant(milestone.planned),
        "dateMet": _last_instant(milestone.reached),
        "dueDateStated": milestone.planned,
        "dateMetStated": milestone.reached,
    }


def location(site: SiteState) -> Json:
    point = (
        {"type": "Point", "coordinates": [Decimal(site.longitude), Decimal(site.latitude)]}
        if site.latitude and site.longitude
        else None
    )
    return {
        "id": site.site,
        **texts("description", site.name),
        "status": site.status,
        "geometry": point,
        "gazetteer": {"scheme": "ISO3166-2", "identifiers": [site.place]} if site.place else None,
        "address": {"streetAddress": site.address, "locality": site.locality},
    }


def parties_of(deal: Deal) -> list[Json]:
    """One entry for each organization, with the roles that it has now; one that left keeps the day."""
    parties: dict[str, Json] = {}
    for party in deal.parties:
        entry = parties.setdefault(party.organization, {"id": party.organization, "roles": []})
        entry |= texts("name", party.name)
        role = ROLES.get(party.role, party.role) if party.role else None
        if party.left_on is None:
            entry.pop("leftOn", None)
            if role and role not in entry["roles"]:
                entry["roles"].append(role)
        elif not entry["roles"]:
            entry["leftOn"] = party.left_on
    return list(parties.values())


def document(id: str, source: Source) -> Json:
    return {
        "id": id,
        "title": source.title,
        "publisher": source.publisher,
        "url": source.url,
        "datePublished": f"{source.published_on}T00:00:00Z" if source.published_on else None,
        "language": source.language,
    }


def related_process(prefix: str, relation: RelationState) -> Json:
    return {
        "id": ":".join(filter(None, (relation.relation, relation.pledge, relation.deal, relation.other_pledge))),
        "relationship": [relation.relation],
        "scheme": "ocid",
        "identifier": ocid(prefix, relation.deal),
    }


def _name_of(deal: Deal, organization: str) -> str | None:
    names = [party.name for party in deal.parties if party.organization == organization and party.name]
    return _plain(names[-1]) if names else None


def texts(name: str, text: Localized | None) -> Json:
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
