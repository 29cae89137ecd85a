"""The chart of the portfolio's amounts over time: one stepped line for each commitment tier, and the upper bound.

The tiers are lines and not areas, because each tier includes the ones after it: areas would read as a stack. Where one
step is many times another, the scale is logarithmic, so that the small steps stay readable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.totals.tiers import TIERS, TierAmounts
from registry.web.charts.geometry import Frame, LinearScale, Tick, clamp_day

WIDE = Frame(width=960, height=330, left=92, right=700, top=28, bottom=300)
NARROW = Frame(width=360, height=304, left=78, right=352, top=28, bottom=270)

UPPER = "upper"
"""The line of the upper bound, after those of the tiers."""

# Markers closer than this are one.
MARKER_DISTANCE = 26.0
# The distance of two labels at the ends of the lines.
LABEL_DISTANCE = 34.0
_MAX_GRIDLINES = 6
# From this ratio of the highest to the lowest upper bound on, the scale is logarithmic. It covers at most so many
# powers of ten; lower amounts stand at its foot.
_LOGARITHMIC_FROM = 8
_MAX_POWERS = 4


class ChartLine(Struct, frozen=True):
    """The line of a tier or of the upper bound: its path and end, and the height of its label."""

    name: str
    path: str
    end: float
    label_y: float


class ChartStep(Struct, frozen=True):
    """One step of the chart. `number` counts the steps that changed an amount; `change` is that of the upper bound.

    `since` is the day of the step before; None for the first.
    """

    x: float
    width: float
    amounts: TierAmounts
    number: int | None
    change: Decimal
    since: date | None = None


class ChartMarker(Struct, frozen=True):
    """A marker on the line for the steps `first` to `last`, which stand too close for one each."""

    x: float
    y: float
    first: int
    last: int

    @property
    def text(self) -> str:
        """The numbers of its steps."""
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"

    @property
    def half_width(self) -> int:
        """Half the width of the marker, which has room for its text."""
        return 6 + 4 * len(self.text)


class StepChart(Struct, frozen=True):
    """The chart. `day_x` is the position of the day that the page shows, None beyond the chart's end; `shown` are the
    amounts of that day, None before the first.
    """

    frame: Frame
    is_logarithmic: bool
    lines: list[ChartLine]
    ticks: list[Tick]
    gridlines: list[tuple[float, Decimal]]
    steps: list[ChartStep]
    markers: list[ChartMarker]
    day_x: float | None
    shown: TierAmounts | None


def step_chart(series: Sequence[TierAmounts], until: date, day: date, frame: Frame = WIDE) -> StepChart | None:
    """The chart of amounts by day. None: no amount was disclosed.

    Args:
        series: The amounts at each change, in order.
        until: Where the chart ends.
        day: The effective date that the page shows.
        frame: The size of the drawing.
    """
    amounts = {tier: [step.tiers[tier] for step in series] for tier in TIERS}
    amounts[UPPER] = [step.upper for step in series]
    amounts = {name: values for name, values in amounts.items() if any(values)}
    if not amounts:
        return None
    first, until = clamp_day(series[0].day), clamp_day(until)
    padding = max(timedelta(days=10), (until - first) / 40)
    scale = LinearScale(first - padding, max(until, first + timedelta(days=30)), frame.left, frame.right)
    axis = _AmountScale(amounts, frame)
    xs = [scale.x(step.day) for step in series]
    ends = [*xs[1:], frame.right]
    steps = _steps(series, xs, ends)
    return StepChart(
        frame=frame,
        is_logarithmic=axis.is_logarithmic,
        lines=_lines(amounts, xs, ends, axis, frame),
        ticks=scale.ticks(),
        gridlines=[(axis.y(value), value) for value in axis.gridlines],
        steps=steps,
        markers=_markers(steps, axis.y, frame.width),
        day_x=scale.x(day) if day <= scale.last else None,
        shown=next((step for step in reversed(series) if step.day <= day), None),
    )


class _AmountScale:
    """The vertical axis: linear from zero, or logarithmic from the lowest amount."""

    def __init__(self, amounts: dict[str, list[Decimal]], frame: Frame) -> None:
        positive = [value for values in amounts.values() for value in values if value]
        highest = max(positive)
        uppers = [value for value in amounts.get(UPPER, positive) if value] or positive
        self._frame = frame
        self.is_logarithmic = max(uppers) >= _LOGARITHMIC_FROM * min(uppers)
        self.gridlines = _logarithmic(min(positive), highest) if self.is_logarithmic else _linear(highest)
        self._foot, self._top = self.gridlines[0], self.gridlines[-1]

    def y(self, value: Decimal) -> float:
        """The height of an amount."""
        if not self.is_logarithmic:
            share = float(value / self._top)
        elif value <= self._foot:
            share = 0.0
        else:
            share = math.log(value / self._foot) / math.log(self._top / self._foot)
        return round(self._frame.bottom - share * (self._frame.bottom - self._frame.top), 1)


def _linear(highest: Decimal) -> list[Decimal]:
    """Multiples of the smallest round interval that gives at most six gridlines above zero."""
    power = Decimal(1).scaleb(highest.adjusted())
    intervals = (factor * power for factor in map(Decimal, ("0.2", "0.25", "0.5", "1", "2")))
    interval = next(interval for interval in intervals if highest / interval <= _MAX_GRIDLINES)
    return [interval * i for i in range(math.ceil(highest / interval) + 1)]


def _logarithmic(lowest: Decimal, highest: Decimal) -> list[Decimal]:
    """Gridlines at 1, 2 and 5 times powers of ten, or at powers of ten only, around the amounts."""
    top = highest.adjusted()
    powers = range(max(lowest.adjusted(), top - _MAX_POWERS), top + 2)
    fine, coarse = (
        [Decimal(factor).scaleb(power) for power in powers for factor in factors] for factors in ((1, 2, 5), (1,))
    )
    around = _around(fine, lowest, highest)
    return around if len(around) <= _MAX_GRIDLINES + 1 else _around(coarse, lowest, highest)


def _around(lines: Sequence[Decimal], lowest: Decimal, highest: Decimal) -> list[Decimal]:
    """The lines from the last one below the amounts to the first one above them."""
    foot = max((line for line in lines if line <= lowest), default=lines[0])
    head = min(line for line in lines if line >= highest)
    return [line for line in lines if foot <= line <= head]


def _lines(
    amounts: dict[str, list[Decimal]], xs: Sequence[float], ends: Sequence[float], axis: _AmountScale, frame: Frame
) -> list[ChartLine]:
    last = {name: values[-1] for name, values in amounts.items()}
    heights = {name: axis.y(amount) for name, amount in last.items()}
    labels = _apart(heights, frame)
    return [
        ChartLine(
            name,
            _path(
                [
                    (x, end, axis.y(v)) if v or not axis.is_logarithmic else None
                    for x, end, v in zip(xs, ends, values, strict=True)
                ]
            ),
            heights[name],
            labels[name],
        )
        for name, values in amounts.items()
    ]


def _path(steps: Sequence[tuple[float, float, float] | None]) -> str:
    """A stepped line; None: there is no amount to show."""
    path, drawn = "", False
    for step in steps:
        if step is not None:
            x, end, y = step
            path += f"{'V' if drawn else f'M{x} '}{y}H{end}"
        drawn = step is not None
    return path


def _apart(heights: dict[str, float], frame: Frame) -> dict[str, float]:
    """The heights of the labels: those of the lines' ends, moved apart, the largest amount on top."""
    order = sorted(heights, key=lambda name: (heights[name], name != UPPER))
    placed: list[float] = []
    for name in order:
        placed.append(max(heights[name], placed[-1] + LABEL_DISTANCE if placed else frame.top))
    ceiling = frame.bottom
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - LABEL_DISTANCE
    return dict(zip(order, placed, strict=True))


def _steps(series: Sequence[TierAmounts], xs: Sequence[float], ends: Sequence[float]) -> list[ChartStep]:
    steps: list[ChartStep] = []
    number = 0
    before = TierAmounts(date.min, dict.fromkeys(TIERS, Decimal(0)), Decimal(0), ())
    for amounts, x, end in zip(series, xs, ends, strict=True):
        changed = (amounts.upper, amounts.tiers) != (before.upper, before.tiers)
        number += changed
        change = amounts.upper - before.upper
        since = before.day if steps else None
        steps.append(ChartStep(x, round(end - x, 1), amounts, number if changed else None, change, since))
        before = amounts
    return steps


def _markers(steps: Sequence[ChartStep], y: Callable[[Decimal], float], width: float) -> list[ChartMarker]:
    """The numbered steps as markers on the line; markers that would overlap are one, at the first of their steps."""
    markers: list[ChartMarker] = []
    for step in steps:
        if step.number is None:
            continue
        marker = ChartMarker(step.x, y(step.amounts.upper), step.number, step.number)
        # A marker that grew may overlap with the one before it.
        while markers and marker.x - markers[-1].x < max(MARKER_DISTANCE, marker.half_width + markers[-1].half_width):
            before = markers.pop()
            marker = ChartMarker(before.x, before.y, before.first, marker.last)
        markers.append(marker)
    return [replace(one, x=min(one.x, width - one.half_width - 1)) for one in markers]
