"""What the registry is compared with: the library `eventsourcing` with its Postgres recorder, pgbench, and COPY."""

from __future__ import annotations

import asyncio
import math
import os
import re
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import asyncpg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from bench import workload
from registry.infra.embedded.binaries import find_binaries
from registry.infra.embedded.user import User
from registry.projections import PROJECTIONS


def datastore(url: str, connections: int, *, functions: bool = False) -> PostgresDatastore:
    """The connections of `eventsourcing`; with `functions`, it uses functions in the database that do not lock."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return PostgresDatastore(
        dbname=parts.path.lstrip("/"),
        host=parts.hostname or query["host"][0],
        port=parts.port or query["port"][0],
        user=parts.username or "",
        password=unquote(parts.password or ""),
        pool_size=connections,
        max_overflow=0,
        enable_db_functions=functions,
    )


def eventsourcing_appends(url: str, threads: int, seconds: float, *, functions: bool = False, batch: int = 1) -> float:
    """Events per second of the recorder of `eventsourcing`; each call appends the next `batch` events of an aggregate.

    By default it locks its table, so that a reader in order of ids misses no event. With its database functions
    (`functions`) it does not, and a reader can miss events.
    """
    store = datastore(url, threads, functions=functions)
    recorder = PostgresApplicationRecorder(
        store, events_table_name="eventsourcing_functions" if functions else "eventsourcing_events"
    )
    recorder.create_table()
    bodies = [workload.encode(workload.announcement(deal, step)) for deal, step in workload.recording_order(64)]
    end = time.perf_counter() + seconds

    def append(thread: int) -> int:
        done = 0
        while time.perf_counter() < end:
            stream = uuid4()
            for first in range(0, max(batch, workload.ROUNDS), batch):
                if time.perf_counter() >= end:
                    break
                recorder.insert_events(
                    [
                        StoredEvent(stream, first + i + 1, "bench:Event", bodies[(done + i) % len(bodies)])
                        for i in range(batch)
                    ]
                )
                done += batch
        return done

    start = time.perf_counter()
    try:
        with ThreadPoolExecutor(threads) as pool:
            done = sum(pool.map(append, range(threads)))
        return done / (time.perf_counter() - start)
    finally:
        store.close()


async def pgbench_inserts(url: str, clients: int, seconds: float) -> float:
    """Transactions per second of pgbench with one INSERT of an announcement each."""
    body = workload.encode(workload.announcement(1, 2)).decode().replace("'", "''")
    program = find_binaries(User.for_data_dir()).bin / "pgbench"
    await execute(url, "CREATE TABLE IF NOT EXISTS pgbench_rows (number bigserial PRIMARY KEY, body text NOT NULL)")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"INSERT INTO pgbench_rows (body) VALUES ('{body.replace(':', chr(92) + ':')}');\n")
        script.flush()
        command = [
            program,
            "-n",
            "-M",
            "prepared",
            "-f",
            script.name,
            "-c",
            clients,
            "-j",
            1,
            "-T",
            max(1, round(seconds)),
        ]
        process = await asyncio.create_subprocess_exec(
            *map(str, command), url, stdout=asyncio.subprocess.PIPE, env=_library_path(program)
        )
        out, _ = await process.communicate()
    rate = re.search(r"tps = ([\d.]+)", out.decode())
    if rate is None:
        raise RuntimeError(f"pgbench failed: {out.decode()}")
    return float(rate.group(1))


def _library_path(program: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(program.parent.parent / "lib")}


async def execute(url: str, statement: str) -> None:
    """Run a statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


# The tables that an import of deals writes.
LOG_TABLES = ("events", "event_contents", "tiles")
PROJECTION_TABLES = tuple(
    table for projection in PROJECTIONS for table in projection.tables if table != "organizations"
)


async def copy_seconds(source: str, target: str, tables: Sequence[str], part: float = 1) -> float:
    """Seconds that COPY takes for a part of the rows of these tables, into tables with the same columns and indexes.

    The rows are read first; only the writing is timed, with one transaction per thousand rows.
    """
    reading, writing = await asyncpg.connect(source), await asyncpg.connect(target)
    total = 0.0
    try:
        for table in tables:
            count = await reading.fetchval(f"SELECT count(*) FROM {table}")
            rows: list[Any] = await reading.fetch(f"SELECT * FROM {table} LIMIT $1", math.ceil(count * part))
            columns = list(rows[0].keys()) if rows else []
            await writing.execute(f"TRUNCATE {table}")
            start = time.perf_counter()
            for first in range(0, len(rows), 1000):
                await writing.copy_records_to_table(table, records=rows[first : first + 1000], columns=columns)
            total += time.perf_counter() - start
    finally:
        await reading.close()
        await writing.close()
    return total


async def baseline_tables(url: str, tables: Sequence[str]) -> None:
    """Create the tables with their indexes, without checks, triggers and foreign keys."""
    from registry.infra import migrations
    from registry.infra.embedded.server import APP_ROLE

    await migrations.migrate(url, APP_ROLE)
    for table in tables:
        await execute(url, f"CREATE TABLE baseline_{table} (LIKE {table} INCLUDING INDEXES)")
        await execute(url, f"DROP TABLE {table} CASCADE")
        await execute(url, f"ALTER TABLE baseline_{table} RENAME TO {table}")
