"""The tables of exports, made by DuckDB: their rows as files of CSV and Parquet, as lines of JSON, and as text."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.fold.items import item_types
from registry.domain.money.rates import Rates
from registry.infra.spreadsheets import FORMULA_STARTS
from registry.projections.columnar.annotations import PledgeAnnotations, deal_annotations
from registry.projections.columnar.doubts import flags_at, prepare_doubts
from registry.projections.columnar.exported_columns import (
    AMOUNT,
    KIND,
    KIND_AND_AMOUNT,
    SHARE,
    SOURCES,
    TABLES,
    ExportedColumn,
)
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import ITEM_TABLES, ROWS_PER_READ, Selection, named, run
from registry.projections.columnar.totals import related_deals, selected_among
from registry.projections.facts import TABLE_OF, FactTable
from registry.projections.point import Point

DEALS_PER_QUERY = 50_000
"""About the number of deals whose rows a query holds in memory, because it sorts them."""

# The rows of a batch's deals: without this, each batch reads the table of all deals.
_BETWEEN = "{0}.deal > $after AND {0}.deal <= $until"

# The parts of a text that a list is sorted by. No text has this character.
_PART = "split_part(one, chr(0), {0})"

# A list of rows, each as one text, in their order. With 200,000 rows, DuckDB takes 80 ms for texts where it takes 200
# for rows of columns, or for an aggregate with an order.
_ROWS = "CASE count(*) WHEN 1 THEN list({0}) ELSE list_sort(list({0})) END"


def _sorted(day: str, item: str, value: str) -> str:
    """The values of the items of a deal, by day and id."""
    rows = _ROWS.format(f"concat_ws(chr(0), p.{day}, p.{item}, {value})")
    return f"list_transform({rows}, lambda one: {_PART.format(3)})"


_ROLE = "CASE p.role WHEN '' THEN '' ELSE p.organization || ': ' || p.role END"

_LISTS = {
    "parties": _ROWS.format(f"concat_ws(chr(0), p.joined_on, p.organization, {_ROLE}, {SHARE})"),
    "places": _sorted("announced_on", "site", "p.place"),
    "amounts": _sorted("announced_on", "pledge", AMOUNT),
}

# The items that a filter is about and that have not ended, in a cell each.
_ITEMS_OF_DEALS = """
       LEFT JOIN (SELECT p.deal, {cells} AS cells
                    FROM {table.name} AS p
                   WHERE {{p}} AND {{among}} AND {stands}
                   GROUP BY p.deal) AS {table.of} ON {table.of}.deal = d.deal
"""

# Their last columns, in the order of all of them. They are few: their rows need not be texts.
_SORTED = "list_transform(list_sort(list(row({0}))), lambda one: one[{1}])"


def _items_of_deals(table: FactTable) -> str:
    has_amount = any(column.name == "currency" for column in table.values)
    cell = (KIND_AND_AMOUNT if has_amount else KIND).format(id=table.ids[0].name)
    columns = ", ".join(f"p.{field}" for field in item_types(Deal)[table.of].order)
    cells = _SORTED.format(f"{columns}, {cell}", columns.count(",") + 2)
    return _ITEMS_OF_DEALS.format(cells=cells, table=table, stands=table.stands("p"))


_FROM_DEALS = f"""
  FROM chosen AS d
       LEFT JOIN stage_facts AS s ON s.deal = d.deal AND {_BETWEEN.format("s")} AND {{s}}
       LEFT JOIN (SELECT deal, list_transform(parties, lambda one: {_PART.format(2)}) AS organizations,
                         list_filter(list_transform(parties, lambda one: {_PART.format(3)}),
                                     lambda one: one <> '') AS roles,
                         list_filter(list_transform(parties, lambda one: {_PART.format(4)}),
                                     lambda one: one <> '') AS shares
                    FROM (SELECT p.deal, {{parties}} AS parties
                            FROM party_facts AS p
                           WHERE {{p}} AND {{among}} AND p.left_on IS NULL
                           GROUP BY p.deal)) AS o ON o.deal = d.deal
       LEFT JOIN (SELECT p.deal, {{places}} AS places
                    FROM site_facts AS p
                   WHERE {{p}} AND {{among}} AND p.status <> 'dropped' AND p.place IS NOT NULL
                   GROUP BY p.deal) AS l ON l.deal = d.deal
       LEFT JOIN (SELECT p.deal, {{amounts}} AS amounts
                    FROM pledge_facts AS p
                   WHERE {{p}} AND {{among}} AND p.currency IS NOT NULL
                   GROUP BY p.deal) AS a ON a.deal = d.deal
       LEFT JOIN (SELECT deal, list(pledge || ': ' || array_to_string(flags, ', ') ORDER BY pledge) AS flags
                    FROM annotated
                   WHERE len(flags) > 0
                   GROUP BY deal) AS f ON f.deal = d.deal
       LEFT JOIN (SELECT p.deal, list(p.relation || ' ' || p.other_deal ORDER BY
                                      p.since, p.relation, p.other_deal, p.pledge, p.other_pledge) AS relations
                    FROM relation_facts AS p
                   WHERE {{p}} AND {{among}}
                   GROUP BY p.deal) AS r ON r.deal = d.deal
""" + "".join(map(_items_of_deals, ITEM_TABLES.values()))


def _items(table: str) -> str:
    """The items of the deals that a fact table holds."""
    return f"""
  FROM chosen AS d
       JOIN {table} AS p ON p.deal = d.deal AND {_BETWEEN.format("p")} AND {{p}}
       LEFT JOIN stage_facts AS s ON s.deal = d.deal AND {_BETWEEN.format("s")} AND {{s}}
"""


_FROM_PLEDGES = _items("pledge_facts") + "LEFT JOIN annotated AS m ON m.deal = p.deal AND m.pledge = p.pledge"

# The last deal of each part. The parts are of one size, about that of a query.
_LIMITS = """
SELECT max(deal)
  FROM (SELECT d.deal, row_number() OVER (ORDER BY d.deal) - 1 AS number, count(*) OVER () AS deals
          FROM deal_facts AS d
         WHERE {conditions})
 GROUP BY number * greatest(round(deals / {size}), 1)::BIGINT // deals
 ORDER BY 1
"""

_SOURCES = {"deals": _FROM_DEALS, "pledges": _FROM_PLEDGES}
"""Where the rows of a table come from; those of the others are the items of its list."""

_JOIN_CITED = "LEFT JOIN cited AS c ON c.deal = d.deal AND c.item = {item}"

_CREATE_ANNOTATED = """
CREATE OR REPLACE TEMP TABLE annotated
    (deal VARCHAR, pledge VARCHAR, flags VARCHAR[], part_of VARCHAR[], superseded_by VARCHAR[])
"""

_INSERT_ANNOTATED = """
INSERT INTO annotated
SELECT unnest($deals::VARCHAR[]), unnest($pledges::VARCHAR[]), unnest($flags::VARCHAR[][]),
       unnest($part_of::VARCHAR[][]), unnest($superseded_by::VARCHAR[][])
"""

# DuckDB takes 10 ms to read this number from the parameters of a statement, and 200 ms for 40,000.
ROWS_PER_INSERT = 1_000

_CREATE_CITED = """
CREATE OR REPLACE TEMP TABLE cited AS
  FROM read_json($file, format = 'newline_delimited', columns = {
           deal: 'VARCHAR', item: 'VARCHAR', publishers: 'VARCHAR[]', urls: 'VARCHAR[]', days: 'VARCHAR[]'})
"""

# Cells of these types are never escaped.
_PLAIN = ("code", "number", "integer", "date")

_STARTS = f"'{''.join(FORMULA_STARTS)}'"
# DuckDB plans `IN` as a join for each column: with `contains`, an export of deals takes 0.86 of the processor time, and
# one of pledges 0.86 (medians of seven, in turn).
# Most texts begin with a letter, which two comparisons find out. With them and `_BETWEEN`, an export of 100,000 deals
# takes 0.96 of the processor time, and one of pledges 0.92 (least of 18 each, in three alternating rounds, load 9).
_PLAIN_STARTS = "{0} >= 'A' AND {0} < '" + min(start for start in FORMULA_STARTS if start > "A") + "'"
_CELL = f"""
CASE WHEN {_PLAIN_STARTS} THEN {{0}}
     WHEN {{0}} = '' THEN NULL
     WHEN contains({_STARTS}, left({{0}}, 1)) THEN '''' || {{0}}
     ELSE {{0}} END
"""


class PortfolioExport(Struct, frozen=True):
    """What is exported: the selected deals at a point, or their items.

    Attributes:
        table: What the rows are: `deals`, or a list of their items.
        point: The point.
        selection: Which deals.
        merged: What each merged deal was merged into, by the point.
        rates: The exchange rates that amounts are compared at for their flags.
        cited: A file with the sources of each row (`queries/cited_sources.py`), for the columns of sources.
    """

    table: str
    point: Point
    selection: Selection
    merged: Mapping[str, str]
    rates: Rates
    cited: str | None = None

    @property
    def columns(self) -> tuple[ExportedColumn, ...]:
        """The columns of the table."""
        return (*TABLES[self.table], *SOURCES) if self.cited is not None else TABLES[self.table]

    @property
    def order(self) -> str:
        """The order of the rows."""
        return ", ".join(("deal", *(item_types(Deal)[self.table].order if self.table in TABLE_OF else ())))

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of its statements, but for the bounds of a batch."""
        return {**self.point.parameters, **self.selection.parameters}

    def select(self, cells: str) -> str:
        """The query of some cells of the deals between `$after` and `$until`."""
        of = TABLE_OF.get(self.table)
        source = _SOURCES[self.table] if of is None or self.table in _SOURCES else _items(of.name)
        point, conditions = self.point, self.selection.conditions(self.point)
        # For few deals, looking them up costs less than making the lists of all deals; for all deals, it costs more.
        among = _BETWEEN.format("p") if self.selection.is_all else "p.deal IN (SELECT deal FROM chosen)"
        rows = source.format(p=point.at("p"), s=point.at("s"), among=among, **_LISTS)
        cited = (
            _JOIN_CITED.format(item=f"p.{of.ids[0].name}" if of is not None else "''") if self.cited is not None else ""
        )

        def between(after: str, until: str) -> str:
            return f"SELECT d.* FROM deal_facts AS d WHERE {conditions} AND d.deal > {after} AND d.deal <= {until}"

        if self.selection.is_all:
            # One thread of DuckDB reads up to 122,880 rows and makes what is joined to them; of halves, two do. With
            # 100,000 deals, two threads were active in 64 % of samples of an export, where they were in 42 %.
            halves = (between("$after", "$middle"), between("$middle", "$until"))
            chosen = f"NOT MATERIALIZED ({' UNION ALL '.join(halves)})"
        else:
            chosen = f"MATERIALIZED ({between('$after', '$until')})"
        return f"WITH chosen AS {chosen} SELECT {cells} {rows} {cited}"

    def batches(self, cursor: DuckDBPyConnection) -> list[dict[str, str]]:
        """The bounds of each query: DEALS_PER_QUERY deals."""
        if self.cited is not None:
            cursor.execute(_CREATE_CITED, {"file": self.cited})
        limits = _LIMITS.format(conditions=self.selection.conditions(self.point), size=DEALS_PER_QUERY // 2)
        halves = ["", *(deal for (deal,) in run(cursor, limits, self.parameters))]
        return [
            {"after": after, "middle": halves[number + 1], "until": halves[number + 1 : number + 3][-1]}
            for number, after in enumerate(halves[:-1])
            if number % 2 == 0
        ]


def materialize_annotations(cursor: DuckDBPyConnection, cache: QuestionCache, export: PortfolioExport) -> None:
    """Write the annotations of the exported amounts to a temporary table; the statements below join it."""
    if export.table not in ("deals", "pledges"):
        return
    # Before the transaction reads these tables in memory.
    doubts = prepare_doubts(cursor, cache, export.rates)
    cache.memory.prepare(cursor, export.merged)
    annotated = {
        key: PledgeAnnotations(flags) for key, flags in flags_at(cursor, doubts, export.point, export.rates).items()
    }
    # The deals with relations are few; of the others there may be very many.
    related = related_deals(cursor, export.point, export.merged)
    deals = selected_among(cursor, export.point, export.selection, related)
    annotations = deal_annotations(cursor, cache, export.point, deals, export.merged, export.rates)
    annotated |= {
        (deal, pledge): one for deal, of_deal in annotations.items() for pledge, one in of_deal.pledges.items()
    }
    cursor.execute(_CREATE_ANNOTATED)
    listed = list(annotated.items())
    for first in range(0, len(listed), ROWS_PER_INSERT):
        rows = listed[first : first + ROWS_PER_INSERT]
        given = {
            "deals": [deal for (deal, _), _ in rows],
            "pledges": [pledge for (_, pledge), _ in rows],
            "flags": [list(one.flags) for _, one in rows],
            "part_of": [list(one.part_of) for _, one in rows],
            "superseded_by": [list(one.superseded_by) for _, one in rows],
        }
        cursor.execute(_INSERT_ANNOTATED, given)


def exported_rows(cursor: DuckDBPyConnection, export: PortfolioExport) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows, some at a time; cells as text or integers."""
    return _read(cursor, f"SELECT * FROM listed ORDER BY {export.order}", export)


def exported_objects(cursor: DuckDBPyConnection, export: PortfolioExport) -> Iterator[str]:
    """The rows of an export as lines of JSON, some at a time."""
    for rows in _read(cursor, f"SELECT to_json(listed)::VARCHAR FROM listed ORDER BY {export.order}", export):
        yield "".join(f"{line}\n" for (line,) in rows)


def write_csv(cursor: DuckDBPyConnection, export: PortfolioExport, file: IO[bytes], part: Path) -> Iterator[None]:
    """Write the rows as CSV (RFC 4180) after what a file has, in parts; `part` is the path of a temporary file."""
    texts = ", ".join(f'{column.text} AS "{column.name}"' for column in export.columns)
    cells = ", ".join(
        f'"{column.name}"' if column.type in _PLAIN else _CELL.format(f'"{column.name}"') for column in export.columns
    )
    query = f"SELECT {cells} FROM ({export.select(texts)}) ORDER BY {export.order}"
    copy = _copy(query, part, r"FORMAT csv, HEADER false, NEW_LINE '\r\n'")
    for bounds in export.batches(cursor):
        run(cursor, copy, {**export.parameters, **bounds})
        with part.open("rb") as written:
            shutil.copyfileobj(written, file)
        yield


def write_parquet(cursor: DuckDBPyConnection, export: PortfolioExport, file: str) -> None:
    """Write the same rows as Parquet, each cell with its type."""
    select = export.select(", ".join(f'{column.typed} AS "{column.name}"' for column in export.columns))
    batches = export.batches(cursor)
    none = {**export.parameters, "after": "", "middle": "", "until": ""}
    run(cursor, f"CREATE OR REPLACE TEMP TABLE exported AS {select} LIMIT 0", none)
    for bounds in batches:
        run(cursor, f"INSERT INTO exported {select} ORDER BY {export.order}", {**export.parameters, **bounds})
    copy_to_parquet(cursor, "FROM exported", file)
    cursor.execute("DROP TABLE exported")


def copy_to_parquet(cursor: DuckDBPyConnection, query: str, file: str) -> None:
    """Write the rows of a query to a Parquet file."""
    cursor.execute(_copy(query, Path(file), "FORMAT parquet, COMPRESSION zstd"))


def _copy(query: str, file: Path, options: str) -> str:
    path = str(file).replace("'", "''")
    return f"COPY ({query}) TO '{path}' ({options}, USE_TMP_FILE false)"


def selected_deals(cursor: DuckDBPyConnection, point: Point, selection: Selection) -> list[str]:
    """The selected deals at a point, in order."""
    statement = f"{selection.slugs(point)} ORDER BY 1"
    return [deal for (deal,) in run(cursor, statement, {**point.parameters, **selection.parameters})]


def _read(cursor: DuckDBPyConnection, listed: str, export: PortfolioExport) -> Iterator[Sequence[tuple[Any, ...]]]:
    cells = ", ".join(f'{column.text} AS "{column.name}"' for column in export.columns)
    statement = f"WITH listed AS ({export.select(cells)}) {listed}"
    for bounds in export.batches(cursor):
        cursor.execute(statement, named(statement, {**export.parameters, **bounds}))
        while found := cursor.fetchmany(ROWS_PER_READ):
            yield found
