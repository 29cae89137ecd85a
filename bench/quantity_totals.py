"""Imports trackers with MW and GPUs; compares totals and filters of them with those of DuckDB on the raw files.

    python -m bench.quantity_totals CENTERS TIMELINES [PROJECTS]

CENTERS and TIMELINES are the two sheets of Epoch AI's Frontier Data Centers (CC BY 4.0), from
https://epoch.ai/data/data-centers, in the release of May 2026. They are imported by the mapping in docs/mappings, with
the IT power as a metric beside the power of the site. PROJECTS is the workbook of the Non-US Data Center Registry, from
the GitHub repository alarichardson/non-us-data-center-registry, which has numbers of GPUs. No file is part of this
repository.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import duckdb
import httpx
import openpyxl

from bench import service
from bench.clean_investment_monitor import command
from registry.infra.embedded.server import Embedded

MAPPING = service.ROOT / "docs" / "mappings" / "epoch-frontier-data-centers.toml"
PUBLISHED = "2026-05-20"

IT_POWER = """
[[metric]]
metric = "it_power_mw"
basis = "planned"
site = "campus"
value = { join = "timelines", column = "IT power (MW)", empty = ["0", "0.0"] }
"""

PROJECTS = """
scheme = "non-us"
[sheet]
name = "infrastructure project data"
[source]
publisher = "Non-US Data Center Registry"
[deal]
key = "p_id"
slug = "non-us-"
title = { text = "Project {p_id}" }
[deal.classifications]
project_type = { column = "project_type" }
[[metric]]
metric = "gpus"
basis = "planned"
value = { column = "gpu_count" }
"""

# The largest power of each center is its plan; the country is that of the center.
CREATE_POWER = """
CREATE TABLE power AS
SELECT c.Country AS country, max(t."Power (MW)") AS mw, arg_max(t."IT power (MW)", t."Power (MW)") AS it_mw
  FROM read_csv(?, all_varchar = false) AS c
       JOIN read_csv(?, types = {'Power (MW)': 'DECIMAL(24, 6)', 'IT power (MW)': 'DECIMAL(24, 6)'}) AS t
            ON t."Data center" = c.Name
 GROUP BY c.Name, c.Country
"""

COUNTRIES = {
    "United States": "US",
    "Portugal": "PT",
    "Malaysia": "MY",
    "China": "CN",
    "Indonesia": "ID",
    "United Arab Emirates": "AE",
}

BOUNDS = ("50", "300", "999.5", "2000")
"""Megawatts of which the filters of lists are compared with the files."""

Sums = dict[str, Decimal]


class Comparison:
    """Counts the sums that were compared, and prints those that differ."""

    def __init__(self) -> None:
        self.compared = self.differing = 0

    def check(self, name: str, ours: Sums, theirs: Sums) -> None:
        """Compare two sets of sums exactly."""
        wrong = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        self.compared += len({*ours, *theirs})
        self.differing += len(wrong)
        print(f"{name}: {len({*ours, *theirs})} sums, {len(wrong)} differ")
        for key in wrong[:5]:
            print(f"  {key}: registry {ours.get(key)}, file {theirs.get(key)}")


async def totals(client: httpx.AsyncClient, measure: str, by: str) -> Sums:
    """The upper bounds of a measure, overall and by a dimension."""
    asked = {"measure": measure, "group_by": by, "effective_on": PUBLISHED, "lines": "0", "limit": "1000"}
    answer = await client.get("/v1/totals", params=asked)
    answer.raise_for_status()
    found = answer.json()["totals"]
    groups = [("all", found["overall"]), *((group["key"], group) for group in found["groups"])]
    sums = {key: sum((Decimal(c["high"]) for c in group["columns"]), Decimal(0)) for key, group in groups}
    return {key: value for key, value in sums.items() if value}


async def counts(client: httpx.AsyncClient, measure: str) -> Sums:
    """The numbers of deals with at least so much of a measure."""
    found: Sums = {}
    for bound in BOUNDS:
        asked = {"metric": measure, "metric_min": bound, "effective_on": PUBLISHED, "limit": "1000"}
        answer = await client.get("/v1/deals", params=asked)
        answer.raise_for_status()
        found[bound] = Decimal(len(answer.json()["deals"]))
    return found


def grouped(rows: Sequence[tuple[str, Decimal]]) -> Sums:
    """The same sums of rows of a file."""
    sums: Sums = {}
    for key, value in rows:
        for name in ("all", key):
            sums[name] = sums.get(name, Decimal(0)) + value
    return {key: value for key, value in sums.items() if value}


def centers_from(centers: Path, timelines: Path, column: str) -> Sums:
    """The numbers of centers with at least so much in a column of Epoch's sheets."""
    database = duckdb.connect()
    database.execute(CREATE_POWER, [str(centers), str(timelines)])
    counted = (database.execute(f"SELECT count(*) FROM power WHERE {column} >= {bound}").fetchone() for bound in BOUNDS)
    return {bound: Decimal(row[0]) for bound, row in zip(BOUNDS, counted, strict=True) if row is not None}


def power_of(centers: Path, timelines: Path, column: str) -> Sums:
    """The sums of a column of Epoch's sheets, overall and by country."""
    database = duckdb.connect()
    database.execute(CREATE_POWER, [str(centers), str(timelines)])
    rows = database.execute(f"SELECT country, {column} FROM power WHERE {column} IS NOT NULL").fetchall()
    return grouped([(COUNTRIES[country], value) for country, value in rows])


def gpus_of(workbook: Path) -> Sums:
    """The sums of GPUs of the registry's workbook, overall and by type of project."""
    sheet = openpyxl.load_workbook(workbook, read_only=True, data_only=True)["infrastructure project data"]
    head, *rows = sheet.iter_rows(values_only=True)
    gpus, type = head.index("gpu_count"), head.index("project_type")
    return grouped([(str(row[type]), Decimal(str(row[gpus]))) for row in rows if isinstance(row[gpus], (int, float))])


async def run(centers: Path, timelines: Path, projects: Path | None) -> bool:
    """Import and compare; return whether all sums are equal."""
    comparison = Comparison()
    with tempfile.TemporaryDirectory(prefix="registry-bench-") as name:
        folder = Path(name)
        # Postgres may run as another user than this process.
        folder.chmod(0o711)
        epoch, non_us = folder / "epoch.toml", folder / "non-us.toml"
        epoch.write_text(MAPPING.read_text("utf-8") + IT_POWER, "utf-8")
        non_us.write_text(PROJECTS, "utf-8")
        with Embedded(folder / "data") as server:
            async with service.database(server) as made, service.registry(made) as process:
                key = await service.key(made)
                sheets: list[tuple[list[Path], Path]] = [([centers, timelines], epoch)]
                sheets += [([projects], non_us)] if projects is not None else []
                for files, mapping in sheets:
                    options = ("--mapping", str(mapping), "--published-on", PUBLISHED)
                    _, printed = await command(process, key, *map(str, files), *options)
                    print(printed)
                async with httpx.AsyncClient(base_url=process.url, timeout=600) as client:
                    await service.answered(client, "/v1/totals?limit=1")
                    for measure, column in (("power_mw", "mw"), ("it_power_mw", "it_mw")):
                        ours = await totals(client, measure, "country")
                        comparison.check(f"{measure} by country", ours, power_of(centers, timelines, column))
                        files_have = centers_from(centers, timelines, column)
                        comparison.check(f"deals from so many {measure}", await counts(client, measure), files_have)
                    if projects is not None:
                        ours = await totals(client, "gpus", "classification:project_type")
                        comparison.check("gpus by type of project", ours, gpus_of(projects))
    print(f"{comparison.compared} sums compared, {comparison.differing} differ")
    return comparison.differing == 0


def main() -> None:
    """Run the comparison that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench.quantity_totals", description=__doc__)
    parser.add_argument("centers", type=Path)
    parser.add_argument("timelines", type=Path)
    parser.add_argument("projects", type=Path, nargs="?")
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(run(arguments.centers, arguments.timelines, arguments.projects)) else 1)


if __name__ == "__main__":
    main()
