"""Backup of the whole registry to one file, and restore; independent of Postgres versions and machines.

The file is gzipped NDJSON: a header, then every event (its hashed envelope, content and salt), then the rows of the
tables that are not derived from the log: API keys, checkpoints, exchange rates, idempotency records. A restore
recomputes tiles and projections, and accepts the events only if they give the header's root hash. A backup still
contains content that is redacted later: delete it from the backup too.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from registry.errors import LogCorrupt, RegistryError
from registry.events import log_lock, store, write_batch
from registry.events.codec import decode_entry, from_row
from registry.events.store import StoredEvent
from registry.i18n import Message
from registry.infra import postgres
from registry.infra.postgres import Connection
from registry.projections import PROJECTIONS, exchange_rates, rebuild
from registry.transparency.findings import Finding
from registry.transparency.merkle import Frontier, leaf_hash
from registry.transparency.tiles import Tile
from registry.transparency.tree import add_tiles, load_frontier

FORMAT = "investment-registry-backup@v1"

BATCH_SIZE = 1_000

# Tables that the log determines, and the schema's own.
DERIVED = {
    "events",
    "event_contents",
    "tiles",
    "alembic_version",
    "fact_resets",
    *(t for view in PROJECTIONS for t in view.tables),
}

# Tables that reference another one are last, because Postgres checks a foreign key when a row is inserted.
TABLES = """
SELECT c.relname,
       EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'f') AS has_foreign_key
  FROM pg_class AS c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
 ORDER BY has_foreign_key, c.relname
"""

COUNT = "SELECT count(*) FROM {table}"
READ = "SELECT to_jsonb(t)::text FROM {table} AS t"
WRITE = "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)"

Progress = Callable[[int, int], None]


class BackupProblem(Message):
    """Why a file is not a complete backup."""

    __slots__ = ()
    context = "backup"


class RegistryNotEmpty(RegistryError):
    """A backup can be restored into an empty registry only."""

    code = "registry_not_empty"


class InvalidBackup(RegistryError):
    """A file is not a complete backup."""

    code = "invalid_backup"


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line. `root` is the hex root hash of the tree over the `size` events that follow (RFC 6962 §2.1)."""

    format: str
    size: int
    root: str
    made_at: datetime


class EventLine(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An event: its hashed envelope and, unless redacted, its content and its salt in hex."""

    entry: str
    content: str | None = None
    salt: str | None = None


class TableRow(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of another table."""

    table: str
    row: msgspec.Raw


class TableHeader(Struct, frozen=True, forbid_unknown_fields=True):
    """After the events: the number of rows of other tables, which are the last lines."""

    rows: int


_header: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Header)
_kept: msgspec.json.Decoder[Any] = msgspec.json.Decoder(EventLine)
_rest: msgspec.json.Decoder[Any] = msgspec.json.Decoder(TableHeader)
_row: msgspec.json.Decoder[Any] = msgspec.json.Decoder(TableRow)
_encode = msgspec.json.Encoder().encode


def _no_progress(done: int, total: int) -> None:
    pass


async def backup(url: str, file: Path, progress: Progress = _no_progress) -> Header:
    """Write everything that is committed now to a file. The registry may keep running.

    Raises:
        OSError: The file cannot be written.
    """
    aside = file.with_name(f"{file.name}.part")
    async with _connected(url) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        size = (await write_batch.head(connection)).position
        root = (await load_frontier(connection, size)).root()
        header = Header(FORMAT, size, root.hex(), datetime.now(UTC))
        with gzip.open(aside, "wb") as out:
            out.write(_encode(header) + b"\n")
            async for kept in _events(connection, size, progress):
                out.write(_encode(kept) + b"\n")
            others = await _others(connection)
            counts = [await connection.fetchval(COUNT.format(table=table)) for table in others]
            out.write(_encode(TableHeader(sum(counts))) + b"\n")
            for table in others:
                async for (row,) in connection.cursor(READ.format(table=table)):
                    out.write(_encode(TableRow(table, msgspec.Raw(row.encode()))) + b"\n")
    aside.replace(file)
    return header


async def restore(owner_url: str, file: Path, progress: Progress = _no_progress) -> Header:
    """Restore a file into an empty registry, whole or not at all, and rebuild the projections.

    Raises:
        RegistryNotEmpty: The registry has events.
        InvalidBackup: The file is incomplete or not a backup.
        LogCorrupt: The events do not give the header's root hash.
        OSError: The file cannot be read.
    """
    async with _connected(owner_url) as connection:
        with _lines(file) as lines:
            async with log_lock.hold_log_lock(connection, patience=60):
                there = (await write_batch.head(connection)).position
                if there:
                    raise RegistryNotEmpty(size=there)
                # The backup has rates of its own, which may come from another release's package.
                await exchange_rates.delete_all(connection)
                header = await _restore(connection, file, lines, progress)
    await rebuild.rebuild(owner_url)
    return header


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    pool = await postgres.pool(url, name="registry backup", min_size=1, max_size=1)
    async with pool, pool.acquire() as connection:
        yield connection


async def _others(connection: Connection) -> dict[str, bool]:
    """Return the tables that the log does not determine, and whether each references another one."""
    rows = await connection.fetch(TABLES)
    return {row["relname"]: row["has_foreign_key"] for row in rows if row["relname"] not in DERIVED}


async def _events(connection: Connection, size: int, progress: Progress) -> AsyncIterator[EventLine]:
    for after in range(0, size, BATCH_SIZE):
        for row in await store.raw_rows(connection, after, min(after + BATCH_SIZE, size)):
            content, salt = row["content"], row["salt"]
            yield EventLine(row["entry"].decode(), content and content.decode(), salt and salt.hex())
        progress(min(after + BATCH_SIZE, size), size)


class _Lines:
    """The file's lines, each decoded as the type that is expected next."""

    def __init__(self, file: Path, lines: Iterator[bytes]) -> None:
        self._file = file
        self._lines = lines

    def next(self, decoder: msgspec.json.Decoder[Any]) -> Any:
        try:
            return decoder.decode(next(self._lines))
        except (StopIteration, EOFError, gzip.BadGzipFile):
            raise InvalidBackup(file=str(self._file), reason=BackupProblem("truncated")) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidBackup(file=str(self._file), reason=str(error)) from None


@contextmanager
def _lines(file: Path) -> Iterator[_Lines]:
    with gzip.open(file, "rb") as lines:
        yield _Lines(file, iter(lines))


async def _restore(connection: Connection, file: Path, lines: _Lines, progress: Progress) -> Header:
    header: Header = lines.next(_header)
    if header.format != FORMAT:
        raise InvalidBackup(file=str(file), reason=BackupProblem("format", format=header.format, expected=FORMAT))
    tree = Frontier()
    for after in range(0, header.size, BATCH_SIZE):
        count = min(BATCH_SIZE, header.size - after)
        try:
            events = [_stored(after + n, lines.next(_kept)) for n in range(1, count + 1)]
        except (msgspec.ValidationError, ValueError) as error:
            finding = Finding("backup_event", position=after, file=str(file), problem=str(error))
            raise LogCorrupt(detail=finding) from None
        tiles: list[Tile] = [tile for event in events for tile in tree.append(event.recorded.leaf_hash)]
        writes = write_batch.WriteBatch()
        store.append(writes, events)
        add_tiles(writes, tiles)
        await writes.execute(connection)
        progress(after + count, header.size)
    if tree.root().hex() != header.root:
        raise LogCorrupt(detail=Finding("backup_root", file=str(file)))
    has_foreign_key = await _others(connection)
    rows: dict[str, list[bytes]] = {table: [] for table in has_foreign_key}
    for _ in range(lines.next(_rest).rows):
        row: TableRow = lines.next(_row)
        if row.table not in rows:
            raise InvalidBackup(file=str(file), reason=BackupProblem("unknown_table", table=row.table))
        rows[row.table].append(bytes(row.row))
        # The rows that they reference may follow: some backups list the tables by name.
        if len(rows[row.table]) == BATCH_SIZE and not has_foreign_key[row.table]:
            await _write(connection, row.table, rows[row.table])
    for table, left in rows.items():
        await _write(connection, table, left)
    return header


async def _write(connection: Connection, table: str, rows: list[bytes]) -> None:
    if rows:
        await connection.execute(WRITE.format(table=table), f"[{b','.join(rows).decode()}]")
        rows.clear()


def _stored(position: int, kept: EventLine) -> StoredEvent:
    data = kept.entry.encode()
    entry = decode_entry(data)
    content = kept.content.encode() if kept.content is not None else None
    row = {
        **msgspec.structs.asdict(entry),
        "position": position,
        "content": content,
        "leaf_hash": leaf_hash(data),
    }
    return StoredEvent(from_row(row), data, content, bytes.fromhex(kept.salt) if kept.salt is not None else None)
