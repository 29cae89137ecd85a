"""Totals are the same, line by line, in whatever order the deals were recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from registry.domain.history import AsOf
from registry.domain.totals import Totals, TotalsQuery
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.selection import Selection
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.conftest import ScratchDatabase

SLUGS = ("cable", "anode", "boiler", "dock")


@pytest.mark.parametrize("order", [SLUGS, SLUGS[::-1]])
@pytest.mark.parametrize("query", [TotalsQuery(lines=2), TotalsQuery(lines=2, group_by=("organization",))])
async def test_totals_list_the_first_deals_by_name(
    database: ScratchDatabase, pool: Pool, tmp_path: Path, order: Sequence[str], query: TotalsQuery
) -> None:
    async with running_recorder(database.app_url) as recorder:
        for slug in order:
            pledge = pledged("total")
            pledge["event"]["by"] = ["investor"]
            await recorder.record(request(slug, REGISTERED, pledge))
    streams = StreamReader(pool)
    async with ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        point = await queries.point(AsOf(effective_on=date(2026, 1, 1)))
        totals: Totals = await queries.totals(point, Selection(), query, await streams.rates(AsOf()))
    assert [line.deal for line in totals.overall.lines] == ["anode", "boiler"]
