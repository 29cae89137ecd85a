"""Registers the key of `REGISTRY_ADMIN_KEY` when the service starts, or as soon as the log accepts events.

A service starts on a standby, on a log that ends too early and while Postgres is frozen: it serves what it can, and an
operator or a failover makes its log writable later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from registry.append.principals import ADMIN, register_admin
from registry.append.recorder import Recorder
from registry.errors import ClockUnsafe, DatabaseUnavailable, LogRewound
from registry.infra import postgres, tasks
from registry.infra.postgres import Pool
from registry.queries.principals import Principals

# Seconds between two attempts.
RETRY_SECONDS = 2.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def registered_admin_key(
    secret: str, recorder: Recorder, pool: Pool, principals: Principals
) -> AsyncIterator[None]:
    """Register the key; while nothing can be recorded, keep trying in the background."""
    if await _is_registered(secret, recorder, pool, principals):
        yield
        return
    task = asyncio.create_task(_retry(secret, recorder, pool, principals), name="admin key")
    try:
        yield
    finally:
        await tasks.end(task)


async def _retry(secret: str, recorder: Recorder, pool: Pool, principals: Principals) -> None:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        if await _is_registered(secret, recorder, pool, principals):
            log.info("the admin key is registered")
            return


async def _is_registered(secret: str, recorder: Recorder, pool: Pool, principals: Principals) -> bool:
    try:
        admin = await principals.stream(ADMIN)
        await register_admin(recorder, pool, admin.state if admin is not None else None, secret)
    except (ClockUnsafe, DatabaseUnavailable, LogRewound, TimeoutError, *postgres.ERRORS) as error:
        if isinstance(error, postgres.ERRORS) and not postgres.is_connection_lost(error):
            raise
        # Readiness says why nothing can be recorded.
        log.warning("the admin key is not registered yet", error=str(error) or type(error).__name__)
        return False
    return True
