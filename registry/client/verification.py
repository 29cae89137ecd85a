"""Verify certificates and proofs offline."""

from __future__ import annotations

from collections.abc import Iterable

from registry.transparency.bundles import BundleVerification, verify_bundle
from registry.transparency.checkpoint import VerifierKey


def verify(bundle: bytes, keys: Iterable[str]) -> BundleVerification:
    """Verify a certificate or an inclusion proof with the log's public keys, without a network.

    Args:
        bundle: What `Client.certificate` or `Client.inclusion` returned, or a C2SP tlog-proof.
        keys: The log's public keys as text (`Client.keys`), got over a channel that you trust.

    Raises:
        BadKey: A text is not a key.
        LogCorrupt: The bundle does not verify.
    """
    return verify_bundle(bundle, [VerifierKey.parse(key) for key in keys])
