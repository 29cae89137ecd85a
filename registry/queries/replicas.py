"""Which server a request reads from: one replica, or the primary while no replica keeps up.

The service checks each replica every second. A replica that does not answer, or has lagged for longer than `max_lag`,
gets no requests until it has caught up. A request reads from one server only, so that its answer is of one log.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar

import structlog

from registry.events import write_batch
from registry.events.continuity import ContinuityGuard
from registry.infra import postgres, tasks
from registry.infra.postgres import Pool

log = structlog.get_logger(__name__)

# Seconds between two checks of the replicas, and the seconds within which a replica must answer one.
PROBE_SECONDS = 1.0
PROBE_TIMEOUT_SECONDS = 2.0

DEFAULT_MAX_LAG_SECONDS = 10.0


class Replica:
    """A read replica and what the last check of it showed.

    Attributes:
        is_usable: Whether it answers and keeps up.
        position: The last position that it has replayed.
        lag_seconds: How long it has lacked an event that this service knows to be in the log; None if it is down.
    """

    def __init__(self, number: int, pool: Pool) -> None:
        self.number = number
        self.pool = pool
        self.is_usable = True
        self.position = 0
        self.lag_seconds: float | None = 0.0


class ReadServers:
    """The primary and its replicas. As an async context manager it watches the replicas.

    Args:
        primary: The pool of the database that the recorder writes to.
        replicas: One pool for each replica; each leads to one server.
        continuity: Knows how far the log goes.
        max_lag: Seconds that a replica may lag and still be read from.
    """

    def __init__(
        self,
        primary: Pool,
        replicas: Sequence[Pool] = (),
        continuity: ContinuityGuard | None = None,
        max_lag: float = DEFAULT_MAX_LAG_SECONDS,
    ) -> None:
        self.primary = primary
        self.replicas = [Replica(number, pool) for number, pool in enumerate(replicas, 1)]
        self._continuity = continuity or ContinuityGuard()
        self._max_lag = max_lag
        # When the log had which last position: what a replica lacks is as old as the first entry beyond the replica's.
        self._ends: deque[tuple[float, int]] = deque(maxlen=600)
        self._chosen: ContextVar[Pool | None] = ContextVar("read_server", default=None)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ReadServers:
        if self.replicas:
            await self._probe_all()
            self._task = asyncio.create_task(self._watch(), name="replicas")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await tasks.end(self._task)

    def current(self) -> Pool:
        """The server of this request: chosen at its first read among the usable replicas, and kept to its end."""
        if not self.replicas:
            return self.primary
        pool = self._chosen.get()
        if pool is None:
            usable = [replica.pool for replica in self.replicas if replica.is_usable]
            pool = random.choice(usable) if usable else self.primary  # noqa: S311 - not a secret
            self._chosen.set(pool)
        return pool

    def use_primary(self) -> Pool:
        """Let the rest of this request read from the primary."""
        self._chosen.set(self.primary)
        return self.primary

    def is_replica(self, pool: Pool) -> bool:
        """Whether a pool is a replica's."""
        return pool is not self.primary

    def lost(self, pool: Pool) -> None:
        """Send no more requests to a replica that has just failed, until it answers again."""
        for replica in self.replicas:
            if replica.pool is pool:
                _mark(replica, None, usable=False)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            await self._probe_all()

    async def _probe_all(self) -> None:
        self._ends.append((time.monotonic(), self._continuity.mark.position))
        await asyncio.gather(*map(self._probe, self.replicas))

    async def _probe(self, replica: Replica) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                replica.position = (await write_batch.head(replica.pool)).position
        except (*postgres.ERRORS, TimeoutError):
            _mark(replica, None, usable=False)
            return
        lag = self._lag_of(replica.position)
        _mark(replica, lag, usable=lag <= self._max_lag)

    def _lag_of(self, position: int) -> float:
        """Seconds since the log had an event after `position`, as far as this service knows; 0 if it has none."""
        first = next((at for at, end in self._ends if end > position), None)
        return 0.0 if first is None else time.monotonic() - first


def _mark(replica: Replica, lag: float | None, *, usable: bool) -> None:
    if usable != replica.is_usable:
        lag_seconds = None if lag is None else round(lag, 1)
        event = "replica is used again" if usable else "replica is not used"
        log.warning(event, replica=replica.number, lag_seconds=lag_seconds)
    replica.is_usable, replica.lag_seconds = usable, lag
