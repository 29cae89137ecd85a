"""What every benchmark uses: the server, the sizes, both sides of a comparison, and helpers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
from msgspec import Struct

from bench import load_generator, service, workload
from bench.load_generator import Load, RequestPlan
from bench.service import BenchDatabase, Process
from bench.sizes import Sizes
from registry.infra.embedded.server import Embedded

CONNECTIONS = 64


class Bench(Struct):
    """A run: the server, the folder of its data, its sizes, and whether to use our own load client beside wrk."""

    server: Embedded
    folder: Path
    sizes: Sizes
    own_load: bool = False

    def log_progress(self, text: str) -> None:
        """Print a line of progress to standard error."""
        print(f"  {text}", file=sys.stderr, flush=True)

    async def load(self, process: Process, requests: RequestPlan, connections: int = CONNECTIONS) -> Load:
        """Send the requests for one repetition. Raises on an error response, which is faster than a full answer."""
        load = await load_generator.run(process.url, requests, connections, self.sizes.seconds, own=self.own_load)
        self.log_progress(f"{load.rate:10,.0f}/s  p50 {load.p50:7.2f} ms  p99 {load.p99:7.2f} ms  {process.url}")
        if load.errors:
            raise RuntimeError(f"{load.errors} responses were errors")
        return load

    def posts(self, key: str, rate: float, first: int) -> RequestPlan:
        """More POSTs than the service can answer in a repetition."""
        deals = max(workload.BLOCK, int(rate * max(1, self.sizes.seconds) / workload.ROUNDS) + 1)
        return RequestPlan(workload.posts(deals, key, first), repeat=False)


@asynccontextmanager
async def both(bench: Bench) -> AsyncIterator[tuple[BenchDatabase, Process, BenchDatabase, Process]]:
    """The registry and the baseline application, each on its own database."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(service.database(bench.server))
        baseline = await stack.enter_async_context(service.database(bench.server, migrated=False))
        yield (
            ours,
            await stack.enter_async_context(service.registry(ours)),
            baseline,
            await stack.enter_async_context(service.baseline(baseline)),
        )


def midpoint(values: Sequence[float]) -> str:
    """The median as text."""
    return f"{median(values):,.0f}" if median(values) >= 100 else f"{median(values):.3g}"


async def fetch_value(url: str, query: str) -> Any:
    """The single value that a query returns."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
