"""The log's evidence over HTTP: checkpoints, proofs, tiles. C2SP's formats at /log, JSON at /v1/log."""

from __future__ import annotations

from typing import Any

from litestar import Response, route
from litestar.params import FromPath

from registry.api import parameters
from registry.api.deals import READ
from registry.api.operation import Operation
from registry.api.parameters import Request
from registry.errors import InvalidParameter
from registry.schemas import encode
from registry.transparency.bundles import Inclusion
from registry.transparency.proofs import Consistency

SIZE_PARAMETER = parameters.integer(0, 2**53)
INCLUSION = {"position": SIZE_PARAMETER, "size": SIZE_PARAMETER}
CONSISTENCY = {"from": SIZE_PARAMETER, "to": SIZE_PARAMETER}

IMMUTABLE = "max-age=31536000, immutable"


def _text(content: str) -> Response[str]:
    headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
    return Response(content, media_type="text/plain", headers=headers)


def _wants_text(request: Request) -> bool:
    """Whether the first type that is asked for is text/plain; a list of others, or none at all, means JSON."""
    first = request.headers.get("accept", "").partition(",")[0].partition(";")[0]
    return first.strip().lower() == "text/plain"


def _query_with_required(request: Request, known: dict[str, parameters.Parameter[Any]], needed: str) -> dict[str, Any]:
    asked = parameters.query(request, known)
    if needed not in asked:
        raise InvalidParameter("missing", parameter=needed)
    return asked


@route("/log/checkpoint", http_method=READ)
async def get_checkpoint(request: Request) -> Response[str]:
    """The signed tree head (C2SP tlog-checkpoint).

    It covers every event that was acknowledged before it was asked for. A log without events has size 0.
    """
    await parameters.may_read(request)
    parameters.query(request, {})
    return _text(await request.app.state.registry.evidence.checkpoint())


@route("/v1/log/checkpoint", http_method=READ)
async def get_v1_checkpoint(request: Request) -> Response[str]:
    """The signed tree head, as at /log/checkpoint."""
    await parameters.may_read(request)
    parameters.query(request, {})
    return _text(await request.app.state.registry.evidence.checkpoint())


@route("/v1/log/heads", http_method=READ)
async def get_heads(request: Request) -> Response[str]:
    """The signed statement of the last event of every deal and organization.

    It goes with the newest checkpoint, and covers as much.
    """
    await parameters.may_read(request)
    parameters.query(request, {})
    return _text(await request.app.state.registry.evidence.heads())


@route("/v1/log/keys", http_method=READ)
async def get_keys(request: Request) -> Response[str]:
    """The log's verifier keys (C2SP signed-note), one a line, oldest first.

    Get them once, by a way you trust more than this one, and keep them.
    """
    await parameters.may_read(request)
    parameters.query(request, {})
    return _text("".join(f"{key}\n" for key in await request.app.state.registry.evidence.verifiers()))


@route("/v1/log/proof/inclusion", http_method=READ)
async def get_inclusion(request: Request) -> Response[Any]:
    """The proof that an event stands at its position.

    In the tree of `size` events; without it in that of the newest checkpoint.
    """
    await parameters.may_read(request)
    asked = _query_with_required(request, INCLUSION, "position")
    evidence = request.app.state.registry.evidence
    if _wants_text(request):
        return _text(await evidence.inclusion_text(asked["position"], asked.get("size")))
    found = await evidence.inclusion(asked["position"], asked.get("size"))
    return parameters.json_response(encode(found), 200, {"Cache-Control": "no-cache", "Vary": "Accept"})


@route("/v1/log/proof/consistency", http_method=READ)
async def get_consistency(request: Request) -> Response[Any]:
    """The proof that nothing changed between two sizes of the log.

    Without `to` up to the newest checkpoint.
    """
    await parameters.may_read(request)
    asked = _query_with_required(request, CONSISTENCY, "from")
    evidence = request.app.state.registry.evidence
    if _wants_text(request):
        return _text(await evidence.consistency_text(asked["from"], asked.get("to")))
    found = await evidence.consistency(asked["from"], asked.get("to"))
    return parameters.json_response(encode(found), 200, {"Cache-Control": "no-cache", "Vary": "Accept"})


@route("/log/tile/{tile:path}", http_method=READ)
async def get_tile(request: Request, tile: FromPath[str]) -> Response[bytes]:
    """A tile, or a bundle of entries (C2SP tlog-tiles).

    What is covered by a checkpoint never changes, partial tiles included; what is not is not there yet.
    """
    await parameters.may_read(request)
    parameters.query(request, {})
    registry = request.app.state.registry
    found = await registry.evidence.tile(f"tile{tile}")
    scope = "public" if registry.settings.public_read else "private"
    headers = {"Cache-Control": f"{scope}, {IMMUTABLE}"}
    return Response(found, media_type="application/octet-stream", headers=headers)


_CHECKPOINT = {"text/plain": "A checkpoint, as a signed note."}

OPERATIONS = (
    Operation(handler=get_v1_checkpoint, tag="Log", other=_CHECKPOINT, refuses=("evidence_unavailable",)),
    Operation(handler=get_checkpoint, tag="Log", other=_CHECKPOINT, refuses=("evidence_unavailable",)),
    Operation(
        handler=get_heads,
        tag="Log",
        other={"text/plain": "A signed note: size and root of the log, and the root of the tree of heads."},
        refuses=("evidence_unavailable",),
    ),
    Operation(handler=get_keys, tag="Log", other={"text/plain": "`<name>+<key id>+<base64>`, one a line."}),
    Operation(
        handler=get_inclusion,
        tag="Log",
        query=INCLUSION,
        needs=("position",),
        answer=Inclusion,
        other={"text/plain": "A C2SP tlog-proof; its extra data are the entry."},
        refuses=("not_in_tree", "evidence_unavailable"),
    ),
    Operation(
        handler=get_consistency,
        tag="Log",
        query=CONSISTENCY,
        needs=("from",),
        answer=Consistency,
        other={"text/plain": "The body of an add-checkpoint request to a C2SP tlog-witness."},
        refuses=("not_in_tree", "evidence_unavailable"),
    ),
    Operation(
        handler=get_tile,
        tag="Log",
        other={"application/octet-stream": "Hashes of 32 bytes; or entries, each behind its length as a uint16."},
        refuses=("not_found",),
    ),
)
