"""The witness of a mirror (C2SP tlog-witness): `/log/witness` is its submission prefix and its monitoring prefix."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter

from registry.api.openapi import reading, writing
from registry.errors import NotFound
from registry.http.bodies import Request, read_body
from registry.http.guards import PUBLIC
from registry.http.responses import RawResponse, raw_headers
from registry.transparency.checkpoint import Checkpoint, parse_note
from registry.transparency.witness import OtherSizeCosigned, Witness

NO_CACHE = raw_headers({"Cache-Control": "no-cache"})

# A note has at most 1 MiB; 64 signatures and a proof are far less.
MAX_REQUEST_BYTES = 64 * 1024

REFUSALS = ("witness_malformed", "not_found", "witness_unsigned", "witness_inconsistent", "evidence_unavailable")
OTHER_SIZE = {
    409: ResponseSpec(
        str,
        description="The size of the checkpoint that was cosigned last, as text/x.tlog.size.",
        media_type="text/x.tlog.size",
        generate_examples=False,
    )
}


class WitnessController(Controller):
    """Cosignatures on the checkpoints of the log that this mirror follows."""

    path = "/log/witness"
    tags = ("Log",)

    @writing(
        post,
        "/add-checkpoint",
        *REFUSALS,
        scope=PUBLIC,
        # The specification names no media type; generators of clients know this one (tests/clients).
        body=bytes,
        body_type="application/octet-stream",
        responses=OTHER_SIZE,
        status_code=200,
        media_type="text/plain",
        response_description="The witness's signature line.",
    )
    async def post_checkpoint(self, request: Request, witness: NamedDependency[Witness | None]) -> RawResponse[str]:
        """Cosign a checkpoint (C2SP tlog-witness).

        The body is the size that was cosigned last, a consistency proof from it, and the signed checkpoint:
        `GET /v1/log/proof/consistency` as text. The log itself sends it; anyone may.
        """
        if witness is None:
            raise NotFound("witness")
        try:
            # Any media type is accepted, and none.
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            line = await witness.add_checkpoint(await read_body(request, media_type, MAX_REQUEST_BYTES))
        except OtherSizeCosigned as error:
            return RawResponse(f"{error.size}\n".encode(), 409, NO_CACHE, b"text/x.tlog.size")
        return _text(line)

    @reading(
        "/{origin_hash:str}/checkpoint",
        "not_found",
        media_type="text/plain",
        response_description="A checkpoint, as a signed note.",
    )
    async def get_cosigned(
        self,
        origin_hash: Annotated[str, PathParameter(description="SHA-256 of the log's origin, in hex.")],
        witness: NamedDependency[Witness | None],
    ) -> RawResponse[str]:
        """The checkpoint that was cosigned last, with the log's signature and the witness's."""
        latest = await witness.latest() if witness is not None else None
        if latest is not None:
            origin = Checkpoint.parse(parse_note(latest.note).text).origin
            if sha256(origin.encode()).hexdigest() == origin_hash:
                return _text(latest.note)
        raise NotFound("witness")

    @reading("/key", "not_found", media_type="text/plain", response_description="`<name>+<key id>+<base64>`.")
    async def get_witness_key(self, witness: NamedDependency[Witness | None]) -> RawResponse[str]:
        """The witness's public key (C2SP tlog-cosignature).

        Get it once over a channel that you trust more than this one, and keep it.
        """
        if witness is None:
            raise NotFound("witness")
        return _text(f"{witness.verifier}\n")


def _text(content: str) -> RawResponse[Any]:
    return RawResponse(content.encode(), 200, NO_CACHE, b"text/plain; charset=utf-8")
