"""The measures, each with what it is held against. In a repetition both sides run one after the other.

Every figure is what a client sees over HTTP unless its name says that it is the database's or in process.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import msgspec
from msgspec import Struct

from bench import comparisons, import_load, load_generator, service, workload
from bench import page_cost as page_costs
from bench import partitions as partitioning
from bench import validation_cost as event_costs
from bench.import_load import ImportResult
from bench.load_generator import Load, RequestPlan
from bench.report import Measurement
from bench.service import BenchDatabase, Process
from registry.events import store
from registry.infra import postgres
from registry.infra.embedded.server import Embedded
from registry.projections.rebuild import rebuild

CONNECTIONS = 64


class Sizes(Struct, frozen=True, kw_only=True):
    """How large a run is: seconds a repetition; deals of the small log, of the large one, and of one larger still."""

    name: str
    seconds: float
    repetitions: int
    small: int
    large: int
    huge: int
    long_deal: int
    listeners: int
    flood: int
    partitioned: int


FULL = Sizes(
    name="full",
    seconds=5,
    repetitions=3,
    small=1_000,
    large=100_000,
    huge=500_000,
    long_deal=10_000,
    listeners=1_000,
    flood=6_000,
    partitioned=2_000_000,
)
QUICK = Sizes(
    name="quick",
    seconds=2,
    repetitions=3,
    small=1_000,
    large=10_000,
    huge=0,
    long_deal=2_000,
    listeners=200,
    flood=6_000,
    partitioned=200_000,
)
TINY = Sizes(
    name="tiny",
    seconds=0.1,
    repetitions=1,
    small=20,
    large=40,
    huge=0,
    long_deal=30,
    listeners=5,
    flood=20,
    partitioned=1_000,
)


class Bench(Struct):
    """A run: the server, its sizes, and where progress is told."""

    server: Embedded
    sizes: Sizes
    own_load: bool = False

    def log_progress(self, what: str) -> None:
        print(f"  {what}", file=sys.stderr, flush=True)

    async def load(self, process: Process, requests: RequestPlan, connections: int = CONNECTIONS) -> Load:
        """One run of requests. Raises when an answer is not as wanted: a refusal is fast, and proves nothing."""
        found = await load_generator.run(process.url, requests, connections, self.sizes.seconds, own=self.own_load)
        self.log_progress(f"{found.rate:10,.0f}/s  p50 {found.p50:7.2f} ms  p99 {found.p99:7.2f} ms  {process.url}")
        if found.errors:
            raise RuntimeError(f"{found.errors} of the answers were refusals")
        return found

    def posts(self, key: str, rate: float, first: int) -> RequestPlan:
        """More POSTs than can be answered in a repetition."""
        deals = max(workload.BLOCK, int(rate * max(1, self.sizes.seconds) / workload.ROUNDS) + 1)
        return RequestPlan(workload.posts(deals, key, first), repeat=False)


Measure = Callable[[Bench], Awaitable[list[Measurement]]]


@asynccontextmanager
async def _both(bench: Bench) -> AsyncIterator[tuple[BenchDatabase, Process, BenchDatabase, Process]]:
    """The registry and the bare application, each on a database of its own."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(service.database(bench.server))
        bare = await stack.enter_async_context(service.database(bench.server, migrated=False))
        yield (
            ours,
            await stack.enter_async_context(service.registry(ours)),
            bare,
            await stack.enter_async_context(service.bare(bare)),
        )


def _mid(values: Sequence[float]) -> str:
    return f"{median(values):,.0f}" if median(values) >= 100 else f"{median(values):.3g}"


# --- recording -------------------------------------------------------------------------------------------------------


async def posting(bench: Bench) -> list[Measurement]:
    """POST of one announcement, at 64 connections and alone."""
    ours, decoded, inserted, safe, unsafe, pg, lone, lone_bare = ([] for _ in range(8))
    async with _both(bench) as (database, registry, bare_database, bare):
        key = await service.key(database)
        decode = RequestPlan(workload.posts(workload.BLOCK, key, path="/decode"))
        insert = RequestPlan(workload.posts(workload.BLOCK, key, path="/insert"))
        # Both are warm before anything counts.
        await bench.load(bare, insert)
        await bench.load(registry, bench.posts(key, 12_000, 9_000_000))
        for repetition in range(bench.sizes.repetitions):
            decoded.append(await bench.load(bare, decode))
            inserted.append(await bench.load(bare, insert))
            ours.append(await bench.load(registry, bench.posts(key, decoded[-1].rate, repetition * 1_000_000)))
            lone_bare.append(await bench.load(bare, insert, 1))
            lone.append(await bench.load(registry, bench.posts(key, 3_000, repetition * 1_000_000 + 500_000), 1))
            seconds = bench.sizes.seconds
            safe.append(await asyncio.to_thread(comparisons.peer_appends, bare_database.app_url, 16, seconds))
            unsafe.append(
                await asyncio.to_thread(comparisons.peer_appends, bare_database.app_url, 16, seconds, functions=True)
            )
            pg.append(await comparisons.pgbench_inserts(bare_database.app_url, 16, seconds))
    rate = _mid([o.rate for o in ours])
    both = f"{rate}/s ÷ "
    return [
        Measurement(
            measure="POST of one announcement, 64 connections ÷ a bare POST that decodes and returns",
            ratios=[o.rate / b.rate for o, b in zip(ours, decoded, strict=True)],
            must=0.3,
            aim=0.5,
            figures=both + f"{_mid([b.rate for b in decoded])}/s",
        ),
        Measurement(
            measure="the same ÷ the peer's safe appends in process, 16 threads",
            ratios=[o.rate / s for o, s in zip(ours, safe, strict=True)],
            must=4,
            aim=6,
            figures=both + f"{_mid(safe)}/s (its database functions, unsafe: {_mid(unsafe)}/s)",
        ),
        Measurement(
            measure="the same ÷ a bare route with one INSERT",
            ratios=[o.rate / b.rate for o, b in zip(ours, inserted, strict=True)],
            must=None,
            aim=None,
            figures=both + f"{_mid([b.rate for b in inserted])}/s (pgbench, 16 clients: {_mid(pg)}/s)",
        ),
        Measurement(
            measure="one client alone: our latency ÷ a bare route with one INSERT",
            ratios=[o.p50 / b.p50 for o, b in zip(lone, lone_bare, strict=True)],
            must=1.5,
            aim=1.2,
            more=False,
            figures=f"{_mid([o.p50 for o in lone])} ms ÷ {_mid([b.p50 for b in lone_bare])} ms",
        ),
        Measurement(
            measure="p99 at 64 connections ÷ that of the bare one-INSERT route",
            ratios=[o.p99 / b.p99 for o, b in zip(ours, inserted, strict=True)],
            must=1.5,
            aim=1.0,
            more=False,
            figures=f"{_mid([o.p99 for o in ours])} ms ÷ {_mid([b.p99 for b in inserted])} ms",
        ),
    ]


async def long_deal(bench: Bench) -> list[Measurement]:
    """One more append on a deal with very many events, and on new ones; by one client alone."""
    long, short = [], []
    async with service.database(bench.server) as database, service.registry(database) as registry:
        key = await service.key(database)
        await _tell_long(registry.url, key, bench.sizes.long_deal)
        step = bench.sizes.long_deal
        for repetition in range(bench.sizes.repetitions):
            count = int(3_000 * max(1, bench.sizes.seconds))
            requests = [_post(key, step + n) for n in range(count)]
            long.append(await bench.load(registry, RequestPlan(requests, repeat=False), 1))
            step += count
            short.append(await bench.load(registry, bench.posts(key, 3_000, 1 + repetition * 1_000_000), 1))
    return [
        Measurement(
            measure=f"a deal with {bench.sizes.long_deal:,} events: one more append ÷ one on a new deal",
            ratios=[a.p50 / b.p50 for a, b in zip(long, short, strict=True)],
            must=3,
            aim=1.5,
            more=False,
            figures=f"{_mid([a.p50 for a in long])} ms ÷ {_mid([b.p50 for b in short])} ms",
        )
    ]


def _long_deal_event(step: int) -> dict[str, Any]:
    """One announcement of a deal that goes on and on: its plan moves, its pledge is revised, its stage is declared."""
    said = workload.announcement(0, step)
    if step >= workload.ROUNDS:
        match step % 3:
            case 0:
                said["event"] = {"type": "milestone_rescheduled", "milestone": "first", "planned": str(2026 + step % 9)}
            case 1:
                said["event"] = workload.announcement(step % 900, 6)["event"]
            case _:
                said["event"] = {"type": "stage_changed", "stage": ("construction", "suspended")[step % 2]}
    return said


def _post(key: str, step: int) -> bytes:
    return workload.http(
        "POST",
        f"/v1/deals/{workload.slug(0)}/events",
        workload.encode(_long_deal_event(step)),
        Authorization=f"Bearer {key}",
        Idempotency_Key=f"long-{step}",
    )


async def _tell_long(url: str, key: str, steps: int) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=600) as client:
        for first in range(0, steps, 500):
            listed = [_long_deal_event(step) for step in range(first, min(first + 500, steps))]
            answer = await client.post(f"/v1/deals/{workload.slug(0)}/events", json=listed)
            answer.raise_for_status()


# --- asking ----------------------------------------------------------------------------------------------------------


async def reading(bench: Bench) -> list[Measurement]:
    """GETs of a deal: now, in the past, and when nothing has changed."""
    now, past, unchanged, bare_get, bare_select = ([] for _ in range(5))
    deals = bench.sizes.small
    async with _both(bench) as (database, registry, bare_database, bare):
        await import_load.histories(database, deals)
        async with httpx.AsyncClient(base_url=registry.url) as client:
            body = (await client.get(f"/v1/deals/{workload.slug(1)}")).content
        await _fill_bare(bare_database.app_url, body, deals)
        paths = [f"/v1/deals/{workload.slug(deal)}" for deal in range(deals)]
        nothing = RequestPlan([workload.http("GET", "/bare")])
        select = RequestPlan(workload.http("GET", f"/bare/{number}") for number in range(1, deals + 1))
        states = RequestPlan(workload.http("GET", path) for path in paths)
        # Every question is another one: no answer is given twice.
        end = deals * workload.ROUNDS
        pasts = RequestPlan(
            workload.http("GET", f"{path}?position={end}&effective_on=202{year}-{month:02}-15")
            for year in range(4, 10)
            for month in range(1, 13)
            for path in paths
        )
        known = RequestPlan(workload.http("GET", path, If_None_Match=f'"{workload.ROUNDS}"') for path in paths)
        for _ in range(bench.sizes.repetitions):
            bare_get.append(await bench.load(bare, nothing))
            bare_select.append(await bench.load(bare, select))
            now.append(await bench.load(registry, states))
            past.append(await bench.load(registry, pasts))
            unchanged.append(await bench.load(registry, known))
    select_rate = _mid([b.rate for b in bare_select])
    return [
        Measurement(
            measure="GET of a deal ÷ a bare route with one SELECT by key",
            ratios=[a.rate / b.rate for a, b in zip(now, bare_select, strict=True)],
            must=0.7,
            aim=0.9,
            figures=f"{_mid([a.rate for a in now])}/s ÷ {select_rate}/s",
        ),
        Measurement(
            measure="GET of a deal in the past (10 events) ÷ the same",
            ratios=[a.rate / b.rate for a, b in zip(past, bare_select, strict=True)],
            must=0.5,
            aim=0.8,
            figures=f"{_mid([a.rate for a in past])}/s ÷ {select_rate}/s",
        ),
        Measurement(
            measure="304 on an unchanged deal ÷ a bare GET",
            ratios=[a.rate / b.rate for a, b in zip(unchanged, bare_get, strict=True)],
            must=0.5,
            aim=0.8,
            figures=f"{_mid([a.rate for a in unchanged])}/s ÷ {_mid([b.rate for b in bare_get])}/s",
        ),
    ]


async def _fill_bare(url: str, body: bytes, rows: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO bare (deal, type, body) SELECT 'deal', 'state', $1 FROM generate_series(1, $2)", body, rows
        )
        await connection.execute("ANALYZE bare")
    finally:
        await connection.close()


# --- a large log -----------------------------------------------------------------------------------------------------

BARE_AMOUNTS = """
CREATE TABLE amounts AS
SELECT n AS deal,
       ARRAY['USD', 'KRW', 'EUR', 'JPY']::text[] AS names, (ARRAY['USD', 'KRW', 'EUR', 'JPY'])[n % 4 + 1] AS currency,
       (n % 900 * 10000000::bigint)::numeric AS value, n % 10 AS known_from, n % 10 + 1 AS known_to,
       date '2020-01-01' + n % 2000 AS effective_from, date '2020-01-01' + n % 2000 + 200 AS effective_to
  FROM generate_series(1, $1::int) AS n
"""
BARE_TOTALS = """
SELECT currency, sum(value), count(*)
  FROM amounts
 WHERE known_from <= 5 AND known_to > 0 AND effective_from <= date '2030-01-01' AND effective_to > date '2020-01-01'
 GROUP BY currency
"""


async def large(bench: Bench) -> list[Measurement]:
    """What a log of a million events must not slow down: import, memory, totals, lists, rebuild, and all else."""
    rows: list[Measurement] = []
    async with AsyncExitStack() as stack:
        small = await stack.enter_async_context(service.database(bench.server))
        big = await stack.enter_async_context(service.database(bench.server))
        bare = await stack.enter_async_context(service.database(bench.server, migrated=False))
        rows += await _importing(bench, big, bare)
        await import_load.histories(small, bench.sizes.small)
        await _settle(big)
        rows += await _portfolio(bench, big, bare)
        rows += await _rebuilding(bench, big)
        rows += await _flatness(bench, small, big)
        if bench.sizes.huge:
            rows += await _at_its_largest(bench, small, big)
    return rows


async def _settle(database: BenchDatabase) -> None:
    """What autovacuum would have done some minutes later."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _importing(bench: Bench, big: BenchDatabase, bare: BenchDatabase) -> list[Measurement]:
    deals = bench.sizes.large
    part = deals // (bench.sizes.repetitions + 1)
    ours: list[ImportResult] = []
    while (first := len(ours) * part) < deals:
        last = len(ours) == bench.sizes.repetitions
        ours.append(await import_load.histories(big, deals - first if last else part, first))
        bench.log_progress(f"{ours[-1].rate:,.0f} events/s imported, {ours[-1].peak:.0f} MB")
    file = max(1, deals * 3 // 100)
    commanded = [
        await import_load.by_command(big, file, 8_000_000 + repetition * file)
        for repetition in range(bench.sizes.repetitions)
    ]
    await comparisons.bare_tables(bare.owner_url, big.owner_url, (*comparisons.LOG, *comparisons.OF_VIEWS))
    count = await _one(big.owner_url, "SELECT count(*) FROM events")
    log, everything, batches = [], [], []
    for _ in range(bench.sizes.repetitions):
        of_log = await comparisons.copy_seconds(big.owner_url, bare.owner_url, comparisons.LOG)
        of_views = await comparisons.copy_seconds(big.owner_url, bare.owner_url, comparisons.OF_VIEWS)
        log.append(count / of_log)
        everything.append(count / (of_log + of_views))
        batches.append(
            await asyncio.to_thread(comparisons.peer_appends, bare.owner_url, 1, bench.sizes.seconds, batch=500)
        )
    rates = [o.rate for o in ours[: bench.sizes.repetitions]]
    rate = _mid(rates)
    return [
        Measurement(
            measure="import (NDJSON over HTTP) ÷ bare COPY of the same rows (log and views)",
            ratios=[o / c for o, c in zip(rates, everything, strict=True)],
            must=0.4,
            aim=0.65,
            figures=f"{rate} events/s ÷ {_mid(everything)} events/s",
        ),
        Measurement(
            measure="import (`registry import` of a file) ÷ the same",
            ratios=[o / c for o, c in zip(commanded, everything, strict=True)],
            must=0.4,
            aim=0.65,
            figures=f"{_mid(commanded)} events/s ÷ {_mid(everything)} events/s",
        ),
        Measurement(
            measure="import (NDJSON over HTTP) ÷ bare COPY of the log's rows alone",
            ratios=[o / c for o, c in zip(rates, log, strict=True)],
            must=None,
            aim=None,
            figures=f"{rate} events/s ÷ {_mid(log)} events/s",
        ),
        Measurement(
            measure="import (NDJSON over HTTP) ÷ the peer's batches of 500",
            ratios=[o / b for o, b in zip(rates, batches, strict=True)],
            must=1.5,
            aim=2.5,
            figures=f"{rate} events/s ÷ {_mid(batches)} events/s",
        ),
        Measurement(
            measure=f"memory while importing {deals * workload.ROUNDS:,} events",
            ratios=[o.peak for o in ours],
            must=300,
            aim=None,
            more=False,
            unit=" MB",
            figures=f"{_mid([o.before for o in ours])} MB before the first",
        ),
    ]


async def _portfolio(bench: Bench, big: BenchDatabase, bare: BenchDatabase) -> list[Measurement]:
    scanned = await _one(big.owner_url, "SELECT count(*) FROM deal_versions WHERE clock = 'r'")
    connection = await asyncpg.connect(bare.owner_url)
    try:
        await connection.execute(BARE_AMOUNTS.replace("$1", str(scanned)))
        await connection.execute("VACUUM ANALYZE amounts")
    finally:
        await connection.close()
    position = bench.sizes.large * workload.ROUNDS * 4 // 5
    ours, aggregate, pages = [], [], []
    async with service.registry(big) as registry, httpx.AsyncClient(base_url=registry.url, timeout=600) as client:
        questions = f"position={position}&effective_on=2023-06-01"
        for repetition in range(bench.sizes.repetitions + 1):
            aggregate.append(await _timed(bare.owner_url, BARE_TOTALS))
            start = time.perf_counter()
            answer = await client.get(f"/v1/totals?{questions}")
            answer.raise_for_status()
            ours.append((time.perf_counter() - start) * 1000)
            bench.log_progress(f"totals {ours[-1]:.0f} ms, bare aggregate {aggregate[-1]:.0f} ms")
            pages += [await _page(big, position - repetition, *wanted) for wanted in PAGES]
    slowest = [max(pages[at : at + len(PAGES)]) for at in range(0, len(pages), len(PAGES))]
    return [
        Measurement(
            measure=f"totals at a past instant, {bench.sizes.large:,} deals ÷ a bare aggregate scan over as many rows",
            ratios=[a / b for a, b in zip(ours[1:], aggregate[1:], strict=True)],
            must=3,
            aim=1.5,
            more=False,
            figures=f"{_mid(ours[1:])} ms ÷ {_mid(aggregate[1:])} ms for {scanned:,} rectangles",
        ),
        Measurement(
            measure="a filtered page of deals in the past, the slowest of four, in the database",
            ratios=slowest[1:],
            must=20,
            aim=None,
            more=False,
            unit=" ms",
            figures="one filter that fits many deals, one that fits few, two that fit few together, a search",
        ),
    ]


PAGES: tuple[tuple[list[str], str | None], ...] = (
    (["sector:energy"], None),
    (["organization:organization-123"], None),
    (["region:KR-31", "stage:construction", "sector:batteries"], None),
    ([], "%number 777%"),
)


async def _page(big: BenchDatabase, known: int, terms: list[str], pattern: str | None) -> float:
    """Milliseconds that the database takes for a page."""
    from datetime import date

    from registry.projections.deal_lists import MAX_TITLE_MATCHES, SELECT_TITLE_MATCHES, page_query

    connection = await asyncpg.connect(big.app_url)
    try:
        took, found = 0.0, None
        if pattern is not None:
            took += await _explained(connection, SELECT_TITLE_MATCHES, pattern)
            found = [row["deal"] for row in await connection.fetch(SELECT_TITLE_MATCHES, pattern)]
            found = found if len(found) <= MAX_TITLE_MATCHES else None
        statement, arguments = page_query(("r", date(2023, 6, 1), known), "", 51, terms, None, found, pattern)
        return took + await _explained(connection, statement, *arguments)
    finally:
        await connection.close()


async def _explained(connection: Any, statement: str, *arguments: Any) -> float:
    """Milliseconds that the database takes to plan and to run a statement."""
    told = msgspec.json.decode(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments))[0]
    return float(told["Planning Time"]) + float(told["Execution Time"])


async def _one(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _timed(url: str, query: str) -> float:
    connection = await asyncpg.connect(url)
    try:
        start = time.perf_counter()
        await connection.fetch(query)
        return (time.perf_counter() - start) * 1000
    finally:
        await connection.close()


async def _rebuilding(bench: Bench, big: BenchDatabase) -> list[Measurement]:
    """Every view made anew, against reading the same events as whoever follows the log reads them."""
    events = await _one(big.owner_url, "SELECT count(*) FROM events")
    read, rebuilt = [], []
    # Each takes as long as an import: of a million events one says enough.
    for _ in range(1 if events >= 1_000_000 else bench.sizes.repetitions):
        start = time.perf_counter()
        async with await postgres.pool(big.app_url, name="bench") as pool:
            after = 0
            while found := await store.feed(pool, after, 1000):
                after = found[-1].recorded.position
        read.append(events / (time.perf_counter() - start))
        start = time.perf_counter()
        await rebuild(big.owner_url)
        rebuilt.append(events / (time.perf_counter() - start))
        bench.log_progress(f"{rebuilt[-1]:,.0f} events/s rebuilt, {read[-1]:,.0f} events/s read")
    return [
        Measurement(
            measure="rebuild of all views ÷ merely reading the log (decoded, in pages of 1,000)",
            ratios=[a / b for a, b in zip(rebuilt, read, strict=True)],
            must=0.15,
            aim=0.3,
            figures=f"{_mid(rebuilt)} events/s ÷ {_mid(read)} events/s",
        )
    ]


async def _flatness(bench: Bench, small: BenchDatabase, big: BenchDatabase) -> list[Measurement]:
    """What costs the same in a long log as in a short one."""
    costs = await _costs_of_both(bench, (small, bench.sizes.small), (big, bench.sizes.large))
    return _flat(costs, bench.sizes.large, bench.sizes.small, must=1.3, aim=1.1)


async def _at_its_largest(bench: Bench, small: BenchDatabase, big: BenchDatabase) -> list[Measurement]:
    """The same in a log five times as long."""
    more = bench.sizes.huge - bench.sizes.large
    grown = await import_load.histories(big, more, bench.sizes.large)
    bench.log_progress(f"{grown.rate:,.0f} events/s imported, {grown.peak:.0f} MB")
    await _settle(big)
    costs = await _costs_of_both(bench, (small, bench.sizes.small), (big, bench.sizes.huge))
    return [
        Measurement(
            measure=f"import into a log of {bench.sizes.large * workload.ROUNDS:,} to {bench.sizes.huge * workload.ROUNDS:,}",  # noqa: E501
            ratios=[grown.rate],
            must=None,
            aim=None,
            unit=" events/s",
            figures=f"{grown.peak:.0f} MB at most",
        ),
        *_flat(costs, bench.sizes.huge, bench.sizes.small, must=None, aim=None),
    ]


Costs = dict[str, tuple[list[float], list[float]]]


async def _costs_of_both(bench: Bench, short: tuple[BenchDatabase, int], long: tuple[BenchDatabase, int]) -> Costs:
    costs: Costs = {}
    for _ in range(bench.sizes.repetitions):
        for at, (database, deals) in enumerate((short, long)):
            for name, cost in (await _costs(bench, database, deals)).items():
                costs.setdefault(name, ([], []))[at].append(cost)
    return costs


def _flat(costs: Costs, deals: int, few: int, must: float | None, aim: float | None) -> list[Measurement]:
    return [
        Measurement(
            measure=f"{name}: cost at {deals * workload.ROUNDS:,} events ÷ at {few * workload.ROUNDS:,}",
            ratios=[b / a for a, b in zip(*pair, strict=True)],
            must=must,
            aim=aim,
            more=False,
            figures=f"{_mid(pair[1])} ms ÷ {_mid(pair[0])} ms",
        )
        for name, pair in costs.items()
    ]


_costed = 0


async def _costs(bench: Bench, database: BenchDatabase, deals: int) -> dict[str, float]:
    """Milliseconds by one client alone: an append, a GET, a page of the feed, a proof."""
    global _costed
    _costed += 1
    key = await service.key(database)
    step = max(1, deals // 1000)
    paths = [f"/v1/deals/{workload.slug(deal)}" for deal in range(0, deals, step)]
    log = deals * workload.ROUNDS
    found: dict[str, float] = {}
    async with service.registry(database) as registry:
        posts = bench.posts(key, 3_000, 2_000_000 + _costed * 100_000)
        found["append"] = (await bench.load(registry, posts, 1)).p50
        found["GET"] = (await bench.load(registry, RequestPlan(workload.http("GET", path) for path in paths), 1)).p50
        pages = [workload.http("GET", f"/v1/events?after={at}&limit=100") for at in range(0, log, max(1, log // 997))]
        found["feed page"] = (await bench.load(registry, RequestPlan(pages), 1)).p50
        proof = f"/v1/log/proof/inclusion?position={{}}&size={log}"
        async with httpx.AsyncClient(base_url=registry.url, timeout=600) as client:
            served = (await client.get(proof.format(1))).status_code == 200
        if served:
            proofs = [workload.http("GET", proof.format(at)) for at in range(1, log, max(1, log // 997))]
            found["proof"] = (await bench.load(registry, RequestPlan(proofs), 1)).p50
    return found


# --- many at once ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _listening(process: Process, count: int) -> AsyncIterator[None]:
    """So many listeners of the feed to whom nothing happens."""
    parts = urlsplit(process.url)
    request = workload.http("GET", "/v1/events/stream?deal=nothing-happens-here", Accept="text/event-stream")
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request)
            writers.append(writer)
            if b" 200 " not in await reader.readline():
                raise RuntimeError("a listener was refused")
        yield
    finally:
        for writer in writers:
            writer.close()


async def listeners(bench: Bench) -> list[Measurement]:
    """Appends while many listen to a feed in which nothing happens for them."""
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
            figures=f"{_mid([a.rate for a in listened])}/s ÷ {_mid([b.rate for b in without])}/s",
        )
    ]


async def processes(bench: Bench) -> list[Measurement]:
    """Two services on one database: what they read together, and whether what they record together is in order."""
    alone, together, written = [], [], []
    deals = bench.sizes.small
    async with service.database(bench.server) as database:
        await import_load.histories(database, deals)
        states = RequestPlan(workload.http("GET", f"/v1/deals/{workload.slug(deal)}") for deal in range(deals))
        async with service.registry(database) as one, service.registry(database) as two:
            key = await service.key(database)
            for repetition in range(bench.sizes.repetitions + 1):
                alone.append((await bench.load(one, states)).rate)
                both = await asyncio.gather(*(bench.load(p, states, CONNECTIONS // 2) for p in (one, two)))
                together.append(sum(found.rate for found in both))
                firsts = (1_000_000 * (2 * repetition + 1), 1_000_000 * (2 * repetition + 2))
                posts = [bench.posts(key, 12_000, first) for first in firsts]
                both = await asyncio.gather(
                    *(bench.load(p, plan_, CONNECTIONS // 2) for p, plan_ in zip((one, two), posts, strict=True))
                )
                written.append(sum(found.rate for found in both))
        if disorder := await _one(database.owner_url, DISORDER):
            raise RuntimeError(f"{disorder} events are out of order")
    return [
        Measurement(
            measure="two services on one database and two processors: GETs together ÷ by one of them",
            ratios=[a / b for a, b in zip(together[1:], alone[1:], strict=True)],
            must=None,
            aim=None,
            figures=f"{_mid(together[1:])}/s ÷ {_mid(alone[1:])}/s; POSTs together {_mid(written[1:])}/s, all in order",
        )
    ]


# Gaps, times that go back, and streams whose versions are not in the order of the log.
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
    """Far more clients than can be served: what is not taken is refused at once, and memory stays."""
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
        found = await running
        bench.log_progress(
            f"{found.rate:,.0f}/s answered, {found.errors} refused, {before:.0f} MB before, {peak:.0f} MB at most"
        )
        # What was taken is worked off first.
        async with httpx.AsyncClient(base_url=registry.url, timeout=120) as client:
            said = workload.announcement(1, 0)
            headers = {"Authorization": f"Bearer {key}"}
            (await client.post("/v1/deals/after-the-flood/events", json=said, headers=headers)).raise_for_status()
        after = await bench.load(registry, bench.posts(key, 12_000, 5_000_000))
    return [
        Measurement(
            measure=f"a flood of {bench.sizes.flood:,} clients: memory at most",
            ratios=[peak],
            must=None,
            aim=None,
            unit=" MB",
            figures=f"{before:.0f} MB before; {found.rate:,.0f} answers/s, {found.errors:,} of them refusals; "
            f"{after.rate:,.0f}/s when it was over",
        )
    ]


async def partitions(bench: Bench) -> list[Measurement]:
    """The log in one table, and in ten."""
    async with service.database(bench.server) as database:
        whole, parted = await partitioning.costs(database.owner_url, bench.sizes.partitioned)
    return [
        Measurement(
            measure=f"{what} of {bench.sizes.partitioned:,}, in the database: ten partitions ÷ one table",
            ratios=[b / a],
            must=None,
            aim=None,
            figures=f"{b:.3g} ms ÷ {a:.3g} ms",
        )
        for what, a, b in (
            ("1,000 events appended to a log", whole.append, parted.append),
            ("a stream's end in a log", whole.stream, parted.stream),
            ("an event by its id in a log", whole.id, parted.id),
            ("a page of 1,000 from a log", whole.page, parted.page),
        )
    ]


async def pages(bench: Bench) -> list[Measurement]:
    """Pages beside the same as JSON, none of either made before."""
    async with service.database(bench.server) as database:
        questions = max(1, int(100 * bench.sizes.seconds))
        found = await page_costs.costs(database, questions, bench.sizes.repetitions)
    return [
        Measurement(
            measure=f"a page never asked for before, {name}, by one client alone ÷ the same as JSON",
            ratios=[cost.page / cost.answers for cost in costs],
            must=3,
            aim=2,
            more=False,
            figures=f"{_mid([c.page for c in costs])} ms ÷ {_mid([c.answers for c in costs])} ms",
        )
        for name, costs in found.items()
    ]


async def judging(bench: Bench) -> list[Measurement]:
    """What an event costs one processor, whatever the disk."""
    found = [await event_costs.costs(bench.sizes.small, n * bench.sizes.small) for n in range(bench.sizes.repetitions)]
    return [
        Measurement(
            measure=f"processor time of an event in process, {what}",
            ratios=times,
            must=None,
            aim=None,
            unit=" µs",
            figures=f"{bench.sizes.small * workload.ROUNDS:,} events, no database",
        )
        for what, times in (
            ("reading its line strictly", [f.reading for f in found]),
            ("judging it (rules, fold, flags, canonical bytes, hashes)", [f.validation_us for f in found]),
            ("drawing the views", [f.projection_us for f in found]),
        )
    ]


MEASURES: dict[str, Measure] = {
    "posting": posting,
    "reading": reading,
    "pages": pages,
    "long-deal": long_deal,
    "listeners": listeners,
    "processes": processes,
    "flood": flood,
    "judging": judging,
    "partitions": partitions,
    "large": large,
}
