"""The logs that several benchmarks ask: each is imported once, by the first of them, and kept with the data."""

from __future__ import annotations

import shutil
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from bench import import_load, service, workload
from bench.context import Bench
from bench.import_load import ImportResult
from bench.multiplied import multiply
from bench.service import BenchDatabase
from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE

MADE = "made.json"


class PreparedLog(Struct):
    """A database with a log, and how its parts were imported, one after the other."""

    database: BenchDatabase
    imports: list[ImportResult]


async def prepared_log(bench: Bench, deals: int) -> PreparedLog:
    """The log with the histories of this number of deals, of this run or of an earlier one with the same data folder.

    One that is larger than the large log is a multiple of it (`multiplied.py`).
    """
    name = f"bench_log_{deals}"
    folder = bench.folder / name
    made = folder / MADE
    if made.exists():
        imports = msgspec.json.decode(made.read_bytes(), type=list[ImportResult])
        database = service.existing_database(bench.server, name, folder)
        await migrations.migrate(database.owner_url, APP_ROLE)
        return PreparedLog(database, imports)
    shutil.rmtree(folder, ignore_errors=True)
    if deals > bench.sizes.large:
        return await _multiplied(bench, name, folder, deals)
    database = await service.kept_database(bench.server, name, folder)
    part = max(1, deals // (bench.sizes.repetitions + 1))
    imports = []
    for first in range(0, deals, part):
        imports.append(await import_load.histories(database, min(part, deals - first), first))
        bench.log_progress(f"{imports[-1].rate:,.0f} events/s imported, {imports[-1].peak:.0f} MB")
    bench.log_progress(f"{deals * workload.ROUNDS:,} events are in the log")
    await vacuum(database)
    made.write_bytes(msgspec.json.encode(imports))
    return PreparedLog(database, imports)


async def _multiplied(bench: Bench, name: str, folder: Path, deals: int) -> PreparedLog:
    large = await prepared_log(bench, bench.sizes.large)
    database = await service.kept_copy(bench.server, large.database, name, folder)
    await multiply(database.owner_url, bench.sizes.large, deals // bench.sizes.large)
    bench.log_progress(f"{deals * workload.ROUNDS:,} events are in the log")
    await vacuum(database)
    (folder / MADE).write_bytes(msgspec.json.encode([]))
    return PreparedLog(database, [])


async def vacuum(database: BenchDatabase) -> None:
    """Do at once what autovacuum and the checkpointer would do within minutes."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
