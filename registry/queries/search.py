"""Search: deals, organizations and places that have every word of a query, at a point in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar, get_args

import msgspec
from duckdb import DuckDBPyConnection

from registry.domain.history import AsOf
from registry.domain.search_text import Token, display_form, marks, tokens
from registry.i18n import LANGUAGES
from registry.i18n.places import place_name
from registry.projections.columnar import ColumnarCopy, search
from registry.projections.columnar.copy import Question
from registry.projections.columnar.kept import Kept
from registry.projections.columnar.search import Hits, Search
from registry.projections.columnar.selection import Point
from registry.projections.deal_items import deal_items
from registry.queries.named_organizations import NamedOrganizations
from registry.schemas.lists import DealListItem
from registry.schemas.search import HitKind, MatchedField, SearchedWord, SearchHit, SearchMatch, SearchResponse
from registry.schemas.values import LocalizedResponse

T = TypeVar("T")

_Show = Callable[[AsOf, Point, Hits, Sequence[Token]], Awaitable[list[SearchHit]]]

KINDS: tuple[HitKind, ...] = get_args(HitKind)

MAX_MATCHES = 5
"""The most texts that are shown of a hit."""


class SearchQueries:
    """Find deals, organizations and places by what they are called."""

    def __init__(self, named_organizations: NamedOrganizations, copy: ColumnarCopy) -> None:
        self._organizations = named_organizations
        self._copy = copy
        # In this order.
        self._shown: dict[HitKind, _Show] = {
            "organization": self._organization_hits,
            "place": _place_hits,
            "deal": self._deal_hits,
        }

    async def resolve(self, as_of: AsOf, query: str, *, unfinished: bool = False) -> tuple[Point, Search]:
        """Return what a query searches for at a point."""
        point, merged = await self._organizations.point_and_merges(as_of)
        listed = tokens(query, unfinished=unfinished)

        def question(cursor: DuckDBPyConnection, _: Kept) -> Search:
            return search.resolve(cursor, point, listed, merged)

        return point, await self._ask(point, question) if listed else Search(())

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
        point, asked = await self.resolve(as_of, query, unfinished=unfinished)
        found: dict[HitKind, Hits] = {}
        if asked.tokens:

            def question(cursor: DuckDBPyConnection, _: Kept) -> dict[HitKind, Hits]:
                look: dict[HitKind, Callable[[DuckDBPyConnection, Point, Search, int], Hits]] = {
                    "organization": search.organizations,
                    "place": search.places,
                    "deal": search.deals,
                }
                return {kind: of(cursor, point, asked, limit) for kind, of in look.items() if kind in kinds}

            found = await self._ask(point, question)
        hits: list[SearchHit] = []
        for kind, show in self._shown.items():
            if kind in found and found[kind].ids:
                hits += await show(as_of, point, found[kind], asked.tokens)
        return SearchResponse(
            effective_on=point.day,
            published_on=as_of.published_on,
            recorded_at=as_of.recorded_at,
            position=point.position,
            words=[SearchedWord(word=token.word, similar=list(token.similar)) for token in asked.tokens],
            counts={kind: found[kind].count if kind in found else 0 for kind in KINDS if kind in kinds},
            hits=hits,
        )

    async def _deal_hits(self, as_of: AsOf, point: Point, found: Hits, listed: Sequence[Token]) -> list[SearchHit]:
        slugs = [slug for slug, _, _ in found.ids]
        items = await deal_items(self._copy.pool, point.axis, point.day, point.known, slugs)
        names: dict[str, list[tuple[str, Mapping[str, str | None]]]] = {}

        def question(cursor: DuckDBPyConnection, _: Kept) -> list[tuple[str, str, str]]:
            return search.party_names(cursor, point, slugs)

        for deal, organization, name in await self._ask(point, question):
            names.setdefault(deal, []).append((organization, msgspec.json.decode(name)))
        scores = {slug: score for slug, score, _ in found.ids}
        return [
            SearchHit(
                kind="deal",
                id=item.deal,
                title=item.title,
                link=f"/v1/deals/{item.deal}",
                score=scores[item.deal],
                deals=None,
                matches=_matches(_deal_texts(item, names.get(item.deal, ())), listed),
            )
            for item in items
        ]

    async def _organization_hits(
        self, as_of: AsOf, point: Point, found: Hits, listed: Sequence[Token]
    ) -> list[SearchHit]:
        entries = await self._organizations.entries([slug for slug, _, _ in found.ids], as_of)
        return [
            SearchHit(
                kind="organization",
                id=slug,
                title=_response(entries[slug].name),
                link=f"/v1/organizations/{slug}",
                score=score,
                deals=deals,
                matches=_matches(
                    [
                        *_localized("name", entries[slug].name),
                        *(("name", one.language, one.name) for one in entries[slug].names),
                        ("identifier", None, slug),
                    ],
                    listed,
                ),
            )
            for slug, score, deals in found.ids
            if slug in entries
        ]

    async def _ask(self, point: Point, question: Question[T]) -> T:
        return await self._copy.ask(point.head, question, searches=True)


async def _place_hits(as_of: AsOf, point: Point, found: Hits, listed: Sequence[Token]) -> list[SearchHit]:
    hits = []
    for code, score, deals in found.ids:
        names: dict[str, str | None] = {language: place_name(code, language) for language in LANGUAGES}
        texts = [*_localized("name", names), ("identifier", None, code)]
        hits.append(
            SearchHit(
                kind="place",
                id=code,
                title=LocalizedResponse(names),
                link=f"/v1/deals?region={code}",
                score=score,
                deals=deals,
                matches=_matches(texts, listed),
            )
        )
    return hits


_Text = tuple[MatchedField, str | None, str]


def _localized(field: MatchedField, texts: Mapping[str, str | None] | None) -> Iterable[_Text]:
    return ((field, language, text) for language, text in (texts or {}).items() if text)


def _deal_texts(item: DealListItem, parties: Iterable[tuple[str, Mapping[str, str | None]]]) -> Iterable[_Text]:
    yield from _localized("title", item.title)
    yield "identifier", None, item.deal
    for one in item.identifiers:
        yield "identifier", None, f"{one.scheme}:{one.value}"
    for _, name in parties:
        yield from _localized("party", name)
    for code in dict.fromkeys((*item.places, *(place[:2] for place in item.places))):
        yield from _localized("place", {language: place_name(code, language) for language in LANGUAGES})


def _matches(texts: Iterable[_Text], listed: Sequence[Token]) -> list[SearchMatch]:
    found: dict[_Text, SearchMatch] = {}
    for field, language, text in texts:
        shown = display_form(text)
        if (field, language, shown) not in found and (spans := marks(shown, listed)):
            found[field, language, shown] = SearchMatch(field=field, language=language, text=shown, marks=spans)
    return list(found.values())[:MAX_MATCHES]


def _response(texts: Mapping[str, str | None] | None) -> LocalizedResponse | None:
    return None if texts is None else LocalizedResponse({"ko": None, "en": None, **texts})
