"""Errors over HTTP: which problem document (RFC 9457) each becomes. `PROBLEMS` is the only such table.

`/docs/problems` shows the same table to people. Nothing here decides what is refused.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from registry import errors
from registry.i18n import DEFAULT_LANGUAGE, Message, negotiate_language, render
from registry.infra import postgres

log = structlog.get_logger(__name__)


class Problem(Struct, frozen=True):
    """A kind of problem: its status, what it is called, what it means and what to do.

    `retry_after`: seconds after which trying again makes sense.
    """

    status: int
    title: str
    meaning: str
    retry_after: int | None = None


PROBLEMS: dict[str, Problem] = {
    "not_json": Problem(
        400,
        "The body is not JSON",
        "The body cannot be read as JSON in UTF-8: it is cut off, nested without end, holds a number such as NaN, or "
        "bytes that are no text. Nothing was recorded. `errors` names the place where reading ended.",
    ),
    "bad_query": Problem(
        400,
        "A parameter cannot be used",
        "A parameter of the query, or a header that works like one, is unknown, given twice, or has a value that "
        "cannot be read. `parameter` names it. Unknown parameters are refused because an answer to another question "
        "than the one asked is worse than none.",
    ),
    "bad_request": Problem(
        400, "The request cannot be read", "The request breaks a rule of HTTP itself, such as a Host that is none."
    ),
    "not_in_tree": Problem(
        400, "There is no such place in the log", "A proof was asked for a position or size that the log does not have."
    ),
    "incomplete": Problem(400, "The body is cut off", "The connection ended before the whole body had arrived."),
    "unauthorized": Problem(
        401,
        "A key is needed",
        "Send `Authorization: Bearer KEY` with a key that is in force. An operator makes one with "
        "`registry keys create NAME --scope record`.",
    ),
    "forbidden": Problem(
        403,
        "The key does not allow this",
        "Each key has scopes: `read`, `record` (announcements), `correct` (corrections, voids, merges, preferred "
        "claims), `redact`, `admin` (all of them). The detail names the scope that is missing.",
    ),
    "not_found": Problem(
        404,
        "Not found",
        "There is no such thing, or it was not known yet at the point in time asked for; the detail says which.",
    ),
    "method_not_allowed": Problem(405, "Method not allowed", "`Allow` lists the methods that this path takes."),
    "not_acceptable": Problem(406, "Not acceptable", "The answer is not available in the form that was asked for."),
    "too_slow": Problem(408, "The body took too long", "The body did not arrive in time. Nothing was recorded."),
    "rule_broken": Problem(
        409,
        "The record cannot take this",
        "The announcement is well formed, but the history as it stands cannot carry it: a pledge that was never "
        "announced cannot be revised. `rule` is the rule's stable name, the detail says what to do, and `events` names "
        "the events that would no longer fit. Nothing of the request was recorded.",
    ),
    "id_conflict": Problem(
        409,
        "The id belongs to another event",
        "An `id` that was given names an event with another content. Sent again unchanged, an announcement with an id "
        "is answered with 200 and recorded once.",
    ),
    "version_conflict": Problem(
        412,
        "The deal has changed",
        "`If-Match` named another version than the deal has, or any of a deal that does not exist, or `If-None-Match: "
        "*` met a deal that exists. `version` is the one it has, 0 for none. Read the deal again and decide whether "
        "what you send still holds.",
    ),
    "too_large": Problem(413, "The body is too large", "Send the announcements in several requests, or import them."),
    "entry_too_large": Problem(
        413, "The event is too large", "The log's format bounds what one event's envelope may hold (C2SP tlog-tiles)."
    ),
    "unsupported_media_type": Problem(
        415, "The body's type cannot be read", "Send `Content-Type: application/json`, in UTF-8 and not compressed."
    ),
    "invalid": Problem(
        422,
        "Wrong shape or value",
        "The body is JSON but no announcement: a field is missing, unknown, given twice, of the wrong type, or has a "
        "value that nothing real can have. Each entry of `errors` names a field by its JSON Pointer (RFC 6901), which "
        "in a list begins with the element's index. Nothing was recorded.",
    ),
    "idempotency_conflict": Problem(
        422,
        "The Idempotency-Key was used before",
        "The same key came with another request. A key stands for one request for at least 24 hours.",
    ),
    "failed": Problem(
        500, "The registry failed", "A fault of the registry. It is logged under the `request_id`; please report it."
    ),
    "overloaded": Problem(
        503,
        "Too much at once",
        "More waits to be recorded than the registry takes in. Nothing was recorded; try again after `Retry-After`.",
        retry_after=1,
    ),
    "database_lost": Problem(
        503,
        "The database does not answer",
        "The registry goes on by itself when its database is back. A request that was being recorded is recorded whole "
        "or not at all: sent again with the same `Idempotency-Key` or ids it settles which.",
        retry_after=5,
    ),
    "evidence_unavailable": Problem(
        503,
        "No checkpoint can be signed",
        "The log's signer refuses, or its key is not there: it never signs a tree that contradicts what it signed "
        "before. The operator's log says which. Recording and reading go on.",
        retry_after=30,
    ),
    "redaction_unavailable": Problem(
        503,
        "Redaction is not set up",
        "Erasing content needs the database's owner: the operator starts the service with `REGISTRY_OWNER_URL`.",
        retry_after=3600,
    ),
}

_OF_HTTP = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable", 413: "too_large"}


def code_of(error: errors.RegistryError) -> str:
    """The code under which an error is told: its own, or that of the error it is a kind of; else `failed`."""
    codes = (kind.code for kind in type(error).__mro__ if issubclass(kind, errors.RegistryError))
    return next((code for code in codes if code in PROBLEMS), "failed")


def request_id(request: Request[Any, Any, Any]) -> str:
    """The request's id, the same in its answer and in the logs."""
    known = request.scope.setdefault("state", {}).get("request_id")
    if known is None:
        known = request.scope["state"]["request_id"] = uuid4().hex
    return str(known)


def problem(
    request: Request[Any, Any, Any], code: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response[bytes]:
    """A problem document."""
    kind = PROBLEMS[code]
    document = {
        "type": f"/docs/problems#{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "request_id": request_id(request),
        **more,
    }
    sent = {"Cache-Control": "no-store", "Vary": "Accept-Language", **(headers or {})}
    if kind.retry_after is not None:
        sent["Retry-After"] = str(kind.retry_after)
    if kind.status == 401:
        sent["WWW-Authenticate"] = 'Bearer realm="registry"'
    return Response(
        msgspec.json.encode(document), status_code=kind.status, media_type="application/problem+json", headers=sent
    )


def on_registry_error(request: Request[Any, Any, Any], error: errors.RegistryError) -> Response[bytes]:
    """What the registry refuses on purpose."""
    code = code_of(error)
    if code == "failed":
        return on_internal_error(request, error)
    language = language_of(request)
    return problem(request, code, render(error.message, language), **extension_members(error, language))


def language_of(request: Request[Any, Any, Any]) -> str:
    """The language that the client prefers for texts."""
    return negotiate_language(request.headers.get("accept-language"))


def extension_members(error: errors.RegistryError, language: str = DEFAULT_LANGUAGE) -> dict[str, Any]:
    """The members that a kind of error adds to its problem document (RFC 9457 §3.2)."""
    more: dict[str, Any] = {"params": _encodable(error.params)} if error.params else {}
    match error:
        case errors.Invalid(field_errors=field_errors):
            more["errors"] = [_field_error(field_error, language) for field_error in field_errors]
        case errors.NotJson(field_error=field_error):
            more["errors"] = [_field_error(field_error, language)]
        case errors.RuleBroken(refusal=refusal, events=events):
            more["rule"] = refusal.code
            if events:
                more["events"] = list(events)
        case errors.InvalidParameter():
            more["parameter"] = error.params["parameter"]
        case errors.VersionConflict():
            more["version"] = error.params["actual"]
        case _:
            pass
    return more


def _field_error(error: errors.FieldError, language: str) -> dict[str, Any]:
    return {
        "pointer": error.pointer,
        "detail": render(error, language),
        "code": error.code,
        **({"params": _encodable(error.params)} if error.params else {}),
    }


def _encodable(value: Any) -> Any:
    """A message's parameters as JSON: a nested message is its code and its parameters."""
    match value:
        case Message():
            return {"code": value.code, "params": _encodable(value.params)}
        case dict():
            return {name: _encodable(item) for name, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
        case _:
            return value


def on_merged(request: Request[Any, Any, Any], error: errors.MergedInto) -> Response[bytes]:
    """308 to the record that a duplicate was merged into, with the same question."""
    parts = request.url.path.split("/")
    at = next(i for i, part in enumerate(parts) if part in ("deals", "organizations")) + 1
    parts[at] = str(error.params["into"])
    query = request.scope["query_string"].decode("latin-1")
    location = "/".join(parts) + (f"?{query}" if query else "")
    headers = {"Location": location, "Cache-Control": "no-cache"}
    return Response(b"", status_code=308, media_type="text/plain", headers=headers)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses: unknown paths and methods."""
    if error.status_code >= 500:
        return on_internal_error(request, error)
    path = request.url.path[:200]
    messages = {
        404: errors.ErrorMessage("not_found/path", path=path),
        405: errors.ErrorMessage("method_not_allowed", path=path, method=request.method),
    }
    allowed = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    message = messages.get(error.status_code, errors.ErrorMessage("bad_request", reason=str(error.detail)))
    detail = render(message, language_of(request))
    return problem(request, _OF_HTTP.get(error.status_code, "bad_request"), detail, allowed)


def on_internal_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: logged whole, told in one sentence. A lost database is none: it will be there again."""
    if postgres.is_connection_lost(error):
        log.warning("database lost", request_id=request_id(request), error=str(error) or type(error).__name__)
        return on_registry_error(request, errors.DatabaseUnavailable())
    known = {"request_id": request_id(request), "method": request.method, "path": request.url.path}
    log.error("request failed", exc_info=error, **known)
    return problem(request, "failed", render(errors.ErrorMessage("failed"), language_of(request)))


HANDLERS: dict[Any, Any] = {
    errors.MergedInto: on_merged,
    errors.RegistryError: on_registry_error,
    HTTPException: on_http_exception,
    Exception: on_internal_error,
}
