"""What a scrape of `/metrics` reads of the service's parts: pools, replicas, signer, clock, rates, feed and webhooks.

The counters and histograms of requests are in `process_metrics.py`. Every metric, and the alert on it, is in
docs/operating.md ("Observe").
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge

from registry.append.recorder import Recorder
from registry.delivery.feed import Feed
from registry.delivery.webhooks import Webhooks
from registry.events.mirror_state import MirrorStatus
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy
from registry.queries.streams import StreamReader
from registry.transparency.evidence import Evidence

# Seconds that the parts that ask Postgres may take, each; without an answer a metric is NaN.
SCRAPE_TIMEOUT_SECONDS = 1.5


class Parts(Struct, frozen=True):
    """The parts of a service that are measured."""

    recorder: Recorder
    streams: StreamReader
    evidence: Evidence
    feed: Feed
    webhooks: Webhooks
    copy: ColumnarCopy
    pools: Mapping[str, Pool]
    mirror: MirrorStatus | None


class ServiceGauges:
    """Gauges that are set at each scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"registry_{name}", text, labels, registry=registry)

        self._rewound = gauge("log_rewound", "1 while the log lacks acknowledged or signed events.")
        self._failed_looks = gauge("database_failed_looks", "Looks at the log's head that failed since the start.")
        self._unsigned = gauge("checkpoint_unsigned_seconds", "Seconds for which an event has had no checkpoint.")
        self._size = gauge("checkpoint_position", "The position that the newest checkpoint covers.")
        self._signer = gauge("signer_up", "1 while checkpoints are signed in time.")
        self._skew = gauge("clock_skew_seconds", "The service's clock minus the database's.")
        self._rate_age = gauge("rates_age_days", "Days since the newest exchange rate.")
        self._listeners = gauge("feed_listeners", "Connected listeners of the event stream.")
        self._deliveries = gauge("webhook_deliveries", "Attempts to deliver a webhook since the start.", "outcome")
        self._replica_lag = gauge(
            "replica_lag_seconds", "Seconds that a replica lags; NaN while it is down.", "replica"
        )
        self._replica_up = gauge("replica_up", "1 while a replica is read from.", "replica")
        self._waits = gauge("pool_waits", "Times that all connections of a pool were in use, since the start.", "pool")
        self._copy = gauge("copy_position", "The position up to which the columnar copy has followed the log.")
        self._mirror_behind = gauge("mirror_behind_events", "Events of the origin that this mirror lacks; else 0.")
        self._mirror_halted = gauge("mirror_halted", "1 while a contradiction of its origin has stopped this mirror.")
        self._mirror_checked = gauge("mirror_checked_seconds", "Unix time at which the origin was last verified.")
        self._connections = gauge("pool_connections", "Connections of a pool.", "pool", "state")

    async def refresh(self, parts: Parts) -> None:
        """Read every part once."""
        continuity = parts.recorder.log_writer.continuity
        self._rewound.set(continuity.problem is not None)
        self._failed_looks.set(continuity.failed_looks)
        self._listeners.set(parts.feed.listening)
        if parts.mirror is not None:
            self._mirror_behind.set(math.nan if parts.mirror.behind is None else parts.mirror.behind)
            self._mirror_halted.set(parts.mirror.incident is not None)
            if parts.mirror.checked_at is not None:
                self._mirror_checked.set(parts.mirror.checked_at.timestamp())
        for outcome, count in parts.webhooks.outcomes.items():
            self._deliveries.labels(outcome).set(count)
        for replica in parts.streams.servers.replicas:
            lag = math.nan if replica.lag_seconds is None else replica.lag_seconds
            self._replica_lag.labels(str(replica.number)).set(lag)
            self._replica_up.labels(str(replica.number)).set(replica.is_usable)
        self._copy.set(parts.copy.position)
        for name, pool in parts.pools.items():
            self._waits.labels(name).set(pool.waits)
            self._connections.labels(name, "used").set(pool.get_size() - pool.get_idle_size())
            self._connections.labels(name, "idle").set(pool.get_idle_size())
            self._connections.labels(name, "limit").set(pool.get_max_size())
        await asyncio.gather(self._read_signer(parts), self._read_clock(parts), self._read_rates(parts))

    async def _read_signer(self, parts: Parts) -> None:
        try:
            async with asyncio.timeout(SCRAPE_TIMEOUT_SECONDS):
                unsigned = await parts.evidence.unsigned()
                self._unsigned.set(unsigned.seconds)
                self._size.set(unsigned.size)
                self._signer.set(await parts.evidence.warning() is None)
        except Exception:
            for metric in (self._unsigned, self._size, self._signer):
                metric.set(math.nan)

    async def _read_clock(self, parts: Parts) -> None:
        try:
            async with asyncio.timeout(SCRAPE_TIMEOUT_SECONDS):
                now: datetime = await parts.pools["reads"].fetchval("SELECT clock_timestamp()")
                self._skew.set((datetime.now(UTC) - now).total_seconds())
        except Exception:
            self._skew.set(math.nan)

    async def _read_rates(self, parts: Parts) -> None:
        try:
            async with asyncio.timeout(SCRAPE_TIMEOUT_SECONDS):
                newest = (await parts.streams.latest_rates()).newest(parts.streams.calendar.today())
                self._rate_age.set(math.nan if newest is None else newest.age_days)
        except Exception:
            self._rate_age.set(math.nan)
