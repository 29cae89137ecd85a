"""Benchmarks of a large log: import, totals, lists, rebuild, and costs that must not grow with the log."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import httpx

from bench import import_load, service, workload
from bench.comparisons import (
    LOG_TABLES,
    PROJECTION_TABLES,
    baseline_tables,
    copy_seconds,
    eventsourcing_appends,
)
from bench.context import Bench, fetch_value, midpoint
from bench.import_load import ImportResult
from bench.load_generator import RequestPlan
from bench.prepared import prepared_log, vacuum
from bench.report import Measurement
from bench.service import BenchDatabase
from registry.events import store
from registry.infra import postgres
from registry.projections.rebuild import rebuild

BASELINE_AMOUNTS = """
CREATE TABLE amounts AS
SELECT n AS deal,
       ARRAY['USD', 'KRW', 'EUR', 'JPY']::text[] AS names, (ARRAY['USD', 'KRW', 'EUR', 'JPY'])[n % 4 + 1] AS currency,
       (n % 900 * 10000000::bigint)::numeric AS value, n % 10 AS known_from, n % 10 + 1 AS known_to,
       date '2020-01-01' + n % 2000 AS effective_from, date '2020-01-01' + n % 2000 + 200 AS effective_to
  FROM generate_series(1, $1::int) AS n
"""
BASELINE_TOTALS = """
SELECT currency, sum(value), count(*)
  FROM amounts
 WHERE known_from <= 5 AND known_to > 0 AND effective_from <= date '2030-01-01' AND effective_to > date '2020-01-01'
 GROUP BY currency
"""


# The part of the large log that is imported in a repetition.
IMPORTED_PART = 10


async def importing(bench: Bench) -> list[Measurement]:
    """Import into the large log, and of a file with the command, beside COPY of as many rows and the peer."""
    log = await prepared_log(bench, bench.sizes.large)
    async with (
        service.database(bench.server, template=log.database) as grown,
        service.database(bench.server, migrated=False) as baseline,
    ):
        return await _importing(bench, log.database, grown, baseline)


async def disk(bench: Bench) -> list[Measurement]:
    """Bytes per event of the large log and of its projections, with their indexes."""
    log = await prepared_log(bench, bench.sizes.large)
    await vacuum(log.database)
    events = await fetch_value(log.database.owner_url, "SELECT count(*) FROM events")
    rows = []
    for part, tables, most in (("the log", LOG_TABLES, 1_220), ("the projections", PROJECTION_TABLES, 2_160)):
        sizes = {
            table: await fetch_value(log.database.owner_url, f"SELECT pg_total_relation_size('{table}')") / events
            for table in tables
        }
        largest = sorted(sizes.items(), key=lambda one: -one[1])
        rows.append(
            Measurement(
                measure=f"disk: {part}, after {events:,} events",
                ratios=[sum(sizes.values())],
                must=most,
                aim=None,
                more=False,
                unit=" bytes an event",
                figures=", ".join(f"{table} {size:.0f}" for table, size in largest if size >= 0.5),
            )
        )
    return rows


async def large(bench: Bench) -> list[Measurement]:
    """Totals, lists and single requests with a log of a million events."""
    small = await prepared_log(bench, bench.sizes.small)
    big = await prepared_log(bench, bench.sizes.large)
    async with service.database(bench.server, migrated=False) as baseline:
        rows = await _portfolio(bench, big.database, baseline)
    return [*rows, *await _compare_costs(bench, small.database, big.database)]


async def rebuilding(bench: Bench) -> list[Measurement]:
    """Rebuild of the large log's projections."""
    return await _rebuilding(bench, (await prepared_log(bench, bench.sizes.large)).database)


async def huge(bench: Bench) -> list[Measurement]:
    """Single requests and an import with a log of five million events."""
    if not bench.sizes.huge:
        return []
    small = await prepared_log(bench, bench.sizes.small)
    big = await prepared_log(bench, bench.sizes.huge)
    return await _largest(bench, small.database, big.database)


async def _importing(
    bench: Bench, log: BenchDatabase, grown: BenchDatabase, baseline: BenchDatabase
) -> list[Measurement]:
    part = max(1, bench.sizes.large // IMPORTED_PART)
    await baseline_tables(baseline.owner_url, (*LOG_TABLES, *PROJECTION_TABLES))
    ours: list[ImportResult] = []
    commanded, of_log, everything, batches = [], [], [], []
    for repetition in range(bench.sizes.repetitions):
        first = bench.sizes.large + 2 * repetition * part
        ours.append(await import_load.histories(grown, part, first))
        bench.log_progress(f"{ours[-1].rate:,.0f} events/s imported, {ours[-1].peak:.0f} MB")
        commanded.append(await import_load.import_with_command(grown, max(1, part * 3 // 10), first + part))
        log_seconds = await copy_seconds(log.owner_url, baseline.owner_url, LOG_TABLES, 1 / IMPORTED_PART)
        other_seconds = await copy_seconds(log.owner_url, baseline.owner_url, PROJECTION_TABLES, 1 / IMPORTED_PART)
        of_log.append(part * workload.ROUNDS / log_seconds)
        everything.append(part * workload.ROUNDS / (log_seconds + other_seconds))
        batches.append(
            await asyncio.to_thread(eventsourcing_appends, baseline.owner_url, 1, bench.sizes.seconds, batch=500)
        )
    rates = [result.rate for result in ours]
    rate = midpoint(rates)
    return [
        Measurement(
            measure="import (NDJSON over HTTP) ÷ COPY of the same rows (log and projections)",
            ratios=[o / c for o, c in zip(rates, everything, strict=True)],
            must=0.3,
            aim=0.5,
            figures=f"{rate} events/s ÷ {midpoint(everything)} events/s",
        ),
        Measurement(
            measure="import (`registry import` of a file) ÷ the same",
            ratios=[o / c for o, c in zip(commanded, everything, strict=True)],
            must=0.4,
            aim=0.65,
            figures=f"{midpoint(commanded)} events/s ÷ {midpoint(everything)} events/s",
        ),
        Measurement(
            measure="import (NDJSON over HTTP) ÷ COPY of the log's rows only",
            ratios=[o / c for o, c in zip(rates, of_log, strict=True)],
            must=None,
            aim=None,
            figures=f"{rate} events/s ÷ {midpoint(of_log)} events/s",
        ),
        Measurement(
            measure="import (NDJSON over HTTP) ÷ appends of eventsourcing in batches of 500",
            ratios=[o / b for o, b in zip(rates, batches, strict=True)],
            must=1.5,
            aim=2.5,
            figures=f"{rate} events/s ÷ {midpoint(batches)} events/s",
        ),
        Measurement(
            measure=f"peak memory while importing {part * workload.ROUNDS:,} events into a million",
            ratios=[o.peak for o in ours],
            must=300,
            aim=None,
            more=False,
            unit=" MB",
            figures=f"{midpoint([o.before for o in ours])} MB before the first",
        ),
    ]


async def _portfolio(bench: Bench, big: BenchDatabase, baseline: BenchDatabase) -> list[Measurement]:
    scanned = await fetch_value(big.owner_url, "SELECT count(*) FROM pledge_facts WHERE recorded_from < recorded_to")
    connection = await asyncpg.connect(baseline.owner_url)
    try:
        await connection.execute(BASELINE_AMOUNTS.replace("$1", str(scanned)))
        await connection.execute("VACUUM ANALYZE amounts")
    finally:
        await connection.close()
    position = bench.sizes.large * workload.ROUNDS * 4 // 5
    ours, aggregate, pages = [], [], []
    async with service.registry(big) as registry, httpx.AsyncClient(base_url=registry.url, timeout=600) as client:
        as_of = f"position={position}&effective_on=2023-06-01"
        await service.answered(client, "/v1/search?q=deal")
        for _ in range(bench.sizes.repetitions + 1):
            aggregate.append(await _timed(baseline.owner_url, BASELINE_TOTALS))
            start = time.perf_counter()
            answer = await client.get(f"/v1/totals?{as_of}")
            answer.raise_for_status()
            ours.append((time.perf_counter() - start) * 1000)
            bench.log_progress(f"totals {ours[-1]:.0f} ms, plain aggregate {aggregate[-1]:.0f} ms")
            pages += [await _page(client, f"{as_of}&{filters}") for filters in PAGES]
    slowest = [max(pages[at : at + len(PAGES)]) for at in range(0, len(pages), len(PAGES))]
    return [
        Measurement(
            measure=f"totals in the past, {bench.sizes.large:,} deals ÷ a plain aggregate over as many rows",
            ratios=[a / b for a, b in zip(ours[1:], aggregate[1:], strict=True)],
            must=3,
            aim=1.5,
            more=False,
            figures=f"{midpoint(ours[1:])} ms ÷ {midpoint(aggregate[1:])} ms for {scanned:,} versions of pledges",
        ),
        Measurement(
            measure="a filtered page of deals in the past, slowest of four",
            ratios=slowest[1:],
            must=20,
            aim=None,
            more=False,
            unit=" ms",
            figures="a filter that matches many deals, one that matches few, three that match few together, a search",
        ),
    ]


PAGES = (
    "sector=energy",
    "organization=organization-123",
    "region=KR-31&stage=construction&sector=batteries",
    "q=number 777",
)


async def _page(client: httpx.AsyncClient, query: str) -> float:
    """Milliseconds until a page of deals is there."""
    start = time.perf_counter()
    (await client.get(f"/v1/deals?{query}")).raise_for_status()
    return (time.perf_counter() - start) * 1000


async def _timed(url: str, query: str) -> float:
    connection = await asyncpg.connect(url)
    try:
        start = time.perf_counter()
        await connection.fetch(query)
        return (time.perf_counter() - start) * 1000
    finally:
        await connection.close()


async def _rebuilding(bench: Bench, big: BenchDatabase) -> list[Measurement]:
    """Rebuild of all projections, and reading the same events as the feed reads them."""
    events = await fetch_value(big.owner_url, "SELECT count(*) FROM events")
    read, rebuilt = [], []
    # A rebuild of a million events takes as long as their import, so it runs once.
    for _ in range(1 if events >= 1_000_000 else bench.sizes.repetitions):
        start = time.perf_counter()
        async with await postgres.pool(big.app_url, name="bench") as pool:
            after = 0
            while page := await store.feed(pool, after, 1000):
                after = page[-1].recorded.position
        read.append(events / (time.perf_counter() - start))
        start = time.perf_counter()
        await rebuild(big.owner_url)
        rebuilt.append(events / (time.perf_counter() - start))
        bench.log_progress(f"{rebuilt[-1]:,.0f} events/s rebuilt, {read[-1]:,.0f} events/s read")
    return [
        Measurement(
            measure="rebuild of all projections ÷ reading the log (decoded, in pages of 1,000)",
            ratios=[a / b for a, b in zip(rebuilt, read, strict=True)],
            must=0.15,
            aim=0.3,
            figures=f"{midpoint(rebuilt)} events/s ÷ {midpoint(read)} events/s",
        )
    ]


async def _compare_costs(bench: Bench, small: BenchDatabase, big: BenchDatabase) -> list[Measurement]:
    """Costs of single requests in a long log relative to a short one."""
    costs = await _costs_ofboth(bench, (small, bench.sizes.small), (big, bench.sizes.large))
    return _cost_ratios(costs, bench.sizes.large, bench.sizes.small, must=1.3, aim=1.1)


async def _largest(bench: Bench, small: BenchDatabase, big: BenchDatabase) -> list[Measurement]:
    """The same in a log five times as long, and an import into it."""
    costs = await _costs_ofboth(bench, (small, bench.sizes.small), (big, bench.sizes.huge))
    deals = max(1, bench.sizes.large // IMPORTED_PART)
    # The log is kept, and earlier runs have imported into it.
    events = await fetch_value(big.owner_url, "SELECT count(*) FROM events")
    imported = await import_load.histories(big, deals, events // workload.ROUNDS + 1)
    return [
        Measurement(
            measure=f"import of {deals * workload.ROUNDS:,} events into {bench.sizes.huge * workload.ROUNDS:,}",
            ratios=[imported.rate],
            must=None,
            aim=None,
            unit=" events/s",
            figures=f"{imported.before:.0f} MB before, {imported.peak:.0f} MB at most",
        ),
        *_cost_ratios(costs, bench.sizes.huge, bench.sizes.small, must=None, aim=None),
    ]


Costs = dict[str, tuple[list[float], list[float]]]


async def _costs_ofboth(bench: Bench, short: tuple[BenchDatabase, int], long: tuple[BenchDatabase, int]) -> Costs:
    costs: Costs = {}
    for _ in range(bench.sizes.repetitions):
        for at, (database, deals) in enumerate((short, long)):
            for name, cost in (await _costs(bench, database, deals)).items():
                costs.setdefault(name, ([], []))[at].append(cost)
    return costs


def _cost_ratios(costs: Costs, deals: int, few: int, must: float | None, aim: float | None) -> list[Measurement]:
    return [
        Measurement(
            measure=f"{name}: cost at {deals * workload.ROUNDS:,} events ÷ at {few * workload.ROUNDS:,}",
            ratios=[b / a for a, b in zip(*pair, strict=True)],
            must=must,
            aim=aim,
            more=False,
            figures=f"{midpoint(pair[1])} ms ÷ {midpoint(pair[0])} ms",
        )
        for name, pair in costs.items()
    ]


_runs = 0


async def _costs(bench: Bench, database: BenchDatabase, deals: int) -> dict[str, float]:
    """Milliseconds for one client: an append, a GET, a page of the feed, a proof."""
    global _runs
    _runs += 1
    key = await service.key(database)
    step = max(1, deals // 1000)
    paths = [f"/v1/deals/{workload.slug(deal)}" for deal in range(0, deals, step)]
    log = deals * workload.ROUNDS
    costs: dict[str, float] = {}
    async with service.registry(database) as registry:
        posts = bench.posts(key, 3_000, 2_000_000 + _runs * 100_000)
        costs["append"] = (await bench.load(registry, posts, 1)).p50
        costs["GET"] = (await bench.load(registry, RequestPlan(workload.http("GET", path) for path in paths), 1)).p50
        pages = [workload.http("GET", f"/v1/events?after={at}&limit=100") for at in range(0, log, max(1, log // 997))]
        costs["feed page"] = (await bench.load(registry, RequestPlan(pages), 1)).p50
        proof = f"/v1/log/proof/inclusion?position={{}}&size={log}"
        async with httpx.AsyncClient(base_url=registry.url, timeout=600) as client:
            served = (await client.get(proof.format(1))).status_code == 200
        if served:
            proofs = [workload.http("GET", proof.format(at)) for at in range(1, log, max(1, log // 997))]
            costs["proof"] = (await bench.load(registry, RequestPlan(proofs), 1)).p50
    return costs
