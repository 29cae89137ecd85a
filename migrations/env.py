"""Alembic's environment: sets timeouts and runs the migrations, each in a transaction of its own.

`registry.infra.migrations` passes its connection in. The `alembic` command, for writing migrations, connects as
the owner named in REGISTRY_OWNER_URL.
"""

from __future__ import annotations

import asyncio
import os

import asyncpg
from alembic import context
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import create_async_engine

from registry.infra.migrations import SET_TIMEOUTS


def run(connection: Connection) -> None:
    """Run the migrations on this connection."""
    for statement in SET_TIMEOUTS:
        connection.exec_driver_sql(statement)
    connection.commit()
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_as_owner() -> None:
    """Run the migrations for the `alembic` command."""
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
