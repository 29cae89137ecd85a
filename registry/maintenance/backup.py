"""Backup of the whole registry to one file, and restore; independent of Postgres versions and machines.

The file is gzipped NDJSON: a header, then every event (its hashed envelope, content and salt), then the rows of the
tables that are not derived from the log: API keys, checkpoints, exchange rates, idempotency records; last a signature
of all these lines with the log's signing key. It may be encrypted with a passphrase. A restore uses no line before it
has found that a known key has signed them all. It recomputes tiles and projections, and accepts the events only if they
give the header's root hash and are a log that `registry verify` accepts. A backup still contains content that is
redacted later: delete it from the backup too.

Writing and reading stand in one file, because each line that one writes is a line that the other must accept.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Struct

from registry.errors import LogCorrupt, RegistryError
from registry.events import log_lock, mirror_state, store, write_batch
from registry.events.codec import decode_entry, entry_columns, from_row
from registry.events.store import StoredEvent
from registry.i18n import Message
from registry.infra import postgres
from registry.infra.postgres import Connection
from registry.maintenance.encryption import MAGIC, DecryptingReader, EncryptingWriter, WrongPassphrase, is_encrypted
from registry.projections import PROJECTIONS, exchange_rates, rebuild
from registry.transparency.checkpoint import CheckpointError, SigningKey, VerifierKey, verify_note
from registry.transparency.findings import Finding
from registry.transparency.merkle import Frontier, leaf_hash
from registry.transparency.tiles import Tile
from registry.transparency.tree import add_tiles, load_frontier
from registry.transparency.verify import verify_snapshot

FORMAT = "investment-registry-backup@v1"

BATCH_SIZE = 1_000

# Bytes of a line: a body of 8 MiB, escaped, is shorter. The signature of a file is its last line.
MAX_LINE = 64 * 2**20

# Tables that the log determines, the schema's own, and who was signed in. A restore rebuilds the projections.
DERIVED = {
    "events",
    "event_contents",
    "tiles",
    "alembic_version",
    "fact_resets",
    "outdated_tables",
    "sessions",
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

# Rows of builds before principals lack these columns. They are not restored: no event gives their keys rights, and the
# secrets of their webhooks are not encrypted.
COLUMNS_SINCE_PRINCIPALS = {"keys": "principal", "webhooks": "format"}

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


class Restored(Struct, frozen=True):
    """The backup's header, and how many keys and webhooks of a build before principals were left out."""

    header: Header
    left_out: int


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


class SignatureLine(Struct, frozen=True, forbid_unknown_fields=True):
    """The last line: a signed note (C2SP) whose text has the format, the size, the root hash and the SHA-256 of all
    lines before it."""

    signature: str


_header: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Header)
_kept: msgspec.json.Decoder[Any] = msgspec.json.Decoder(EventLine)
_rest: msgspec.json.Decoder[Any] = msgspec.json.Decoder(TableHeader)
_row: msgspec.json.Decoder[Any] = msgspec.json.Decoder(TableRow)
_signature: msgspec.json.Decoder[Any] = msgspec.json.Decoder(SignatureLine)
_encode = msgspec.json.Encoder().encode


def _no_progress(done: int, total: int) -> None:
    pass


async def backup(
    url: str,
    file: Path,
    progress: Progress = _no_progress,
    *,
    key: SigningKey | None = None,
    passphrase: str | None = None,
) -> Header:
    """Write everything that is committed now to a file that only its owner can read. The registry may keep running.

    Args:
        url: The database.
        file: The file; replaced whole, or not at all.
        progress: Called with the number of events written and their total.
        key: Signs the file.
        passphrase: Encrypts the file.

    Raises:
        OSError: The file cannot be written.
    """
    async with _connected(url) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        size = (await write_batch.head(connection)).position
        root = (await load_frontier(connection, size)).root()
        header = Header(FORMAT, size, root.hex(), datetime.now(UTC))
        with _written(file, passphrase) as out:
            digest = sha256()

            def write(line: Struct) -> None:
                data = _encode(line) + b"\n"
                digest.update(data)
                out.write(data)

            write(header)
            async for kept in _events(connection, size, progress):
                write(kept)
            others = await _others(connection)
            counts = [await connection.fetchval(COUNT.format(table=table)) for table in others]
            write(TableHeader(sum(counts)))
            for table in others:
                async for (row,) in connection.cursor(READ.format(table=table)):
                    write(TableRow(table, msgspec.Raw(row.encode())))
            if key is not None:
                write(SignatureLine(key.sign(_signed_text(header, digest.digest()))))
    return header


def check(file: Path, *, keys: Sequence[VerifierKey] | None = None, passphrase: str | None = None) -> None:
    """Check who signed a file, before a database is started or a line of it is used.

    Args:
        file: The backup.
        keys: One of them must have signed the file. None to check only that it begins as a backup.
        passphrase: Decrypts the file.

    Raises:
        InvalidBackup: The file is incomplete, not a backup, not signed by a key, or encrypted with another passphrase.
        OSError: The file cannot be read.
    """
    with _lines(file, passphrase) as lines:
        if keys is None:
            lines.next(_header)
        else:
            lines.verify_all(keys)


async def restore(
    owner_url: str,
    file: Path,
    progress: Progress = _no_progress,
    *,
    keys: Sequence[VerifierKey] | None = None,
    passphrase: str | None = None,
) -> Restored:
    """Restore a file that `check` has accepted into an empty registry, whole or not at all; rebuild the projections.

    Args:
        owner_url: The database, with the role that owns the tables.
        file: The backup.
        progress: Called with the number of events restored and their total.
        keys: One of them must have signed the file. None to accept an unsigned file or a signature by any key.
        passphrase: Decrypts the file.

    Raises:
        RegistryNotEmpty: The registry has events.
        InvalidBackup: The file is incomplete, not a backup, not signed by a key, or encrypted with another passphrase.
        LogCorrupt: The events do not give the header's root hash, or contradict each other.
        UnknownEventType: An event is of a type that this release does not know.
        OSError: The file cannot be read.
    """
    async with _connected(owner_url) as connection:
        with _lines(file, passphrase) as lines:
            async with log_lock.hold_log_lock(connection, patience=60):
                there = (await write_batch.head(connection)).position
                if there:
                    raise RegistryNotEmpty(size=there)
                # The backup has rates of its own, which may come from another release's package.
                await exchange_rates.delete_all(connection)
                restored = await _restore(connection, file, lines, progress)
                if keys is not None:
                    # The file may have changed since.
                    lines.verify(restored.header, keys)
    await rebuild.rebuild(owner_url)
    return restored


def _signed_text(header: Header, digest: bytes) -> str:
    return f"{FORMAT}\n{header.size}\n{header.root}\n{digest.hex()}\n"


@contextmanager
def _written(file: Path, passphrase: str | None) -> Iterator[BinaryIO]:
    """The compressed file, under a temporary name until it is complete; only its owner can read it."""
    aside = file.with_name(f"{file.name}.part")
    aside.unlink(missing_ok=True)
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as plain:
            sealed = EncryptingWriter(plain, passphrase) if passphrase is not None else None
            with gzip.GzipFile(fileobj=sealed or plain, mode="wb", filename="") as packed:
                yield cast("BinaryIO", packed)
            if sealed is not None:
                sealed.close()
            plain.flush()
            os.fsync(fd)
        aside.replace(file)
    except OSError as error:
        aside.unlink(missing_ok=True)
        # An error of writing, as on a full disk, does not name the file.
        raise OSError(error.errno, error.strerror, error.filename or str(aside)) from None
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


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
        self._digest = sha256()

    def next(self, decoder: msgspec.json.Decoder[Any]) -> Any:
        line = self._read()
        if line is None:
            raise self._invalid(BackupProblem("truncated"))
        self._digest.update(line)
        try:
            return decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidBackup(file=str(self._file), reason=str(error)) from None

    def verify_all(self, keys: Sequence[VerifierKey]) -> None:
        """Check that the last line of the file is a signature of all before it, which are only hashed.

        Raises:
            InvalidBackup: It is not.
        """
        header = self.next(_header)
        last = self._read()
        while (line := self._read()) is not None:
            self._digest.update(last or b"")
            last = line
        self._verify(header, last, keys)

    def verify(self, header: Header, keys: Sequence[VerifierKey]) -> None:
        """Check that the line after the last is a signature of all before it. Raises InvalidBackup."""
        self._verify(header, self._read(), keys)

    def _verify(self, header: Header, line: bytes | None, keys: Sequence[VerifierKey]) -> None:
        signed = _signed_text(header, self._digest.digest())
        if line is None:
            raise self._invalid(BackupProblem("unsigned"))
        try:
            note, _ = verify_note(_signature.decode(line).signature, keys)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, CheckpointError) as error:
            raise InvalidBackup(file=str(self._file), reason=BackupProblem("signature", problem=str(error))) from None
        if note.text != signed or self._read() is not None:
            raise self._invalid(BackupProblem("changed"))

    def _read(self) -> bytes | None:
        try:
            return next(self._lines, None)
        except WrongPassphrase:
            raise self._invalid(BackupProblem("passphrase")) from None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise self._invalid(BackupProblem("truncated")) from None

    def _invalid(self, problem: BackupProblem) -> InvalidBackup:
        return InvalidBackup(file=str(self._file), reason=problem)


@contextmanager
def _lines(file: Path, passphrase: str | None) -> Iterator[_Lines]:
    with file.open("rb") as raw:
        start = raw.read(len(MAGIC))
        raw.seek(0)
        if is_encrypted(start) and passphrase is None:
            raise InvalidBackup(file=str(file), reason=BackupProblem("encrypted"))
        source: Any = io.BufferedReader(DecryptingReader(raw, passphrase or "")) if is_encrypted(start) else raw
        with gzip.open(source, "rb") as lines:
            # The rest of a longer line is no line.
            yield _Lines(file, iter(partial(lines.readline, MAX_LINE), b""))


async def _restore(connection: Connection, file: Path, lines: _Lines, progress: Progress) -> Restored:
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
    restored = Restored(header, await _restore_tables(connection, file, lines))
    # The root covers the entries only: not whether they follow each other, and not the contents.
    await verify_snapshot(connection, is_mirror=await mirror_state.load(connection) is not None)
    return restored


async def _restore_tables(connection: Connection, file: Path, lines: _Lines) -> int:
    """Restore the tables that the log does not determine; return how many rows were left out."""
    has_foreign_key = await _others(connection)
    rows: dict[str, list[bytes]] = {table: [] for table in has_foreign_key}
    left_out: list[str] = []
    for _ in range(lines.next(_rest).rows):
        row: TableRow = lines.next(_row)
        if row.table not in rows:
            raise InvalidBackup(file=str(file), reason=BackupProblem("unknown_table", table=row.table))
        if _is_before_principals(row):
            left_out.append(row.table)
            continue
        rows[row.table].append(bytes(row.row))
        # The rows that they reference may follow: some backups list the tables by name.
        if len(rows[row.table]) == BATCH_SIZE and not has_foreign_key[row.table]:
            await _write(connection, row.table, rows[row.table])
    if "webhooks" in left_out:
        rows["webhook_deliveries"].clear()
    for table, left in rows.items():
        await _write(connection, table, left)
    return len(left_out)


def _is_before_principals(row: TableRow) -> bool:
    column = COLUMNS_SINCE_PRINCIPALS.get(row.table)
    return column is not None and column not in msgspec.json.decode(row.row)


async def _write(connection: Connection, table: str, rows: list[bytes]) -> None:
    if rows:
        await connection.execute(WRITE.format(table=table), f"[{b','.join(rows).decode()}]")
        rows.clear()


def _stored(position: int, kept: EventLine) -> StoredEvent:
    data = kept.entry.encode()
    entry = decode_entry(data)
    content = kept.content.encode() if kept.content is not None else None
    row = {
        **entry_columns(entry),
        "position": position,
        "content": content,
        "leaf_hash": leaf_hash(data),
    }
    return StoredEvent(from_row(row), data, content, bytes.fromhex(kept.salt) if kept.salt is not None else None)
