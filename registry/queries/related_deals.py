"""Queries about the deals that have a relation to a deal, and about what follows from these for the deal."""

from __future__ import annotations

from msgspec.structs import replace

from registry.domain.assessment import Assessment, assess
from registry.domain.deal import Deal
from registry.domain.history import AsOf, FoldedStream, StateAsOf
from registry.domain.merges import merged_with
from registry.infra.threads import is_long, offload_answer
from registry.projections import deal_links
from registry.projections.deal_items import deal_items
from registry.queries.streams import StreamReader
from registry.schemas import IncomingRelation, incoming_relations


class RelatedDeals:
    """Answer questions about the deals that have a relation to a deal."""

    def __init__(self, streams: StreamReader) -> None:
        self._streams = streams

    async def incoming(self, stream: FoldedStream[Deal], as_of: AsOf) -> tuple[IncomingRelation, ...]:
        """Return the relations to a deal, and to those merged into it, that other deals declare, at a point in time.

        A point with a publication date is read along that axis alone.
        """
        resolved = await self._streams.resolve(as_of)
        point, pool = await self._streams.point(resolved), self._streams.pool()
        merged = await self._streams.merged_deals(point)
        deal, _ = await _state_and_survivor(stream, resolved.as_of)
        related: set[str] = set()
        for name in merged_with(stream.slug, merged):
            related.update(await deal_links.related_to(pool, point, name))
        rows = await deal_items(pool, point, sorted(related))
        pledges = [pledge.pledge for pledge in deal.pledges] if deal is not None else []
        return incoming_relations(stream.slug, rows, merged, pledges)

    async def states(self, deal: Deal, as_of: AsOf) -> tuple[Deal, ...]:
        """Return the deals that have a relation to a deal, whichever of the two declares it, as known at a point.

        Relations and states with a future effective date are included. For a merged deal, it is the state of the deal
        that it was merged into.
        """
        known = replace(as_of, effective_on=None)
        declared = {relation.deal for relation in deal.relations}
        slugs = declared.union(await deal_links.ever_related_to(self._streams.pool(), deal.deal)) - {deal.deal}
        related = []
        for slug in sorted(slugs):
            state = await self._state_of_survivor(slug, known)
            if state is not None and (slug in declared or any(r.deal == deal.deal for r in state.relations)):
                related.append(state)
        return tuple(related)

    async def _state_of_survivor(self, slug: str, known: AsOf) -> Deal | None:
        """Return a deal's state; of a merged deal, under its own slug, that of the deal it was merged into."""
        name: str | None = slug
        state: Deal | None = None
        while name is not None:
            stream, _ = await self._streams.load(f"deal/{name}")
            state, name = await _state_and_survivor(stream, known) if stream is not None else (None, None)
        return replace(state, deal=slug) if state is not None else None

    async def assessment(self, stream: FoldedStream[Deal], snapshot: StateAsOf[Deal], as_of: AsOf) -> Assessment:
        """Return what is derived from a deal's state, including the flags that follow from related deals."""
        state = snapshot.state or stream.state
        rates, related = await self._streams.rates(as_of), await self.states(state, as_of)
        return await offload_answer(snapshot.count, assess, snapshot, state, rates, related)


async def _state_and_survivor(stream: FoldedStream[Deal], as_of: AsOf) -> tuple[Deal | None, str | None]:
    """A deal's state, and the deal that it was merged into, at a point."""

    def read(stream: FoldedStream[Deal]) -> tuple[Deal | None, str | None]:
        snapshot = stream.state_as_of(as_of)
        return snapshot.state, snapshot.merged_into

    return await offload_answer(stream.version, read, stream.copy_for_thread() if is_long(stream.version) else stream)
