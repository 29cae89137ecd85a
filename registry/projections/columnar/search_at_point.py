"""Which deals a search finds, at a point: those that have texts which match every token (`search_texts.py`).

A thing that has such a text at the point is a hit; for each token, its best matching text gives the score.

A question writes the texts of each token, and the hits of the tokens so far, to temporary tables of its cursor. DuckDB
then knows how many there are, and the token with the fewest texts comes first: if 100,000 deals match one word and few
match both, the search does not look at all 100,000.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TypeVar

import msgspec
from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.domain.search.texts import Search, Token, indexed, similar_words
from registry.domain.search.words import indexed_place
from registry.domain.sources.identity import source_id
from registry.infra.work_time import WaitingLock
from registry.projections.columnar.memory_tables import WrittenRow, asking_memory
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.search_index import TEXT_TABLES
from registry.projections.columnar.search_texts import (
    NAMES,
    SAMPLE,
    HitsOf,
    Texts,
    deal_hits,
    find_texts,
    materialize_merged,
    materialize_organizations,
    organization_hits,
    source_hits,
)
from registry.projections.columnar.selection import run
from registry.projections.point import Point

T = TypeVar("T")

_searching = WaitingLock()
"""One statement of a search at a time: its joins take much of the memory that DuckDB may use (`files.py`)."""

# --- what every token matches -----------------------------------------------------------------------------------------


def materialize_hits(
    cursor: DuckDBPyConnection,
    table: str,
    point: Point,
    found: Sequence[Texts],
    hits: HitsOf,
    among: str | None = None,
) -> bool:
    """Write what every token matches, with its score, to a temporary table. Returns whether there can be any.

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


def materialize_deals(cursor: DuckDBPyConnection, point: Point, search: Search) -> None:
    """Write the deals that match to a temporary table of the cursor; without a word, none does."""
    materialize_merged(cursor, search)
    texts = [materialize_organizations(cursor, point, one) for one in find_texts(cursor, search)]
    materialize_hits(cursor, point.found_deals, point, texts, deal_hits)


# The texts of the deals in memory: of those that changed lately, and of some others.
_MEMORY_TEXTS = " UNION ALL ".join(f"SELECT text_id FROM cache.memory.{table}" for table in TEXT_TABLES)

# Of some deals, those that are in lists: from the facts in memory.
_LISTED = "CREATE OR REPLACE TEMP TABLE listed AS SELECT d.deal AS id FROM cache.memory.deal_facts AS d WHERE {d}"

# Which organizations a token matches: a deal that one takes part in matches too.
_DIGEST = """
SELECT md5(coalesce(string_agg(concat_ws(' ', number, kind, organization, quality), ','
                               ORDER BY number, kind, organization), ''))
  FROM ({organizations})
"""


class SearchAtPoint:
    """A search at a point, in the transaction of a cursor.

    At the latest position of the log, what it finds is cached from one question to the next. After an event, it is
    repeated for the changed deals of which a row was written that a word matches; and for all deals, if the words match
    other organizations than before, because each deal that one of these takes part in may match then.
    """

    def __init__(self, cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, search: Search) -> None:
        self._cursor, self._cache, self._point, self.search = cursor, cache, point, search

    @cached_property
    def named(self) -> list[Texts]:
        """The texts that each token matches: all, if the point is in the past.

        At the latest position, they are the names and sources, and the texts of the deals that changed lately.
        """
        materialize_merged(self._cursor, self.search)
        among = "true"
        if self._is_cached:
            self._cache.memory.prepare(self._cursor)
            # Another transaction: this one does not see what was put into memory since it began.
            self._cursor.execute("COMMIT")
            self._cursor.execute("BEGIN")
            kinds = ", ".join(map(str, sorted(NAMES)))
            among = f"(kind IN ({kinds}) OR text IN ({_MEMORY_TEXTS}))"
        found = find_texts(self._cursor, self.search, among)
        return [materialize_organizations(self._cursor, self._point, texts) for texts in found]

    @property
    def _is_cached(self) -> bool:
        return self._point.is_present and bool(self.search.tokens)

    @contextmanager
    def deals(self) -> Iterator[int]:
        """The deals that match, in the table that the point names (`Point.found_deals`); yields their number."""
        cursor, point = self._cursor, self._point
        if not self._is_cached:
            materialize_hits(cursor, point.found_deals, point, self.named, deal_hits)
            ((count,),) = run(cursor, f"SELECT count(*) FROM {point.found_deals}", {})
            yield count
            return
        self._cache.memory.prepare(cursor)
        organizations = self.value_at("organizations", self._organizations, self._have_same_names)
        asked = ("deals", self.search, organizations)
        with self._cache.matches(cursor, point, asked, self._find, partial(self._changed, organizations)) as found:
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

    def value_at(self, what: Hashable, make: Callable[[], T], is_same: Callable[[T, Sequence[WrittenRow]], bool]) -> T:
        """A value that depends on the search, which is cached until rows are written that change it."""
        return self._cache.value_at((what, msgspec.msgpack.encode(self.search)), self._point, make, is_same)

    def _organizations(self) -> str:
        """A digest of the organizations that each token matches; empty if there is none."""
        tables = [("names", texts.number) for texts in self.named if texts.has_names]
        tables += [("records", texts.number) for texts in self.named if texts.has_records]
        if not tables:
            return ""
        listed = " UNION ALL ".join(f"SELECT {n} AS number, '{kind}' AS kind, * FROM {kind}_{n}" for kind, n in tables)
        ((digest,),) = run(self._cursor, _DIGEST.format(organizations=listed), {})
        return str(digest)

    def _have_same_names(self, _: str, written: Sequence[WrittenRow]) -> bool:
        """Whether the tokens match the same organizations as before these rows were written."""
        return not any(
            (row.table == "party_facts" or row.organizations or row.deal is None) and self.matches(row)
            for row in written
        )

    def matches(self, row: WrittenRow) -> bool:
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
        memory = self._cache.memory.prepare(self._cursor)
        written = memory.written_after(after)
        if written is None:
            return memory.changed_after(after)
        found = {
            row.deal
            for row in written
            if row.table == "deal_facts" or (row.organizations and organizations) or self.matches(row)
        }
        return [deal for deal in memory.changed if deal in found]

    def _find(self, deals: Sequence[str] | None) -> str:
        """The query of the deals that match, of all or of some that changed."""
        cursor, point, named = self._cursor, self._point, self.named
        if deals is None:
            by_name = {one.number: (one.has_records, one.has_names) for one in named}
            texts = [
                replace(one, has_records=by_name[one.number][0], has_names=by_name[one.number][1])
                for one in find_texts(cursor, self.search)
            ]
            materialize_hits(cursor, "found_again", point, texts, deal_hits)
        else:
            listed = _LISTED.format(d=point.at("d")) + " AND list_contains($deals, d.deal)"
            run(cursor, listed, {**point.parameters, "deals": list(deals)})
            with asking_memory(cursor):
                materialize_hits(cursor, "found_again", point, named, deal_hits, "listed")
        return "SELECT id AS deal, score FROM found_again"


_PLACES = "SELECT DISTINCT place FROM site_facts WHERE place IS NOT NULL"


def _places(cursor: DuckDBPyConnection, cache: QuestionCache, point: Point) -> list[str]:
    """The codes of all places that a site ever had, and of their countries."""
    memory = cache.memory.prepare(cursor)
    known, of_reset, places = cache.places
    written = memory.written_after(known) if of_reset == memory.reset else None
    if written is not None:
        found, known = {row.place for row in written if row.place is not None}, memory.position
    else:
        places, found = frozenset(), {place for (place,) in run(cursor, _PLACES, {})}
        known = min(memory.position, point.head)
    places = frozenset({*places, *found, *(place[:2] for place in found)})
    cache.places = (known, memory.reset, places)
    return sorted(places)


def _with_places(search: Search, codes: Sequence[str]) -> Search:
    """The search with the places whose names each token matches."""
    terms = {code: indexed_place(code)[0] for code in codes}
    places = (tuple(code for code in codes if any(map(token.matches, terms[code]))) for token in search.tokens)
    return replace(search, places=tuple(places))


def resolve(
    cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, tokens: tuple[Token, ...], merged: Mapping[str, str]
) -> SearchAtPoint:
    """What is searched for at a point: a token that nothing matches there also matches similar words.

    Args:
        cursor: The copy.
        cache: What is cached of earlier questions.
        point: The point.
        tokens: The tokens of the query.
        merged: The record that each merged organization redirects to.
    """
    codes = _places(cursor, cache, point)
    search = _with_places(Search(tokens, (), tuple(merged), tuple(merged.values())), codes)
    at_point = SearchAtPoint(cursor, cache, point, search)
    with at_point.deals() as count:
        if count:
            return at_point

    def meant() -> tuple[Token, ...]:
        materialize_merged(cursor, search)
        found = [materialize_organizations(cursor, point, texts) for texts in find_texts(cursor, search)]
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

    def is_same(_: tuple[Token, ...], written: Sequence[WrittenRow]) -> bool:
        """Whether no such row has a word of the search, or a similar one."""
        texts = {text for row in written for text in row.texts}
        words = {word for text in texts for word in indexed(text)[1]}
        return not any(row.table == "deal_facts" or at_point.matches(row) for row in written) and all(
            similar_words(token, words) == similar_words(token, ()) for token in tokens
        )

    resolved = at_point.value_at(("meant", len(codes)), meant, is_same)
    if resolved == tokens:
        return at_point
    return SearchAtPoint(cursor, cache, point, _with_places(replace(search, tokens=resolved), codes))


def _is_matched(cursor: DuckDBPyConnection, point: Point, texts: Texts) -> bool:
    """Whether anything has a text that a token matches at a point."""
    parameters = {**point.parameters, **texts.parameters}
    return any(
        run(cursor, f"SELECT 1 FROM ({select}) LIMIT 1", parameters)
        for looked in (replace(texts, most=SAMPLE), texts)
        for hits in (deal_hits, organization_hits, source_hits)
        for select in hits(point, looked, None)
    )
