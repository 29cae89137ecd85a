"""What stops a mirror: the origin contradicts what it signed, or what the mirror has verified."""

from __future__ import annotations

from typing import Literal, TypeAlias

from registry.errors import RegistryError
from registry.transparency.findings import Finding

Kind: TypeAlias = Literal["key", "signature", "rollback", "fork", "entry", "content", "withheld", "order", "heads"]


class Contradiction(RegistryError):
    """The origin's answers cannot all be true, or are not the origin's.

    Attributes:
        kind: What was contradicted.
        position: The log position from which on it matters.
        evidence: What was received, unchanged, for the operator who decides.
    """

    code = "mirror_contradiction"

    def __init__(self, kind: Kind, position: int, finding: Finding, /, **evidence: object) -> None:
        super().__init__(problem=finding)
        self.kind: Kind = kind
        self.position = position
        self.evidence = evidence


class OriginUnreadable(RegistryError):
    """The origin did not answer, or not in a form that can be verified: nothing is copied, and it is asked again."""

    code = "origin_unreadable"
