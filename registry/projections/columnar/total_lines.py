"""The pledges that totals list: which ones, and what is shown of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duckdb import DuckDBPyConnection

from registry.domain.totals import DealRow, GroupKey, PledgeRow
from registry.projections.columnar.deal_rows import PLEDGE_COLUMNS, PledgeColumns, deal_rows, pledge_row
from registry.projections.columnar.running_totals import keys_of, same_group
from registry.projections.columnar.scan import Scan
from registry.projections.columnar.selection import run

_LINES = """
SELECT {names} l.deal, s.stage, {columns}
  FROM (SELECT *
          FROM {source}
         ORDER BY {rank} rule IN ('counted', 'additional'), deal, announced_on, pledge
         LIMIT $lines) AS l
       JOIN pledge_facts AS t ON t.deal = l.deal AND t.pledge = l.pledge AND {t}
       LEFT JOIN stage_facts AS s ON s.deal = l.deal AND {s}
 ORDER BY {rank} l.rule IN ('counted', 'additional'), l.deal, l.announced_on, l.pledge
"""


_FIGURE_LINES = """
SELECT {names} l.deal, l.pledge
  FROM {source} AS l
 ORDER BY {rank} l.rule = 'counted', l.deal, l.announced_on, l.pledge
 LIMIT $lines
"""


def overall_lines(cursor: DuckDBPyConnection, scan: Scan) -> list[tuple[DealRow, PledgeRow]]:
    """The first pledges of all."""
    if not scan.is_money:
        return _figure_lines(cursor, scan, "", f"({scan.pledges([])} SELECT * FROM pledges)", "").get((), [])
    statement = _lines(scan, "", f"({scan.pledges([])} SELECT * FROM pledges)", "")
    return [_line(scan, *row) for row in run(cursor, statement, scan.parameters)]


def group_lines(
    cursor: DuckDBPyConnection, scan: Scan, groups: Sequence[GroupKey]
) -> dict[GroupKey, list[tuple[DealRow, PledgeRow]]]:
    """The first pledges of some groups."""
    keys = ", ".join(f"unnest($page_{name}::VARCHAR[]) AS {name}" for name in scan.names)
    shown = f"SELECT unnest(range(len($page_key1))) AS rank, {keys}"
    run(cursor, f"CREATE OR REPLACE TEMP TABLE shown AS {shown}", keys_of(scan, groups))
    same = same_group(scan, "s", "t")
    source = f"(SELECT t.*, s.rank FROM {scan.unnested(f'({scan.listed()})')} AS t JOIN shown AS s ON {same})"
    names = "".join(f"l.{name}, " for name in scan.names)
    if not scan.is_money:
        return _figure_lines(cursor, scan, names, source, "rank,")
    found: dict[GroupKey, list[tuple[DealRow, PledgeRow]]] = {}
    count = len(scan.names)
    rows = run(cursor, _lines(scan, names, source, "rank,"), scan.parameters)
    deals = {row.deal: row for row in deal_rows(cursor, scan.point, sorted({row[count] for row in rows}), scan.rates)}
    for row in rows:
        # With the whole deal, because the groups of a pledge follow from it.
        _, pledge = _line(scan, *row[count:])
        found.setdefault(tuple(row[:count]), []).append((deals[row[count]], pledge))
    return found


def _figure_lines(
    cursor: DuckDBPyConnection, scan: Scan, names: str, source: str, rank: str
) -> dict[GroupKey, list[tuple[DealRow, PledgeRow]]]:
    """The first lines of a measure, by group."""
    rows = run(cursor, _FIGURE_LINES.format(names=names, source=source, rank=rank), scan.parameters)
    slugs = sorted({row[-2] for row in rows})
    deals = {row.deal: row for row in deal_rows(cursor, scan.point, slugs, scan.rates, scan.query.measure)}
    found: dict[GroupKey, list[tuple[DealRow, PledgeRow]]] = {}
    for *key, deal, name in rows:
        figure = next(figure for figure in deals[deal].pledges if figure.pledge == name)
        found.setdefault(tuple(key), []).append((deals[deal], figure))
    return found


def _lines(scan: Scan, names: str, source: str, rank: str) -> str:
    return _LINES.format(
        names=names, columns=PLEDGE_COLUMNS, source=source, rank=rank, t=scan.point.at("t"), s=scan.point.at("s")
    )


def _line(scan: Scan, deal: str, stage: Any, *pledge: Any) -> tuple[DealRow, PledgeRow]:
    return DealRow(deal, stage, (), (), (), (), ()), pledge_row(PledgeColumns(*pledge), scan.rates)
