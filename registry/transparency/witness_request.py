"""The body of an add-checkpoint request to a witness (C2SP tlog-witness): how much it knows, a proof, a checkpoint.

The registry also answers with it at `/v1/log/proof/consistency`, so that a witness can take it as it is.
"""

from __future__ import annotations

import base64
import re

from msgspec import Struct

from registry.transparency.findings import Finding
from registry.transparency.merkle import HASH_SIZE, ProofError

MAX_PROOF_LINES = 63

_OLD = re.compile("old (0|[1-9][0-9]{0,18})")


class WitnessRequest(Struct, frozen=True):
    """The size that the witness has cosigned, the consistency proof from it, and the signed checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def __str__(self) -> str:
        lines = [f"old {self.old}", *(base64.b64encode(node).decode() for node in self.proof), ""]
        return "".join(f"{line}\n" for line in lines) + self.note

    @classmethod
    def parse(cls, text: str) -> WitnessRequest:
        """Parse what `str` wrote, without its checkpoint. Raises ProofError when it is malformed."""
        head, blank, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        old = _OLD.fullmatch(first)
        if not blank or old is None or len(lines) > MAX_PROOF_LINES:
            raise ProofError(reason=Finding("witness_request"))
        return cls(int(old[1]), tuple(map(_hash, lines)), note)


def _hash(line: str) -> bytes:
    try:
        node = base64.b64decode(line, validate=True)
    except ValueError:
        node = b""
    if len(node) != HASH_SIZE or base64.b64encode(node).decode() != line:
        raise ProofError(reason=Finding("witness_request"))
    return node
