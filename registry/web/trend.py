"""Amounts over time: the totals of each commitment tier on the days on which a deal changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from registry.domain.rates import Rates
from registry.projections.columnar.selection import Point, Selection
from registry.queries.portfolio import PortfolioQueries
from registry.web.charts.step_chart import NARROW, WIDE, StepChart, step_chart
from registry.web.request import PageRequest
from registry.web.sliders import change_days

MAX_STEPS = 24
"""The most steps of the chart."""


class Trend(Struct, frozen=True):
    """The chart in its currency, for wide and for narrow windows."""

    chart: StepChart
    narrow: StepChart
    currency: str

    def named_deals(self) -> set[str]:
        """The deals that the chart's list of changes names."""
        return {slug for step in self.chart.steps if step.number for slug in step.amounts.deals[:3]}


async def amount_trend(
    page: PageRequest,
    portfolio_queries: PortfolioQueries,
    point: Point,
    selection: Selection,
    currency: Any,
    rates: Rates,
) -> Trend | None:
    """The chart of amounts over time in one currency, until the day of a point. None: no amount was disclosed."""
    changed = [day for day in await change_days(page, portfolio_queries, point) if day <= point.day]
    days = sampled(changed, MAX_STEPS)
    series = await portfolio_queries.trend(point, selection, currency, rates, days)
    wide, narrow = (step_chart(series, point.day, point.day, frame) for frame in (WIDE, NARROW))
    return Trend(wide, narrow, currency) if wide is not None and narrow is not None else None


def sampled(days: Sequence[date], most: int) -> list[date]:
    """At most so many of some ascending days, evenly spread, with the last one."""
    return list(days[::-1][:: -(-len(days) // most) or 1][::-1])
