"""Search in the columnar copy: what has texts that match every token of a query.

A token matches texts by their terms, places by their names, and a source by its address. A deal has the texts of its
title and identifiers, of its parties with all names of their records, of its sites and their places, and of the sources
that its events cite. Organizations that take part without being parties have their slugs, and all names that their
records and other deals give them. What has such a text at the point is a hit; the best text that matches a token gives
its score.

A question keeps the texts of each token, and the hits of the tokens so far, in temporary tables of its cursor. DuckDB
then knows how many there are, and the token with the fewest texts comes first: 100,000 deals that match one word are
not looked at for two words that few have together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.search_text import Search, Token, indexed, similar_words
from registry.domain.sources import source_id
from registry.i18n.places import place_names
from registry.projections.columnar.selection import Point, run

EXACT, BEGINNING, SIMILAR = 3, 2, 1
"""How well a token matches a text."""

DEAL, PARTY, SITE, EVENT, SLUG = range(5)
"""The kinds of texts (`search_index.TEXT_TABLES`, `search_index.SLUG`)."""

SAMPLE = 1_000
"""So many texts of a kind are looked at first, to know whether anything has a word: 100,000 texts may have it."""


class _Texts(Struct, frozen=True):
    """The texts that a token matches, in the temporary table `found_NUMBER`: how many there are of each kind.

    `most`: at most so many of each kind are looked at.
    """

    number: int
    counts: dict[int, int]
    places: tuple[str, ...]
    source: str | None
    most: int | None = None

    @property
    def size(self) -> int:
        return sum(self.counts.values()) + 1_000 * len(self.places)

    @property
    def parameters(self) -> dict[str, Any]:
        return {"codes": list(self.places), "source": self.source}

    def of_kind(self, kind: int) -> str:
        """The texts of a kind."""
        limit = f" LIMIT {self.most}" if self.most is not None else ""
        return f"(SELECT text, quality FROM found_{self.number} WHERE kind = {kind}{limit})"


def _find_all(cursor: DuckDBPyConnection, search: Search) -> list[_Texts]:
    """Find the texts that each token matches."""
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE merged AS"
        " SELECT unnest($duplicates::VARCHAR[]) AS duplicate, unnest($survivors::VARCHAR[]) AS survivor",
        {"duplicates": list(search.duplicates), "survivors": list(search.survivors)},
    )
    return [_find(cursor, search, number) for number in range(len(search.tokens))]


def _find(cursor: DuckDBPyConnection, search: Search, number: int) -> _Texts:
    """Find the texts that a token matches."""
    token = search.tokens[number]
    postings, given = _postings(token)
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE found_{number} AS {postings}", given)
    counts = dict(cursor.execute(f"SELECT kind, count(*) FROM found_{number} GROUP BY kind").fetchall())
    return _Texts(number, counts, search.places[number], source_id(token.address) if token.address else None)


def _postings(token: Token) -> tuple[str, dict[str, str]]:
    """The query of the texts that have a term of the token, and its parameters."""
    # A term that a token of a script without spaces equals also begins with it.
    equal = [] if token.unspaced else [(term, EXACT) for term in token.equal]
    equal += [(word, SIMILAR) for word in token.similar]
    starts = [(beginning, EXACT if token.unspaced else BEGINNING) for beginning in token.beginnings]
    starts += [(word, SIMILAR) for word in token.similar if token.unspaced]
    selects = ["SELECT text, kind, 0 AS quality FROM search_terms WHERE false"]
    given = {}
    for number, (term, quality) in enumerate(equal):
        selects.append(f"SELECT text, kind, {quality} FROM search_terms WHERE term = $term_{number}")
        given[f"term_{number}"] = term
    others = "".join(f" AND term <> ${name}" for name in given)
    for number, (start, quality) in enumerate(starts):
        selects.append(
            f"SELECT text, kind, {quality} FROM search_terms"
            f" WHERE term >= $from_{number} AND term < $to_{number} {others}"
        )
        given |= {f"from_{number}": start, f"to_{number}": f"{start}\U0010ffff"}
    return " UNION ALL ".join(selects), given


# --- what has the texts of a token ------------------------------------------------------------------------------------

_Hits = Callable[[Point, _Texts, str | None], list[str]]
"""The queries of what has a text that a token matches: `id`, and `score`; of the ids in a table, or of all."""


def _among(id: str, so_far: str | None) -> str:
    """The condition that an id is in a table."""
    return f"AND {id} IN (SELECT id FROM {so_far})" if so_far is not None else ""


def deal_hits(point: Point, texts: _Texts, so_far: str | None) -> list[str]:
    """Deals by their own texts, and those of their parties, sites, places and sources."""
    own = []
    if DEAL in texts.counts:
        own.append(
            f"SELECT d.deal AS id, 8 * f.quality AS score FROM deal_facts AS d"
            f" JOIN {texts.of_kind(DEAL)} AS f ON f.text = d.text_id WHERE {point.at('d')} {_among('d.deal', so_far)}"
        )
    found = _of_places(point, texts, "s.deal", so_far)
    if PARTY in texts.counts:
        found.append(
            f"SELECT p.deal AS id, 6 * f.quality AS score FROM party_facts AS p"
            f" JOIN {texts.of_kind(PARTY)} AS f ON f.text = p.text_id"
            f" WHERE {point.at('p')} AND p.left_on IS NULL {_among('p.deal', so_far)}"
        )
    if EVENT in texts.counts:
        found += [
            f"SELECT p.deal AS id, 6 * n.quality AS score"
            f"  FROM party_facts AS p LEFT JOIN merged AS m ON m.duplicate = p.organization"
            f"       JOIN ({_record_names(point, texts)}) AS n ON n.organization = coalesce(m.survivor, p.organization)"
            f" WHERE {point.at('p')} AND p.left_on IS NULL {_among('p.deal', so_far)}",
            f"SELECT t.deal AS id, 3 * f.quality AS score FROM event_texts AS t"
            f" JOIN {texts.of_kind(EVENT)} AS f ON f.text = t.text_id"
            f" WHERE {point.at('t')} AND t.source IS NOT NULL AND t.deal IS NOT NULL {_among('t.deal', so_far)}",
        ]
    if participants := _matching_participants(point, texts):
        found.append(
            f"SELECT id, score FROM (WITH matching AS MATERIALIZED ({participants})"
            f" SELECT o.deal AS id, 6 * n.quality AS score"
            f"  FROM ({_participants(point, so_far, among='matching')}) AS o JOIN matching AS n USING (organization))"
        )
    if SITE in texts.counts:
        found.append(
            f"SELECT s.deal AS id, 6 * f.quality AS score FROM site_facts AS s"
            f" JOIN {texts.of_kind(SITE)} AS f ON f.text = s.text_id"
            f" WHERE {point.at('s')} AND s.status <> 'dropped' {_among('s.deal', so_far)}"
        )
    if texts.source is not None:
        found.append(
            f"SELECT t.deal AS id, 30 AS score FROM event_texts AS t"
            f" WHERE {point.at('t')} AND t.source = $source AND t.deal IS NOT NULL {_among('t.deal', so_far)}"
        )
    if not found or so_far is not None:
        return [*own, *found]
    # Only what stands in `deal_facts` is in lists. Of the deals that their own texts find, it is known already.
    listed = f"SEMI JOIN deal_facts AS d ON d.deal = o.id AND {point.at('d')}"
    return [*own, f"SELECT o.id, o.score FROM ({' UNION ALL '.join(found)}) AS o {listed}"]


def place_hits(point: Point, texts: _Texts, so_far: str | None) -> list[str]:
    """Places that deals have."""
    return _of_places(point, texts, "x.place", so_far)


def _of_places(point: Point, texts: _Texts, id: str, so_far: str | None) -> list[str]:
    if not texts.places:
        return []
    return [
        f"SELECT {id} AS id, {score} AS score"
        f"  FROM site_facts AS s JOIN (SELECT unnest($codes::VARCHAR[]) AS place) AS x ON x.place = {place}"
        f" WHERE {point.at('s')} AND s.status <> 'dropped' {_among(id, so_far)}"
        for place, score in (("s.place", 21), ("CASE WHEN length(s.place) > 2 THEN left(s.place, 2) END", 20))
    ]


def organization_hits(point: Point, texts: _Texts, so_far: str | None) -> list[str]:
    """Organizations by the names of their records, and by those that deals give them."""
    found = []
    if EVENT in texts.counts:
        found.append(
            f"SELECT organization AS id, 9 * quality AS score FROM ({_record_names(point, texts)})"
            f" WHERE true {_among('organization', so_far)}"
        )
    if PARTY in texts.counts:
        organization = "coalesce(m.survivor, p.organization)"
        found.append(
            f"SELECT {organization} AS id, 9 * f.quality AS score"
            f"  FROM party_facts AS p JOIN {texts.of_kind(PARTY)} AS f ON f.text = p.text_id"
            f"       LEFT JOIN merged AS m ON m.duplicate = p.organization"
            f" WHERE {point.at('p')} {_among(organization, so_far)}"
        )
    if SLUG in texts.counts:
        organization = "coalesce(m.survivor, o.organization)"
        found.append(
            f"SELECT {organization} AS id, 9 * s.quality AS score"
            f"  FROM ({_participants(point, None, withdrawn=True)}) AS o"
            f"       JOIN ({_slugs(texts)}) AS s USING (organization)"
            f"       LEFT JOIN merged AS m ON m.duplicate = o.organization"
            f" WHERE true {_among(organization, so_far)}"
        )
    return found


def source_hits(point: Point, texts: _Texts, so_far: str | None) -> list[str]:
    """Sources by publisher, title and site, or by their address."""
    found = []
    if EVENT in texts.counts:
        found.append(
            f"SELECT t.source AS id, 9 * f.quality AS score FROM event_texts AS t"
            f" JOIN {texts.of_kind(EVENT)} AS f ON f.text = t.text_id"
            f" WHERE {point.at('t')} AND t.source IS NOT NULL {_among('t.source', so_far)}"
        )
    if texts.source is not None:
        found.append(
            f"SELECT t.source AS id, 90 AS score FROM event_texts AS t"
            f" WHERE {point.at('t')} AND t.source = $source {_among('t.source', so_far)}"
        )
    return found


def _record_names(point: Point, texts: _Texts) -> str:
    """Organizations with a name of a record that matches, and how well."""
    return (
        f"SELECT coalesce(m.survivor, t.organization) AS organization, max(f.quality) AS quality"
        f"  FROM event_texts AS t JOIN {texts.of_kind(EVENT)} AS f ON f.text = t.text_id"
        f"       LEFT JOIN merged AS m ON m.duplicate = t.organization"
        f" WHERE {point.at('t')} AND t.organization IS NOT NULL AND t.source IS NULL"
        f" GROUP BY ALL"
    )


def _participants(point: Point, so_far: str | None, *, among: str | None = None, withdrawn: bool = False) -> str:
    """Deals with each organization that takes part without being a party: it pledges, or an event names it.

    Args:
        point: The point.
        so_far: The table of the deals that are looked at; None: all.
        among: The table of the organizations that are looked for; None: all.
        withdrawn: Whether withdrawn pledges count.
    """
    standing = "" if withdrawn else "AND p.status <> 'withdrawn'"
    wanted = f"AND {{}} IN (SELECT organization FROM {among})" if among is not None else ""
    # Most pledges have one organization, in a column of its own.
    pledge = f"FROM pledge_facts AS p WHERE {point.at('p')} {standing} {_among('p.deal', so_far)}"
    return (
        f"SELECT p.deal, p.organization {pledge} AND p.organization IS NOT NULL {wanted.format('p.organization')}"
        f" UNION ALL SELECT p.deal, unnest(p.organizations) {pledge} AND p.organization IS NULL"
        f" UNION ALL SELECT t.deal, t.participant FROM event_texts AS t"
        f" WHERE t.participant IS NOT NULL AND {point.at('t')} {_among('t.deal', so_far)}"
        f"   {wanted.format('t.participant')}"
        f"   AND t.deal IN (SELECT d.deal FROM deal_facts AS d WHERE {point.at('d')})"
    )


def _slugs(texts: _Texts) -> str:
    """The slugs of participants that match, and how well."""
    return (
        f"SELECT s.slug AS organization, f.quality FROM {texts.of_kind(SLUG)} AS f"
        f" JOIN search_texts AS s ON s.text = f.text AND s.kind = {SLUG}"
    )


def _matching_participants(point: Point, texts: _Texts) -> str | None:
    """Organizations by their slugs, and by the names that records and deals give them; None if no text matches."""
    named = [_record_names(point, texts)] if EVENT in texts.counts else []
    if PARTY in texts.counts:
        named.append(
            f"SELECT coalesce(m.survivor, p.organization) AS organization, f.quality"
            f"  FROM party_facts AS p JOIN {texts.of_kind(PARTY)} AS f ON f.text = p.text_id"
            f"       LEFT JOIN merged AS m ON m.duplicate = p.organization"
            f" WHERE {point.at('p')}"
        )
    found = [_slugs(texts)] if SLUG in texts.counts else []
    if named:
        names = f"({' UNION ALL '.join(named)}) AS n"
        found.append(f"SELECT n.organization, n.quality FROM {names}")
        # Deals name a merged organization by the slug that it had.
        found.append(f"SELECT m.duplicate, n.quality FROM {names} JOIN merged AS m ON m.survivor = n.organization")
    if not found:
        return None
    return f"SELECT organization, max(quality) AS quality FROM ({' UNION ALL '.join(found)}) GROUP BY organization"


# --- what every token matches -----------------------------------------------------------------------------------------


def _keep_hits(cursor: DuckDBPyConnection, table: str, point: Point, found: Sequence[_Texts], hits: _Hits) -> bool:
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
    _keep_hits(cursor, point.found_deals, point, _find_all(cursor, search), deal_hits)


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
) -> tuple[Search, list[_Texts]]:
    known = {place for (place,) in run(cursor, _PLACES, {})}
    codes = sorted(known | {place[:2] for place in known})
    search = _with_places(Search(tokens, (), tuple(merged), tuple(merged.values())), codes)
    found = _find_all(cursor, search)
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
    return search, [_find(cursor, search, texts.number) if texts.number in unmatched else texts for texts in found]


def _is_matched(cursor: DuckDBPyConnection, point: Point, texts: _Texts) -> bool:
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

_OF_KIND: dict[str, tuple[_Hits, str]] = {
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
    at["participants"] = _participants(point, None, withdrawn=True)
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


def _deal_texts(cursor: DuckDBPyConnection, point: Point, found: Sequence[_Texts], deals: Sequence[str]) -> DealTexts:
    """What the hits of a search for deals show."""
    given = {**point.parameters, "deals": list(deals)}
    texts = " UNION ALL ".join(f"SELECT text FROM found_{one.number} WHERE kind = {EVENT}" for one in found)
    ids = [one.source for one in found if one.source is not None]
    is_cited = any(EVENT in one.counts for one in found) or bool(ids)
    cited = run(cursor, _CITED.format(t=point.at("t"), found=texts), {**given, "ids": ids}) if is_cited else []
    others = _OTHERS.format(participants=_participants(point, "(SELECT unnest($deals) AS id)"))
    parties = run(cursor, _NAMES.format(p=point.at("p")), given) + run(cursor, others, given)
    return DealTexts(parties, run(cursor, _SITES.format(s=point.at("s")), given), cited)
