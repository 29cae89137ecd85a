"""A service of each test's own, and `registry import` as somebody at a terminal would run it against it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import typer
from msgspec import Struct

from registry.cli import import_sheets
from registry.infra.settings import Settings
from tests.api.conftest import ADMIN_KEY, Service, running
from tests.conftest import ScratchDatabase

EXCERPT = Path(__file__).parent / "data"
MAPPING = Path(__file__).parents[2] / "docs" / "epoch-frontier-data-centers.toml"
DECEMBER, MAY = "2025-12-15", "2026-05-20"


class Ran(Struct, frozen=True):
    """What a command wrote, and how it ended."""

    out: str
    err: str
    code: int


Import = Callable[..., Awaitable[Ran]]


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


@pytest.fixture
def import_(service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Import:
    """Runs `registry import FILE… --mapping --published-on --dry-run`."""
    monkeypatch.setenv("REGISTRY_KEY", ADMIN_KEY)

    async def run(
        *files: Path, mapping: Path | None = None, published_on: str | None = None, dry_run: bool = False
    ) -> Ran:
        code = 0
        try:
            await asyncio.to_thread(
                import_sheets.import_sheets, files, mapping, published_on, service.url, dry_run=dry_run, as_json=False
            )
        except typer.Exit as end:
            code = end.exit_code
        told = capsys.readouterr()
        return Ran(told.out, told.err, code)

    return run


@pytest.fixture
def vintage(import_: Import) -> Import:
    """Imports the Epoch sheets of one day, from the excerpt or from a folder with the whole files."""

    async def run(day: str, *, folder: Path = EXCERPT, mapping: Path = MAPPING, dry_run: bool = False) -> Ran:
        files = [folder / f"{day[:7]}_{sheet}.csv" for sheet in ("centers", "timelines")]
        return await import_(*files, mapping=mapping, published_on=day, dry_run=dry_run)

    return run
