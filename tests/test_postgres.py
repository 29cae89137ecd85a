"""The schema's rights, and the server that comes with the registry: it starts anywhere, and loses nothing."""

from __future__ import annotations

import asyncpg
import pytest

from registry import postgres


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
