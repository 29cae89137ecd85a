"""Build proofs from the stored log: of an event, of a deal's state, and between two sizes of the log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec import UNSET, Struct, field

from registry.domain.history import AsOf
from registry.domain.rates import Rates
from registry.errors import NotFound
from registry.events import store
from registry.events.store import StoredEvent
from registry.events.types import Recorded
from registry.infra.own_work import in_thread
from registry.infra.postgres import Pool
from registry.infra.threads import answer_apart
from registry.transparency.bundles import Certificate
from registry.transparency.checkpoint_store import SignedCheckpoint
from registry.transparency.deal_state import state_of
from registry.transparency.heads import HeadProof, StreamHeadTree
from registry.transparency.merkle import inclusion_proof, inclusion_tiles
from registry.transparency.portfolio_bundles import ComparisonCertificate, ListCertificate, TotalCertificate
from registry.transparency.portfolio_state import comparison_of, list_of
from registry.transparency.proven_streams import CertifiedDeal, CertifiedOrganization, Hex, ProvenEvent, ProvenHead
from registry.transparency.tiles import ReadTile
from registry.transparency.total_state import CertifiedQuery, CertifiedSelection, RecordedRates, total_of
from registry.transparency.tree import load_tiles

# Events of organizations in a bundle that has all of them.
MAX_ORGANIZATION_EVENTS = 5000

Streams = dict[str, list[Recorded]]
"""The events of deals or organizations, by slug."""

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
    proven = await _proven(pool, events, size)
    state = await answer_apart(len(events), state_of, deal, [event.recorded for event in events], as_of, size)
    return Certificate(
        deal=deal,
        clocks=as_of,
        state=state,
        events=tuple(proven),
        head=ProvenHead(head.lines, hex_path(head.path), signed.heads),
        checkpoint=signed.note,
    )


class CertifiedLog(Struct, frozen=True, kw_only=True):
    """What a bundle about all deals is made from.

    Attributes:
        signed: The checkpoint that it is checked against.
        heads: The tree of the last events of all streams in that checkpoint.
        deals: The deals that the answer depends on; with `complete`, all deals of the log.
        complete: Whether to prove that no other deal is in the log.
        organizations: The organizations that the answer depends on; with `complete`, all organizations of the log.
            None: it depends on none.
    """

    signed: SignedCheckpoint
    heads: StreamHeadTree
    deals: Sequence[str]
    complete: bool
    organizations: Collection[str] | None = None

    async def load(self, pool: Pool) -> tuple[Streams, Streams, dict[str, Any]]:
        """All events of the deals and of the organizations, and the fields of the bundle that prove them."""
        lines = self.heads.lines() if self.complete else None
        kinds: dict[str, Collection[str]] = {"deal": self.deals}
        if self.organizations is not None:
            kinds["organization"] = self.organizations
        if lines is not None and self.organizations is not None:
            # A line has the name of a stream and its number of events.
            events = sum(int(line.split(" ")[1]) for line in lines if line.startswith("organization/"))
            lines = lines if events <= MAX_ORGANIZATION_EVENTS else None
        if lines is not None:
            # Streams that began since they were listed are in the checkpoint, too.
            names = [line.split(" ")[0].partition("/") for line in lines]
            kinds = {kind: [slug for of, _, slug in names if of == kind] for kind in kinds}
        streams: dict[str, Streams] = {"deal": {}, "organization": {}}
        certified: dict[str, list[Any]] = {"deal": [], "organization": []}
        for kind, slugs in kinds.items():
            made: Any = CertifiedDeal if kind == "deal" else CertifiedOrganization
            for slug in sorted(slugs):
                stored = await store.feed(pool, 0, 2**31, until=self.signed.size, stream=f"{kind}/{slug}")
                if stored:
                    head = self.heads.prove(f"{kind}/{slug}")
                    proven = tuple(await _proven(pool, stored, self.signed.size))
                    certified[kind].append(made(slug, proven, head.lines, hex_path(head.path)))
                    streams[kind][slug] = [event.recorded for event in stored]
        proofs = {
            "deals": tuple(certified["deal"]),
            "streams": tuple(lines) if lines is not None else None,
            "statement": self.signed.heads,
            "checkpoint": self.signed.note,
        }
        if self.organizations is not None:
            proofs["organizations"] = tuple(certified["organization"])
        return streams["deal"], streams["organization"], proofs


async def build_total_certificate(
    pool: Pool, log: CertifiedLog, query: CertifiedQuery, as_of: AsOf, rates: Rates
) -> TotalCertificate:
    """A total at a point, which has an effective date and a position, with everything it follows from."""
    streams, organizations, proofs = await log.load(pool)
    used = RecordedRates(rates)
    total = await in_thread(total_of, streams, as_of, query, used, organizations)
    return TotalCertificate(
        clocks=as_of,
        query=query,
        total=total.overall,
        groups=total.groups if query.group_by else UNSET,
        rates=tuple(used.used.values()),
        **proofs,
    )


async def build_list_certificate(
    pool: Pool, log: CertifiedLog, query: CertifiedSelection, as_of: AsOf
) -> ListCertificate:
    """A list of deals at a point, which has an effective date and a position, with everything it follows from."""
    streams, _, proofs = await log.load(pool)
    states = await in_thread(list_of, streams, as_of, query, log.signed.size)
    return ListCertificate(clocks=as_of, query=query, states=states, **proofs)


async def build_comparison_certificate(
    pool: Pool, log: CertifiedLog, query: CertifiedSelection, points: tuple[AsOf, AsOf], rates: Rates
) -> ComparisonCertificate:
    """What changed between two points, which have effective dates and positions, with everything it follows from."""
    streams, _, proofs = await log.load(pool)
    used = RecordedRates(rates)
    comparison = await in_thread(comparison_of, streams, *points, query, used)
    return ComparisonCertificate(
        from_=points[0],
        to=points[1],
        query=query,
        changes=comparison.changes,
        totals=comparison.totals,
        rates=tuple(used.used.values()),
        **proofs,
    )


async def _proven(pool: Pool, events: Sequence[StoredEvent], size: int) -> list[ProvenEvent]:
    proven: list[ProvenEvent] = []
    for start in range(0, len(events), PROOF_BATCH_SIZE):
        chunk = events[start : start + PROOF_BATCH_SIZE]
        refs = [ref for event in chunk for ref in inclusion_tiles(event.recorded.position - 1, size)]
        read = await load_tiles(pool, refs)
        proven += await in_thread(_prove_events, chunk, size, read)
    return proven


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
