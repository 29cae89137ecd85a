"""Queries about all organizations: those with a record, and those that only announcements name.

An organization exists once a deal names it. A record adds names, identifiers and parents to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import TypeVar

import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.domain.history import UNBOUNDED, AsOf
from registry.domain.organizations.clusters import Cluster, NamedOrganization, find_clusters
from registry.domain.organizations.organization import Organization
from registry.errors import NotFound
from registry.events.values import Localized
from registry.projections.columnar import ColumnarCopy, named_organizations
from registry.projections.columnar.copy import CopyQuestion
from registry.projections.columnar.named_organizations import Mention
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.point import Point
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import StreamReader

T = TypeVar("T")


class OrganizationEntry(Struct, frozen=True):
    """An organization in a list: its state, or the name that a deal gave it; and how many deals name it."""

    state: Organization
    is_registered: bool
    deals: int


class OrganizationCount(Struct, frozen=True):
    """How many organizations there are at a point, and how many of them have a record."""

    all: int
    registered: int


class NamedOrganizations:
    """Answer questions about all organizations, from their records and from the deals that name them.

    A list knows one axis of knowledge at a time: the publication date takes precedence (`StreamReader.point`).
    """

    def __init__(self, streams: StreamReader, records: OrganizationQueries, copy: ColumnarCopy) -> None:
        self._streams = streams
        self._records = records
        self._copy = copy

    async def page(self, after: str, limit: int, as_of: AsOf = UNBOUNDED) -> list[OrganizationEntry]:
        """Return organizations at a point in time, in the order of their slugs, without merged records.

        Args:
            after: The cursor; empty for the first page.
            limit: The most organizations.
            as_of: The point; without one, today.
        """
        point, merged = await self._at(as_of)
        registered = {one.organization: one for one in await self._records.page(after, limit, as_of)}
        mentions = await self._mentions(point, merged, after, sorted(registered), limit)
        slugs = sorted({*registered, *mentions})[:limit]
        return [_listed(slug, registered.get(slug), mentions.get(slug)) for slug in slugs]

    async def listed(self, slugs: Sequence[str], as_of: AsOf = UNBOUNDED) -> list[OrganizationEntry]:
        """Return those of these organizations that exist at a point in time, in the order given."""
        if not slugs:
            return []
        point, merged = await self._at(as_of)
        registered = await self._states(list(slugs), as_of)
        mentions = await self._some(point, merged, list(slugs))
        known = [slug for slug in slugs if slug in registered or slug in mentions]
        return [_listed(slug, registered.get(slug), mentions.get(slug)) for slug in known]

    async def find(self, slug: str, as_of: AsOf = UNBOUNDED) -> OrganizationEntry:
        """Return an organization at a point in time.

        Raises:
            NotFound: It has no record and no deal names it at that point.
            MergedInto: Its record was merged into another one.
        """
        state: Organization | None = None
        missing: NotFound | None = None
        try:
            _, state = await self._records.state(slug, as_of)
        except NotFound as error:
            missing = error
        point, merged = await self._at(as_of)
        mentions = await self._some(point, merged, [slug])
        if missing is not None and slug not in mentions:
            raise missing
        return _listed(slug, state, mentions.get(slug))

    async def names(self, slugs: Sequence[str], as_of: AsOf = UNBOUNDED) -> dict[str, Organization]:
        """Return organizations at a point in time by slug: their state, else the name that a deal gave them last."""
        found = await self._states(list(slugs), as_of)
        missing = [slug for slug in slugs if slug not in found]
        if not missing:
            return found
        point, merged = await self._at(as_of)

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> list[Mention]:
            return named_organizations.names(cursor, point, merged, missing)

        mentions = await self._ask(point, question)
        return found | {one.organization: _listed(one.organization, None, one).state for one in mentions}

    async def count(self, as_of: AsOf = UNBOUNDED) -> OrganizationCount:
        """Count the organizations at a point in time."""
        registered = await self._records.slugs(as_of)
        return OrganizationCount(len(await self._named(as_of) | registered), len(registered))

    async def slugs(self) -> list[str]:
        """Return the slugs of all organizations today, in their order, without merged records."""
        return sorted(await self._named(UNBOUNDED) | await self._records.slugs())

    async def _named(self, as_of: AsOf) -> set[str]:
        """The organizations that deals name at a point, merged ones as the record that they were merged into."""
        point, merged = await self._at(as_of)

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> set[str]:
            return named_organizations.slugs(cursor, point, merged)

        return await self._ask(point, question, "slugs", tuple(merged.items()))

    async def clusters(self) -> list[Cluster]:
        """Suggest which organizations may be the same one, over all their names; a person decides."""
        point, merged = await self._at(UNBOUNDED)

        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> list[Mention]:
            return named_organizations.all_names(cursor, point, merged)

        mentions = {one.organization: one for one in await self._ask(point, question)}
        records = {one.organization: one for one in await self._records.states()}
        # Reading thousands of names takes long enough to block the event loop.
        return await asyncio.to_thread(
            lambda: find_clusters(
                _named(slug, records.get(slug), mentions.get(slug)) for slug in sorted({*mentions, *records})
            )
        )

    # --- the point ----------------------------------------------------------------------------------------------------

    async def _at(self, as_of: AsOf) -> tuple[Point, dict[str, str]]:
        """The point of a list, and the record that each merged one redirects to."""
        point = await self._streams.point(await self._streams.resolve(as_of))
        return point, await self._records.survivors(point)

    async def _ask(self, point: Point, question: CopyQuestion[T], *asked: Hashable) -> T:
        key = (*asked, point.axis, point.known, point.day) if asked else None
        return await self._copy.ask(point.head, question, key)

    async def _mentions(
        self, point: Point, merged: dict[str, str], after: str, also: list[str], limit: int
    ) -> dict[str, Mention]:
        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> list[Mention]:
            return named_organizations.page(cursor, point, merged, after, also, limit)

        return {one.organization: one for one in await self._ask(point, question)}

    async def _some(self, point: Point, merged: dict[str, str], slugs: list[str]) -> dict[str, Mention]:
        def question(cursor: DuckDBPyConnection, _: QuestionCache) -> list[Mention]:
            return named_organizations.some(cursor, point, merged, slugs)

        return {one.organization: one for one in await self._ask(point, question)}

    async def _states(self, slugs: list[str], as_of: AsOf) -> dict[str, Organization]:
        """The states at a point of those organizations that have a record."""
        return {one.organization: one for one in await self._records.states(slugs, as_of)}


def _listed(slug: str, state: Organization | None, mention: Mention | None) -> OrganizationEntry:
    deals = mention.deals if mention is not None else 0
    if state is not None:
        return OrganizationEntry(state, is_registered=True, deals=deals)
    name = _name(mention) if mention is not None else None
    return OrganizationEntry(Organization(organization=slug, name=name), is_registered=False, deals=deals)


def _name(mention: Mention) -> Localized | None:
    """The name that a deal gave to an organization, in each language."""
    texts = msgspec.json.decode(mention.names[0]) if mention.names else {}
    stated = {language: text for language, text in texts.items() if text is not None}
    return Localized(stated) if stated else None


def _named(slug: str, record: Organization | None, mention: Mention | None) -> NamedOrganization:
    texts = [msgspec.json.decode(name) for name in mention.names] if mention is not None else []
    announced = [text for name in texts for text in name.values() if text is not None]
    own = list(record.all_names()) if record is not None else []
    return NamedOrganization(
        organization=slug,
        # A slug that was made from a name tells no more than the name.
        names=tuple(dict.fromkeys([*own, *announced])) or (slug.replace("-", " "),),
        deals=mention.deals if mention is not None else 0,
        is_registered=record is not None,
        identifiers=record.identifiers if record is not None else (),
    )
