"""Connections to Postgres and the schema in it: pools, migrations, and the rights of the application's role.

Knows no table by name but those that the application may only add to, and asks none of the registry's questions. The
server that comes with the registry is `embedded.py`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from registry.errors import MigrationFailed, PostgresTooOld

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"

# Imported where they are used: alembic and SQLAlchemy take longer than the rest of a command's start, and only a
# migration needs them.
if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection as SqlConnection

OLDEST_MAJOR = 14

# Migrations of two processes wait for each other here. The number is arbitrary and must never change.
MIGRATION_LOCK = 7_310_461_908_512_337

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 60

EVIDENCE = ("events", "event_contents", "tiles", "checkpoints")
"""The tables to which the application may only add."""

ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a server that is gone, or refuses, makes asyncpg raise."""

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
                   WHEN c.relname = 'alembic_version' OR c.relkind IN ('v', 'm') THEN 'SELECT'
                   WHEN c.relkind = 'S' THEN 'SELECT, USAGE'
                   ELSE 'SELECT, INSERT, UPDATE, DELETE'
               END AS rights
          FROM pg_class AS c
               LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
               LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
         WHERE c.relnamespace = 'public'::regnamespace
           AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
           -- What an extension brought is not ours to hand out.
           AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, %I', item.name, app);
        EXECUTE format('GRANT %s ON %s TO %I', item.rights, item.name, app);
    END LOOP;
END $$
"""
"""Gives the application's role its rights; what an earlier version gave and this one does not is taken back."""


def is_connection_lost(error: BaseException) -> bool:
    """Whether an error says that the server is gone, stopping, starting or full, and not that it was asked wrongly.

    The classes 08, 53 and 57 of Postgres' error codes, a read-only standby (25006), and what sockets raise.
    """
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return (state[:2] in ("08", "53", "57") and state != "57014") or state == "25006"
    if isinstance(error, OSError):
        # A file that is missing has a name; a socket that is missing has none.
        return error.filename is None
    # An idle connection that the server ended is told from a sound one only when it is used.
    return isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError))


async def pool(
    url: str,
    *,
    name: str = "registry",
    min_size: int = 2,
    max_size: int = 10,
    timeout: float | None = None,  # noqa: ASYNC109 - a statement's, enforced by asyncpg
    read_only: bool = False,
    by_key: bool = False,
) -> asyncpg.Pool[asyncpg.Record]:
    """A pool of connections in UTC, each named `name` in pg_stat_activity.

    `timeout` is the most seconds a statement may take; `read_only` is for replicas; `by_key` is for statements that all
    look up a few rows by their key, and whose plans must not depend on how large a table happened to be when they
    were made. A lost connection is made again by
    the pool when it is next needed, in `CONNECT_SECONDS` or not at all. A transaction in which nothing is asked for
    `IDLE_SECONDS` is ended by the server: a process that froze while it held the log's lock stops nobody for longer.
    Raises what asyncpg raises when the server does not answer (`OSError`,
    `asyncpg.PostgresError`), and `PostgresTooOld`.
    """
    settings = {
        "application_name": name,
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
    }
    if read_only:
        settings["default_transaction_read_only"] = "on"
    if by_key:
        # A plan made on an almost empty table reads all of it until the table is next analyzed: in the minutes after an
        # import began, each group of it took four times as long.
        settings |= {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
        settings["plan_cache_mode"] = "force_generic_plan"
    made = await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        timeout=CONNECT_SECONDS,
        command_timeout=timeout,
        server_settings=settings,
        reset=_skip_session_reset,
    )
    async with made.acquire() as connection:
        found = connection.get_server_version()
    if found.major < OLDEST_MAJOR:
        await made.close()
        raise PostgresTooOld(found=f"{found.major}.{found.minor}", oldest=OLDEST_MAJOR)
    return made


async def _skip_session_reset(connection: object) -> None:
    """What an open transaction leaves behind is undone without asking; nobody here changes a session.

    The default is one more trip to the server whenever a connection is given back: a quarter of what a lone lookup
    takes.
    """


def role_of(url: str) -> str:
    """The role that a URL connects as. Raises `ValueError` if it names none."""
    parts = urlsplit(url)
    role = unquote(parts.username or "") or parse_qs(parts.query).get("user", [""])[0]
    if not role:
        raise ValueError("the URL names no role: postgresql://ROLE@HOST/DATABASE")
    return role


async def migrate(owner_url: str, app_role: str) -> str:
    """Brings the schema to its newest version, then gives `app_role` its rights on it; answers that version.

    Processes that migrate at once wait for each other. Raises `MigrationFailed` where the role is missing or Postgres
    refuses a step, and one of `ERRORS` where it does not answer.
    """
    from sqlalchemy import NullPool
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        "postgresql+asyncpg://",
        # asyncpg reads the URL itself: SQLAlchemy's reading of it differs in sockets and quoting.
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
    if not connection.scalar(text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"), {"role": app_role}):
        raise MigrationFailed(reason=f"there is no role '{app_role}': CREATE ROLE {app_role} LOGIN PASSWORD '…'")
    if connection.scalar(text("SELECT current_user")) != app_role:
        connection.execute(
            text(
                "SELECT set_config('registry.app_role', :role, true), set_config('registry.evidence', :evidence, true)"
            ),
            {"role": app_role, "evidence": ",".join(EVIDENCE)},
        )
        connection.exec_driver_sql(GRANT_RIGHTS)
    connection.commit()


def migrations() -> Path:
    """The folder of the migrations: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parents[1]
    installed = package / "_migrations"
    return installed if installed.exists() else package.parent / "migrations"


def alembic_config() -> Config:
    """What alembic needs to know; alembic.ini says the same to its own command."""
    from alembic.config import Config

    config = Config()
    # A '%' in a path would be read as an interpolation.
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    return config


@cache
def head() -> str:
    """The newest version of the schema that this program knows."""
    # They are numbered, and their files are named after their numbers.
    found = [path.name.partition("_")[0] for path in (migrations() / "versions").glob("[0-9]*.py")]
    if not found:
        raise MigrationFailed(reason=f"no migrations were found in {migrations()}")
    return max(found)


async def migration_head_matches(connections: asyncpg.Pool[asyncpg.Record]) -> bool:
    """Whether the database's schema is the one this program was written for."""
    if await connections.fetchval("SELECT to_regclass('public.alembic_version') IS NULL"):
        return False
    return bool(await connections.fetchval("SELECT version_num FROM alembic_version") == head())
