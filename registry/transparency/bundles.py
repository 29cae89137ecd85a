"""Bundles that prove an event or a deal's state offline, and their verification.

Verification needs the bundle and the log's verifier keys, and nothing else: no service, database or network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from registry.domain.fold import DEALS
from registry.domain.history import AsOf, state_as_of
from registry.domain.rates import Rate
from registry.domain.redaction import keep_redacted_effects
from registry.errors import LogCorrupt
from registry.events.codec import content_digest, entry_columns, from_row
from registry.events.types import EventRedacted, Recorded
from registry.i18n import Label
from registry.schemas import DealResponse, deal_response, encode
from registry.schemas.values import response_hook
from registry.transparency.checkpoint import Checkpoint, CheckpointError, Proof, VerifierKey, open_checkpoint
from registry.transparency.cosignatures import Quorum
from registry.transparency.findings import Finding
from registry.transparency.heads import StreamHead, StreamHeadTree, open_heads, parse_head, verify_head
from registry.transparency.merkle import HASH_SIZE, ProofError, leaf_hash, verify_inclusion
from registry.transparency.total_state import CertifiedQuery, StatedRates, total_of
from registry.transparency.verify import read_entry

# A hash in JSON is in hexadecimal; in C2SP texts it is in base64.
Hex = str

DERIVED_LATER = frozenset({"corroborated"})
"""Fields that follow from others and that the first certificates do not have (tests/transparency/data).

The id of a source is one too.
"""

STATED_LATER = frozenset(
    {
        *("classifications", "identifiers", "metrics", "incentives", "setbacks"),
        *("observed_on", "certainty", "share", "figure", "price_year", "address", "locality", "district_code", "quote"),
    }
)
"""Fields that events state and that the first certificates do not have: where one is missing, no event states it."""


class ProvenEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event with the bytes that were hashed, as text, and its audit path.

    `content` and `salt` are null once redacted.
    """

    position: int
    entry: str
    content: str | None
    salt: Hex | None
    path: tuple[Hex, ...]


class ProvenHead(Struct, frozen=True, forbid_unknown_fields=True):
    """The proof of a stream's head: its leaf in the tree of heads, the audit path, and the signed statement."""

    lines: str
    path: tuple[Hex, ...]
    statement: str


class Bundle(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="bundle"):
    """A document that can be verified offline."""


class Certificate(Bundle, frozen=True, kw_only=True, tag="deal-state@v1"):
    """A deal's state at a point in time, with everything it follows from.

    All events of the deal up to the checkpoint, the proof that there are no others, and the checkpoint. `clocks` is the
    point in time that was requested.
    """

    deal: str
    clocks: AsOf
    state: Any
    events: tuple[ProvenEvent, ...]
    head: ProvenHead
    checkpoint: str


class CertifiedDeal(Struct, frozen=True, forbid_unknown_fields=True):
    """All events of a deal up to the checkpoint, and the proof that there are no others (`ProvenHead`)."""

    deal: str
    events: tuple[ProvenEvent, ...]
    lines: str
    path: tuple[Hex, ...]


class TotalCertificate(Bundle, frozen=True, kw_only=True, tag="total@v1"):
    """A total at a point in time, with everything it follows from.

    All events of each deal that counts or whose relations decide, and the checkpoint. `streams` has the last event of
    every stream of the log, as the tree of heads does: then all deals of the log are in `deals`, so none is left out.
    Null where the log has too many events: then nothing proves that no other deal meets the filters. `groups` are there
    if the query says by what to group: all of them, in the order of their keys. `statement` is the signed statement of
    heads. `rates` are the exchange rates used; they are stated by the registry and are not part of the log.
    """

    clocks: AsOf
    query: CertifiedQuery
    total: Any
    groups: Any | UnsetType = UNSET
    deals: tuple[CertifiedDeal, ...]
    streams: tuple[str, ...] | None
    rates: tuple[Rate, ...]
    statement: str
    checkpoint: str


class Inclusion(Bundle, frozen=True, kw_only=True, tag="event@v1"):
    """An event, its audit path in the tree of `size` leaves, and the checkpoint of that size if one was signed."""

    position: int
    size: int
    root: Hex
    leaf_hash: Hex
    path: tuple[Hex, ...]
    entry: str
    content: str | None
    salt: Hex | None
    checkpoint: str | None


_bundle = msgspec.json.Decoder(Certificate | TotalCertificate | Inclusion, dec_hook=response_hook)


class BundleVerification(Struct, frozen=True, kw_only=True):
    """The result of verifying a bundle. `erased` counts events without content."""

    proves: Finding
    position: int
    size: int
    origin: str
    erased: int = 0


def verify_bundle(data: bytes, keys: Iterable[VerifierKey], witnesses: Quorum | None = None) -> BundleVerification:
    """Verify a bundle with the log's verifier keys.

    Args:
        data: A certificate or an inclusion proof, as JSON or as C2SP tlog-proof.
        keys: The verifier keys of the log.
        witnesses: The witnesses that must have cosigned the bundle's checkpoint.

    Raises:
        LogCorrupt: The bundle does not verify.
    """
    keys = tuple(keys)
    try:
        if not data.lstrip().startswith(b"{"):
            proof = Proof.parse(data.decode())
            if witnesses is not None:
                witnesses.check(proof.checkpoint)
            return _verify_proof(proof, keys)
        bundle = _bundle.decode(data)
        if witnesses is not None:
            witnesses.check(bundle.checkpoint or "")
        if isinstance(bundle, Inclusion):
            return _verify_inclusion(bundle, keys)
        if isinstance(bundle, TotalCertificate):
            return _verify_total(bundle, keys)
        return _verify_certificate(bundle, keys)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise LogCorrupt(detail=Finding("bundle_unreadable", problem=str(error))) from error
    except (ProofError, CheckpointError) as error:
        raise LogCorrupt(detail=error.message) from error


def _verify_proof(proof: Proof, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    if proof.extra is None:
        raise LogCorrupt(detail=Finding("bundle_entry_missing"))
    checkpoint = proof.verify(leaf_hash(proof.extra), keys)
    position = proof.index + 1
    entry = read_entry(position, proof.extra)
    return BundleVerification(
        proves=Finding(
            "proves_entry",
            type=Label(f"event/{entry.type}"),
            version=entry.version,
            stream=entry.stream,
            position=position,
        ),
        position=position,
        size=checkpoint.size,
        origin=checkpoint.origin,
    )


def _verify_inclusion(bundle: Inclusion, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    if bundle.checkpoint is None:
        raise LogCorrupt(detail=Finding("bundle_checkpoint_missing"))
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    if (bundle.size, bundle.root) != (checkpoint.size, checkpoint.root.hex()):
        raise LogCorrupt(detail=Finding("bundle_checkpoint_mismatch"))
    proven = ProvenEvent(
        position=bundle.position, entry=bundle.entry, content=bundle.content, salt=bundle.salt, path=bundle.path
    )
    recorded = _verify_event(proven, checkpoint)
    if recorded.leaf_hash.hex() != bundle.leaf_hash:
        raise LogCorrupt(detail=Finding("bundle_leaf_hash"))
    return BundleVerification(
        proves=Finding(
            "proves_entry" if recorded.erased else "proves_event",
            type=Label(f"event/{recorded.type}"),
            version=recorded.version,
            stream=f"{recorded.kind}/{recorded.slug}",
            position=recorded.position,
        ),
        position=recorded.position,
        size=checkpoint.size,
        origin=checkpoint.origin,
    )


def _verify_event(proven: ProvenEvent, checkpoint: Checkpoint) -> Recorded:
    """The event of a proven entry and its content. Does not check `previous`."""
    entry_bytes = proven.entry.encode()
    leaf = leaf_hash(entry_bytes)
    verify_inclusion(proven.position - 1, checkpoint.size, leaf, _hashes(proven.path), checkpoint.root)
    entry = read_entry(proven.position, entry_bytes)
    content = None
    if proven.content is not None and proven.salt is not None:
        content = proven.content.encode()
        if content_digest(_hash(proven.salt), content) != entry.content:
            raise LogCorrupt(detail=Finding("content_digest", position=proven.position))
    elif proven.content is not None or proven.salt is not None:
        raise LogCorrupt(detail=Finding("content_or_salt_missing", position=proven.position))
    return from_row({**entry_columns(entry), "position": proven.position, "leaf_hash": leaf, "content": content})


def _verify_certificate(bundle: Certificate, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    events = _verify_stream(bundle.deal, bundle.events, bundle.head, checkpoint, keys)
    folded = state_of(bundle.deal, events, bundle.clocks, checkpoint.size)
    if not _equals_state(bundle.state, msgspec.json.decode(encode(folded))):
        raise LogCorrupt(detail=Finding("bundle_state"))
    position = bundle.clocks.position or 0
    return BundleVerification(
        proves=Finding("proves_state", deal=bundle.deal, position=position, events=len(events), size=checkpoint.size),
        position=position,
        size=checkpoint.size,
        origin=checkpoint.origin,
        erased=sum(event.erased for event in events),
    )


def _verify_total(bundle: TotalCertificate, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    signed, root, _ = open_heads(bundle.statement, keys)
    if signed != checkpoint:
        raise LogCorrupt(detail=Finding("heads_of_another_checkpoint"))
    deals = {
        one.deal: _verify_stream(
            one.deal, one.events, ProvenHead(one.lines, one.path, bundle.statement), checkpoint, keys
        )
        for one in bundle.deals
    }
    if len(deals) < len(bundle.deals):
        raise LogCorrupt(detail=Finding("bundle_deals"))
    if bundle.streams is not None:
        # The root commits to the heads of all streams: with these heads, every deal of the log is in the bundle.
        tree = StreamHeadTree()
        heads = [parse_head(line) for line in bundle.streams]
        tree.update(heads)
        of_deals = {head.stream.removeprefix("deal/") for head in heads if head.stream.startswith("deal/")}
        if tree.root() != root or of_deals != deals.keys():
            raise LogCorrupt(detail=Finding("bundle_deals"))
    clocks = bundle.clocks
    if clocks.position is None or clocks.effective_on is None or clocks.position > checkpoint.size:
        raise LogCorrupt(detail=Finding("bundle_as_of"))
    total = total_of(deals, clocks, bundle.query, StatedRates(bundle.rates))
    groups = msgspec.json.decode(encode(total.groups)) if bundle.query.group_by else UNSET
    if bundle.total != msgspec.json.decode(encode(total.overall)) or bundle.groups != groups:
        raise LogCorrupt(detail=Finding("bundle_total"))
    return BundleVerification(
        proves=Finding(
            "proves_total" if bundle.streams is not None else "proves_total_of_these_deals",
            deals=len(deals),
            position=clocks.position,
            size=checkpoint.size,
        ),
        position=clocks.position,
        size=checkpoint.size,
        origin=checkpoint.origin,
        erased=sum(event.erased for events in deals.values() for event in events),
    )


def _verify_stream(
    deal: str,
    proven_events: Sequence[ProvenEvent],
    proven_head: ProvenHead,
    checkpoint: Checkpoint,
    keys: tuple[VerifierKey, ...],
) -> list[Recorded]:
    """All events of a deal up to a checkpoint."""
    stream = f"deal/{deal}"
    events: list[Recorded] = []
    previous: Recorded | None = None
    for proven in proven_events:
        recorded = _verify_event(proven, checkpoint)
        previous_leaf = read_entry(proven.position, proven.entry.encode()).previous
        version = len(events) + 1
        if (
            f"{recorded.kind}/{recorded.slug}" != stream
            or recorded.version != version
            or previous_leaf != (previous.leaf_hash.hex() if previous else None)
            or (previous is not None and recorded.position <= previous.position)
        ):
            raise LogCorrupt(
                detail=Finding("bundle_event_order", position=proven.position, version=version, stream=stream)
            )
        events.append(recorded)
        previous = recorded
    if previous is None:
        raise LogCorrupt(detail=Finding("bundle_events_missing"))
    head, heads, _ = open_heads(proven_head.statement, keys)
    if head != checkpoint:
        raise LogCorrupt(detail=Finding("heads_of_another_checkpoint"))
    last = verify_head(stream, proven_head.lines, _hashes(proven_head.path), heads)
    if last != StreamHead(stream, previous.version, previous.leaf_hash):
        raise LogCorrupt(detail=Finding("bundle_last_event", stream=stream))
    _verify_redactions(events)
    return events


def _verify_redactions(events: Sequence[Recorded]) -> None:
    """Content may be missing only where a redaction in the bundle names the event."""
    redacted = {id for e in events if isinstance(e.event, EventRedacted) for id in (e.event.redacts, *e.event.also)}
    for event in events:
        if event.erased and event.id not in redacted:
            raise LogCorrupt(detail=Finding("content_without_redaction", position=event.position))


def _equals_state(certified: Any, folded: Any) -> bool:
    """Whether a certificate's state is the state of its events. An older certificate lacks the fields added later."""
    match certified, folded:
        case dict(), dict():
            missing = folded.keys() - certified.keys()
            derived = DERIVED_LATER | {"id"} if "publisher" in folded else DERIVED_LATER
            return (
                all(name in derived or (name in STATED_LATER and not folded[name]) for name in missing)
                and certified.keys() <= folded.keys()
                and all(_equals_state(value, folded[name]) for name, value in certified.items())
            )
        case list(), list():
            return len(certified) == len(folded) and all(map(_equals_state, certified, folded))
        case _:
            return bool(certified == folded)


def state_of(deal: str, events: Sequence[Recorded], as_of: AsOf, size: int) -> DealResponse:
    """The deal's state as a certificate contains it.

    Raises:
        LogCorrupt: The point in time has no effective date or no position, is after the checkpoint, or the deal was not
            known then.
    """
    if as_of.position is None or as_of.effective_on is None or as_of.position > size:
        raise LogCorrupt(detail=Finding("bundle_as_of"))
    view = state_as_of(deal, keep_redacted_effects(events), as_of, DEALS)
    if view.state is None:
        raise LogCorrupt(detail=Finding("bundle_deal_unknown", deal=deal))
    return deal_response(view.state, view, as_of, as_of.effective_on)


def _hashes(path: Iterable[Hex]) -> list[bytes]:
    return [_hash(each) for each in path]


def _hash(text: Hex) -> bytes:
    # Accept only the canonical form: otherwise a changed text could decode to the same bytes.
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if data.hex() != text or len(data) != HASH_SIZE:
        raise ProofError(reason=Finding("hash_hex", text=text[:80], size=HASH_SIZE))
    return data
