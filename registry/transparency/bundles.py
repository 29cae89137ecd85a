"""Bundles that prove an event, a deal's state or an answer about all deals offline, and their verification.

Verification needs the bundle and the log's verifier keys, and nothing else: no service, database or network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from registry.domain.history import AsOf
from registry.errors import LogCorrupt
from registry.i18n import Label
from registry.schemas import encode
from registry.schemas.values import response_hook
from registry.transparency.checkpoint import CheckpointError, Proof, VerifierKey, open_checkpoint
from registry.transparency.cosignatures import Quorum
from registry.transparency.deal_state import equals_state, state_of
from registry.transparency.findings import Finding
from registry.transparency.merkle import ProofError, leaf_hash
from registry.transparency.portfolio_bundles import (
    ComparisonCertificate,
    ListCertificate,
    TotalCertificate,
    verify_portfolio,
)
from registry.transparency.proven_streams import (
    Bundle,
    BundleVerification,
    Hex,
    ProvenEvent,
    ProvenHead,
    verify_event,
    verify_stream,
)
from registry.transparency.verify import read_entry


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


_bundle = msgspec.json.Decoder(
    Certificate | TotalCertificate | ListCertificate | ComparisonCertificate | Inclusion, dec_hook=response_hook
)


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
        if isinstance(bundle, Certificate):
            return _verify_certificate(bundle, keys)
        return verify_portfolio(bundle, keys)
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
    recorded = verify_event(proven, checkpoint)
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


def _verify_certificate(bundle: Certificate, keys: tuple[VerifierKey, ...]) -> BundleVerification:
    checkpoint = open_checkpoint(bundle.checkpoint, keys)
    events = verify_stream(f"deal/{bundle.deal}", bundle.events, bundle.head, checkpoint, keys)
    folded = state_of(bundle.deal, events, bundle.clocks, checkpoint.size)
    if not equals_state(bundle.state, msgspec.json.decode(encode(folded))):
        raise LogCorrupt(detail=Finding("bundle_state"))
    position = bundle.clocks.position or 0
    return BundleVerification(
        proves=Finding("proves_state", deal=bundle.deal, position=position, events=len(events), size=checkpoint.size),
        position=position,
        size=checkpoint.size,
        origin=checkpoint.origin,
        erased=sum(event.erased for event in events),
    )
