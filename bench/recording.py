"""Benchmarks of recording: POST of one announcement, and appends to a deal with very many events."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from bench import comparisons, service, workload
from bench.comparisons import eventsourcing_appends
from bench.context import Bench, both, midpoint
from bench.load_generator import RequestPlan
from bench.report import Measurement


async def posting(bench: Bench) -> list[Measurement]:
    """POST of one announcement, by 64 connections and by one client."""
    ours, decoded, inserted, peers, safe, pg, lone, lone_baseline = ([] for _ in range(8))
    async with both(bench) as (database, registry, baseline_database, baseline):
        key = await service.key(database)
        decode = RequestPlan(workload.posts(workload.BLOCK, key, path="/decode"))
        insert = RequestPlan(workload.posts(workload.BLOCK, key, path="/insert"))
        peer = RequestPlan(workload.posts(workload.BLOCK, key, path="/eventsourcing"))
        # Warm both up before the first measurement.
        await bench.load(baseline, insert)
        await bench.load(registry, bench.posts(key, 12_000, 9_000_000))
        for repetition in range(bench.sizes.repetitions):
            decoded.append(await bench.load(baseline, decode))
            inserted.append(await bench.load(baseline, insert))
            peers.append(await bench.load(baseline, peer))
            ours.append(await bench.load(registry, bench.posts(key, decoded[-1].rate, repetition * 1_000_000)))
            lone_baseline.append(await bench.load(baseline, insert, 1))
            lone.append(await bench.load(registry, bench.posts(key, 3_000, repetition * 1_000_000 + 500_000), 1))
            seconds = bench.sizes.seconds
            safe.append(await asyncio.to_thread(eventsourcing_appends, baseline_database.app_url, 16, seconds))
            pg.append(await comparisons.pgbench_inserts(baseline_database.app_url, 16, seconds))
    rate = midpoint([o.rate for o in ours])
    ours_rate = f"{rate}/s ÷ "
    return [
        Measurement(
            measure="POST of one announcement, 64 connections ÷ baseline POST that only decodes and encodes",
            ratios=[o.rate / b.rate for o, b in zip(ours, decoded, strict=True)],
            must=0.2,
            aim=0.3,
            figures=ours_rate + f"{midpoint([b.rate for b in decoded])}/s",
        ),
        Measurement(
            measure="the same ÷ POST to eventsourcing behind the same route, its table locked",
            ratios=[o.rate / p.rate for o, p in zip(ours, peers, strict=True)],
            must=2,
            aim=4,
            figures=ours_rate + f"{midpoint([p.rate for p in peers])}/s",
        ),
        Measurement(
            measure="the same ÷ appends of eventsourcing in process, without HTTP, 16 threads",
            ratios=[o.rate / s for o, s in zip(ours, safe, strict=True)],
            must=None,
            aim=None,
            figures=ours_rate + f"{midpoint(safe)}/s",
        ),
        Measurement(
            measure="the same ÷ baseline POST with one INSERT",
            ratios=[o.rate / b.rate for o, b in zip(ours, inserted, strict=True)],
            must=None,
            aim=None,
            figures=ours_rate + f"{midpoint([b.rate for b in inserted])}/s (pgbench, 16 clients: {midpoint(pg)}/s)",
        ),
        Measurement(
            measure="latency of one client: POST ÷ baseline POST with one INSERT",
            ratios=[o.p50 / b.p50 for o, b in zip(lone, lone_baseline, strict=True)],
            must=1.5,
            aim=1.2,
            more=False,
            figures=f"{midpoint([o.p50 for o in lone])} ms ÷ {midpoint([b.p50 for b in lone_baseline])} ms",
        ),
        Measurement(
            measure="p99 at 64 connections: POST ÷ baseline POST with one INSERT",
            ratios=[o.p99 / b.p99 for o, b in zip(ours, inserted, strict=True)],
            must=1.5,
            aim=1.0,
            more=False,
            figures=f"{midpoint([o.p99 for o in ours])} ms ÷ {midpoint([b.p99 for b in inserted])} ms",
        ),
    ]


async def long_deal(bench: Bench) -> list[Measurement]:
    """Appends to a deal with very many events and to new deals, by one client."""
    long, short = [], []
    async with service.database(bench.server) as database, service.registry(database) as registry:
        key = await service.key(database)
        await _load_long_deal(registry.url, key, bench.sizes.long_deal)
        step = bench.sizes.long_deal
        for repetition in range(bench.sizes.repetitions):
            count = int(3_000 * max(1, bench.sizes.seconds))
            requests = [_post(key, step + n) for n in range(count)]
            long.append(await bench.load(registry, RequestPlan(requests, repeat=False), 1))
            step += count
            short.append(await bench.load(registry, bench.posts(key, 3_000, 1 + repetition * 1_000_000), 1))
    return [
        Measurement(
            measure=f"a deal with {bench.sizes.long_deal:,} events: latency of an append ÷ of an append to a new deal",
            ratios=[a.p50 / b.p50 for a, b in zip(long, short, strict=True)],
            must=3,
            aim=1.5,
            more=False,
            figures=f"{midpoint([a.p50 for a in long])} ms ÷ {midpoint([b.p50 for b in short])} ms",
        )
    ]


def _long_deal_event(step: int) -> dict[str, Any]:
    """An announcement of a deal with very many events: reschedules, revisions and stage changes in turn."""
    announcement = workload.announcement(0, step)
    if step >= workload.ROUNDS:
        match step % 3:
            case 0:
                announcement["event"] = {
                    "type": "milestone_rescheduled",
                    "milestone": "first",
                    "planned": str(2026 + step % 9),
                }
            case 1:
                announcement["event"] = workload.announcement(step % 900, 6)["event"]
            case _:
                announcement["event"] = {"type": "stage_changed", "stage": ("construction", "suspended")[step % 2]}
    return announcement


def _post(key: str, step: int) -> bytes:
    return workload.http(
        "POST",
        f"/v1/deals/{workload.slug(0)}/events",
        workload.encode(_long_deal_event(step)),
        Authorization=f"Bearer {key}",
        Idempotency_Key=f"long-{step}",
    )


async def _load_long_deal(url: str, key: str, steps: int) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=600) as client:
        for first in range(0, steps, 500):
            listed = [_long_deal_event(step) for step in range(first, min(first + 500, steps))]
            answer = await client.post(f"/v1/deals/{workload.slug(0)}/events", json=listed)
            answer.raise_for_status()
