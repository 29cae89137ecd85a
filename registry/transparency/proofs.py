"""Build proofs from the stored log: of an event, of a deal's state, and between two sizes of the log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from msgspec import UNSET, Struct, field

from registry.domain.calendar import Calendar
from registry.domain.fold.redaction import with_redacted_effects
from registry.domain.history import AsOf
from registry.domain.money.rates import Rates
from registry.domain.organizations.mentions import mentioned_organizations
from registry.errors import InvalidParameter, NotFound
from registry.events import store
from registry.events.store import StoredEvent
from registry.events.types import OrganizationMerged, Recorded
from registry.infra import freeing
from registry.infra.postgres import Pool
from registry.infra.threads import offload_answer
from registry.infra.work_time import in_thread
from registry.queries.deal_conditions import SimilarWords
from registry.schemas.deal_query import DealListQuery
from registry.transparency.bundles import Certificate
from registry.transparency.checkpoint_store import SignedCheckpoint
from registry.transparency.deal_state import state_of
from registry.transparency.heads import HeadProof, StreamHeadTree
from registry.transparency.merkle import inclusion_proof, inclusion_tiles
from registry.transparency.portfolio_bundles import ComparisonCertificate, ListCertificate, TotalCertificate
from registry.transparency.portfolio_state import comparison_of, list_of
from registry.transparency.proven_streams import CertifiedDeal, CertifiedOrganization, Hex, ProvenEvent, ProvenHead
from registry.transparency.tiles import ReadTile
from registry.transparency.total_state import CertifiedQuery, RecordedRates, total_of
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
    freeing.once_unused(events)
    proven = await _proven(pool, events, size)
    state = await offload_answer(len(events), state_of, deal, [event.recorded for event in events], as_of, size)
    return Certificate(
        deal=deal,
        clocks=as_of,
        state=state,
        events=tuple(proven),
        head=ProvenHead(head.lines, hex_path(head.path), signed.heads),
        checkpoint=signed.note,
    )


class CertifiedStreams(Struct, frozen=True, kw_only=True):
    """The streams that an answer about all deals depends on.

    Attributes:
        deals: The deals; with `complete`, all deals of the log.
        complete: Whether to prove that no other deal is in the log.
        organizations: The organizations; with `complete`, all organizations of the log. None: it depends on none.
        names: Whether it also depends on the names of the organizations that the deals name.
    """

    deals: Sequence[str]
    complete: bool
    organizations: Collection[str] | None = None
    names: bool = False


class _ProvenStreams(Struct, frozen=True):
    """All events of streams of one kind, and the fields of the bundle that prove them."""

    streams: Streams
    certified: tuple[Any, ...]

    def with_others(self, others: _ProvenStreams) -> _ProvenStreams:
        """These streams and others."""
        return _ProvenStreams({**self.streams, **others.streams}, (*self.certified, *others.certified))


_NONE = _ProvenStreams({}, ())


class CertifiedLog(Struct, frozen=True, kw_only=True):
    """What a bundle about all deals is made from.

    Attributes:
        signed: The checkpoint that it is checked against.
        heads: The tree of the last events of all streams in that checkpoint.
        wanted: The streams that it is to have.
    """

    signed: SignedCheckpoint
    heads: StreamHeadTree
    wanted: CertifiedStreams

    async def load(self, pool: Pool) -> tuple[Streams, Streams, dict[str, Any]]:
        """All events of the deals and of the organizations, and the fields of the bundle that prove them."""
        lines = self.heads.lines() if self.wanted.complete else None
        kinds: dict[str, Collection[str]] = {"deal": self.wanted.deals}
        if self.wanted.organizations is not None:
            kinds["organization"] = self.wanted.organizations
        if lines is not None and self.wanted.organizations is not None:
            # A line has the name of a stream and its number of events.
            events = sum(int(line.split(" ")[1]) for line in lines if line.startswith("organization/"))
            lines = lines if events <= MAX_ORGANIZATION_EVENTS else None
        if lines is not None:
            # Streams that began since they were listed are in the checkpoint, too.
            names = [line.split(" ")[0].partition("/") for line in lines]
            kinds = {kind: [slug for of, _, slug in names if of == kind] for kind in kinds}
        proven = [await self._prove(pool, kind, slugs) for kind, slugs in kinds.items()]
        deals, organizations = proven[0], proven[1] if len(proven) > 1 else _NONE
        if self.wanted.names and lines is None:
            named = _named(deals.streams, organizations.streams) - organizations.streams.keys()
            organizations = organizations.with_others(await self._prove(pool, "organization", named))
        proofs = {
            "deals": deals.certified,
            "streams": tuple(lines) if lines is not None else None,
            "statement": self.signed.heads,
            "checkpoint": self.signed.note,
        }
        if self.wanted.organizations is not None:
            proofs["organizations"] = organizations.certified
        return deals.streams, organizations.streams, proofs

    async def _prove(self, pool: Pool, kind: str, slugs: Collection[str]) -> _ProvenStreams:
        """The streams of a kind that have events in the checkpoint, with what proves them.

        Raises:
            InvalidParameter: Organizations have too many events.
        """
        made: Any = CertifiedDeal if kind == "deal" else CertifiedOrganization
        certified: list[Any] = []
        streams: Streams = {}
        count = 0
        for slug in sorted(slugs):
            stored = await store.feed(pool, 0, 2**31, until=self.signed.size, stream=f"{kind}/{slug}")
            count += len(stored)
            if kind == "organization" and count > MAX_ORGANIZATION_EVENTS:
                raise InvalidParameter(
                    "certificate_too_large", parameter="certificate", events=count, limit=MAX_ORGANIZATION_EVENTS
                )
            if stored:
                head = self.heads.prove(f"{kind}/{slug}")
                proven = tuple(await _proven(pool, stored, self.signed.size))
                certified.append(made(slug, proven, head.lines, hex_path(head.path)))
                streams[slug] = [event.recorded for event in stored]
        return _ProvenStreams(streams, tuple(certified))


async def build_total_certificate(
    pool: Pool, log: CertifiedLog, query: CertifiedQuery, as_of: AsOf, rates: Rates, similar: SimilarWords
) -> TotalCertificate:
    """A total at a point, which has an effective date and a position, with everything it follows from.

    `similar` is what misspelt words of the query were taken for.
    """
    streams, organizations, proofs = await log.load(pool)
    used, is_whole = RecordedRates(rates), proofs["streams"] is not None
    total = await in_thread(total_of, streams, as_of, query, used, organizations, similar, is_whole=is_whole)
    return TotalCertificate(
        clocks=as_of,
        query=query,
        similar=dict(similar) or UNSET,
        total=total.overall,
        groups=total.groups if query.group_by else UNSET,
        rates=tuple(used.used.values()),
        **proofs,
    )


async def build_list_certificate(
    pool: Pool, log: CertifiedLog, query: DealListQuery, as_of: AsOf, similar: SimilarWords
) -> ListCertificate:
    """A list of deals at a point, which has an effective date and a position, with everything it follows from.

    `similar` is what misspelt words of the query were taken for.
    """
    streams, organizations, proofs = await log.load(pool)
    is_whole = proofs["streams"] is not None
    states = await in_thread(list_of, streams, organizations, as_of, query, log.signed.size, similar, is_whole=is_whole)
    return ListCertificate(clocks=as_of, query=query, similar=dict(similar) or UNSET, states=states, **proofs)


async def build_comparison_certificate(
    pool: Pool,
    log: CertifiedLog,
    query: DealListQuery,
    points: tuple[AsOf, AsOf],
    rates: Rates,
    calendar: Calendar,
    similar: tuple[SimilarWords, SimilarWords],
) -> ComparisonCertificate:
    """What changed between two points, which have effective dates and positions, with everything it follows from.

    `similar` is what misspelt words of the query were taken for at each point.
    """
    streams, organizations, proofs = await log.load(pool)
    used, is_whole = RecordedRates(rates), proofs["streams"] is not None
    comparison = await in_thread(
        comparison_of, streams, organizations, points, query, used, calendar, similar, is_whole=is_whole
    )
    return ComparisonCertificate(
        from_=points[0],
        to=points[1],
        query=query,
        time_zone=calendar.zone.key,
        similar=(dict(similar[0]), dict(similar[1])) if any(similar) else UNSET,
        changes=comparison.changes,
        totals=comparison.totals,
        rates=tuple(used.used.values()),
        **proofs,
    )


def _named(deals: Streams, organizations: Streams) -> set[str]:
    """The organizations that deals name, with those that were merged with them at any time."""
    events = (event.event for stream in deals.values() for event in stream if event.event is not None)
    named = {slug for event in events for slug in mentioned_organizations(event)}
    merges = [
        (slug, event.event.into)
        for slug, stream in organizations.items()
        for event in with_redacted_effects(stream)
        if isinstance(event.event, OrganizationMerged)
    ]
    while more := {slug for pair in merges if not named.isdisjoint(pair) for slug in pair} - named:
        named |= more
    return named


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
