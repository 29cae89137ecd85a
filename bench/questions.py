"""Benchmarks of questions about all deals, with one write a second, beside DuckDB over the exported tables."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import httpx
from msgspec import Struct

from bench import service, workload
from bench.context import Bench
from bench.report import Measurement
from bench.service import BenchDatabase

AMOUNT = "sum(value::DECIMAL(24, 6)), count(*)"
KEYED = "SELECT {key} AS key, currency, " + AMOUNT + " FROM pledges {join} GROUP BY ALL ORDER BY 3 DESC LIMIT 100"
OF_DEALS = "JOIN (SELECT deal, {columns} FROM deals) AS d USING (deal)"


def _keyed(key: str, columns: str = "") -> str:
    return KEYED.format(key=key, join=OF_DEALS.format(columns=columns) if columns else "")


FACETS = " UNION ALL ".join(
    f"SELECT '{name}', {value}::VARCHAR AS value, count(*) FROM {table} GROUP BY ALL"
    for name, value, table in (
        ("stage", "stage", "deals"),
        ("kind", "kind", "deals"),
        ("sector", "value", "(SELECT unnest(string_split(sectors, '; ')) AS value FROM deals)"),
        ("organization", "value", "(SELECT unnest(string_split(organizations, '; ')) AS value FROM deals)"),
        ("region", "value", "(SELECT unnest(string_split(places, '; ')) AS value FROM deals)"),
        ("currency", "currency", "(SELECT DISTINCT deal, currency FROM pledges)"),
        ("commitment", "commitment", "(SELECT DISTINCT deal, commitment FROM pledges)"),
    )
)
CONVERTED = """
SELECT sum(CASE currency WHEN 'USD' THEN 1400 WHEN 'EUR' THEN 1500 WHEN 'JPY' THEN 9.3 ELSE 1 END
           * value::DECIMAL(24, 6))
  FROM pledges
"""


class Question(Struct, frozen=True):
    """A question: its title and address, the same in DuckDB (None: measured against GET of a deal), and its bounds."""

    title: str
    path: str
    sql: str | None
    must: float
    aim: float


QUESTIONS = (
    Question("totals", "/v1/totals?lines=0", f"SELECT currency, {AMOUNT} FROM pledges GROUP BY ALL", 5, 1.5),
    Question("totals by organization", "/v1/totals?lines=0&group_by=organization", _keyed('"by"'), 5, 1.5),
    Question(
        "totals by region",
        "/v1/totals?lines=0&group_by=region",
        _keyed("region", "unnest(string_split(places, '; ')) AS region"),
        5,
        1.5,
    ),
    Question(
        "totals by sector",
        "/v1/totals?lines=0&group_by=sector",
        _keyed("sector", "unnest(string_split(sectors, '; ')) AS sector"),
        5,
        1.5,
    ),
    Question("totals by stage", "/v1/totals?lines=0&group_by=stage", _keyed("stage"), 5, 1.5),
    Question("totals by year", "/v1/totals?lines=0&group_by=year", _keyed("year(announced_on::DATE)"), 5, 1.5),
    Question("totals, converted", "/v1/totals?lines=0&currency=KRW", CONVERTED, 5, 1.5),
    Question("totals of a region", "/v1/totals?lines=0&region=KR-31", _keyed("currency", "places"), 5, 1.5),
    Question("facets", "/v1/deals?limit=1&facets=true", FACETS, 5, 1.5),
    Question("facets in the past", "/v1/deals?limit=1&facets=true&published_on=2024-01-01", FACETS, 5, 1.5),
    Question("a page by amount", "/v1/deals?sort=-amount", None, 10, 3),
    Question("a page by title", "/v1/deals?sort=title", None, 10, 3),
    Question("a page by the latest change", "/v1/deals?sort=-updated", None, 10, 3),
    Question("a filtered page in the past", "/v1/deals?region=KR-31&sort=-amount&position=500", None, 10, 3),
    Question("portfolio page", "/", None, 50, 15),
    Question("comparison of the last 1,000 positions", "/v1/compare?from.position={before}", None, 20, 5),
    Question("organization page", "/organizations/organization-005", None, 20, 5),
)


async def questions(bench: Bench, database: BenchDatabase) -> list[Measurement]:
    """Each question as the first one after a write, and again while nothing changes."""
    key = await service.key(database)
    rows: list[Measurement] = []
    async with service.registry(database) as process, httpx.AsyncClient(base_url=process.url, timeout=600) as client:
        started = time.perf_counter()
        (await client.get("/")).raise_for_status()
        start = time.perf_counter() - started
        with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
            peer = await _exported(client, Path(folder))
            head = (await client.get("/v1/deals?limit=1")).json()["position"]
            of_deal = [
                await _milliseconds(client, f"/v1/deals/{workload.slug(n)}") for n in range(min(50, bench.sizes.large))
            ]
            async with _one_write_a_second(client, key):
                for question in QUESTIONS:
                    path = question.path.format(before=max(1, head - 1000))
                    rows.append(await _measured(bench, client, peer, question, path, median(of_deal)))
            peer.close()
        memory = process.megabytes
    return [
        *rows,
        _reported("memory of the service, the columnar copy included", memory, 500, 300, " MB"),
        _reported("start of a service until it answers the portfolio page", start, 15, 5, " s"),
    ]


async def _measured(
    bench: Bench, client: httpx.AsyncClient, peer: Any, question: Question, path: str, of_deal: float
) -> Measurement:
    first, again, peers = [], [], []
    for _ in range(bench.sizes.repetitions):
        await asyncio.sleep(1.1)  # so that something was written
        first.append(await _milliseconds(client, path))
        again.append(await _milliseconds(client, path))
        if question.sql is not None:
            begin = time.perf_counter()
            await asyncio.to_thread(lambda sql: peer.execute(sql).fetchall(), question.sql)
            peers.append((time.perf_counter() - begin) * 1000)
    base = peers or [of_deal] * len(first)
    name = "DuckDB over the exported Parquet" if peers else "GET of a deal"
    return Measurement(
        measure=f"{question.title}, first after a write ÷ {name}",
        ratios=[one / other for one, other in zip(first, base, strict=True)],
        must=question.must,
        aim=question.aim,
        more=False,
        figures=f"{median(first):.1f} ms (again {median(again):.1f} ms) ÷ {median(base):.1f} ms",
    )


def _reported(measure: str, value: float, must: float, aim: float, unit: str) -> Measurement:
    return Measurement(
        measure=measure, ratios=[value], must=must, aim=aim, more=False, unit=unit, figures=f"{value:.1f}{unit}"
    )


async def _milliseconds(client: httpx.AsyncClient, path: str) -> float:
    begin = time.perf_counter()
    (await client.get(path)).raise_for_status()
    return (time.perf_counter() - begin) * 1000


async def _exported(client: httpx.AsyncClient, folder: Path) -> Any:
    """DuckDB with the exported deals and pledges as Parquet."""
    connection = duckdb.connect(config={"threads": 2})
    for kind in ("deals", "pledges"):
        text, parquet = folder / f"{kind}.csv", folder / f"{kind}.parquet"
        async with client.stream("GET", f"/v1/export/{kind}.csv") as answer:
            with text.open("wb") as file:
                async for chunk in answer.aiter_bytes():
                    file.write(chunk)
        connection.execute(f"COPY (SELECT * FROM read_csv('{text}', all_varchar = true)) TO '{parquet}'")
        connection.execute(f"CREATE VIEW {kind} AS SELECT * FROM '{parquet}'")
    return connection


@asynccontextmanager
async def _one_write_a_second(client: httpx.AsyncClient, key: str) -> AsyncIterator[None]:
    """Record an event a second meanwhile."""

    async def write() -> None:
        step = workload.ROUNDS
        while True:
            body = workload.announcement(1, step)
            headers = {"Authorization": f"Bearer {key}"}
            answer = await client.post(f"/v1/deals/{workload.slug(1)}/events", json=body, headers=headers)
            answer.raise_for_status()
            step += 1
            await asyncio.sleep(1)

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
