"""The page of search results, and the suggestions while a reader types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from msgspec import Struct

from registry.events.intake import as_uuid
from registry.formatting.language import N_, Translations
from registry.formatting.values import shown
from registry.http.parameters import require_single_axis, text
from registry.queries.portfolio import PortfolioQueries
from registry.queries.search import SearchQueries
from registry.schemas import HitKind, SearchedWord, SearchHit, SearchMatch
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite, list_certificate
from registry.web.page.render import Rendered, render, send
from registry.web.page.request import READ, Page, PageRequest, redirect
from registry.web.page.sliders import current_sliders
from registry.web.portfolio.deal_list import DealTableRow, deal_rows

MAX_RESULTS = 50
MAX_SUGGESTIONS = 4
"""The most suggestions of each kind."""

Words = Annotated[str | None, text("Words of names, places, parties, sources or identifiers; or the id of an event.")]

Pieces = list[tuple[bool, str]]
"""A text in pieces: those that match, and the others."""

FIELDS = {
    "title": N_("Name"),
    "name": N_("Name"),
    "identifier": N_("Identifier"),
    "party": N_("Organization"),
    "place": N_("Location"),
    "site": N_("Site"),
    "source": N_("Source"),
    "publisher": N_("Publisher"),
    "url": N_("Address"),
}


class Detail(Struct, frozen=True):
    """A text in which words stand, and what it is."""

    label: str
    language: str | None
    pieces: Pieces


class Result(Struct, frozen=True):
    """A hit as a page shows it; `row` are the amounts and the stage of a deal."""

    kind: HitKind
    href: str
    title: Pieces
    details: list[Detail]
    deals: int | None
    row: DealTableRow | None = None


class SearchPages(Controller):
    """The page of search results, and suggestions."""

    @route("/search", http_method=READ)
    async def search(
        self,
        page: Page,
        search_queries: NamedDependency[SearchQueries],
        portfolio_queries: NamedDependency[PortfolioQueries],
        q: Words = None,
    ) -> Response[bytes]:
        """What has every word, by kind, the best first; the id of an event leads to its page."""
        query = (q or "").strip()
        if as_uuid(query) is not None:
            return redirect(page.link(f"/events/{query}"))

        async def make() -> Rendered:
            results: list[Result] = []
            counts: dict[HitKind, int] = {}
            words: list[SearchedWord] = []
            if query:
                found = await search_queries.search(require_single_axis(page.as_of), query, limit=MAX_RESULTS)
                rows = await _rows(page, portfolio_queries, found.hits)
                results = [_result(page, hit, rows.get(hit.id) if hit.kind == "deal" else None) for hit in found.hits]
                counts, words = found.counts, found.words
            title = shown(page.language).words.translate(N_("search for “%(q)s”"), q=query)
            return render(
                page,
                "search.html",
                q=query,
                words=words,
                results=results,
                counts=counts,
                sliders=await current_sliders(page, portfolio_queries),
                data_url=page.data("/v1/search", q=query) if query else None,
                csv_url=page.data("/v1/export/deals.csv", q=query) if query else None,
                cite=cite(
                    page,
                    title,
                    page.position,
                    is_list=True,
                    proofs=list_certificate(page, {"q": query}) if counts.get("deal") else (),
                )
                if query
                else None,
            )

        return await cached_page(page, make)

    @route("/search/suggestions", http_method=READ)
    async def suggestions(
        self, page: Page, search_queries: NamedDependency[SearchQueries], q: Words = None
    ) -> Response[bytes]:
        """What the words typed so far may lead to: the options of the search field."""
        query = (q or "").strip()
        results: list[Result] = []
        if query and as_uuid(query) is None:
            found = await search_queries.search(
                require_single_axis(page.as_of), query, limit=MAX_SUGGESTIONS, unfinished=not (q or "").endswith(" ")
            )
            results = [_result(page, hit, None) for hit in found.hits]
        return send(page, render(page, "suggestions.html", results=results))


async def _rows(
    page: PageRequest, portfolio_queries: PortfolioQueries, hits: Sequence[SearchHit]
) -> dict[str, DealTableRow]:
    """The amounts and stages of the deals among the hits."""
    as_of = require_single_axis(page.as_of)
    slugs = [hit.id for hit in hits if hit.kind == "deal"]
    point, rates = await portfolio_queries.point(as_of), await portfolio_queries.rates(as_of)
    return {row.deal.deal: row for row in deal_rows(await portfolio_queries.items(point, slugs, rates))}


def _result(page: PageRequest, hit: SearchHit, row: DealTableRow | None) -> Result:
    words = shown(page.language).words
    title = words.localized(hit.title, hit.id)
    marked = {match.text: match for match in hit.matches}
    others = [match for match in hit.matches if match.text != title]
    named = {match.field for match in others if not _is_id(match)}
    return Result(
        kind=hit.kind,
        href=_link(page, hit),
        title=pieces(marked[title]) if title in marked else [(False, title)],
        details=[_detail(words, match) for match in others if not (_is_id(match) and match.field in named)],
        deals=hit.deals,
        row=row,
    )


def _link(page: PageRequest, hit: SearchHit) -> str:
    match hit.kind:
        case "place":
            return page.link("/", region=hit.id)
        case kind:
            return page.link(f"/{kind}s/{hit.id}")


def _is_id(match: SearchMatch) -> bool:
    """Whether a text is an id, such as amazon-web-services. It is shown where no name of the thing matches."""
    return match.language is None and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", match.text) is not None


def _detail(words: Translations, match: SearchMatch) -> Detail:
    return Detail(words.gettext(FIELDS[match.field]), match.language, pieces(match))


def pieces(match: SearchMatch) -> Pieces:
    """A text cut where its marks begin and end."""
    found: Pieces = []
    at = 0
    for start, end in match.marks:
        found += [(False, match.text[at:start]), (True, match.text[start:end])]
        at = end
    return [piece for piece in (*found, (False, match.text[at:])) if piece[1]]
