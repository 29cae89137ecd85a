"""Search in the columnar copy: what has texts that match every token of a query (`search_texts.py`).

What has such a text at the point is a hit; the best text that matches a token gives its score.

A question keeps the texts of each token, and the hits of the tokens so far, in temporary tables of its cursor. DuckDB
then knows how many there are, and the token with the fewest texts comes first: 100,000 deals that match one word are
not looked at for two words that few have together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.search_text import Search, Token, indexed, similar_words
from registry.i18n.places import place_names
from registry.projections.columnar.search_texts import (
    EVENT,
    SAMPLE,
    HitsOf,
    Texts,
    deal_hits,
    find_texts,
    organization_hits,
    participants_at,
    place_hits,
    source_hits,
    texts_of,
)
from registry.projections.columnar.selection import Point, run

# --- what every token matches -----------------------------------------------------------------------------------------


def _keep_hits(cursor: DuckDBPyConnection, table: str, point: Point, found: Sequence[Texts], hits: HitsOf) -> bool:
    """Keep what every token matches, with its score, in a temporary table; whether there is any."""
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE {table} (id VARCHAR, score BIGINT)")
    for number, texts in enumerate(sorted(found, key=lambda one: one.size)):
        if number:
            # The ids so far are few, because the token with the fewest texts comes first. They are looked for in the
            # fact tables before these are joined to the texts: 100,000 deals may have one of these.
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE {table}_before AS SELECT * FROM {table}")
        selects = hits(point, texts, f"{table}_before" if number else None)
        if not selects:
            cursor.execute(f"DELETE FROM {table}")
            return False
        rows = f"SELECT id, max(score) AS score FROM ({' UNION ALL '.join(selects)}) GROUP BY id"
        if number:
            rows = f"SELECT b.id, b.score + h.score AS score FROM {table}_before AS b JOIN ({rows}) AS h ON h.id = b.id"
        run(
            cursor,
            f"CREATE OR REPLACE TEMP TABLE {table} AS {rows}",
            {**point.parameters, **texts.parameters},
        )
    return bool(cursor.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())


def keep_deals(cursor: DuckDBPyConnection, point: Point, search: Search) -> None:
    """Keep the deals that match in a temporary table of the cursor; without a word, none does."""
    _keep_hits(cursor, point.found_deals, point, find_texts(cursor, search), deal_hits)


_PLACES = "SELECT DISTINCT place FROM site_facts WHERE place IS NOT NULL"


@lru_cache(maxsize=20_000)
def _indexed_place(code: str) -> tuple[set[str], set[str]]:
    """The terms and the words of a place: its code and its names."""
    return indexed("\n".join([code, *(name for names in place_names(code).values() for name in names)]))


def _with_places(search: Search, codes: Sequence[str]) -> Search:
    """The search with the places whose names each token matches."""
    terms = {code: _indexed_place(code)[0] for code in codes}
    places = (tuple(code for code in codes if any(map(token.matches, terms[code]))) for token in search.tokens)
    return replace(search, places=tuple(places))


def resolve(cursor: DuckDBPyConnection, point: Point, tokens: tuple[Token, ...], merged: Mapping[str, str]) -> Search:
    """What is searched for at a point: a token that nothing matches there also matches similar words.

    Args:
        cursor: The copy.
        point: The point.
        tokens: The tokens of the query.
        merged: The record that each merged organization redirects to.
    """
    return _resolve(cursor, point, tokens, merged)[0]


def _resolve(
    cursor: DuckDBPyConnection, point: Point, tokens: tuple[Token, ...], merged: Mapping[str, str]
) -> tuple[Search, list[Texts]]:
    known = {place for (place,) in run(cursor, _PLACES, {})}
    codes = sorted(known | {place[:2] for place in known})
    search = _with_places(Search(tokens, (), tuple(merged), tuple(merged.values())), codes)
    found = find_texts(cursor, search)
    unmatched = {texts.number for texts in found if not _is_matched(cursor, point, texts)}
    if not unmatched:
        return search, found
    words = [word for (word,) in run(cursor, "SELECT word FROM search_words", {})]
    words += sorted({word for code in codes for word in _indexed_place(code)[1]})
    tokens = tuple(
        replace(token, similar=similar_words(token, words)) if number in unmatched and token.address is None else token
        for number, token in enumerate(tokens)
    )
    search = _with_places(replace(search, tokens=tokens), codes)
    return search, [texts_of(cursor, search, texts.number) if texts.number in unmatched else texts for texts in found]


def _is_matched(cursor: DuckDBPyConnection, point: Point, texts: Texts) -> bool:
    """Whether anything has a text that a token matches at a point."""
    parameters = {**point.parameters, **texts.parameters}
    return any(
        run(cursor, f"SELECT 1 FROM ({select}) LIMIT 1", parameters)
        for looked in (replace(texts, most=SAMPLE), texts)
        for hits in (deal_hits, organization_hits, source_hits)
        for select in hits(point, looked, None)
    )


# --- hits -------------------------------------------------------------------------------------------------------------


class Hits(Struct, frozen=True):
    """Hits of one kind, the best first, as ids with scores and numbers of deals; and how many there are."""

    ids: list[tuple[str, int, int]]
    count: int


_DEALS = "SELECT id, score, 1, (SELECT count(*) FROM hits) FROM hits ORDER BY score DESC, id LIMIT $limit"

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

_OF_KIND: dict[str, tuple[HitsOf, str]] = {
    "organization": (organization_hits, _ORGANIZATIONS),
    "place": (place_hits, _PLACE_COUNTS),
    "deal": (deal_hits, _DEALS),
    "source": (source_hits, _SOURCES),
}


class DealTexts(Struct, frozen=True):
    """The texts of some deals beside titles, each with its deal.

    `parties` have the organization and the name as JSON, or no name for those that take part without being parties,
    `sites` the name as JSON, locality and address, `sources` the id of a source that matches and the position of an
    event that cites it.
    """

    parties: list[tuple[str, str, str | None]]
    sites: list[tuple[str, str | None, str | None, str | None]]
    sources: list[tuple[str, str, int]]


class Found(Struct, frozen=True):
    """What a query finds.

    Attributes:
        search: What was searched for.
        hits: What matches every token, by kind.
        texts: What the hits of deals show.
        citations: Each source among the hits, with the last event that cites it.
    """

    search: Search
    hits: dict[str, Hits]
    texts: DealTexts
    citations: list[tuple[str, int]]


def find(
    cursor: DuckDBPyConnection,
    point: Point,
    tokens: tuple[Token, ...],
    merged: Mapping[str, str],
    kinds: Sequence[str],
    limit: int,
) -> Found:
    """What matches every token of a query, by kind, the best first; otherwise as `resolve`."""
    search, texts = _resolve(cursor, point, tokens, merged)
    at = {f"at_{table}": point.at(table) for table in "dpst"}
    at["participants"] = participants_at(point, None, withdrawn=True)
    found: dict[str, Hits] = {}
    for kind in kinds:
        hits, statement = _OF_KIND[kind]
        rows: list[tuple[Any, ...]] = []
        if tokens and _keep_hits(cursor, "hits", point, texts, hits):
            rows = run(cursor, statement.format(**at), {**point.parameters, "limit": limit})
        found[kind] = Hits([(id, score, deals) for id, score, deals, _ in rows], rows[0][3] if rows else 0)
    deals, sources = ([id for id, _, _ in found[kind].ids] if kind in found else [] for kind in ("deal", "source"))
    return Found(
        search,
        found,
        _deal_texts(cursor, point, texts, deals) if deals else DealTexts([], [], []),
        _citations(cursor, point, sources) if sources else [],
    )


def organizations(
    cursor: DuckDBPyConnection,
    point: Point,
    tokens: tuple[Token, ...],
    merged: Mapping[str, str],
    after: str,
    limit: int,
) -> list[str]:
    """The organizations that match every token, in the order of their slugs; otherwise as `resolve`."""
    _, texts = _resolve(cursor, point, tokens, merged)
    if not _keep_hits(cursor, "hits", point, texts, organization_hits):
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


_NAMES = """
SELECT deal, organization, max(name) FROM party_facts AS p
 WHERE p.deal IN (SELECT unnest($deals)) AND {p} AND p.left_on IS NULL
 GROUP BY deal, organization
 ORDER BY min(joined_on), organization
"""

_OTHERS = "SELECT DISTINCT deal, organization, NULL FROM ({participants}) ORDER BY ALL"

_SITES = """
SELECT deal, name, locality, address FROM site_facts AS s
 WHERE s.deal IN (SELECT unnest($deals)) AND {s} AND s.status <> 'dropped'
 ORDER BY announced_on, site
"""

_CITED = """
SELECT deal, source, max(position)
  FROM event_texts AS t
 WHERE t.deal IN (SELECT unnest($deals)) AND {t} AND t.source IS NOT NULL
   AND (t.text_id IN ({found}) OR list_contains($ids, t.source))
 GROUP BY deal, source
 ORDER BY 3 DESC, source
"""


def _deal_texts(cursor: DuckDBPyConnection, point: Point, found: Sequence[Texts], deals: Sequence[str]) -> DealTexts:
    """What the hits of a search for deals show."""
    given = {**point.parameters, "deals": list(deals)}
    texts = " UNION ALL ".join(f"SELECT text FROM found_{one.number} WHERE kind = {EVENT}" for one in found)
    ids = [one.source for one in found if one.source is not None]
    is_cited = any(EVENT in one.counts for one in found) or bool(ids)
    cited = run(cursor, _CITED.format(t=point.at("t"), found=texts), {**given, "ids": ids}) if is_cited else []
    others = _OTHERS.format(participants=participants_at(point, "(SELECT unnest($deals) AS id)"))
    parties = run(cursor, _NAMES.format(p=point.at("p")), given) + run(cursor, others, given)
    return DealTexts(parties, run(cursor, _SITES.format(s=point.at("s")), given), cited)
