"""A service for each test, and `registry import` as a user runs it against that service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from msgspec import Struct

from registry.cli import import_sheets
from registry.cli.import_sheets import ImportOptions
from registry.infra.settings import Settings
from tests.databases import ScratchDatabase
from tests.imports.plans import close_plans
from tests.service import ADMIN_KEY, Service, running

EXCERPT = Path(__file__).parent / "data"
MAPPINGS = Path(__file__).parents[2] / "docs" / "mappings"
MAPPING = MAPPINGS / "epoch-frontier-data-centers.toml"
DECEMBER, MAY = "2025-12-15", "2026-05-20"


class Question(Struct, frozen=True):
    """A question that the command prints."""

    id: str
    kind: str
    at: str
    text: str


class RowError(Struct, frozen=True):
    """What is wrong in a row."""

    at: str
    column: str
    value: str
    problem: str


class LineResult(Struct, frozen=True):
    """What the service answers for one announcement."""

    at: str
    status: int
    id: str = ""
    changes: list[dict[str, Any]] = []


class ImportRun(Struct, frozen=True):
    """The results of a command with `--json`, its error output and its exit code."""

    results: list[LineResult] = []
    questions: list[Question] = []
    errors: list[RowError] = []
    err: str = ""
    code: int = 0

    @property
    def recorded(self) -> int:
        """How many announcements were recorded."""
        return sum(result.status == 201 for result in self.results)

    @property
    def known(self) -> int:
        """How many announcements were recorded before."""
        return len(self.results) - self.recorded

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The kind and the cell of each question."""
        return [(question.kind, question.at) for question in self.questions]


Import = Callable[..., Awaitable[ImportRun]]


@pytest.fixture(autouse=True)
def closed_plans() -> Iterator[None]:
    """Close the plans that the test has made."""
    yield
    close_plans()


@pytest.fixture
async def service(database: ScratchDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    settings = Settings(
        database_url=database.app_url,
        owner_url=database.owner_url,
        data_dir=tmp_path,
        signing_key=tmp_path / "signing.key",
        admin_key=ADMIN_KEY,
    )
    async with running(settings) as service:
        yield service


async def events_of_deals(service: Service) -> int:
    """How many events of deals the log has."""
    return int(await service.pool.fetchval("SELECT count(*) FROM events WHERE stream LIKE 'deal/%'"))


@pytest.fixture
def import_(service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Import:
    """Run `registry import FILE… --json` with options."""
    monkeypatch.setenv("REGISTRY_KEY", ADMIN_KEY)

    async def run(*files: Path, **options: Any) -> ImportRun:
        code = 0
        try:
            await asyncio.to_thread(
                import_sheets.import_sheets, files, ImportOptions(as_json=True, **options), service.url
            )
        except typer.Exit as end:
            code = end.exit_code
        output = capsys.readouterr()
        # The service of the test logs to the same output.
        printed = "{\n" + output.out.partition("{\n")[2] if "{\n" in output.out else "{}"
        run = msgspec.json.decode(printed, type=ImportRun)
        return msgspec.structs.replace(run, err=output.err, code=code)

    return run


@pytest.fixture
def vintage(import_: Import, tmp_path: Path) -> Import:
    """Import the Epoch sheets of one day, from the excerpt or from a folder with the complete files."""

    async def run(day: str, *, folder: Path = EXCERPT, mapping: Path = MAPPING, **options: Any) -> ImportRun:
        files = [folder / f"{day[:7]}_{sheet}.csv" for sheet in ("centers", "timelines")]
        own = {"questions": tmp_path / "questions.toml", "report": tmp_path / "refused.csv", **options}
        return await import_(*files, mapping=mapping, published_on=day, **own)

    return run
