"""Files of deals: their rows are written by a question to the copy."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from registry.domain.history import AsOf
from registry.exports.portfolio import Ask, portfolio_file
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.copy import Question
from registry.projections.columnar.selection import Selection
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.conftest import ScratchDatabase


@pytest.mark.parametrize("format", ["csv", "ndjson"])
async def test_file_has_each_row_once_if_the_copy_asks_again(
    database: ScratchDatabase, pool: Pool, tmp_path: Path, format: str
) -> None:
    async with running_recorder(database.app_url) as recorder:
        for slug in ("anode", "boiler"):
            await recorder.record(request(slug, REGISTERED, pledged("total")))
    streams = StreamReader(pool)
    async with ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        point = await queries.point(AsOf(effective_on=date(2026, 1, 1)))
        export = await queries.exported("deals", point, Selection(), AsOf())

        async def once(question: Question[None]) -> None:
            await queries.read(point, Selection(), question)

        async def again(question: Question[None]) -> None:
            # As the copy does when it finds its file damaged after some rows.
            await once(question)
            await once(question)

        async def written(ask: Ask) -> bytes:
            return b"".join([part async for part in portfolio_file(export, format, ask)])

        file = await written(once)
        assert file.count(b"anode") == 1
        assert await written(again) == file
