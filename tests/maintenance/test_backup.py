"""Backup and restore: nothing is lost, the file is verified, and a restore is whole or changes nothing.

All tests use one log and its backup, which take long to make; hence the length of the file.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import secrets
import shutil
import stat
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from msgspec import Struct

from registry.append.clock import ClockGuard
from registry.append.principals import issue_key
from registry.append.rates import import_rates
from registry.domain.principal import Rights
from registry.domain.quotes import RateRow
from registry.errors import LogCorrupt
from registry.events.codec import canonical
from registry.infra import postgres
from registry.maintenance import backup as module
from registry.maintenance import encryption
from registry.maintenance.backup import BackupProblem, InvalidBackup, RegistryNotEmpty, backup, check, restore
from registry.maintenance.encryption import CHUNK_SIZE, MAGIC, DecryptingReader, EncryptingWriter, WrongPassphrase
from registry.transparency.checkpoint import SigningKey
from registry.transparency.merkle import Frontier, leaf_hash
from registry.transparency.tree import load_frontier
from tests.append_helpers import REGISTERED, assert_projections_match_log, pledged, positions, request, running_recorder
from tests.databases import APP_ROLE, ScratchDatabase, Server, at, copy_database
from tests.transparency.findings import raises_finding

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Admin: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

LOG = """
SELECT e.*, c.content, c.salt
  FROM events AS e
  JOIN event_contents AS c USING (position)
 ORDER BY position
"""

WEBHOOK = """
WITH created AS (
    INSERT INTO webhooks (id, url, secret, format, position, failures, created_at, created_by)
    VALUES ('wh_1', 'https://receiver.example/', 'secret', 'standard', 0, 0, now(), 'admin')
    RETURNING id
)
INSERT INTO webhook_deliveries (webhook, at, message, position, attempt, status)
SELECT id, now(), 'a message', 1, 1, 200 FROM created
"""


# The rates that a release has packaged are most of a short backup. Those of one currency are enough.
OTHER_RATES = "DELETE FROM exchange_rates WHERE currency <> 'KRW'"


@asynccontextmanager
async def with_few_rates(server: Server, admin: Admin) -> AsyncIterator[ScratchDatabase]:
    """An empty registry with the exchange rates of one currency."""
    async with copied(server, admin) as database:
        connection = await asyncpg.connect(database.owner_url)
        await connection.execute(OTHER_RATES)
        await connection.close()
        yield database


@asynccontextmanager
async def copied(server: Server, admin: Admin) -> AsyncIterator[ScratchDatabase]:
    """An empty registry."""
    name = f"{server.template.replace('template', 'backup')}_{secrets.token_hex(3)}"
    await copy_database(admin, server.template, name)
    yield ScratchDatabase(name, at(server.admin_url, name), at(server.admin_url, name, APP_ROLE, server.app_password))
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def another(server: Server, admin: Admin) -> AsyncIterator[ScratchDatabase]:
    """An empty registry, to restore into."""
    async with copied(server, admin) as database:
        yield database


class Original(Struct):
    """A registry that no test changes, and a backup of it."""

    owner_url: str
    backup: Path


@pytest_asyncio.fixture(scope="module")
async def original(server: Server, admin: Admin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Original]:
    """A registry with redacted content, an API key, an idempotency record, a webhook and imported rates."""
    given = str(uuid4())
    path = tmp_path_factory.mktemp("backup") / "registry.maintenance.backup.gz"
    async with with_few_rates(server, admin) as database, await postgres.pool(database.app_url) as pool:
        async with running_recorder(database.app_url, database.owner_url) as recorder:
            await recorder.record(
                request("plant", REGISTERED, pledged("one"), pledged("two", id=given, note="a secret"))
            )
            redaction = {"type": "event_redacted", "redacts": given, "reason": "a court's order"}
            await recorder.record(request("plant", {"event": redaction}))
            await recorder.record(request("ulsan", REGISTERED, idempotency_key="k1"))
            await asyncio.gather(*(recorder.record(request(f"deal-{n}", REGISTERED)) for n in range(260)))
            await issue_key(recorder, pool, Rights(scopes=("record",)), name="analyst")
            await pool.execute(WEBHOOK)
        await import_rates(pool, [RateRow("BOK", "USD", "KRW", date(2025, 10, 29), Decimal("1433.50"))], ClockGuard())
        header = await backup(database.app_url, path)
        assert header.size == 267
        yield Original(database.owner_url, path)


@pytest.fixture
def file(original: Original, tmp_path: Path) -> Path:
    """A copy of the backup that a test may change."""
    return Path(shutil.copy(original.backup, tmp_path))


async def everything(url: str) -> dict[str, Any]:
    """The stored rows of a registry."""
    connection = await asyncpg.connect(url)
    try:
        tables = (
            "exchange_rates",
            "tiles",
            "keys",
            "idempotency",
            "deal_facts",
            "pledge_facts",
            "mentions",
            "organizations",
            "checkpoints",
            "webhooks",
            "webhook_deliveries",
        )
        found = {t: sorted(map(str, await connection.fetch(f"SELECT * FROM {t}"))) for t in tables}
        return {**found, "log": [tuple(row) for row in await connection.fetch(LOG)]}
    finally:
        await connection.close()


async def test_restored_registry_equals_the_original(file: Path, original: Original, another: ScratchDatabase) -> None:
    progress: list[tuple[int, int]] = []
    restored = await restore(another.owner_url, file, lambda done, total: progress.append((done, total)))
    assert restored.left_out == 0
    assert progress[-1] == (267, 267)
    assert await everything(another.owner_url) == await everything(original.owner_url)
    await assert_projections_match_log(another)
    async with running_recorder(another.app_url) as recorder:
        again = await recorder.record(request("ulsan", REGISTERED, idempotency_key="k1"))
        assert (again.new, again.position) == (False, 5)
        assert (await recorder.record(request("new", REGISTERED))).position == 268
    pool = await postgres.pool(another.app_url)
    async with pool:
        assert (await load_frontier(pool, 267)).root().hex() == restored.header.root
    await assert_projections_match_log(another)


async def test_backup_with_deliveries_before_their_webhooks_is_restored(
    file: Path, original: Original, another: ScratchDatabase
) -> None:
    webhooks_last = sorted(lines(file), key=lambda line: line.startswith(b'{"table":"webhooks"'))
    await asyncio.to_thread(file.write_bytes, gzip.compress(b"".join(webhooks_last)))
    await restore(another.owner_url, file)
    assert await everything(another.owner_url) == await everything(original.owner_url)


async def test_backup_of_a_build_before_principals_is_restored_without_its_keys_and_webhooks(
    another: ScratchDatabase,
) -> None:
    """The demo's log with a webhook, written by the build of commit d62d52f."""
    restored = await restore(another.owner_url, Path(__file__).with_name("before-principals.backup"))
    assert (restored.header.size, restored.left_out) == (171, 2)
    connection = await asyncpg.connect(another.owner_url)
    for table, count in {"events": 171, "checkpoints": 2, "keys": 0, "webhooks": 0}.items():
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == count
    await connection.close()
    pool = await postgres.pool(another.app_url)
    async with pool:
        assert (await load_frontier(pool, 171)).root().hex() == restored.header.root
    await assert_projections_match_log(another)
    async with running_recorder(another.app_url) as recorder:
        assert (await recorder.record(request("new", REGISTERED))).position == 172


async def test_restored_rates_are_the_backups_whatever_the_release_has_packaged(
    file: Path, original: Original, another: ScratchDatabase
) -> None:
    connection = await asyncpg.connect(another.owner_url)
    await connection.execute("DELETE FROM exchange_rates WHERE currency IN ('KRW', 'USD')")
    await connection.close()
    await restore(another.owner_url, file)
    restored, backed_up = await everything(another.owner_url), await everything(original.owner_url)
    assert restored["exchange_rates"] == backed_up["exchange_rates"]


async def test_restore_into_a_registry_with_events_is_refused(file: Path, original: Original) -> None:
    before = await everything(original.owner_url)
    with pytest.raises(RegistryNotEmpty) as error:
        await restore(original.owner_url, file)
    assert error.value.params == {"size": 267}
    assert await everything(original.owner_url) == before


def lines(file: Path) -> list[bytes]:
    return gzip.decompress(file.read_bytes()).splitlines(keepends=True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda lines: lines[:-1], InvalidBackup),
        (lambda lines: lines[:100], InvalidBackup),
        (lambda lines: [b'{"format":"another"}\n', *lines[1:]], InvalidBackup),
        (lambda lines: [lines[0], lines[1].replace(b"plant", b"blant"), *lines[2:]], LogCorrupt),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], LogCorrupt),
        (lambda lines: [lines[0], *lines[2:4], lines[3], *lines[4:]], asyncpg.UniqueViolationError),
    ],
)
async def test_modified_backup_restores_nothing(
    change: Callable[[list[bytes]], list[bytes]], error: type[Exception], file: Path, another: ScratchDatabase
) -> None:
    changed = b"".join(change(lines(file)))
    await asyncio.to_thread(file.write_bytes, gzip.compress(changed))
    with pytest.raises(error):
        await restore(another.owner_url, file)
    pool = await postgres.pool(another.app_url)
    async with pool:
        assert await positions(pool) == []
        assert await pool.fetchval("SELECT count(*) FROM keys") == 0


def forged(lines: list[bytes], change: Callable[[list[dict[str, Any]]], None]) -> list[bytes]:
    """The lines of a backup whose events are changed, with the root hash of the changed events."""
    header = msgspec.json.decode(lines[0])
    size = header["size"]
    events = [msgspec.json.decode(line) for line in lines[1 : 1 + size]]
    change(events)
    tree = Frontier()
    for event in events:
        tree.append(leaf_hash(event["entry"].encode()))
    header["root"] = tree.root().hex()
    return [msgspec.json.encode(one) + b"\n" for one in (header, *events)] + lines[1 + size :]


def claim_earlier_time(events: list[dict[str, Any]]) -> None:
    """Change when the last event, which no other refers to, was recorded."""
    entry = msgspec.json.decode(events[-1]["entry"])
    entry["recorded_at"] = "2001" + entry["recorded_at"][4:]
    events[-1]["entry"] = canonical(entry).decode()


def exchange_content(events: list[dict[str, Any]]) -> None:
    """Give an event another text, of which its entry has no digest."""
    content = {**msgspec.json.decode(events[0]["content"]), "note": "Another text."}
    events[0]["content"] = canonical(content).decode()


@pytest.mark.parametrize(
    ("change", "code"), [(claim_earlier_time, "log_time_order"), (exchange_content, "content_digest")]
)
async def test_backup_of_a_log_that_does_not_verify_restores_nothing(
    change: Callable[[list[dict[str, Any]]], None], code: str, file: Path, another: ScratchDatabase
) -> None:
    changed = b"".join(forged(lines(file), change))
    await asyncio.to_thread(file.write_bytes, gzip.compress(changed))
    with raises_finding(LogCorrupt, code):
        await restore(another.owner_url, file)
    async with await postgres.pool(another.app_url) as pool:
        assert await positions(pool) == []


async def test_file_that_is_not_a_backup_is_refused(tmp_path: Path, another: ScratchDatabase) -> None:
    other = tmp_path / "other"
    await asyncio.to_thread(other.write_bytes, b"something else")
    with pytest.raises(InvalidBackup) as error:
        await restore(another.owner_url, other)
    assert error.value.params["reason"] == BackupProblem("truncated")
    with pytest.raises(FileNotFoundError):
        await restore(another.owner_url, tmp_path / "missing")


async def test_backup_made_after_a_redaction_lacks_the_content(file: Path) -> None:
    assert b"a secret" not in b"".join(lines(file))


# --- signature, encryption, permissions -------------------------------------------------------------------------------

KEY = SigningKey.generate("localhost/test-log")


@pytest_asyncio.fixture(scope="module")
async def signed_original(
    server: Server, admin: Admin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Original]:
    """A registry with one deal, and a signed backup."""
    path = tmp_path_factory.mktemp("signed") / "signed.gz"
    async with with_few_rates(server, admin) as database:
        async with running_recorder(database.app_url) as recorder:
            await recorder.record(request("plant", REGISTERED, pledged("one")))
        await backup(database.app_url, path, key=KEY)
        yield Original(database.owner_url, path)


@pytest.fixture
def signed(signed_original: Original, tmp_path: Path) -> Path:
    """A copy of the signed backup that a test may change."""
    return Path(shutil.copy(signed_original.backup, tmp_path))


def test_backup_is_readable_for_its_owner_only(signed_original: Original) -> None:
    assert stat.S_IMODE(signed_original.backup.stat().st_mode) == 0o600
    assert [path.name for path in signed_original.backup.parent.iterdir()] == ["signed.gz"]


async def test_signed_backup_is_restored_if_a_known_key_has_signed_it(
    signed: Path, signed_original: Original, another: ScratchDatabase
) -> None:
    other = SigningKey.generate("localhost/test-log")
    with pytest.raises(InvalidBackup):
        await restore(another.owner_url, signed, keys=[other.verifier])
    await restore(another.owner_url, signed, keys=[other.verifier, KEY.verifier])
    assert await everything(another.owner_url) == await everything(signed_original.owner_url)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [line.replace(b'"source": "ECB"', b'"source": "BOK"') for line in lines],
        lambda lines: [lines[0].replace(b'"made_at":"2', b'"made_at":"3'), *lines[1:]],
        lambda lines: [*lines[:-1], lines[-1].replace("—".encode(), "–".encode())],
    ],
    ids=["unsigned", "more", "another rate", "another date", "no note"],
)
async def test_backup_with_lines_that_were_not_signed_restores_nothing(
    change: Callable[[list[bytes]], list[bytes]], signed: Path, another: ScratchDatabase
) -> None:
    changed = b"".join(change(lines(signed)))
    assert changed != b"".join(lines(signed))
    await asyncio.to_thread(signed.write_bytes, gzip.compress(changed))
    with pytest.raises(InvalidBackup):
        await restore(another.owner_url, signed, keys=[KEY.verifier])
    pool = await postgres.pool(another.app_url)
    async with pool:
        assert await positions(pool) == []


async def test_backup_that_no_known_key_has_signed_is_refused_before_anything_of_it_is_used(signed: Path) -> None:
    for file, key in ((signed, SigningKey.generate("localhost/test-log")), (signed.with_name("changed"), KEY)):
        if file != signed:
            changed = [line.replace(b"plant", b"blant") for line in lines(signed)]
            await asyncio.to_thread(file.write_bytes, gzip.compress(b"".join(changed)))
        with pytest.raises(InvalidBackup):
            check(file, keys=[key.verifier])


async def test_line_without_an_end_is_refused_in_bounded_memory(
    signed: Path, another: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 2**20)
    with gzip.open(signed, "wb") as packed:
        for _ in range(64):
            packed.write(b" " * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidBackup):
            check(signed, keys=[KEY.verifier])
        with pytest.raises(InvalidBackup):
            await restore(another.owner_url, signed, keys=[KEY.verifier])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20


async def test_row_that_is_nested_without_an_end_is_refused(signed: Path, another: ScratchDatabase) -> None:
    changed = lines(signed)
    at = next(number for number, line in enumerate(changed) if line.startswith(b'{"table"'))
    changed[at] = b'{"table":"keys","row":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    await asyncio.to_thread(signed.write_bytes, gzip.compress(b"".join(changed)))
    with pytest.raises(InvalidBackup):
        await restore(another.owner_url, signed, keys=[KEY.verifier])


async def test_full_disk_is_reported_with_the_file(
    signed_original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not taken for a fault of the database, whose errors have no file name."""
    file = tmp_path / "backup"
    real = os.open
    # Without a file system that is full: every write to the device fails as on one.
    # Other paths stay: services of other tests open files in their threads.
    part = f"{file}.part"

    def opened(path: Any, *how: int) -> int:
        return real("/dev/full", os.O_WRONLY) if os.fspath(path) == part else real(path, *how)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(OSError, match="No space left") as error:
        await backup(signed_original.owner_url, file, key=KEY)
    assert error.value.filename == part


async def test_links_at_the_place_of_a_backup_lead_nowhere(signed_original: Original, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("of another")
    file, aside = tmp_path / "backup", tmp_path / "backup.part"
    file.symlink_to(other)
    aside.symlink_to(other)
    await backup(signed_original.owner_url, file, key=KEY)
    assert other.read_text() == "of another"
    assert not file.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not aside.is_symlink()


async def test_encrypted_backup_is_restored_with_its_passphrase_only(
    database: ScratchDatabase, another: ScratchDatabase, owner: Admin, tmp_path: Path
) -> None:
    await owner.execute(OTHER_RATES)
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("plant", REGISTERED, pledged("one")))
    file = tmp_path / "sealed"
    await backup(database.app_url, file, key=KEY, passphrase="correct horse")
    with pytest.raises(gzip.BadGzipFile):
        lines(file)
    for passphrase, code in ((None, "encrypted"), ("wrong horse", "passphrase")):
        with pytest.raises(InvalidBackup) as error:
            await restore(another.owner_url, file, keys=[KEY.verifier], passphrase=passphrase)
        assert error.value.params["reason"] == BackupProblem(code)
    await restore(another.owner_url, file, keys=[KEY.verifier], passphrase="correct horse")
    assert await everything(another.owner_url) == await everything(database.owner_url)


def sealed(plain: bytes) -> bytes:
    out = io.BytesIO()
    with EncryptingWriter(out, "a passphrase") as writer:
        for start in range(0, len(plain), 50_001):
            writer.write(plain[start : start + 50_001])
    return out.getvalue()


def opened(data: bytes) -> bytes:
    return io.BufferedReader(DecryptingReader(io.BytesIO(data), "a passphrase")).read()


@pytest.fixture
def quick_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that takes a millisecond to make instead of half a second, for tests that make many."""
    monkeypatch.setattr(encryption, "SCRYPT_COST", 2**8)


@pytest.mark.usefixtures("quick_key")
@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE])
def test_encrypted_file_is_decrypted(size: int) -> None:
    plain = secrets.token_bytes(size)
    assert opened(sealed(plain)) == plain


@pytest.mark.usefixtures("quick_key")
def test_encrypted_file_that_was_cut_or_reordered_is_refused() -> None:
    data = sealed(secrets.token_bytes(3 * CHUNK_SIZE))
    head, step = len(MAGIC) + 23, CHUNK_SIZE + 16
    chunks = [data[start : start + step] for start in range(head, len(data), step)]
    assert len(chunks) == 3
    for wrong in (chunks[:2], [chunks[1], chunks[0], chunks[2]], [*chunks, chunks[2]], [chunks[0], chunks[2]], []):
        with pytest.raises(WrongPassphrase):
            opened(data[:head] + b"".join(wrong))
    flipped = bytearray(data)
    flipped[len(MAGIC)] ^= 1
    with pytest.raises(WrongPassphrase):
        opened(bytes(flipped))
