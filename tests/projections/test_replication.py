"""A second Postgres follows the registry by logical replication: the log, and the fact tables through a rebuild."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from registry.infra import migrations
from registry.infra.embedded.server import APP_ROLE, DATABASE, OWNER_ROLE, Embedded
from registry.projections.facts import FACT_TABLES
from registry.projections.rebuild import rebuild
from tests.append_helpers import running_recorder
from tests.conftest import PATIENCE
from tests.databases import SETTINGS, installation
from tests.projections.test_rebuild import record_deal

Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

LOG = ("events", "event_contents", "tiles")
FACTS = tuple(table.name for table in FACT_TABLES)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Embedded]:
    # In a folder with a name too long for a socket's path, the server listens on a port, which the other one needs.
    folder = tmp_path / ("publisher-" + "x" * 100)
    folder.mkdir()
    with Embedded(folder, binaries=installation(), settings=SETTINGS | {"wal_level": "logical"}) as server:
        yield server


@pytest.fixture
def subscriber(tmp_path: Path) -> Iterator[Embedded]:
    folder = tmp_path / "subscriber"
    folder.mkdir()
    with Embedded(folder, binaries=installation(), settings=SETTINGS) as server:
        yield server


async def subscribe(owner: Owner, to: Embedded, publication: str) -> None:
    """Subscribe a database to a publication."""
    parts = urlsplit(to.owner_url)
    place = f"host={parts.hostname} port={parts.port} dbname={DATABASE}"
    login = f"user={OWNER_ROLE} password={unquote(parts.password or '')}"
    await owner.execute(f"CREATE SUBSCRIPTION {publication} CONNECTION '{place} {login}' PUBLICATION {publication}")


async def contents(owner: Owner, tables: Sequence[str]) -> dict[str, list[Any]]:
    return {table: await owner.fetch(f"SELECT * FROM {table} AS t ORDER BY t") for table in tables}


async def assert_arrives(one: Owner, other: Owner, tables: Sequence[str]) -> None:
    """Wait until the tables of one database have arrived in the other."""
    expected = await contents(one, tables)
    assert expected[tables[0]]
    async with asyncio.timeout(PATIENCE):
        while await contents(other, tables) != expected:  # noqa: ASYNC110 - Postgres notifies no one of it
            await asyncio.sleep(0.1)


@pytest.mark.drill
async def test_subscribers_follow_the_log_and_the_facts_through_a_rebuild(
    publisher: Embedded, subscriber: Embedded
) -> None:
    await migrations.migrate(publisher.owner_url, APP_ROLE)
    await migrations.migrate(subscriber.owner_url, APP_ROLE)
    owner = await asyncpg.connect(publisher.owner_url)
    facts = await asyncpg.connect(subscriber.owner_url)
    await facts.execute("CREATE DATABASE log_only")
    await migrations.migrate(subscriber.url(OWNER_ROLE, "log_only"), APP_ROLE)
    log = await asyncpg.connect(subscriber.url(OWNER_ROLE, "log_only"))
    try:
        await owner.execute(f"CREATE PUBLICATION registry_log FOR TABLE {', '.join(LOG)}")
        await owner.execute(f"CREATE PUBLICATION registry_facts FOR TABLE {', '.join(FACTS)}")
        async with running_recorder(publisher.app_url, publisher.owner_url) as recorder:
            await record_deal(recorder, "before")
            await subscribe(facts, publisher, "registry_facts")
            await subscribe(log, publisher, "registry_log")
            await record_deal(recorder, "after")
            await assert_arrives(owner, facts, FACTS)

            await owner.execute("UPDATE pledge_facts SET value = 1")
            await owner.execute("DELETE FROM stage_facts")
            await rebuild(publisher.owner_url)
            await record_deal(recorder, "later")
            await assert_arrives(owner, facts, FACTS)

            # The fact tables follow from the log, also elsewhere.
            await assert_arrives(owner, log, LOG)
            await rebuild(subscriber.url(OWNER_ROLE, "log_only"))
            assert await contents(log, FACTS) == await contents(owner, FACTS)
    finally:
        for name, connection in (("registry_facts", facts), ("registry_log", log)):
            await connection.execute(f"DROP SUBSCRIPTION IF EXISTS {name}")
            await connection.close()
        await owner.close()
