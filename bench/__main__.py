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
from collections.abc import Callable
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


async def run(
    sizes: Sizes,
    only: list[str],
    *,
    own_load: bool = False,
    data: Path | None = None,
    done: Callable[[dict[str, list[Measurement]], dict[str, str]], None] = lambda rows, settings: None,
) -> tuple[dict[str, list[Measurement]], dict[str, str]]:
    """Run the named benchmarks, or all; return the rows of each, and the settings of the Postgres server.

    Args:
        sizes: How large the run is.
        only: The names of benchmarks.
        own_load: Use our own load client even where wrk is installed.
        done: Called after each benchmark with what there is so far.
        data: A folder where the server's data and the prepared logs stay. Default: a temporary folder.
    """
    unknown = set(only) - BENCHMARKS.keys()
    if unknown:
        raise SystemExit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as temporary:
        folder = data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        # Postgres may run as another user than this process.
        folder.chmod(0o711)
        with Embedded(folder / "data", settings={"max_connections": "300"}) as server:
            connection = await asyncpg.connect(server.url(OWNER_ROLE, "postgres"))
            settings = {name: await connection.fetchval(f"SHOW {name}") for name in SETTINGS_SHOWN}
            await connection.close()
            bench = Bench(server, folder, sizes, own_load)
            rows: dict[str, list[Measurement]] = {}
            for name, benchmark in BENCHMARKS.items():
                if not only or name in only:
                    print(name, file=sys.stderr, flush=True)
                    measurements = await benchmark(bench)
                    print(report.table(measurements), file=sys.stderr, flush=True)
                    rows[name] = measurements
                    done(rows, settings)
            return rows, settings


def main() -> None:
    """Run the benchmarks that the arguments name, print the results and write them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, in minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="BENCHMARK", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--out",
        type=Path,
        help="where to write the results; with --only, into the sections of a file that is there."
        " Default: bench/results.md for a full run, else nowhere",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="keep the server's data and the imported logs here, for later runs"
    )
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    started, busy = time.monotonic(), os.getloadavg()[0]
    sent_by = "wrk, one thread" if load_generator.has_wrk() else "the client in bench/load_generator.py"
    description = (
        f"{sizes.name}: {sizes.seconds:g} s per repetition, {sizes.repetitions} repetitions, "
        f"{sizes.large * workload.ROUNDS:,} events"
    )
    out = arguments.out or (None if arguments.quick or arguments.only else RESULTS)
    # The sections of a run of some benchmarks replace those of an earlier run.
    earlier = report.read_sections(out.read_text()) if out is not None and out.exists() and arguments.only else {}

    def write(rows: dict[str, list[Measurement]], settings: dict[str, str]) -> None:
        """Write what there is so far: a run that is interrupted keeps it."""
        found = report.sections(rows, busy)
        ordered = {name: section for name in BENCHMARKS if (section := found.get(name) or earlier.get(name))}
        text = report.document(ordered, settings, sent_by, description)
        if out is not None:
            out.write_text(text)
        else:
            print(text)

    asyncio.run(run(sizes, arguments.only, data=arguments.data, done=write))
    print(f"{(time.monotonic() - started) / 60:.0f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
