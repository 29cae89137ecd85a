"""Imports a large sheet with the command: its memory, its rate beside NDJSON, and a second import.

    python -m bench.sheet_import [--rows 50000] [--columns 60]

A made-up XLSX tracker is imported by its mapping into an empty registry, and then a second time. The same announcements
are imported as NDJSON into another registry in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import xlsxwriter
from msgspec import Struct

from bench import service
from bench.clean_investment_monitor import Nothing
from bench.service import Process
from registry.imports import mapping, workbook
from registry.imports.tracker.plan import make_plan
from registry.infra.embedded.server import Embedded

PUBLISHED = "2026-05-20"
STATES = ("GA", "CA", "TX", "OH", "MI", "TN")
STATUSES = ("Announced", "Building", "Running")
COLUMNS = ("ID", "Project", "Company", "State", "Announced", "Capex", "Status")

MAPPING = """
scheme = "bench"
country = "US"
[source]
publisher = "A made-up tracker"
[deal]
key = "ID"
slug = "bench-"
title = { column = "Project" }
effective_on = { column = "Announced" }
[[party]]
organization = { column = "Company" }
role = "owner"
[[site]]
site = "site"
place = { column = "State" }
[[pledge]]
pledge = "capex"
amount = { column = "Capex", times = "1000000" }
currency = "USD"
[[status]]
stage = { column = "Status", table = { Announced = "intention", Building = "construction", Running = "operating" } }
"""

# The command as a user runs it, which says at its end how much memory it had at most: VmHWM, because getrusage also
# counts what the process had before it became this command.
COMMAND = """
import atexit, pathlib, re, sys
from registry.cli import main
def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    sys.stderr.write("peak " + re.search("VmHWM:\\s+(\\d+)", status)[1] + chr(10))
atexit.register(peak)
main()
"""


class CommandRun(Struct, frozen=True):
    """How long a command took, its peak memory in MB, and what it printed last."""

    seconds: float
    megabytes: float
    printed: str


def write_sheet(file: Path, rows: int, columns: int) -> None:
    """Write the tracker's sheet, row by row."""
    book = xlsxwriter.Workbook(str(file), {"constant_memory": True})
    sheet = book.add_worksheet("Plants")
    sheet.write_row(0, 0, [*COLUMNS, *(f"Further {i}" for i in range(columns - len(COLUMNS)))])
    for i in range(rows):
        known = (
            f"P-{i}",
            f"Plant {i}",
            f"Company {i % 4001}",
            STATES[i % len(STATES)],
            f"20{15 + i % 10}-{i % 12 + 1:02}-{i % 28 + 1:02}",
            f"{i % 900 + 1:,}.5",
            STATUSES[i % len(STATUSES)],
        )
        sheet.write_row(i + 1, 0, [*known, *(f"text {i * j % 9973}" for j in range(columns - len(COLUMNS)))])
    book.close()


def write_lines(sheet: Path, mapping_file: Path, out: Path) -> int:
    """Write the announcements of the sheet as NDJSON; return how many there are."""
    read = mapping.parse(mapping_file.read_text("utf-8"), mapping_file.name)
    with workbook.open_sheets([sheet]) as sheets, out.open("wb") as lines:
        plan = make_plan(sheets, read, date.fromisoformat(PUBLISHED), Nothing(), {})
        assert plan is not None
        try:
            return sum(bool(lines.write(line.line + b"\n")) for line in plan.lines())
        finally:
            plan.spool.close()


async def command(process: Process, key: str, *arguments: str) -> CommandRun:
    """Run `registry import`."""
    start = time.perf_counter()
    run = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", COMMAND, "import", *arguments, "--url", process.url),
        env={**os.environ, "REGISTRY_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await run.communicate()
    if run.returncode != 0:
        raise RuntimeError(err.decode()[-2000:])
    peak = float(err.decode().rpartition("peak ")[2]) / 1024
    return CommandRun(time.perf_counter() - start, peak, out.decode().strip().rpartition("\n")[2])


async def run(rows: int, columns: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as name:
        folder = Path(name)
        # Postgres may run as another user than this process.
        folder.chmod(0o711)
        sheet, mapping_file, lines = folder / "plants.xlsx", folder / "plants.toml", folder / "lines.ndjson"
        mapping_file.write_text(MAPPING, "utf-8")
        write_sheet(sheet, rows, columns)
        count = write_lines(sheet, mapping_file, lines)
        print(f"{rows} rows × {columns} columns, {sheet.stat().st_size / 2**20:.0f} MB, {count} announcements")
        options = (str(sheet), "--mapping", str(mapping_file), "--published-on", PUBLISHED)
        with Embedded(folder / "data") as server:
            async with service.database(server) as made, service.registry(made) as process:
                key = await service.key(made)
                first = await command(process, key, *options)
                print(f"sheet: {first.seconds:.1f} s, peak {first.megabytes:.0f} MB: {first.printed}")
                second = await command(process, key, *options)
                ratio = second.seconds / first.seconds
                print(f"again: {second.seconds:.1f} s, {ratio:.2f} of the first: {second.printed}")
            async with service.database(server) as made, service.registry(made) as process:
                key = await service.key(made)
                plain = await command(process, key, str(lines))
        print(f"NDJSON: {plain.seconds:.1f} s; the sheet has {plain.seconds / first.seconds:.2f} of its rate")


def main() -> None:
    """Measure with the sizes that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.sheet_import", description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=60)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.rows, arguments.columns))


if __name__ == "__main__":
    main()
