"""The terms of all texts that search looks at, in the columnar copy.

A text is found by its terms and identified by a digest, so it is indexed once, wherever and whenever it stands, and
never changed: the rows of the fact tables say at which points a deal has it. The index follows the copy by itself,
because making the terms of 100,000 deals takes several seconds, and lists and totals do not wait for it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from duckdb import DuckDBPyConnection

from registry.domain.search_text import terms, vocabulary
from registry.projections.columnar.tables import TEXTS

TEXT_TABLES = ("deal_facts", "party_facts", "site_facts", TEXTS)
"""The tables whose rows have a text and its digest (`tables.py`). The number of its table is a text's kind."""

TEXTS_PER_WRITE = 2_000

CREATE_INDEX = """
CREATE TABLE search_texts (text UBIGINT NOT NULL, kind UTINYINT NOT NULL);
CREATE TABLE search_terms (term VARCHAR NOT NULL, text UBIGINT NOT NULL, kind UTINYINT NOT NULL);
CREATE TABLE search_words (word VARCHAR NOT NULL);
CREATE TABLE search_state (position BIGINT NOT NULL, reset BIGINT NOT NULL);
"""

_COPIED = "SELECT position, reset FROM copied"
_INDEXED = "SELECT position, reset FROM search_state"

# Rows of deals that a rebuild replaced have old positions, so after one all texts are looked at.
_WRITTEN = " UNION ALL ".join(
    f"SELECT text_id, {kind} AS kind, text, changed_at FROM {table}" for kind, table in enumerate(TEXT_TABLES)
)
_NEW_TEXTS = f"""
WITH written AS (
    SELECT text_id, kind, any_value(text) AS text FROM ({_WRITTEN}) WHERE changed_at > $since GROUP BY text_id, kind
)
SELECT text_id, kind, text
  FROM written ANTI JOIN search_texts AS s ON s.text = written.text_id AND s.kind = written.kind
"""

_INSERT_TERMS = """
INSERT INTO {table}
SELECT unnest(terms), text, kind
  FROM (SELECT unnest(from_json($rows, '[{{"text": "UBIGINT", "kind": "UTINYINT", "terms": ["VARCHAR"]}}]'),
                      max_depth := 2))
"""
_INSERT_TEXTS = "INSERT INTO search_texts SELECT unnest($texts::UBIGINT[]), unnest($kinds::UTINYINT[])"
_INSERT_WORDS = """
INSERT INTO search_words
SELECT word FROM (SELECT DISTINCT unnest($words::VARCHAR[]) AS word) ANTI JOIN search_words USING (word)
"""

_encode = msgspec.json.Encoder().encode


def is_current(cursor: DuckDBPyConnection) -> bool:
    """Whether the index has the terms of every text of the copy, in the transaction of the cursor."""
    return cursor.execute(_COPIED).fetchone() == cursor.execute(_INDEXED).fetchone()


def update_index(connection: DuckDBPyConnection) -> None:
    """Add the terms of the texts that the copy has and the index lacks, in one transaction."""
    reader, writer = connection.cursor(), connection.cursor()
    try:
        reader.execute("BEGIN")
        copied, indexed = reader.execute(_COPIED).fetchone(), reader.execute(_INDEXED).fetchone()
        if copied is None or copied == indexed:
            return
        is_first = indexed is None
        since = indexed[0] if indexed is not None and indexed[1] == copied[1] else -1
        writer.execute("BEGIN")
        # Postings in the order of their terms: a question reads the few blocks that have its terms.
        table = "search_unordered" if is_first else "search_terms"
        if is_first:
            writer.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM search_terms LIMIT 0")
        reader.execute(_NEW_TEXTS, {"since": since})
        while rows := reader.fetchmany(TEXTS_PER_WRITE):
            _write(writer, table, rows)
        if is_first:
            writer.execute(f"INSERT INTO search_terms SELECT * FROM {table} ORDER BY term")
            writer.execute(f"DROP TABLE {table}")
        writer.execute("DELETE FROM search_state")
        writer.execute("INSERT INTO search_state VALUES ($1, $2)", list(copied))
        writer.execute("COMMIT")
    finally:
        reader.close()
        writer.close()


def _write(writer: DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    found = [{"text": str(id), "kind": kind, "terms": sorted(terms(text))} for id, kind, text in rows]
    writer.execute(_INSERT_TERMS.format(table=table), {"rows": _encode(found).decode()})
    writer.execute(_INSERT_TEXTS, {"texts": [id for id, _, _ in rows], "kinds": [kind for _, kind, _ in rows]})
    known = set().union(*(vocabulary(text) for _, _, text in rows))
    if known:
        writer.execute(_INSERT_WORDS, {"words": sorted(known)})
