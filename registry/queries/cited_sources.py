"""The sources that the rows of an export rest on: of a deal, and of each of its items, such as pledges and sites.

A deal rests on the sources of all its events at a point, an item on those of the events about it. The rules of
corrections, voids and claims decide which events these are, so this module applies those rules to the folded streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import IO

import msgspec
from msgspec import Struct

from registry.domain.deal.facts import touches
from registry.domain.fold.record import resolve_record
from registry.domain.history import AsOf
from registry.domain.stream_kinds import DEALS
from registry.events import store
from registry.events.types import Recorded
from registry.events.values import Source
from registry.infra.postgres import Pool

DEALS_PER_READ = 100
"""Decoding the events of this number of deals holds the event loop for some milliseconds."""


class CitedSources(Struct, frozen=True):
    """The sources of a deal (`item` is empty) or of an item, as lists of the same length."""

    deal: str
    item: str
    publishers: list[str]
    urls: list[str]
    days: list[str]


async def write_cited_sources(pool: Pool, deals: Sequence[str], as_of: AsOf, table: str, file: IO[bytes]) -> None:
    """Write the sources of deals, or of their items, as lines of JSON.

    Args:
        pool: The database.
        deals: The deals.
        as_of: The point.
        table: `deals`, or the list of the items.
        file: Where to write.
    """
    encoder = msgspec.json.Encoder()
    for first in range(0, len(deals), DEALS_PER_READ):
        names = {f"deal/{deal}": deal for deal in deals[first : first + DEALS_PER_READ]}
        streams = await store.streams(pool, list(names))
        rows = [(names[name], events) for name, events in streams.items()]
        lines = await asyncio.to_thread(lambda rows: encoder.encode_lines(_cited(rows, as_of, table)), rows)
        file.write(lines)
    file.flush()


def _cited(streams: Iterable[tuple[str, list[Recorded]]], as_of: AsOf, table: str) -> list[CitedSources]:
    found: list[CitedSources] = []
    for deal, events in streams:
        by_item: dict[str, list[tuple[int, tuple[Source, ...]]]] = {}
        record = resolve_record(deal, [event for event in events if as_of.was_recorded(event)], DEALS)
        if table == "deals" and record.registration is not None:
            by_item[""] = [(record.registration.recorded.position, record.registration.sources)]
        for step in record.foldable_events():
            if as_of.is_visible(step):
                cited = (step.effective.recorded.position, step.effective.sources)
                items = (
                    [""]
                    if table == "deals"
                    else [fact[1] for fact in touches(deal, step.applied).writes if fact[0] == table]
                )
                for item in items:
                    by_item.setdefault(item, []).append(cited)
        found += [_as_lists(deal, item, cited) for item, cited in by_item.items()]
    return found


def _as_lists(deal: str, item: str, cited: list[tuple[int, tuple[Source, ...]]]) -> CitedSources:
    """Each source once, in the order of the log."""
    sources = dict.fromkeys(
        (source.publisher or "", source.url or "", str(source.published_on or ""))
        for _, sources in sorted(cited, key=lambda one: one[0])
        for source in sources
    )
    publishers, urls, days = ([source[place] for source in sources] for place in range(3))
    return CitedSources(deal, item, publishers, urls, days)
