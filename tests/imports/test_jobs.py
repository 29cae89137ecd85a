"""Totals of the jobs of an imported sheet are the sums of its columns."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.imports.conftest import Import
from tests.service import Service

MAPPING = """
scheme = "works"
country = "US"
[source]
publisher = "A list of works"
[deal]
key = "Id"
slug = "works-"
title = { column = "Works" }
effective_on = { column = "Announced" }
[[site]]
site = "site"
place = { column = "State" }
[[metric]]
metric = "jobs"
basis = "planned"
site = "site"
value = { column = "Jobs planned" }
effective_on = { column = "Announced" }
[[metric]]
metric = "jobs"
basis = "actual"
site = "site"
value = { column = "Jobs now" }
effective_on = { column = "Announced" }
"""

STATES = ("GA", "TX", "OH", "MI")
ROWS = 60


def write(file: Path) -> None:
    """Write a sheet in which some works state no jobs, and large numbers have separators."""
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["Id", "Works", "State", "Announced", "Jobs planned", "Jobs now"])
        for i in range(ROWS):
            planned = f"{i * 731 % 4000 + 1:,}" if i % 7 else ""
            now = f"{i * 37 % 900}" if i % 3 == 0 else ""
            writer.writerow([f"w{i}", f"Works {i}", STATES[i % 4], f"20{20 + i % 6}-0{i % 9 + 1}-15", planned, now])


def sums(file: Path, by: Callable[[dict[str, str]], str], until: str = "9999") -> dict[tuple[str, str], int]:
    """The sums of both columns by a value of the row, of the works announced by a day."""
    found: Counter[tuple[str, str]] = Counter()
    with file.open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            for basis, column in (("planned", "Jobs planned"), ("actual", "Jobs now")):
                if row[column] and row["Announced"] <= until:
                    found[by(row), basis] += int(row[column].replace(",", ""))
    return dict(found)


async def test_totals_of_jobs_equal_the_sums_of_the_sheet(service: Service, import_: Import, tmp_path: Path) -> None:
    sheet, mapping = tmp_path / "works.csv", tmp_path / "works.toml"
    write(sheet)
    mapping.write_text(MAPPING, "utf-8")
    run = await import_(sheet, mapping=mapping, published_on="2026-05-20")
    assert (run.code, run.errors, run.known) == (0, [], 0)

    async def totals(**asked: str) -> dict[tuple[str, str], int]:
        answer = await service.visitor.get("/v1/totals", params={"measure": "jobs", "limit": "100", **asked})
        assert answer.status_code == 200, answer.text
        found = answer.json()["totals"]
        groups = found["groups"] if "group_by" in asked else [{**found["overall"], "key": "all"}]
        for group in groups:
            assert all(column["low"] == column["high"] for column in group["columns"])
        return {(g["key"], column["nature"]): int(column["low"]) for g in groups for column in g["columns"]}

    assert await totals() == sums(sheet, lambda row: "all")
    assert await totals(group_by="region") == sums(sheet, lambda row: f"US-{row['State']}")
    for day in ("2021-12-31", "2023-06-30"):
        assert await totals(effective_on=day) == sums(sheet, lambda row: "all", day)
    found = await service.visitor.get("/v1/deals", params={"metric": "jobs", "metric_min": "3500", "limit": "1000"})
    with sheet.open(encoding="utf-8", newline="") as text:
        large = {
            f"works-{row['Id']}"
            for row in csv.DictReader(text)
            if int(row["Jobs planned"].replace(",", "") or 0) >= 3500
        }
    assert {deal["deal"] for deal in found.json()["deals"]} == large
