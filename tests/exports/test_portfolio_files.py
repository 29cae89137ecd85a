"""Files of deals: their rows are written by a question to the copy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date
from pathlib import Path

import pytest

from registry.domain.history import AsOf
from registry.exports.portfolio import Ask, portfolio_file
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.copy import CopyQuestion
from registry.projections.columnar.exported import PortfolioExport
from registry.projections.columnar.selection import Selection
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.databases import ScratchDatabase

Exported = tuple[PortfolioExport, Ask]


@pytest.fixture
async def exported(database: ScratchDatabase, pool: Pool, tmp_path: Path) -> AsyncIterator[Exported]:
    """What an export of two deals has, and what asks the copy for it."""
    async with running_recorder(database.app_url) as recorder:
        for slug in ("anode", "boiler"):
            await recorder.record(request(slug, REGISTERED, pledged("total")))
    streams = StreamReader(pool)
    async with ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        point = await queries.point(AsOf(effective_on=date(2026, 1, 1)))

        async def ask(question: CopyQuestion[None]) -> None:
            await queries.read(point, Selection(), question)

        yield await queries.exported("deals", point, Selection(), AsOf()), ask


@pytest.mark.parametrize("format", ["csv", "ndjson"])
async def test_file_has_each_row_once_if_the_copy_asks_again(exported: Exported, format: str) -> None:
    export, ask = exported

    async def again(question: CopyQuestion[None]) -> None:
        # As the copy does when it finds its file damaged after some rows.
        await ask(question)
        await ask(question)

    async def written(ask: Ask) -> bytes:
        return b"".join([part async for part in portfolio_file(export, format, ask)])

    file = await written(ask)
    assert file.count(b"anode") == 1
    assert await written(again) == file


async def test_file_is_sent_while_it_is_written_and_no_longer_written_when_its_reader_leaves(
    exported: Exported,
) -> None:
    export, ask = exported
    ended = asyncio.Event()

    async def endless(question: CopyQuestion[None]) -> None:
        try:
            await ask(question)
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with aclosing(portfolio_file(export, "csv", endless)) as parts:
        sent = b""
        async with asyncio.timeout(60):
            while b"boiler" not in sent:
                sent += await anext(parts)
    async with asyncio.timeout(60):
        await ended.wait()
