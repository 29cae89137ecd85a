"""What operators see of each request: an id, a line in the log, figures. Never a key, a body, or a question's words.

It stands around the whole application, so that nothing is answered without it: no unknown path, no fault.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import msgspec
from litestar import Litestar
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from registry.events.codec import random_bytes

# Its level says whether lines are wanted.
access = logging.getLogger("registry.access")

# Seconds that a line may wait for others: one write for many lines, since a write costs as much as a small answer.
FLUSH_INTERVAL = 0.1

# Of what a proxy in front may send as X-Request-Id: no more than an id.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}\Z")

# Answers are data. Pages bring a policy of their own.
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
EVENTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


# When a figure began to be counted is nobody's question, and would be a third of the page.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one process. `/metrics` reads the gauges that stand still when it is asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "registry_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "registry_http_request_seconds",
            "Seconds until a request was answered whole.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = 0
        in_flight = Gauge("registry_http_requests_in_flight", "Requests being answered.", registry=self.registry)
        in_flight.set_function(lambda: self.in_flight)
        self.waiting = Gauge("registry_recorder_waiting", "Requests waiting to be recorded.", registry=self.registry)
        self.group = Histogram(
            "registry_recorder_group_events",
            "Events that one transaction of this process recorded.",
            buckets=EVENTS,
            registry=self.registry,
        )
        self.position = Gauge("registry_log_position", "The log's last position.", registry=self.registry)
        self._known: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one request."""
        known = self._known.get((method, route, status))
        if known is None:
            known = self.requests.labels(method, route, status), self.seconds.labels(method, route)
            self._known[method, route, status] = known
        known[0].inc()
        known[1].observe(seconds)


class AccessLogEntry(Struct, frozen=True):
    """What the log says of a request."""

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
    """Writes lines to standard error: JSON, or text on a terminal. The logging library would take ten times as long."""

    def __init__(self) -> None:
        self._waiting: list[AccessLogEntry] = []

    def add(self, line: AccessLogEntry) -> None:
        """Takes a line; it is written within moments."""
        self._waiting.append(line)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(FLUSH_INTERVAL, self.write)

    def write(self) -> None:
        """Writes what waits."""
        lines, self._waiting = self._waiting, []
        if sys.stderr.isatty():
            sys.stderr.write("".join(map(_as_text, lines)))
        else:
            sys.stderr.write(_encode(lines).decode())
        sys.stderr.flush()


def _as_text(line: AccessLogEntry) -> str:
    path = line.path if line.path.isprintable() else ascii(line.path)
    return f"{line.timestamp:%H:%M:%S} {line.method} {path} {line.status} {line.milliseconds} ms\n"


_encode = msgspec.json.Encoder().encode_lines


class RequestMiddleware(Litestar):
    """The application, with each request observed."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        begun = perf_counter()
        metrics: Metrics = self.state.metrics
        id = _id_of(scope)
        scope.setdefault("state", {})["request_id"] = id
        status = 0

        async def observed(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", id.encode()), *ALWAYS]
                for name, _ in headers:
                    if name == POLICY[0]:
                        break
                else:
                    headers.append(POLICY)
                message["headers"] = headers
            await send(message)

        metrics.in_flight += 1
        try:
            await super().__call__(scope, receive, observed)
        finally:
            metrics.in_flight -= 1
            seconds = perf_counter() - begun
            # The route's template, not the path: there are as many paths as deals, and as many unknown ones as askers.
            route = scope.get("path_template") or "unknown"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.count_request(method, route, status, seconds)
            if access.isEnabledFor(logging.INFO):
                told = AccessLogEntry(
                    id, method, scope["path"][:200], status, round(seconds * 1000, 2), datetime.now(UTC)
                )
                self.state.lines.add(told)


def _id_of(scope: Any) -> str:
    """A request's id: what a proxy in front gave it, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.match(value):
            return str(value.decode())
    return random_bytes(16).hex()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
