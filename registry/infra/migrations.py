"""The schema: its migrations, the releases that work on it, and the rights of the application's role."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from registry.errors import MigrationFailed
from registry.infra.postgres import Connection, Pool
from registry.infra.problems import DatabaseProblem

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection as SqlConnection

# The advisory lock that orders migrations of several processes. An arbitrary number that must never change.
MIGRATION_LOCK = 7_310_461_908_512_337

COMPATIBLE_SINCE = "0001"
"""The oldest schema whose services work on the newest one. Raised by a migration that removes something."""

HAS_SCHEMA = """
SELECT to_regclass('public.alembic_version') IS NOT NULL AND to_regclass('public.schema_support') IS NOT NULL
"""

SELECT_SCHEMA = "SELECT version_num AS version, compatible_since FROM alembic_version, schema_support"

SET_SCHEMA_SUPPORT = "UPDATE schema_support SET compatible_since = $1"

# Every query queues behind a migration that waits for a lock, so it gives up early and is started again. A migration
# that has to run longer than this sets its own limit with SET LOCAL statement_timeout.
SET_TIMEOUTS = ("SET lock_timeout = '5s'", "SET statement_timeout = '60s'")

EVIDENCE = (
    *("events", "event_contents", "tiles", "checkpoints", "signing_keys"),
    *("exchange_rates", "log_incidents", "keys"),
    *("mirror_keys", "mirror_incidents", "cosignatures"),
)
"""The tables to which the application's role may only add rows."""

NAME_ROLE_AND_EVIDENCE = """
SELECT set_config('registry.app_role', $1, true), set_config('registry.evidence', $2, true)
"""

GRANT_RIGHTS = """
DO $$
DECLARE
    app text := current_setting('registry.app_role');
    evidence text[] := string_to_array(current_setting('registry.evidence'), ',');
    item record;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', app);
    FOR item IN
        SELECT c.oid::regclass AS name,
               CASE
                   WHEN c.relname = ANY (evidence) OR parent.relname = ANY (evidence) THEN 'SELECT, INSERT'
                   WHEN c.relname IN ('alembic_version', 'schema_support', 'outdated_tables')
                        OR c.relkind IN ('v', 'm') THEN 'SELECT'
                   WHEN c.relkind = 'S' THEN 'SELECT, USAGE'
                   ELSE 'SELECT, INSERT, UPDATE, DELETE'
               END AS rights
          FROM pg_class AS c
               LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
               LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
         WHERE c.relnamespace = 'public'::regnamespace
           AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
           -- Tables of extensions keep their own rights.
           AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, %I', item.name, app);
        EXECUTE format('GRANT %s ON %s TO %I', item.rights, item.name, app);
    END LOOP;
END $$
"""
"""Gives the application's role its rights, and revokes all others."""


async def migrate(owner_url: str, app_role: str) -> str:
    """Migrate the schema to its newest version, give `app_role` its rights on it, and return that version.

    A newer schema on which this release still works is left as it is. Processes that migrate at the same time wait for
    each other.

    Raises:
        MigrationFailed: The role does not exist, another release made the schema, or Postgres refuses a step.
    """
    connection = await asyncpg.connect(owner_url, server_settings={"application_name": "registry migrate"})
    try:
        # The lock belongs to the session, not to a transaction: each migration has its own.
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
        for statement in SET_TIMEOUTS:
            await connection.execute(statement)
        found = await _version(connection)
        if found is not None and found not in _versions():
            if await head_matches(connection):
                return found
            raise MigrationFailed(reason=DatabaseProblem("unknown_schema", version=found))
        if found != head():
            await _upgrade(owner_url)
        await connection.execute(SET_SCHEMA_SUPPORT, COMPATIBLE_SINCE)
        await _grant_rights(connection, app_role)
    except asyncpg.PostgresError as error:
        raise MigrationFailed(reason=str(error)) from error
    finally:
        await connection.close()
    return head()


async def _version(connection: Connection) -> str | None:
    """The version of the schema of a database; None if it has none."""
    if not await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NOT NULL"):
        return None
    version: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    return version


async def _upgrade(owner_url: str) -> None:
    # Imported here: Alembic and SQLAlchemy take longer than the rest of a start, and a schema is seldom migrated.
    from sqlalchemy import NullPool
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    # asyncpg parses the URL: SQLAlchemy treats sockets and quoting differently.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(owner_url), poolclass=NullPool
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run_migrations)
    except DBAPIError as error:
        raise MigrationFailed(reason=str(error.orig)) from error
    finally:
        await engine.dispose()


def _run_migrations(connection: SqlConnection) -> None:
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _grant_rights(connection: Connection, app_role: str) -> None:
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", app_role):
        raise MigrationFailed(reason=DatabaseProblem("role_missing", role=app_role))
    if await connection.fetchval("SELECT current_user") != app_role:
        async with connection.transaction():
            await connection.execute(NAME_ROLE_AND_EVIDENCE, app_role, ",".join(EVIDENCE))
            await connection.execute(GRANT_RIGHTS)


def folder() -> Path:
    """The folder of the migrations: beside the package in a checkout, inside the package when installed."""
    package = Path(__file__).parents[1]
    installed = package / "_migrations"
    return installed if installed.exists() else package.parent / "migrations"


def alembic_config() -> Config:
    """Alembic's configuration. The alembic command reads the same from alembic.ini."""
    from alembic.config import Config

    config = Config()
    # configparser treats '%' as an interpolation.
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    return config


@cache
def head() -> str:
    """The newest version of the schema in this release."""
    found = _versions()
    if not found:
        raise MigrationFailed(reason=DatabaseProblem("no_migrations", directory=str(folder())))
    return max(found)


def _versions() -> list[str]:
    """The versions of the schema that this release knows: the name of each migration's file begins with its own."""
    return [path.name.partition("_")[0] for path in (folder() / "versions").glob("[0-9]*.py")]


async def head_matches(pool: Pool | Connection) -> bool:
    """Whether this release works on the schema of the database: its own, or a newer one that still supports it."""
    if not await pool.fetchval(HAS_SCHEMA):
        return False
    found = await pool.fetchrow(SELECT_SCHEMA)
    return found is not None and str(found["compatible_since"]) <= head() <= str(found["version"])
