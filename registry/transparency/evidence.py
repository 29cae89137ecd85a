"""The evidence that the service provides: signed checkpoints, proofs and tiles. `certificates.py` makes certificates.

Signs on demand and soon after commits, never inside an append. One process at a time signs: it holds an advisory lock
in Postgres and has read the newest checkpoint of the database and of the exported copies. Tiles are served only up to
the newest checkpoint. Everything but the signatures can be recomputed from the log. The file is long because a proof
needs a checkpoint, which may have to be signed for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog
from msgspec import Struct

from registry.errors import EvidenceUnavailable, HealthWarning, InvalidParameter, NotFound, RegistryError
from registry.events import mirror_state, store, write_batch
from registry.events.continuity import ContinuityGuard
from registry.events.mirror_state import Mirror
from registry.events.write_batch import Head
from registry.infra import postgres, tasks
from registry.infra.postgres import Connection, Pool
from registry.transparency import checkpoint_store, signing_keys
from registry.transparency.bundles import Inclusion
from registry.transparency.checkpoint import Checkpoint, CheckpointError, Proof, VerifierKey, parse_note
from registry.transparency.checkpoint_store import SignedCheckpoint, export_checkpoint, read_exported
from registry.transparency.cosigning import Witnesses
from registry.transparency.heads import StreamHeadTree, parse_heads
from registry.transparency.merkle import (
    NotInTree,
    consistency_proof,
    consistency_tiles,
    inclusion_tiles,
    root_from_tiles,
    root_tiles,
)
from registry.transparency.proofs import (
    Consistency,
    hex_path,
    prove_event,
)
from registry.transparency.signer import SignedTreeContradicted, Signer, SignerRefused, SignerStateCorrupt
from registry.transparency.signing_keys import KeySource
from registry.transparency.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    BundleRef,
    TileError,
    TileRef,
    entry_bundle,
    parse_tile_path,
    tile_path,
)
from registry.transparency.tree import load_entries, load_leaf_hashes, load_stream_heads, load_tiles
from registry.transparency.verify import LogVerification
from registry.transparency.witness_request import WitnessRequest

log = structlog.get_logger(__name__)

# Signers of all processes take this lock. The number is arbitrary and must never change.
SIGNER_LOCK = "SELECT pg_advisory_xact_lock(5207184300166412947)"

# Seconds that a process without the key waits for another process to sign, in addition to that one's signing interval.
# With the default interval, a reader is told that nothing signs before the time of the read is over.
SIGN_TIMEOUT_SECONDS = 3.0

# Seconds beyond the signing interval after which an event without a checkpoint means that no service can sign.
UNSIGNED_LIMIT_SECONDS = 60.0

_SIGNING_ERRORS = (SignerRefused, SignerStateCorrupt, CheckpointError, TileError, OSError)


class Unsigned(Struct, frozen=True):
    """The size of the newest checkpoint, and the seconds for which the first event after it has been without one."""

    size: int
    seconds: float


class Evidence:
    """Signs the log and answers requests for proofs. One per process.

    As an async context manager it also signs by itself after commits, at most every `seconds`.
    """

    def __init__(
        self,
        pool: Pool,
        source: KeySource,
        *,
        export: Path | None = None,
        seconds: float = 5,
        continuity: ContinuityGuard | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        mirror: Mirror | None = None,
        witnesses: Witnesses | None = None,
    ) -> None:
        self._pool = pool
        self._source = source
        self._witnesses = witnesses
        # A mirror has the checkpoints of its origin, and signs none.
        self._mirror = mirror
        self._origin = mirror.origin if mirror is not None else source.origin
        self._export_to = export
        self._seconds = seconds
        self._continuity = continuity or ContinuityGuard()
        self._clock = clock
        self._signing = asyncio.Lock()
        self._sound = False
        self._logged_refusal = ""
        # The tree of heads, and the size and last leaf hash of the log that it was computed for.
        self._heads: StreamHeadTree | None = None
        self._heads_at: tuple[int, bytes | None] = (0, None)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Evidence:
        if self._mirror is not None:
            return self
        self._changed.set()
        self._task = asyncio.create_task(self._run(), name="checkpoints")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await tasks.end(self._task)

    def committed(self, head: Head) -> None:
        """Commit listener: the log has grown."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            # Commits of other processes are not signalled here: look for them at intervals.
            await tasks.wait_for(self._changed, max(self._seconds, 1))
            self._changed.clear()
            try:
                await self.checkpoint()
            except (RegistryError, *postgres.ERRORS) as error:
                log.warning("periodic checkpoint failed", error=type(error).__name__)
            await asyncio.sleep(self._seconds)

    # --- checkpoints --------------------------------------------------------------------------------------------------

    async def checkpoint(self) -> str:
        """A signed checkpoint that covers every event that was acknowledged before the call.

        On a mirror, the newest one of the origin that was verified. Raises EvidenceUnavailable.
        """
        if self._mirror is not None:
            return (await self._newest()).note
        position = (await write_batch.head(self._pool)).position
        deadline = asyncio.get_running_loop().time() + SIGN_TIMEOUT_SECONDS + self._seconds
        while True:
            async with self._signing:
                newest = await checkpoint_store.load_newest(self._pool, self._origin)
                if self._sound and newest is not None and newest.size >= position:
                    return newest.note
                has_key = await self._sign()
            if not has_key and asyncio.get_running_loop().time() > deadline:
                log.error("no process with the signing key has signed in time", key=str(self._source.file))
                raise EvidenceUnavailable
            if not has_key:
                await asyncio.sleep(0.1)

    async def _sign(self) -> bool:
        """Sign the log's head. Returns False if another process has the key. Raises EvidenceUnavailable."""
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(SIGNER_LOCK)
                if await mirror_state.load(connection) is not None:
                    raise EvidenceUnavailable
                head = await self._continuity.check(connection)
                newest = await checkpoint_store.load_newest(connection, self._origin)
                if newest is not None and not self._source.is_available:
                    self._sound = True
                    return False
                note, heads = await self._sign_head(connection, head, newest.note if newest is not None else None)
                verifier = await asyncio.to_thread(self._verifier_of, note)
                signed = SignedCheckpoint(head.position, note, heads, self._clock())
                await checkpoint_store.insert_checkpoint(connection, verifier, signed)
        except _SIGNING_ERRORS as error:
            self._sound = False
            if str(error) != self._logged_refusal:  # log a persisting refusal once, not every few seconds
                self._logged_refusal = str(error)
                log.error("the signer refuses", reason=self._logged_refusal)
            if isinstance(error, SignedTreeContradicted):
                await self._report_contradiction(int(str(error.params["signed"])))
            raise EvidenceUnavailable from error
        self._sound, self._logged_refusal = True, ""
        if self._witnesses is not None:
            note = await self._cosign(self._witnesses, head.position, note, verifier)
        await self._export(head.position, note)
        return True

    async def _cosign(self, witnesses: Witnesses, size: int, note: str, verifier: str) -> str:
        """Add the cosignatures of witnesses to a signed checkpoint, and return it with them."""

        async def prove(old: int) -> tuple[bytes, ...]:
            return consistency_proof(old, size, await load_tiles(self._pool, consistency_tiles(old, size)))

        lines = await witnesses.cosign(note, size, prove)
        await checkpoint_store.insert_cosignatures(self._pool, size, verifier, lines)
        return await checkpoint_store.load_note_of_size(self._pool, size, self._origin) or note

    async def _report_contradiction(self, signed_size: int) -> None:
        """Stop all services from recording: the log contradicts a checkpoint of `signed_size` events."""
        head = await write_batch.head(self._pool)
        await self._continuity.report(self._pool, "signed", signed_size, "", head.position)

    async def _sign_head(self, connection: Connection, head: Head, stored: str | None) -> tuple[str, str]:
        """Sign the checkpoint and the statement of heads. `stored` is the newest checkpoint of the database."""
        size = head.position
        copies = await self._copies(stored)
        signer = await self._open_signer(connection, copies)
        earlier = await asyncio.to_thread(signer.earlier, copies)
        earlier_sizes = {one.size for one in earlier if 0 < one.size < size}
        refs = [*root_tiles(size), *(ref for old in earlier_sizes for ref in consistency_tiles(old, size))]
        read = await load_tiles(connection, refs)
        root = root_from_tiles(size, read)
        proofs = {old: consistency_proof(old, size, read) for old in earlier_sizes}
        heads = await self._heads_of(connection, size, head.leaf_hash)
        note = await asyncio.to_thread(signer.sign, size, root, proofs, copies)
        return note, await asyncio.to_thread(signer.sign_heads, heads.root())

    async def _copies(self, stored: str | None) -> list[str]:
        """The checkpoint that the database has, and the newest exported one."""
        exported = await asyncio.to_thread(self._newest_exported)
        return [note for note in (stored, exported) if note is not None]

    async def _heads_of(self, connection: Connection | Pool, size: int, leaf: bytes | None) -> StreamHeadTree:
        """The heads of all streams in the log of this size. The caller holds `_signing`."""
        cached, last = self._heads_at
        if cached > size or (cached and (await load_leaf_hashes(connection, cached - 1, cached)) != [last]):
            self._heads, cached = None, 0
        if self._heads is None or cached < size:
            updates = await load_stream_heads(connection, cached, size)
            # If the update is cancelled, the next call starts with an empty tree.
            heads, self._heads, self._heads_at = self._heads, None, (0, None)
            self._heads = await asyncio.to_thread(_updated, heads, updates)
        self._heads_at = (size, leaf)
        return self._heads

    def _verifier_of(self, note: str) -> str:
        ids = {signature.key_id for signature in parse_note(note).signatures}
        verifiers = Signer(self._source.state, self._origin).verifiers()
        return next(str(verifier) for verifier in verifiers if verifier.key_id in ids)

    async def _open_signer(self, connection: Connection, copies: Sequence[str]) -> Signer:
        source = self._source
        if not source.is_shared:
            return await asyncio.to_thread(Signer.open, source.state, self._origin, copies)
        key = await source.shared_key(connection)
        known = [*await checkpoint_store.load_verifiers(connection, self._origin)]
        known += await signing_keys.verifiers(connection, self._origin)
        return await asyncio.to_thread(
            Signer.open, source.state, self._origin, copies, shared_key=key, known=dict.fromkeys(known)
        )

    async def rotate_key(self) -> VerifierKey:
        """Replace the signing key and sign with the new one.

        Raises:
            SignerStateCorrupt, CheckpointError: The files beside the key cannot be used.
            EvidenceUnavailable: The new key may not sign this log.
        """
        source = self._source
        if source.secret is None:
            newest = await checkpoint_store.load_newest(self._pool, self._origin)
            copies = await self._copies(newest.note if newest is not None else None)
            key = await asyncio.to_thread(Signer(source.file, self._origin).rotate, copies)
        else:
            key = (await signing_keys.create(self._pool, self._origin, source.secret)).verifier
        await self.checkpoint()
        return key

    async def verifiers(self) -> list[str]:
        """The log's verifier keys, oldest first."""
        if self._mirror is not None:
            return await mirror_state.trusted_keys(self._pool)
        known = list(await checkpoint_store.load_verifiers(self._pool, self._origin))
        known += await signing_keys.verifiers(self._pool, self._origin)
        if self._source.public_keys.exists():
            signer = Signer(self._source.state, self._origin)
            own = [str(key) for key in await asyncio.to_thread(signer.verifiers)]
            # The own file is in the order of creation; another service may have rotated the key since.
            return list(dict.fromkeys([*own, *known]))
        return list(dict.fromkeys(known))

    async def heads(self) -> str:
        """The signed statement of heads that belongs to the newest checkpoint. Raises EvidenceUnavailable."""
        await self.checkpoint()
        return (await self._newest()).heads

    async def checkpoints(self, before: int = 2**62, limit: int = 100) -> list[SignedCheckpoint]:
        """The checkpoints of fewer than `before` events, newest first."""
        return await checkpoint_store.load_checkpoints(self._pool, before, limit, self._origin)

    async def newest_checkpoint(self) -> Checkpoint | None:
        """The checkpoint that was signed last, which may not cover the latest events yet; None if there is none."""
        newest = await checkpoint_store.load_newest(self._pool, self._origin)
        return Checkpoint.parse(parse_note(newest.note).text) if newest is not None else None

    async def checkpoints_from(self, start: int, sizes: int) -> list[SignedCheckpoint]:
        """The checkpoints of the next `sizes` sizes from `start` on, smallest first."""
        return await checkpoint_store.load_checkpoints_from(self._pool, start, sizes, self._origin)

    async def unsigned(self) -> Unsigned:
        """What is not covered by a checkpoint yet."""
        newest = await checkpoint_store.load_newest(self._pool, self._origin)
        size = newest.size if newest is not None else 0
        first = await store.recorded_at(self._pool, size + 1)
        waited = (self._clock() - first).total_seconds() if first is not None else 0.0
        return Unsigned(size, max(waited, 0.0))

    async def warning(self) -> HealthWarning | None:
        """What readiness and `registry doctor` say when this service refuses to sign, or none signs; None otherwise."""
        if self._mirror is not None:
            return None
        if self._logged_refusal:
            return HealthWarning("signer_refuses")
        unsigned = await self.unsigned()
        if unsigned.seconds <= self._seconds + UNSIGNED_LIMIT_SECONDS:
            return None
        return HealthWarning("nobody_signs", size=unsigned.size, seconds=round(unsigned.seconds))

    async def _newest(self) -> SignedCheckpoint:
        newest = await checkpoint_store.load_newest(self._pool, self._origin)
        if newest is None:  # on a mirror that has copied nothing yet: elsewhere, `checkpoint` has signed one
            raise EvidenceUnavailable
        return newest

    @asynccontextmanager
    async def signed_heads(self) -> AsyncIterator[tuple[SignedCheckpoint, StreamHeadTree]]:
        """The newest checkpoint, which covers the log up to now, and the heads of all streams in it.

        No other checkpoint is signed in the block, so the tree stays as it is.

        Raises:
            EvidenceUnavailable: No checkpoint can be signed now.
        """
        await self.checkpoint()
        async with self._signing:
            newest = await self._newest()
            last = await load_leaf_hashes(self._pool, newest.size - 1, newest.size)
            yield newest, await self._heads_of(self._pool, newest.size, last[0] if last else None)

    def _newest_exported(self) -> str | None:
        return next(read_exported(self._export_to), None) if self._export_to is not None else None

    async def _export(self, size: int, note: str) -> None:
        if self._export_to is not None:
            try:
                await asyncio.to_thread(export_checkpoint, self._export_to, size, note)
            except OSError as error:
                log.error("checkpoint export failed", target=str(self._export_to), reason=str(error))

    # --- proofs and tiles ---------------------------------------------------------------------------------------------

    async def inclusion(self, position: int, size: int | None = None) -> Inclusion:
        """The event at a position with its proof in the tree of `size` leaves (default: the newest checkpoint).

        Raises NotInTree, EvidenceUnavailable.
        """
        note, size = await self._checkpoint_of_size(size)
        if not 0 < position <= size:
            raise NotInTree("position", position=position, size=size)
        stored = (await store.events_at(self._pool, [position]))[0]
        read = await load_tiles(self._pool, [*root_tiles(size), *inclusion_tiles(position - 1, size)])
        proven = prove_event(stored, size, read)
        return Inclusion(
            position=position,
            size=size,
            root=root_from_tiles(size, read).hex(),
            leaf_hash=stored.recorded.leaf_hash.hex(),
            path=proven.path,
            entry=proven.entry,
            content=proven.content,
            salt=proven.salt,
            checkpoint=note,
        )

    async def inclusion_text(self, position: int, size: int | None = None) -> str:
        """The same as a C2SP tlog-proof whose extra data is the entry.

        Raises:
            InvalidParameter: No checkpoint of this size was signed.
        """
        proof = await self.inclusion(position, size)
        note = _require_checkpoint(proof.checkpoint, proof.size, "size")
        return str(Proof(position - 1, tuple(map(bytes.fromhex, proof.path)), note, proof.entry.encode()))

    async def consistency(self, old: int, new: int | None = None) -> Consistency:
        """The proof that the tree of `old` leaves is the beginning of that of `new`. Raises NotInTree."""
        note, new = await self._checkpoint_of_size(new)
        if old > new:
            raise NotInTree("tree", other=old, size=new)
        read = await load_tiles(self._pool, [*root_tiles(old), *root_tiles(new), *consistency_tiles(old, new)])
        return Consistency(
            from_=old,
            to=new,
            from_root=root_from_tiles(old, read).hex(),
            to_root=root_from_tiles(new, read).hex(),
            path=hex_path(consistency_proof(old, new, read)),
            checkpoint=note,
        )

    async def consistency_text(self, old: int, new: int | None = None) -> str:
        """The same as the body of an add-checkpoint request to a C2SP tlog-witness.

        Raises:
            InvalidParameter: No checkpoint of this size was signed.
        """
        proof = await self.consistency(old, new)
        note = _require_checkpoint(proof.checkpoint, proof.to, "to")
        return str(WitnessRequest(old, tuple(map(bytes.fromhex, proof.path)), note))

    async def _checkpoint_of_size(self, size: int | None) -> tuple[str | None, int]:
        """The checkpoint of a size, None if none was signed, and the size (default: the newest checkpoint's)."""
        if size is not None:
            newest = await checkpoint_store.load_newest(self._pool, self._origin)
            if newest is not None and size <= newest.size:
                return await checkpoint_store.load_note_of_size(self._pool, size, self._origin), size
        note = await self.checkpoint()
        head = Checkpoint.parse(parse_note(note).text)
        if size is None or size == head.size:
            return note, head.size
        if size > head.size:
            raise NotInTree("tree", other=size, size=head.size)
        return await checkpoint_store.load_note_of_size(self._pool, size, self._origin), size

    async def tile(self, path: str) -> bytes:
        """A tile or an entry bundle by its C2SP path. Raises NotFound beyond the newest checkpoint."""
        try:
            ref = parse_tile_path(path)
        except TileError as error:
            raise NotFound("tile_path", problem=error.message) from None
        height = 0 if isinstance(ref, BundleRef) else ref.level * TILE_HEIGHT
        newest = await checkpoint_store.load_newest(self._pool, self._origin)
        size = newest.size if newest is not None else 0
        first = ref.number * TILE_WIDTH
        if first + ref.width > size >> height:
            raise NotFound("tile", tile=tile_path(ref), size=size)
        if isinstance(ref, TileRef):
            return (await load_tiles(self._pool, [ref]))(ref)
        return entry_bundle(await load_entries(self._pool, first, first + ref.width))

    # --- verifications ------------------------------------------------------------------------------------------------

    async def record_verification(self, verification: LogVerification, seconds: float) -> None:
        """Store that the whole log was verified. Does nothing where the role may not write it."""
        with suppress(*postgres.ERRORS):
            await checkpoint_store.insert_verification(
                self._pool, self._clock(), verification.size, bytes.fromhex(verification.root), seconds
            )

    async def last_verified(self) -> tuple[datetime, int, bytes, float] | None:
        """The last verification of the whole log: when, its size and root, and the seconds that it took."""
        return await checkpoint_store.load_last_verification(self._pool)


def _updated(heads: StreamHeadTree | None, updates: Sequence[str]) -> StreamHeadTree:
    """A tree with the heads that were read from the log; an empty one takes 10 ms to make, hence in a thread."""
    heads = heads or StreamHeadTree()
    heads.update(parse_heads(updates))
    return heads


def _require_checkpoint(note: str | None, size: int, parameter: str) -> str:
    if note is None:
        raise InvalidParameter("no_checkpoint", parameter=parameter, size=size)
    return note
