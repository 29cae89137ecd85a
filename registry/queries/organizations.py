"""Queries about organizations: state as of a point, history, the list, ownership, merged records, duplicates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date
from typing import get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.entries import audit_trail
from registry.domain.deduplication import Suggestion, suggest_duplicates
from registry.domain.fold import ORGANIZATIONS
from registry.domain.history import AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.organization import Organization
from registry.errors import MergedInto, NotFound
from registry.events import store
from registry.events.values import Role, decode_hook
from registry.projections import deal_lists, organizations
from registry.projections.stream_cache import fold_stream
from registry.queries.streams import LAST_DAY, StreamReader, with_day
from registry.schemas import (
    ChildOrganization,
    DealListItem,
    DealRole,
    OrganizationLinks,
    decode,
    encode,
    organization_history,
)

ROLE_NAMES = get_args(Role)

# The most deals that an organization's page lists.
DEALS_PER_ORGANIZATION = 1000

# Events that merge an organization's record into another, or place the organization under another.
MERGE_EVENTS = ("organization_merged",)
TREE_EVENTS = ("parent_set", *MERGE_EVENTS)


class OrganizationTree(Struct, frozen=True):
    """The organizations that ever had a parent, at a point in time, and the record each merged one redirects to."""

    organizations: dict[str, Organization]
    merged: dict[str, str]

    def merged_slugs(self, slug: str) -> set[str]:
        """The slugs of all records that were merged with this one, its own included."""
        while slug in self.merged:
            slug = self.merged[slug]
        same = {slug}
        while more := {duplicate for duplicate, into in self.merged.items() if into in same} - same:
            same |= more
        return same


class OrganizationQueries:
    """Answer questions about organizations."""

    def __init__(self, streams: StreamReader) -> None:
        self._streams = streams

    async def state(self, slug: str, as_of: AsOf, today: date) -> tuple[StateAsOf[Organization], Organization]:
        """Return an organization at a point in time.

        Raises:
            NotFound: The organization is not registered at that point.
            MergedInto: Its record was merged into another one.
        """
        stream = await self._stream(slug)
        snapshot = state_as_of(slug, stream.events, with_day(as_of, today), ORGANIZATIONS)
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
        entries = audit_trail(stream.events, as_of, ORGANIZATIONS)
        if not entries:
            raise _not_registered_yet(slug)
        return encode(organization_history(as_of, entries))

    async def page(self, after: str, q: str | None, limit: int) -> list[msgspec.Raw]:
        """Return current organizations after a slug, in the order of their slugs; `q` matches part of any name."""
        return await organizations.page(self._streams.pool(), after, deal_lists.ilike_pattern(q), limit)

    async def named(self, slugs: Iterable[str]) -> dict[str, msgspec.Raw]:
        """Return the current state of these organizations, by slug."""
        return await organizations.named(self._streams.pool(), list(slugs))

    async def similar(self, slug: str, today: date) -> tuple[Suggestion, ...]:
        """Suggest other organizations that may be the same one; a person decides.

        Raises:
            NotFound: The organization is not registered.
            MergedInto: Its record was merged into another one.
        """
        _, organization = await self.state(slug, AsOf(), today)
        others: list[Organization] = []
        after = ""
        while page := await self.page(after, None, 1000):
            others += [msgspec.json.decode(raw, type=Organization, dec_hook=decode_hook) for raw in page]
            after = others[-1].organization
        # Comparing thousands of names takes long enough to block the event loop.
        return await asyncio.to_thread(suggest_duplicates, organization, others)

    async def tree(
        self, axis: str, known: int, effective_on: date, types: Sequence[str] = TREE_EVENTS
    ) -> OrganizationTree:
        """Return ownership and merges at a point in time, from the organizations with an event of one of `types`."""
        point = {"position": known} if axis == "r" else {"published_on": date.fromordinal(known)}
        as_of = AsOf(effective_on=effective_on, **point)
        current: dict[str, Organization] = {}
        merged: dict[str, str] = {}
        for stream in await self._streams_with(types):
            snapshot = state_as_of(stream.slug, stream.events, as_of, ORGANIZATIONS)
            if snapshot.merged_into is not None:
                merged[stream.slug] = snapshot.merged_into
            elif snapshot.state is not None:
                current[stream.slug] = snapshot.state
        return OrganizationTree(current, merged)

    async def links(self, slug: str, as_of: AsOf, today: date) -> OrganizationLinks:
        """Return the children, the merged records and the deals of an organization at a point in time."""
        if as_of.published_on is not None:
            as_of = replace(as_of, recorded_at=None, position=None)
        axis, known, _ = await self._streams.known_axis(as_of)
        day = as_of.effective_on or today
        tree = await self.tree(axis, known, day)
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
        deals = []
        for terms, row in await deal_lists.with_any_term(
            self._streams.pool(),
            (axis, min(day, LAST_DAY), known),
            [f"organization:{s}" for s in same],
            DEALS_PER_ORGANIZATION,
        ):
            deal = decode(row, DealListItem)
            pairs = (term.split(":", 1) for term in terms)
            roles = sorted({role for role, who in pairs if who in same and role in ROLE_NAMES})
            deals.append(DealRole(deal=deal.deal, title=deal.title, roles=tuple(roles)))
        return OrganizationLinks(children=tuple(children), duplicates=tuple(sorted(same - {slug})), deals=tuple(deals))

    async def expand_merged(
        self, axis: str, known: int, terms: Sequence[str]
    ) -> tuple[Sequence[str], list[str] | None]:
        """Make a filter by organization cover all records merged with it.

        Returns:
            The terms that a deal must have all of, and terms of which it must have one; None where the filter names no
            merged organization.
        """
        named = [term.split(":", 1) for term in terms if term.split(":", 1)[0] in ("organization", *ROLE_NAMES)]
        slugs = {slug for _, slug in named}
        if len(slugs) != 1:
            return terms, None
        (slug,) = slugs
        same = (await self.tree(axis, known, LAST_DAY, MERGE_EVENTS)).merged_slugs(slug)
        if same == {slug}:
            return terms, None
        # A deal that has the term of a role also has the organization's term.
        role = next((role for role, _ in named if role != "organization"), "organization")
        rest = [term for term in terms if term.split(":", 1) not in named]
        return rest, [f"{role}:{other}" for other in sorted(same)]

    async def _stream(self, slug: str) -> FoldedStream[Organization]:
        stream, _ = await self._streams.load(f"organization/{slug}")
        if stream is None:
            raise NotFound("organization", organization=slug)
        return stream

    async def _streams_with(self, types: Sequence[str]) -> list[FoldedStream[Organization]]:
        """Every organization's stream that has an event of one of these types, from the cache where it is current."""
        cache = self._streams.cache
        heads = await store.heads_of_streams_with(self._streams.pool(), types)
        current: dict[str, FoldedStream[Organization]] = {}
        for name, (version, leaf_hash) in heads.items():
            cached = cache.get(name)
            if cached is not None and (cached.version, cached.leaf_hash) == (version, leaf_hash):
                current[name] = cached
        if stale := sorted(heads.keys() - current.keys()):
            for name, events in (await store.streams(self._streams.pool(), stale)).items():
                current[name] = fold_stream(name, events)
                cache.put(name, current[name])
        return list(current.values())


def _not_registered_yet(slug: str) -> NotFound:
    return NotFound("organization_not_known_yet", organization=slug)
