"""The migrations create the declared schema, `schema.txt`.

After a new migration, write the file again and review its diff:

    REGISTRY_WRITE_SCHEMA=1 .venv/bin/pytest tests/infra/test_schema.py
"""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg

from registry.infra import migrations
from tests.conftest import APP_ROLE, ScratchDatabase
from tests.infra.schema_dump import dump

DECLARED = Path(__file__).with_name("schema.txt")


async def test_migrated_database_has_the_declared_schema(owner: asyncpg.Connection[asyncpg.Record]) -> None:
    schema = await dump(owner, APP_ROLE)
    if os.environ.get("REGISTRY_WRITE_SCHEMA"):
        DECLARED.write_text(schema)
    assert schema == DECLARED.read_text()


async def test_database_of_the_earlier_migrations_is_at_the_baseline(
    database: ScratchDatabase, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    await owner.execute("UPDATE alembic_version SET version_num = '0006'")
    assert await migrations.migrate(database.owner_url, APP_ROLE) == "0001"
    assert await owner.fetchval("SELECT version_num FROM alembic_version") == "0001"
    assert await dump(owner, APP_ROLE) == DECLARED.read_text()
