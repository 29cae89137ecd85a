"""Problem documents (RFC 9457): the status of every error code, and the handlers that make the documents.

`/docs/problems` shows the same codes to people. Titles and meanings stand in the catalogues of `registry.i18n` under
the context "problem". Nothing here decides what is refused.
"""

from __future__ import annotations

from typing import Any, TypeAlias
from uuid import uuid4

import msgspec
import structlog
from litestar import Request as LitestarRequest
from litestar import Response
from litestar.exceptions import HTTPException, ValidationException
from msgspec import Struct

from registry import errors
from registry.http import guards
from registry.http.responses import location
from registry.i18n import DEFAULT_LANGUAGE, Message, negotiate_language, render
from registry.infra import postgres

log = structlog.get_logger(__name__)

Request: TypeAlias = LitestarRequest[Any, Any, Any]


class ProblemType(Struct, frozen=True):
    """The HTTP status of an error code, and the seconds after which a retry makes sense."""

    status: int
    retry_after: int | None = None


PROBLEMS: dict[str, ProblemType] = {
    "not_json": ProblemType(400),
    "bad_query": ProblemType(400),
    "bad_request": ProblemType(400),
    "query_too_long": ProblemType(400),
    "not_in_tree": ProblemType(400),
    "incomplete": ProblemType(400),
    "unauthorized": ProblemType(401),
    "forbidden": ProblemType(403),
    "approval_required": ProblemType(403),
    "read_only_mirror": ProblemType(403),
    "not_found": ProblemType(404),
    "not_yet_effective": ProblemType(404),
    "method_not_allowed": ProblemType(405),
    "not_acceptable": ProblemType(406),
    "too_slow": ProblemType(408),
    "rule_broken": ProblemType(409),
    "id_conflict": ProblemType(409),
    "proposal_decided": ProblemType(409),
    "proposal_forged": ProblemType(409),
    "version_conflict": ProblemType(412),
    "proposal_changed": ProblemType(412),
    "too_large": ProblemType(413),
    "entry_too_large": ProblemType(413),
    "unsupported_media_type": ProblemType(415),
    "watch_unconfirmed": ProblemType(409),
    "rate_limited": ProblemType(429, retry_after=1),
    "headers_too_large": ProblemType(431),
    "invalid": ProblemType(422),
    "idempotency_conflict": ProblemType(422),
    "failed": ProblemType(500),
    "overloaded": ProblemType(503, retry_after=1),
    "database_lost": ProblemType(503, retry_after=5),
    "clock_unsafe": ProblemType(503, retry_after=60),
    "log_rewound": ProblemType(503, retry_after=60),
    "witness_malformed": ProblemType(400),
    "witness_unsigned": ProblemType(403),
    "witness_inconsistent": ProblemType(422),
    "portfolio_unavailable": ProblemType(503, retry_after=5),
    "evidence_unavailable": ProblemType(503, retry_after=30),
    "redaction_unavailable": ProblemType(503, retry_after=3600),
    "storage_unavailable": ProblemType(503, retry_after=60),
    "secret_unreadable": ProblemType(503, retry_after=3600),
    "mail_unavailable": ProblemType(503, retry_after=300),
    "provider_unavailable": ProblemType(503, retry_after=5),
}

_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable", 413: "too_large"}


class ProblemText(Message):
    """A text of problem documents and of the page about them."""

    context = "problem"


def text(code: str, part: str, language: str = DEFAULT_LANGUAGE) -> str:
    """Return the `title` or the `meaning` of an error code."""
    return render(ProblemText(f"{code}/{part}"), language)


def code_of(error: errors.RegistryError) -> str:
    """Return the code of an error: its own, or that of a base class; `failed` without a status."""
    codes = (kind.code for kind in type(error).__mro__ if issubclass(kind, errors.RegistryError))
    return next((code for code in codes if code in PROBLEMS), "failed")


def request_id(request: Request) -> str:
    """Return the request's id, the same in its answer and in the logs."""
    state = request.scope.setdefault("state", {})
    return str(state.setdefault("request_id", uuid4().hex))


def language_of(request: Request) -> str:
    """Return the language that a problem document is written in."""
    return negotiate_language(request.headers.get("accept-language"))


def problem(
    request: Request, code: str, detail: str, headers: dict[str, str] | None = None, **members: Any
) -> Response[bytes]:
    """Return a problem document.

    Args:
        request: The request that fails.
        code: The error code.
        detail: What is wrong with this request, in the request's language.
        headers: Headers beside the common ones.
        members: Members beside the common ones (RFC 9457 §3.2).
    """
    kind, language = PROBLEMS[code], language_of(request)
    request.scope["state"]["problem"] = code
    content = _members(code, detail, language, request_id(request)) | members
    sent = {"Cache-Control": "no-store", "Content-Language": language, "Vary": "Accept-Language", **(headers or {})}
    if kind.retry_after is not None:
        sent["Retry-After"] = str(kind.retry_after)
    if kind.status == 401:
        sent["WWW-Authenticate"] = 'Bearer realm="registry"'
    return Response(
        msgspec.json.encode(content), status_code=kind.status, media_type="application/problem+json", headers=sent
    )


def document(code: str, error: errors.RegistryError, language: str, request_id: str) -> dict[str, Any]:
    """Return the members of an error's problem document.

    Args:
        code: The error's code, a key of PROBLEMS.
        error: The error.
        language: The language of the title and the detail.
        request_id: The request's id.
    """
    detail = render(error.message, language)
    return _members(code, detail, language, request_id) | extension_members(error, language)


def _members(code: str, detail: str, language: str, request_id: str) -> dict[str, Any]:
    return {
        "type": f"/docs/problems#{code}",
        "title": text(code, "title", language),
        "status": PROBLEMS[code].status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def on_registry_error(request: Request, error: errors.RegistryError) -> Response[bytes]:
    """Answer an error that the registry raises."""
    code = code_of(error)
    if code == "failed":
        return on_internal_error(request, error)
    language = language_of(request)
    return problem(request, code, render(error.message, language), **extension_members(error, language))


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
        case errors.NotYetEffective():
            more |= {name: _encodable(error.params[name]) for name in ("effective_on", "link")}
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


def on_merged(request: Request, error: errors.MergedInto) -> Response[bytes]:
    """Redirect to the record that a duplicate was merged into, with the same query."""
    parts = request.url.path.split("/")
    slug = next(i for i, part in enumerate(parts) if part in ("deals", "organizations", "releases", "records")) + 1
    parts[slug] = str(error.params["into"])
    query = request.scope["query_string"].decode("latin-1")
    target = "/".join(parts) + (f"?{query}" if query else "")
    headers = {"Location": location(target), "Cache-Control": "no-cache"}
    return Response(b"", status_code=308, media_type="text/plain", headers=headers)


def on_validation_error(request: Request, error: ValidationException) -> Response[bytes]:
    """Answer a parameter that Litestar rejects."""
    return on_registry_error(request, registry_error(request, error))


def registry_error(request: Request, error: ValidationException) -> errors.RegistryError:
    """Return the registry's error for a parameter that Litestar rejects.

    A path with a malformed name or id names nothing that could be read, and nothing that could be written.
    """
    name, field, in_path = guards.rejected_parameter(request, error)
    if not in_path:
        return guards.invalid_value(name, field, request.query_params.get(name, ""))
    value = str(request.path_params[name])[:80]
    wrong = guards.invalid_value(name, field, value)
    if request.method in ("GET", "HEAD"):
        return errors.NotFound("slug", kind=name, slug=value, problem=wrong.message)
    return errors.InvalidPath(wrong)


def on_http_exception(request: Request, error: HTTPException) -> Response[bytes]:
    """Answer an unknown path or method, and what else the framework refuses."""
    if error.status_code >= 500:
        return on_internal_error(request, error)
    path = request.url.path[:200]
    messages = {
        404: errors.ErrorMessage("not_found/path", path=path),
        405: errors.ErrorMessage("method_not_allowed", path=path, method=request.method),
    }
    message = messages.get(error.status_code, errors.ErrorMessage("bad_request", reason=str(error.detail)))
    allowed = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    detail = render(message, language_of(request))
    return problem(request, _CODES.get(error.status_code, "bad_request"), detail, allowed)


def on_internal_error(request: Request, error: Exception) -> Response[bytes]:
    """Answer a bug or a lost database. A bug is logged with its traceback, and the answer has only the request's id."""
    if postgres.is_storage_failure(error):
        # The operator reads the cause, and the client that it may come back.
        log.error("storage failure", request_id=request_id(request), error=str(error) or type(error).__name__)
        return on_registry_error(request, errors.StorageUnavailable())
    if postgres.is_connection_lost(error):
        log.warning("database lost", request_id=request_id(request), error=str(error) or type(error).__name__)
        return on_registry_error(request, errors.DatabaseUnavailable())
    context = {"request_id": request_id(request), "method": request.method, "path": request.url.path}
    log.error("request failed", exc_info=error, **context)
    return problem(request, "failed", render(errors.ErrorMessage("failed"), language_of(request)))


HANDLERS: dict[Any, Any] = {
    errors.MergedInto: on_merged,
    errors.RegistryError: on_registry_error,
    ValidationException: on_validation_error,
    HTTPException: on_http_exception,
    Exception: on_internal_error,
}
