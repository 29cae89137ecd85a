"""The rows of exported tables: deals and pledges, each cell as text.

DuckDB makes whole lines of CSV, because Python takes five times as long for the cells of 100,000 deals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from duckdb import DuckDBPyConnection

from registry.projections.columnar.selection import Point, Selection, run

PortfolioTable = Literal["deals", "pledges"]

DEALS_PER_QUERY = 50_000
"""A query holds the rows of so many deals in memory, because it sorts them."""

ROWS_PER_READ = 2_000

_NUMBER = "left({0}::VARCHAR, length({0}::VARCHAR) - 7 + {0}_scale + ({0}_scale > 0)::INT)"
_VALUE, _LOW, _HIGH = (_NUMBER.format(f"p.{column}") for column in ("value", "low", "high"))

# A pledge's amount in one cell, with everything that keeps it from being added to others.
_AMOUNT = f"""
p.pledge || ': ' || concat_ws(' ', p.qualifier, p.currency,
    coalesce({_VALUE}, nullif(concat_ws(' to ', {_LOW}, {_HIGH}), '')), p.amount_basis, p.commitment,
    CASE p.status WHEN 'withdrawn' THEN p.status END)
"""
_STATED_AS = """
nullif(array_to_string(list_transform(from_json(p.stated_as, '["JSON"]'),
    lambda one: (one ->> 'currency') || ' ' || (one ->> 'value')), '; '), '')
"""

# The elements of a list, each where it is first.
_FIRST = "array_to_string(list_filter({0}, lambda one, place: list_position({0}, one) = place), '; ')"

DEALS: Mapping[str, str] = {
    "deal": "d.deal",
    "title_en": "d.title::JSON ->> 'en'",
    "title_ko": "d.title::JSON ->> 'ko'",
    "kind": "d.kind",
    "stage": "s.stage",
    "stage_basis": "s.basis",
    "stage_since": "s.since::VARCHAR",
    "stage_observed_on": "s.observed_on::VARCHAR",
    "sectors": "nullif(array_to_string(d.sectors, '; '), '')",
    "classifications": "nullif(array_to_string(d.classifications, '; '), '')",
    "identifiers": "nullif(array_to_string(d.identifiers, '; '), '')",
    "organizations": _FIRST.format("o.organizations"),
    "places": _FIRST.format("l.places"),
    "amounts": "array_to_string(a.amounts, '; ')",
    "relations": "r.relations",
}
"""The columns of deals, in SQL."""

PLEDGES: Mapping[str, str] = {
    "deal": "d.deal",
    "title_en": "d.title::JSON ->> 'en'",
    "title_ko": "d.title::JSON ->> 'ko'",
    "stage": "s.stage",
    "pledge": "p.pledge",
    "status": "p.status",
    "commitment": "p.commitment",
    "amount_basis": "p.amount_basis",
    "qualifier": "CASE WHEN p.currency IS NOT NULL THEN p.qualifier END",
    "value": _VALUE,
    "low": _LOW,
    "high": _HIGH,
    "currency": "p.currency",
    "wording": "p.wording",
    "figure": "p.figure",
    "price_year": "p.price_year",
    "stated_as": _STATED_AS,
    "by": "nullif(array_to_string(p.organizations, '; '), '')",
    "announced_on": "p.announced_on::VARCHAR",
    "until": "p.until",
}
"""The columns of pledges, in SQL."""

_FROM_DEALS = """
  FROM chosen AS d
       LEFT JOIN stage_facts AS s ON s.deal = d.deal AND {s}
       LEFT JOIN (SELECT p.deal, list(p.organization ORDER BY p.joined_on, p.organization) AS organizations
                    FROM party_facts AS p
                   WHERE {p} AND {among} AND p.left_on IS NULL
                   GROUP BY p.deal) AS o ON o.deal = d.deal
       LEFT JOIN (SELECT p.deal, list(p.place ORDER BY p.announced_on, p.site) AS places
                    FROM site_facts AS p
                   WHERE {p} AND {among} AND p.status <> 'dropped' AND p.place IS NOT NULL
                   GROUP BY p.deal) AS l ON l.deal = d.deal
       LEFT JOIN (SELECT p.deal, list({amount} ORDER BY p.announced_on, p.pledge) AS amounts
                    FROM pledge_facts AS p
                   WHERE {p} AND {among} AND p.currency IS NOT NULL
                   GROUP BY p.deal) AS a ON a.deal = d.deal
       LEFT JOIN (SELECT p.deal, string_agg(p.relation || ' ' || p.other_deal, '; '
                                            ORDER BY p.since, p.relation, p.other_deal, p.pledge, p.other_pledge)
                                            AS relations
                    FROM relation_facts AS p
                   WHERE {p} AND {among}
                   GROUP BY p.deal) AS r ON r.deal = d.deal
"""

_FROM_PLEDGES = """
  FROM chosen AS d
       JOIN pledge_facts AS p ON p.deal = d.deal AND {p}
       LEFT JOIN stage_facts AS s ON s.deal = d.deal AND {s}
"""

# The last of each so many deals.
_LIMITS = f"""
SELECT max(deal)
  FROM (SELECT d.deal, row_number() OVER (ORDER BY d.deal) - 1 AS number FROM deal_facts AS d WHERE {{conditions}})
 GROUP BY number // {DEALS_PER_QUERY}
 ORDER BY 1
"""

# Columns, source and order.
_TABLES: dict[PortfolioTable, tuple[Mapping[str, str], str, str]] = {
    "deals": (DEALS, _FROM_DEALS, "deal"),
    "pledges": (PLEDGES, _FROM_PLEDGES, "deal, announced_on, pledge"),
}

# What has only letters, digits, points and hyphens, and begins with a letter or a digit, is never escaped.
_PLAIN = {
    *("deal", "kind", "stage", "stage_basis", "stage_since", "stage_observed_on", "pledge", "status", "commitment"),
    *("amount_basis", "qualifier", "value", "low", "high", "currency", "figure", "price_year", "announced_on"),
}

# A cell of CSV as Python's csv module and `exports/csv.py` write it: an apostrophe before what a spreadsheet would run
# as a formula, and quotes where the text has a quote, a comma or the end of a line.
# The numbers are those of the characters = + - @, tab and carriage return.
_ESCAPED = "CASE WHEN ascii({0}) IN (61, 43, 45, 64, 9, 13) THEN '''' || {0} ELSE {0} END"
_CELL = """
coalesce(CASE WHEN contains({0}, ',') OR contains({0}, '"') OR contains({0}, chr(10)) OR contains({0}, chr(13))
              THEN '"' || replace({0}, '"', '""') || '"' ELSE {0} END, '')
"""


def exported_rows(
    cursor: DuckDBPyConnection, table: PortfolioTable, point: Point, selection: Selection
) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows of the selected deals at a point, or of their pledges, some at a time."""
    _, _, order = _TABLES[table]
    return _read(cursor, f"SELECT * FROM listed ORDER BY {order}", table, point, selection)


def exported_lines(
    cursor: DuckDBPyConnection, table: PortfolioTable, point: Point, selection: Selection
) -> Iterator[str]:
    """The same rows as lines of CSV."""
    columns, _, order = _TABLES[table]
    escaped = ", ".join(
        f"listed.{name}" if name in _PLAIN else f'{_ESCAPED.format(f"listed.{name}")} AS "{name}"' for name in columns
    )
    cells = ", ".join(
        f"coalesce({name}::VARCHAR, '')" if name in _PLAIN else _CELL.format(f'"{name}"') for name in columns
    )
    statement = f"SELECT concat_ws(',', {cells}) FROM (SELECT {escaped} FROM listed) ORDER BY {order}"
    for rows in _read(cursor, statement, table, point, selection):
        yield "".join(f"{line}\r\n" for (line,) in rows)


def _read(
    cursor: DuckDBPyConnection, listed: str, table: PortfolioTable, point: Point, selection: Selection
) -> Iterator[Sequence[tuple[Any, ...]]]:
    columns, source, _ = _TABLES[table]
    cells = ", ".join(f'{value} AS "{name}"' for name, value in columns.items())
    among = "p.deal IN (SELECT deal FROM chosen)"
    rows = source.format(p=point.at("p"), s=point.at("s"), amount=_AMOUNT, among=among)
    statement = f"""
        WITH chosen AS MATERIALIZED (
            SELECT d.* FROM deal_facts AS d WHERE {selection.conditions(point)} AND d.deal > $after AND d.deal <= $until
        ), listed AS (SELECT {cells} {rows}) {listed}"""
    parameters = {**point.parameters, **selection.parameters}
    limits = [deal for (deal,) in run(cursor, _LIMITS.format(conditions=selection.conditions(point)), parameters)]
    for after, until in pairwise(["", *limits]):
        given = {**parameters, "after": after, "until": until}
        cursor.execute(statement, {name: value for name, value in given.items() if f"${name}" in statement})
        while found := cursor.fetchmany(ROWS_PER_READ):
            yield found
