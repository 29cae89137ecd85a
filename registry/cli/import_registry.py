"""What a plan asks the registry, over HTTP."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from registry.cli.client import answer
from registry.imports.tracker.registry import KnownDeal, SetBy
from registry.schemas.imports import LookupRequest


class HttpRegistry:
    """The recorded deals, as the service answers."""

    def __init__(self, service: httpx.Client) -> None:
        self._service = service

    def recorded(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these announcements are recorded."""
        if not ids:
            return set()
        found = self._lookup(LookupRequest(scheme="any", ids=tuple(ids)))
        return {UUID(id) for id in found["recorded"]}

    def deals(self, scheme: str, keys: Collection[str], on: date) -> dict[str, KnownDeal]:
        """The deals with these identifiers, as known and in effect on a day, by identifier."""
        if not keys:
            return {}
        found = self._lookup(LookupRequest(scheme=scheme, values=tuple(keys), effective_on=on, published_on=on))
        return {one["value"]: KnownDeal(one["deal"], one["state"]) for one in found["deals"]}

    def keys(self, scheme: str) -> Iterator[tuple[str, str]]:
        """All identifiers of a scheme, each with its deal's slug."""
        after: str | None = None
        while True:
            query = f"?scheme={quote(scheme)}&limit=1000" + (f"&after={quote(after, safe='')}" if after else "")
            page = answer(self._service.get(f"/v1/import/identifiers{query}"))
            yield from ((one["value"], one["deal"]) for one in page["identifiers"])
            after = page["next"]
            if after is None:
                return

    def set_by(self, slug: str, on: date) -> dict[str, SetBy]:
        """The event that set each field of a deal, as known and in effect on a day."""
        day = on.isoformat()
        blame = answer(self._service.get(f"/v1/deals/{slug}/blame", params={"effective_on": day, "published_on": day}))
        return {
            entry["field"]: SetBy(
                UUID(entry["event"]), tuple(one["publisher"] for one in entry["sources"] if one.get("publisher"))
            )
            for entry in blame["fields"]
        }

    def event(self, id: UUID) -> Mapping[str, Any]:
        """An event with its content as it reads now."""
        event: dict[str, Any] = answer(self._service.get(f"/v1/events/{id}"))
        return event

    def _lookup(self, asked: LookupRequest) -> Any:
        return answer(
            self._service.post(
                "/v1/import/lookup",
                content=msgspec.json.encode(asked),
                headers={"Content-Type": "application/json"},
                timeout=600,
            )
        )
