"""Whether the service lives, whether it can answer, and its figures."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Response, route
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from registry import schemas
from registry.api import parameters
from registry.api.deals import READ
from registry.api.operation import Operation
from registry.api.parameters import Request

# Seconds that the database has to answer, before the service counts as not ready.
CHECK_TIMEOUT_SECONDS = 2.0


@route("/health/live", http_method=READ)
async def get_live(request: Request) -> Response[bytes]:
    """The process answers."""
    return parameters.json_response(b'{"status":"live"}')


@route("/health/ready", http_method=READ)
async def get_ready(request: Request) -> Response[bytes]:
    """The database answers, its schema is this version's, and the recorder runs."""
    registry = request.app.state.registry
    checks: dict[str, Any] = {"database": False, "migrations": False, "recorder": registry.recorder.is_running}
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            checks["migrations"] = await registry.migrated()
            checks["database"] = True
    except Exception as error:
        checks["reason"] = type(error).__name__
    ready = all(checks[name] for name in ("database", "migrations", "recorder"))
    status = "ready" if ready else "not ready"
    headers = {"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "2"})
    return parameters.json_response(msgspec.json.encode({"status": status, **checks}), 200 if ready else 503, headers)


@route("/metrics", http_method=READ)
async def get_metrics(request: Request) -> Response[bytes]:
    """The process's figures, for Prometheus."""
    parameters.query(request, {})
    registry, metrics = request.app.state.registry, request.app.state.metrics
    metrics.waiting.set(registry.recorder.queue_length)
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            metrics.position.set((await registry.log.head()).position)
    except Exception:
        # The figures are wanted most when the database is away.
        metrics.position.set(float("nan"))
    return Response(generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


OPERATIONS = (
    Operation(handler=get_metrics, tag="Service", other={"text/plain": "Prometheus' text format."}, open=True),
    Operation(handler=get_live, tag="Service", answer=schemas.Live, open=True),
    Operation(handler=get_ready, tag="Service", answer=schemas.Readiness, statuses=(200, 503), open=True),
)
