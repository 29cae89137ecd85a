"""Imports the Clean Investment Monitor by its mapping and compares totals with those of DuckDB on the raw file.

    python -m bench.clean_investment_monitor FILE [--rates]

FILE is manufacturing_energy_and_industry_facility_metadata.csv of the release 2024-Q4 (CC BY 4.0), from
https://www.cleaninvestmentmonitor.org/database/ or, as of that release, from the GitHub repository
theomoers/clean-energy-investment. It is not part of this repository. Rows that are refused (impossible coordinates) are
mended in the report and imported from it, as an analyst does.

With --rates, the same announcements are imported as NDJSON into another registry, and the sheet a second time.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import httpx

from bench import service
from bench.service import BenchDatabase, Process
from registry.imports import mapping, workbook
from registry.imports.tracker.plan import make_plan
from registry.imports.tracker.registry import KnownDeal, SetBy
from registry.imports.values import slugify
from registry.infra.embedded.server import Embedded

MAPPING = service.ROOT / "docs" / "mappings" / "clean-investment-monitor.toml"
PUBLISHED = "2025-02-18"
DAYS = ("2018-12-31", "2020-06-30", "2022-08-16", "2023-12-31", "2025-02-18")

DOLLARS = "sum((Estimated_Total_Facility_CAPEX * 1000000)::DECIMAL(38, 0))"
COMPANY = r"trim(regexp_replace(Company, '\s*\(\d+\)$', ''))"


class Comparison:
    """Counts the sums that were compared, and prints those that differ."""

    def __init__(self, file: Path) -> None:
        self.compared = self.differing = 0
        self._db = duckdb.connect()
        with file.open(encoding="utf-8-sig") as lines:
            skip = next(i for i, line in enumerate(lines) if line.startswith("unique_id"))
        self._db.execute(
            f"CREATE TABLE raw AS SELECT * FROM read_csv('{file}', skip = {skip}, header = true, all_varchar = false, "
            "types = {'Estimated_Total_Facility_CAPEX': 'DECIMAL(24, 6)', 'Announcement_Date': 'DATE'})"
        )

    def sums(self, by: str, day: str = PUBLISHED) -> dict[str, Decimal]:
        """Dollars by an expression, of what was announced by a day.

        The release found some facilities cancelled: their amounts count until the day of the release.
        """
        cancelled = "Current_Facility_Status <> 'Canceled prior to operation'" if day >= PUBLISHED else "true"
        rows = self._db.execute(
            f"SELECT {by}, {DOLLARS} FROM raw WHERE Announcement_Date <= ? AND {cancelled} GROUP BY 1", [day]
        ).fetchall()
        return {str(key): Decimal(amount) for key, amount in rows if amount is not None}

    def check(self, name: str, ours: dict[str, Decimal], theirs: dict[str, Decimal]) -> None:
        """Compare two sets of sums to the dollar."""
        keys = {*ours, *theirs}
        wrong = {key for key in keys if ours.get(key, Decimal(0)) != theirs.get(key, Decimal(0))}
        self.compared += len(keys)
        self.differing += len(wrong)
        print(f"{name}: {len(keys)} sums, {len(wrong)} differ")
        for key in sorted(wrong)[:5]:
            print(f"  {key}: registry {ours.get(key)}, file {theirs.get(key)}")


class Nothing:
    """A registry without deals."""

    def recorded(self, ids: Any) -> set[Any]:
        """Nothing is recorded."""
        return set()

    def deals(self, scheme: str, keys: Any, on: date) -> dict[str, KnownDeal]:
        """There are no deals."""
        return {}

    def keys(self, scheme: str) -> Iterator[tuple[str, str]]:
        """There are no identifiers."""
        return iter(())

    def set_by(self, slug: str, on: date) -> dict[str, SetBy]:
        """Nothing was set."""
        return {}

    def event(self, id: Any) -> dict[str, Any]:
        """There are no events."""
        return {}


def ndjson(file: Path, out: Path) -> int:
    """Write the announcements of the sheet as lines; return how many there are."""
    read = mapping.parse(MAPPING.read_text("utf-8"), MAPPING.name)
    with workbook.open_sheets([file]) as sheets, out.open("wb") as lines:
        plan = make_plan(sheets, read, date.fromisoformat(PUBLISHED), Nothing(), {})
        assert plan is not None
        try:
            return sum(bool(lines.write(line.line + b"\n")) for line in plan.lines())
        finally:
            plan.spool.close()


async def command(process: Process, key: str, *arguments: str) -> tuple[float, str]:
    """Run `registry import`; return the seconds that it took and what it printed last."""
    start = time.perf_counter()
    run = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from registry.cli import main; main()", "import", *arguments, "--url", process.url),
        env={**os.environ, "REGISTRY_KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await run.communicate()
    return time.perf_counter() - start, out.decode().strip().rpartition("\n")[2]


def mend(report: Path) -> int:
    """Empty the cells that were refused; return how many rows the report has."""
    with report.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for column in row["#column"].split("; "):
            row[column] = ""
    with report.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def upper(group: dict[str, Any]) -> Decimal:
    """The upper bound of a group in US dollars."""
    return sum((Decimal(column["high"]) for column in group["columns"] if column["currency"] == "USD"), Decimal(0))


async def compare(client: httpx.AsyncClient, comparison: Comparison) -> None:
    """Compare totals overall, as of five days, by state, company, year and technology."""

    async def totals(**parameters: str) -> dict[str, Any]:
        answer = await client.get("/v1/totals", params={"effective_on": PUBLISHED, "lines": "0", **parameters})
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def grouped(by: str) -> dict[str, Decimal]:
        sums: dict[str, Decimal] = {}
        cursor: str | None = ""
        while cursor is not None:
            page = await totals(group_by=by, limit="1000", **({"cursor": cursor} if cursor else {}))
            sums |= {group["key"]: upper(group) for group in page["totals"]["groups"]}
            cursor = page["next"]
        return sums

    for day in DAYS:
        ours = {"all": upper((await totals(effective_on=day))["totals"]["overall"])}
        comparison.check(f"as of {day}", ours, comparison.sums("'all'", day))
    comparison.check("by state", await grouped("region"), comparison.sums("'US-' || State"))
    companies: dict[str, Decimal] = {}
    for name, amount in comparison.sums(COMPANY).items():
        companies[slugify(name)] = companies.get(slugify(name), Decimal(0)) + amount
    comparison.check("by company", await grouped("organization"), companies)
    comparison.check("by year of announcement", await grouped("year"), comparison.sums("year(Announcement_Date)"))
    # A facility has one technology, so its group is its sum.
    comparison.check("by technology", await grouped("classification:technology"), comparison.sums("Technology"))


async def run(file: Path, *, rates: bool) -> bool:
    """Import and compare; return whether all sums are equal."""
    comparison = Comparison(file)
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as folder:
        # Postgres may run as another user than this process.
        Path(folder).chmod(0o711)
        report, lines = Path(folder) / "refused.csv", Path(folder) / "lines.ndjson"
        options = ("--mapping", str(MAPPING), "--published-on", PUBLISHED, "--report", str(report))
        with Embedded(Path(folder) / "data") as server:
            async with service.database(server) as made, service.registry(made) as process:
                key = await service.key(made)
                first, printed = await command(process, key, str(file), *options)
                print(f"first import: {first:.1f} s: {printed}")
                if report.exists():
                    print(f"refused and mended: {mend(report)} rows")
                    seconds, printed = await command(process, key, str(report), *options[:4])
                    print(f"import of the report: {seconds:.1f} s: {printed}")
                if rates:
                    second, printed = await command(process, key, str(file), *options)
                    print(f"second import: {second:.1f} s, {second / first:.2f} of the first: {printed}")
                async with httpx.AsyncClient(base_url=process.url, timeout=600) as client:
                    await service.answered(client, "/v1/totals?limit=1")
                    await compare(client, comparison)
            if rates:
                async with service.database(server) as made:
                    await _import_lines(made, lines, ndjson(file, lines), first)
    print(f"{comparison.compared} sums compared, {comparison.differing} differ")
    return comparison.differing == 0


async def _import_lines(made: BenchDatabase, lines: Path, count: int, first: float) -> None:
    key = await service.key(made)
    async with service.registry(made) as process:
        seconds, _ = await command(process, key, str(lines))
    print(f"the same {count} announcements as NDJSON: {seconds:.1f} s; the sheet has {seconds / first:.2f} of the rate")


def main() -> None:
    """Run the comparison that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.clean_investment_monitor", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rates", action="store_true", help="compare with NDJSON and import twice")
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(run(arguments.file, rates=arguments.rates)) else 1)


if __name__ == "__main__":
    main()
