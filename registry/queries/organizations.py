"""Queries about organizations: state as of a point, history, the list, ownership, merged records, duplicates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.entries import audit_trail
from registry.domain.history import UNBOUNDED, AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.merges import merged_with, survivor
from registry.domain.organizations.deduplication import Suggestion, suggest_duplicates
from registry.domain.organizations.organization import Organization
from registry.domain.stream_kinds import ORGANIZATIONS
from registry.errors import MergedInto, NotFound
from registry.events import stream_heads
from registry.events.values import Localized, decode_hook
from registry.projections import deal_links, event_index, organizations
from registry.projections.point import Point
from registry.queries.streams import LAST_DAY, ResolvedAsOf, StreamReader
from registry.schemas import (
    ChildOrganization,
    DealRole,
    OrganizationLinks,
    encode,
    organization_history,
)
from registry.schemas.values import LocalizedResponse, convert

# The most deals that an organization's page lists.
DEALS_PER_ORGANIZATION = 1000

# The organizations that one statement reads.
ORGANIZATIONS_PER_READ = 1000

# Events that merge an organization's record into another, or place the organization under another.
MERGE_EVENTS = ("organization_merged",)
TREE_EVENTS = ("parent_set", *MERGE_EVENTS)


class OrganizationTree(Struct, frozen=True):
    """The organizations that ever had a parent, at a point in time, and the record each merged one redirects to.

    `duplicates` are the merged ones; `organizations` all others.
    """

    organizations: dict[str, Organization]
    duplicates: dict[str, Organization]
    merged: dict[str, str]

    def merged_slugs(self, slug: str) -> set[str]:
        """The slugs of all records that were merged with this one, its own included."""
        return merged_with(survivor(slug, self.merged), self.merged)


class OrganizationQueries:
    """Answer questions about organizations."""

    def __init__(self, streams: StreamReader) -> None:
        self._streams = streams

    async def state(self, slug: str, as_of: AsOf) -> tuple[StateAsOf[Organization], Organization]:
        """Return an organization at a point in time.

        Raises:
            NotFound: The organization is not registered at that point.
            MergedInto: Its record was merged into another one.
        """
        stream = await self._stream(slug)
        snapshot = stream.state_as_of((await self._streams.resolve(as_of)).as_of)
        if snapshot.merged_into is not None:
            raise MergedInto(deal=slug, into=snapshot.merged_into)
        if snapshot.state is None:
            raise _not_registered_yet(slug)
        return snapshot, snapshot.state

    async def history(self, slug: str, as_of: AsOf) -> bytes:
        """Return every event of an organization with what it changed, as JSON.

        Raises:
            NotFound: The organization is not registered at that point.
        """
        stream = await self._stream(slug)
        entries = audit_trail(
            stream.events, as_of, ORGANIZATIONS, self._streams.calendar, snapshot=stream.state_as_of(as_of)
        )
        if not entries:
            raise _not_registered_yet(slug)
        names = await self._streams.author_names(stream.events)
        return encode(organization_history(as_of, entries, names))

    async def resolve(self, as_of: AsOf) -> ResolvedAsOf:
        """Fill in what a question leaves out (`StreamReader.resolve`)."""
        return await self._streams.resolve(as_of)

    async def known_names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of all organizations, in any language, by slug."""
        return await organizations.all_names(self._streams.pool())

    async def page_point(self, as_of: AsOf) -> tuple[ResolvedAsOf, int]:
        """Fill in what a question about a list leaves out, and return the log position that it is answered at."""
        resolved = await self._streams.resolve(as_of)
        return resolved, await self._streams.position_at(resolved.as_of, await self._streams.head())

    async def page(self, after: str, limit: int, as_of: AsOf = UNBOUNDED) -> list[Organization]:
        """Return organizations at a point in time, in the order of their slugs, without merged records.

        Args:
            after: The cursor; empty for the first page.
            limit: The most organizations.
            as_of: The point; without one, today.
        """
        resolved = await self._streams.resolve(as_of)
        page: list[Organization] = []
        async for streams in self._all(after):
            for stream in streams:
                snapshot = stream.state_as_of(resolved.as_of)
                if snapshot.state is not None and snapshot.merged_into is None:
                    page.append(snapshot.state)
                    if len(page) == limit:
                        return page
        return page

    async def states(self, slugs: Sequence[str] | None = None, as_of: AsOf = UNBOUNDED) -> list[Organization]:
        """Return organizations that are registered at a point, all or some of them, without merged records."""
        resolved = await self._streams.resolve(as_of)
        states = []
        async for streams in self._all("") if slugs is None else self._in_pieces(slugs):
            snapshots = (stream.state_as_of(resolved.as_of) for stream in streams)
            states += [one.state for one in snapshots if one.state is not None and one.merged_into is None]
        return states

    async def slugs(self, as_of: AsOf = UNBOUNDED) -> set[str]:
        """Return the slugs of all organizations that are registered at a point, without merged records."""
        return {state.organization for state in await self.states(None, as_of)}

    async def exists(self, slug: str) -> bool:
        """Whether an organization has a record, merged or not."""
        stream, _ = await self._streams.load(f"organization/{slug}")
        return stream is not None

    async def merged_into(self, slug: str) -> str | None:
        """The record that an organization's record is merged into now."""
        stream, _ = await self._streams.load(f"organization/{slug}")
        return stream.record.merged_into if stream is not None else None

    async def _in_pieces(self, slugs: Sequence[str]) -> AsyncIterator[list[FoldedStream[Organization]]]:
        for i in range(0, len(slugs), ORGANIZATIONS_PER_READ):
            yield await self._current(slugs[i : i + ORGANIZATIONS_PER_READ])

    async def _all(self, after: str) -> AsyncIterator[list[FoldedStream[Organization]]]:
        """Every organization's stream after a slug, in the order of slugs, some at a time."""
        while slugs := await organizations.slugs(self._streams.pool(), after, ORGANIZATIONS_PER_READ):
            yield await self._current(slugs)
            after = slugs[-1]

    async def _current(self, slugs: Sequence[str]) -> list[FoldedStream[Organization]]:
        """The streams of these organizations, in this order."""
        return list((await self._streams.load_all([f"organization/{slug}" for slug in slugs])).values())

    async def named(self, slugs: Iterable[str]) -> dict[str, msgspec.Raw]:
        """Return the current state of these organizations, by slug."""
        return await organizations.named(self._streams.pool(), list(slugs))

    async def announced_names(self, slugs: Iterable[str]) -> dict[str, Localized]:
        """Return the names that deals gave to these organizations last, by slug."""
        wanted = sorted(set(slugs))
        found = await organizations.announced_names(self._streams.pool(), wanted) if wanted else {}
        texts = {slug: msgspec.json.decode(name) for slug, name in found.items()}
        stated = {slug: {tag: one for tag, one in text.items() if one is not None} for slug, text in texts.items()}
        return {slug: Localized(text) for slug, text in stated.items() if text}

    async def similar(self, slug: str) -> tuple[Suggestion, ...]:
        """Suggest other organizations that may be the same one; a person decides.

        Raises:
            NotFound: The organization is not registered.
            MergedInto: Its record was merged into another one.
        """
        _, organization = await self.state(slug, AsOf())
        others: list[Organization] = []
        after = ""
        while page := await organizations.page(self._streams.pool(), after, ORGANIZATIONS_PER_READ):
            others += [msgspec.json.decode(raw, type=Organization, dec_hook=decode_hook) for raw in page]
            after = others[-1].organization
        # Comparing thousands of names takes long enough to block the event loop.
        return await asyncio.to_thread(suggest_duplicates, organization, others)

    async def tree(self, point: Point) -> OrganizationTree:
        """Return ownership and merges at a point."""
        return await self._tree(point.as_of)

    async def survivors(self, point: Point) -> dict[str, str]:
        """Return the record that each merged organization redirects to at a point."""
        merged = (await self._merges(point)).merged
        return {slug: survivor(slug, merged) for slug in sorted(merged)}

    async def merged_records(self, slug: str, point: Point) -> tuple[str, ...]:
        """Return all records that are the same organization as one at a point, itself included."""
        return tuple(sorted((await self._merges(point)).merged_slugs(slug)))

    async def _merges(self, point: Point) -> OrganizationTree:
        """The merges that were known at a point. A merge applies to all days."""
        return await self._tree(replace(point.as_of, effective_on=LAST_DAY), MERGE_EVENTS)

    async def tree_streams(self) -> dict[str, int]:
        """The organizations with a merge or a parent at any time, with the number of their events."""
        heads = await stream_heads.heads_of_streams_with(self._streams.pool(), TREE_EVENTS)
        return {stream.removeprefix("organization/"): version for stream, (version, _) in heads.items()}

    async def _tree(self, as_of: AsOf, types: Sequence[str] = TREE_EVENTS) -> OrganizationTree:
        """Ownership and merges at a point, from the organizations with an event of one of `types`."""
        current: dict[str, Organization] = {}
        duplicates: dict[str, Organization] = {}
        merged: dict[str, str] = {}
        for stream in await self._streams_with(types):
            snapshot = state_as_of(stream.slug, stream.events, as_of, ORGANIZATIONS)
            if snapshot.merged_into is not None:
                merged[stream.slug] = snapshot.merged_into
            if snapshot.state is not None:
                (current if snapshot.merged_into is None else duplicates)[stream.slug] = snapshot.state
        return OrganizationTree(current, duplicates, merged)

    async def links(self, slug: str, as_of: AsOf) -> OrganizationLinks:
        """Return the children, the merged records and the deals of an organization at a point in time."""
        resolved = await self._streams.resolve(as_of)
        tree = await self._tree(resolved.as_of)
        same = tree.merged_slugs(slug)
        children = [
            ChildOrganization(
                organization=child,
                control=parent.control,
                share=parent.share,
                since=parent.since,
                until=parent.until,
            )
            for child, organization in sorted(tree.organizations.items())
            for parent in organization.parents
            if parent.parent in same and child not in same
        ]
        if as_of.published_on is not None and (as_of.recorded_at is not None or as_of.position is not None):
            deals = await self._folded_deals(same, resolved.as_of)
        else:
            deals = await self._listed_deals(same, resolved)
        return OrganizationLinks(children=tuple(children), duplicates=tuple(sorted(same - {slug})), deals=tuple(deals))

    async def _listed_deals(self, same: set[str], resolved: ResolvedAsOf) -> list[DealRole]:
        """The deals of an organization, from the lists, which know one axis at a time."""
        point = await self._streams.point(resolved)
        found = await deal_links.deals_of(self._streams.pool(), point, same, DEALS_PER_ORGANIZATION)
        return [DealRole(deal=one.deal, title=one.title, roles=one.roles) for one in found]

    async def _folded_deals(self, same: set[str], as_of: AsOf) -> list[DealRole]:
        """The deals of an organization, folded from the events that name it: for a point on all axes at once."""
        deals = []
        for name in await event_index.deals_with(self._streams.pool(), [f"organization:{s}" for s in same]):
            stream, _ = await self._streams.load(name)
            snapshot = stream.state_as_of(as_of) if stream is not None else None
            if snapshot is None or snapshot.state is None or snapshot.merged_into is not None:
                continue
            deal = snapshot.state
            title = convert(deal.title, LocalizedResponse) if deal.title is not None else None
            parties = [p for p in deal.parties if p.organization in same and p.left_on is None]
            if parties:
                roles = sorted({party.role for party in parties if party.role is not None})
                deals.append(DealRole(deal=deal.deal, title=title, roles=tuple(roles)))
        return deals[:DEALS_PER_ORGANIZATION]

    async def _stream(self, slug: str) -> FoldedStream[Organization]:
        stream, _ = await self._streams.load(f"organization/{slug}")
        if stream is None:
            raise NotFound("organization", organization=slug)
        return stream

    async def _streams_with(self, types: Sequence[str]) -> list[FoldedStream[Organization]]:
        """Every organization's stream that has an event of one of these types."""
        heads = await stream_heads.heads_of_streams_with(self._streams.pool(), types)
        return list((await self._streams.load_heads(heads)).values())


def _not_registered_yet(slug: str) -> NotFound:
    return NotFound("organization_not_known_yet", organization=slug)
