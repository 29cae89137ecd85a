"""The tables `checkpoints` and `verifications`, and the copies of checkpoints that are exported to files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from registry.infra.files import write_durably
from registry.infra.postgres import Connection, Pool
from registry.transparency.checkpoint import MAX_NOTE, MAX_SIGNATURES
from registry.transparency.cosignatures import name_of

INSERT_CHECKPOINT = """
INSERT INTO checkpoints (size, verifier, note, heads, signed_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""

# A checkpoint with the lines of the witnesses that have cosigned it.
_COSIGNED = """c.note || coalesce((SELECT string_agg(s.line, '' ORDER BY s.witness)
                      FROM cosignatures AS s
                     WHERE s.size = c.size AND s.verifier = c.verifier), '') AS note"""

SELECT_CHECKPOINTS = f"""
SELECT c.size, {_COSIGNED}, c.heads, c.signed_at
  FROM checkpoints AS c
 WHERE size < $1
       AND ($3::text IS NULL OR starts_with(verifier, $3 || '+'))
 ORDER BY size DESC, signed_at DESC
 LIMIT $2
"""  # noqa: S608 - a constant

# Whole sizes: a size has several checkpoints after a rotation of the key.
SELECT_CHECKPOINTS_FROM = f"""
SELECT c.size, {_COSIGNED}, c.heads, c.signed_at
  FROM checkpoints AS c
 WHERE starts_with(verifier, $3 || '+')
       AND size IN (SELECT size FROM checkpoints WHERE size >= $1 AND starts_with(verifier, $3 || '+')
                     GROUP BY size ORDER BY size LIMIT $2)
 ORDER BY size, signed_at
"""  # noqa: S608 - a constant

SELECT_NOTE_OF_SIZE = f"""
SELECT {_COSIGNED}
  FROM checkpoints AS c
 WHERE size = $1
       AND starts_with(verifier, $2 || '+')
 ORDER BY signed_at DESC
 LIMIT 1
"""  # noqa: S608 - a constant

INSERT_COSIGNATURE = """
INSERT INTO cosignatures (size, verifier, witness, line)
SELECT $1, $2, $3, $4
 WHERE (SELECT count(*) FROM cosignatures WHERE size = $1 AND verifier = $2) < $5
ON CONFLICT DO NOTHING
"""

# A mirror stores lines of witnesses whose keys it does not know. With all of them, a checkpoint must be a note that can
# be read: one signature of the log, and lines of at most this many bytes.
MAX_COSIGNATURES = MAX_SIGNATURES - 1
MAX_LINE = MAX_NOTE // (2 * MAX_SIGNATURES)

SELECT_VERIFIERS = """
SELECT verifier
  FROM checkpoints
 WHERE starts_with(verifier, $1 || '+')
 GROUP BY verifier
 ORDER BY min(signed_at)
"""

INSERT_VERIFICATION = """
INSERT INTO verifications (verified_at, size, root, seconds)
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""

SELECT_LAST_VERIFICATION = """
SELECT verified_at, size, root, seconds
  FROM verifications
 ORDER BY verified_at DESC
 LIMIT 1
"""


class SignedCheckpoint(Struct, frozen=True):
    """A signed checkpoint as a note, and the signed statement of heads that belongs to it."""

    size: int
    note: str
    heads: str
    signed_at: datetime


async def load_checkpoints(
    connection: Connection | Pool, before: int, limit: int, origin: str | None = None
) -> list[SignedCheckpoint]:
    """The checkpoints of fewer than `before` events, newest first; with `origin` only those of that name of the log."""
    return [SignedCheckpoint(*row) for row in await connection.fetch(SELECT_CHECKPOINTS, before, limit, origin)]


async def load_newest(connection: Connection | Pool, origin: str) -> SignedCheckpoint | None:
    """The checkpoint that was signed last under an origin, or None."""
    newest = await load_checkpoints(connection, 2**62, 1, origin)
    return newest[0] if newest else None


async def load_checkpoints_from(
    connection: Connection | Pool, start: int, sizes: int, origin: str
) -> list[SignedCheckpoint]:
    """The checkpoints of the next `sizes` sizes from `start` on, smallest first."""
    rows = await connection.fetch(SELECT_CHECKPOINTS_FROM, start, sizes, origin)
    return [SignedCheckpoint(*row) for row in rows]


async def load_note_of_size(connection: Connection | Pool, size: int, origin: str) -> str | None:
    """The note of the checkpoint of exactly `size` events, or None if none was signed."""
    note: str | None = await connection.fetchval(SELECT_NOTE_OF_SIZE, size, origin)
    return note


async def insert_checkpoint(connection: Connection, verifier: str, checkpoint: SignedCheckpoint) -> None:
    """Store a checkpoint and the verifier key that it was signed with."""
    signed = checkpoint
    await connection.execute(INSERT_CHECKPOINT, signed.size, verifier, signed.note, signed.heads, signed.signed_at)


async def insert_cosignatures(connection: Connection | Pool, size: int, verifier: str, lines: Iterable[str]) -> None:
    """Add the signature lines of witnesses to the checkpoint of a size and a key, as far as there is room."""
    for line in lines:
        if len(line.encode()) <= MAX_LINE:
            await connection.execute(INSERT_COSIGNATURE, size, verifier, name_of(line), line, MAX_COSIGNATURES)


async def load_verifiers(connection: Connection | Pool, origin: str) -> list[str]:
    """The verifier keys of the stored checkpoints of an origin, oldest first."""
    return [row["verifier"] for row in await connection.fetch(SELECT_VERIFIERS, origin)]


async def insert_verification(
    connection: Connection | Pool, verified_at: datetime, size: int, root: bytes, seconds: float
) -> None:
    """Store that the whole log was verified."""
    await connection.execute(INSERT_VERIFICATION, verified_at, size, root, seconds)


async def load_last_verification(connection: Connection | Pool) -> tuple[datetime, int, bytes, float] | None:
    """The last verification of the whole log: when, its size and root, and the seconds that it took."""
    row = await connection.fetchrow(SELECT_LAST_VERIFICATION)
    return tuple(row) if row is not None else None


def export_checkpoint(target: Path, size: int, note: str) -> None:
    """Write a copy of a checkpoint: as a new file if `target` is a directory, else as the content of that file."""
    if target.is_dir():
        target /= f"{size:020}.checkpoint"
    write_durably(target, note, 0o644)


def read_exported(source: Path) -> Iterator[str]:
    """The copies in a directory or a file, newest first."""
    if source.is_dir():
        for path in sorted(source.glob("*.checkpoint"), reverse=True):
            yield path.read_text()
    elif source.exists():
        yield source.read_text()
