"""Verify certificates and proofs offline."""

from __future__ import annotations

from collections.abc import Iterable

from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import VerifierKey
from registry.transparency.cosignatures import Quorum, WitnessKey
from registry.transparency.proven_streams import BundleVerification


def verify(
    bundle: bytes, keys: Iterable[str], *, witnesses: int = 0, witness_keys: Iterable[str] = ()
) -> BundleVerification:
    """Verify a certificate or an inclusion proof with the log's public keys, without a network.

    Args:
        bundle: What `Client.certificate` or `Client.inclusion` returned, or a C2SP tlog-proof.
        keys: The log's public keys as text (`Client.keys`), got over a channel that you trust.
        witnesses: How many witnesses must have cosigned the bundle's checkpoint.
        witness_keys: The public keys of the witnesses that count.

    Raises:
        BadKey: A text is not a key.
        LogCorrupt: The bundle does not verify.
    """
    quorum = Quorum(witnesses, tuple(WitnessKey.parse(key) for key in witness_keys)) if witnesses else None
    return verify_bundle(bundle, [VerifierKey.parse(key) for key in keys], quorum)
