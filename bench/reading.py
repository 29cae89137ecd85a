"""Benchmarks of reading: states of a deal as JSON, and pages beside the same answers."""

from __future__ import annotations

import asyncpg
import httpx

from bench import import_load, service, workload
from bench import page_cost as page_costs
from bench.context import Bench, both, midpoint
from bench.load_generator import RequestPlan
from bench.report import Measurement


async def reading(bench: Bench) -> list[Measurement]:
    """GET of a deal: now, in the past, and unchanged since the last GET."""
    now, past, unchanged, baseline_get, baseline_select = ([] for _ in range(5))
    deals = bench.sizes.small
    async with both(bench) as (database, registry, baseline_database, baseline):
        await import_load.histories(database, deals)
        async with httpx.AsyncClient(base_url=registry.url) as client:
            body = (await client.get(f"/v1/deals/{workload.slug(1)}")).content
        await _fill_baseline(baseline_database.app_url, body, deals)
        paths = [f"/v1/deals/{workload.slug(deal)}" for deal in range(deals)]
        empty = RequestPlan([workload.http("GET", "/baseline")])
        select = RequestPlan(workload.http("GET", f"/baseline/{number}") for number in range(1, deals + 1))
        states = RequestPlan(workload.http("GET", path) for path in paths)
        # Each request is different, so that no cached answer is sent.
        end = deals * workload.ROUNDS
        pasts = RequestPlan(
            workload.http("GET", f"{path}?position={end}&effective_on=202{year}-{month:02}-15")
            for year in range(4, 10)
            for month in range(1, 13)
            for path in paths
        )
        known = RequestPlan(workload.http("GET", path, If_None_Match=f'"{workload.ROUNDS}"') for path in paths)
        for _ in range(bench.sizes.repetitions):
            baseline_get.append(await bench.load(baseline, empty))
            baseline_select.append(await bench.load(baseline, select))
            now.append(await bench.load(registry, states))
            past.append(await bench.load(registry, pasts))
            unchanged.append(await bench.load(registry, known))
    select_rate = midpoint([b.rate for b in baseline_select])
    return [
        Measurement(
            measure="GET of a deal ÷ baseline GET with one SELECT by key",
            ratios=[a.rate / b.rate for a, b in zip(now, baseline_select, strict=True)],
            must=0.7,
            aim=0.9,
            figures=f"{midpoint([a.rate for a in now])}/s ÷ {select_rate}/s",
        ),
        Measurement(
            measure="GET of a deal in the past (10 events) ÷ the same",
            ratios=[a.rate / b.rate for a, b in zip(past, baseline_select, strict=True)],
            must=0.5,
            aim=0.8,
            figures=f"{midpoint([a.rate for a in past])}/s ÷ {select_rate}/s",
        ),
        Measurement(
            measure="304 for an unchanged deal ÷ baseline GET",
            ratios=[a.rate / b.rate for a, b in zip(unchanged, baseline_get, strict=True)],
            must=0.5,
            aim=0.8,
            figures=f"{midpoint([a.rate for a in unchanged])}/s ÷ {midpoint([b.rate for b in baseline_get])}/s",
        ),
    ]


async def _fill_baseline(url: str, body: bytes, rows: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO baseline (deal, type, body) SELECT 'deal', 'state', $1 FROM generate_series(1, $2)", body, rows
        )
        await connection.execute("ANALYZE baseline")
    finally:
        await connection.close()


async def pages(bench: Bench) -> list[Measurement]:
    """Pages and the JSON answers with the same content, neither of them cached."""
    async with service.database(bench.server) as database:
        requests = max(1, int(100 * bench.sizes.seconds))
        by_page = await page_costs.costs(database, requests, bench.sizes.repetitions)
    return [
        Measurement(
            measure=f"an uncached page, {name}, by one client ÷ the same as JSON",
            ratios=[cost.page / cost.json for cost in costs],
            must=3,
            aim=2,
            more=False,
            figures=f"{midpoint([c.page for c in costs])} ms ÷ {midpoint([c.json for c in costs])} ms",
        )
        for name, costs in by_page.items()
    ]
