"""The tables of exports, made by DuckDB: their columns, and their rows as text, as lines of CSV and as Parquet.

DuckDB makes whole lines of CSV, because Python takes five times as long for the cells of 100,000 deals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.domain.rates import Rates
from registry.projections.columnar.doubts import flags_at, prepare_doubts
from registry.projections.columnar.kept import Kept
from registry.projections.columnar.marks import PledgeMarks, deal_marks
from registry.projections.columnar.selection import Point, Selection, run

PortfolioTable = Literal["deals", "pledges", "sites", "metrics"]

ColumnType = Literal["text", "code", "integer", "number", "boolean", "date", "datetime", "list", "amounts", "json"]
"""The type of a column's cells.

`code`: letters, digits, points and hyphens, beginning with a letter or a digit; such text is never escaped. `number`:
an exact decimal, which formats without such numbers have as text. `list`: of texts. `amounts`: amounts of money.
"""


class ExportedColumn(Struct, frozen=True):
    """A column of an exported table.

    Attributes:
        name: The heading.
        description: What the cells say.
        type: Their type.
        field: The field of the deal, of its item or of the event that the cells show; None: that of the column's name.
        sql: The value in DuckDB; of a number, the column of a fact table. None for columns of events.
    """

    name: str
    description: str
    type: ColumnType = "text"
    field: str | None = None
    sql: str | None = None

    @property
    def shown_field(self) -> str:
        """The field that the cells show."""
        return self.field or self.name

    @property
    def text(self) -> str:
        """The cells as text, in SQL; empty where nothing was stated."""
        assert self.sql is not None
        return _TEXT.get(self.type, "{0}").format(self.sql)

    @property
    def typed(self) -> str:
        """The cells with their type, in SQL."""
        assert self.sql is not None
        return _TYPED.get(self.type, "{0}").format(self.sql)


DEALS_PER_QUERY = 50_000
"""A query holds the rows of so many deals in memory, because it sorts them."""

ROWS_PER_READ = 2_000

_NUMBER = "left({0}::VARCHAR, length({0}::VARCHAR) - 7 + {0}_scale + ({0}_scale > 0)::INT)"

_TEXT = {
    "number": _NUMBER,
    "date": "{0}::VARCHAR",
    "list": "nullif(array_to_string({0}, '; '), '')",
    "amounts": """nullif(array_to_string(list_transform(from_json({0}, '["JSON"]'),
        lambda one: (one ->> 'currency') || ' ' || (one ->> 'value')), '; '), '')""",
}
"""Cells as text, by type; of the others, the value is text or an integer."""

_TYPED = {
    "list": "coalesce({0}, [])",
    "amounts": """coalesce(from_json({0}, '[{{"currency": "VARCHAR", "value": "DECIMAL(24, 6)"}}]'), [])""",
}
"""Cells with their type; of the others, the value has it."""

# A pledge's amount in one cell, with everything that keeps it from being added to others.
_AMOUNT = f"""
p.pledge || ': ' || concat_ws(' ', p.qualifier, p.currency,
    coalesce({_NUMBER.format("p.value")}, nullif(concat_ws(' to ', {_NUMBER.format("p.low")},
             {_NUMBER.format("p.high")}), '')), p.amount_basis, p.commitment,
    CASE p.status WHEN 'withdrawn' THEN p.status END)
"""

# The last values of a list of rows.
_LAST = "list_transform({0}, lambda one: one[{1}])"

# The elements of a list, each where it is first.
_FIRST = "list_filter({0}, lambda one, place: list_position({0}, one) = place)"

_DEAL = (
    ExportedColumn("deal", "The deal's id.", "code", sql="d.deal"),
    ExportedColumn("title_en", "The deal's title in English.", field="title", sql="d.title::JSON ->> 'en'"),
    ExportedColumn("title_ko", "The deal's title in Korean.", field="title", sql="d.title::JSON ->> 'ko'"),
)

_STAGE = ExportedColumn(
    "stage", "The deal's stage, from intention to operating, or how it ended.", "code", sql="s.stage"
)

DEALS = (
    *_DEAL,
    ExportedColumn("kind", "The kind of deal.", "code", sql="d.kind"),
    _STAGE,
    ExportedColumn(
        "stage_basis", "What the stage rests on: declared, inferred or observed.", "code", "stage", "s.basis"
    ),
    ExportedColumn("stage_since", "The day since which the deal has the stage.", "date", "stage", "s.since"),
    ExportedColumn("stage_observed_on", "The day on which the stage was observed.", "date", "stage", "s.observed_on"),
    ExportedColumn("sectors", "The sectors.", "list", sql="d.sectors"),
    ExportedColumn("classifications", "Codes of classifications, as AXIS:CODE.", "list", sql="d.classifications"),
    ExportedColumn("identifiers", "Identifiers in other registers, as SCHEME:VALUE.", "list", sql="d.identifiers"),
    ExportedColumn(
        "organizations", "The current parties.", "list", "parties", _FIRST.format(_LAST.format("o.organizations", 2))
    ),
    ExportedColumn(
        "places",
        "ISO 3166 codes of the places of the sites that were not dropped.",
        "list",
        "sites",
        _FIRST.format(_LAST.format("l.places", 3)),
    ),
    ExportedColumn(
        "amounts",
        "Each pledge with its amount as stated. Not to be added up: totals say what may be counted twice.",
        "list",
        "pledges",
        _LAST.format("a.amounts", 3),
    ),
    ExportedColumn(
        "flags",
        "Each pledge with the rules of the flags on its amount. A doubted amount is in no lower bound of totals.",
        "list",
        "pledges",
        "f.flags",
    ),
    ExportedColumn("relations", "Relations to other deals.", "list", sql="r.relations"),
)

PLEDGES = (
    *_DEAL,
    _STAGE,
    ExportedColumn("pledge", "The pledge's id within the deal.", "code", sql="p.pledge"),
    ExportedColumn("status", "announced, confirmed or withdrawn.", "code", sql="p.status"),
    ExportedColumn("commitment", "How firm it is: intention, pledge, binding or budget.", "code", sql="p.commitment"),
    ExportedColumn("amount_basis", "What the amount is: total, additional or annual.", "code", sql="p.amount_basis"),
    ExportedColumn(
        "qualifier",
        "How the source qualifies the amount, such as about.",
        "code",
        "amount",
        "CASE WHEN p.currency IS NOT NULL THEN p.qualifier END",
    ),
    ExportedColumn("value", "The amount, exact.", "number", "amount", "p.value"),
    ExportedColumn("low", "The lower bound of a range, exact.", "number", "amount", "p.low"),
    ExportedColumn("high", "The upper bound of a range, exact.", "number", "amount", "p.high"),
    ExportedColumn("currency", "The currency (ISO 4217).", "code", "amount", "p.currency"),
    ExportedColumn("wording", "The amount in the words of the source.", "text", "amount", "p.wording"),
    ExportedColumn("figure", "What the figure is: stated, estimated or modelled.", "code", "amount", "p.figure"),
    ExportedColumn("price_year", "The year in whose prices the amount is.", "integer", "amount", "p.price_year"),
    ExportedColumn("stated_as", "The same amount as stated in other currencies.", "amounts", "amount", "p.stated_as"),
    ExportedColumn("by", "Those who pledge, together.", "list", sql="p.organizations"),
    ExportedColumn("announced_on", "The day since which the pledge is in effect.", "date", sql="p.announced_on"),
    ExportedColumn("until", "The date by which it is to be invested (EDTF).", "text", "horizon", "p.until"),
    ExportedColumn(
        "flags",
        "The rules of the flags on its amount. A doubted amount is in no lower bound of totals.",
        "list",
        sql="m.flags",
    ),
    ExportedColumn(
        "part_of", "The pledges and deals that it is part of, as DEAL/PLEDGE or DEAL.", "list", sql="m.part_of"
    ),
    ExportedColumn(
        "superseded_by", "Those that took its place, as DEAL/PLEDGE or DEAL.", "list", sql="m.superseded_by"
    ),
)

SITES = (
    *_DEAL,
    _STAGE,
    ExportedColumn("site", "The site's id within the deal.", "code", sql="p.site"),
    ExportedColumn("status", "announced or dropped.", "code", sql="p.status"),
    ExportedColumn("place", "The country or subdivision (ISO 3166).", "code", sql="p.place"),
    ExportedColumn("power_mw", "The planned power in MW, exact.", "number", sql="p.power_mw"),
    ExportedColumn("power_qualifier", "How the source qualifies the power.", "code", sql="p.power_qualifier"),
    ExportedColumn("gpus", "The planned number of GPUs.", "integer", sql="p.gpus"),
    ExportedColumn("gpus_qualifier", "How the source qualifies the number of GPUs.", "code", sql="p.gpus_qualifier"),
    ExportedColumn("latitude", "The latitude in degrees (WGS 84).", "number", sql="p.latitude"),
    ExportedColumn("longitude", "The longitude in degrees (WGS 84).", "number", sql="p.longitude"),
    ExportedColumn("precision", "How precise the coordinates are.", "code", sql="p.precision"),
    ExportedColumn("announced_on", "The day since which the site is in effect.", "date", sql="p.announced_on"),
)

METRICS = (
    *_DEAL,
    _STAGE,
    ExportedColumn("metric_id", "The id of the quantity within the deal.", "text", sql="p.metric_id"),
    ExportedColumn("metric", "What is counted, such as jobs.", "code", sql="p.metric"),
    ExportedColumn("basis", "Whether it is planned, reported or of another basis.", "code", sql="p.basis"),
    ExportedColumn("site", "The site that it is about.", "code", sql="nullif(p.site, '')"),
    ExportedColumn("date", "The date that it is for (EDTF).", sql="p.metric_date"),
    ExportedColumn("from", "The first date of its period (EDTF).", "text", "horizon", "p.horizon_from"),
    ExportedColumn("until", "The last date of its period (EDTF).", "text", "horizon", "p.horizon_until"),
    ExportedColumn("value", "The quantity, exact.", "number", sql="p.value"),
    ExportedColumn("unit", "Its unit.", sql="p.unit"),
    ExportedColumn("qualifier", "How the source qualifies it.", "code", sql="p.qualifier"),
    ExportedColumn("stated_on", "The day since which the present value is in effect.", "date", sql="p.stated_on"),
)

SOURCES = (
    ExportedColumn(
        "source_publishers", "Who published the sources that the row rests on.", "list", "sources", "c.publishers"
    ),
    ExportedColumn("source_urls", "The addresses of the same sources.", "list", "sources", "c.urls"),
    ExportedColumn(
        "source_published_on", "The days on which the same sources were published.", "list", "sources", "c.days"
    ),
)
"""Columns on request: lists of the same length, in the order in which the sources were recorded."""

# Rows are sorted in their list: an aggregate with an order takes DuckDB twice as long.
_FROM_DEALS = """
  FROM chosen AS d
       LEFT JOIN stage_facts AS s ON s.deal = d.deal AND {s}
       LEFT JOIN (SELECT p.deal, list_sort(list(row(p.joined_on, p.organization))) AS organizations
                    FROM party_facts AS p
                   WHERE {p} AND {among} AND p.left_on IS NULL
                   GROUP BY p.deal) AS o ON o.deal = d.deal
       LEFT JOIN (SELECT p.deal, list_sort(list(row(p.announced_on, p.site, p.place))) AS places
                    FROM site_facts AS p
                   WHERE {p} AND {among} AND p.status <> 'dropped' AND p.place IS NOT NULL
                   GROUP BY p.deal) AS l ON l.deal = d.deal
       LEFT JOIN (SELECT p.deal, list_sort(list(row(p.announced_on, p.pledge, {amount}))) AS amounts
                    FROM pledge_facts AS p
                   WHERE {p} AND {among} AND p.currency IS NOT NULL
                   GROUP BY p.deal) AS a ON a.deal = d.deal
       LEFT JOIN (SELECT deal, list(pledge || ': ' || array_to_string(flags, ', ') ORDER BY pledge) AS flags
                    FROM marked
                   WHERE len(flags) > 0
                   GROUP BY deal) AS f ON f.deal = d.deal
       LEFT JOIN (SELECT p.deal, list(p.relation || ' ' || p.other_deal ORDER BY
                                      p.since, p.relation, p.other_deal, p.pledge, p.other_pledge) AS relations
                    FROM relation_facts AS p
                   WHERE {p} AND {among}
                   GROUP BY p.deal) AS r ON r.deal = d.deal
"""

_FROM_ITEMS = """
  FROM chosen AS d
       JOIN {table} AS p ON p.deal = d.deal AND {{p}}
       LEFT JOIN stage_facts AS s ON s.deal = d.deal AND {{s}}
"""

_FROM_PLEDGES = (
    _FROM_ITEMS.format(table="pledge_facts") + "LEFT JOIN marked AS m ON m.deal = p.deal AND m.pledge = p.pledge"
)

# The last of each so many deals.
_LIMITS = """
SELECT max(deal)
  FROM (SELECT d.deal, row_number() OVER (ORDER BY d.deal) - 1 AS number FROM deal_facts AS d WHERE {conditions})
 GROUP BY number // {size}
 ORDER BY 1
"""

# Columns, source, order, and the item in the table of cited sources.
_TABLES: dict[PortfolioTable, tuple[tuple[ExportedColumn, ...], str, str, str]] = {
    "deals": (DEALS, _FROM_DEALS, "deal", "''"),
    "pledges": (PLEDGES, _FROM_PLEDGES, "deal, announced_on, pledge", "p.pledge"),
    "sites": (SITES, _FROM_ITEMS.format(table="site_facts"), "deal, announced_on, site", "p.site"),
    "metrics": (METRICS, _FROM_ITEMS.format(table="metric_facts"), "deal, metric_id", "p.metric_id"),
}

_JOIN_CITED = "LEFT JOIN cited AS c ON c.deal = d.deal AND c.item = {item}"

_CREATE_MARKED = """
CREATE OR REPLACE TEMP TABLE marked
    (deal VARCHAR, pledge VARCHAR, flags VARCHAR[], part_of VARCHAR[], superseded_by VARCHAR[])
"""

_INSERT_MARKED = """
INSERT INTO marked
SELECT unnest($deals::VARCHAR[]), unnest($pledges::VARCHAR[]), unnest($flags::VARCHAR[][]),
       unnest($part_of::VARCHAR[][]), unnest($superseded_by::VARCHAR[][])
"""

# DuckDB takes 10 ms to read so many from the parameters of a statement, and 200 ms for 40,000.
MARKS_PER_INSERT = 1_000

_CREATE_CITED = """
CREATE OR REPLACE TEMP TABLE cited AS
  FROM read_json($file, format = 'newline_delimited', columns = {
           deal: 'VARCHAR', item: 'VARCHAR', publishers: 'VARCHAR[]', urls: 'VARCHAR[]', days: 'VARCHAR[]'})
"""

# Cells of these types are never escaped.
_PLAIN = ("code", "number", "integer", "date")

# A cell of CSV as Python's csv module and `exports/csv.py` write it: an apostrophe before what a spreadsheet would run
# as a formula, and quotes where the text has a quote, a comma or the end of a line.
# The numbers are those of the characters = + - @, tab and carriage return.
_ESCAPED = "CASE WHEN ascii({0}) IN (61, 43, 45, 64, 9, 13) THEN '''' || {0} ELSE {0} END"
_CELL = """
coalesce(CASE WHEN contains({0}, ',') OR contains({0}, '"') OR contains({0}, chr(10)) OR contains({0}, chr(13))
              THEN '"' || replace({0}, '"', '""') || '"' ELSE {0} END, '')
"""


class PortfolioExport(Struct, frozen=True):
    """What is exported: the selected deals at a point, or their items.

    Attributes:
        table: What the rows are.
        point: The point.
        selection: Which deals.
        merged: What each merged deal was merged into, by the point.
        rates: The exchange rates that amounts are compared at for their flags.
        cited: A file with the sources of each row (`queries/cited_sources.py`), for the columns of sources.
    """

    table: PortfolioTable
    point: Point
    selection: Selection
    merged: Mapping[str, str]
    rates: Rates
    cited: str | None = None

    @property
    def columns(self) -> tuple[ExportedColumn, ...]:
        """The columns of the table."""
        columns, *_ = _TABLES[self.table]
        return (*columns, *SOURCES) if self.cited is not None else columns

    @property
    def order(self) -> str:
        """The order of the rows."""
        return _TABLES[self.table][2]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of its statements, but for the bounds of a batch."""
        return {**self.point.parameters, **self.selection.parameters}

    def select(self, cells: str) -> str:
        """The query of some cells of the deals between `$after` and `$until`."""
        _, source, _, item = _TABLES[self.table]
        point, conditions = self.point, self.selection.conditions(self.point)
        # The deals of a few: looking for them costs less than to make the lists of all; of all, it costs more.
        among = (
            "p.deal > $after AND p.deal <= $until" if self.selection.is_all else "p.deal IN (SELECT deal FROM chosen)"
        )
        rows = source.format(p=point.at("p"), s=point.at("s"), amount=_AMOUNT, among=among)
        cited = _JOIN_CITED.format(item=item) if self.cited is not None else ""
        return f"""
            WITH chosen AS MATERIALIZED (
                SELECT d.* FROM deal_facts AS d WHERE {conditions} AND d.deal > $after AND d.deal <= $until
            ) SELECT {cells} {rows} {cited}"""

    def batches(self, cursor: DuckDBPyConnection) -> list[dict[str, str]]:
        """The bounds of each so many deals."""
        if self.cited is not None:
            cursor.execute(_CREATE_CITED, {"file": self.cited})
        limits = _LIMITS.format(conditions=self.selection.conditions(self.point), size=DEALS_PER_QUERY)
        bounds = [deal for (deal,) in run(cursor, limits, self.parameters)]
        return [{"after": after, "until": until} for after, until in pairwise(["", *bounds])]


def keep_marks(cursor: DuckDBPyConnection, kept: Kept, export: PortfolioExport) -> None:
    """Keep what stands beside the exported amounts in a temporary table; the statements below join it."""
    if export.table not in ("deals", "pledges"):
        return
    # Before the transaction reads these tables in memory.
    doubts = prepare_doubts(cursor, kept, export.rates)
    kept.held.prepare(cursor, export.merged)
    marked = {key: PledgeMarks(flags) for key, flags in flags_at(cursor, doubts, export.point, export.rates).items()}
    deals = selected_deals(cursor, export.point, export.selection)
    marks = deal_marks(cursor, kept, export.point, deals, export.merged, export.rates)
    marked |= {(deal, pledge): one for deal, of_deal in marks.items() for pledge, one in of_deal.pledges.items()}
    cursor.execute(_CREATE_MARKED)
    listed = list(marked.items())
    for first in range(0, len(listed), MARKS_PER_INSERT):
        rows = listed[first : first + MARKS_PER_INSERT]
        given = {
            "deals": [deal for (deal, _), _ in rows],
            "pledges": [pledge for (_, pledge), _ in rows],
            "flags": [list(one.flags) for _, one in rows],
            "part_of": [list(one.part_of) for _, one in rows],
            "superseded_by": [list(one.superseded_by) for _, one in rows],
        }
        cursor.execute(_INSERT_MARKED, given)


def exported_rows(cursor: DuckDBPyConnection, export: PortfolioExport) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows, some at a time; cells as text or integers."""
    return _read(cursor, f"SELECT * FROM listed ORDER BY {export.order}", export)


def exported_objects(cursor: DuckDBPyConnection, export: PortfolioExport) -> Iterator[str]:
    """The same rows as lines of JSON."""
    for rows in _read(cursor, f"SELECT to_json(listed)::VARCHAR FROM listed ORDER BY {export.order}", export):
        yield "".join(f"{line}\n" for (line,) in rows)


def exported_lines(cursor: DuckDBPyConnection, export: PortfolioExport) -> Iterator[str]:
    """The same rows as lines of CSV."""
    plain = [column.type in _PLAIN for column in export.columns]
    names = [f'"{column.name}"' for column in export.columns]
    escaped = ", ".join(
        f"listed.{name}" if is_plain else f"{_ESCAPED.format(f'listed.{name}')} AS {name}"
        for name, is_plain in zip(names, plain, strict=True)
    )
    cells = ", ".join(
        f"coalesce({name}::VARCHAR, '')" if is_plain else _CELL.format(name)
        for name, is_plain in zip(names, plain, strict=True)
    )
    statement = f"SELECT concat_ws(',', {cells}) FROM (SELECT {escaped} FROM listed) ORDER BY {export.order}"
    for rows in _read(cursor, statement, export):
        yield "".join(f"{line}\r\n" for (line,) in rows)


def write_parquet(cursor: DuckDBPyConnection, export: PortfolioExport, file: str) -> None:
    """Write the same rows as Parquet, each cell with its type."""
    select = export.select(", ".join(f'{column.typed} AS "{column.name}"' for column in export.columns))
    batches = export.batches(cursor)
    none = {**export.parameters, "after": "", "until": ""}
    run(cursor, f"CREATE OR REPLACE TEMP TABLE exported AS {select} LIMIT 0", none)
    for bounds in batches:
        run(cursor, f"INSERT INTO exported {select} ORDER BY {export.order}", {**export.parameters, **bounds})
    copy_to_parquet(cursor, "FROM exported", file)
    cursor.execute("DROP TABLE exported")


def copy_to_parquet(cursor: DuckDBPyConnection, query: str, file: str) -> None:
    """Write the rows of a query to a Parquet file."""
    path = file.replace("'", "''")
    cursor.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)")


def selected_deals(cursor: DuckDBPyConnection, point: Point, selection: Selection) -> list[str]:
    """The selected deals at a point, in order."""
    statement = f"{selection.slugs(point)} ORDER BY 1"
    return [deal for (deal,) in run(cursor, statement, {**point.parameters, **selection.parameters})]


def _read(cursor: DuckDBPyConnection, listed: str, export: PortfolioExport) -> Iterator[Sequence[tuple[Any, ...]]]:
    cells = ", ".join(f'{column.text} AS "{column.name}"' for column in export.columns)
    statement = f"WITH listed AS ({export.select(cells)}) {listed}"
    for bounds in export.batches(cursor):
        given = {**export.parameters, **bounds}
        cursor.execute(statement, {name: value for name, value in given.items() if f"${name}" in statement})
        while found := cursor.fetchmany(ROWS_PER_READ):
            yield found
