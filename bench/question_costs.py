"""Benchmarks of questions about all deals, with one write a second, beside DuckDB over the exported tables."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import httpx
from msgspec.structs import replace

from bench import holds, peer, service, workload
from bench.context import Bench
from bench.holds import Cost
from bench.import_load import import_into
from bench.prepared import prepared_log
from bench.questions import Question, questions
from bench.report import Measurement
from bench.service import BenchDatabase, Process
from registry.domain.history import AsOf
from registry.infra import postgres
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.selection import Selection
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from registry.schemas.deal_query import DealListQuery

PEER = "DuckDB over the exported Parquet"
GET = "GET of a deal"

# An import of so many deals between two questions: more events than the copy follows one by one.
IMPORTED_DEALS = 2_500


def asking(group: str) -> Callable[[Bench], Awaitable[list[Measurement]]]:
    """The benchmark of a group of questions."""

    async def measure(bench: Bench) -> list[Measurement]:
        log = await prepared_log(bench, bench.sizes.large)
        return await _ask(bench, log.database, bench.sizes.large, [group])

    return measure


async def huge_questions(bench: Bench) -> list[Measurement]:
    """All questions with five million events. What they must not exceed holds for the large log only."""
    if not bench.sizes.huge:
        return []
    log = await prepared_log(bench, bench.sizes.huge)
    rows = await _ask(bench, log.database, bench.sizes.huge, ["totals", "lists", "changes", "cliffs"])
    return [replace(row, must=None, aim=None) for row in rows]


async def _ask(bench: Bench, database: BenchDatabase, deals: int, groups: Sequence[str]) -> list[Measurement]:
    """Each question as the first one after a write, and again while nothing changes."""
    key = await service.key(database)
    rows: list[Measurement] = []
    async with (
        service.registry(database, watched=True) as process,
        httpx.AsyncClient(base_url=process.url, timeout=600) as client,
    ):
        start = await service.ready(process, client)
        start += await _milliseconds(client, "/") / 1000
        await service.answered(client, "/v1/search?q=deal")
        connection = await peer.exported(client, database, bench.folder / f"{database.name}_exported")
        head = (await client.get("/v1/deals?limit=1")).json()["position"]
        of_deal = await _of_deal(client, deals)
        found: list[Cost] = []
        async with _one_write_a_second(client, key):
            asked = questions(head)
            for question in [question for group in groups for question in asked[group]]:
                row, costs = await _measured(bench, client, process, connection, question, of_deal)
                rows.append(row)
                found += costs
        connection.close()
        memory = process.megabytes
    return [
        *rows,
        _held("longest time that the event loop was held", found),
        _reported("memory of the service, the columnar copy included", memory, 500, 300, " MB"),
        _reported("start of a service until it has answered the portfolio page", start, 15, 5, " s"),
    ]


async def _of_deal(client: httpx.AsyncClient, deals: int) -> float:
    """Milliseconds of a GET of one deal, the median of deals that were not asked for before."""
    numbers = range(0, deals, max(1, deals // 50))
    return median([await _milliseconds(client, f"/v1/deals/{workload.slug(n)}") for n in numbers])


async def _measured(
    bench: Bench, client: httpx.AsyncClient, process: Process, connection: Any, question: Question, of_deal: float
) -> tuple[Measurement, list[Cost]]:
    async def send() -> int:
        return (await client.get(question.path)).raise_for_status().status_code

    first, again, peers = [], [], []
    for _ in range(bench.sizes.questions + 1):
        first.append(await holds.measure(process, question.title, send, 1, pause=1.1))  # so that something was written
        again.append(await holds.measure(process, question.title, send, 1))
        if question.sql is not None:
            peers.append(await _milliseconds_of(connection, question.sql))
    times = [[one.seconds[0] * 1000 for one in costs] for costs in (first, again)]
    peers = peers or [of_deal] * len(first)
    bench.log_progress(
        f"{' '.join(f'{one:.1f}' for one in times[0])} ms  {median(times[1]):.1f} ms  {median(peers):.1f} ms"
        f"  {question.title}"
    )
    return _compared(question, times[0], times[1], peers), [*first, *again]


def _compared(question: Question, first: list[float], again: list[float], base: list[float]) -> Measurement:
    """Compare all but the first repetition, in which the service gets the question for the first time."""
    (new, *first), again, base = first, again[1:], base[1:]
    return Measurement(
        measure=f"{question.title}, first after a write ÷ {PEER if question.sql is not None else GET}",
        ratios=[one / other for one, other in zip(first, base, strict=True)],
        must=question.must,
        aim=question.aim,
        more=False,
        figures=f"{median(first):.1f} ms (new {new:.1f} ms, again {median(again):.1f} ms) ÷ {median(base):.1f} ms",
    )


def _reported(measure: str, value: float, must: float, aim: float, unit: str, figures: str = "") -> Measurement:
    figures = figures or f"{value:.1f}{unit}"
    return Measurement(measure=measure, ratios=[value], must=must, aim=aim, more=False, unit=unit, figures=figures)


def _held(measure: str, found: Sequence[Cost]) -> Measurement:
    """The longest hold of the event loop, and beside it the longest work of the loop's own thread."""
    held = max(found, key=lambda one: one.hold.held)
    worked = max(found, key=lambda one: one.hold.worked)
    work = worked.hold
    figures = (
        f"by: {held.title}, of which {held.hold.waited * 1000:.1f} ms waiting for a processor;"
        f" work of its thread: {work.worked * 1000:.1f} ms by {worked.title}, in {work.place}"
    )
    return _reported(measure, held.hold.held * 1000, 20, 5, " ms", figures)


async def _milliseconds(client: httpx.AsyncClient, path: str) -> float:
    begin = time.perf_counter()
    await service.answered(client, path)
    return (time.perf_counter() - begin) * 1000


async def _milliseconds_of(connection: Any, sql: str) -> float:
    begin = time.perf_counter()
    await asyncio.to_thread(lambda: connection.execute(sql).fetchall())
    return (time.perf_counter() - begin) * 1000


@asynccontextmanager
async def _one_write_a_second(client: httpx.AsyncClient, key: str) -> AsyncIterator[None]:
    """Record an event a second meanwhile."""

    async def write() -> None:
        # Pledges of a deal of its own, so that no deal of the log grows with each run.
        slug, step = f"written-{time.time_ns()}", 0
        while True:
            body = workload.announcement(1, step if step < 2 else step + workload.ROUNDS)
            headers = {"Authorization": f"Bearer {key}"}
            answer = await client.post(f"/v1/deals/{slug}/events", json=body, headers=headers)
            answer.raise_for_status()
            step += 1
            await asyncio.sleep(1)

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# --- the chart --------------------------------------------------------------------------------------------------------

MONTHS = 24


async def chart(bench: Bench) -> list[Measurement]:
    """The chart of amounts over time, measured in process: a page shows it with much else."""
    log = await prepared_log(bench, bench.sizes.large)
    days = [date(2020 + n // 8, 1 + n % 8, 1) for n in range(MONTHS)]
    listed = f"[{', '.join(f'DATE {day.isoformat()!r}' for day in days)}]"
    rows: list[Measurement] = []
    async with (
        service.registry(log.database) as process,
        httpx.AsyncClient(base_url=process.url, timeout=600) as client,
        await postgres.pool(log.database.app_url, name="bench") as pool,
        ColumnarCopy(pool, Path(log.database.folder) / "columnar") as copy,
    ):
        connection = await peer.exported(client, log.database, bench.folder / f"{log.database.name}_exported")
        streams = StreamReader(pool)
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        region = "AND p.deal IN (SELECT deal FROM site_facts WHERE place = 'KR-31')"
        key = await service.key(log.database)
        async with _one_write_a_second(client, key):
            for title, selection, sql in (
                ("chart through time", Selection(), peer.chart(listed)),
                (
                    "chart through time of a region",
                    Selection(DealListQuery(region="KR-31")),
                    peer.chart(listed, region),
                ),
            ):
                question = Question(f"{title}, {MONTHS} days, in process", "", sql, 5, 2)
                first: list[float] = []
                again: list[float] = []
                peers: list[float] = []
                for _ in range(bench.sizes.questions + 1):
                    await asyncio.sleep(1.1)
                    for times in (first, again):
                        point = await queries.point(AsOf())
                        rates = await queries.rates(AsOf())
                        begin = time.perf_counter()
                        await queries.trend(point, selection, "KRW", rates, days)
                        times.append((time.perf_counter() - begin) * 1000)
                    peers.append(await _milliseconds_of(connection, sql))
                rows.append(_compared(question, first, again, peers))
        connection.close()
    return rows


# --- exports ----------------------------------------------------------------------------------------------------------


async def exports(bench: Bench) -> list[Measurement]:
    """Files of all deals, pledges and events, beside COPY of a table with the same rows."""
    log = await prepared_log(bench, bench.sizes.large)
    folder = bench.folder / f"{log.database.name}_files"
    folder.mkdir(exist_ok=True)
    rows = []
    async with (
        service.registry(log.database, watched=True) as process,
        httpx.AsyncClient(base_url=process.url, timeout=600) as client,
    ):
        # Until then, the service asks questions of its own (`PortfolioQueries.prepare`).
        await service.ready(process, client)
        found: list[Cost] = []
        for name in ("deals.csv", "pledges.csv", "events.ndjson"):
            download = partial(peer.download, client, f"/v1/export/{name}", folder / name)
            ours, copies = [], []
            for _ in range(bench.sizes.repetitions):
                found.append(await holds.measure(process, name, download, 1))
                ours.append(found[-1].seconds[0])
                copies.append(await _copy_seconds(log.database, folder / name))
            size = (folder / name).stat().st_size / 2**20
            rows.append(
                Measurement(
                    measure=f"{name}, {size:,.0f} MB: COPY of the same rows to a file ÷ export",
                    ratios=[copy / our for our, copy in zip(ours, copies, strict=True)],
                    must=0.2,
                    aim=0.5,
                    figures=f"{median(copies):.2f} s ÷ {median(ours):.2f} s",
                )
            )
        memory = process.megabytes
    return [
        *rows,
        _held("longest time that the event loop was held by exports", found),
        _reported("memory of the service after exports", memory, 500, 300, " MB"),
    ]


async def _copy_seconds(database: BenchDatabase, file: Path) -> float:
    """Seconds of COPY to a file of a table with the file's rows."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        if file.suffix == ".csv":
            with file.open() as opened:
                columns = ", ".join(f'"{name}" text' for name in opened.readline().strip().split(","))
            await connection.execute(f"CREATE TEMP TABLE exported ({columns})")
            await connection.copy_to_table("exported", source=file, format="csv", header=True)
        else:
            await connection.execute("CREATE TEMP TABLE exported (line text)")
            # No line of JSON contains these bytes.
            await connection.copy_to_table("exported", source=file, format="csv", delimiter="\x01", quote="\x02")
        begin = time.perf_counter()
        await connection.copy_from_query("SELECT * FROM exported", output=file.with_suffix(".copy"), format="csv")
        return time.perf_counter() - begin
    finally:
        await connection.close()


# --- cliffs -----------------------------------------------------------------------------------------------------------


async def _usual(bench: Bench, client: httpx.AsyncClient, key: str, question: str) -> list[float]:
    """Milliseconds of a question after writes. The first such answer may still find something that is not cached."""
    times = []
    async with _one_write_a_second(client, key):
        for _ in range(bench.sizes.questions + 1):
            await asyncio.sleep(1.1)
            times.append(await _milliseconds(client, question))
    return times[1:]


async def first_questions(bench: Bench) -> list[Measurement]:
    """The first question to a service that has become ready, and after a large import, beside the usual one."""
    log = await prepared_log(bench, bench.sizes.large)
    question = "/v1/totals?lines=0&group_by=organization"
    costs: dict[str, list[float]] = {}
    usual: list[float] = []
    starts: dict[str, list[float]] = {}
    deals = min(IMPORTED_DEALS, bench.sizes.large)
    titles = ("after a start without a copy", "after a start", f"after an import of {deals * workload.ROUNDS:,} events")
    async with service.database(bench.server, template=log.database) as database:
        key = await service.key(database)
        for repetition in range(bench.sizes.repetitions):
            shutil.rmtree(Path(database.folder) / "columnar", ignore_errors=True)
            for title in titles[:2]:
                async with (
                    service.registry(database) as process,
                    httpx.AsyncClient(base_url=process.url, timeout=600) as client,
                ):
                    starts.setdefault(title, []).append(await service.ready(process, client))
                    costs.setdefault(title, []).append(await _milliseconds(client, question))
                    usual += await _usual(bench, client, key, question)
                    if title == titles[1]:
                        await import_into(process, key, deals, 10_000_000 + repetition * deals)
                        costs.setdefault(titles[2], []).append(await _milliseconds(client, question))
    return [
        Measurement(
            measure=f"totals by organization, first {title} ÷ the usual first after a write",
            ratios=[one / median(usual) for one in costs[title]],
            must=10,
            aim=None,
            more=False,
            figures=f"{median(costs[title]):.0f} ms ÷ {median(usual):.0f} ms",
        )
        for title in titles
    ] + [
        Measurement(
            measure=f"time until the service is ready {title}",
            ratios=seconds,
            must=15,
            aim=5,
            more=False,
            unit=" s",
            figures=f"{median(seconds):.1f} s",
        )
        for title, seconds in starts.items()
    ]
