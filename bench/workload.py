"""The workload: histories of synthetic deals, and the requests that post them. The same numbers give the same bytes.

A history has ten announcements in an order that the rules accept, each with one source. Names are numbers, so that
they are not mistaken for real deals.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec

encode = msgspec.json.Encoder().encode

Announcement = dict[str, Any]

# Deals whose announcements are interleaved. More than there are connections, so that a deal's requests stay in order.
BLOCK = 640
ROUNDS = 10

_SECTORS = ("data-centres", "semiconductors", "energy", "batteries", "displays", "health", "mobility", "cloud")
_PLACES = ("KR-11", "KR-26", "KR-28", "KR-31", "KR-41", "KR-43", "KR-44", "KR-47", "KR-48", "JP-13", "VN-HN", "US-TX")
_STAGES = ("intention", "signed", "committed", "construction", "operating")
_CURRENCIES = ("USD", "KRW", "EUR", "JPY")
_COMMITMENTS = ("intention", "pledge", "binding", "budget")


def slug(deal: int) -> str:
    """The slug of a deal."""
    return f"deal-{deal:07}"


LARGE_ORGANIZATION = "organization-large"
"""An organization with a part in every fiftieth deal."""

FORMER_SECTOR = "steam-power"
"""A sector that a tenth of the deals once had and none has now."""


def _is_renamed(deal: int) -> bool:
    """Whether the deal's title and sectors are revised later."""
    return deal % 10 == 3


def _organization(number: int) -> str:
    return f"organization-{number % 997:03}"


def _amount(deal: int, step: int) -> dict[str, Any]:
    value = str((deal * 37 + step * 11) % 900 * 10_000_000 + 50_000_000)
    return {"value": value, "currency": _CURRENCIES[deal % 7 % 4], "qualifier": ("about", "exact")[deal % 2]}


def _event(deal: int, step: int) -> dict[str, Any]:  # noqa: C901 - one case for each step
    """The event of a deal's step; each step from the eleventh on announces one more pledge."""
    match step:
        case 0:
            if _is_renamed(deal):
                return {"type": "deal_registered", "title": {"en": f"Former deal {deal}"}, "sectors": [FORMER_SECTOR]}
            return {
                "type": "deal_registered",
                "title": {"en": f"Synthetic deal {deal}", "ko": f"가상 투자 {deal}"},
                "kind": "investment",
                "sectors": [_SECTORS[deal % 8], _SECTORS[(deal // 8) % 8]] if deal % 8 != (deal // 8) % 8 else [],
            }
        case 1:
            parties = [
                {"organization": _organization(deal), "name": {"en": f"Organization {deal % 997}"}, "role": "investor"},
                {"organization": _organization(deal * 7 + 1), "role": "partner"},
            ]
            if deal % 50 == 0:
                parties.append({"organization": LARGE_ORGANIZATION, "role": "operator"})
            return {"type": "parties_joined", "parties": parties}
        case 2:
            return {
                "type": "pledge_announced",
                "pledge": "first",
                "amount": _amount(deal, 2),
                "amount_basis": ("total", "additional")[deal % 5 == 0],
                "commitment": _COMMITMENTS[deal % 4],
                "by": [_organization(deal)],
                "horizon": {"until": str(2027 + deal % 8)},
            }
        case 3:
            name = {"en": f"Site of deal {deal}"}
            return {
                "type": "site_announced",
                "site": "first",
                "name": name,
                "place": _PLACES[deal % 12],
                "power_mw": str(20 + deal % 400),
            }
        case 4:
            kind = ("approval", "groundbreaking", "construction_started", "power_on")[deal % 4]
            return {
                "type": "milestone_scheduled",
                "milestone": "first",
                "kind": kind,
                "site": "first",
                "planned": str(2026 + deal % 4),
            }
        case 5:
            return {"type": "stage_changed", "stage": _STAGES[deal % 5]}
        case 6:
            return {"type": "pledge_revised", "pledge": "first", "amount": _amount(deal, 6)}
        case 7 if _is_renamed(deal):
            title = {"en": f"Synthetic deal {deal}", "ko": f"가상 투자 {deal}"}
            return {"type": "deal_revised", "title": title, "sectors": [_SECTORS[deal % 8]]}
        case 7:
            return {"type": "milestone_rescheduled", "milestone": "first", "planned": str(2027 + deal % 4)}
        case 8:
            return {"type": "pledge_confirmed", "pledge": "first", "commitment": "binding"}
        case 9 if deal % 500 == 50:
            return {"type": "deals_related", "relation": "overlaps", "deal": slug(deal - 1)}
        case 9:
            return {"type": "disbursement_reported", "pledge": "first", "amount": _amount(deal, 9)}
        case _:
            return {"type": "pledge_announced", "pledge": f"more-{step}", "amount": _amount(deal, step)}


def announcement(deal: int, step: int) -> Announcement:
    """One announcement. Dates increase with the step, so that each step has its own effective date."""
    day = date(2020, 1, 1) + timedelta(days=deal % 700 + step * 120 if step < ROUNDS else 1900 + step // 8)
    source = {
        "publisher": f"Publisher {deal % 23}",
        "url": f"https://publisher-{deal % 23}.example/{deal // 3}/{step}",
        "title": f"Announcement {step}",
        "language": "en",
        "published_on": day.isoformat(),
    }
    return {"effective_on": day.isoformat(), "sources": [source], "event": _event(deal, step)}


def recording_order(deals: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Deals and steps in the order of recording: the histories of a block of deals are interleaved."""
    for start in range(first, first + deals, BLOCK):
        block = range(start, min(start + BLOCK, first + deals))
        for step in range(ROUNDS):
            for deal in block:
                yield deal, step


def lines(deals: int, first: int = 0) -> Iterator[bytes]:
    """The histories of `deals` deals as lines of an import, each with an id."""
    for deal, step in recording_order(deals, first):
        yield encode({"deal": slug(deal), "id": str(UUID(int=deal << 16 | step)), **announcement(deal, step)})


def http(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of an HTTP request."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def posts(deals: int, key: str, first: int = 0, path: str = "/v1/deals/{deal}/events") -> Iterator[bytes]:
    """The histories of `deals` deals as POST requests, each with its own idempotency key."""
    for deal, step in recording_order(deals, first):
        yield http(
            "POST",
            path.format(deal=slug(deal)),
            encode(announcement(deal, step)),
            Authorization=f"Bearer {key}",
            Idempotency_Key=f"post-{deal}-{step}",
        )
