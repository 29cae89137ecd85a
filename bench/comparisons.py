"""The peer, `eventsourcing` with its Postgres recorder, and the bare statements: what the same rows cost alone."""

from __future__ import annotations

import asyncio
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


def _datastore(url: str, connections: int, functions: bool) -> PostgresDatastore:
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


def peer_appends(url: str, threads: int, seconds: float, *, functions: bool = False, batch: int = 1) -> float:
    """Events per second of the peer's recorder in process; each call appends one aggregate's next events.

    By default it locks its table, so that readers in order of ids miss nothing; its database functions (`functions`) do
    not, and are unsafe in that way.
    """
    datastore = _datastore(url, threads, functions)
    recorder = PostgresApplicationRecorder(
        datastore, events_table_name="peer_functions" if functions else "peer_events"
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
        datastore.close()


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
    found = re.search(r"tps = ([\d.]+)", out.decode())
    if found is None:
        raise RuntimeError(f"pgbench said: {out.decode()}")
    return float(found.group(1))


def _library_path(program: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": str(program.parent.parent / "lib")}


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


# What an import of deals writes, table by table.
LOG = ("events", "event_contents", "tiles")
OF_VIEWS = tuple(table for view in PROJECTIONS for table in view.tables if table != "organizations")


async def copy_seconds(source: str, target: str, tables: Sequence[str]) -> float:
    """Seconds that a bare COPY takes for all rows of these tables, into tables with the same columns and indexes.

    The rows are read first: only their way into the database counts, in one transaction for each thousand rows.
    """
    reading, writing = await asyncpg.connect(source), await asyncpg.connect(target)
    total = 0.0
    try:
        for table in tables:
            held: list[Any] = await reading.fetch(f"SELECT * FROM {table}")
            columns = list(held[0].keys()) if held else []
            await writing.execute(f"TRUNCATE {table}")
            start = time.perf_counter()
            for first in range(0, len(held), 1000):
                await writing.copy_records_to_table(table, records=held[first : first + 1000], columns=columns)
            total += time.perf_counter() - start
    finally:
        await reading.close()
        await writing.close()
    return total


async def bare_tables(url: str, source: str, tables: Sequence[str]) -> None:
    """The tables with their indexes, without checks, triggers and references."""
    from registry.infra import postgres
    from registry.infra.embedded.server import APP_ROLE

    await postgres.migrate(url, APP_ROLE)
    for table in tables:
        await execute(url, f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING INDEXES)")
        await execute(url, f"DROP TABLE {table} CASCADE")
        await execute(url, f"ALTER TABLE bare_{table} RENAME TO {table}")
