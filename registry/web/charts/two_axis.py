"""The two-axis chart of one field: effective time across, the time at which a value became known upward.

Both axes share one scale, so that a value on the diagonal became known as it took effect: a real-world change steps to
the right, a correction or late information upward.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.fold.facts import STAGE, FactKey, FactValue
from registry.domain.fold.order import END_OF_DAY, FoldKey
from registry.domain.fold.timeline import Timeline
from registry.domain.history import AsOf, FoldedStream, StateAsOf, known_by
from registry.domain.stream_kinds import DEALS
from registry.web.charts.geometry import ChangeScale, Frame, day_number
from registry.web.page.as_of import Axis
from registry.web.page.change_points import change_points

WIDE = Frame(width=960, height=440, left=156, right=942, top=14, bottom=396)
NARROW = Frame(width=360, height=380, left=92, right=352, top=14, bottom=330)

# The latest changes that each axis shows.
MAX_CHANGES = 40
# Least distance between two labels across and upward, and the room that "not yet known" needs below the first value.
_LABEL_WIDTH, _LABEL_HEIGHT, _UNKNOWN_HEIGHT = 92.0, 20.0, 40.0
_SHADES = 5


class ValueRectangle(Struct, frozen=True):
    """One value of the field: effective from `since` until before `until`, known from `known_since` until before
    `known_until`. An end that is None is open.
    """

    value: Any
    since: date
    until: date | None
    known_since: datetime | date
    known_until: datetime | date | None
    x: float
    y: float
    width: float
    height: float
    shade: int


class TwoAxisChart(Struct, frozen=True):
    """The chart of one field: its values, labels of both axes, and the crosshair at the page's as-of point.

    `known_at` None: the crosshair stands at the present. `x_stops` and `y_stops` are the points that the crosshair can
    be dragged to. `has_unknown`: below the values is room for the words that nothing was known there.
    """

    frame: Frame
    rectangles: list[ValueRectangle]
    x_labels: list[tuple[float, date]]
    y_labels: list[tuple[float, datetime | date]]
    crosshair: tuple[float, float]
    day: date
    known_at: datetime | date | None
    has_unknown: bool
    x_stops: list[tuple[float, str]]
    y_stops: list[tuple[float, str]]


class KnownValues(Struct, frozen=True):
    """The values of a field by effective date, as they were known at each of some moments."""

    moments: list[date] | list[datetime]
    columns: list[list[tuple[date, Any]]]


def known_values(stream: FoldedStream[Deal], path: str, axis: Axis) -> KnownValues:
    """The values of a deal's field as known at the latest changes of the known axis."""
    moments = known_changes(stream, axis)[-MAX_CHANGES:]
    return KnownValues(moments, [_values_by_day(one, path) for one in _known_at(stream, moments, axis)])


def two_axis_chart(
    stream: FoldedStream[Deal], known: KnownValues, axis: Axis, as_of: AsOf, day: date, frame: Frame = WIDE
) -> TwoAxisChart | None:
    """The values of a deal's field over effective time and over the known axis. None: nothing was known yet."""
    moments, columns = known.moments, known.columns
    days = sorted({day for values in columns for day, _ in values})[-MAX_CHANGES:]
    if not days:
        return None
    plot = _Plot([*days, *moments, day], frame)
    grid = [[_value_on(values, day) for values in columns] for day in days]
    known_at = _shown_moment(stream, axis, as_of)
    crosshair = (plot.x(day), plot.y(known_at) if known_at is not None else frame.top)
    return TwoAxisChart(
        frame=frame,
        rectangles=_rectangles(grid, days, moments, plot),
        # The crosshair has its own labels.
        x_labels=[(x, d) for x, d in _spaced(days, plot.x, _LABEL_WIDTH) if abs(x - crosshair[0]) >= _LABEL_WIDTH],
        y_labels=[(y, m) for y, m in _spaced(moments, plot.y, _LABEL_HEIGHT) if abs(y - crosshair[1]) >= _LABEL_HEIGHT],
        crosshair=crosshair,
        day=day,
        known_at=known_at,
        has_unknown=frame.bottom - plot.y(moments[0]) > _UNKNOWN_HEIGHT,
        x_stops=[(plot.x(day), str(day)) for day in days],
        y_stops=[(plot.y(moment), moment.isoformat().replace("+00:00", "Z")) for moment in moments],
    )


def known_changes(stream: FoldedStream[Deal], axis: Axis) -> list[date] | list[datetime]:
    """The points on the known axis at which something about a deal became known."""
    points = change_points(stream)
    return points.published if axis == "published" else points.recorded


def _known_at(
    stream: FoldedStream[Deal], moments: Sequence[date] | Sequence[datetime], axis: Axis
) -> Iterator[StateAsOf[Deal]]:
    """The deal as known at ascending moments. Each fold is that of the moment before, with the events since."""
    if not moments:
        return
    if axis == "published":
        steps = sorted(stream.record.foldable_events(), key=lambda step: step.effective.published_on)
        timeline, first = Timeline(DEALS, stream.record.base), 0
        for moment in moments:
            last = bisect_right(steps, moment, key=lambda step: step.effective.published_on)
            timeline = timeline.copy().extend(steps[first:last])
            first = last
            yield known_by(stream.record, timeline, AsOf(published_on=moment))
        return
    events = stream.events
    ends = [bisect_right(events, moment, key=lambda event: event.recorded_at) for moment in moments]
    known = FoldedStream(stream.slug, DEALS, events[: ends[0]])
    for end in ends:
        for event in events[known.version : end]:
            known.append(event)
        yield known.copy().state_as_of(AsOf())


def _shown_moment(stream: FoldedStream[Deal], axis: Axis, as_of: AsOf) -> date | datetime | None:
    """The point on the known axis that the page shows; None: the present."""
    if axis == "published":
        return as_of.published_on
    if as_of.recorded_at is None and as_of.position is not None:
        recorded = [event.recorded_at for event in stream.events if event.position <= as_of.position]
        return recorded[-1] if recorded else None
    return as_of.recorded_at


class _Plot:
    """Positions inside the plot, on one scale for both axes."""

    def __init__(self, moments: Iterable[date | datetime], frame: Frame) -> None:
        self._scale = ChangeScale(map(day_number, moments))
        self.frame = frame

    def x(self, moment: date | datetime) -> float:
        frame = self.frame
        return round(frame.left + self._scale.share(day_number(moment)) * (frame.right - frame.left), 1)

    def y(self, moment: date | datetime) -> float:
        frame = self.frame
        return round(frame.bottom - self._scale.share(day_number(moment)) * (frame.bottom - frame.top), 1)


_UNKNOWN = object()

_BEGIN: FoldKey = (date.min, ())
_END: FoldKey = (date.max, END_OF_DAY)


def _values_by_day(snapshot: StateAsOf[Deal], path: str) -> list[tuple[date, Any]]:
    """The values of a field in effective order, each with its first day: at least those of the latest days."""
    if not snapshot.is_known:
        return []
    timeline, (name, *ids) = snapshot.timeline, path.strip("/").split("/")
    fact: FactKey = (name, *ids[:-1])
    changes: Iterable[tuple[FoldKey, Any]] = timeline.stages.changes.entries_before(_END)
    if fact != STAGE:
        changes = ((step.key, value) for step, value in timeline.fact(fact).latest_first())
    latest: list[tuple[date, Any]] = []
    days: set[date] = set()
    for (day, _), value in changes:
        days.add(day)
        if len(days) > MAX_CHANGES + 1:
            break
        latest.append((day, value))
    else:
        first, registration = next(timeline.steps_from(_BEGIN), None), snapshot.registration
        known = [first.key[0]] if first is not None else []
        if registration is not None and registration.registered_on is not None:
            known.append(registration.registered_on)
        latest += [(min(known), None if fact == STAGE else ())] if known else []
    by_day: list[tuple[date, Any]] = []
    for day, value in reversed(latest):
        shown = value if fact == STAGE else _shown(snapshot, fact, value, path)
        if by_day and by_day[-1][0] >= day:
            by_day[-1] = (by_day[-1][0], shown)
        else:
            by_day.append((day, shown))
    return [(day, value) for i, (day, value) in enumerate(by_day) if not i or by_day[i - 1][1] != value]


def _shown(snapshot: StateAsOf[Deal], fact: FactKey, value: FactValue, path: str) -> Any:
    return field_value(snapshot.with_preferred_claims(snapshot.timeline.slice({fact: value})), path)


def field_value(deal: Deal, path: str) -> Any:
    """The value at a path such as `/stage` or `/pledges/total/amount`; None where there is none."""
    _, name, *rest = path.split("/")
    if not rest:
        return getattr(deal, name, None)
    key, field = rest
    for item in getattr(deal, name, ()):
        if getattr(item, name.removesuffix("s"), None) == key:
            return getattr(item, field, None)
    return None


def _value_on(values: Sequence[tuple[date, Any]], day: date) -> Any:
    """The value on a day; `_UNKNOWN` where the deal was not known."""
    i = bisect_right(values, day, key=lambda item: item[0])
    return values[i - 1][1] if i else _UNKNOWN


class _Run(Struct, frozen=True):
    """Equal values in cells `start` until before `stop` of a column."""

    start: int
    stop: int
    value: Any


def _rectangles(
    grid: Sequence[Sequence[Any]], days: Sequence[date], moments: Sequence[Any], plot: _Plot
) -> list[ValueRectangle]:
    """Cells of equal value as rectangles: joined upward first, then with the same run in the columns beside it."""
    blocks = sorted(_joined([_runs(column) for column in grid]), key=lambda block: (block[0], block[2].start))
    shades: list[Any] = []
    rectangles: list[ValueRectangle] = []
    for first, after, run in blocks:
        if run.value is _UNKNOWN:
            continue
        if run.value is not None and run.value not in shades:
            shades.append(run.value)
        until = days[after] if after < len(days) else None
        known_until = moments[run.stop] if run.stop < len(moments) else None
        x, bottom = plot.x(days[first]), plot.y(moments[run.start])
        right = plot.x(until) if until is not None else plot.frame.right
        top = plot.y(known_until) if known_until is not None else plot.frame.top
        rectangles.append(
            ValueRectangle(
                value=run.value,
                since=days[first],
                until=until,
                known_since=moments[run.start],
                known_until=known_until,
                x=x,
                y=top,
                width=round(right - x, 1),
                height=round(bottom - top, 1),
                shade=0 if run.value is None else 1 + shades.index(run.value) % _SHADES,
            )
        )
    return rectangles


def _runs(column: Sequence[Any]) -> list[_Run]:
    """Equal neighbours in a column as runs."""
    runs: list[_Run] = []
    for i, value in enumerate(column):
        if runs and runs[-1].value == value:
            runs[-1] = _Run(runs[-1].start, i + 1, value)
        else:
            runs.append(_Run(i, i + 1, value))
    return runs


def _joined(columns: Sequence[list[_Run]]) -> list[tuple[int, int, _Run]]:
    """Equal runs of neighbouring columns as one block: its first column, the column after its last, and the run."""
    blocks: list[tuple[int, int, _Run]] = []
    open_blocks: list[tuple[int, _Run]] = []
    for i, runs in enumerate([*columns, []]):
        blocks += [(first, i, run) for first, run in open_blocks if run not in runs]
        continued = [(first, run) for first, run in open_blocks if run in runs]
        open_runs = [run for _, run in continued]
        open_blocks = continued + [(i, run) for run in runs if run not in open_runs]
    return blocks


def _spaced(moments: Sequence[Any], position: Callable[[Any], float], distance: float) -> list[tuple[float, Any]]:
    """The moments that have room for a label, with their positions; the latest goes first."""
    labels: list[tuple[float, Any]] = []
    for moment in reversed(moments):
        place = position(moment)
        if not labels or abs(labels[-1][0] - place) >= distance:
            labels.append((place, moment))
    return labels[::-1]
