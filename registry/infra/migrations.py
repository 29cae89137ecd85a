"""The schema: its migrations, the releases that work on it, and the rights of the application's role."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from registry.errors import MigrationFailed
from registry.infra.postgres import Pool
from registry.infra.problems import DatabaseProblem

# Alembic and SQLAlchemy are imported inside the functions that migrate: they take longer than the rest of a command's
# start.
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

SET_SCHEMA_SUPPORT = "UPDATE schema_support SET compatible_since = :since"

EVIDENCE = (
    *("events", "event_contents", "tiles", "checkpoints", "signing_keys"),
    *("exchange_rates", "log_incidents", "keys"),
    *("mirror_keys", "mirror_incidents", "cosignatures"),
)
"""The tables to which the application's role may only add rows."""

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
                   WHEN c.relname IN ('alembic_version', 'schema_support') OR c.relkind IN ('v', 'm') THEN 'SELECT'
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

    Processes that migrate at the same time wait for each other.

    Raises:
        MigrationFailed: The role does not exist, or Postgres refuses a step.
    """
    from sqlalchemy import NullPool
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        "postgresql+asyncpg://",
        # asyncpg parses the URL: SQLAlchemy treats sockets and quoting differently.
        async_creator=lambda: asyncpg.connect(owner_url, server_settings={"application_name": "registry migrate"}),
        poolclass=NullPool,
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade, app_role)
    except DBAPIError as error:
        raise MigrationFailed(reason=str(error.orig)) from error
    finally:
        await engine.dispose()
    return head()


def _upgrade(connection: SqlConnection, app_role: str) -> None:
    from alembic import command
    from sqlalchemy import text

    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    # The lock belongs to the session, not to this transaction: each migration has its own.
    connection.commit()
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.execute(text(SET_SCHEMA_SUPPORT), {"since": COMPATIBLE_SINCE})
    connection.commit()
    if not connection.scalar(text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"), {"role": app_role}):
        raise MigrationFailed(reason=DatabaseProblem("role_missing", role=app_role))
    if connection.scalar(text("SELECT current_user")) != app_role:
        connection.execute(
            text(
                "SELECT set_config('registry.app_role', :role, true), set_config('registry.evidence', :evidence, true)"
            ),
            {"role": app_role, "evidence": ",".join(EVIDENCE)},
        )
        connection.exec_driver_sql(GRANT_RIGHTS)
    connection.commit()


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
    # Each file's name begins with its revision.
    found = [path.name.partition("_")[0] for path in (folder() / "versions").glob("[0-9]*.py")]
    if not found:
        raise MigrationFailed(reason=DatabaseProblem("no_migrations", directory=str(folder())))
    return max(found)


async def head_matches(pool: Pool) -> bool:
    """Whether this release works on the schema of the database: its own, or a newer one that still supports it."""
    if not await pool.fetchval(HAS_SCHEMA):
        return False
    found = await pool.fetchrow(SELECT_SCHEMA)
    return found is not None and str(found["compatible_since"]) <= head() <= str(found["version"])
