"""The rights of the application's role, the pools, the migrations, and the classification of errors."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from registry.errors import DatabaseUnusable, MigrationFailed
from registry.infra import migrations, postgres
from registry.infra.problems import DatabaseProblem
from tests.conftest import PATIENCE
from tests.databases import ScratchDatabase


async def test_application_role_can_only_add_to_the_log(pool: asyncpg.Pool[asyncpg.Record]) -> None:
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


@pytest.mark.parametrize(
    ("version", "compatible_since", "works"),
    [("0002", "0001", True), ("0003", "0001", True), ("0004", "0003", False), ("0001", "0001", False)],
)
async def test_release_works_on_its_schema_and_on_newer_ones_that_support_it(
    version: str, compatible_since: str, works: bool, pool: asyncpg.Pool[asyncpg.Record], database: ScratchDatabase
) -> None:
    assert migrations.head() == "0002"
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("UPDATE alembic_version SET version_num = $1", version)
    await owner.execute("UPDATE schema_support SET compatible_since = $1", compatible_since)
    await owner.close()
    assert await migrations.head_matches(pool) is works


async def test_migrated_database_is_at_the_newest_version(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    assert await migrations.head_matches(pool)


def test_newest_migration_has_the_highest_number() -> None:
    """`head` reads the files' names; alembic follows each migration to the one before it."""
    assert migrations.head() == ScriptDirectory.from_config(migrations.alembic_config()).get_current_head()


async def test_connection_has_a_name_and_uses_utc(database: ScratchDatabase) -> None:
    connections = await postgres.pool(database.app_url, name="a name", min_size=1)
    async with connections:
        assert await connections.fetchval("SHOW timezone") == "UTC"
        assert await connections.fetchval("SHOW application_name") == "a name"


async def test_pool_counts_when_a_connection_is_waited_for_and_ends_its_connections(database: ScratchDatabase) -> None:
    async with await postgres.pool(database.app_url, min_size=1, max_size=1) as connections:
        async with connections.acquire():
            waiting = asyncio.create_task(connections.fetchval("SELECT 1"))
            await asyncio.sleep(0)
            assert connections.waits == 1
        assert await waiting == 1
        stuck = asyncio.create_task(connections.execute("SELECT pg_sleep(600)"))
        async with asyncio.timeout(PATIENCE):
            while connections.get_idle_size():  # noqa: ASYNC110 - the pool has no event for it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            connections.abandon()
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
                await stuck
            assert await connections.fetchval("SELECT 2") == 2


async def test_connection_to_a_replica_cannot_write(database: ScratchDatabase) -> None:
    connections = await postgres.pool(database.app_url, min_size=1, read_only=True)
    async with connections:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connections.execute("INSERT INTO alembic_version VALUES ('x')")


async def test_statement_over_its_time_limit_is_cancelled(database: ScratchDatabase) -> None:
    connections = await postgres.pool(database.app_url, min_size=1, timeout=0.05)
    async with connections:
        with pytest.raises(TimeoutError):
            await connections.execute("SELECT pg_sleep(60)")


async def test_migration_revokes_rights_that_it_does_not_grant(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    role = postgres.role_of(database.app_url)
    await owner.execute(f"GRANT ALL ON events, alembic_version TO {role}; GRANT UPDATE ON events TO PUBLIC")
    assert await migrations.migrate(database.owner_url, role) == migrations.head()
    for table in ("events", "alembic_version"):
        assert not await owner.fetchval("SELECT has_table_privilege($1, $2, 'UPDATE')", role, table)


async def test_migration_for_a_missing_role_fails_with_the_role_name(database: ScratchDatabase) -> None:
    with pytest.raises(MigrationFailed) as error:
        await migrations.migrate(database.owner_url, "missing_role")
    assert error.value.params["reason"] == DatabaseProblem("role_missing", role="missing_role")


async def test_migration_that_cannot_get_a_table_lock_fails(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    # A reader holds a lock on the table that every migration reads first.
    async with owner.transaction():
        await owner.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(MigrationFailed, match="lock timeout"):
            await migrations.migrate(database.owner_url, postgres.role_of(database.app_url))


@pytest.mark.parametrize(
    ("url", "role"),
    [
        ("postgresql://app@db/registry", "app"),
        ("postgresql://a%40b:secret@/registry?host=/run", "a@b"),
        ("postgresql://db/registry?user=app", "app"),
    ],
)
def test_role_is_read_from_the_url(url: str, role: str) -> None:
    assert postgres.role_of(url) == role


def test_url_without_a_role_is_refused() -> None:
    with pytest.raises(DatabaseUnusable) as error:
        postgres.role_of("postgresql://db/registry")
    assert error.value.params["reason"] == DatabaseProblem("url_without_role")


async def test_lost_server_is_distinguished_from_a_wrong_statement(database: ScratchDatabase) -> None:
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
    lost = [postgres.is_connection_lost(caught.value) for caught in (wrong, slow, ended, closed, gone, file)]
    assert lost == [False, False, True, True, True, False]


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@one:5432/d?sslmode=disable", ["postgresql://u:p@one:5432/d?sslmode=disable"]),
        (
            "postgresql://u:p@one:5432,two:5433/d?target_session_attrs=primary",
            [
                "postgresql://u:p@one:5432/d?target_session_attrs=primary",
                "postgresql://u:p@two:5433/d?target_session_attrs=primary",
            ],
        ),
        (
            "postgresql://u:p@/d?host=/a,/b&port=5432,5433",
            ["postgresql://u:p@/d?host=%2Fa&port=5432", "postgresql://u:p@/d?host=%2Fb&port=5433"],
        ),
        ("postgresql://u:p@/d?host=/a", ["postgresql://u:p@/d?host=%2Fa"]),
    ],
)
def test_url_with_several_hosts_is_a_url_for_each(url: str, hosts: list[str]) -> None:
    assert [one.replace("host=/", "host=%2F") for one in postgres.hosts_of(url)] == hosts


async def test_pool_connects_past_a_host_that_hangs(database: ScratchDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen server accepts a connection and never answers."""
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        hanging = f"127.0.0.1:{frozen.getsockname()[1]}"
        parts = urlsplit(database.app_url)
        place = parse_qs(parts.query)
        if "host" in place:
            hosts = {
                "host": f"127.0.0.1,{place['host'][0]}",
                "port": f"{hanging.rpartition(':')[2]},{place['port'][0]}",
            }
            url = urlunsplit(parts._replace(query=urlencode(hosts)))
        else:
            user, _, host = parts.netloc.rpartition("@")
            url = urlunsplit(parts._replace(netloc=f"{user}@{hanging},{host}"))
        async with await postgres.pool(url, min_size=1) as pool:
            assert await pool.fetchval("SELECT 1") == 1
