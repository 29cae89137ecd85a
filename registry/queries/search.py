"""Search: deals, organizations, places and sources that have every word of a query, at a point in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

import msgspec

from registry.domain.history import AsOf
from registry.domain.organizations.organization import Organization
from registry.domain.search.event_texts import EventText
from registry.domain.search.texts import Token, display_form, marks
from registry.domain.sources.identity import source_id
from registry.i18n import LANGUAGES
from registry.i18n.places import place_name, place_names
from registry.infra.postgres import Pool
from registry.projections.columnar.search import Hits, SearchMatches
from registry.projections.deal_items import deal_items
from registry.projections.deal_texts import DealTexts, deal_texts
from registry.projections.event_texts import sources_at
from registry.projections.point import Point
from registry.queries.named_organizations import NamedOrganizations
from registry.queries.portfolio import PortfolioQueries
from registry.schemas.search import HitKind, MatchedField, SearchedWord, SearchHit, SearchMatch, SearchResponse
from registry.schemas.values import LocalizedResponse

T = TypeVar("T")

KINDS: tuple[HitKind, ...] = get_args(HitKind)

MAX_MATCHES = 5
"""The most texts that are shown of a hit."""

# In this order.
_SHOWN: tuple[HitKind, ...] = ("organization", "place", "deal", "source")

_Text = tuple[MatchedField, str | None, str]


class SearchQueries:
    """Find deals, organizations, places and sources by what they are called."""

    def __init__(self, portfolio: PortfolioQueries, organizations: NamedOrganizations, pool: Pool) -> None:
        self._portfolio = portfolio
        self._organizations = organizations
        self._pool = pool

    async def search(
        self,
        as_of: AsOf,
        query: str,
        kinds: Collection[HitKind] = KINDS,
        limit: int = 20,
        *,
        unfinished: bool = False,
    ) -> SearchResponse:
        """Return what has every word of a query.

        Args:
            as_of: The point in time.
            query: The query, in any language.
            kinds: What to look for.
            limit: The most hits of each kind.
            unfinished: Whether the last word is still being typed.
        """
        point = await self._portfolio.point(as_of)
        looked = [kind for kind in _SHOWN if kind in kinds]
        found = await self._portfolio.find(point, query, looked, limit, unfinished=unfinished)
        show: dict[HitKind, Callable[[AsOf, Point, Hits, SearchMatches], Awaitable[list[SearchHit]]]] = {
            "organization": self._organization_hits,
            "place": _place_hits,
            "deal": self._deal_hits,
            "source": self._source_hits,
        }
        hits: list[SearchHit] = []
        for kind in looked:
            if found.hits[kind].ids:
                hits += await show[kind](as_of, point, found.hits[kind], found)
        return SearchResponse(
            effective_on=point.day,
            published_on=as_of.published_on,
            recorded_at=as_of.recorded_at,
            position=point.position,
            words=[SearchedWord(word=token.word, similar=list(token.similar)) for token in found.search.tokens],
            counts={kind: found.hits[kind].count for kind in KINDS if kind in kinds},
            hits=hits,
        )

    async def organizations(self, as_of: AsOf, query: str, after: str, limit: int) -> list[str]:
        """Return the organizations that have every word of a query in a name, in the order of their slugs."""
        return await self._portfolio.find_organizations(await self._portfolio.point(as_of), query, after, limit)

    async def _deal_hits(self, as_of: AsOf, point: Point, hits: Hits, found: SearchMatches) -> list[SearchHit]:
        slugs = [slug for slug, _, _ in hits.ids]
        items = await deal_items(self._pool, point, slugs)
        texts = await deal_texts(self._pool, point, slugs)
        organizations = {slug for one in texts.values() for slug in one.organizations}
        names = await self._organizations.names(sorted(organizations), as_of)
        sources = await self._sources([(source, position) for _, source, position in found.cited])
        cited: dict[str, list[EventText]] = {}
        for deal, source, _ in found.cited:
            if source in sources:
                cited.setdefault(deal, []).append(sources[source])
        scores = {slug: score for slug, score, _ in hits.ids}
        return [
            SearchHit(
                kind="deal",
                id=item.deal,
                title=item.title,
                link=f"/v1/deals/{item.deal}",
                score=scores[item.deal],
                deals=None,
                matches=_matches(
                    [
                        *_localized("title", item.title),
                        ("identifier", None, item.deal),
                        *(("identifier", None, f"{one.scheme}:{one.value}") for one in item.identifiers),
                        *_texts_of(texts[item.deal], names, cited.get(item.deal, ())),
                        *_place_texts(item.places),
                    ],
                    found.search.tokens,
                ),
            )
            for item in items
        ]

    async def _organization_hits(self, as_of: AsOf, point: Point, hits: Hits, found: SearchMatches) -> list[SearchHit]:
        # One that only pledges, or that an event names, has no name.
        named = {slug: Organization(organization=slug, name=None) for slug, _, deals in hits.ids if deals}
        named |= await self._organizations.names([slug for slug, _, _ in hits.ids], as_of)
        return [
            SearchHit(
                kind="organization",
                id=slug,
                title=_response(named[slug].name),
                link=f"/v1/organizations/{slug}",
                score=score,
                deals=deals,
                matches=_matches([*_names("name", named[slug]), ("identifier", None, slug)], found.search.tokens),
            )
            for slug, score, deals in hits.ids
            if slug in named
        ]

    async def _source_hits(self, as_of: AsOf, point: Point, hits: Hits, found: SearchMatches) -> list[SearchHit]:
        texts = await self._sources(found.citations)
        return [
            SearchHit(
                kind="source",
                id=source,
                title=_response(_title(texts[source])),
                link=f"/v1/sources/{source}",
                score=score,
                deals=deals,
                matches=_matches(_source_texts(texts[source]), found.search.tokens),
            )
            for source, score, deals in hits.ids
        ]

    async def _sources(self, cited: Sequence[tuple[str, int]]) -> dict[str, EventText]:
        if not cited:
            return {}
        return await sources_at(self._pool, [position for _, position in cited], [source for source, _ in cited])


async def _place_hits(as_of: AsOf, point: Point, hits: Hits, found: SearchMatches) -> list[SearchHit]:
    return [
        SearchHit(
            kind="place",
            id=code,
            title=LocalizedResponse({language: place_name(code, language) for language in LANGUAGES}),
            link=f"/v1/deals?region={code}",
            score=score,
            deals=deals,
            matches=_matches([*_place_texts([code]), ("identifier", None, code)], found.search.tokens),
        )
        for code, score, deals in hits.ids
    ]


# --- the texts that hits show -----------------------------------------------------------------------------------------


def _localized(field: MatchedField, texts: Mapping[str, str | None] | None) -> Iterable[_Text]:
    return ((field, language, text) for language, text in (texts or {}).items() if text)


def _names(field: MatchedField, organization: Organization) -> Iterable[_Text]:
    yield from _localized(field, organization.name)
    yield from ((field, one.language, one.name) for one in organization.names)
    yield from ((field, None, f"{one.scheme}:{one.identifier}") for one in organization.identifiers)


def _texts_of(
    deal: DealTexts, organizations: Mapping[str, Organization], sources: Iterable[EventText]
) -> Iterable[_Text]:
    """The parties, sites and sources of a deal."""
    for slug, name in (*deal.parties, *((slug, None) for slug in deal.others)):
        yield from _localized("party", _decoded(name))
        if slug in organizations:
            yield from _names("party", organizations[slug])
        yield "party", None, slug
    for name, locality, address in deal.sites:
        yield from _localized("site", _decoded(name))
        yield from (("site", None, text) for text in (locality, address) if text)
    for source in sources:
        yield from _source_texts(source)


def _title(source: EventText) -> dict[str, str | None] | None:
    """What a source is called: by its title, else by its publisher or address."""
    name = source.title or source.publisher or source.url
    return {"und": name} if name else None


def _source_texts(source: EventText) -> Iterable[_Text]:
    if source.title:
        yield "source", None, source.title
    if source.publisher:
        yield "publisher", None, source.publisher
    if source.url:
        yield "url", None, source.url


def _place_texts(places: Iterable[str]) -> Iterable[_Text]:
    for code in dict.fromkeys(code for place in places for code in (place, place[:2])):
        yield from (
            ("place", language or None, name) for language, names in place_names(code).items() for name in names
        )


def _decoded(name: str | None) -> Any:
    return msgspec.json.decode(name) if name is not None else None


def _matches(texts: Iterable[_Text], listed: Sequence[Token]) -> list[SearchMatch]:
    """The texts that have a word of the query, each once; first those with a word that no earlier text has."""
    found: dict[tuple[MatchedField, str], SearchMatch] = {}
    for field, language, text in texts:
        shown = display_form(text)
        spans = marks(shown, listed)
        if field == "url" and any(one.address and source_id(one.address) == source_id(text) for one in listed):
            spans = [(0, len(shown))]
        if (field, shown) not in found and spans:
            found[field, shown] = SearchMatch(field=field, language=language, text=shown, marks=spans)
    return list(found.values())[:MAX_MATCHES]


def _response(texts: Mapping[str, str | None] | None) -> LocalizedResponse | None:
    return None if texts is None else LocalizedResponse({"ko": None, "en": None, **texts})
