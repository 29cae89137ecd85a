"""The tables of the columnar copy: the fact tables of Postgres, column by column, and an index of the deals' events.

The columns are read from the catalog of Postgres, so that a new column of a fact table needs no change here: a copy
with other columns has another fingerprint and is made again.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from registry.infra.postgres import Connection
from registry.projections.facts import FACT_TABLES
from registry.projections.point import END_OF_LOG

SELECT_COLUMNS = """
SELECT c.relname AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type
  FROM unnest($1::text[]) AS t (name)
       JOIN pg_class AS c ON c.oid = to_regclass(t.name)
       JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY c.relname, a.attnum
"""

# The types of DuckDB. A number has at most 18 digits before the point and 6 after it (`events/values.py`).
TYPES = {
    "date": "DATE",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "boolean": "BOOLEAN",
    "numeric": "DECIMAL(24, 6)",
    "text": "VARCHAR",
    "text[]": "VARCHAR[]",
    "uuid": "UUID",
    "timestamp with time zone": "TIMESTAMPTZ",
}

MAX_WHOLE = 10**15
"""Amounts without decimals below this bound are `whole` numbers."""

# Columns that questions search, sort and add up by, computed from the others when a row is copied.
TEXTS = "event_texts"
"""The table of sources and organizations in events (`projections/event_texts.py`)."""

_DEAL_TEXT = """concat_ws(chr(10), deal, array_to_string(title::JSON ->> '$.*', chr(10)),
    array_to_string(identifiers::JSON ->> '$[*]', chr(10)))"""
_SITE_TEXT = "concat_ws(chr(10), array_to_string(name::JSON ->> '$.*', chr(10)), locality, address)"
_EVENT_TEXT = "concat_ws(chr(10), publisher, title, regexp_extract(url, '^[a-z]+://(?:www[.])?([^/:?#]+)', 1), name)"
_PARTY_TEXT = "concat_ws(chr(10), organization, array_to_string(name::JSON ->> '$.*', chr(10)))"


def _text(of_columns: str) -> dict[str, tuple[str, str]]:
    """What search looks at (`search_index.py`), and its digest."""
    return {"text": ("VARCHAR", of_columns), "text_id": ("UBIGINT", f"md5_number_lower({of_columns})")}


_TITLE = "coalesce(title::JSON ->> '{}', title::JSON ->> '{}', (title::JSON ->> '$.*')[1])"
_MILLIONTHS = "(coalesce({}, '0')::DECIMAL(24, 6) * 1000000)::HUGEINT"
DERIVED: dict[str, dict[str, tuple[str, str]]] = {
    "deal_facts": {
        **_text(_DEAL_TEXT),
        "title_en": ("VARCHAR", _TITLE.format("en", "ko")),
        "title_ko": ("VARCHAR", _TITLE.format("ko", "en")),
    },
    "party_facts": _text(_PARTY_TEXT),
    "site_facts": _text(_SITE_TEXT),
    TEXTS: {
        "deal": ("VARCHAR", "CASE WHEN starts_with(stream, 'deal/') THEN substr(stream, 6) END"),
        "organization": ("VARCHAR", "CASE WHEN starts_with(stream, 'organization/') THEN substr(stream, 14) END"),
        # An organization that takes part in the deal.
        "participant": ("VARCHAR", "CASE WHEN starts_with(stream, 'deal/') THEN name END"),
        **_text(_EVENT_TEXT),
        # The columns of a fact: what a correction took away was known on no day of publication.
        "effective_to": ("DATE", "DATE '9999-12-31'"),
        "published_to": (
            "DATE",
            f"CASE WHEN recorded_to::BIGINT = {END_OF_LOG} THEN DATE '9999-12-31' ELSE published_from::DATE END",
        ),
    },
    # The bounds of an amount as integers: DuckDB converts decimals slowly, and questions convert all of them. Sums of
    # 64-bit numbers, and groups by a text, are several times faster than those of decimals and of lists.
    "pledge_facts": {
        "low_millionths": ("HUGEINT", _MILLIONTHS.format("low, value")),
        "high_millionths": ("HUGEINT", _MILLIONTHS.format("high, value, low")),
        "organization": (
            "VARCHAR",
            "CASE json_array_length(organizations::JSON) WHEN 1 THEN organizations::JSON ->> '$[0]' END",
        ),
        "whole": (
            "BIGINT",
            "CASE WHEN low IS NULL AND high IS NULL AND value::DECIMAL(24, 6) % 1 = 0"
            f" AND value::DECIMAL(24, 6) < {MAX_WHOLE} THEN value::DECIMAL(24, 6)::BIGINT END",
        ),
    },
}
"""By table and column: its type, and its value from the columns as Postgres sends them."""

NOT_COPIED = {TEXTS: ("stream", "publisher", "title", "url", "name")}
"""By table: the columns that only others are computed from."""

VERSION = 8
"""Part of the fingerprint: raise it when `TYPES`, `DERIVED` or the terms of a text (`search/texts.py`) change."""

EVENTS = "deal_events"

CREATE_EVENTS = """
CREATE TABLE deal_events (
    deal         VARCHAR     NOT NULL,
    position     BIGINT      NOT NULL,
    effective_on DATE,
    published_on DATE        NOT NULL,
    recorded_at  TIMESTAMPTZ NOT NULL,
    redates      BOOLEAN     NOT NULL
)
"""
"""`redates`: the event may give another event other dates than the log has for it (a correction).

A void takes an event away at both points that know it; a claim and a retraction have the place of the event that the
claim is about.
"""

# What the copy holds: of which log, up to which position (and the leaf hash there), and the last of `fact_resets`.
CREATE_STATE = """
CREATE TABLE copied (
    fingerprint VARCHAR NOT NULL,
    position    BIGINT  NOT NULL,
    leaf_hash   BLOB,
    reset       BIGINT  NOT NULL
)
"""


class CopiedTable(Struct, frozen=True):
    """A fact table in the copy.

    Attributes:
        name: The table.
        key: The columns that identify a row.
        columns: The columns and their types in Postgres.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]

    @property
    def copied(self) -> tuple[tuple[str, str], ...]:
        """The columns that the copy has."""
        left_out = NOT_COPIED.get(self.name, ())
        return tuple((name, type) for name, type in self.columns if name not in left_out)

    @property
    def create(self) -> str:
        """The DDL of the table in DuckDB."""
        columns = [f"{name} {TYPES[type]}" for name, type in self.copied]
        columns += [f"{name}_scale TINYINT" for name, type in self.copied if type == "numeric"]
        columns += [f"{name} {type}" for name, (type, _) in DERIVED.get(self.name, {}).items()]
        return f"CREATE TABLE {self.name} ({', '.join(columns)})"

    @property
    def select(self) -> str:
        """The columns as Postgres sends them: all of them text, arrays as JSON, numbers with their number of digits."""
        columns = [
            f"to_json(t.{name})::text AS {name}" if type == "text[]" else f"t.{name}::text"
            for name, type in self.columns
        ]
        columns += [f"scale(t.{name})::text AS {name}_scale" for name, type in self.columns if type == "numeric"]
        return ", ".join(columns)

    @property
    def sent(self) -> tuple[str, ...]:
        """The names of the columns that Postgres sends."""
        numbers = (f"{name}_scale" for name, type in self.columns if type == "numeric")
        return (*(name for name, _ in self.columns), *numbers)

    @property
    def typed(self) -> str:
        """The columns in DuckDB, from the text that Postgres sent."""
        columns = [
            f"{name}::{'JSON::VARCHAR[]' if type == 'text[]' else TYPES[type]} AS {name}" for name, type in self.copied
        ]
        columns += [f"{name}_scale::TINYINT AS {name}_scale" for name, type in self.copied if type == "numeric"]
        columns += [f"{derived} AS {name}" for name, (_, derived) in DERIVED.get(self.name, {}).items()]
        return ", ".join(columns)


async def copied_tables(connection: Connection) -> tuple[CopiedTable, ...]:
    """The tables as Postgres has them now."""
    columns: dict[str, list[tuple[str, str]]] = {}
    for row in await connection.fetch(SELECT_COLUMNS, [TEXTS, *(table.name for table in FACT_TABLES)]):
        columns.setdefault(row["table"], []).append((row["name"], row["type"]))
    keys = {
        table.name: ("deal", *(column.name for column in table.ids), "effective_from", "recorded_from", "ordinal")
        for table in FACT_TABLES
    }
    keys[TEXTS] = ("position", "recorded_from", "ordinal")
    return tuple(CopiedTable(name, key, tuple(columns[name])) for name, key in keys.items())


def fingerprint(tables: tuple[CopiedTable, ...]) -> str:
    """What two copies with the same tables have in common."""
    declared = repr((VERSION, CREATE_EVENTS, [(table.create, table.typed) for table in tables]))
    return hashlib.sha256(declared.encode()).hexdigest()
