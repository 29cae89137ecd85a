"""Verify the whole log against signed checkpoints.

Trusts nothing but the stored bytes and the checkpoints: recomputes every hash and compares every column with the entry
that was hashed. Reads the database in one snapshot and changes nothing. `bundles.py` verifies a single bundle offline.
"""

from __future__ import annotations

from asyncio import create_task, sleep, wait
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from registry.errors import LogCorrupt, UnknownEventType
from registry.events import store
from registry.events.codec import Entry, canonical, decode_content, decode_entry
from registry.events.types import EVENT_TYPES, EventRedacted
from registry.infra.postgres import Connection, Pool
from registry.transparency.checkpoint import Checkpoint
from registry.transparency.findings import Finding
from registry.transparency.heads import StreamHead, StreamHeadTree
from registry.transparency.merkle import HASH_SIZE, Frontier
from registry.transparency.tiles import TILE_HEIGHT, TILE_WIDTH, Tile
from registry.transparency.tree import count_tiles, load_stored_tiles

# Positions read at once. A multiple of a tile's width, so that each page completes its level-0 tiles.
PAGE = 16 * TILE_WIDTH


class TrustedCheckpoint(Struct, frozen=True):
    """A checkpoint that the log must agree with.

    `source` says where it was found. `heads` is the root of heads that was signed with it, or None to skip that check.
    """

    source: Finding
    checkpoint: Checkpoint
    heads: bytes | None = None


class LogVerification(Struct, frozen=True, kw_only=True):
    """The result of verifying the whole log. `root` and `heads` are in hexadecimal."""

    size: int
    root: str
    heads: str
    streams: int
    erased: int
    checkpoints: int


async def verify_log(
    pool: Pool,
    trusted: Sequence[TrustedCheckpoint],
    progress: Callable[[int, int], None] = lambda done, size: None,
    *,
    is_mirror: bool = False,
) -> LogVerification:
    """Recompute the whole log from its bytes and compare it with the checkpoints.

    Args:
        pool: A pool with access to the log. One connection is used.
        trusted: The checkpoints that the log must agree with.
        progress: Called with the number of events that are done, and with the size of the log.
        is_mirror: Whether the database is a mirror, from which the content of events of principals is withheld.

    Raises:
        LogCorrupt: The log was changed. The finding names the first bad position.
        UnknownEventType: An event is of a type that this release does not know.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return await verify_snapshot(connection, trusted, progress, is_mirror=is_mirror)


async def verify_snapshot(
    connection: Connection,
    trusted: Sequence[TrustedCheckpoint] = (),
    progress: Callable[[int, int], None] = lambda done, size: None,
    *,
    is_mirror: bool = False,
) -> LogVerification:
    """Verify the log as `verify_log` does, in a transaction in which nobody else changes it."""
    below, size, orphan = await store.find_anomalies(connection)
    if below is not None:
        raise LogCorrupt(detail=Finding("log_position_below_first", position=below))
    verifier = _LogVerifier(trusted, is_mirror=is_mirror)
    verifier.check_checkpoints(0)
    page = create_task(_load_page(connection, 0))
    try:
        for start in range(0, size, PAGE):
            rows, tiles = await page
            # Postgres fetches the next page while this one is verified; sleep(0) lets the query be sent first.
            page = create_task(_load_page(connection, start + PAGE))
            await sleep(0)
            completed = verifier.add_page(rows, min(start + PAGE, size), tiles)
            progress(min(start + PAGE, size), size)
            for tile in completed:
                await wait([page])  # a connection runs one query at a time
                stored = await load_stored_tiles(connection, tile.level, tile.number, tile.number + 1)
                verifier.compare_tile(tile, stored[0] if stored else None)
    finally:
        await wait([page])
    if orphan is not None:
        raise LogCorrupt(detail=Finding("log_content_without_event", position=orphan))
    return verifier.finish(size, await count_tiles(connection))


async def _load_page(connection: Connection, start: int) -> tuple[list[Any], dict[int, Tile]]:
    rows = await store.raw_rows(connection, start, start + PAGE)
    tiles = await load_stored_tiles(connection, 0, start // TILE_WIDTH, (start + PAGE) // TILE_WIDTH)
    return rows, {tile.number: tile for tile in tiles}


class _TypeOnly(Struct, frozen=True):
    type: str


class _RawContent(Struct, frozen=True):
    event: _TypeOnly


_decode_raw_content = msgspec.json.Decoder(_RawContent).decode


class _LogVerifier:
    """The state of a verification up to the last position that was added."""

    def __init__(self, trusted: Sequence[TrustedCheckpoint], *, is_mirror: bool) -> None:
        self._is_mirror = is_mirror
        self.frontier = Frontier()
        # That of the last event; an event that claims an earlier one would change what was known then.
        self.recorded_at: datetime | None = None
        # Each stream's version and the last leaf hash in hexadecimal.
        self.streams: dict[str, tuple[int, str]] = {}
        # Events without content, and events that a redaction names: their position and stream, by id.
        self.erased: dict[UUID, tuple[int, str]] = {}
        self.redacted: dict[UUID, tuple[int, str]] = {}
        self.pending: dict[int, list[TrustedCheckpoint]] = {}
        for one in trusted:
            self.pending.setdefault(one.checkpoint.size, []).append(one)
        self.checkpoints = len(trusted)
        self.verified_size = 0

    def add_page(self, rows: Sequence[Any], until: int, tiles: dict[int, Tile]) -> list[Tile]:
        """Verify a page of rows, which must reach `until`.

        Returns:
            The tiles of higher levels that the page completes. Those of level 0 are compared with `tiles` here.
        """
        higher: list[Tile] = []
        expected = self.frontier.size
        for row in rows:
            expected += 1
            if row["position"] == expected - 1:
                raise LogCorrupt(detail=Finding("log_position_repeated", position=expected - 1))
            if row["position"] != expected:
                raise LogCorrupt(detail=Finding("log_position_missing", position=expected))
            for tile in self.frontier.append(self._verify_row(row)):
                if tile.level:
                    higher.append(tile)
                else:
                    self.compare_tile(tile, tiles.get(tile.number))
            if expected in self.pending:
                self.check_checkpoints(expected)
        if expected != until:
            raise LogCorrupt(detail=Finding("log_position_missing", position=expected + 1))
        return higher

    def _verify_row(self, row: Any) -> bytes:
        """Compare a row's columns, content and predecessor with its entry. Returns the leaf hash."""
        position, stream, version, id, type, schema, effective_on, published_on, recorded_at, recorded_by = row[:10]
        approved_by, entry, stored_leaf, _, content, salt = row[10:]
        previous = self.streams.get(stream)
        expected = Entry(
            approved_by=approved_by if approved_by is not None else UNSET,
            content=self._erased_digest(row) if content is None or salt is None else sha256(salt + content).hexdigest(),
            effective_on=effective_on,
            id=id,
            previous=previous[1] if previous else None,
            published_on=published_on,
            recorded_at=recorded_at,
            recorded_by=recorded_by,
            schema=schema,
            stream=stream,
            type=type,
            version=version,
        )
        if canonical(expected) != entry or version != (previous[0] + 1 if previous else 1):
            self._raise_entry_mismatch(position, expected, entry, previous)
        if (found := compare_times(position, self.recorded_at, recorded_at)) is not None:
            raise LogCorrupt(detail=found)
        self.recorded_at = recorded_at
        leaf = sha256(b"\x00" + entry).digest()
        if leaf != stored_leaf:
            raise LogCorrupt(detail=Finding("log_leaf_hash", position=position))
        if content is not None:
            self._verify_content(position, stream, type, schema, content)
        self.streams[stream] = (version, leaf.hex())
        return leaf

    def _erased_digest(self, row: Any) -> str:
        """The digest in the entry of an event without content. `finish` checks that a redaction names the event."""
        position = row["position"]
        if row["content_position"] is None:
            raise LogCorrupt(detail=Finding("log_content_row_missing", position=position))
        if row["content"] is not None or row["salt"] is not None:
            raise LogCorrupt(detail=Finding("content_or_salt_missing", position=position))
        if not (self._is_mirror and row["stream"].startswith("principal/")):
            self.erased[row["id"]] = (position, row["stream"])
        return read_entry(position, row["entry"]).content

    def _raise_entry_mismatch(
        self, position: int, expected: Entry, stored: bytes, previous: tuple[int, str] | None
    ) -> NoReturn:
        """Raise LogCorrupt with the field in which the entry differs from its row."""
        entry = read_entry(position, stored)
        for name in Entry.__struct_fields__:
            if getattr(entry, name) != getattr(expected, name):
                if name == "content":
                    raise LogCorrupt(detail=Finding("content_digest", position=position))
                if name == "previous":
                    raise LogCorrupt(detail=Finding("log_entry_previous", position=position))
                raise LogCorrupt(detail=Finding("log_entry_field", position=position, field=name))
        if entry.version != (previous[0] + 1 if previous else 1):
            raise LogCorrupt(
                detail=Finding("log_version_order", position=position, version=entry.version, stream=entry.stream)
            )
        raise LogCorrupt(detail=Finding("log_entry_not_canonical", position=position))

    def _verify_content(self, position: int, stream: str, type: str, schema: int, content: bytes) -> None:
        """Check that the content has the entry's type. Whether it can be folded is checked by `rebuild --check`."""
        try:
            content_type = _decode_raw_content(content).event.type
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LogCorrupt(detail=Finding("log_content_unreadable", position=position, problem=str(error))) from error
        if content_type != type:
            raise LogCorrupt(
                detail=Finding("log_content_type", position=position, content_type=content_type, entry_type=type)
            )
        event_type = EVENT_TYPES.get(type)
        if event_type is None or schema > event_type.schema:
            raise UnknownEventType(position=position, type=type, schema=schema)
        if event_type is EventRedacted:
            event = decode_content(content, type, schema, position).event
            assert isinstance(event, EventRedacted)
            for id in (event.redacts, *event.also):
                self.redacted[id] = (position, stream)

    def compare_tile(self, tile: Tile, stored: Tile | None) -> None:
        """Compare a computed tile with the stored one. Raises LogCorrupt."""
        span = TILE_WIDTH ** (tile.level + 1)
        first = tile.number * span + 1
        last = first + span - 1
        if stored is None:
            raise LogCorrupt(detail=Finding("log_tile_missing", level=tile.level, first=first, last=last))
        if stored == tile:
            return
        for index in range(TILE_WIDTH):
            part = slice(index * HASH_SIZE, (index + 1) * HASH_SIZE)
            if stored.hashes[part] != tile.hashes[part]:
                position = first + index * (span // TILE_WIDTH)
                raise LogCorrupt(
                    detail=Finding("log_tile_hash", position=position, level=tile.level, first=first, last=last)
                )
        raise LogCorrupt(detail=Finding("log_tile_root", level=tile.level, first=first, last=last))

    def check_checkpoints(self, size: int) -> None:
        """Compare the tree of this size with the checkpoints of this size. Raises LogCorrupt."""
        for trusted in self.pending.pop(size, ()):
            if trusted.checkpoint.root != self.frontier.root():
                raise LogCorrupt(
                    detail=Finding("log_root", size=size, source=trusted.source, first=self.verified_size + 1)
                )
            if trusted.heads is not None and trusted.heads != self._heads().root():
                raise LogCorrupt(detail=Finding("log_heads", source=trusted.source))
        self.verified_size = size

    def _heads(self) -> StreamHeadTree:
        heads = StreamHeadTree()
        heads.update(StreamHead(name, version, bytes.fromhex(leaf)) for name, (version, leaf) in self.streams.items())
        return heads

    def finish(self, size: int, tiles: int) -> LogVerification:
        """Check what needs the whole log: remaining checkpoints, redactions, and the number of stored tiles."""
        if self.pending:
            missing = min(self.pending)
            raise LogCorrupt(
                detail=Finding(
                    "log_cut_off",
                    size=size,
                    source=self.pending[missing][0].source,
                    expected=missing,
                    position=size + 1,
                )
            )
        for id, (position, stream) in self.erased.items():
            if self.redacted.get(id, (0, ""))[1] != stream:
                raise LogCorrupt(detail=Finding("content_without_redaction", position=position))
        for id, (position, _) in self.redacted.items():
            if id not in self.erased:
                raise LogCorrupt(detail=Finding("log_redacted_content", position=position, event=str(id)))
        if tiles != sum(size >> TILE_HEIGHT * level for level in range(1, 8)):
            raise LogCorrupt(detail=Finding("log_tiles_beyond_head"))
        return LogVerification(
            size=size,
            root=self.frontier.root().hex(),
            heads=self._heads().root().hex(),
            streams=len(self.streams),
            erased=len(self.erased),
            checkpoints=self.checkpoints,
        )


def compare_times(position: int, before: datetime | None, recorded_at: datetime) -> Finding | None:
    """What is wrong if the event at a position was recorded before the one in front of it."""
    is_earlier = before is not None and recorded_at < before
    return Finding("log_time_order", position=position) if is_earlier else None


def read_entry(position: int, entry: bytes) -> Entry:
    """Decode an entry. Raises LogCorrupt."""
    try:
        return decode_entry(entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogCorrupt(detail=Finding("entry_unreadable", position=position, problem=str(error))) from error
