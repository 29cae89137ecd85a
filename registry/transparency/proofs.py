"""Build proofs from the stored log: of an event, of a deal's state, and between two sizes of the log."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from registry.domain.history import AsOf
from registry.errors import NotFound
from registry.events import store
from registry.events.store import StoredEvent
from registry.infra.postgres import Pool
from registry.transparency.bundles import Certificate, Hex, ProvenEvent, ProvenHead, state_of
from registry.transparency.checkpoint_store import SignedCheckpoint
from registry.transparency.heads import HeadProof
from registry.transparency.merkle import inclusion_proof, inclusion_tiles
from registry.transparency.tiles import ReadTile
from registry.transparency.tree import load_tiles

# Events whose proofs are computed at once. Each needs a tile of 8 kB.
PROOF_BATCH_SIZE = 64


class Consistency(Struct, frozen=True, kw_only=True):
    """The proof that the tree of `from` events is the beginning of that of `to`, and the checkpoint of `to` if any."""

    from_: int = field(name="from")
    to: int
    from_root: Hex
    to_root: Hex
    path: tuple[Hex, ...]
    checkpoint: str | None


async def build_certificate(
    pool: Pool, deal: str, as_of: AsOf, signed: SignedCheckpoint, head: HeadProof
) -> Certificate:
    """A deal's state with everything it follows from.

    Args:
        pool: The database.
        deal: The deal's slug.
        as_of: The point in time, with an effective date and a position.
        signed: The checkpoint that the certificate is checked against.
        head: The proof of the deal's last event in that checkpoint.

    Raises:
        NotFound: The deal has no events in the checkpoint.
    """
    size = signed.size
    events = await store.feed(pool, 0, 2**31, until=size, stream=f"deal/{deal}")
    if not events:
        raise NotFound("deal", deal=deal)
    proven: list[ProvenEvent] = []
    for start in range(0, len(events), PROOF_BATCH_SIZE):
        chunk = events[start : start + PROOF_BATCH_SIZE]
        refs = [ref for event in chunk for ref in inclusion_tiles(event.recorded.position - 1, size)]
        read = await load_tiles(pool, refs)
        proven += await asyncio.to_thread(_prove_events, chunk, size, read)
    return Certificate(
        deal=deal,
        clocks=as_of,
        state=state_of(deal, [event.recorded for event in events], as_of, size),
        events=tuple(proven),
        head=ProvenHead(head.lines, hex_path(head.path), signed.heads),
        checkpoint=signed.note,
    )


def prove_event(stored: StoredEvent, size: int, read: ReadTile) -> ProvenEvent:
    """An event with its audit path in the tree of `size` leaves; without its content where that is withheld."""
    shown = not stored.recorded.is_withheld
    return ProvenEvent(
        position=stored.recorded.position,
        entry=stored.entry.decode(),
        content=stored.content.decode() if stored.content is not None and shown else None,
        salt=stored.salt.hex() if stored.salt is not None and shown else None,
        path=hex_path(inclusion_proof(stored.recorded.position - 1, size, read)),
    )


def _prove_events(events: Sequence[StoredEvent], size: int, read: ReadTile) -> list[ProvenEvent]:
    return [prove_event(event, size, read) for event in events]


def hex_path(path: Iterable[bytes]) -> tuple[Hex, ...]:
    """A proof's hashes in hexadecimal."""
    return tuple(node.hex() for node in path)


def witness_request(old: int, path: Iterable[bytes], note: str) -> str:
    """The body of an add-checkpoint request (C2SP tlog-witness): the old size, the consistency proof, the note."""
    lines = [f"old {old}", *(base64.b64encode(node).decode() for node in path), ""]
    return "".join(f"{line}\n" for line in lines) + note
