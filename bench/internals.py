"""Benchmarks below HTTP: processor time of one event, and a partitioned log in Postgres."""

from __future__ import annotations

from bench import partitions as partitioning
from bench import service, workload
from bench import validation_cost as event_costs
from bench.context import Bench
from bench.report import Measurement


async def partitions(bench: Bench) -> list[Measurement]:
    """The log in one table, and in ten partitions."""
    async with service.database(bench.server) as database:
        one, ten = await partitioning.costs(database.owner_url, bench.sizes.partitioned)
    return [
        Measurement(
            measure=f"{name} of {bench.sizes.partitioned:,}, in the database: ten partitions ÷ one table",
            ratios=[b / a],
            must=None,
            aim=None,
            figures=f"{b:.3g} ms ÷ {a:.3g} ms",
        )
        for name, a, b in (
            ("append of 1,000 events to a log", one.append, ten.append),
            ("lookup of a stream's last event in a log", one.stream, ten.stream),
            ("lookup of an event by id in a log", one.id, ten.id),
            ("a page of 1,000 events from a log", one.page, ten.page),
        )
    ]


async def validation(bench: Bench) -> list[Measurement]:
    """Processor time of one event in the write path, without HTTP and database."""
    deals = bench.sizes.small
    costs = [await event_costs.costs(deals, n * deals) for n in range(bench.sizes.repetitions)]
    return [
        Measurement(
            measure=f"processor time of an event in process, {name}",
            ratios=times,
            must=None,
            aim=None,
            unit=" µs",
            figures=f"{bench.sizes.small * workload.ROUNDS:,} events, no database",
        )
        for name, times in (
            ("decoding its line", [cost.decoding_us for cost in costs]),
            ("validating it (rules, fold, flags, canonical bytes, hashes)", [cost.validation_us for cost in costs]),
            ("computing its projection rows", [cost.projection_us for cost in costs]),
        )
    ]
