"""Search in the columnar copy: which deals, organizations and places have texts that match every token of a query.

A token matches texts by their terms, and places by their names. What has such a text at the point is a hit; the best
text that matches a token gives its score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.search_text import Token, similar_words, terms, vocabulary
from registry.i18n import LANGUAGES
from registry.i18n.places import place_name
from registry.projections.columnar.selection import Point, run

EXACT, BEGINNING, SIMILAR = 3, 2, 1
"""How well a token matches a text."""


class Search(Struct, frozen=True):
    """What is searched for.

    Attributes:
        tokens: The tokens, all of which a hit matches.
        places: The codes of the places whose names each token matches.
        duplicates, survivors: The merged organizations, and the records that they were merged into.
    """

    tokens: tuple[Token, ...]
    places: tuple[tuple[str, ...], ...] = ()
    duplicates: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the conditions."""
        given: dict[str, Any] = {}
        for number, token in enumerate(self.tokens):
            for at, (low, high, _) in enumerate(_ranges(token)):
                given |= {f"from_{number}_{at}": low, f"to_{number}_{at}": high}
            for at, (term, _) in enumerate(_terms(token)):
                given[f"term_{number}_{at}"] = term
        codes = [(code, number) for number, of_token in enumerate(self.places) for code in of_token]
        return {
            **given,
            "place_codes": [code for code, _ in codes],
            "place_tokens": [number for _, number in codes],
            "duplicates": list(self.duplicates),
            "survivors": list(self.survivors),
        }

    def found(self) -> str:
        """The tables `found` (texts), `found_places` and `merged`."""
        selects = []
        for number, token in enumerate(self.tokens):
            selects += [
                f"SELECT text, {number} AS token, {quality} AS quality FROM search_terms"
                f" WHERE term = $term_{number}_{at}"
                for at, (_, quality) in enumerate(_terms(token))
            ]
            selects += [
                f"SELECT text, {number}, {quality} FROM search_terms"
                f" WHERE term >= $from_{number}_{at} AND term < $to_{number}_{at}"
                for at, (_, _, quality) in enumerate(_ranges(token))
            ]
        return f"""
            found AS MATERIALIZED (
                SELECT text, token, max(quality) AS quality FROM ({" UNION ALL ".join(selects)}) GROUP BY text, token
            ), found_places AS (
                SELECT unnest($place_codes::VARCHAR[]) AS place, unnest($place_tokens::INTEGER[]) AS token
            ), merged AS (
                SELECT unnest($duplicates::VARCHAR[]) AS duplicate, unnest($survivors::VARCHAR[]) AS survivor
            )"""

    def all_match(self) -> tuple[str, str]:
        """The scores of a hit's tokens added up, and the condition that every token has one."""
        scores = [f"max(score) FILTER (WHERE token = {number})" for number in range(len(self.tokens))]
        present = " AND ".join(f"{score} IS NOT NULL" for score in scores)
        return f"{' + '.join(scores)} AS score", present

    def deals(self, point: Point) -> str:
        """The query of the deals that match, with their score; it needs the tables of `found`."""
        score, present = self.all_match()
        return f"SELECT deal, {score} FROM ({deal_hits(point)}) GROUP BY deal HAVING {present}"

    def condition(self, point: Point) -> str:
        """The query of the slugs of deals that match."""
        return f"WITH {self.found()} SELECT deal FROM ({self.deals(point)})"


def _terms(token: Token) -> list[tuple[str, int]]:
    """The terms that a token matches, and how well."""
    return [(term, EXACT) for term in token.equal] + [(word, SIMILAR) for word in token.similar]


def _ranges(token: Token) -> list[tuple[str, str, int]]:
    """The ranges of terms that begin with a token, and how well it matches them."""
    starts = [(beginning, EXACT if token.unspaced else BEGINNING) for beginning in token.beginnings]
    if token.unspaced:
        starts += [(word, SIMILAR) for word in token.similar]
    return [(start, f"{start}\U0010ffff", quality) for start, quality in starts]


def deal_hits(point: Point) -> str:
    """Deals by token and score."""
    return f"""
        SELECT d.deal, f.token, 8 * f.quality AS score
          FROM deal_facts AS d JOIN found AS f ON f.text = d.text_id
         WHERE {point.at("d")}
        UNION ALL
        SELECT p.deal, f.token, 6 * f.quality
          FROM party_facts AS p JOIN found AS f ON f.text = p.text_id
         WHERE {point.at("p")} AND p.left_on IS NULL
        UNION ALL
        {place_hits(point, "deal")}"""


def place_hits(point: Point, column: str) -> str:
    """Deals, or places, by token and score, through the places of sites."""
    selects = [
        f"""SELECT s.deal, x.place, x.token, {score} AS score
              FROM site_facts AS s JOIN found_places AS x ON x.place = {place}
             WHERE {point.at("s")} AND s.status <> 'dropped'"""
        for place, score in (("s.place", 21), ("CASE WHEN length(s.place) > 2 THEN left(s.place, 2) END", 20))
    ]
    return f"SELECT {column}, token, score FROM ({' UNION ALL '.join(selects)})"


def organization_hits(point: Point) -> str:
    """Organizations by token and score: the names that deals give them."""
    return f"""
        SELECT coalesce(m.survivor, p.organization) AS organization, f.token, 9 * f.quality AS score
          FROM party_facts AS p JOIN found AS f ON f.text = p.text_id
               LEFT JOIN merged AS m ON m.duplicate = p.organization
         WHERE {point.at("p")}"""


# --- what tokens match ------------------------------------------------------------------------------------------------

_PLACES = "SELECT DISTINCT place FROM site_facts WHERE place IS NOT NULL"


@lru_cache(maxsize=20_000)
def _place_terms(code: str) -> frozenset[str]:
    names = (place_name(code, language).partition(", ")[0] for language in LANGUAGES)
    return frozenset(terms("\n".join((code, *names))))


def _matching_places(codes: Sequence[str], token: Token) -> tuple[str, ...]:
    return tuple(code for code in codes if any(map(token.matches, _place_terms(code))))


def resolve(cursor: DuckDBPyConnection, point: Point, tokens: tuple[Token, ...], merged: Mapping[str, str]) -> Search:
    """What is searched for at a point: a token that nothing matches there also matches similar words.

    Args:
        cursor: The copy.
        point: The point.
        tokens: The tokens of the query.
        merged: The record that each merged organization redirects to.
    """
    known = {place for (place,) in run(cursor, _PLACES, {})}
    codes = sorted(known | {place[:2] for place in known})
    search = Search(
        tokens,
        tuple(_matching_places(codes, token) for token in tokens),
        tuple(merged),
        tuple(merged.values()),
    )
    hits = f"SELECT token FROM ({deal_hits(point)}) UNION SELECT token FROM ({organization_hits(point)})"
    statement = f"WITH {search.found()} {hits}"
    matched = {token for (token,) in run(cursor, statement, {**point.parameters, **search.parameters})}
    if len(matched) == len(tokens):
        return search
    words = [word for (word,) in run(cursor, "SELECT word FROM search_words", {})]
    words += sorted({term for code in codes for term in _place_words(code)})
    tokens = tuple(
        token if number in matched else replace(token, similar=similar_words(token, words))
        for number, token in enumerate(tokens)
    )
    return replace(search, tokens=tokens, places=tuple(_matching_places(codes, token) for token in tokens))


@lru_cache(maxsize=20_000)
def _place_words(code: str) -> frozenset[str]:
    names = (place_name(code, language).partition(", ")[0] for language in LANGUAGES)
    return frozenset(vocabulary("\n".join(names)))


# --- hits -------------------------------------------------------------------------------------------------------------


class Hits(Struct, frozen=True):
    """Hits of one kind, the best first, as ids with scores; how many there are; how many deals each has."""

    ids: list[tuple[str, int, int]]
    count: int


def deals(cursor: DuckDBPyConnection, point: Point, search: Search, limit: int) -> Hits:
    """The deals that match, the best first."""
    statement = f"""
        WITH {search.found()}, hits AS ({search.deals(point)})
        SELECT deal, score, 1, count(*) OVER ()
          FROM hits JOIN deal_facts AS d USING (deal)
         WHERE {point.at("d")}
         ORDER BY score DESC, deal
         LIMIT $limit"""
    return _hits(cursor, statement, point, search, limit)


def organizations(cursor: DuckDBPyConnection, point: Point, search: Search, limit: int) -> Hits:
    """The organizations that match, the best first, and of equally good ones the one with most deals."""
    score, present = search.all_match()
    statement = f"""
        WITH {search.found()}, hits AS (
            SELECT organization, {score} FROM ({organization_hits(point)}) GROUP BY organization HAVING {present}
        ), counted AS (
            SELECT coalesce(m.survivor, p.organization) AS organization, count(DISTINCT p.deal) AS deals
              FROM party_facts AS p LEFT JOIN merged AS m ON m.duplicate = p.organization
             WHERE {point.at("p")} AND coalesce(m.survivor, p.organization) IN (SELECT organization FROM hits)
             GROUP BY 1
        )
        SELECT organization, score, coalesce(deals, 0) AS deals, count(*) OVER ()
          FROM hits LEFT JOIN counted USING (organization)
         ORDER BY score DESC, deals DESC, organization
         LIMIT $limit"""
    return _hits(cursor, statement, point, search, limit)


def places(cursor: DuckDBPyConnection, point: Point, search: Search, limit: int) -> Hits:
    """The places that match and have deals, the one with most deals first."""
    score, present = search.all_match()
    statement = f"""
        WITH {search.found()}, hits AS (
            SELECT place, {score} FROM ({place_hits(point, "place")}) GROUP BY place HAVING {present}
        )
        SELECT h.place, any_value(h.score) AS score, count(DISTINCT s.deal) AS deals, count(*) OVER ()
          FROM hits AS h JOIN site_facts AS s ON s.place = h.place OR left(s.place, 2) = h.place
         WHERE {point.at("s")} AND s.status <> 'dropped'
         GROUP BY h.place
         ORDER BY score DESC, deals DESC, h.place
         LIMIT $limit"""
    return _hits(cursor, statement, point, search, limit)


def _hits(cursor: DuckDBPyConnection, statement: str, point: Point, search: Search, limit: int) -> Hits:
    rows = run(cursor, statement, {**point.parameters, **search.parameters, "limit": limit})
    return Hits([(id, score, deals) for id, score, deals, _ in rows], rows[0][3] if rows else 0)


_NAMES = """
SELECT deal, organization, any_value(name) FROM party_facts AS p
 WHERE p.deal IN (SELECT unnest($deals)) AND {p} AND p.left_on IS NULL AND p.name IS NOT NULL
 GROUP BY deal, organization
"""


def party_names(cursor: DuckDBPyConnection, point: Point, deals: Sequence[str]) -> list[tuple[str, str, str]]:
    """The names that these deals give to their parties: deal, organization, JSON of the name by language."""
    return run(cursor, _NAMES.format(p=point.at("p")), {**point.parameters, "deals": list(deals)})
