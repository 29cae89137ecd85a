"""Deals, organizations and sources with a text that a token of a search matches, as queries of the columnar copy.

A token matches texts by their terms, places by their names, and a source by its address. A deal has the texts of its
title and identifiers, of its parties with all names of their records, of its sites and their places, and of the sources
that its events cite. Organizations that take part without being parties have their slugs, and all names that their
records and other deals give them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.search.texts import Search, Token
from registry.domain.sources.identity import source_id
from registry.projections.columnar.selection import run
from registry.projections.point import Point

EXACT, BEGINNING, SIMILAR = 3, 2, 1
"""How well a token matches a text."""

DEAL, PARTY, SITE, EVENT, SLUG = range(5)
"""The kinds of texts (`search_index.TEXT_TABLES`, `search_index.SLUG`)."""

NAMES = frozenset((PARTY, EVENT, SLUG))
"""The kinds of texts that are, or may be, names of organizations."""

SAMPLE = 1_000
"""So many texts of a kind are looked at first, to know whether anything has a word: 100,000 texts may have it."""


class Texts(Struct, frozen=True):
    """The texts that a token matches, in the temporary table `found_NUMBER`, and whose names they are.

    Attributes:
        number: The number of the token.
        counts: How many texts of each kind there are.
        places: The places that the token matches.
        source: The source whose address it is.
        has_records: Whether the temporary table `records_NUMBER` has the organizations with such a name of a record.
        has_names: Whether `names_NUMBER` has those with any such name, or slug.
        most: The most of each kind that are looked at.
    """

    number: int
    counts: dict[int, int]
    places: tuple[str, ...]
    source: str | None
    has_records: bool = False
    has_names: bool = False
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


def materialize_merged(cursor: DuckDBPyConnection, search: Search) -> None:
    """Write the merged organizations of a search to the temporary table `merged`."""
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE merged AS"
        " SELECT unnest($duplicates::VARCHAR[]) AS duplicate, unnest($survivors::VARCHAR[]) AS survivor",
        {"duplicates": list(search.duplicates), "survivors": list(search.survivors)},
    )


def find_texts(cursor: DuckDBPyConnection, search: Search, among: str = "true") -> list[Texts]:
    """Find the texts that each token matches; `among` is the condition of the postings that are looked at."""
    return [_texts_of(cursor, search, number, among) for number in range(len(search.tokens))]


def _texts_of(cursor: DuckDBPyConnection, search: Search, number: int, among: str) -> Texts:
    token = search.tokens[number]
    postings, given = _postings(token, among)
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE found_{number} AS {postings}", given)
    counts = dict(cursor.execute(f"SELECT kind, count(*) FROM found_{number} GROUP BY kind").fetchall())
    return Texts(number, counts, search.places[number], source_id(token.address) if token.address else None)


def materialize_organizations(cursor: DuckDBPyConnection, point: Point, texts: Texts) -> Texts:
    """Write the organizations that have one of the texts as a name, at a point, to temporary tables."""
    has_records, has_names = EVENT in texts.counts, not NAMES.isdisjoint(texts.counts)
    texts = replace(texts, has_records=has_records, has_names=has_names)
    if has_records:
        records = _record_names(point, texts)
        run(cursor, f"CREATE OR REPLACE TEMP TABLE records_{texts.number} AS {records}", point.parameters)
    if has_names:
        names = _matching_participants(point, texts)
        run(cursor, f"CREATE OR REPLACE TEMP TABLE names_{texts.number} AS {names}", point.parameters)
    return texts


def _postings(token: Token, among: str) -> tuple[str, dict[str, str]]:
    """The query of the texts that have a term of the token, and its parameters.

    In one scan, because each costs DuckDB some milliseconds before it begins. The first condition decides how well a
    term matches.
    """
    # A term that a token of a script without spaces equals also begins with it.
    equal = [] if token.unspaced else [(term, EXACT) for term in token.equal]
    equal += [(word, SIMILAR) for word in token.similar]
    starts = [(beginning, EXACT if token.unspaced else BEGINNING) for beginning in token.beginnings]
    starts += [(word, SIMILAR) for word in token.similar if token.unspaced]
    conditions, given = [], {}
    for number, (term, quality) in enumerate(equal):
        conditions.append((f"term = $term_{number}", quality))
        given[f"term_{number}"] = term
    for number, (start, quality) in enumerate(starts):
        conditions.append((f"term >= $from_{number} AND term < $to_{number}", quality))
        given |= {f"from_{number}": start, f"to_{number}": f"{start}\U0010ffff"}
    if not conditions:
        return "SELECT text, kind, 0 AS quality FROM search_terms LIMIT 0", {}
    cases = " ".join(f"WHEN {condition} THEN {quality}" for condition, quality in conditions)
    terms = " OR ".join(condition for condition, _ in conditions)
    return f"SELECT text, kind, CASE {cases} END AS quality FROM search_terms WHERE ({terms}) AND {among}", given


# --- what has the texts of a token ------------------------------------------------------------------------------------

HitsOf = Callable[[Point, Texts, str | None], list[str]]
"""The queries of what has a text that a token matches: `id`, and `score`; of the ids in a table, or of all."""


def _among(id: str, so_far: str | None) -> str:
    """The condition that an id is in a table."""
    return f"AND {id} IN (SELECT id FROM {so_far})" if so_far is not None else ""


def deal_hits(point: Point, texts: Texts, so_far: str | None) -> list[str]:
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
    if texts.has_records:
        found.append(
            f"SELECT p.deal AS id, 6 * n.quality AS score"
            f"  FROM party_facts AS p LEFT JOIN merged AS m ON m.duplicate = p.organization"
            f"       JOIN records_{texts.number} AS n ON n.organization = coalesce(m.survivor, p.organization)"
            f" WHERE {point.at('p')} AND p.left_on IS NULL {_among('p.deal', so_far)}"
        )
    if EVENT in texts.counts:
        found.append(
            f"SELECT t.deal AS id, 3 * f.quality AS score FROM event_texts AS t"
            f" JOIN {texts.of_kind(EVENT)} AS f ON f.text = t.text_id"
            f" WHERE {point.at('t')} AND t.source IS NOT NULL AND t.deal IS NOT NULL {_among('t.deal', so_far)}"
        )
    if texts.has_names:
        participants = participants_at(point, so_far, among=f"names_{texts.number}")
        found.append(
            f"SELECT o.deal AS id, 6 * n.quality AS score"
            f"  FROM ({participants}) AS o JOIN names_{texts.number} AS n USING (organization)"
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
    # Lists show only deals that have a row in `deal_facts`. The deals that their own texts find are known to have one.
    listed = f"SEMI JOIN deal_facts AS d ON d.deal = o.id AND {point.at('d')}"
    return [*own, f"SELECT o.id, o.score FROM ({' UNION ALL '.join(found)}) AS o {listed}"]


def place_hits(point: Point, texts: Texts, so_far: str | None) -> list[str]:
    """Places that deals have."""
    return _of_places(point, texts, "x.place", so_far)


def _of_places(point: Point, texts: Texts, id: str, so_far: str | None) -> list[str]:
    if not texts.places:
        return []
    return [
        f"SELECT {id} AS id, {score} AS score"
        f"  FROM site_facts AS s JOIN (SELECT unnest($codes::VARCHAR[]) AS place) AS x ON x.place = {place}"
        f" WHERE {point.at('s')} AND s.status <> 'dropped' {_among(id, so_far)}"
        for place, score in (("s.place", 21), ("CASE WHEN length(s.place) > 2 THEN left(s.place, 2) END", 20))
    ]


def organization_hits(point: Point, texts: Texts, so_far: str | None) -> list[str]:
    """Organizations by the names of their records, and by those that deals give them."""
    found = []
    if texts.has_records:
        found.append(
            f"SELECT organization AS id, 9 * quality AS score FROM records_{texts.number}"
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
            f"  FROM ({participants_at(point, None, withdrawn=True)}) AS o"
            f"       JOIN ({_slugs(texts)}) AS s USING (organization)"
            f"       LEFT JOIN merged AS m ON m.duplicate = o.organization"
            f" WHERE true {_among(organization, so_far)}"
        )
    return found


def source_hits(point: Point, texts: Texts, so_far: str | None) -> list[str]:
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


def _record_names(point: Point, texts: Texts) -> str:
    """Organizations with a name of a record that matches, and how well."""
    return (
        f"SELECT coalesce(m.survivor, t.organization) AS organization, max(f.quality) AS quality"
        f"  FROM event_texts AS t JOIN {texts.of_kind(EVENT)} AS f ON f.text = t.text_id"
        f"       LEFT JOIN merged AS m ON m.duplicate = t.organization"
        f" WHERE {point.at('t')} AND t.organization IS NOT NULL AND t.source IS NULL"
        f" GROUP BY ALL"
    )


def participants_at(point: Point, so_far: str | None, *, among: str | None = None, withdrawn: bool = False) -> str:
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


def _slugs(texts: Texts) -> str:
    """The slugs of participants that match, and how well."""
    return (
        f"SELECT s.slug AS organization, f.quality FROM {texts.of_kind(SLUG)} AS f"
        f" JOIN search_texts AS s ON s.text = f.text AND s.kind = {SLUG}"
    )


def _matching_participants(point: Point, texts: Texts) -> str:
    """Organizations by their slugs, and by the names that records and deals give them."""
    named = [f"SELECT organization, quality FROM records_{texts.number}"] if texts.has_records else []
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
    return f"SELECT organization, max(quality) AS quality FROM ({' UNION ALL '.join(found)}) GROUP BY organization"


_NAMING = """
SELECT min(p.deal)
  FROM party_facts AS p JOIN {texts} AS f ON f.text = p.text_id LEFT JOIN merged AS m ON m.duplicate = p.organization
 WHERE {p} AND coalesce(m.survivor, p.organization) IN (
       SELECT coalesce(m.survivor, o.organization)
         FROM ({participants}) AS o LEFT JOIN merged AS m ON m.duplicate = o.organization)
 GROUP BY coalesce(m.survivor, p.organization)
"""


def naming_deals(cursor: DuckDBPyConnection, point: Point, search: Search) -> set[str]:
    """For each organization with a matching name that takes part in the found deals, one deal that names it.

    The deals that the search finds are in their table (`Point.found_deals`).
    """
    materialize_merged(cursor, search)
    deals: set[str] = set()
    for texts in find_texts(cursor, search):
        if PARTY in texts.counts:
            participants = participants_at(point, point.found_deals)
            naming = _NAMING.format(texts=texts.of_kind(PARTY), p=point.at("p"), participants=participants)
            deals |= {deal for (deal,) in run(cursor, naming, point.parameters)}
    return deals
