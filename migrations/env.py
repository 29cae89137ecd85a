"""What alembic runs for every command: sets the timeouts and applies the migrations, each in its own transaction.

The registry hands its own connection over (`registry.postgres.migrate`); the `alembic` command, for those who write
migrations, connects as the owner named in REGISTRY_OWNER_URL.
"""

from __future__ import annotations

import asyncio
import os

import asyncpg
from alembic import context
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import create_async_engine


def run(connection: Connection) -> None:
    """Applies what is asked on this connection."""
    # A migration that waits for a lock makes everybody behind it wait too: it gives up instead, and is tried again. One
    # that must take longer says so itself (SET LOCAL statement_timeout).
    connection.exec_driver_sql("SET lock_timeout = '5s'")
    connection.exec_driver_sql("SET statement_timeout = '60s'")
    connection.commit()
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_as_owner() -> None:
    """Connects as the owner of the tables, for the `alembic` command."""
    url = os.environ["REGISTRY_OWNER_URL"]
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=NullPool
    )
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    asyncio.run(run_as_owner())
