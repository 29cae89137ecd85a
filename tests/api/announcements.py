"""Minimal announcements for the tests."""

from __future__ import annotations

from typing import Any

SOURCE = {
    "publisher": "The Example Times",
    "url": "https://news.example/plant",
    "title": "A plant is planned",
    "language": "en",
    "published_on": "2025-06-16",
}


def registered(title: str = "A plant", **more: Any) -> dict[str, Any]:
    """Register a deal."""
    return {"sources": [SOURCE], "event": {"type": "deal_registered", "title": {"en": title}, **more}}


def announced(day: str, type: str, *, sources: Any = None, **fields: Any) -> dict[str, Any]:
    """Announce an event on a day."""
    return {"effective_on": day, "sources": sources or [SOURCE], "event": {"type": type, **fields}}


def pledged(day: str = "2025-06-16", value: str = "5000000000", pledge: str = "total", **fields: Any) -> dict[str, Any]:
    """Announce a pledge."""
    return announced(day, "pledge_announced", pledge=pledge, amount={"value": value, "currency": "USD"}, **fields)


def revised(day: str, value: str, pledge: str = "total") -> dict[str, Any]:
    """Revise a pledge."""
    return announced(day, "pledge_revised", pledge=pledge, amount={"value": value, "currency": "USD"})


def corrected(id: str, **replacement: Any) -> dict[str, Any]:
    """Correct an event."""
    return {"event": {"type": "event_corrected", "corrects": id, "replacement": replacement, "reason": "a slip"}}


def voided(id: str) -> dict[str, Any]:
    """Void an event."""
    return {"event": {"type": "event_voided", "voids": id, "reason": "another deal's"}}
