"""What a plan asks the registry, answered in the service itself.

The plan is made in a thread of its own, so each question is handed to the event loop and waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterator, Mapping
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from registry.domain.history import AsOf
from registry.imports.tracker.registry import KnownDeal, SetBy
from registry.queries.deals import DealQueries
from registry.queries.imports import ImportQueries
from registry.queries.log import LogQueries
from registry.schemas import encode
from registry.schemas.log import event_response

T = TypeVar("T")

KEYS_PER_READ = 1000


class ServiceRegistry:
    """The recorded deals, as the service's own queries answer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, imports: ImportQueries, deals: DealQueries, log: LogQueries
    ) -> None:
        self._loop = loop
        self._imports = imports
        self._deals = deals
        self._log = log

    def _answer(self, question: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(question, self._loop).result()

    def recorded(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these announcements are recorded."""
        if not ids:
            return set()
        return set(self._answer(self._imports.lookup(list(ids), "", [], AsOf())).recorded)

    def deals(self, scheme: str, keys: Collection[str], on: date) -> dict[str, KnownDeal]:
        """The deals with these identifiers, as known and in effect on a day, by identifier."""
        if not keys:
            return {}
        as_of = AsOf(effective_on=on, published_on=on)
        found = _as_json(self._answer(self._imports.lookup([], scheme, list(keys), as_of)))
        return {one["value"]: KnownDeal(one["deal"], one["state"]) for one in found["deals"]}

    def keys(self, scheme: str) -> Iterator[tuple[str, str]]:
        """All identifiers of a scheme, each with its deal's slug."""
        after: str | None = ""
        while after is not None:
            page = self._answer(self._imports.identifiers(scheme, after, KEYS_PER_READ))
            yield from ((one.value, one.deal) for one in page.identifiers)
            after = page.next

    def set_by(self, slug: str, on: date) -> dict[str, SetBy]:
        """The event that set each field of a deal, as known and in effect on a day."""
        page = self._answer(self._deals.provenance(slug, AsOf(effective_on=on, published_on=on)))
        return SetBy.of_fields(_as_json(page.body))

    def event(self, id: UUID) -> Mapping[str, Any]:
        """An event with its content as it reads now."""
        stored, effective = self._answer(self._log.event(id))
        response: Mapping[str, Any] = _as_json(event_response(stored, effective))
        return response


def _as_json(value: Any) -> Any:
    """A response as the API gives it: the comparison reads fields by their names."""
    return msgspec.json.decode(encode(value))
