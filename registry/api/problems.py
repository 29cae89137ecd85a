"""Errors over HTTP: which status each becomes, and the problem document (RFC 9457) that says so. The only table."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from registry import errors, postgres
from registry.events.merkle import EntryTooLarge, NotInTree

log = structlog.get_logger(__name__)

STATUS: dict[type[errors.RegistryError], int] = {
    errors.NotJson: 400,
    errors.BadQuery: 400,
    NotInTree: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.RuleBroken: 409,
    errors.IdConflict: 409,
    errors.VersionConflict: 412,
    errors.TooLarge: 413,
    EntryTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.IdempotencyConflict: 422,
    errors.RedactionUnavailable: 503,
    errors.Overloaded: 503,
    errors.DatabaseLost: 503,
}

TITLES = {
    400: "Bad request",
    401: "A key is needed",
    403: "The key does not allow this",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "The deal cannot take this",
    412: "The deal has changed",
    413: "Too large",
    415: "Unsupported media type",
    422: "Wrong shape or value",
    429: "Too many requests",
    500: "The registry failed",
    503: "Not available now",
}

# Seconds after which trying again makes sense.
RETRY_AFTER = {"overloaded": "1", "database_lost": "5", "redaction_unavailable": "3600"}


def request_id(request: Request[Any, Any, Any]) -> str:
    """The request's id, the same in its answer and in the logs."""
    known = request.scope.setdefault("state", {}).get("request_id")
    if known is None:
        known = request.scope["state"]["request_id"] = uuid4().hex
    return str(known)


def problem(
    request: Request[Any, Any, Any],
    status: int,
    code: str,
    detail: str,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response[bytes]:
    """A problem document."""
    document = {
        "type": f"/docs/problems#{code.replace('_', '-')}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id(request),
        **more,
    }
    return Response(
        msgspec.json.encode(document),
        status_code=status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def on_registry_error(request: Request[Any, Any, Any], error: errors.RegistryError) -> Response[bytes]:
    """What the registry refuses on purpose."""
    status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 500)
    if status == 500:
        return on_failure(request, error)
    headers = {}
    if error.code in RETRY_AFTER:
        headers["Retry-After"] = RETRY_AFTER[error.code]
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="registry"'
    more: dict[str, Any] = {}
    if isinstance(error, errors.Invalid):
        more["errors"] = [{"pointer": f.pointer, "detail": f.detail} for f in error.faults]
    if isinstance(error, errors.RuleBroken):
        more["rule"] = error.rule
        if error.events:
            more["events"] = list(error.events)
    if isinstance(error, errors.BadQuery):
        more["parameter"] = error.facts["parameter"]
    if isinstance(error, errors.VersionConflict):
        more["version"] = error.facts["actual"]
    return problem(request, status, error.code, str(error), headers, **more)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses: unknown paths and methods."""
    status = error.status_code
    if status >= 500:
        return on_failure(request, error)
    path = request.url.path
    details = {
        404: f"There is nothing at '{path}'.",
        405: f"'{path}' does not take {request.method}.",
    }
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    code = TITLES.get(status, "error").lower().replace(" ", "_")
    return problem(request, status, code, details.get(status, str(error.detail)), headers)


def on_failure(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: logged whole, told in one sentence. A lost database is none: it will be there again."""
    if postgres.is_lost(error):
        log.warning("database lost", request_id=request_id(request), error=str(error) or type(error).__name__)
        return on_registry_error(request, errors.DatabaseLost())
    known = {"request_id": request_id(request), "method": request.method, "path": request.url.path}
    log.error("request failed", exc_info=error, **known)
    return problem(request, 500, "failed", "The registry failed to answer; the fault is logged under this request_id.")


HANDLERS: dict[Any, Any] = {
    errors.RegistryError: on_registry_error,
    HTTPException: on_http_exception,
    Exception: on_failure,
}
