"""The chart of the portfolio's amounts over time: stepped areas, one for each commitment tier."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct

from registry.domain.totals.tiers import TIERS, TierAmounts
from registry.web.charts.geometry import CHART_WIDTH, LinearScale, Tick, clamp_day

# The plot inside the drawing, in its units.
_LEFT, _TOP, _RIGHT, _BOTTOM = 92.0, 26.0, CHART_WIDTH - 16.0, 300.0
# Markers closer than this are one.
MARKER_DISTANCE = 26.0
# An area's amount is written into it where the area is at least so wide and so high.
_CAPTION_WIDTH, _CAPTION_HEIGHT = 150.0, 18.0
_MAX_GRIDLINES = 6


class ChartArea(Struct, frozen=True):
    """A tier's area as an SVG path."""

    tier: str
    path: str


class ChartStep(Struct, frozen=True):
    """One step of the chart. `number` counts the steps that changed an amount; `change` is that of the upper bound."""

    x: float
    width: float
    amounts: TierAmounts
    number: int | None
    change: Decimal


class ChartMarker(Struct, frozen=True):
    """A marker on the line for the steps `first` to `last`, which stand too close for one each."""

    x: float
    y: float
    first: int
    last: int


class AreaCaption(Struct, frozen=True):
    """The amount of a tier, written into its area: `x` is the end of the text."""

    tier: str
    x: float
    y: float
    amount: Decimal


class StepChart(Struct, frozen=True):
    """The chart. `day_x` is the position of the day that the page shows, None beyond the chart's end; `shown` are the
    amounts of that day, None before the first.
    """

    areas: list[ChartArea]
    upper_line: str
    ticks: list[Tick]
    gridlines: list[tuple[float, Decimal]]
    steps: list[ChartStep]
    markers: list[ChartMarker]
    captions: list[AreaCaption]
    day_x: float | None
    shown: TierAmounts | None


def step_chart(series: Sequence[TierAmounts], until: date, day: date) -> StepChart | None:
    """The chart of amounts by day. None: no amount was disclosed.

    Args:
        series: The amounts at each change, in order.
        until: Where the chart ends.
        day: The effective date that the page shows.
    """
    highest = max((max(amounts.upper, *amounts.tiers.values()) for amounts in series), default=Decimal(0))
    if highest == 0:
        return None
    first, until = clamp_day(series[0].day), clamp_day(until)
    padding = max(timedelta(days=10), (until - first) / 40)
    scale = LinearScale(first - padding, max(until, first + timedelta(days=30)), _LEFT, _RIGHT)
    interval = _grid_interval(highest)
    top = interval * math.ceil(highest / interval)

    def y(value: Decimal) -> float:
        return round(_BOTTOM - float(value / top) * (_BOTTOM - _TOP), 1)

    xs = [scale.x(amounts.day) for amounts in series]
    ends = [*xs[1:], _RIGHT]
    steps = _steps(series, xs, ends)
    return StepChart(
        areas=[
            ChartArea(tier, _area_path(xs, ends, [y(amounts.tiers[tier]) for amounts in series]))
            for tier in TIERS
            if any(amounts.tiers[tier] for amounts in series)
        ],
        upper_line="M" + _stepped_path(xs, ends, [y(amounts.upper) for amounts in series]),
        ticks=scale.ticks(),
        gridlines=[(y(interval * i), interval * i) for i in range(int(top / interval) + 1)],
        steps=steps,
        markers=_markers(steps, y),
        captions=_captions(series[-1], ends[-1] - xs[-1], y),
        day_x=scale.x(day) if day <= scale.last else None,
        shown=next((amounts for amounts in reversed(series) if amounts.day <= day), None),
    )


def _steps(series: Sequence[TierAmounts], xs: Sequence[float], ends: Sequence[float]) -> list[ChartStep]:
    steps: list[ChartStep] = []
    number = 0
    before = TierAmounts(date.min, dict.fromkeys(TIERS, Decimal(0)), Decimal(0), ())
    for amounts, x, end in zip(series, xs, ends, strict=True):
        changed = (amounts.upper, amounts.tiers) != (before.upper, before.tiers)
        number += changed
        change = amounts.upper - before.upper
        steps.append(ChartStep(x, round(end - x, 1), amounts, number if changed else None, change))
        before = amounts
    return steps


def _markers(steps: Sequence[ChartStep], y: Callable[[Decimal], float]) -> list[ChartMarker]:
    """The numbered steps as markers on the line; markers that would overlap are one, at the height of the last."""
    markers: list[ChartMarker] = []
    for step in steps:
        if step.number is None:
            continue
        height = y(step.amounts.upper)
        if markers and step.x - markers[-1].x < MARKER_DISTANCE:
            markers[-1] = ChartMarker(markers[-1].x, height, markers[-1].first, step.number)
        else:
            markers.append(ChartMarker(step.x, height, step.number, step.number))
    return markers


def _captions(last: TierAmounts, width: float, y: Callable[[Decimal], float]) -> list[AreaCaption]:
    """The amounts inside the areas at the end of the chart, where the last step has room."""
    if width < _CAPTION_WIDTH:
        return []
    captions: list[AreaCaption] = []
    lower = _BOTTOM
    for tier in reversed(TIERS):
        upper = y(last.tiers[tier])
        if lower - upper >= _CAPTION_HEIGHT:
            captions.append(AreaCaption(tier, _RIGHT - 10, (upper + lower) / 2 + 4, last.tiers[tier]))
        lower = min(lower, upper)
    return captions[::-1]


def _stepped_path(xs: Sequence[float], ends: Sequence[float], heights: Sequence[float]) -> str:
    return "L".join(f"{x} {height}H{end}" for x, end, height in zip(xs, ends, heights, strict=True))


def _area_path(xs: Sequence[float], ends: Sequence[float], heights: Sequence[float]) -> str:
    return f"M{xs[0]} {_BOTTOM}L{_stepped_path(xs, ends, heights)}V{_BOTTOM}Z"


def _grid_interval(highest: Decimal) -> Decimal:
    """The smallest round interval that gives at most six gridlines above zero."""
    power = Decimal(1).scaleb(highest.adjusted())
    intervals = (factor * power for factor in map(Decimal, ("0.2", "0.25", "0.5", "1", "2")))
    return next(interval for interval in intervals if highest / interval <= _MAX_GRIDLINES)
