"""The migrations create the declared schema, `schema.txt`.

After a new migration, write the file again and review its diff:

    REGISTRY_WRITE_SCHEMA=1 .venv/bin/pytest tests/infra/test_schema.py
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from registry.cli import server
from registry.errors import MigrationFailed
from registry.infra import migrations
from registry.infra.problems import DatabaseProblem
from registry.infra.settings import Settings
from registry.projections.rebuild import outdated_tables
from tests.append_helpers import REGISTERED, assert_projections_match_log, request, running_recorder
from tests.databases import APP_ROLE, ScratchDatabase, at
from tests.infra.schema_dump import dump

DECLARED = Path(__file__).with_name("schema.txt")

# The SHA-256 of each released migration: a database that has run it does not run it again.
RELEASED = {"0001_baseline.py": "2cc7bd15be596c3190f49a704a0b3110238a3bdb7925fbd72469d1e78948c9f4"}


@pytest.mark.parametrize("name", RELEASED)
def test_released_migration_is_not_edited(name: str) -> None:
    content = (migrations.folder() / "versions" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == RELEASED[name], "add a migration instead"


async def test_migrated_database_has_the_declared_schema(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    schema = await dump(owner, APP_ROLE)
    if os.environ.get("REGISTRY_WRITE_SCHEMA"):
        DECLARED.write_text(schema)
    assert schema == DECLARED.read_text()


async def test_newer_schema_is_left_alone_and_refused_where_this_release_does_not_work_on_it(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    await owner.execute("UPDATE alembic_version SET version_num = '9999'")
    assert await migrations.migrate(database.owner_url, APP_ROLE) == "9999"
    await owner.execute("UPDATE schema_support SET compatible_since = '9999'")
    with pytest.raises(MigrationFailed) as failed:
        await migrations.migrate(database.owner_url, APP_ROLE)
    assert failed.value.params["reason"] == DatabaseProblem("unknown_schema", version="9999")
    assert await owner.fetchval("SELECT version_num FROM alembic_version") == "9999"
    assert await dump(owner, APP_ROLE) == DECLARED.read_text()


STATED = (
    {"type": "site_announced", "site": "plant", "place": "KR-31", "district_code": "31140"},
    {"type": "milestone_scheduled", "milestone": "start", "kind": "power_on", "name": {"en": "Start"}},
    {"type": "incentive_granted", "incentive": "credit", "kind": "tax_credit"},
    {"type": "setback_reported", "setback": "suit", "kind": "litigation"},
    {"type": "incentive_ended", "incentive": "credit"},
)


async def test_database_of_the_first_release_gets_the_schema_and_the_rows_of_this_one(
    database: ScratchDatabase,
    admin: asyncpg.Connection[asyncpg.Record],
    owner: asyncpg.Connection[asyncpg.Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_recorder(database.app_url) as recorder:
        events = [{"effective_on": f"2025-0{month}-01", "event": event} for month, event in enumerate(STATED, 1)]
        await recorder.record(request("plant", REGISTERED, *events))
    released = replace(
        database,
        name=f"{database.name}_released",
        owner_url=at(database.owner_url, f"{database.name}_released"),
        app_url=at(database.app_url, f"{database.name}_released"),
    )
    await admin.execute(f"CREATE DATABASE {released.name}")
    try:
        await _migrate_to_the_first_release(released, tmp_path, monkeypatch)
        connection = await asyncpg.connect(released.owner_url)
        await _copy_rows(owner, connection)
        settings = Settings(
            database_url=released.app_url,
            owner_url=released.owner_url,
            data_dir=tmp_path,
            signing_key=tmp_path / "signing.key",
        )
        await server.migrate(settings)
        assert await dump(connection, APP_ROLE) == DECLARED.read_text()
        assert await outdated_tables(connection) == []
        await assert_projections_match_log(released)
        assert await connection.fetchval("SELECT DISTINCT district_code FROM site_facts") == "31140"
        # Copies of the fact tables reload what the rebuild has replaced.
        assert await connection.fetchval("SELECT count(*) FROM fact_resets WHERE deal = 'plant'") > 0
        await connection.close()
    finally:
        await admin.execute(f"DROP DATABASE {released.name} WITH (FORCE)")


async def _migrate_to_the_first_release(
    database: ScratchDatabase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the first release's migration."""
    shutil.copytree(migrations.folder(), folder / "migrations", ignore=shutil.ignore_patterns("000[2-9]*"))
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "folder", lambda: folder / "migrations")
        migrations.head.cache_clear()
        assert await migrations.migrate(database.owner_url, APP_ROLE) == "0001"
    migrations.head.cache_clear()


async def _copy_rows(source: asyncpg.Connection[asyncpg.Record], target: asyncpg.Connection[asyncpg.Record]) -> None:
    """Copy the rows of all tables that the target has and that are empty there, in the columns that it has."""
    await target.execute("SET session_replication_role = replica")  # Without triggers.
    tables = await target.fetch(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) AS columns"
        " FROM information_schema.columns JOIN pg_tables ON schemaname = table_schema AND tablename = table_name"
        " WHERE table_schema = 'public' GROUP BY table_name"
    )
    for table, columns in tables:
        if await target.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):
            continue
        rows = await source.fetch(f"SELECT {', '.join(columns)} FROM {table}")
        await target.copy_records_to_table(table, records=rows, columns=columns)
