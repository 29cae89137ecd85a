"""Queries of imports, for many rows at a time: which announcements are recorded, which deals have an identifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from uuid import UUID

import msgspec

from registry.domain.history import AsOf
from registry.errors import MergedInto, NotFound
from registry.events import store
from registry.projections import deal_identifiers
from registry.queries.deals import DealQueries
from registry.queries.streams import StreamReader
from registry.schemas import DealResponse
from registry.schemas.imports import IdentifiedDeal, ImportLookup, SchemeIdentifier, SchemeIdentifiers


class ImportQueries:
    """Answer the questions of an import."""

    def __init__(self, streams: StreamReader, deals: DealQueries) -> None:
        self._streams = streams
        self._deals = deals

    async def lookup(self, ids: Sequence[UUID], scheme: str, values: Sequence[str], as_of: AsOf) -> ImportLookup:
        """Return which announcements are recorded, and the deals with these identifiers as of a point in time."""
        recorded = await store.recorded_ids(self._streams.pool(), ids) if ids else []
        slugs = await deal_identifiers.deals_with(self._streams.pool(), scheme, values) if values else {}
        # All streams at once: the states below then come from the cache.
        await self._streams.load_all([f"deal/{slug}" for slug in slugs.values()])
        deals = [await self._identified(value, slug, as_of) for value, slug in slugs.items()]
        return ImportLookup(recorded=recorded, deals=deals)

    async def _identified(self, value: str, slug: str, as_of: AsOf) -> IdentifiedDeal:
        state: msgspec.Raw | None = None
        try:
            state = msgspec.Raw((await self._deals.state(slug, as_of)).body)
        except MergedInto as merged:
            return await self._identified(value, str(merged.params["into"]), as_of)
        except NotFound:
            pass
        return IdentifiedDeal(value=value, deal=slug, state=cast("DealResponse | None", state))

    async def identifiers(self, scheme: str, after: str, limit: int) -> SchemeIdentifiers:
        """Return identifiers of a scheme in order."""
        rows = await deal_identifiers.of_scheme(self._streams.pool(), scheme, after, limit)
        identifiers = [SchemeIdentifier(value=value, deal=deal) for value, deal in rows]
        return SchemeIdentifiers(
            scheme=scheme, identifiers=identifiers, next=rows[-1][0] if len(rows) == limit else None
        )
