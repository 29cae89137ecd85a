"""The questions that an import's plan asks the registry, over HTTP."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from registry.client import Client, calls
from registry.imports.tracker.registry import KnownDeal, SetBy
from registry.schemas.imports import LookupRequest


class HttpRegistry:
    """The recorded deals, as the service answers."""

    def __init__(self, service: Client) -> None:
        self._service = service

    def recorded(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these announcements are recorded."""
        if not ids:
            return set()
        return set(self._service.lookup(LookupRequest(scheme="any", ids=tuple(ids))).recorded)

    def deals(self, scheme: str, keys: Collection[str], on: date) -> dict[str, KnownDeal]:
        """The deals with these identifiers, as known and in effect on a day, by identifier."""
        if not keys:
            return {}
        asked = LookupRequest(scheme=scheme, values=tuple(keys), effective_on=on, published_on=on)
        # As JSON: the comparison reads fields by their names.
        found = self._service.send(calls.as_json(calls.lookup(asked)))
        return {one["value"]: KnownDeal(one["deal"], one["state"]) for one in found["deals"]}

    def keys(self, scheme: str) -> Iterator[tuple[str, str]]:
        """All identifiers of a scheme, each with its deal's slug."""
        after: str | None = None
        while True:
            page = self._service.identifiers(scheme, after=after, limit=1000)
            yield from ((one.value, one.deal) for one in page.identifiers)
            after = page.next
            if after is None:
                return

    def set_by(self, slug: str, on: date) -> dict[str, SetBy]:
        """The event that set each field of a deal, as known and in effect on a day."""
        found: dict[str, SetBy] = {}
        cursor: str | None = None
        while True:
            path = f"/v1/deals/{calls.segment(slug)}/blame"
            page = self._service.json(path, effective_on=on, published_on=on, cursor=cursor)
            found |= SetBy.of_fields(page)
            cursor = page["next"]
            if cursor is None:
                return found

    def event(self, id: UUID) -> Mapping[str, Any]:
        """An event with its content as it reads now."""
        event: dict[str, Any] = self._service.json(f"/v1/events/{id}")
        return event
