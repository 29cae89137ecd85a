"""Liveness, readiness and metrics."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import structlog
from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from registry import schemas
from registry.api.openapi import reading
from registry.append.recorder import Recorder
from registry.errors import ClockUnsafe, DatabaseUnavailable, HealthWarning, LogRewound
from registry.events.mirror_state import MirrorStatus
from registry.events.write_batch import Head
from registry.http.guards import IGNORES_QUERY, PUBLIC
from registry.http.metrics import ServiceGauges
from registry.http.probe import Probe
from registry.http.process_metrics import Metrics
from registry.http.responses import RawResponse, json_response
from registry.infra import migrations, postgres
from registry.projections.exchange_rates import rates_warning
from registry.queries.log import LogQueries
from registry.queries.preparation import Preparation
from registry.queries.streams import StreamReader
from registry.transparency.evidence import Evidence

log = structlog.get_logger(__name__)

# Seconds that Postgres has to answer before the service counts as not ready.
CHECK_TIMEOUT_SECONDS = 1.5

# What a ready service needs.
CHECKS = ("database", "migrations", "log", "clock", "recorder", "storage", "portfolio")
NOTHING_CHECKED = dict.fromkeys((*CHECKS, "signer"), False)

NOT_READY = {503: ResponseSpec(schemas.Readiness, description="A part does not work.", generate_examples=False)}


class HealthController(Controller):
    """What an operator or a load balancer reads."""

    tags = ("Service",)

    @reading("/health/live", scope=PUBLIC, opt={IGNORES_QUERY: True})
    async def get_live(self) -> RawResponse[schemas.Live]:
        """The process answers."""
        return RawResponse(b'{"status":"live"}')

    @reading("/health/ready", scope=PUBLIC, responses=NOT_READY, opt={IGNORES_QUERY: True})
    async def get_ready(
        self,
        pool: NamedDependency[Any],
        recorder: NamedDependency[Recorder],
        streams: NamedDependency[StreamReader],
        evidence: NamedDependency[Evidence],
        preparation: NamedDependency[Preparation],
        readiness: NamedDependency[Probe[dict[str, Any]]],
        mirror: NamedDependency[MirrorStatus | None],
    ) -> RawResponse[schemas.Readiness]:
        """Postgres answers and can write, its schema fits, the log is whole, the clock can be trusted, recording works.

        After a start, it answers 503 until the first questions about all deals take no longer than later ones
        (`portfolio`), but for 15 seconds at most.

        A log that no service signs is a warning: a service that cannot sign can do everything else. A mirror is ready
        when it has copied the log up to a checkpoint of its origin, and until a contradiction stops it: then it still
        answers, and an operator should look.
        """

        async def check() -> dict[str, Any]:
            checks: dict[str, Any] = {**NOTHING_CHECKED}
            try:
                checks["migrations"] = await migrations.head_matches(pool)
                checks["database"] = True
                if checks["migrations"]:
                    try:
                        await recorder.log_writer.continuity.check(pool)
                        checks["log"] = True
                    except LogRewound as error:
                        checks["reason"] = str(error)
                    of_clock = await recorder.log_writer.clock_guard.check(pool)
                    checks["clock"] = True
                    of_rates = rates_warning(await streams.latest_rates(), streams.calendar.today())
                    of_signer = await evidence.warning()
                    checks["signer"] = of_signer is None
                    found = (of_clock, of_rates, of_signer)
                    if warnings := [str(warning) for warning in found if warning is not None]:
                        checks["warnings"] = warnings
            except ClockUnsafe as error:
                checks["reason"] = str(error)
            except Exception as error:
                checks["reason"] = str(failed_check(error))
            return checks

        try:
            checks = await readiness.result(check, CHECK_TIMEOUT_SECONDS)
        except TimeoutError as error:
            checks = {**NOTHING_CHECKED, "reason": str(failed_check(error))}
        _add_recorder(checks, recorder)
        checks["portfolio"] = preparation.is_over
        if mirror is not None:
            checks["mirror"] = _mirror(mirror)
            if mirror.incident is not None:
                checks["reason"] = mirror.incident.detail
        ready = all(checks[name] for name in CHECKS) and (mirror is None or mirror.is_ready)
        headers = {"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "2"})
        body = msgspec.json.encode({"status": "ready" if ready else "not ready", **checks})
        return json_response(body, headers, 200 if ready else 503)

    @reading("/metrics", media_type="text/plain", response_description="Prometheus' text format.")
    async def get_metrics(
        self,
        metrics: NamedDependency[Metrics],
        recorder: NamedDependency[Recorder],
        log_queries: NamedDependency[LogQueries],
        log_head: NamedDependency[Probe[Head]],
        gauges: NamedDependency[ServiceGauges],
        parts: NamedDependency[Any],
    ) -> Response[str]:
        """The process's metrics, for Prometheus."""
        metrics.waiting.set(recorder.queue_length)
        # What Postgres does not answer in time keeps its last value.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await gauges.refresh(parts)
        try:
            metrics.position.set((await log_head.result(log_queries.head, CHECK_TIMEOUT_SECONDS)).position)
        except Exception:
            # The other metrics matter most while Postgres does not answer.
            metrics.position.set(float("nan"))
        return RawResponse(generate_latest(metrics.registry), 200, (), CONTENT_TYPE_LATEST.encode())


def _add_recorder(checks: dict[str, Any], recorder: Recorder) -> None:
    """Whether this process can record, apart from what a look at Postgres shows."""
    checks["recorder"] = recorder.is_running and not recorder.commit_health.is_late
    if recorder.commit_health.is_late:
        checks.setdefault("reason", str(HealthWarning("commit_late")))
    checks["storage"] = recorder.commit_health.storage_failure is None
    if not checks["storage"]:
        checks["reason"] = recorder.commit_health.storage_failure


def failed_check(error: Exception) -> HealthWarning:
    """What an operator reads about a failed check. Anyone may ask, so it has no text of Postgres, which names roles."""
    if isinstance(error, TimeoutError):
        return HealthWarning("database_silent", seconds=f"{CHECK_TIMEOUT_SECONDS:g}")
    if (state := postgres.sqlstate_of(error)) is not None:
        return HealthWarning("database_refuses", state=state)
    if postgres.is_connection_lost(error) or isinstance(error, FileNotFoundError):
        return HealthWarning("database_down")
    if isinstance(error, DatabaseUnavailable):
        return HealthWarning("database_standby")
    log.error("a check of readiness failed", exc_info=error)
    return HealthWarning("check_failed")


def _mirror(status: MirrorStatus) -> schemas.MirrorReadiness:
    return schemas.MirrorReadiness(
        origin=status.url,
        position=status.position,
        origin_size=status.origin_size,
        behind=status.behind,
        checked_at=status.checked_at,
        problem=status.problem,
        halted=status.incident.detail if status.incident is not None else None,
    )
