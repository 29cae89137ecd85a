"""The terms of all texts that search looks at, in the columnar copy.

A text is found by its terms and identified by a digest. It is indexed once and never changed, however many deals have
it: the rows of the fact tables say at which points a deal has it. The index follows the copy by itself, because making
the terms of 100,000 deals takes many seconds, and lists and totals do not wait for it. Each step is a transaction, so a
new process continues where the last one ended.
"""

from __future__ import annotations

import msgspec
from duckdb import DuckDBPyConnection

from registry.domain.search.texts import indexed
from registry.projections.columnar.selection import run
from registry.projections.columnar.tables import TEXTS

TEXT_TABLES = ("deal_facts", "party_facts", "site_facts", TEXTS)
"""The tables whose rows have a text and its digest (`tables.py`). The number of its table is a text's kind."""

SLUG = len(TEXT_TABLES)
"""The kind of the slugs of organizations that take part in a deal without being its parties."""

TEXTS_PER_STEP = 20_000
TEXTS_PER_INSERT = 2_000
"""No other thread runs while Python encodes the terms of so many texts, and while DuckDB reads their JSON."""
MAX_UNORDERED = 200_000
"""A question reads the rows that were added since the last ordering, so no more than this."""

CREATE_INDEX = """
CREATE TABLE search_texts (text UBIGINT NOT NULL, kind UTINYINT NOT NULL, slug VARCHAR);
CREATE TABLE search_terms (term VARCHAR NOT NULL, text UBIGINT NOT NULL, kind UTINYINT NOT NULL);
CREATE TABLE search_words (word VARCHAR NOT NULL);
CREATE TABLE search_state (position BIGINT NOT NULL, reset BIGINT NOT NULL, ordered BIGINT NOT NULL);
"""

_STATES = """
SELECT c.position, c.reset, s.position, s.reset, s.ordered FROM copied AS c LEFT JOIN search_state AS s ON true
"""
_INSERT_STATE = "INSERT INTO search_state VALUES ($1, $2, $3)"

# Rows of deals that a rebuild replaced have old positions, so after one all texts are looked at.
_WRITTEN = " UNION ALL ".join(
    [
        *(f"SELECT text_id, {kind} AS kind, text, changed_at FROM {table}" for kind, table in enumerate(TEXT_TABLES)),
        f"SELECT md5_number_lower(slug), {SLUG}, slug, changed_at FROM ("
        "SELECT unnest(organizations) AS slug, changed_at FROM pledge_facts"
        f" UNION ALL SELECT participant, changed_at FROM {TEXTS} WHERE participant IS NOT NULL)",
    ]
)
_TEXTS = f"""
SELECT text_id, kind, any_value(text) AS text FROM ({_WRITTEN}) WHERE changed_at > $since GROUP BY text_id, kind
"""
_NEW_TEXTS = f"""
WITH written AS ({_TEXTS})
SELECT text_id, kind, text
  FROM written ANTI JOIN search_texts AS s ON s.text = written.text_id AND s.kind = written.kind
 LIMIT $limit
"""
_KNOWN_TEXTS = "SELECT text, kind FROM search_texts WHERE list_contains($texts, text)"

FEW_TEXTS = 100
"""Of at most this number of written texts, the known ones are looked up: in 200,000, this takes 4 ms of processor time,
and a join 10."""

_INSERT_TERMS = """
INSERT INTO search_terms
SELECT unnest(terms), text, kind
  FROM (SELECT unnest(from_json($rows, '[{"text": "UBIGINT", "kind": "UTINYINT", "terms": ["VARCHAR"]}]'),
                      max_depth := 2))
"""
_INSERT_TEXTS = """
INSERT INTO search_texts
SELECT text, kind, slug
  FROM (SELECT unnest(from_json($rows, '[{"text": "UBIGINT", "kind": "UTINYINT", "slug": "VARCHAR"}]'), max_depth := 2))
"""
_INSERT_WORDS = """
INSERT INTO search_words
SELECT word FROM (SELECT DISTINCT unnest($words::VARCHAR[]) AS word) ANTI JOIN search_words USING (word)
"""

_encode = msgspec.json.Encoder().encode


def index_some(connection: DuckDBPyConnection) -> tuple[int, int] | None:
    """Add the terms of some texts that the copy has and the index lacks, in one transaction.

    Returns:
        The position and the reset of the copy of which it has all texts; None if it lacks more.
    """
    cursor = connection.cursor()
    try:
        cursor.execute("BEGIN")
        ((position, reset, indexed, indexed_reset, ordered),) = run(cursor, _STATES, {})
        if (indexed, indexed_reset) == (position, reset):
            return position, reset
        since = indexed if indexed is not None and indexed_reset == reset else -1
        texts = _new_texts(cursor, since)
        is_complete = len(texts) < TEXTS_PER_STEP
        _write(cursor, texts)
        if is_complete:
            ordered = _ordered(cursor, ordered or 0)
            cursor.execute("DELETE FROM search_state")
            cursor.execute(_INSERT_STATE, [position, reset, ordered])
        cursor.execute("COMMIT")
        return (position, reset) if is_complete else None
    finally:
        cursor.close()


def _new_texts(cursor: DuckDBPyConnection, since: int) -> list[tuple[int, int, str]]:
    """Some texts, with their ids and kinds, that were written after a position and that the index lacks."""
    if since >= 0:
        written = run(cursor, f"{_TEXTS} LIMIT {FEW_TEXTS + 1}", {"since": since})
        if not written:
            return []
        if len(written) <= FEW_TEXTS:
            known = set(run(cursor, _KNOWN_TEXTS, {"texts": [id for id, _, _ in written]}))
            return [(id, kind, text) for id, kind, text in written if (id, kind) not in known]
    return run(cursor, _NEW_TEXTS, {"since": since, "limit": TEXTS_PER_STEP})


def _ordered(cursor: DuckDBPyConnection, ordered: int) -> int:
    """Put postings in the order of their terms, if many are not: a question reads the few blocks that have its terms.

    Returns:
        How many were put in order.
    """
    ((count,),) = run(cursor, "SELECT count(*) FROM search_terms", {})
    if count - ordered <= MAX_UNORDERED:
        return ordered
    cursor.execute("CREATE OR REPLACE TABLE search_terms AS SELECT * FROM search_terms ORDER BY term")
    return int(count)


def _write(cursor: DuckDBPyConnection, texts: list[tuple[int, int, str]]) -> None:
    """Add the terms of texts, part by part, and empty their list."""
    known: set[str] = set()
    while texts:
        rows = []
        for id, kind, text in texts[-TEXTS_PER_INSERT:]:
            terms, words = indexed(text)
            slug = text if kind == SLUG else None
            rows.append({"text": str(id), "kind": kind, "slug": slug, "terms": list(terms)})
            known |= words
        del texts[-TEXTS_PER_INSERT:]
        given = {"rows": _encode(rows).decode()}
        cursor.execute(_INSERT_TERMS, given)
        cursor.execute(_INSERT_TEXTS, given)
    if known:
        cursor.execute(_INSERT_WORDS, {"words": sorted(known)})
