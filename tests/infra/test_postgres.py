"""The schema's rights, the pools, and what their errors mean."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from registry.errors import MigrationFailed
from registry.infra import postgres
from tests.conftest import ScratchDatabase


async def test_the_application_may_add_to_the_log_and_nothing_else(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    for statement in (
        "UPDATE events SET position = position",
        "DELETE FROM events",
        "TRUNCATE events",
        "DELETE FROM event_contents",
        "UPDATE event_contents SET salt = salt",
        "CREATE TABLE mine (a int)",
        "DELETE FROM alembic_version",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    rights = await pool.fetch(
        "SELECT r FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS r"
        " WHERE has_table_privilege('events', r)"
    )
    assert [row["r"] for row in rights] == ["SELECT", "INSERT"]


async def test_a_migrated_database_is_at_the_head(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    assert await postgres.migration_head_matches(pool)


def test_the_newest_migration_is_the_one_with_the_highest_number() -> None:
    """`head` goes by the files' names; alembic goes from each migration to the one before it."""
    assert postgres.head() == ScriptDirectory.from_config(postgres.alembic_config()).get_current_head()


async def test_a_connection_is_named_and_lives_in_utc(database: ScratchDatabase) -> None:
    connections = await postgres.pool(database.app_url, name="a name", min_size=1)
    async with connections:
        assert await connections.fetchval("SHOW timezone") == "UTC"
        assert await connections.fetchval("SHOW application_name") == "a name"


async def test_a_replicas_connection_cannot_write(database: ScratchDatabase) -> None:
    connections = await postgres.pool(database.app_url, min_size=1, read_only=True)
    async with connections:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connections.execute("INSERT INTO alembic_version VALUES ('x')")


async def test_a_statement_that_takes_too_long_is_ended(database: ScratchDatabase) -> None:
    connections = await postgres.pool(database.app_url, min_size=1, timeout=0.05)
    async with connections:
        with pytest.raises(TimeoutError):
            await connections.execute("SELECT pg_sleep(60)")


async def test_migrating_again_takes_back_rights_that_nobody_granted_here(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    role = postgres.role_of(database.app_url)
    await owner.execute(f"GRANT ALL ON events, alembic_version TO {role}; GRANT UPDATE ON events TO PUBLIC")
    assert await postgres.migrate(database.owner_url, role) == postgres.head()
    for table in ("events", "alembic_version"):
        assert not await owner.fetchval("SELECT has_table_privilege($1, $2, 'UPDATE')", role, table)


async def test_a_role_that_is_missing_is_told(database: ScratchDatabase) -> None:
    with pytest.raises(MigrationFailed, match="CREATE ROLE nobody_made_it"):
        await postgres.migrate(database.owner_url, "nobody_made_it")


async def test_a_database_of_another_version_is_not_at_the_head(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record], pool: asyncpg.Pool[asyncpg.Record]
) -> None:
    await owner.execute("UPDATE alembic_version SET version_num = 'later'")
    assert not await postgres.migration_head_matches(pool)


async def test_a_migration_that_cannot_get_its_lock_gives_up(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    # The schema's first step, asked for again while a reader holds the table that it must change.
    async with owner.transaction():
        await owner.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(MigrationFailed, match="lock timeout"):
            await postgres.migrate(database.owner_url, postgres.role_of(database.app_url))


@pytest.mark.parametrize(
    ("url", "role"),
    [
        ("postgresql://app@db/registry", "app"),
        ("postgresql://a%40b:secret@/registry?host=/run", "a@b"),
        ("postgresql://db/registry?user=app", "app"),
    ],
)
def test_a_url_names_its_role(url: str, role: str) -> None:
    assert postgres.role_of(url) == role


def test_a_url_without_a_role_is_refused() -> None:
    with pytest.raises(ValueError, match="names no role"):
        postgres.role_of("postgresql://db/registry")


async def test_a_server_that_is_gone_is_told_from_a_question_that_is_wrong(database: ScratchDatabase) -> None:
    connection = await asyncpg.connect(database.app_url)
    with pytest.raises(asyncpg.UndefinedTableError) as wrong:
        await connection.execute("SELECT FROM nowhere")
    with pytest.raises(asyncpg.QueryCanceledError) as slow:
        await connection.execute("SET statement_timeout = 1; SELECT pg_sleep(60)")
    with pytest.raises(asyncpg.PostgresConnectionError) as ended:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(asyncpg.InterfaceError) as closed:
        await connection.execute("SELECT 1")
    with pytest.raises(OSError, match="No such file") as gone:
        await asyncpg.connect("postgresql://app@/registry?host=/nowhere")
    with pytest.raises(OSError, match="nowhere") as file:
        await asyncio.to_thread(Path("/nowhere").read_bytes)
    told = [postgres.is_connection_lost(caught.value) for caught in (wrong, slow, ended, closed, gone, file)]
    assert told == [False, False, True, True, True, False]
