"""What the questions are compared with: DuckDB over what the registry exports, as Parquet.

For the present it has the exported deals and pledges, which hold nothing else; for the past and for changes, the fact
tables that `registry export --parquet` writes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import duckdb
import httpx

from bench.service import BenchDatabase

SNAPSHOTS = ("deals", "pledges")


async def exported(client: httpx.AsyncClient, database: BenchDatabase, folder: Path) -> Any:
    """DuckDB with the exported tables as views. They are exported once and then kept in the folder."""
    folder.mkdir(exist_ok=True)
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET enable_progress_bar = false")
    for kind in SNAPSHOTS:
        parquet = folder / f"{kind}.parquet"
        if not parquet.exists():
            text = folder / f"{kind}.csv"
            await download(client, f"/v1/export/{kind}.csv", text)
            connection.execute(f"COPY (SELECT * FROM read_csv('{text}', all_varchar = true)) TO '{parquet}'")
        connection.execute(f"CREATE VIEW {kind} AS SELECT * FROM '{parquet}'")
    facts = folder / "facts"
    if not facts.exists():
        await export_facts(database, facts)
    for file in (facts / "latest").glob("*.parquet"):
        connection.execute(f"CREATE VIEW {file.stem} AS SELECT * FROM '{file}'")
    return connection


async def download(client: httpx.AsyncClient, path: str, file: Path) -> int:
    """Write what a path answers to a file; return the status."""
    async with client.stream("GET", path, headers={"Accept-Encoding": "identity"}) as answer:
        answer.raise_for_status()
        with file.open("wb") as opened:
            async for chunk in answer.aiter_raw():
                opened.write(chunk)
    return answer.status_code


async def export_facts(database: BenchDatabase, folder: Path) -> None:
    """Write the fact tables with the command."""
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from registry.cli import main; main()", "export", "--parquet", str(folder)),
        env={**os.environ, "REGISTRY_DATABASE_URL": database.app_url, "REGISTRY_DATA_DIR": database.folder},
        stderr=asyncio.subprocess.DEVNULL,
    )
    if await command.wait() != 0:
        raise RuntimeError("the fact tables were not exported")


# --- the same figures in SQL ------------------------------------------------------------------------------------------

_AMOUNT = "sum(value::DECIMAL(24, 6)), count(*)"
_OF_DEALS = "JOIN (SELECT deal, {columns} FROM deals) AS d USING (deal)"

TOTALS = f"SELECT currency, {_AMOUNT} FROM pledges GROUP BY ALL"

CONVERTED = """
SELECT sum(CASE currency WHEN 'USD' THEN 1400 WHEN 'EUR' THEN 1500 WHEN 'JPY' THEN 9.3 ELSE 1 END
           * value::DECIMAL(24, 6))
  FROM pledges
"""

FACETS = " UNION ALL ".join(
    f"SELECT '{name}', {value}::VARCHAR AS value, count(*) FROM {table} GROUP BY ALL"
    for name, value, table in (
        ("stage", "stage", "deals"),
        ("kind", "kind", "deals"),
        ("sector", "value", "(SELECT unnest(string_split(sectors, '; ')) AS value FROM deals)"),
        ("organization", "value", "(SELECT unnest(string_split(organizations, '; ')) AS value FROM deals)"),
        ("region", "value", "(SELECT unnest(string_split(places, '; ')) AS value FROM deals)"),
        ("currency", "currency", "(SELECT DISTINCT deal, currency FROM pledges)"),
        ("commitment", "commitment", "(SELECT DISTINCT deal, commitment FROM pledges)"),
    )
)


def totals_by(key: str, columns: str = "") -> str:
    """The totals by a value, the largest first; `columns` of the deals are joined."""
    join = _OF_DEALS.format(columns=columns) if columns else ""
    return f"SELECT {key} AS key, currency, {_AMOUNT} FROM pledges {join} GROUP BY ALL ORDER BY 3 DESC LIMIT 100"


def at(position: int, day: str, table: str = "p") -> str:
    """The condition that a row of a fact table holds at a point in time."""
    return (
        f"{table}.effective_from <= DATE '{day}' AND {table}.effective_to > DATE '{day}'"
        f" AND {table}.recorded_from <= {position} AND {table}.recorded_to > {position}"
    )


def past_totals(position: int, day: str) -> str:
    """The totals by organization at a point in time."""
    return f"""
SELECT key, currency, sum(value), count(*)
  FROM (SELECT *, unnest(organizations) AS key
          FROM pledge_facts AS p
         WHERE {at(position, day)} AND status <> 'withdrawn')
 GROUP BY ALL ORDER BY 3 DESC LIMIT 100
"""


def past_facets(position: int, day: str) -> str:
    """The facets at a point in time."""
    tables = (
        ("stage", "stage", "stage_facts AS p", ""),
        ("kind", "kind", "deal_facts AS p", ""),
        ("sector", "unnest(sectors)", "deal_facts AS p", ""),
        ("organization", "organization", "party_facts AS p", "AND left_on IS NULL"),
        ("region", "place", "site_facts AS p", "AND status <> 'dropped'"),
        ("currency", "currency", "pledge_facts AS p", "AND status <> 'withdrawn'"),
        ("commitment", "commitment", "pledge_facts AS p", "AND status <> 'withdrawn'"),
    )
    return " UNION ALL ".join(
        f"SELECT '{name}' AS facet, value, count(DISTINCT deal)"
        f" FROM (SELECT deal, {value} AS value FROM {table} WHERE {at(position, day)} {more}) GROUP BY ALL"
        for name, value, table, more in tables
    )


def chart(days: str, selected: str = "") -> str:
    """The amounts on some days by tier, in one currency; `days` is a list of dates in SQL."""
    return f"""
SELECT d.day, sum(w.value), sum(w.value) FILTER (w.commitment IS DISTINCT FROM 'intention'),
       sum(w.value) FILTER (w.commitment IS DISTINCT FROM 'intention'
                            AND (w.status = 'confirmed' OR w.commitment IN ('binding', 'budget')
                                 OR s.stage IN ('construction', 'operating'))),
       sum(w.value) FILTER (w.commitment IS DISTINCT FROM 'intention' AND s.stage IN ('construction', 'operating')),
       sum(w.value) FILTER (w.commitment IS DISTINCT FROM 'intention' AND s.stage = 'operating')
  FROM (SELECT unnest({days}) AS day) AS d
       JOIN (SELECT * REPLACE (CASE currency WHEN 'USD' THEN 1400 WHEN 'EUR' THEN 1500 WHEN 'JPY' THEN 9.3 ELSE 1 END
                               * value AS value)
               FROM pledge_facts AS p
              WHERE recorded_to >= {2**62} AND status <> 'withdrawn' {selected}) AS w
         ON w.effective_from <= d.day AND w.effective_to > d.day
       LEFT JOIN (SELECT * FROM stage_facts WHERE recorded_to >= {2**62}) AS s
         ON s.deal = w.deal AND s.effective_from <= d.day AND s.effective_to > d.day
 WHERE s.stage IS NULL OR s.stage NOT IN ('cancelled', 'withdrawn')
 GROUP BY d.day ORDER BY d.day
"""


def difference(position: int, before: str, after: str) -> str:
    """The pledges that differ between two days, and what the sums differ by."""
    return f"""
WITH a AS (SELECT * FROM pledge_facts AS p WHERE {at(position, before)}),
     b AS (SELECT * FROM pledge_facts AS p WHERE {at(position, after)}),
     changed AS (
    SELECT deal, pledge, a.value AS before, b.value AS after, coalesce(b.currency, a.currency) AS currency
      FROM a FULL JOIN b USING (deal, pledge)
     WHERE (a.value, a.currency, a.status) IS DISTINCT FROM (b.value, b.currency, b.status)
)
SELECT *, (SELECT list(t) FROM (SELECT currency, sum(before), sum(after) FROM changed GROUP BY currency) AS t)
  FROM changed ORDER BY deal, pledge LIMIT 100
"""
