"""Totals and lists of all deals: their order, and terms that deals have had."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from registry.domain.history import AsOf
from registry.domain.totals import Totals, TotalsQuery
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.lists import Order
from registry.projections.columnar.selection import Selection
from registry.queries.log import LogQueries
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from registry.schemas.deal_query import DealListQuery, DealQuery
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.databases import ScratchDatabase

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


async def test_sums_are_carried_forward_by_new_deals_and_by_later_events_of_these(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    streams, query = StreamReader(pool), TotalsQuery(group_by=("organization",))
    async with running_recorder(database.app_url) as recorder, ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)

        async def totals(*, is_kept: bool) -> Totals:
            point = await queries.point(AsOf(effective_on=date(2026, 1, 1)))
            # Of a point that the log has gone beyond, nothing is kept.
            point = point if is_kept else replace(point, head=point.head + 1)
            return await queries.totals(point, Selection(), query, await streams.rates(AsOf()))

        await recorder.record(request("anode", REGISTERED, pledged("first")))
        assert await totals(is_kept=True) == await totals(is_kept=False)
        # The copy follows these together.
        for slug in ("boiler", "cable", "dock"):
            await recorder.record(request(slug, REGISTERED, pledged("first")))
        found = await totals(is_kept=True)
        assert found == await totals(is_kept=False)
        assert found.overall.columns[0].pledges == 4
        for slug in SLUGS:
            await recorder.record(request(slug, pledged("second")))
        found = await totals(is_kept=True)
        assert found == await totals(is_kept=False)
        assert found.overall.columns[0].pledges == 8


def sited(site: str) -> dict[str, Any]:
    """An announcement of a site."""
    event = {"type": "site_announced", "site": site, "place": "KR-31"}
    return {"effective_on": "2025-09-01", "event": event}


async def test_sums_are_carried_forward_by_events_with_and_without_what_they_count(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    streams, day, everything = StreamReader(pool), date(2026, 1, 1), Selection()
    in_korea = Selection(DealListQuery(region="KR"))
    async with running_recorder(database.app_url) as recorder, ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)

        async def answers(*, is_kept: bool) -> list[Any]:
            point = await queries.point(AsOf(effective_on=day))
            # Of a point that the log has gone beyond, nothing is kept.
            point = point if is_kept else replace(point, head=point.head + 1)
            return [
                await queries.places(point, everything),
                await queries.facets(point, everything),
                await queries.effective_change_days(point, 100),
                await queries.trend(point, everything, "USD", await streams.rates(AsOf()), [day]),
                await queries.trend(point, in_korea, "USD", await streams.rates(AsOf()), [day]),
            ]

        for slug in ("anode", "boiler", "cable"):
            await recorder.record(request(slug, REGISTERED))
        found: list[Any] = []
        for slug, announcement in (
            ("anode", sited("first")),
            ("anode", pledged("first")),
            ("boiler", sited("first")),
            ("boiler", pledged("first")),
            ("boiler", pledged("second")),
            ("anode", sited("second")),
            ("cable", pledged("first")),
            # It is selected from now on, although none of its amounts changes.
            ("cable", sited("first")),
        ):
            await recorder.record(request(slug, announcement))
            found = await answers(is_kept=True)
            assert found == await answers(is_kept=False)
        assert found[0] == [("KR-31", 3)]
        assert found[1]["region"] == {"KR": 3, "KR-31": 3}


OVERLAPS = {
    "effective_on": "2025-09-01",
    "event": {"type": "deals_related", "relation": "overlaps", "deal": "anode"},
}


async def test_amounts_over_time_may_be_the_first_question_about_deals_with_relations(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    async with running_recorder(database.app_url) as recorder:
        await recorder.record(request("anode", REGISTERED, pledged()))
        await recorder.record(request("cable", REGISTERED, pledged(), OVERLAPS))
        await recorder.record(request("dock", REGISTERED))
    streams = StreamReader(pool)
    day = date(2026, 1, 1)
    async with ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        now = await queries.point(AsOf(effective_on=day))
        past = await queries.point(AsOf(effective_on=day, position=now.position - 1))
        rates = await streams.rates(AsOf())
        amounts = await queries.trend(past, Selection(), "USD", rates, [day])
        assert amounts == await queries.trend(now, Selection(), "USD", rates, [day])
        assert amounts[0].upper > 0


async def test_recording_times_cover_the_whole_record_and_lead_to_every_change(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    count, steps = 30, 5
    async with running_recorder(database.app_url) as recorder:
        for number in range(count):
            await recorder.record(request(f"plant-{number}", REGISTERED))
    streams = StreamReader(pool)
    async with ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        log = [event.recorded.recorded_at for event in await LogQueries(streams).events(0, 1000)]
        recorded = sorted(set(log))
        every = await queries.recording_times(recorded[-1], timedelta(0), len(recorded))
        assert every == recorded
        for number, shown in enumerate(recorded):
            chosen = await queries.recording_times(shown, timedelta(0), steps)
            assert len(chosen) <= steps + 5
            assert (chosen[0], chosen[-1]) == (recorded[0], recorded[-1])
            assert set(recorded[max(number - 1, 0) : number + 2]) <= set(chosen)
        # Equal steps: no long part of the record is without a choice.
        places = [recorded.index(one) for one in await queries.recording_times(recorded[0], timedelta(0), steps)]
        assert max(b - a for a, b in itertools.pairwise(places)) <= -(-len(recorded) // steps)
        assert await queries.recording_times(recorded[0], timedelta(days=1), steps) == [recorded[-1]]


FORMER = {"event": {"type": "deal_registered", "title": {"en": "Former plant"}, "sectors": ["steam-power"]}}
RENAMED = {
    "effective_on": "2025-09-01",
    "event": {"type": "deal_revised", "title": {"en": "Plant"}, "sectors": ["energy"]},
}


async def test_terms_that_deals_once_had_find_them_in_the_past_only(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    async with running_recorder(database.app_url) as recorder:
        for slug in SLUGS:
            await recorder.record(request(slug, FORMER, pledged(), RENAMED))
    streams = StreamReader(pool)
    async with ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        now = await queries.point(AsOf(effective_on=date(2026, 1, 1)))
        then = await queries.point(AsOf(effective_on=date(2025, 8, 1)))
        for query in (DealQuery(sector="steam-power"), DealQuery(q="former")):
            for point, found in ((now, []), (then, sorted(SLUGS))):
                selection = await queries.select(point, query)
                page = await queries.page(point, selection, Order(), None, 50)
                assert [item.deal for item in page.deals] == found
                assert await queries.count(point, selection) == len(found)


async def test_search_that_fits_every_deal_is_paged_like_the_whole_list(
    database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    async with running_recorder(database.app_url) as recorder:
        for slug in SLUGS:
            await recorder.record(request(slug, FORMER, pledged()))
    streams = StreamReader(pool)
    async with ColumnarCopy(pool, tmp_path) as copy:
        queries = PortfolioQueries(streams, OrganizationQueries(streams), copy)
        point = await queries.point(AsOf())
        selection = await queries.select(point, DealQuery(q="PLANT"))
        found: list[str] = []
        place = None
        while not found or place is not None:
            page = await queries.page(point, selection, Order(), place, 1)
            found += [item.deal for item in page.deals]
            place = page.next
        assert found == sorted(SLUGS)
