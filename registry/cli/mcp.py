"""`registry mcp`: a Model Context Protocol server, so that assistants can query a registry. It reads and never writes.

One JSON-RPC 2.0 message a line on standard input and output (MCP, Transports, stdio). The protocol is four methods, so
this is not the SDK, which brings twenty packages; the SDK's client tests it (tests/clients/test_mcp.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any

import httpx
import msgspec
import typer
from msgspec import Meta, Struct

import registry
from registry.cli.client import Url, client
from registry.client import ApiError, Client

# The versions of the protocol with a handshake, the newest first: what is used here is the same in all of them.
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

INSTRUCTIONS = (
    "A registry of investment announcements. Every answer can be dated: effective_on is the day in the world, "
    "published_on what the public could know, recorded_at and position what the registry had recorded; each means "
    "'no later than'. Unknown is null, never zero. Cite the sources of an answer, and say as of when it is."
)

PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602

Slug = Annotated[str, Meta(description="A deal's slug, such as sk-aws-ulsan; `search` finds it.")]


class _AsOf(Struct, forbid_unknown_fields=True, kw_only=True):
    effective_on: Annotated[date | None, Meta(description="The state in effect on this day; today if left out.")] = None
    published_on: Annotated[date | None, Meta(description="What was published by this day.")] = None
    recorded_at: Annotated[str | None, Meta(description="What was recorded by this instant, with its offset.")] = None
    position: Annotated[int | None, Meta(description="The log up to this position.")] = None


class SearchArguments(_AsOf):
    """Find deals, organizations, places and sources that have every word in names, places, parties or sources."""

    q: Annotated[str, Meta(description="The words, in any language.", min_length=1)]
    kind: Annotated[str | None, Meta(description="Only deal, organization, place or source.")] = None
    limit: Annotated[int, Meta(description="The most of each kind.", ge=1, le=100)] = 20


class StateArguments(_AsOf):
    """A deal's state at a point in time: parties, pledges, sites, milestones, stage, warnings and sources."""

    deal: Slug


class HistoryArguments(_AsOf):
    """The audit trail of a deal: each event with what it changed, by whom, when and on which source."""

    deal: Slug
    after: Annotated[int, Meta(description="The position of the last event of the page before.", ge=0)] = 0


class ProvenanceArguments(_AsOf):
    """The source of every field of a deal: its value, the event that set it, who recorded it, and who said so."""

    deal: Slug
    cursor: Annotated[str | None, Meta(description="`next` of the page before.")] = None


class TotalsArguments(_AsOf):
    """Lower and upper bounds of the amounts of all deals that match: what counted, what did not, and why."""

    measure: Annotated[str | None, Meta(description="amount (the default), power_mw, gpus, jobs or a metric.")] = None
    group_by: Annotated[str | None, Meta(description="organization, region, sector, stage, commitment or year.")] = None
    currency: Annotated[str | None, Meta(description="Convert into this ISO 4217 currency.")] = None
    organization: Annotated[str | None, Meta(description="Only deals of this organization.")] = None
    region: Annotated[str | None, Meta(description="Only deals with a site in this ISO 3166 region.")] = None
    sector: Annotated[str | None, Meta(description="Only deals of this sector.")] = None
    lines: Annotated[int, Meta(description="The most pledges to list in a group.", ge=0, le=1000)] = 20


class ProofArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    """The Merkle proof that an event stands at its position in the log. `registry verify` checks it offline."""

    position: Annotated[int, Meta(description="The event's position.", ge=1)]


def _read(path: str) -> Callable[[Client, Any], Any]:
    """A tool that is one request: the arguments that the path does not name are its query."""

    def read(service: Client, asked: Any) -> Any:
        given = {name: getattr(asked, name) for name in asked.__struct_fields__}
        return service.json(path.format(**given), **{name: v for name, v in given.items() if f"{{{name}}}" not in path})

    return read


class Tool(Struct, frozen=True):
    """A tool: the type of its arguments, whose docstring describes it, and what answers."""

    arguments: type[Struct]
    answer: Callable[[Client, Any], Any]

    def described(self, name: str) -> dict[str, Any]:
        """The tool as `tools/list` shows it."""
        _, components = msgspec.json.schema_components([self.arguments])
        schema = components[self.arguments.__name__]
        hints = {"readOnlyHint": True, "openWorldHint": False}
        return {
            "name": name,
            "description": schema.pop("description"),
            "inputSchema": {key: value for key, value in schema.items() if key != "title"},
            "annotations": hints,
        }


TOOLS = {
    "search": Tool(SearchArguments, _read("/v1/search")),
    "deal": Tool(StateArguments, _read("/v1/deals/{deal}")),
    "history": Tool(HistoryArguments, _read("/v1/deals/{deal}/events")),
    "provenance": Tool(ProvenanceArguments, _read("/v1/deals/{deal}/blame")),
    "totals": Tool(TotalsArguments, _read("/v1/totals")),
    "proof": Tool(ProofArguments, _read("/v1/log/proof/inclusion")),
}


class RpcError(Exception):
    """An error of the protocol: its code and its text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(mcp)


def mcp(url: Url = "") -> None:
    """Serve the registry to an assistant on standard input and output (Model Context Protocol). Read-only."""
    with client(url) as service:
        for line in sys.stdin.buffer:
            answer = respond(service, line)
            if answer is not None:
                sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
                sys.stdout.buffer.flush()


def respond(service: Client, line: bytes) -> dict[str, Any] | None:
    """The answer to a message; None for a notification."""
    id_: Any = None
    try:
        try:
            message = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RpcError(PARSE_ERROR, str(error)) from None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            raise RpcError(INVALID_REQUEST, "a message is an object with a method")
        if "id" not in message:
            return None
        id_ = message["id"]
        parameters = message.get("params") or {}
        if not isinstance(parameters, dict):
            raise RpcError(INVALID_PARAMS, "params is an object")
        result = _result(service, message["method"], parameters)
    except RpcError as error:
        return {"jsonrpc": "2.0", "id": id_, "error": {"code": error.code, "message": str(error)}}
    return {"jsonrpc": "2.0", "id": id_, "result": result}


def _result(service: Client, method: str, parameters: Mapping[str, Any]) -> Any:
    match method:
        case "initialize":
            wanted = parameters.get("protocolVersion")
            return {
                "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "investment-registry", "version": registry.version()},
                "instructions": INSTRUCTIONS,
            }
        case "ping":
            return {}
        case "tools/list":
            return {"tools": [tool.described(name) for name, tool in TOOLS.items()]}
        case "tools/call":
            return _call(service, parameters)
        case _:
            raise RpcError(UNKNOWN_METHOD, f"there is no method {method}")


def _call(service: Client, parameters: Mapping[str, Any]) -> Any:
    """Call a tool. What the registry refuses is a result with `isError`, which the assistant can read and correct."""
    tool = TOOLS.get(str(parameters.get("name")))
    if tool is None:
        raise RpcError(INVALID_PARAMS, f"there is no tool {parameters.get('name')}")
    try:
        asked = msgspec.convert(parameters.get("arguments") or {}, tool.arguments)
        found = tool.answer(service, asked)
    except msgspec.ValidationError as error:
        return _content(str(error), is_error=True)
    except ApiError as error:
        return _content(error.problem.detail, is_error=True)
    except httpx.TransportError as error:
        return _content(f"the registry does not answer ({type(error).__name__})", is_error=True)
    return {**_content(msgspec.json.encode(found).decode()), "structuredContent": found}


def _content(text: str, *, is_error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": is_error}
