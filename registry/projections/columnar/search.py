"""Search in the columnar copy: what has texts that match every token of a query (`search_texts.py`).

A thing that has such a text at the point is a hit; for each token, its best matching text gives the score.

A question keeps the texts of each token, and the hits of the tokens so far, in temporary tables of its cursor. DuckDB
then knows how many there are, and the token with the fewest texts comes first: 100,000 deals that match one word are
not looked at for two words that few have together. The search of lists and the search for everything stand in one file,
because they find hits in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, TypeVar

import msgspec
from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.search_text import Search, Token, indexed, similar_words
from registry.domain.sources import source_id
from registry.domain.word_search import indexed_place
from registry.infra.own_work import WaitingLock
from registry.projections.columnar.held import Written, asking_held
from registry.projections.columnar.kept import Kept
from registry.projections.columnar.search_index import TEXT_TABLES
from registry.projections.columnar.search_texts import (
    EVENT,
    NAMES,
    SAMPLE,
    HitsOf,
    Texts,
    deal_hits,
    find_texts,
    keep_merged,
    keep_organizations,
    organization_hits,
    participants_at,
    place_hits,
    source_hits,
)
from registry.projections.columnar.selection import Point, run
from registry.projections.columnar.tables import TEXTS

T = TypeVar("T")

_searching = WaitingLock()
"""One statement of a search at a time: its joins take much of the memory that DuckDB may use (`files.py`)."""

# --- what every token matches -----------------------------------------------------------------------------------------


def _keep_hits(
    cursor: DuckDBPyConnection,
    table: str,
    point: Point,
    found: Sequence[Texts],
    hits: HitsOf,
    among: str | None = None,
) -> bool:
    """Keep what every token matches, with its score, in a temporary table; whether there can be any.

    Args:
        cursor: The copy.
        table: The temporary table.
        point: The point.
        found: The texts of each token.
        hits: What is looked for.
        among: A table of the ids that are looked at; None: all.
    """
    if not found or not all(hits(point, texts, among) for texts in found):
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE {table} (id VARCHAR, score BIGINT)")
        return False
    for number, texts in enumerate(sorted(found, key=lambda one: one.size)):
        if number:
            # The ids so far are few, because the token with the fewest texts comes first. They are looked for in the
            # fact tables before these are joined to the texts: 100,000 deals may have one of these.
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE {table}_before AS SELECT * FROM {table}")
        selects = hits(point, texts, f"{table}_before" if number else among)
        rows = f"SELECT id, max(score) AS score FROM ({' UNION ALL '.join(selects)}) GROUP BY id"
        if number:
            rows = f"SELECT b.id, b.score + h.score AS score FROM {table}_before AS b JOIN ({rows}) AS h ON h.id = b.id"
        with _searching:
            run(
                cursor,
                f"CREATE OR REPLACE TEMP TABLE {table} AS {rows}",
                {**point.parameters, **texts.parameters},
            )
    return True


def keep_deals(cursor: DuckDBPyConnection, point: Point, search: Search) -> None:
    """Keep the deals that match in a temporary table of the cursor; without a word, none does."""
    keep_merged(cursor, search)
    texts = [keep_organizations(cursor, point, one) for one in find_texts(cursor, search)]
    _keep_hits(cursor, point.found_deals, point, texts, deal_hits)


# The texts of the deals in memory: of those that changed lately, and of some others.
_HELD_TEXTS = " UNION ALL ".join(f"SELECT text_id FROM kept.held.{table}" for table in TEXT_TABLES)

# Of some deals, those that are in lists: from the facts in memory.
_LISTED = "CREATE OR REPLACE TEMP TABLE listed AS SELECT d.deal AS id FROM kept.held.deal_facts AS d WHERE {d}"

# Which organizations a token matches: a deal that one takes part in matches too.
_DIGEST = """
SELECT md5(coalesce(string_agg(concat_ws(' ', number, kind, organization, quality), ','
                               ORDER BY number, kind, organization), ''))
  FROM ({organizations})
"""


class SearchAtPoint:
    """A search at a point, in the transaction of a cursor.

    At the latest position of the log, what it finds is kept from one question to the next. After an event, those of the
    changed deals are examined again of which a row was written that a word matches; and all deals, if the words match
    other organizations than before, because each deal that one of these takes part in may match then.
    """

    def __init__(self, cursor: DuckDBPyConnection, kept: Kept, point: Point, search: Search) -> None:
        self._cursor, self._kept, self._point, self.search = cursor, kept, point, search

    @cached_property
    def named(self) -> list[Texts]:
        """The texts that each token matches: all, if the point is in the past.

        At the latest position, they are the names and sources, and the texts of the deals that changed lately.
        """
        keep_merged(self._cursor, self.search)
        among = "true"
        if self._is_kept:
            self._kept.held.prepare(self._cursor)
            # Another transaction: this one does not see what was put into memory since it began.
            self._cursor.execute("COMMIT")
            self._cursor.execute("BEGIN")
            kinds = ", ".join(map(str, sorted(NAMES)))
            among = f"(kind IN ({kinds}) OR text IN ({_HELD_TEXTS}))"
        found = find_texts(self._cursor, self.search, among)
        return [keep_organizations(self._cursor, self._point, texts) for texts in found]

    @property
    def _is_kept(self) -> bool:
        return self._point.is_present and bool(self.search.tokens)

    @contextmanager
    def deals(self) -> Iterator[int]:
        """The deals that match, in the table that the point names (`Point.found_deals`); yields their number."""
        cursor, point = self._cursor, self._point
        if not self._is_kept:
            _keep_hits(cursor, point.found_deals, point, self.named, deal_hits)
            ((count,),) = run(cursor, f"SELECT count(*) FROM {point.found_deals}", {})
            yield count
            return
        self._kept.held.prepare(cursor)
        organizations = self.lasting("organizations", self._organizations, self._have_same_names)
        asked = ("deals", self.search, organizations)
        with self._kept.matches(cursor, point, asked, self._find, partial(self._changed, organizations)) as found:
            table, count = found
            run(
                cursor,
                f"CREATE OR REPLACE TEMP VIEW {point.found_deals} AS SELECT deal AS id, score FROM {table}",
                {},
            )
            # Another transaction, which has not read the tables in memory: the question may add some, such as rates.
            cursor.execute("COMMIT")
            cursor.execute("BEGIN")
            yield count

    def lasting(self, what: Hashable, make: Callable[[], T], is_same: Callable[[T, Sequence[Written]], bool]) -> T:
        """A value that depends on the search, which is kept until rows are written that change it."""
        return self._kept.lasting((what, msgspec.msgpack.encode(self.search)), self._point, make, is_same)

    def _organizations(self) -> str:
        """A digest of the organizations that each token matches; empty if there is none."""
        tables = [("names", texts.number) for texts in self.named if texts.has_names]
        tables += [("records", texts.number) for texts in self.named if texts.has_records]
        if not tables:
            return ""
        listed = " UNION ALL ".join(f"SELECT {n} AS number, '{kind}' AS kind, * FROM {kind}_{n}" for kind, n in tables)
        ((digest,),) = run(self._cursor, _DIGEST.format(organizations=listed), {})
        return str(digest)

    def _have_same_names(self, _: str, written: Sequence[Written]) -> bool:
        """Whether the tokens match the same organizations as before these rows were written."""
        return not any(
            (row.table == "party_facts" or row.organizations or row.deal is None) and self.matches(row)
            for row in written
        )

    def matches(self, row: Written) -> bool:
        """Whether a token matches a text, an organization's slug, the place or the source of a row."""
        terms = [term for text in row.texts for term in indexed(text)[0]]
        places = {row.place, row.place[:2]} if row.place is not None else set()
        return any(
            any(map(token.matches, terms))
            or not places.isdisjoint(codes)
            or (token.address is not None and row.source == source_id(token.address))
            for token, codes in zip(self.search.tokens, self.search.places, strict=True)
        )

    def _changed(self, organizations: str, after: int) -> list[str]:
        """The deals that may match otherwise than at an earlier position."""
        held = self._kept.held.prepare(self._cursor)
        written = held.written_after(after)
        if written is None:
            return held.changed_after(after)
        found = {
            row.deal
            for row in written
            if row.table == "deal_facts" or (row.organizations and organizations) or self.matches(row)
        }
        return [deal for deal in held.changed if deal in found]

    def _find(self, deals: Sequence[str] | None) -> str:
        """The query of the deals that match, of all or of some that changed."""
        cursor, point, named = self._cursor, self._point, self.named
        if deals is None:
            by_name = {one.number: (one.has_records, one.has_names) for one in named}
            texts = [
                replace(one, has_records=by_name[one.number][0], has_names=by_name[one.number][1])
                for one in find_texts(cursor, self.search)
            ]
            _keep_hits(cursor, "found_again", point, texts, deal_hits)
        else:
            listed = _LISTED.format(d=point.at("d")) + " AND list_contains($deals, d.deal)"
            run(cursor, listed, {**point.parameters, "deals": list(deals)})
            with asking_held(cursor):
                _keep_hits(cursor, "found_again", point, named, deal_hits, "listed")
        return "SELECT id AS deal, score FROM found_again"


_PLACES = "SELECT DISTINCT place FROM site_facts WHERE place IS NOT NULL"


def _places(cursor: DuckDBPyConnection, kept: Kept, point: Point) -> list[str]:
    """The codes of all places that a site ever had, and of their countries."""
    held = kept.held.prepare(cursor)
    known, of_reset, places = kept.places
    written = held.written_after(known) if of_reset == held.reset else None
    if written is not None:
        found, known = {row.place for row in written if row.place is not None}, held.position
    else:
        places, found = frozenset(), {place for (place,) in run(cursor, _PLACES, {})}
        known = min(held.position, point.head)
    places = frozenset({*places, *found, *(place[:2] for place in found)})
    kept.places = (known, held.reset, places)
    return sorted(places)


def _with_places(search: Search, codes: Sequence[str]) -> Search:
    """The search with the places whose names each token matches."""
    terms = {code: indexed_place(code)[0] for code in codes}
    places = (tuple(code for code in codes if any(map(token.matches, terms[code]))) for token in search.tokens)
    return replace(search, places=tuple(places))


def resolve(
    cursor: DuckDBPyConnection, kept: Kept, point: Point, tokens: tuple[Token, ...], merged: Mapping[str, str]
) -> SearchAtPoint:
    """What is searched for at a point: a token that nothing matches there also matches similar words.

    Args:
        cursor: The copy.
        kept: What is kept of earlier questions.
        point: The point.
        tokens: The tokens of the query.
        merged: The record that each merged organization redirects to.
    """
    codes = _places(cursor, kept, point)
    search = _with_places(Search(tokens, (), tuple(merged), tuple(merged.values())), codes)
    at_point = SearchAtPoint(cursor, kept, point, search)
    with at_point.deals() as count:
        if count:
            return at_point

    def meant() -> tuple[Token, ...]:
        keep_merged(cursor, search)
        found = [keep_organizations(cursor, point, texts) for texts in find_texts(cursor, search)]
        unmatched = {texts.number for texts in found if not _is_matched(cursor, point, texts)}
        if not unmatched:
            return tokens
        words = [word for (word,) in run(cursor, "SELECT word FROM search_words", {})]
        words += sorted({word for code in codes for word in indexed_place(code)[1]})
        return tuple(
            replace(token, similar=similar_words(token, words))
            if number in unmatched and token.address is None
            else token
            for number, token in enumerate(tokens)
        )

    def is_same(_: tuple[Token, ...], written: Sequence[Written]) -> bool:
        """Whether no such row has a word of the search, or a similar one."""
        texts = {text for row in written for text in row.texts}
        words = {word for text in texts for word in indexed(text)[1]}
        return not any(row.table == "deal_facts" or at_point.matches(row) for row in written) and all(
            similar_words(token, words) == similar_words(token, ()) for token in tokens
        )

    resolved = at_point.lasting(("meant", len(codes)), meant, is_same)
    if resolved == tokens:
        return at_point
    return SearchAtPoint(cursor, kept, point, _with_places(replace(search, tokens=resolved), codes))


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
    depends_on: Callable[[Written], bool]


_OF_KIND = {
    "organization": _Kind(
        organization_hits,
        _ORGANIZATIONS,
        lambda row: row.table in ("party_facts", "deal_facts") or bool(row.organizations) or row.deal is None,
    ),
    "place": _Kind(place_hits, _PLACE_COUNTS, lambda row: row.table == "site_facts"),
    "source": _Kind(source_hits, _SOURCES, lambda row: row.source is not None),
}


class Found(Struct, frozen=True):
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
    kept: Kept,
    point: Point,
    tokens: tuple[Token, ...],
    merged: Mapping[str, str],
    kinds: Sequence[str],
    limit: int,
) -> Found:
    """What matches every token of a query, by kind, the best first; otherwise as `resolve`."""
    at_point = resolve(cursor, kept, point, tokens, merged)
    at = {f"at_{table}": point.at(table) for table in "dpst"}
    at["participants"] = participants_at(point, None, withdrawn=True)
    given = {**point.parameters, "limit": limit}

    def hits(kind: str) -> Hits:
        if not tokens or not _keep_hits(cursor, "hits", point, at_point.named, _OF_KIND[kind].hits):
            return Hits([], 0)
        return _hits(run(cursor, _OF_KIND[kind].best.format(**at), given))

    found: dict[str, Hits] = {}
    for kind in kinds:
        if kind == "deal":
            with at_point.deals():
                found[kind] = _hits(run(cursor, _DEALS.format(found=point.found_deals), given))
        else:
            is_same = partial(_are_same_hits, at_point, _OF_KIND[kind])
            found[kind] = at_point.lasting((kind, limit), partial(hits, kind), is_same)
    deals, sources = ([id for id, _, _ in found[kind].ids] if kind in found else [] for kind in ("deal", "source"))
    return Found(
        at_point.search,
        found,
        at_point.lasting(
            ("cited", *deals),
            lambda: _cited(cursor, point, at_point.named, deals) if deals else [],
            lambda _, written: not any(row.table == TEXTS and row.deal in deals for row in written),
        ),
        at_point.lasting(
            ("citations", *sources),
            lambda: _citations(cursor, point, sources) if sources else [],
            lambda _, written: not any(row.source is not None and row.source in sources for row in written),
        ),
    )


def _hits(rows: Sequence[tuple[Any, ...]]) -> Hits:
    return Hits([(id, score, deals) for id, score, deals, _ in rows], rows[0][3] if rows else 0)


def _are_same_hits(at_point: SearchAtPoint, kind: _Kind, hits: Hits, written: Sequence[Written]) -> bool:
    """Whether hits and their numbers of deals are the same after these rows were written."""
    looked = [row for row in written if kind.depends_on(row)]
    if hits.count == 0:
        return not any(row.table == "deal_facts" or at_point.matches(row) for row in looked)
    return not looked


def organizations(
    cursor: DuckDBPyConnection,
    kept: Kept,
    point: Point,
    tokens: tuple[Token, ...],
    merged: Mapping[str, str],
    after: str,
    limit: int,
) -> list[str]:
    """The organizations that match every token, in the order of their slugs; otherwise as `resolve`."""
    at_point = resolve(cursor, kept, point, tokens, merged)
    if not _keep_hits(cursor, "hits", point, at_point.named, organization_hits):
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
