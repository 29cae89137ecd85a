"""Follow another registry's log: fetch what is new, verify it, store it, and stop at the first contradiction.

One round takes the origin's newest signed checkpoint and copies the log up to it, page by page. A page is verified
before its transaction begins and committed whole, with its tiles, its projections and the checkpoints of its sizes: a
killed process leaves a log that ends at a verified event, and the next round goes on from there. The mirror's state is
that log alone; nothing has to be repeated or repaired.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from registry import schemas
from registry.domain.history import FoldedStream
from registry.errors import RedactionUnavailable, RegistryError
from registry.events import mirror_state, store, stream_heads, write_batch
from registry.events.continuity import ContinuityGuard
from registry.events.log_lock import hold_log_lock
from registry.events.mirror_state import MirrorStatus
from registry.events.notifications import NOTIFY_CHANNEL, NOTIFY_RIGHTS
from registry.events.store import StoredEvent
from registry.events.types import EventRedacted
from registry.events.write_batch import Head, HeadMoved, WriteBatch
from registry.infra import postgres, tasks
from registry.infra.postgres import Connection, Pool
from registry.mirror.contradiction import Contradiction, OriginUnreadable
from registry.mirror.origin import PAGE, Origin
from registry.mirror.verification import (
    VerifiedCheckpoint,
    leaves_of,
    open_signed,
    stream_of,
    verify_checkpoint,
    verify_contents,
    verify_continues,
    verify_entries,
)
from registry.projections import PROJECTIONS, AppliedChange, exchange_rates
from registry.projections.stream_cache import StreamCache, fold_stream
from registry.transparency import checkpoint_store
from registry.transparency.checkpoint import Checkpoint, VerifierKey, parse_note
from registry.transparency.findings import Finding
from registry.transparency.heads import StreamHead, StreamHeadTree, parse_heads
from registry.transparency.merkle import Frontier, root_from_tiles, root_tiles
from registry.transparency.tiles import Tile
from registry.transparency.tree import add_tiles, load_frontier, load_stream_heads, load_tiles
from registry.transparency.witness import load_witnessed

log = structlog.get_logger(__name__)

# Seconds to wait for the log's lock, which only a rebuild of the projections holds for long.
LOCK_SECONDS = 60.0

NOTIFY = "SELECT pg_notify($1, $2)"


class _Copied(Struct):
    """The copied log: its head, its tree, the heads of its streams, and events whose content the origin did not give.

    `missing`: by event id the position, and the round in which it was first missing. The redaction that names it may
    follow later in the log.
    """

    head: Head
    frontier: Frontier
    heads: StreamHeadTree
    missing: dict[UUID, tuple[int, int]]


class Follower:
    """Keeps a mirror up to date. One per process.

    Args:
        pool: The mirror's database.
        owner: The role that owns the tables, for redactions.
        origin: The registry that is followed.
        status: Kept up to date for health, pages and metrics.
        continuity: Knows the last event, as for every service.
        seconds: Between two rounds.
    """

    def __init__(
        self,
        pool: Pool,
        owner: Pool | None,
        origin: Origin,
        status: MirrorStatus,
        *,
        continuity: ContinuityGuard | None = None,
        seconds: float = 5,
    ) -> None:
        self._pool = pool
        self._owner = owner
        self._origin = origin
        self.status = status
        self._continuity = continuity or ContinuityGuard()
        self._seconds = seconds
        self._cache = StreamCache()
        self._copied: _Copied | None = None
        self._round = 0
        self._task: asyncio.Task[None] | None = None
        self.commit_listeners: list[Callable[[Head], None]] = []

    async def __aenter__(self) -> Follower:
        self._task = asyncio.create_task(self._run(), name="follower")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await tasks.end(self._task)

    async def _run(self) -> None:
        while True:
            await self.follow_once()
            await asyncio.sleep(self._seconds)

    async def follow_once(self) -> None:
        """One round. An error is logged and kept in the status; a contradiction is kept in the database."""
        try:
            await self._refresh_completeness()
            self.status.incident = await mirror_state.open_incident(self._pool)
            if self.status.incident is None:
                await self._catch_up()
                self.status.checked_at, self.status.problem = datetime.now(UTC), None
                self.status.is_complete = True
        except Contradiction as found:
            self._copied = None
            await self._halt(found)
        except (RegistryError, HeadMoved, *postgres.ERRORS, msgspec.MsgspecError, TimeoutError) as error:
            self._copied = None
            problem = str(error) or type(error).__name__
            if problem != self.status.problem:  # log a persisting problem once
                log.warning("the origin cannot be followed for now", origin=self.status.url, problem=problem)
            self.status.problem = problem
        except Exception as error:
            self._copied = None
            self.status.problem = type(error).__name__
            log.exception("following failed")

    async def _refresh_completeness(self) -> None:
        """Find out whether the copy is complete, without the origin: it is if it ends at a checkpoint."""
        if not self.status.is_complete:
            newest = next(iter(await checkpoint_store.load_checkpoints(self._pool, 2**62, 1)), None)
            self.status.position = (await write_batch.head(self._pool)).position
            self.status.is_complete = newest is not None and newest.size >= self.status.position

    async def _halt(self, found: Contradiction) -> None:
        log.error(
            "the origin contradicts itself: the mirror has stopped until an operator decides",
            origin=self.status.url,
            kind=found.kind,
            position=found.position,
            detail=str(found),
        )
        with contextlib.suppress(*postgres.ERRORS):
            await mirror_state.report(self._pool, found.kind, found.position, str(found), found.evidence)
            self.status.incident = await mirror_state.open_incident(self._pool)

    # --- one round ----------------------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Copy the log up to the origin's newest checkpoint. Raises Contradiction, OriginUnreadable."""
        self._round += 1
        keys = [VerifierKey.parse(key) for key in await mirror_state.trusted_keys(self._pool)]
        copied = self._copied = self._copied or await self._load()
        self.status.position = copied.head.position
        note = await self._origin.checkpoint()
        target = open_signed(note, keys, copied.head.position)
        newest = await checkpoint_store.load_newest(self._pool, target.origin)
        known = newest.note if newest is not None else ""
        proof = await self._proof(copied.head.position, target)
        verify_continues(copied.head.position, copied.frontier.root(), target, proof, known, note)
        self.status.origin_size = target.size
        while copied.head.position < target.size:
            await self._copy_page(copied, target, note, keys)
        newest = await checkpoint_store.load_newest(self._pool, target.origin)
        if newest is None or newest.note != note:
            await self._copy_checkpoints_of(copied, keys)
        self._check_missing(copied, note)
        await self._check_witnessed(copied, target)
        await self._copy_rates()
        await self._copy_names()

    async def _load(self) -> _Copied:
        """The copied log as it is in the database."""
        head = await write_batch.head(self._pool)
        heads = StreamHeadTree()
        await asyncio.to_thread(heads.update, parse_heads(await load_stream_heads(self._pool, 0, head.position)))
        missing = {id: (position, self._round) for id, position in await store.unexplained_erasures(self._pool)}
        return _Copied(head, await load_frontier(self._pool, head.position), heads, missing)

    async def _proof(self, size: int, target: Checkpoint) -> tuple[bytes, ...]:
        """The proof that the signed tree begins with the copied one of `size` leaves."""
        return await self._origin.consistency(size, target.size) if 0 < size < target.size else ()

    async def _copy_page(self, copied: _Copied, target: Checkpoint, note: str, keys: Sequence[VerifierKey]) -> None:
        after = copied.head.position
        entries = await self._origin.entries(after, min(PAGE, target.size - after))
        if not entries:
            raise OriginUnreadable("incomplete", position=after + 1)
        extended, tiles = leaves_of(entries, copied.frontier)
        verify_entries(entries, extended, target, await self._proof(extended.size, target), note)
        # With those of the size before the page: witnesses may have cosigned them since.
        stated = await self._checkpoints(after, extended.size)
        async with self._writing(copied.head) as connection:
            streams = sorted({stream_of(one) for one in entries})
            heads = {
                name: head[:2] for name, head in (await stream_heads.current_stream_heads(connection, streams)).items()
            }
            events = verify_contents(entries, heads, copied.head.recorded_at)
            checkpoints = list(self._verified(copied, events, stated, keys))
            await self._write(connection, events, heads, tiles)
            await _insert_checkpoints(connection, checkpoints)
        self._apply_committed(copied, events, extended)

    def _verified(
        self,
        copied: _Copied,
        events: Sequence[StoredEvent],
        stated: Sequence[schemas.CheckpointAndHeads],
        keys: Sequence[VerifierKey],
    ) -> Iterator[VerifiedCheckpoint]:
        """The checkpoints of a page's sizes. The tree of heads is brought up to the page's end meanwhile."""
        of_size: dict[int, list[schemas.CheckpointAndHeads]] = {}
        for one in stated:
            of_size.setdefault(one.size, []).append(one)
        frontier, heads = copied.frontier.copy(), {}
        yield from _agreeing(of_size.get(frontier.size, ()), frontier, copied.heads, keys)
        for event in (stored.recorded for stored in events):
            frontier.append(event.leaf_hash)
            stream = f"{event.kind}/{event.slug}"
            heads[stream] = StreamHead(stream, event.version, event.leaf_hash)
            if event.position in of_size or event is events[-1].recorded:
                copied.heads.update(heads.values())
                heads = {}
                yield from _agreeing(of_size.get(event.position, ()), frontier, copied.heads, keys)

    async def _checkpoints(self, start: int, end: int) -> list[schemas.CheckpointAndHeads]:
        """The checkpoints that the origin signed of these sizes."""
        found: list[schemas.CheckpointAndHeads] = []
        while start <= end:
            page = await self._origin.checkpoints(start)
            found += [one for one in page if start <= one.size <= end]
            if not page or page[-1].size >= end:
                break
            if page[-1].size < start:
                raise OriginUnreadable("incomplete", position=start)
            start = page[-1].size + 1
        return found

    async def _copy_checkpoints_of(self, copied: _Copied, keys: Sequence[VerifierKey]) -> None:
        """Copy checkpoints of the log as it is: of an empty log, by a new key, with later cosignatures."""
        size = copied.head.position
        stated = await self._checkpoints(size, size)
        agreeing = list(_agreeing(stated, copied.frontier, copied.heads, keys))
        async with self._pool.acquire() as connection:
            await _insert_checkpoints(connection, agreeing)

    async def _check_witnessed(self, copied: _Copied, target: Checkpoint) -> None:
        """Compare what this mirror has cosigned as a witness with the log that it has copied since."""
        witnessed = await load_witnessed(self._pool, target.origin)
        if witnessed is None or witnessed.size > copied.head.position:
            return
        cosigned = Checkpoint.parse(parse_note(witnessed.note).text)
        root = root_from_tiles(witnessed.size, await load_tiles(self._pool, root_tiles(witnessed.size)))
        if cosigned.root != root:
            finding = Finding("mirror_other_root", size=witnessed.size)
            raise Contradiction("fork", witnessed.size, finding, cosigned=witnessed.note)

    def _check_missing(self, copied: _Copied, note: str) -> None:
        """Content may be missing only where a redaction names the event.

        The checkpoint of this round covers every redaction that was acknowledged before it was asked for: content that
        was missing in an earlier round has its redaction by now.
        """
        for position, since in copied.missing.values():
            if since < self._round:
                finding = Finding("content_without_redaction", position=position)
                raise Contradiction("withheld", position, finding, note=note)

    # --- storing ------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _writing(self, head: Head) -> AsyncIterator[Connection]:
        """A transaction that appends after `head`; with the owner's role, if there is one, for redactions."""
        pool = self._owner or self._pool
        async with pool.acquire() as connection, hold_log_lock(connection, LOCK_SECONDS):
            found = await write_batch.head(connection)
            if (found.position, found.leaf_hash) != (head.position, head.leaf_hash):
                raise HeadMoved
            await mirror_state.allow_append(connection)
            yield connection

    async def _write(
        self,
        connection: Connection,
        events: Sequence[StoredEvent],
        heads: Mapping[str, tuple[int, bytes]],
        tiles: Sequence[Tile],
    ) -> None:
        """Write the events and what is derived from them. `heads`: those of their streams before."""
        streams = await self._cache.load_heads(connection, heads)
        writes = WriteBatch()
        store.append(writes, events)
        add_tiles(writes, tiles)
        await writes.execute(connection)
        projectors = [projection.start_batch() for projection in PROJECTIONS]
        for event in (stored.recorded for stored in events):
            name = f"{event.kind}/{event.slug}"
            before = streams.get(name) or fold_stream(name, ())
            after = streams[name] = before.copy()
            after.append(event)
            if isinstance(event.event, EventRedacted):
                await self._erase(connection, after, event.position, event.event)
            change = AppliedChange(event, before, after, erased=isinstance(event.event, EventRedacted))
            for projector in projectors:
                projector.apply(change)
            await asyncio.sleep(0)
        for projector in projectors:
            projector.write(writes)
        await writes.execute(connection)
        has_rights = any(stored.recorded.is_withheld for stored in events)
        await connection.execute(NOTIFY, NOTIFY_CHANNEL, NOTIFY_RIGHTS if has_rights else "")

    async def _erase(
        self, connection: Connection, stream: FoldedStream[Any], position: int, redaction: EventRedacted
    ) -> None:
        """Erase what a redaction at a position names."""
        if self._owner is None:
            raise RedactionUnavailable
        for id in (redaction.redacts, *redaction.also):
            await store.erase(connection, position, stream.record.by_id[id].recorded.position)

    def _apply_committed(self, copied: _Copied, events: Sequence[StoredEvent], frontier: Frontier) -> None:
        last = events[-1].recorded
        copied.head = Head(last.position, last.leaf_hash, last.recorded_at)
        copied.frontier = frontier
        for event in (stored.recorded for stored in events):
            if event.erased and not event.is_withheld:
                copied.missing[event.id] = (event.position, self._round)
            if isinstance(event.event, EventRedacted):
                for id in (event.event.redacts, *event.event.also):
                    copied.missing.pop(id, None)
        self.status.position = last.position
        self._continuity.note(copied.head)
        for listener in self.commit_listeners:
            listener(copied.head)

    # --- what is stated, not proved -----------------------------------------------------------------------------------

    async def _copy_rates(self) -> None:
        """Take the imports of exchange rates that were made since."""
        newer = await self._origin.rates(await exchange_rates.imports(self._pool))
        if newer:
            async with self._pool.acquire() as connection, connection.transaction():
                await exchange_rates.insert(connection, newer)

    async def _copy_names(self) -> None:
        """Take the display names of principals, when there is a newer event of one."""
        mirror = await mirror_state.load(self._pool)
        position = await store.last_position_of_kind(self._pool, "principal")
        if mirror is not None and position > mirror.names_position:
            names = await self._origin.names()
            async with self._pool.acquire() as connection:
                await mirror_state.replace_names(connection, names, position)


def _agreeing(
    stated: Iterable[schemas.CheckpointAndHeads], tree: Frontier, heads: StreamHeadTree, keys: Sequence[VerifierKey]
) -> Iterator[VerifiedCheckpoint]:
    """The checkpoints of the size of a tree that a trusted key has signed. Raises Contradiction if one is another's."""
    for one in stated:
        verified = verify_checkpoint(one, tree.root(), heads.root(), keys)
        if verified is not None:
            yield verified


async def _insert_checkpoints(connection: Connection, checkpoints: Sequence[VerifiedCheckpoint]) -> None:
    for one in checkpoints:
        await checkpoint_store.insert_checkpoint(connection, one.verifier, one.signed)
        await checkpoint_store.insert_cosignatures(connection, one.signed.size, one.verifier, one.others)
