"""The terms of all texts that search looks at, in the columnar copy.

A text is found by its terms and identified by a digest. It is indexed once and never changed, however many deals have
it: the rows of the fact tables say at which points a deal has it. The index follows the copy by itself, because making
the terms of 100,000 deals takes many seconds, and lists and totals do not wait for it. Each step is a transaction, so a
new process continues where the last one ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection

from registry.domain.search_text import indexed
from registry.projections.columnar.selection import run
from registry.projections.columnar.tables import TEXTS

TEXT_TABLES = ("deal_facts", "party_facts", "site_facts", TEXTS)
"""The tables whose rows have a text and its digest (`tables.py`). The number of its table is a text's kind."""

SLUG = len(TEXT_TABLES)
"""The kind of the slugs of organizations that take part in a deal without being its parties."""

TEXTS_PER_STEP = 20_000
MAX_UNORDERED = 200_000
"""A question reads the rows that were added since the last ordering, so no more than this."""

CREATE_INDEX = """
CREATE TABLE search_texts (text UBIGINT NOT NULL, kind UTINYINT NOT NULL, slug VARCHAR);
CREATE TABLE search_terms (term VARCHAR NOT NULL, text UBIGINT NOT NULL, kind UTINYINT NOT NULL);
CREATE TABLE search_words (word VARCHAR NOT NULL);
CREATE TABLE search_state (position BIGINT NOT NULL, reset BIGINT NOT NULL, ordered BIGINT NOT NULL);
"""

_COPIED = "SELECT position, reset FROM copied"
_INDEXED = "SELECT position, reset, ordered FROM search_state"
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
_NEW_TEXTS = f"""
WITH written AS (
    SELECT text_id, kind, any_value(text) AS text FROM ({_WRITTEN}) WHERE changed_at > $since GROUP BY text_id, kind
)
SELECT text_id, kind, text
  FROM written ANTI JOIN search_texts AS s ON s.text = written.text_id AND s.kind = written.kind
 LIMIT $limit
"""

_INSERT_TERMS = """
INSERT INTO search_terms
SELECT unnest(terms), text, kind
  FROM (SELECT unnest(from_json($rows, '[{"text": "UBIGINT", "kind": "UTINYINT", "terms": ["VARCHAR"]}]'),
                      max_depth := 2))
"""
_INSERT_TEXTS = """
INSERT INTO search_texts SELECT unnest($texts::UBIGINT[]), unnest($kinds::UTINYINT[]), unnest($slugs::VARCHAR[])
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
        (position, reset), indexed = _state(cursor)
        if indexed is not None and indexed[:2] == (position, reset):
            return position, reset
        since = indexed[0] if indexed is not None and indexed[1] == reset else -1
        texts = run(cursor, _NEW_TEXTS, {"since": since, "limit": TEXTS_PER_STEP})
        if texts:
            _write(cursor, texts)
        is_complete = len(texts) < TEXTS_PER_STEP
        if is_complete:
            ordered = _ordered(cursor, indexed[2] if indexed is not None else 0)
            cursor.execute("DELETE FROM search_state")
            cursor.execute(_INSERT_STATE, [position, reset, ordered])
        cursor.execute("COMMIT")
        return (position, reset) if is_complete else None
    finally:
        cursor.close()


def _state(cursor: DuckDBPyConnection) -> tuple[Any, Any]:
    """What the copy holds, and what the index: None before its first end."""
    return cursor.execute(_COPIED).fetchone(), cursor.execute(_INDEXED).fetchone()


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


def _write(cursor: DuckDBPyConnection, texts: Sequence[tuple[int, int, str]]) -> None:
    rows = []
    known: set[str] = set()
    for id, kind, text in texts:
        terms, words = indexed(text)
        rows.append({"text": str(id), "kind": kind, "terms": list(terms)})
        known |= words
    cursor.execute(_INSERT_TERMS, {"rows": _encode(rows).decode()})
    ids, kinds, _ = zip(*texts, strict=True)
    slugs = [text if kind == SLUG else None for _, kind, text in texts]
    cursor.execute(_INSERT_TEXTS, {"texts": list(ids), "kinds": list(kinds), "slugs": slugs})
    if known:
        cursor.execute(_INSERT_WORDS, {"words": sorted(known)})
