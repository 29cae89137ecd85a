"""Every example of docs/operating.md prints what the document says, on a registry of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from msgspec.structs import replace

from tests.databases import Server
from tests.doc_examples import ROOT, Example, examples, matches, run
from tests.service import ADMIN_KEY, Service, cloned, running

EXAMPLES = list(examples(ROOT / "docs" / "operating.md"))


@pytest_asyncio.fixture(scope="module")
async def service(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    async with cloned(server, admin, "operating") as settings, running(settings) as service:
        yield service


def test_the_document_has_examples() -> None:
    assert len(EXAMPLES) == 8


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_an_example_prints_what_the_document_says(service: Service, example: Example, work: Path) -> None:
    environment = {"REGISTRY_URL": service.url, "REGISTRY_KEY": ADMIN_KEY, "KEY": ADMIN_KEY, "WORK": str(work)}
    # A command with its own data directory runs the bundled server there.
    if "--data-dir" not in example.command:
        settings = service.settings
        environment["REGISTRY_DATABASE_URL"] = str(settings.database_url)
        environment["REGISTRY_DATA_DIR"] = str(settings.data_dir)
    example = replace(example, command=example.command.replace("http://127.0.0.1:8000", service.url))
    printed = await run(example, environment)
    assert matches(printed, example.output), printed
