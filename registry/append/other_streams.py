"""What a request is compared with in other streams: where a merge leads, who has an identifier, related deals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from registry.domain.assessment import flags_raised
from registry.domain.checks.plausibility import Flag
from registry.domain.deal import Deal
from registry.domain.history import FoldedStream
from registry.domain.money.rates import Rates
from registry.domain.refusal import Refusal
from registry.domain.stream_kinds import DEALS
from registry.errors import RuleBroken
from registry.events.codec import stream_name
from registry.events.store import SealedEvent
from registry.infra.postgres import Connection, Pool
from registry.infra.threads import is_long, offload
from registry.projections.deal_identifiers import IdentifierKey, identifiers, may_identify, owners

Load: TypeAlias = Callable[[Sequence[str]], Awaitable[list[FoldedStream[Any]]]]
"""Loads streams, as they are after the batch so far."""


async def check_merge(before: FoldedStream[Any], after: FoldedStream[Any], load: Load) -> None:
    """Refuse a merge into an unknown record and a cycle of merges, whichever event (also a void) causes it."""
    into = after.record.merged_into
    slug = into if into != before.record.merged_into else None
    while slug is not None:
        if slug == after.slug:
            raise RuleBroken(Refusal("merge-cycle", slug=slug, into=into or ""))
        (target,) = await load([stream_name(after.events[-1].kind, slug)])
        if not target.events:
            raise RuleBroken(Refusal("merge-target-unknown", into=slug))
        slug = target.record.merged_into


async def check_identifiers(
    connection: Connection | Pool,
    before: FoldedStream[Any],
    after: FoldedStream[Any],
    identified: dict[IdentifierKey, set[str]],
    load: Load,
) -> None:
    """Refuse an identifier that another deal has. Deals of this batch count as they are after it.

    Args:
        connection: Finds the deals of the log that have an identifier.
        before: The deal before its last event.
        after: The deal after it.
        identified: The deals of this batch that were given each identifier. This one is added.
        load: Loads the other deals.
    """
    if after.rules is not DEALS or not may_identify(after.events[-1]):
        return
    added = identifiers(after) - identifiers(before)
    if not added:
        return
    others = {*await owners(connection, added), *(slug for key in added for slug in identified.get(key, ()))}
    for other in await load([stream_name("deal", slug) for slug in sorted(others - {after.slug})]):
        taken = added & identifiers(other)
        if taken:
            scheme, value = min(taken)
            raise RuleBroken(Refusal("identifier-taken", scheme=scheme, value=value, deal=other.slug))
    for key in added:
        identified.setdefault(key, set()).add(after.slug)


async def flags_of(stream: FoldedStream[Any], events: Sequence[SealedEvent], rates: Rates, load: Load) -> list[Flag]:
    """The warnings that the events raise. A warning never refuses a request: sources err, and that is recorded."""
    if stream.rules is not DEALS:
        return []
    related_deals: tuple[Deal, ...] = ()
    if stream.timeline.has_any("relations"):
        relations = stream.timeline.items("relations")
        slugs = dict.fromkeys(relation.deal for relation in relations if relation.deal != stream.slug)
        related = await load([stream_name("deal", slug) for slug in slugs])
        states = [await _state_of_survivor(deal, load) for deal in related]
        related_deals = tuple(state for state in states if state is not None)
    ids = [event.recorded.id for event in events]
    copy = stream.copy_for_thread() if is_long(len(ids)) else stream
    return await offload(len(ids), flags_raised, copy, ids, rates, related_deals)


async def _state_of_survivor(deal: FoldedStream[Deal], load: Load) -> Deal | None:
    """A deal's state; of a merged deal, under its own slug, that of the deal it was merged into."""
    survivor = deal
    while (into := survivor.record.merged_into) is not None:
        (survivor,) = await load([stream_name("deal", into)])
    return msgspec.structs.replace(survivor.state, deal=deal.slug) if survivor.events else None
