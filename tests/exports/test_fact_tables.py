"""The fact tables as Parquet: any engine answers from the files what the registry answers, now and in the past."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from registry.domain.history import AsOf
from registry.domain.totals import TotalsQuery
from registry.exports.fact_tables import publish
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.selection import Selection
from registry.projections.facts import FACT_TABLES
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.databases import ScratchDatabase

SITE = {"effective_on": "2025-06-16", "event": {"type": "site_announced", "site": "a", "place": "KR-31"}}

SUMS = """
SELECT currency, sum(value)
  FROM '{folder}/latest/pledge_facts.parquet'
 WHERE effective_from <= $day AND effective_to > $day AND recorded_from <= $position AND recorded_to > $position
 GROUP BY currency
"""


async def fill(database: ScratchDatabase, slug: str) -> int:
    """Record a deal with a pledge that is revised later; return the log's last position."""
    amount = {"value": "7000000000000.5", "currency": "KRW"}
    revised = {"effective_on": "2025-09-01", "event": {"type": "pledge_revised", "pledge": "total", "amount": amount}}
    async with running_recorder(database.app_url) as recorder:
        result = await recorder.record(request(slug, REGISTERED, pledged(), SITE, revised))
    return result.position


def sums(folder: Path, position: int, day: date) -> dict[str, Decimal]:
    """The amounts by currency at a point in time, as another engine reads them."""
    found = duckdb.execute(SUMS.format(folder=folder), {"position": position, "day": day}).fetchall()
    return dict(found)


async def test_files_answer_what_the_registry_answers_at_any_point(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    position = await fill(database, "a")
    streams = StreamReader(pool)
    async with ColumnarCopy(pool, tmp_path / "copy") as copy:
        manifest = await publish(copy, tmp_path / "files")
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        assert manifest.position == position
        assert manifest.leaf_hash == (await pool.fetchval("SELECT leaf_hash FROM events ORDER BY position DESC")).hex()
        for known in range(1, position + 1):
            for day in (date(2025, 7, 1), date(2026, 1, 1)):
                point = await queries.point(AsOf(position=known, effective_on=day))
                totals = await queries.totals(point, Selection(), TotalsQuery(), await queries.rates(AsOf()))
                expected = {column.currency: Decimal(column.low) for column in totals.overall.columns}
                assert sums(tmp_path / "files", known, day) == expected


async def test_files_have_the_columns_of_the_tables_with_their_types(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    await fill(database, "a")
    async with ColumnarCopy(pool, tmp_path / "copy") as copy:
        manifest = await publish(copy, tmp_path / "files")
    assert set(manifest.tables) == {table.name for table in FACT_TABLES} | {"deal_events"}
    for table in FACT_TABLES:
        rows = await pool.fetch(f"SELECT * FROM {table.name}")
        described = duckdb.execute(f"DESCRIBE FROM '{tmp_path}/files/latest/{table.name}.parquet'").fetchall()
        columns = await pool.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position",
            table.name,
        )
        assert [name for name, *_ in described] == [column["column_name"] for column in columns]
        types = {name: type for name, type, *_ in described}
        assert (types["effective_to"], types["recorded_to"], types["deal"]) == ("DATE", "BIGINT", "VARCHAR")
        assert manifest.tables[table.name] == len(rows)
    amount = duckdb.execute(f"SELECT typeof(value) FROM '{tmp_path}/files/latest/pledge_facts.parquet'").fetchall()
    assert amount[0] == ("DECIMAL(24,6)",)


async def test_publication_follows_the_log_and_leaves_the_one_before(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    first = await fill(database, "a")
    async with ColumnarCopy(pool, tmp_path / "copy") as copy:
        one = await publish(copy, tmp_path / "files")
        assert await publish(copy, tmp_path / "files") == one
        positions = [await fill(database, slug) for slug in ("b", "c")]
        for _ in positions:
            await publish(copy, tmp_path / "files")
        last = await fill(database, "d")
        await publish(copy, tmp_path / "files")
    folders = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert folders == sorted([str(positions[-1]), str(last), "latest"])
    assert sums(tmp_path / "files", first, date(2026, 1, 1)) == {"KRW": Decimal("7000000000000.5")}


@pytest.mark.parametrize("every", [(), ("--every", "0.2")])
async def test_command_writes_the_files_and_goes_on_when_asked_to(
    database: ScratchDatabase, tmp_path: Path, every: tuple[str, ...]
) -> None:
    position = await fill(database, "a")
    files = tmp_path / "files"
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from registry.cli import main; main()", "export", "--parquet", str(files), *every),
        env={**os.environ, "REGISTRY_DATABASE_URL": database.app_url, "REGISTRY_DATA_DIR": str(tmp_path / "data")},
    )
    try:
        if not every:
            assert await asyncio.wait_for(command.wait(), 60) == 0
        assert await published(files, position) == position
        if every:
            position = await fill(database, "b")
            assert await published(files, position) == position
    finally:
        if command.returncode is None:
            command.terminate()
            await command.wait()


async def published(files: Path, position: int) -> int:
    """The position of the latest publication, once it is this one."""
    found: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while found.get("position") != position:
            await asyncio.sleep(0.05)
            manifest = files / "latest" / "manifest.json"
            if manifest.exists():
                found = msgspec.json.decode(manifest.read_bytes())
    return int(found["position"])
