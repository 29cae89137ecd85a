"""`make bench`: run the benchmarks and write bench/results.md.

ARGS=--quick for smaller sizes, ARGS="--only reading" for some of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from bench import load_generator, report, workload
from bench.benchmarks import BENCHMARKS
from bench.context import Bench
from bench.report import Measurement
from bench.sizes import FULL, QUICK, Sizes
from registry.infra.embedded.server import OWNER_ROLE, Embedded

RESULTS = Path(__file__).with_name("results.md")
SETTINGS_SHOWN = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "wal_level",
)


async def run(sizes: Sizes, only: list[str], *, own_load: bool = False) -> tuple[list[Measurement], dict[str, str]]:
    """Run the named benchmarks, or all; return their rows and the settings of the Postgres server."""
    unknown = set(only) - BENCHMARKS.keys()
    if unknown:
        raise SystemExit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
        # Postgres may run as another user than this process.
        Path(folder).chmod(0o711)
        with Embedded(Path(folder) / "data", settings={"max_connections": "300"}) as server:
            connection = await asyncpg.connect(server.url(OWNER_ROLE, "postgres"))
            settings = {name: await connection.fetchval(f"SHOW {name}") for name in SETTINGS_SHOWN}
            await connection.close()
            bench = Bench(server, sizes, own_load)
            rows: list[Measurement] = []
            for name, benchmark in BENCHMARKS.items():
                if not only or name in only:
                    print(name, file=sys.stderr, flush=True)
                    measurements = await benchmark(bench)
                    print(report.table(measurements), file=sys.stderr, flush=True)
                    rows += measurements
            return rows, settings


def main() -> None:
    """Run the benchmarks that the arguments name, print the results and write them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, in minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="BENCHMARK", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--out", type=Path, help="where to write the results; default: bench/results.md for a full run, else nowhere"
    )
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    started, busy = time.monotonic(), os.getloadavg()[0]
    rows, settings = asyncio.run(run(sizes, arguments.only))
    sent_by = "wrk, one thread" if load_generator.has_wrk() else "the client in bench/load_generator.py"
    description = (
        f"{sizes.name}: {sizes.seconds:g} s per repetition, {sizes.repetitions} repetitions, "
        f"{sizes.large * workload.ROUNDS:,} events"
    )
    text = report.document(rows, settings, sent_by, description, (time.monotonic() - started) / 60, busy)
    print(text)
    out = arguments.out or (None if arguments.quick or arguments.only else RESULTS)
    if out is not None:
        out.write_text(text)


if __name__ == "__main__":
    main()


__all__ = ["main", "run"]
