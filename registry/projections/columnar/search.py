"""Search for everything in the columnar copy: the best deals, organizations, places and sources, and what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.domain.search.texts import Search, Token
from registry.projections.columnar.memory_tables import WrittenRow
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.search_at_point import SearchAtPoint, materialize_hits, resolve
from registry.projections.columnar.search_texts import (
    EVENT,
    HitsOf,
    Texts,
    organization_hits,
    participants_at,
    place_hits,
    source_hits,
)
from registry.projections.columnar.selection import run
from registry.projections.columnar.tables import TEXTS
from registry.projections.point import Point


class Hits(Struct, frozen=True):
    """Hits of one kind, the best first, as ids with scores and numbers of deals; and how many there are."""

    ids: list[tuple[str, int, int]]
    count: int


_DEALS = """
SELECT id, score, 1, (SELECT count(*) FROM {found}) FROM {found} ORDER BY score DESC, id LIMIT $limit
"""

_ORGANIZATIONS = """
WITH counted AS (
    SELECT coalesce(m.survivor, o.organization) AS id, count(DISTINCT o.deal) AS deals
      FROM (SELECT p.deal, p.organization FROM party_facts AS p WHERE {at_p} UNION ALL {participants}) AS o
           LEFT JOIN merged AS m ON m.duplicate = o.organization
     WHERE coalesce(m.survivor, o.organization) IN (SELECT id FROM hits)
     GROUP BY 1
)
SELECT h.id, h.score, coalesce(c.deals, 0) AS deals, count(*) OVER ()
  FROM hits AS h LEFT JOIN counted AS c USING (id)
 ORDER BY h.score DESC, deals DESC, h.id
 LIMIT $limit
"""

_PLACE_COUNTS = """
SELECT h.id, any_value(h.score) AS score, count(DISTINCT s.deal) AS deals, count(*) OVER ()
  FROM hits AS h JOIN site_facts AS s ON s.place = h.id OR left(s.place, 2) = h.id
 WHERE {at_s} AND s.status <> 'dropped'
 GROUP BY h.id
 ORDER BY score DESC, deals DESC, h.id
 LIMIT $limit
"""

# The deals are counted of those that are returned only: a publisher may have a hundred thousand articles.
_SOURCES = """
WITH best AS (SELECT id, score FROM hits ORDER BY score DESC, id LIMIT $limit)
SELECT b.id, b.score, count(DISTINCT t.deal) AS deals, (SELECT count(*) FROM hits)
  FROM best AS b JOIN event_texts AS t ON t.source = b.id
 WHERE {at_t}
 GROUP BY b.id, b.score
 ORDER BY b.score DESC, deals DESC, b.id
"""


class _Kind(Struct, frozen=True):
    """A kind of hits other than deals: the queries of all and of the best, and which rows they depend on."""

    hits: HitsOf
    best: str
    depends_on: Callable[[WrittenRow], bool]


_OF_KIND = {
    "organization": _Kind(
        organization_hits,
        _ORGANIZATIONS,
        lambda row: row.table in ("party_facts", "deal_facts") or bool(row.organizations) or row.deal is None,
    ),
    "place": _Kind(place_hits, _PLACE_COUNTS, lambda row: row.table == "site_facts"),
    "source": _Kind(source_hits, _SOURCES, lambda row: row.source is not None),
}


class SearchMatches(Struct, frozen=True):
    """What a query finds.

    Attributes:
        search: What was searched for.
        hits: What matches every token, by kind.
        cited: The sources that match of each deal among the hits, with the last event of the deal that cites it.
        citations: Each source among the hits, with the last event that cites it.
    """

    search: Search
    hits: dict[str, Hits]
    cited: list[tuple[str, str, int]]
    citations: list[tuple[str, int]]


def find(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    point: Point,
    tokens: tuple[Token, ...],
    merged: Mapping[str, str],
    kinds: Sequence[str],
    limit: int,
) -> SearchMatches:
    """What matches every token of a query, by kind, the best first; otherwise as `resolve`."""
    at_point = resolve(cursor, cache, point, tokens, merged)
    at = {f"at_{table}": point.at(table) for table in "dpst"}
    at["participants"] = participants_at(point, None, withdrawn=True)
    given = {**point.parameters, "limit": limit}

    def hits(kind: str) -> Hits:
        if not tokens or not materialize_hits(cursor, "hits", point, at_point.named, _OF_KIND[kind].hits):
            return Hits([], 0)
        return _hits(run(cursor, _OF_KIND[kind].best.format(**at), given))

    found: dict[str, Hits] = {}
    for kind in kinds:
        if kind == "deal":
            with at_point.deals():
                found[kind] = _hits(run(cursor, _DEALS.format(found=point.found_deals), given))
        else:
            is_same = partial(_are_same_hits, at_point, _OF_KIND[kind])
            found[kind] = at_point.value_at((kind, limit), partial(hits, kind), is_same)
    deals, sources = ([id for id, _, _ in found[kind].ids] if kind in found else [] for kind in ("deal", "source"))
    return SearchMatches(
        at_point.search,
        found,
        at_point.value_at(
            ("cited", *deals),
            lambda: _cited(cursor, point, at_point.named, deals) if deals else [],
            lambda _, written: not any(row.table == TEXTS and row.deal in deals for row in written),
        ),
        at_point.value_at(
            ("citations", *sources),
            lambda: _citations(cursor, point, sources) if sources else [],
            lambda _, written: not any(row.source is not None and row.source in sources for row in written),
        ),
    )


def _hits(rows: Sequence[tuple[Any, ...]]) -> Hits:
    return Hits([(id, score, deals) for id, score, deals, _ in rows], rows[0][3] if rows else 0)


def _are_same_hits(at_point: SearchAtPoint, kind: _Kind, hits: Hits, written: Sequence[WrittenRow]) -> bool:
    """Whether hits and their numbers of deals are the same after these rows were written."""
    looked = [row for row in written if kind.depends_on(row)]
    if hits.count == 0:
        return not any(row.table == "deal_facts" or at_point.matches(row) for row in looked)
    return not looked


def organizations(
    cursor: DuckDBPyConnection,
    cache: QuestionCache,
    point: Point,
    tokens: tuple[Token, ...],
    merged: Mapping[str, str],
    after: str,
    limit: int,
) -> list[str]:
    """The organizations that match every token, in the order of their slugs; otherwise as `resolve`."""
    at_point = resolve(cursor, cache, point, tokens, merged)
    if not materialize_hits(cursor, "hits", point, at_point.named, organization_hits):
        return []
    found = "SELECT id FROM hits WHERE id > $after ORDER BY id LIMIT $limit"
    return [slug for (slug,) in run(cursor, found, {"after": after, "limit": limit})]


# --- what hits show ---------------------------------------------------------------------------------------------------

_CITATIONS = """
SELECT source, max(position)
  FROM event_texts AS t
 WHERE {t} AND t.source IN (SELECT unnest($sources))
 GROUP BY source
"""


def _citations(cursor: DuckDBPyConnection, point: Point, sources: Sequence[str]) -> list[tuple[str, int]]:
    """The last event that cites each of these sources at a point."""
    return run(cursor, _CITATIONS.format(t=point.at("t")), {**point.parameters, "sources": list(sources)})


_CITED = """
SELECT deal, source, max(position)
  FROM event_texts AS t
 WHERE t.deal IN (SELECT unnest($deals)) AND {t} AND t.source IS NOT NULL
   AND (t.text_id IN ({found}) OR list_contains($ids, t.source))
 GROUP BY deal, source
 ORDER BY 3 DESC, source
"""


def _cited(
    cursor: DuckDBPyConnection, point: Point, found: Sequence[Texts], deals: Sequence[str]
) -> list[tuple[str, str, int]]:
    """The sources of some deals that match a token, with the last event that cites it."""
    texts = " UNION ALL ".join(f"SELECT text FROM found_{one.number} WHERE kind = {EVENT}" for one in found)
    ids = [one.source for one in found if one.source is not None]
    if not ids and not any(EVENT in one.counts for one in found):
        return []
    given = {**point.parameters, "deals": list(deals), "ids": ids}
    return run(cursor, _CITED.format(t=point.at("t"), found=texts), given)
