"""Fixtures of the recorder's tests: a recorder, and triggers that hold an append or make it fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import msgspec
import pytest

from registry.append.recorder import Recorder
from registry.append.requests import AppendResult
from tests.append_helpers import running_recorder
from tests.databases import ScratchDatabase

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# An append of a process named "held" stops between its first statement and its commit until a test releases it.
HOLD = """
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') = 'held' THEN
        PERFORM pg_advisory_xact_lock(1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER hold AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION hold();
"""

# The database refuses an append that contains an event of the deal "bad".
BREAK = """
CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this one breaks';
END
$$;
CREATE TRIGGER break BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.stream = 'deal/bad') EXECUTE FUNCTION break();
"""

# The registration of the deal "bad" waits, then fails, wherever it stands in its batch.
BREAK_LATE = """
CREATE FUNCTION break_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    RAISE EXCEPTION 'this one breaks';
END
$$;
CREATE TRIGGER break_late BEFORE INSERT ON events
FOR EACH ROW WHEN (NEW.stream = 'deal/bad' AND NEW.version = 1) EXECUTE FUNCTION break_late();
"""


@pytest.fixture
async def recorder(database: ScratchDatabase) -> AsyncIterator[Recorder]:
    """A recorder with the application's rights, and the owner's for redaction."""
    async with running_recorder(database.app_url, database.owner_url) as recorder:
        yield recorder


def event_ids(outcome: AppendResult) -> list[str]:
    return [event["id"] for event in msgspec.json.decode(outcome.response)["events"]]


async def hold_appends(owner: Owner) -> None:
    await owner.execute(HOLD)
    await owner.execute("SELECT pg_advisory_lock(1)")


async def wait_until_append_is_held(owner: Owner) -> None:
    """Return once an append is between its first statement and its commit."""
    while not await owner.fetchval(  # noqa: ASYNC110 - Postgres has no notification for it
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 1)"
    ):
        await asyncio.sleep(0.01)
