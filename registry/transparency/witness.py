"""A witness: cosign the checkpoints of one log, never two that contradict (C2SP tlog-witness).

What was cosigned last is kept in the database, in the transaction that the answer follows. The key is a file of this
host. A mirror is a witness of the log that it follows; it has the log itself, so it also compares what it is asked to
cosign with its copy.
"""

from __future__ import annotations

import time
from pathlib import Path

from msgspec import Struct

from registry.errors import EvidenceUnavailable, NotFound, RegistryError
from registry.events import mirror_state, write_batch
from registry.infra.files import write_durably
from registry.infra.postgres import Connection, Pool
from registry.transparency.checkpoint import (
    BadKey,
    Checkpoint,
    CheckpointError,
    VerifierKey,
    open_checkpoint,
    parse_note,
    verify_consistent,
)
from registry.transparency.cosignatures import CosigningKey
from registry.transparency.findings import Finding
from registry.transparency.merkle import ProofError, root_from_tiles, root_tiles
from registry.transparency.signer import SignerStateCorrupt
from registry.transparency.tree import load_tiles
from registry.transparency.witness_request import WitnessRequest

# One request at a time: the number is arbitrary and must never change.
WITNESS_LOCK = "SELECT pg_advisory_xact_lock(5209043857719385561)"

SELECT_WITNESSED = "SELECT size, note FROM witnessed WHERE origin = $1"

REPLACE_WITNESSED = """
INSERT INTO witnessed (origin, size, note)
VALUES ($1, $2, $3)
    ON CONFLICT (origin) DO UPDATE SET size = excluded.size, note = excluded.note
"""


class WitnessRefused(RegistryError):
    """The witness does not cosign a checkpoint."""

    code = "witness_refused"


class UnsignedCheckpoint(WitnessRefused):
    """No trusted key of the log has signed it."""

    code = "witness_unsigned"


class InconsistentCheckpoint(WitnessRefused):
    """It does not continue what was cosigned before."""

    code = "witness_inconsistent"


class OtherSizeCosigned(WitnessRefused):
    """The request continues another checkpoint than the one that was cosigned last; `size` is that of the last."""

    code = "witness_other_size"

    def __init__(self, size: int) -> None:
        super().__init__(size=size)
        self.size = size


class MalformedRequest(WitnessRefused):
    """The request is not the body of an add-checkpoint request."""

    code = "witness_malformed"


class Witnessed(Struct, frozen=True):
    """The checkpoint that was cosigned last, with the log's signature and the witness's."""

    size: int
    note: str


class Witness:
    """Cosigns the checkpoints of the log that this mirror follows."""

    def __init__(self, pool: Pool, key: CosigningKey, origin: str) -> None:
        self._pool = pool
        self._key = key
        self._origin = origin

    @classmethod
    def open(cls, pool: Pool, file: Path, name: str, origin: str) -> Witness:
        """The witness whose key is in a file. Creates the key on first use.

        Raises:
            SignerStateCorrupt: The file cannot be read or written, or has the key of another name.
        """
        try:
            if not file.exists():
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_durably(file, CosigningKey.generate(name).secret() + "\n", 0o600)
            key = CosigningKey.parse(file.read_text().removesuffix("\n"))
        except (OSError, ValueError, BadKey) as error:
            # Not chained: both could show a part of the key.
            problem = error.message if isinstance(error, BadKey) else Finding("state_not_text")
            raise SignerStateCorrupt(reason=Finding("state_key", file=str(file), problem=problem)) from None
        if key.public.name != name:
            finding = Finding("state_key_origin", file=str(file), key=key.public.name, origin=name)
            raise SignerStateCorrupt(reason=finding)
        return cls(pool, key, origin)

    @property
    def verifier(self) -> str:
        """The witness's public key, which verifiers need."""
        return str(self._key.public)

    async def latest(self) -> Witnessed | None:
        """The checkpoint that was cosigned last."""
        return await load_witnessed(self._pool, self._origin)

    async def add_checkpoint(self, body: bytes) -> str:
        """Cosign a checkpoint that continues the last one.

        Returns:
            The signature line.

        Raises:
            MalformedRequest, NotFound, UnsignedCheckpoint, OtherSizeCosigned, InconsistentCheckpoint: It is not
                cosigned.
            EvidenceUnavailable: A contradiction has stopped this mirror.
        """
        try:
            request = WitnessRequest.parse(body.decode())
            stated = Checkpoint.parse(parse_note(request.note).text)
        except (UnicodeError, ProofError, CheckpointError) as error:
            problem = error.message if isinstance(error, RegistryError) else Finding("note_not_utf8")
            raise MalformedRequest(problem=problem) from None
        if stated.origin != self._origin:
            raise NotFound("log", origin=stated.origin[:200])
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(WITNESS_LOCK)
            checkpoint = await self._opened(connection, request)
            await self._check(connection, request, checkpoint)
            line = self._key.cosign(checkpoint.body(), int(time.time()))
            await connection.execute(REPLACE_WITNESSED, self._origin, checkpoint.size, request.note + line)
        return line

    async def _opened(self, connection: Connection, request: WitnessRequest) -> Checkpoint:
        keys = [VerifierKey.parse(key) for key in await mirror_state.trusted_keys(connection)]
        try:
            checkpoint = open_checkpoint(request.note, keys)
        except CheckpointError as error:
            raise UnsignedCheckpoint(problem=error.message) from None
        if request.old > checkpoint.size:
            raise MalformedRequest(problem=Finding("witness_request"))
        return checkpoint

    async def _check(self, connection: Connection, request: WitnessRequest, checkpoint: Checkpoint) -> None:
        """Check that the checkpoint continues what was cosigned, and what was copied."""
        if await mirror_state.open_incident(connection) is not None:
            raise EvidenceUnavailable
        last = await load_witnessed(connection, self._origin)
        if request.old != (last.size if last is not None else 0):
            raise OtherSizeCosigned(last.size if last is not None else 0)
        try:
            if last is not None and last.size:
                verify_consistent(Checkpoint.parse(parse_note(last.note).text), checkpoint, request.proof)
            elif request.proof:
                raise ProofError(reason=Finding("witness_request"))
        except ProofError as error:
            raise InconsistentCheckpoint(problem=error.message) from None
        copied = (await write_batch.head(connection)).position
        if checkpoint.size <= copied and checkpoint.root != await _root(connection, checkpoint.size):
            raise InconsistentCheckpoint(problem=Finding("mirror_other_root", size=checkpoint.size))


async def load_witnessed(connection: Connection | Pool, origin: str) -> Witnessed | None:
    """The checkpoint of a log that was cosigned last; None if none was."""
    row = await connection.fetchrow(SELECT_WITNESSED, origin)
    return Witnessed(*row) if row is not None else None


async def _root(connection: Connection, size: int) -> bytes:
    return root_from_tiles(size, await load_tiles(connection, root_tiles(size)))
