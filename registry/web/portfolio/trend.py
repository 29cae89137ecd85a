"""Amounts over time: the totals of each commitment tier on the days on which a deal changed.

Where deals changed on more days than the chart has steps, it shows some of the days, evenly spread. Its list of changes
then names the periods between them and not single deals.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from registry.domain.money.rates import Rates
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point
from registry.queries.portfolio import PortfolioQueries
from registry.web.charts.step_chart import NARROW, WIDE, StepChart, step_chart
from registry.web.page.request import PageRequest
from registry.web.page.sliders import change_days

MAX_STEPS = 24
"""The most steps of the chart."""


class TrendChart(Struct, frozen=True):
    """The chart in its currency, for wide and for narrow windows. `is_sampled`: a step stands for a period."""

    chart: StepChart
    narrow: StepChart
    currency: str
    is_sampled: bool = False

    def named_deals(self) -> set[str]:
        """The deals that the chart's list of changes names."""
        if self.is_sampled:
            return set()
        return {slug for step in self.chart.steps if step.number for slug in step.amounts.deals[:3]}


async def amount_trend(
    page: PageRequest,
    portfolio_queries: PortfolioQueries,
    point: Point,
    selection: Selection,
    currency: Any,
    rates: Rates,
) -> TrendChart | None:
    """The chart of amounts over time in one currency, until the day of a point. None: no amount was disclosed."""
    changed = [day for day in await change_days(page, portfolio_queries, point) if day <= point.day]
    days = sampled(changed, MAX_STEPS)
    series = await portfolio_queries.trend(point, selection, currency, rates, days)
    wide, narrow = (step_chart(series, point.day, point.day, frame) for frame in (WIDE, NARROW))
    if wide is None or narrow is None:
        return None
    return TrendChart(wide, narrow, currency, is_sampled=len(days) < len(changed))


def sampled(days: Sequence[date], most: int) -> list[date]:
    """Some ascending days, up to a limit: every second, fourth or eighth of them and so on, and the last one.

    A new day at the end replaces only the last one, so the amounts on the others are still cached.
    """
    step = 1
    while len(found := [*days[:-1:step], *days[-1:]]) > most:
        step *= 2
    return found
