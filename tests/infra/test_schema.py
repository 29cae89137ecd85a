"""The migrations create the declared schema, `schema.txt`.

After a new migration, write the file again and review its diff:

    REGISTRY_WRITE_SCHEMA=1 .venv/bin/pytest tests/infra/test_schema.py
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import asyncpg
import pytest

from registry.errors import MigrationFailed
from registry.infra import migrations
from registry.infra.problems import DatabaseProblem
from tests.conftest import APP_ROLE, ScratchDatabase
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
