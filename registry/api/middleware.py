"""Middleware: request ids, security headers, the access log, metrics, and compression.

The access log and the metrics have no keys, no bodies and no query strings.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import msgspec
from litestar.config.compression import CompressionConfig
from litestar.config.cors import CORSConfig
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.middleware.compression import CompressionMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from registry.events.codec import random_bytes

# At a level above INFO there is no access log.
access = logging.getLogger("registry.access")

# Seconds that an entry may wait for others: many are written at once, since a write costs as much as a small answer.
FLUSH_INTERVAL = 0.1

# The form of an X-Request-Id that a proxy may give.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}\Z")

# For data. Pages send a policy of their own.
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


# The times at which counters were created would be a third of the page.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one process.

    Litestar's Prometheus plugin has other names and labels than the published ones, one registry for all applications
    of a process, and no requests for unknown paths.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "registry_http_requests", "Responses sent.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "registry_http_request_seconds",
            "Seconds until the whole response was sent.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = 0
        in_flight = Gauge("registry_http_requests_in_flight", "Requests in progress.", registry=self.registry)
        in_flight.set_function(lambda: self.in_flight)
        self.waiting = Gauge("registry_recorder_waiting", "Requests in the write queue.", registry=self.registry)
        self.group = Histogram(
            "registry_recorder_group_events",
            "Events in one batch of this process.",
            buckets=EVENTS,
            registry=self.registry,
        )
        self.position = Gauge("registry_log_position", "The log's last position.", registry=self.registry)
        self._known: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        known = self._known.get((method, route, status))
        if known is None:
            known = self.requests.labels(method, route, status), self.seconds.labels(method, route)
            self._known[method, route, status] = known
        known[0].inc()
        known[1].observe(seconds)


class AccessLogEntry(Struct, frozen=True):
    """A request in the access log."""

    request_id: str
    method: str
    path: str
    status: int
    milliseconds: float
    timestamp: datetime
    event: str = "answered"
    level: str = "info"
    logger: str = access.name


class AccessLogWriter:
    """Writes the access log to standard error: JSON, or text on a terminal.

    The logging library takes ten times as long for an entry, and Litestar's LoggingMiddleware, which uses it, logs
    neither durations nor unknown paths.
    """

    def __init__(self) -> None:
        self._pending: list[AccessLogEntry] = []

    def add(self, entry: AccessLogEntry) -> None:
        """Add an entry; it is written within FLUSH_INTERVAL."""
        self._pending.append(entry)
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self.write)

    def write(self) -> None:
        """Write the pending entries."""
        entries, self._pending = self._pending, []
        if sys.stderr.isatty():
            sys.stderr.write("".join(map(_as_text, entries)))
        else:
            sys.stderr.write(_encode(entries).decode())
        sys.stderr.flush()


def _as_text(entry: AccessLogEntry) -> str:
    path = entry.path if entry.path.isprintable() else ascii(entry.path)
    return f"{entry.timestamp:%H:%M:%S} {entry.method} {path} {entry.status} {entry.milliseconds} ms\n"


_encode = msgspec.json.Encoder().encode_lines


class RequestMiddleware(ASGIMiddleware):
    """Give each request an id, security headers, a line in the access log, and a place in the metrics.

    It wraps the application's `asgi_handler`, as Litestar does with CORS: Litestar calls the middleware of its layers
    for requests with a route only, so unknown paths would be missing (test_middleware.py).
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, metrics: Metrics, writer: AccessLogWriter) -> None:
        self._metrics = metrics
        self._writer = writer

    async def handle(self, scope: Any, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Handle one request."""
        begin = perf_counter()
        metrics = self._metrics
        request_id = _request_id(scope)
        scope["state"]["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode()), *SECURITY_HEADERS]
                for name, _ in headers:
                    if name == POLICY[0]:
                        break
                else:
                    headers.append(POLICY)
                message["headers"] = headers
            await send(message)

        metrics.in_flight += 1
        try:
            await next_app(scope, receive, send_with_headers)
        finally:
            metrics.in_flight -= 1
            seconds = perf_counter() - begin
            # The route's template, not the path: a label for each deal, or for each unknown path, has no bound.
            route = scope.get("path_template") or "unknown"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.count_request(method, route, status, seconds)
            if access.isEnabledFor(logging.INFO):
                milliseconds = round(seconds * 1000, 2)
                path = scope["path"][:200]
                self._writer.add(AccessLogEntry(request_id, method, path, status, milliseconds, datetime.now(UTC)))


def _request_id(scope: Any) -> str:
    """Return the id that a proxy gave a request, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            return str(value.decode())
    return random_bytes(16).hex()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


# The name of the handler option that turns compression off.
UNCOMPRESSED = "uncompressed"

COMPRESSION = CompressionConfig(backend="gzip", gzip_compress_level=6, minimum_size=1024, exclude_opt_key=UNCOMPRESSED)


def compression(app: ASGIApp) -> ASGIApp:
    """Compress the API's answers on request. Streams opt out, and pages keep compressed copies of their own.

    Litestar's middleware parses all headers first; without Accept-Encoding it is left out, 3 of 30 µs for a read.
    """
    compressing = CompressionMiddleware(app, COMPRESSION)

    async def negotiate(scope: Scope, receive: Receive, send: Send) -> None:
        for name, _ in scope["headers"]:
            if name == b"accept-encoding":
                await compressing(scope, receive, send)
                return
        await app(scope, receive, send)

    return negotiate


def cors_config(origins: Sequence[str]) -> CORSConfig:
    """Let pages of other origins call the API with a key, and read the headers that it documents."""
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=[
            "Accept-Datetime",
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
        ],
        expose_headers=["ETag", "Link", "Location", "Memento-Datetime", "Retry-After", "X-Request-Id"],
    )
