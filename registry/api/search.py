"""Search over everything that has a name."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from registry.api.openapi import reading
from registry.domain.history import AsOf
from registry.http.parameters import integer, text
from registry.http.responses import RawResponse, json_response
from registry.queries.search import KINDS, SearchQueries
from registry.schemas import encode
from registry.schemas.search import HitKind, SearchResponse

MAX_HITS = 100


class SearchController(Controller):
    """Search."""

    path = "/v1/search"
    tags = ("Portfolio",)

    @reading("/")
    async def get_search(
        self,
        search_queries: NamedDependency[SearchQueries],
        portfolio_as_of: NamedDependency[AsOf],
        q: Annotated[str, text("Words of names, places, parties, sources or identifiers, in any language.")],
        kind: Annotated[HitKind | None, QueryParameter(description="Only what is of this kind.")] = None,
        limit: Annotated[int, integer("The most hits of each kind.", 1, MAX_HITS)] = 20,
        suggest: Annotated[
            bool, QueryParameter(description="The last word is still being typed: it is the beginning of a word.")
        ] = False,
    ) -> RawResponse[SearchResponse]:
        """Deals, organizations, places and sources that have every word, the best first, with the words marked."""
        found = await search_queries.search(
            portfolio_as_of, q, KINDS if kind is None else (kind,), limit, unfinished=suggest
        )
        return json_response(encode(found), {"Cache-Control": "no-cache"})
