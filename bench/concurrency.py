"""Benchmarks of many clients at once: feed listeners, two services on one database, overload."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from bench import import_load, load_generator, service, workload
from bench.context import CONNECTIONS, Bench, fetch_value, midpoint
from bench.load_generator import RequestPlan
from bench.report import Measurement
from bench.service import Process


@asynccontextmanager
async def _listening(process: Process, count: int) -> AsyncIterator[None]:
    """Feed listeners whose filter matches no event."""
    parts = urlsplit(process.url)
    request = workload.http("GET", "/v1/events/stream?deal=unknown", Accept="text/event-stream")
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request)
            writers.append(writer)
            if b" 200 " not in await reader.readline():
                raise RuntimeError("the feed refused a listener")
        yield
    finally:
        for writer in writers:
            writer.close()


async def listeners(bench: Bench) -> list[Measurement]:
    """Appends with and without many idle listeners of the feed."""
    without, listened = [], []
    async with service.database(bench.server) as database, service.registry(database) as registry:
        key = await service.key(database)
        await bench.load(registry, bench.posts(key, 12_000, 9_000_000))
        for repetition in range(bench.sizes.repetitions):
            without.append(await bench.load(registry, bench.posts(key, 12_000, repetition * 1_000_000)))
            async with _listening(registry, bench.sizes.listeners):
                posts = bench.posts(key, 12_000, repetition * 1_000_000 + 500_000)
                listened.append(await bench.load(registry, posts))
    return [
        Measurement(
            measure=f"{bench.sizes.listeners:,} idle feed listeners: append throughput with ÷ without",
            ratios=[a.rate / b.rate for a, b in zip(listened, without, strict=True)],
            must=0.8,
            aim=0.95,
            figures=f"{midpoint([a.rate for a in listened])}/s ÷ {midpoint([b.rate for b in without])}/s",
        )
    ]


async def processes(bench: Bench) -> list[Measurement]:
    """Two services on one database: their throughput together, and the order of what both record."""
    alone, together, written = [], [], []
    deals = bench.sizes.small
    async with service.database(bench.server) as database:
        await import_load.histories(database, deals)
        states = RequestPlan(workload.http("GET", f"/v1/deals/{workload.slug(deal)}") for deal in range(deals))
        async with service.registry(database) as one, service.registry(database) as two:
            key = await service.key(database)
            for repetition in range(bench.sizes.repetitions + 1):
                alone.append((await bench.load(one, states)).rate)
                loads = await asyncio.gather(*(bench.load(p, states, CONNECTIONS // 2) for p in (one, two)))
                together.append(sum(load.rate for load in loads))
                firsts = (1_000_000 * (2 * repetition + 1), 1_000_000 * (2 * repetition + 2))
                posts = [bench.posts(key, 12_000, first) for first in firsts]
                loads = await asyncio.gather(
                    *(bench.load(p, plan, CONNECTIONS // 2) for p, plan in zip((one, two), posts, strict=True))
                )
                written.append(sum(load.rate for load in loads))
        if disorder := await fetch_value(database.owner_url, DISORDER):
            raise RuntimeError(f"{disorder} events are out of order")
    return [
        Measurement(
            measure="two services on one database and two processors: GETs by both ÷ by one",
            ratios=[a / b for a, b in zip(together[1:], alone[1:], strict=True)],
            must=None,
            aim=None,
            figures=f"{midpoint(together[1:])}/s ÷ {midpoint(alone[1:])}/s; POSTs by both "
            f"{midpoint(written[1:])}/s, all in order",
        )
    ]


# Gaps in positions, decreasing times, and streams whose versions are not in log order.
DISORDER = """
SELECT count(*)
  FROM (
      SELECT position, lag(position, 1, 0::bigint) OVER log AS before,
             recorded_at, lag(recorded_at) OVER log AS earlier,
             version, row_number() OVER (PARTITION BY stream ORDER BY position) AS number
        FROM events
      WINDOW log AS (ORDER BY position)
  ) AS e
 WHERE position <> before + 1 OR recorded_at < earlier OR version <> number
"""


async def flood(bench: Bench) -> list[Measurement]:
    """Far more clients than the service can serve: it refuses excess requests at once, and memory stays bounded."""
    async with service.database(bench.server) as database, service.registry(database) as registry:
        key = await service.key(database)
        await bench.load(registry, bench.posts(key, 12_000, 9_000_000))
        before = registry.megabytes
        posts = bench.posts(key, 40_000, 0)
        running = asyncio.create_task(
            load_generator.run(registry.url, posts, bench.sizes.flood, 2 * bench.sizes.seconds, own=bench.own_load)
        )
        peak = before
        while not running.done():
            peak = max(peak, registry.megabytes)
            await asyncio.sleep(0.05)
        load = await running
        bench.log_progress(
            f"{load.rate:,.0f}/s answered, {load.errors} refused, {before:.0f} MB before, {peak:.0f} MB peak"
        )
        # Wait until the accepted requests are recorded.
        async with httpx.AsyncClient(base_url=registry.url, timeout=120) as client:
            announcement = workload.announcement(1, 0)
            headers = {"Authorization": f"Bearer {key}"}
            (await client.post("/v1/deals/after/events", json=announcement, headers=headers)).raise_for_status()
        after = await bench.load(registry, bench.posts(key, 12_000, 5_000_000))
    return [
        Measurement(
            measure=f"a flood of {bench.sizes.flood:,} clients: peak memory",
            ratios=[peak],
            must=None,
            aim=None,
            unit=" MB",
            figures=f"{before:.0f} MB before; {load.rate:,.0f} answers/s, {load.errors:,} of them refusals; "
            f"{after.rate:,.0f}/s afterwards",
        )
    ]
