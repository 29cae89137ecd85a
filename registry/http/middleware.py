"""Middleware: what happens around every request, in its order.

A request gets an id, its answer security headers, and both a line in the access log and a place in the metrics, which
have no keys, no bodies and no query strings.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, TypeAlias

import msgspec
from litestar.config.cors import CORSConfig
from litestar.types import ASGIApp, Receive, Send

from registry.errors import BadRequest, NotFound, RegistryError
from registry.events.codec import random_bytes
from registry.http import deadline as deadlines
from registry.http.access_log import AccessLogEntry, AccessLogWriter, access
from registry.http.bodies import raw_header
from registry.http.compression import AnswerSender
from registry.http.deadline import Deadline, Deadlines
from registry.http.hosts import HostNames
from registry.http.problems import PROBLEMS, code_of, document
from registry.http.process_metrics import Metrics
from registry.http.rate_limits import OPEN, Admission, Headers, RateLimiter, client_address, client_network
from registry.i18n import negotiate_language
from registry.infra.data_licence_setting import DataLicence
from registry.infra.fair_threads import set_client

# The form of an X-Request-Id that a proxy may give.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}\Z")

# A name or an address, and a port (RFC 9110 §7.2, RFC 3986 §3.2.2). Libraries raise ValueError for a port over 65535.
_PORT = rb"[0-9]{0,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(:(" + _PORT + rb"))?\Z")

# For data. Pages send a policy of their own.
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
SECURITY_HEADERS = (
    POLICY,
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
)
# Over TLS only (RFC 6797 §7.2): a year.
HSTS = (b"strict-transport-security", b"max-age=31536000")
SECURE_HEADERS = (*SECURITY_HEADERS, HSTS)
SECURITY_NAMES = frozenset(name for name, _ in SECURE_HEADERS)

PageOfError: TypeAlias = Callable[[Any, RegistryError, int], "tuple[bytes, dict[str, str]] | None"]
"""The page of an error, with its headers, by the request's scope and the status; None for clients that are programs."""


class RequestMiddleware:
    """Give each request an id, security headers, a line in the access log, and a place in the metrics.

    It wraps the application's `asgi_handler`, as Litestar does with CORS: Litestar calls the middleware of its layers
    for requests with a route only, so unknown paths would be missing (test_middleware.py).
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        writer: AccessLogWriter,
        limiter: RateLimiter,
        page_of: PageOfError,
        hosts: HostNames,
        licence: DataLicence | None = None,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._page_of = page_of
        self._metrics = metrics
        self._writer = writer
        self._limiter = limiter
        self._deadlines = Deadlines()
        self._licence: Headers = ((b"link", licence.link.encode()),) if licence is not None else ()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        begin = perf_counter()
        metrics = self._metrics
        request_id, host = _request_id(scope)
        scope["state"]["request_id"] = request_id
        answer = _Answer(send, scope, self._page_of, self._licence)
        metrics.in_flight += 1
        try:
            if (misdirected := self._misdirected(host)) is not None:
                await answer.refuse(misdirected)
                return
            answer.admission = admission = await self._limiter.admit(scope)
            scope["state"]["principal"] = admission.principal
            set_client(admission.principal or client_network(scope))
            if (refusal := _refusal(scope, admission)) is not None:
                await answer.refuse(refusal)
            elif scope["method"] in READS and scope["path"] != METRICS_PATH:
                seconds = deadlines.seconds_for(admission.principal)
                answer.deadline = Deadline(self._deadlines, receive, seconds, answer.refuse)
                with answer.deadline:
                    await self._app(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
                self._limiter.on_answer(scope, answer.status)
        finally:
            # The deadline refers to the answer. Without such cycles requests leave the garbage collector nothing to do,
            # which took as long as they did.
            answer.deadline = None
            metrics.in_flight -= 1
            self._count(scope, answer, perf_counter() - begin)

    def _misdirected(self, host: bytes | None) -> RegistryError | None:
        """Why a request with this Host is not one for the service."""
        if host is None:
            return BadRequest("host")
        if host and not self._hosts.accepts(host):
            return BadRequest("host_unknown", host=host.decode("latin-1")[:200])
        return None

    def _count(self, scope: Any, answer: _Answer, seconds: float) -> None:
        """Put an answered request into the metrics and the access log."""
        metrics = self._metrics
        # The route's template, not the path: a label for each deal, or for each unknown path, has no bound.
        route = scope.get("path_template") or "unknown"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        metrics.requests.add(method, route, answer.status, seconds)
        metrics.count_problem(scope["state"].get("problem"))
        if access.isEnabledFor(logging.INFO):
            self._writer.add(
                AccessLogEntry(
                    scope["state"]["request_id"],
                    method,
                    scope["path"][:200],
                    route,
                    answer.status,
                    round(seconds * 1000, 2),
                    client_address(scope),
                    _principal(scope, answer.admission),
                    datetime.now(UTC),
                )
            )


class _Answer(AnswerSender):
    """The answer to one request, with the headers of every answer. It ends the request's deadline when it begins."""

    def __init__(self, send: Send, scope: Any, page_of: PageOfError, licence: Headers) -> None:
        super().__init__(send, scope)
        self._page_of = page_of
        self._licence = licence
        self.status = 0
        self.admission = OPEN
        self.deadline: Deadline | None = None

    def more_headers(self, given: Mapping[bytes, bytes], status: int) -> Headers:
        """The headers of every answer, each once."""
        self.status = status
        if self.deadline is not None:
            self.deadline.stop()
        scope = self._scope
        common: Headers = SECURE_HEADERS if scope["scheme"] == "https" else SECURITY_HEADERS
        if not SECURITY_NAMES.isdisjoint(given):
            common = tuple(header for header in common if header[0] not in given)
        licence = self._licence if status < 400 and scope["path"].startswith(DATA_PATH) else ()
        request_id = (b"x-request-id", scope["state"]["request_id"].encode())
        return (request_id, *common, *self.admission.headers, *licence)

    async def refuse(self, error: RegistryError) -> None:
        """Answer in the place of the application's handlers: browsers with a page, other clients with a problem
        document.
        """
        self._is_done = True
        scope = self._scope
        code = scope["state"]["problem"] = code_of(error)
        status = PROBLEMS[code].status
        page = self._page_of(scope, error, status)
        if page is not None:
            content, given = page
        else:
            language = negotiate_language((raw_header(scope, b"accept-language") or b"").decode("latin-1"))
            content = msgspec.json.encode(document(code, error, language, scope["state"]["request_id"]))
            given = {"Content-Type": "application/problem+json", "Content-Language": language}
        retry_after = error.params.get("seconds", PROBLEMS[code].retry_after)
        headers = [
            *((name.lower().encode(), value.encode()) for name, value in given.items()),
            (b"content-length", str(len(content)).encode()),
            (b"cache-control", b"no-store"),
            (b"vary", b"Accept-Language, Accept"),
            *([(b"retry-after", str(retry_after).encode())] if retry_after else []),
        ]
        headers += self.more_headers(dict(headers), status)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": content if scope["method"] != "HEAD" else b""})


def _refusal(scope: Any, admission: Admission) -> RegistryError | None:
    """Why a request does not reach the routes.

    Litestar leaves out empty segments of paths; what is decided by a path, such as how often a key may be tried, would
    not meet the other spellings of it.
    """
    if admission.error is None and "//" in scope["path"]:
        return NotFound("path", path=scope["path"][:200])
    return admission.error


def _principal(scope: Any, admission: Admission) -> str | None:
    """The id of the key that a request was made with."""
    auth = scope.get("auth")
    return auth.id if auth is not None else admission.principal


def _request_id(scope: Any) -> tuple[str, bytes | None]:
    """Return the id that a proxy gave a request, or a new one, and the request's Host; None if it has no valid one.

    Host: RFC 9112 §3.2. HTTP/1.0 may have none, which is empty here.
    """
    request_id, hosts, is_valid, host = None, 0, True, b""
    for name, value in scope["headers"]:
        if name == b"host":
            hosts += 1
            is_valid, host = _HOST.match(value) is not None, value
        elif name == b"x-request-id" and _REQUEST_ID.match(value):
            request_id = str(value.decode())
    has_host = is_valid and (hosts == 1 or (hosts == 0 and scope["http_version"] == "1.0"))
    return request_id or random_bytes(16).hex(), host if has_host else None


READS = frozenset({"GET", "HEAD"})

# Answers below it are data, which have a licence.
DATA_PATH = "/v1/"

# Its handler has a deadline of its own, and answers what the process knows while Postgres does not answer.
METRICS_PATH = "/metrics"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def cors_config(origins: Sequence[str]) -> CORSConfig:
    """Let pages of other origins call the API with a key, and read the headers that it documents."""
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
        allow_headers=[
            "Accept-Datetime",
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
        ],
        expose_headers=[
            "ETag",
            "Link",
            "Location",
            "Memento-Datetime",
            "RateLimit",
            "RateLimit-Policy",
            "Retry-After",
            "X-Request-Id",
        ],
    )
