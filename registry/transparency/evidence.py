"""What the service proves: signed checkpoints, proofs, tiles, and certificates that need no service to be checked.

Signs on demand and soon after commits, never inside an append. One process at a time signs: whoever holds the lock
below, with the key's directory, the database's copy and the exported copy before it. Decides nothing about what is
recorded, keeps nothing that cannot be computed again, and shows no tile beyond what was signed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from registry.domain.history import AsOf
from registry.errors import EvidenceUnavailable, InvalidParameter, NotFound, RegistryError
from registry.events import store, write_batch
from registry.events.store import StoredEvent
from registry.infra import postgres
from registry.infra.postgres import Connection, Pool
from registry.queries import answers
from registry.transparency.checkpoint import Checkpoint, CheckpointError, Proof, parse_note
from registry.transparency.heads import StreamHeadTree
from registry.transparency.merkle import (
    BundleRef,
    NotInTree,
    ReadTile,
    TileError,
    TileRef,
    consistency_proof,
    consistency_tiles,
    entry_bundle,
    inclusion_proof,
    inclusion_tiles,
    parse_tile_path,
    root_from_tiles,
    root_tiles,
    tile_path,
)
from registry.transparency.signer import Signer, SignerRefused, SignerStateCorrupt, write_durably
from registry.transparency.tree import load_entries, load_leaf_hashes, load_stream_heads, load_tiles
from registry.transparency.verify import Certificate, Hex, Inclusion, LogVerification, ProvenEvent, ProvenHead, state_of

log = structlog.get_logger(__name__)

# Signers of all processes wait for each other here. The number is arbitrary and must never change.
SIGNER_LOCK = "SELECT pg_advisory_xact_lock(5207184300166412947)"

INSERT_CHECKPOINT = """
INSERT INTO checkpoints (size, verifier, note, heads, signed_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""

NEWEST = """
SELECT size, note, heads
  FROM checkpoints
 ORDER BY size DESC, signed_at DESC
 LIMIT 1
"""

OF_SIZE = """
SELECT note
  FROM checkpoints
 WHERE size = $1
 ORDER BY signed_at DESC
 LIMIT 1
"""

ALL = """
SELECT size, note, heads, signed_at
  FROM checkpoints
 WHERE size < $1
 ORDER BY size DESC, signed_at DESC
 LIMIT $2
"""

VERIFIERS = """
SELECT verifier
  FROM checkpoints
 GROUP BY verifier
 ORDER BY min(signed_at)
"""

VERIFIED = """
INSERT INTO verifications (verified_at, size, root, seconds)
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""

LAST_VERIFIED = """
SELECT verified_at, size, root, seconds
  FROM verifications
 ORDER BY verified_at DESC
 LIMIT 1
"""

# Seconds to wait for the checkpoint of another process, where this one has no key; beside what that one lets pass.
SIGN_TIMEOUT_SECONDS = 5.0

# Events whose proofs are made at once: each has a tile of 8 kB of its own.
PROOF_BATCH_SIZE = 64

_UNSIGNABLE = (SignerRefused, SignerStateCorrupt, CheckpointError, TileError, OSError)


class Consistency(Struct, frozen=True, kw_only=True):
    """The proof that the tree of `from` events is the beginning of that of `to`, and the checkpoint of that if any."""

    from_: int = field(name="from")
    to: int
    from_root: Hex
    to_root: Hex
    path: tuple[Hex, ...]
    checkpoint: str | None


class SignedCheckpoint(Struct, frozen=True):
    """A checkpoint that was signed, and the statement of heads that goes with it."""

    size: int
    note: str
    heads: str
    signed_at: datetime


class Evidence:
    """One per process. As a context manager it also signs by itself, at most every `seconds`."""

    def __init__(
        self,
        pool: Pool,
        key: Path,
        origin: str,
        *,
        export: Path | None = None,
        seconds: float = 5,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pool = pool
        self._key = key
        self._origin = origin
        self._export_to = export
        self._seconds = seconds
        self._clock = clock
        self._signing = asyncio.Lock()
        self._sound = False
        self._told = ""
        self._heads = StreamHeadTree()
        self._heads_at: tuple[int, bytes | None] = (0, None)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Evidence:
        self._changed.set()
        self._task = asyncio.create_task(self._run(), name="checkpoints")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def committed(self, head: write_batch.Head) -> None:
        """To be told that the log has grown."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            # What other processes record wakes nobody here: it is found by looking.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(self._seconds, 1))
            self._changed.clear()
            try:
                await self.checkpoint()
            except (RegistryError, *postgres.ERRORS) as error:
                log.warning("no checkpoint after a change", error=type(error).__name__)
            await asyncio.sleep(self._seconds)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    async def checkpoint(self) -> str:
        """A signed checkpoint that covers every event that was acknowledged before it was asked for.

        Raises EvidenceUnavailable.
        """
        position = (await write_batch.head(self._pool)).position
        deadline = asyncio.get_running_loop().time() + SIGN_TIMEOUT_SECONDS + self._seconds
        while True:
            async with self._signing:
                newest = await self._pool.fetchrow(NEWEST)
                if self._sound and newest is not None and newest["size"] >= position:
                    return str(newest["note"])
                here = await self._sign()
            if not here and asyncio.get_running_loop().time() > deadline:
                log.error("no other process signs", key=str(self._key))
                raise EvidenceUnavailable
            if not here:
                await asyncio.sleep(0.1)

    async def _sign(self) -> bool:
        """Signs the log as it is; False where the key is somebody else's and not here. Raises EvidenceUnavailable."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(SIGNER_LOCK)
                head = await write_batch.head(connection)
                newest = await connection.fetchrow(NEWEST)
                if newest is not None and not self._key.exists() and not _sibling_path(self._key, ".pub").exists():
                    self._sound = True
                    return False
                note, heads = await self._signed(connection, head, newest["note"] if newest is not None else None)
                verifier = await asyncio.to_thread(self._verifier_of, note)
                await connection.execute(INSERT_CHECKPOINT, head.position, verifier, note, heads, self._clock())
        except _UNSIGNABLE as error:
            self._sound = False
            if str(error) != self._told:  # once is enough: it is asked every few seconds
                self._told = str(error)
                log.error("the log's signer refuses", reason=self._told)
            raise EvidenceUnavailable from error
        self._sound, self._told = True, ""
        await self._export(head.position, note)
        return True

    async def _signed(self, connection: Connection, head: write_batch.Head, kept: str | None) -> tuple[str, str]:
        size = head.position
        copies = [note for note in (kept, await asyncio.to_thread(self._newest_copy)) if note is not None]
        signer = await asyncio.to_thread(Signer.open, self._key, self._origin, copies)
        earlier = await asyncio.to_thread(signer.earlier, copies)
        olds = {one.size for one in earlier if 0 < one.size < size}
        refs = [*root_tiles(size), *(ref for old in olds for ref in consistency_tiles(old, size))]
        read = await load_tiles(connection, refs)
        root = root_from_tiles(size, read)
        proofs = {old: consistency_proof(old, size, read) for old in olds}
        heads = await self._heads_of(connection, size, head.leaf_hash)
        note = await asyncio.to_thread(signer.sign, size, root, proofs, copies)
        return note, await asyncio.to_thread(signer.sign_heads, heads.root())

    async def _heads_of(self, connection: Connection | Pool, size: int, leaf: bytes | None) -> StreamHeadTree:
        """The last events of all streams in the log of this size. Under `_signing`."""
        held, last = self._heads_at
        if held > size or (held and (await load_leaf_hashes(connection, held - 1, held)) != [last]):
            self._heads, held = StreamHeadTree(), 0
        if held < size:
            fresh = await load_stream_heads(connection, held, size)
            heads, self._heads, self._heads_at = self._heads, StreamHeadTree(), (0, None)  # interrupted, it begins anew
            await asyncio.to_thread(heads.update, fresh)
            self._heads = heads
        self._heads_at = (size, leaf)
        return self._heads

    def _verifier_of(self, note: str) -> str:
        ids = {signature.key_id for signature in parse_note(note).signatures}
        verifiers = Signer(self._key, self._origin).verifiers()
        return next(str(verifier) for verifier in verifiers if verifier.key_id in ids)

    async def verifiers(self) -> list[str]:
        """The log's verifier keys, oldest first."""
        if _sibling_path(self._key, ".pub").exists():
            return [str(key) for key in await asyncio.to_thread(Signer(self._key, self._origin).verifiers)]
        return [row["verifier"] for row in await self._pool.fetch(VERIFIERS)]

    async def heads(self) -> str:
        """The signed statement of every stream's last event, for the newest checkpoint. Raises EvidenceUnavailable."""
        await self.checkpoint()
        return str((await self._pool.fetchrow(NEWEST))["heads"])

    async def checkpoints(self, before: int = 2**62, limit: int = 100) -> list[SignedCheckpoint]:
        """The checkpoints of fewer than `before` events, newest first."""
        return [SignedCheckpoint(*row) for row in await self._pool.fetch(ALL, before, limit)]

    # --- copies -------------------------------------------------------------------------------------------------------

    def _newest_copy(self) -> str | None:
        return next(read_exported(self._export_to), None) if self._export_to is not None else None

    async def _export(self, size: int, note: str) -> None:
        if self._export_to is not None:
            try:
                await asyncio.to_thread(export_checkpoint, self._export_to, size, note)
            except OSError as error:
                log.error("a checkpoint was not exported", to=str(self._export_to), reason=str(error))

    # --- proofs and tiles ---------------------------------------------------------------------------------------------

    async def inclusion(self, position: int, size: int | None = None) -> Inclusion:
        """The event at a position with its proof in the tree of `size` leaves; of the newest checkpoint by default.

        Raises NotInTree, EvidenceUnavailable.
        """
        note, size = await self._of_size(size)
        if not 0 < position <= size:
            raise NotInTree("position", position=position, size=size)
        stored = (await store.events_at(self._pool, [position]))[0]
        read = await load_tiles(self._pool, [*root_tiles(size), *inclusion_tiles(position - 1, size)])
        path = inclusion_proof(position - 1, size, read)
        return Inclusion(
            position=position,
            size=size,
            root=root_from_tiles(size, read).hex(),
            leaf_hash=stored.recorded.leaf_hash.hex(),
            path=_hex(path),
            entry=stored.entry.decode(),
            content=stored.content.decode() if stored.content is not None else None,
            salt=stored.salt.hex() if stored.salt is not None else None,
            checkpoint=note,
        )

    async def inclusion_text(self, position: int, size: int | None = None) -> str:
        """The same as a C2SP tlog-proof, whose extra data are the entry. Raises BadQuery for a size never signed."""
        found = await self.inclusion(position, size)
        note = self._signed_at(found.checkpoint, found.size, "size")
        return str(Proof(position - 1, tuple(map(bytes.fromhex, found.path)), note, found.entry.encode()))

    async def consistency(self, old: int, new: int | None = None) -> Consistency:
        """The proof that the tree of `old` leaves is the beginning of that of `new`. Raises NotInTree."""
        note, new = await self._of_size(new)
        if old > new:
            raise NotInTree("tree", other=old, size=new)
        read = await load_tiles(self._pool, [*root_tiles(old), *root_tiles(new), *consistency_tiles(old, new)])
        return Consistency(
            from_=old,
            to=new,
            from_root=root_from_tiles(old, read).hex(),
            to_root=root_from_tiles(new, read).hex(),
            path=_hex(consistency_proof(old, new, read)),
            checkpoint=note,
        )

    async def consistency_text(self, old: int, new: int | None = None) -> str:
        """The same as the request by which a C2SP tlog-witness is asked to cosign. Raises BadQuery."""
        found = await self.consistency(old, new)
        note = self._signed_at(found.checkpoint, found.to, "to")
        return witness_request(old, [bytes.fromhex(each) for each in found.path], note)

    async def _of_size(self, size: int | None) -> tuple[str | None, int]:
        """The checkpoint of a size, if one was signed, and the size; the newest checkpoint's without one."""
        if size is not None:
            newest = await self._pool.fetchrow(NEWEST)
            if newest is not None and size <= newest["size"]:
                return await self._pool.fetchval(OF_SIZE, size), size
        note = await self.checkpoint()
        head = Checkpoint.parse(parse_note(note).text)
        if size is None or size == head.size:
            return note, head.size
        if size > head.size:
            raise NotInTree("tree", other=size, size=head.size)
        return await self._pool.fetchval(OF_SIZE, size), size

    def _signed_at(self, note: str | None, size: int, parameter: str) -> str:
        if note is None:
            raise InvalidParameter("no_checkpoint", parameter=parameter, size=size)
        return note

    async def tile(self, path: str) -> bytes:
        """A tile or a bundle of entries by its C2SP path. Raises NotFound beyond the newest checkpoint."""
        try:
            at = parse_tile_path(path)
        except TileError as error:
            raise NotFound("tile_path", problem=error.message) from None
        height = 0 if isinstance(at, BundleRef) else at.level * 8
        newest = await self._pool.fetchval(NEWEST) or 0
        if at.number * 256 + at.width > newest >> height:
            raise NotFound("tile", tile=tile_path(at), size=newest)
        if isinstance(at, TileRef):
            return (await load_tiles(self._pool, [at]))(at)
        first = at.number * 256
        return entry_bundle(await load_entries(self._pool, first, first + at.width))

    # --- certificates -------------------------------------------------------------------------------------------------

    async def certificate(self, deal: str, clocks: AsOf, today: date) -> bytes:
        """A deal's state with everything that it follows from, as JSON. Raises NotFound, EvidenceUnavailable."""
        await self.checkpoint()
        async with self._signing:
            newest = await self._pool.fetchrow(NEWEST)
            size = newest["size"]
            last = await load_leaf_hashes(self._pool, size - 1, size)
            proof = (await self._heads_of(self._pool, size, last[0] if last else None)).prove(f"deal/{deal}")
        events = await store.feed(self._pool, 0, 2**31, until=size, stream=f"deal/{deal}")
        if not events:
            raise NotFound("deal", deal=deal)
        asked = replace(
            clocks,
            effective_on=clocks.effective_on or today,
            position=size if clocks.position is None else min(size, clocks.position),
        )
        proven: list[ProvenEvent] = []
        for start in range(0, len(events), PROOF_BATCH_SIZE):
            chunk = events[start : start + PROOF_BATCH_SIZE]
            wanted = dict.fromkeys(at for e in chunk for at in inclusion_tiles(e.recorded.position - 1, size))
            read = await load_tiles(self._pool, wanted)
            proven += await asyncio.to_thread(_prove, chunk, size, read)
        return answers.encode(
            Certificate(
                deal=deal,
                clocks=asked,
                state=state_of(deal, [e.recorded for e in events], asked, size),
                events=tuple(proven),
                head=ProvenHead(proof.lines, _hex(proof.path), newest["heads"]),
                checkpoint=newest["note"],
            )
        )

    # --- verifications ------------------------------------------------------------------------------------------------

    async def record_verification(self, found: LogVerification, seconds: float) -> None:
        """Keeps that the whole log was recomputed; where that may not be written, it goes without."""
        with contextlib.suppress(*postgres.ERRORS):
            await self._pool.execute(VERIFIED, self._clock(), found.size, bytes.fromhex(found.root), seconds)

    async def last_verified(self) -> tuple[datetime, int, bytes, float] | None:
        """When the whole log was last recomputed and found good, its size and root then, and the seconds it took."""
        row = await self._pool.fetchrow(LAST_VERIFIED)
        return tuple(row) if row is not None else None


def _prove(events: Sequence[StoredEvent], size: int, read: ReadTile) -> list[ProvenEvent]:
    return [
        ProvenEvent(
            position=stored.recorded.position,
            entry=stored.entry.decode(),
            content=stored.content.decode() if stored.content is not None else None,
            salt=stored.salt.hex() if stored.salt is not None else None,
            path=_hex(inclusion_proof(stored.recorded.position - 1, size, read)),
        )
        for stored in events
    ]


def _hex(path: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(node.hex() for node in path)


def _sibling_path(key: Path, end: str) -> Path:
    return key.with_name(key.name + end)


# --- texts and copies -------------------------------------------------------------------------------------------------


def witness_request(old: int, path: Iterable[bytes], note: str) -> str:
    """The body of an add-checkpoint request (C2SP tlog-witness): the old size, the consistency proof, the note."""
    lines = [f"old {old}", *(base64.b64encode(node).decode() for node in path), ""]
    return "".join(f"{line}\n" for line in lines) + note


def export_checkpoint(to: Path, size: int, note: str) -> None:
    """Puts a copy of a checkpoint into a directory, as a file of its own; or in the place of a file, as its content."""
    if to.is_dir():
        to /= f"{size:020}.checkpoint"
    write_durably(to, note, 0o644)


def read_exported(place: Path) -> Iterator[str]:
    """The copies in a directory or a file, newest first."""
    if place.is_dir():
        for path in sorted(place.glob("*.checkpoint"), reverse=True):
            yield path.read_text()
    elif place.exists():
        yield place.read_text()
