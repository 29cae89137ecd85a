"""Imports of sheets with the command: its memory, its rate beside NDJSON, and a second import.

    python -m bench.sheet_import [--rows 50000] [--columns 60] [--format xlsx csv]

A made-up tracker is imported by its mapping into an empty registry, and then a second time. The same announcements are
imported as NDJSON into another registry in the same run. As the benchmark `sheets`, it has the rows of `sizes.py`, and
one repetition: the full size takes eight minutes on an idle machine with two processors.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import xlsxwriter
from msgspec import Struct

from bench import service
from bench.clean_investment_monitor import Nothing
from bench.context import Bench
from bench.report import Measurement
from bench.service import Process
from registry.imports import mapping, workbook
from registry.imports.tracker.plan import make_plan
from registry.infra.embedded.server import Embedded

PUBLISHED = "2026-05-20"
FORMATS = ("xlsx", "csv")
WIDTH = 60
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


class SheetImport(Struct, frozen=True):
    """The imports of a sheet: the first one, a second one, and that of its announcements as NDJSON."""

    announcements: int
    first: CommandRun
    again: CommandRun
    lines: CommandRun


def sheet_rows(rows: int, columns: int) -> Iterator[list[str]]:
    """The rows of the tracker, its header first."""
    yield [*COLUMNS, *(f"Further {i}" for i in range(columns - len(COLUMNS)))]
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
        yield [*known, *(f"text {i * j % 9973}" for j in range(columns - len(COLUMNS)))]


def write_sheet(file: Path, rows: int, columns: int) -> None:
    """Write the tracker's sheet, row by row, in the format of the file's ending."""
    if file.suffix == ".csv":
        with file.open("w", encoding="utf-8", newline="") as text:
            csv.writer(text).writerows(sheet_rows(rows, columns))
        return
    book = xlsxwriter.Workbook(str(file), {"constant_memory": True})
    sheet = book.add_worksheet("Plants")
    for number, cells in enumerate(sheet_rows(rows, columns)):
        sheet.write_row(number, 0, cells)
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


async def imports(server: Embedded, folder: Path, format: str, rows: int, columns: int) -> SheetImport:
    """Import a sheet twice, and its announcements as NDJSON, with the command."""
    sheet, mapping_file, lines = folder / f"plants.{format}", folder / "plants.toml", folder / "plants.ndjson"
    mapping_file.write_text(MAPPING, "utf-8")
    write_sheet(sheet, rows, columns)
    count = write_lines(sheet, mapping_file, lines)
    options = (str(sheet), "--mapping", str(mapping_file), "--published-on", PUBLISHED)
    async with service.database(server) as made, service.registry(made) as process:
        key = await service.key(made)
        first, again = [await command(process, key, *options) for _ in range(2)]
    async with service.database(server) as made, service.registry(made) as process:
        plain = await command(process, await service.key(made), str(lines))
    return SheetImport(count, first, again, plain)


async def sheets(bench: Bench) -> list[Measurement]:
    """Measure the imports of a sheet of each format."""
    measurements: list[Measurement] = []
    rows = bench.sizes.sheet_rows
    for format in FORMATS:
        with tempfile.TemporaryDirectory(prefix="sheets-", dir=bench.folder) as name:
            found = await imports(bench.server, Path(name), format, rows, WIDTH)
        title = f"{format.upper()} of {rows:,} rows × {WIDTH} columns"
        first, again, lines = found.first, found.again, found.lines
        measurements += [
            Measurement(
                measure=f"{title}: rate of announcements; the same as NDJSON",
                ratios=[lines.seconds / first.seconds],
                must=0.5,
                aim=None,
                figures=f"{found.announcements / first.seconds:,.0f}/s; {found.announcements / lines.seconds:,.0f}/s",
            ),
            Measurement(
                measure=f"{title}: time of a second import; of the first",
                ratios=[again.seconds / first.seconds],
                must=0.3,
                aim=None,
                figures=f"{again.seconds:.0f} s, {again.printed}; {first.seconds:.0f} s, {first.printed}",
                more=False,
            ),
            Measurement(
                measure=f"{title}: peak memory of the command",
                ratios=[max(first.megabytes, again.megabytes)],
                must=250,
                aim=None,
                figures=f"{found.announcements:,} announcements",
                more=False,
                unit="MB",
            ),
        ]
    return measurements


async def run(formats: Sequence[str], rows: int, columns: int) -> None:
    """Measure each format once, and print."""
    for format in formats:
        with tempfile.TemporaryDirectory(prefix="registry-bench-") as name:
            folder = Path(name)
            # Postgres may run as another user than this process.
            folder.chmod(0o711)
            with Embedded(folder / "data") as server:
                found = await imports(server, folder, format, rows, columns)
            first, again, plain = found.first, found.again, found.lines
            print(f"{format}: {rows} rows × {columns} columns, {found.announcements} announcements")
            print(f"sheet: {first.seconds:.1f} s, peak {first.megabytes:.0f} MB: {first.printed}")
            print(f"again: {again.seconds:.1f} s, {again.seconds / first.seconds:.2f} of the first: {again.printed}")
            print(f"NDJSON: {plain.seconds:.1f} s; the sheet has {plain.seconds / first.seconds:.2f} of its rate")


def main() -> None:
    """Measure with the sizes that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.sheet_import", description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--columns", type=int, default=WIDTH)
    parser.add_argument("--format", nargs="+", choices=FORMATS, default=FORMATS)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.format, arguments.rows, arguments.columns))


if __name__ == "__main__":
    main()
