"""The log's evidence: checkpoints, proofs, tiles. The C2SP formats are at /log, JSON is at /v1/log."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import PathParameter

from registry.api.openapi import reading
from registry.http.bodies import Request
from registry.http.guards import is_public
from registry.http.parameters import MAX_POSITION, Accept, integer
from registry.http.responses import RawResponse, raw_headers
from registry.schemas import encode
from registry.transparency.bundles import Inclusion
from registry.transparency.evidence import Evidence
from registry.transparency.proofs import Consistency

NEGOTIATED = raw_headers({"Cache-Control": "no-cache", "Vary": "Accept"})
CHECKPOINT = "A checkpoint, as a signed note."

Size = Annotated[
    int | None,
    integer("The tree of this many events; without it that of the newest checkpoint.", 0, MAX_POSITION),
]
Tile = Annotated[str, PathParameter(description="A path of C2SP tlog-tiles below `tile/`.")]


class CheckpointController(Controller):
    """What witnesses and monitors of the log read (C2SP)."""

    path = "/log"
    tags = ("Log",)

    @reading("/checkpoint", "evidence_unavailable", media_type="text/plain", response_description=CHECKPOINT)
    async def get_checkpoint(self, evidence: NamedDependency[Evidence]) -> RawResponse[str]:
        """The signed tree head (C2SP tlog-checkpoint).

        It covers every event that was acknowledged before the request. A log without events has size 0.
        """
        return _text(await evidence.checkpoint())

    @reading(
        "/tile/{tile:path}",
        "not_found",
        media_type="application/octet-stream",
        response_description="Hashes of 32 bytes; or entries, each after its length as a uint16.",
    )
    async def get_tile(self, request: Request, tile: Tile, evidence: NamedDependency[Evidence]) -> Response[str]:
        """A tile, or a bundle of entries (C2SP tlog-tiles).

        What a checkpoint covers never changes, partial tiles included; what none covers yet is not found.
        """
        content = await evidence.tile(f"tile{tile}")
        # An answer that needed a key is not for shared caches.
        scope = "public" if is_public(request) else "private"
        headers = raw_headers({"Cache-Control": f"{scope}, max-age=31536000, immutable"})
        return RawResponse(content, 200, headers, b"application/octet-stream")


class EvidenceController(Controller):
    """Proofs that no event was changed."""

    path = "/v1/log"
    tags = ("Log",)

    @reading("/checkpoint", "evidence_unavailable", media_type="text/plain", response_description=CHECKPOINT)
    async def get_v1_checkpoint(self, evidence: NamedDependency[Evidence]) -> RawResponse[str]:
        """The signed tree head, as at /log/checkpoint."""
        return _text(await evidence.checkpoint())

    @reading(
        "/heads",
        "evidence_unavailable",
        media_type="text/plain",
        response_description="A signed note: size and root of the log, and the root of the tree of heads.",
    )
    async def get_heads(self, evidence: NamedDependency[Evidence]) -> RawResponse[str]:
        """The signed statement of the last event of every deal and organization.

        It belongs to the newest checkpoint, and covers as much.
        """
        return _text(await evidence.heads())

    @reading("/keys", media_type="text/plain", response_description="`<name>+<key id>+<base64>`, one on each line.")
    async def get_keys(self, evidence: NamedDependency[Evidence]) -> RawResponse[str]:
        """The log's public keys (C2SP signed-note), one on each line, oldest first.

        Get them once over a channel that you trust more than this one, and keep them.
        """
        return _text("".join(f"{key}\n" for key in await evidence.verifiers()))

    @reading(
        "/proof/inclusion",
        "not_in_tree",
        "evidence_unavailable",
        other={"text/plain": "A C2SP tlog-proof; its extra data are the entry."},
    )
    async def get_inclusion(
        self,
        evidence: NamedDependency[Evidence],
        position: Annotated[int, integer("The event's position.", 0, MAX_POSITION)],
        size: Size = None,
        accept: Accept = "",
    ) -> RawResponse[Inclusion]:
        """The proof that an event stands at its position.

        In the tree of `size` events; without it in that of the newest checkpoint.
        """
        if _prefers_text(accept):
            return _text(await evidence.inclusion_text(position, size))
        return RawResponse(encode(await evidence.inclusion(position, size)), 200, NEGOTIATED)

    @reading(
        "/proof/consistency",
        "not_in_tree",
        "evidence_unavailable",
        other={"text/plain": "The body of an add-checkpoint request to a C2SP tlog-witness."},
    )
    async def get_consistency(
        self,
        evidence: NamedDependency[Evidence],
        start: Annotated[int, integer("The earlier size.", 0, MAX_POSITION, name="from")],
        end: Annotated[
            int | None,
            integer("The later size; without it that of the newest checkpoint.", 0, MAX_POSITION, name="to"),
        ] = None,
        accept: Accept = "",
    ) -> RawResponse[Consistency]:
        """The proof that the log only grew between two sizes.

        Without `to` up to the newest checkpoint.
        """
        if _prefers_text(accept):
            return _text(await evidence.consistency_text(start, end))
        return RawResponse(encode(await evidence.consistency(start, end)), 200, NEGOTIATED)


def _text(content: str) -> RawResponse[Any]:
    return RawResponse(content.encode(), 200, NEGOTIATED, b"text/plain; charset=utf-8")


def _prefers_text(accept: str) -> bool:
    """Whether text/plain is the first type of an Accept header; anything else means JSON."""
    return accept.partition(",")[0].partition(";")[0].strip().lower() == "text/plain"
