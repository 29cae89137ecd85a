"""`make bench`: runs the measures and writes bench/results.md.

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

from bench import load_generator, report
from bench.benchmarks import FULL, MEASURES, QUICK, Bench, Sizes
from bench.report import Measurement
from registry.infra.embedded.server import OWNER_ROLE, Embedded

RESULTS = Path(__file__).with_name("results.md")
ASKED = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "wal_level",
)


async def run(sizes: Sizes, only: list[str], *, own_load: bool = False) -> tuple[list[Measurement], dict[str, str]]:
    """The rows of these measures, and the settings of the server they ran on."""
    unknown = set(only) - MEASURES.keys()
    if unknown:
        raise SystemExit(f"no such measure: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
        # Postgres may run as another user than this process.
        Path(folder).chmod(0o711)
        with Embedded(Path(folder) / "data", settings={"max_connections": "300"}) as server:
            connection = await asyncpg.connect(server.url(OWNER_ROLE, "postgres"))
            settings = {name: await connection.fetchval(f"SHOW {name}") for name in ASKED}
            await connection.close()
            bench = Bench(server, sizes, own_load)
            rows: list[Measurement] = []
            for name, measure in MEASURES.items():
                if not only or name in only:
                    print(name, file=sys.stderr, flush=True)
                    found = await measure(bench)
                    print(report.table(found), file=sys.stderr, flush=True)
                    rows += found
            return rows, settings


def main() -> None:
    """Reads the arguments, runs, prints and writes."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, in minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--out", type=Path, help="where to write; bench/results.md for a full run, nowhere else")
    asked = parser.parse_args()
    sizes = QUICK if asked.quick else FULL
    started, busy = time.monotonic(), os.getloadavg()[0]
    rows, settings = asyncio.run(run(sizes, asked.only))
    sent_by = "wrk, one thread" if load_generator.has_wrk() else "the client in bench/load.py"
    told = (
        f"{sizes.name}: {sizes.seconds:g} s a repetition, {sizes.repetitions} repetitions, {sizes.large * 10:,} events"
    )
    text = report.document(rows, settings, sent_by, told, (time.monotonic() - started) / 60, busy)
    print(text)
    out = asked.out or (None if asked.quick or asked.only else RESULTS)
    if out is not None:
        out.write_text(text)


if __name__ == "__main__":
    main()


__all__ = ["main", "run"]
