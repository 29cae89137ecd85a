"""Property 16: any change that a superuser makes to the log is found, with the first bad position.

Every test works on a copy of one log of 300 events, with checkpoints at 100 and at 300, and one redacted event.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from msgspec import Struct

from registry.errors import LogCorrupt, UnknownEventType
from registry.events.codec import canonical, content_digest
from registry.infra import postgres
from registry.infra.settings import Settings
from registry.transparency.checkpoint import VerifierKey, open_checkpoint
from registry.transparency.findings import Finding
from registry.transparency.heads import open_heads
from registry.transparency.merkle import Frontier, leaf_hash
from registry.transparency.verify import LogVerification, TrustedCheckpoint, verify_log
from tests.databases import APP_ROLE, Server, at, copy_database
from tests.service import ADMIN_KEY, running
from tests.transparency.conftest import ORIGIN, append_until, as_superuser, head, keys, post
from tests.transparency.findings import raises_finding

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SIZE = 300
ERASED = 20
SIGNED_LAST = Finding("source_file", file="signing.key.head")
numbers = itertools.count(1)


class Filled(Struct, frozen=True):
    """A database with the log, one as it was at 100 events, and the last signed checkpoint."""

    name: str
    older: str
    keys: list[VerifierKey]
    memory: str


def memory_of(settings: Settings) -> str:
    return Path(f"{settings.signing_key}.head").read_text()


@pytest_asyncio.fixture(scope="module")
async def filled(server: Server, admin: Connection, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Filled]:
    name, older = (f"{server.template.replace('template', kind)}" for kind in ("filled", "older"))
    await copy_database(admin, server.template, name)
    directory = tmp_path_factory.mktemp("keys")
    settings = Settings(
        database_url=at(server.admin_url, name, APP_ROLE, server.app_password),
        owner_url=at(server.admin_url, name),
        data_dir=directory,
        signing_key=directory / "signing.key",
        log_origin=ORIGIN,
        admin_key=ADMIN_KEY,
        checkpoint_seconds=3600,
    )
    async with running(settings) as service:
        await append_until(service, 100)
        await head(service)
    await copy_database(admin, name, older)
    async with running(settings) as service:
        row = await service.pool.fetchrow("SELECT id, stream FROM events WHERE position = $1", ERASED)
        redaction = {"event": {"type": "event_redacted", "redacts": str(row["id"]), "reason": "A court's order."}}
        await post(service, row["stream"].removeprefix("deal/"), redaction)
        await append_until(service, SIZE)
        await head(service)
        verifiers = await keys(service)
    yield Filled(name, older, verifiers, memory_of(settings))
    for database in (name, older):
        await admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


class TamperedLog(Struct, frozen=True):
    """A copy of the log that may be tampered with."""

    url: str
    keys: list[VerifierKey]
    memory: str
    owner: Any

    async def tamper(self, *statements: str) -> None:
        await as_superuser(self.owner, *statements)

    async def verify(self, *, memory: bool = True, database: bool = True) -> LogVerification:
        async with await postgres.pool(self.url, min_size=1, max_size=1) as pool:
            known = []
            for row in await pool.fetch("SELECT size, note, heads FROM checkpoints") if database else ():
                checkpoint = open_checkpoint(row["note"], self.keys)
                heads = open_heads(row["heads"], self.keys)[1]
                known.append(TrustedCheckpoint(Finding("source_database", size=row["size"]), checkpoint, heads))
            if memory:
                known.append(TrustedCheckpoint(SIGNED_LAST, open_checkpoint(self.memory, self.keys)))
            return await verify_log(pool, known)

    async def caught(
        self, code: str | None = None, *, memory: bool = True, database: bool = True, **params: Any
    ) -> None:
        """Expect the verification to fail with a finding that has this code and these parameters."""
        with raises_finding(LogCorrupt, code, **params):
            await self.verify(memory=memory, database=database)


Copy: TypeAlias = Callable[..., Awaitable[TamperedLog]]


@asynccontextmanager
async def copied(server: Server, admin: Connection, filled: Filled, source: str) -> AsyncIterator[TamperedLog]:
    name = f"{filled.name}_{next(numbers)}"
    await copy_database(admin, source, name)
    owner = await asyncpg.connect(at(server.admin_url, name))
    yield TamperedLog(at(server.admin_url, name, APP_ROLE, server.app_password), filled.keys, filled.memory, owner)
    await owner.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def log(server: Server, admin: Connection, filled: Filled) -> AsyncIterator[TamperedLog]:
    async with copied(server, admin, filled, filled.name) as log:
        yield log


async def test_unchanged_log_verifies(log: TamperedLog) -> None:
    result = await log.verify()
    assert (result.size, result.erased, result.checkpoints) == (SIZE, 1, 4)
    checkpoint = open_checkpoint(log.memory, log.keys)
    assert (checkpoint.size, checkpoint.root.hex()) == (SIZE, result.root)


FLIP = "set_byte({0}, {1} % length({0}), get_byte({0}, {1} % length({0})) # (1 << {2}))"
COLUMNS = {
    "stream": "'deal/another'",
    "version": "version + 1000",
    "id": "gen_random_uuid()",
    "type": "CASE type WHEN 'pledge_revised' THEN 'pledge_confirmed' ELSE 'pledge_revised' END",
    "schema": "schema + 1",
    "effective_on": "CASE WHEN effective_on IS NULL THEN date '2025-01-01' ELSE effective_on + 1 END",
    "published_on": "published_on - 1",
    "recorded_at": "recorded_at + interval '1 microsecond'",
    "recorded_by": "recorded_by || 'x'",
    "approved_by": "'x'",
    "entry": FLIP.format("entry", "{byte}", "{bit}"),
    "leaf_hash": FLIP.format("leaf_hash", "{byte}", "{bit}"),
}


@pytest.mark.parametrize("column", COLUMNS)
async def test_change_of_any_event_column_is_found_at_its_position(log: TamperedLog, column: str) -> None:
    for position in (1, 150, 256, 257, SIZE):
        before = await log.owner.fetchval(f"SELECT {column} FROM events WHERE position = {position}")
        changed = COLUMNS[column].format(byte=random.randrange(500), bit=random.randrange(8))
        await log.tamper(f"UPDATE events SET {column} = {changed} WHERE position = {position}")
        await log.caught(position=position)
        async with log.owner.transaction():
            await log.owner.execute("SET LOCAL session_replication_role = replica")
            await log.owner.execute(f"UPDATE events SET {column} = $1 WHERE position = {position}", before)
    assert (await log.verify()).size == SIZE


async def test_every_column_of_the_events_table_is_tested(log: TamperedLog) -> None:
    rows = await log.owner.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'events' AND table_schema = 'public'"
    )
    assert {row["column_name"] for row in rows} == {*COLUMNS, "position"}


async def test_change_of_any_byte_of_entry_content_or_salt_is_found(log: TamperedLog) -> None:
    for table, column in (("events", "entry"), ("event_contents", "content"), ("event_contents", "salt")):
        before = await log.owner.fetchval(f"SELECT {column} FROM {table} WHERE position = 33")
        for byte in range(0, len(before), 7):
            changed = bytearray(before)
            changed[byte] ^= 1 << random.randrange(8)
            await log.tamper(f"UPDATE {table} SET {column} = '\\x{changed.hex()}' WHERE position = 33")
            await log.caught(position=33)
        await log.tamper(f"UPDATE {table} SET {column} = '\\x{before.hex()}' WHERE position = 33")
    assert (await log.verify()).size == SIZE


@pytest.mark.parametrize(
    ("statement", "code", "position"),
    [
        (
            "UPDATE event_contents SET content = NULL, salt = NULL WHERE position = 77",
            "content_without_redaction",
            77,
        ),
        ("DELETE FROM event_contents WHERE position = 77", "log_content_row_missing", 77),
        ("UPDATE event_contents SET position = 5000 WHERE position = 77", "log_content_row_missing", 77),
        ("INSERT INTO event_contents (position) VALUES (5000)", "log_content_without_event", 5000),
        ("UPDATE event_contents SET content = '{}', salt = '' WHERE position = 20", "content_digest", 20),
    ],
)
async def test_missing_content_without_a_redaction_is_found(
    log: TamperedLog, statement: str, code: str, position: int
) -> None:
    await log.tamper("ALTER TABLE event_contents DROP CONSTRAINT event_contents_check", statement)
    await log.caught(code, position=position)


async def test_content_restored_after_its_redaction_is_found(
    server: Server, admin: Connection, filled: Filled, log: TamperedLog
) -> None:
    async with copied(server, admin, filled, filled.older) as older:
        row = await older.owner.fetchrow(f"SELECT content, salt FROM event_contents WHERE position = {ERASED}")
    await log.tamper(
        f"UPDATE event_contents SET content = '\\x{row['content'].hex()}', salt = '\\x{row['salt'].hex()}' "
        f"WHERE position = {ERASED}"
    )
    await log.caught("log_redacted_content", position=101)


def swapped(first: int, second: int) -> list[str]:
    """Statements that exchange two positions. Each changes one row: Postgres checks keys row by row, in any order."""
    return [
        f"UPDATE {table} SET position = {new} WHERE position = {old}"
        for table in ("events", "event_contents")
        for old, new in ((first, -first), (second, first), (-first, second))
    ]


@pytest.mark.parametrize(
    ("statements", "code", "params"),
    [
        (["DELETE FROM events WHERE position = 150"], "log_position_missing", {"position": 150}),
        (["DELETE FROM events WHERE position = 1"], "log_position_missing", {"position": 1}),
        (
            ["DELETE FROM events WHERE position > 299", "DELETE FROM event_contents WHERE position > 299"],
            "log_cut_off", {"size": 299, "expected": 300, "position": 300},
        ),
        (
            ["TRUNCATE events, event_contents, tiles"],
            "log_cut_off", {"size": 0, "expected": 100, "position": 1},
        ),
        (swapped(150, 260), None, {"position": 150}),
        (swapped(299, 300), None, {"position": 299}),
        (["INSERT INTO events SELECT 0, 'deal/x', 1, gen_random_uuid(), type, schema, effective_on, published_on, "
          "recorded_at, recorded_by, approved_by, entry, leaf_hash FROM events WHERE position = 5",],
          "log_position_below_first", {"position": 0}),
        (["INSERT INTO events SELECT 302, 'deal/x', 1, gen_random_uuid(), type, schema, effective_on, published_on, "
          "recorded_at, recorded_by, approved_by, entry, leaf_hash FROM events WHERE position = 5",],
          "log_position_missing", {"position": 301}),
        (
            ["UPDATE events SET position = position + 1000 WHERE position >= 150",
             "UPDATE events SET position = position - 999 WHERE position > 999",
             "UPDATE event_contents SET position = position + 1000 WHERE position >= 150",
             "UPDATE event_contents SET position = position - 999 WHERE position > 999"],
            "log_position_missing", {"position": 150},
        ),
        (["UPDATE tiles SET hashes = set_byte(hashes, 32 * 149, 1 # get_byte(hashes, 32 * 149))"], "log_tile_hash",
         {"position": 150}),
        (["UPDATE tiles SET root = leaf_hash FROM events WHERE position = 1"], "log_tile_root", {"level": 0}),
        (["DELETE FROM tiles"], "log_tile_missing", {"level": 0, "first": 1, "last": 256}),
        (["INSERT INTO tiles SELECT 1, 0, hashes, root FROM tiles"], "log_tiles_beyond_head", {}),
    ],
)  # fmt: skip
async def test_removed_swapped_inserted_or_cut_off_rows_are_found(
    log: TamperedLog, statements: list[str], code: str | None, params: dict[str, Any]
) -> None:
    await log.tamper("ALTER TABLE events DROP CONSTRAINT events_position_check", *statements)
    await log.caught(code, **params)


async def test_two_events_at_one_position_are_found(log: TamperedLog) -> None:
    await log.tamper(
        "ALTER TABLE event_contents DROP CONSTRAINT IF EXISTS event_contents_position_fkey",
        "ALTER TABLE events DROP CONSTRAINT events_pkey CASCADE",
        "INSERT INTO events SELECT position, 'deal/x', 1, gen_random_uuid(), type, schema, effective_on, published_on, "
        "recorded_at, recorded_by, approved_by, entry, leaf_hash FROM events WHERE position = 42",
    )
    await log.caught(position=42)


async def rewrite(log: TamperedLog, position: int, *, tiles: bool, year: str = "") -> None:
    """Change an event like a database owner: content, digest, entry, later entries of its stream, and the tiles.

    With a year, change when it was recorded too.
    """
    rows = await log.owner.fetch("SELECT * FROM events LEFT JOIN event_contents USING (position) ORDER BY position")
    statements, frontier = [], Frontier()
    last: dict[str, str] = {}
    for row in rows:
        entry, content = msgspec.json.decode(row["entry"]), row["content"]
        if row["position"] == position:
            content = content.replace(b"2025-06-16", b"2025-06-17")
            entry["content"] = content_digest(row["salt"], content)
            statements.append(
                f"UPDATE event_contents SET content = '\\x{content.hex()}' WHERE position = {row['position']}"
            )
            if year:
                entry["recorded_at"] = year + entry["recorded_at"][4:]
                statements.append(
                    f"UPDATE events SET recorded_at = '{entry['recorded_at']}' WHERE position = {row['position']}"
                )
        entry["previous"] = last.get(row["stream"])
        leaf = leaf_hash(canonical(entry))
        last[row["stream"]] = leaf.hex()
        if leaf != row["leaf_hash"]:
            statements.append(
                f"UPDATE events SET entry = '\\x{canonical(entry).hex()}', leaf_hash = '\\x{leaf.hex()}' "
                f"WHERE position = {row['position']}"
            )
        statements += [
            f"UPDATE tiles SET hashes = '\\x{tile.hashes.hex()}', root = '\\x{tile.root.hex()}' "
            f"WHERE level = {tile.level} AND number = {tile.number}"
            for tile in frontier.append(leaf)
            if tiles
        ]
    await log.tamper(*statements)


async def test_consistently_rewritten_log_contradicts_the_checkpoints(log: TamperedLog) -> None:
    await rewrite(log, 150, tiles=True)
    # The checkpoint of 100 events still agrees, so the change is after it.
    await log.caught("log_root", size=300, first=101)
    await log.caught("log_root", database=False, size=300, source=SIGNED_LAST)
    result = await log.verify(memory=False, database=False)
    assert (
        result.root != open_checkpoint(log.memory, log.keys).root.hex()
    )  # without checkpoints the change is not found


async def test_event_that_claims_an_earlier_time_is_found_without_a_checkpoint(log: TamperedLog) -> None:
    await rewrite(log, 150, tiles=True, year="2001")
    await log.caught("log_time_order", memory=False, database=False, position=150)


async def test_rewritten_log_with_old_tiles_is_found_at_its_position(log: TamperedLog) -> None:
    await rewrite(log, 150, tiles=False)
    await log.caught("log_tile_hash", position=150)
    await log.caught(memory=False, database=False, position=150)


async def test_deleted_checkpoints_leave_the_signers_last_checkpoint(log: TamperedLog) -> None:
    await rewrite(log, 290, tiles=True)
    await log.tamper("DELETE FROM checkpoints")
    await log.caught("log_root", source=SIGNED_LAST)


async def test_older_backup_contradicts_later_checkpoints(server: Server, admin: Connection, filled: Filled) -> None:
    async with copied(server, admin, filled, filled.older) as older:
        assert (await older.verify(memory=False)).size == 100
        await older.caught("log_cut_off", size=100, expected=300, source=SIGNED_LAST)


async def test_wrong_statement_of_heads_is_found(log: TamperedLog) -> None:
    async with await postgres.pool(log.url, min_size=1, max_size=1) as pool:
        checkpoint = open_checkpoint(log.memory, log.keys)
        with raises_finding(LogCorrupt, "log_heads"):
            await verify_log(pool, [TrustedCheckpoint(SIGNED_LAST, checkpoint, bytes(32))])


async def test_content_that_cannot_be_decoded_is_found(log: TamperedLog) -> None:
    row = await log.owner.fetchrow(
        "SELECT entry, salt FROM events JOIN event_contents USING (position) WHERE position = 290"
    )
    for content, code in (
        (b'{"event":[]}', "log_content_unreadable"),
        (b'{"event":{"type":"\xff"}}', "log_content_unreadable"),
        (b'{"event":{"type":"pledge_dreamt"}}', "log_content_type"),
        (b'{"event":{"condition":"a","type":"condition_lifted"}}', "log_content_type"),
    ):
        entry = msgspec.json.decode(row["entry"])
        entry["content"] = content_digest(row["salt"], content)
        data = canonical(entry)
        leaf = leaf_hash(data).hex()
        await log.tamper(
            f"UPDATE events SET entry = '\\x{data.hex()}', leaf_hash = '\\x{leaf}' WHERE position = 290",
            f"UPDATE event_contents SET content = '\\x{content.hex()}' WHERE position = 290",
        )
        await log.caught(code, position=290)


async def test_event_of_an_unknown_type_is_an_error(log: TamperedLog) -> None:
    row = await log.owner.fetchrow(
        "SELECT entry, salt FROM events JOIN event_contents USING (position) WHERE position = 290"
    )
    content = b'{"event":{"type":"pledge_dreamt"}}'
    entry = msgspec.json.decode(row["entry"]) | {"type": "pledge_dreamt"}
    entry["content"] = content_digest(row["salt"], content)
    data = canonical(entry)
    await log.tamper(
        f"UPDATE events SET type = 'pledge_dreamt', entry = '\\x{data.hex()}', "
        f"leaf_hash = '\\x{leaf_hash(data).hex()}' WHERE position = 290",
        f"UPDATE event_contents SET content = '\\x{content.hex()}' WHERE position = 290",
    )
    with pytest.raises(UnknownEventType) as unknown:
        await log.verify()
    assert (unknown.value.params["position"], unknown.value.params["type"]) == (290, "pledge_dreamt")
