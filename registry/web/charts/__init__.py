"""The charts, as geometry: where each mark stands and what it leads to. Templates draw them as SVG.

Every mark is a door: it has an address. Nothing here makes markup or decides what is so: it only lays out
what the fold, the audit and the totals say.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

from msgspec import Struct

from registry.domain.audit import AuditEntry
from registry.domain.deal import Deal, StageState
from registry.domain.history import DEALS, AsOf, FoldedStream, StateAsOf, state_as_of
from registry.domain.totals import DealRow, PledgeRow
from registry.events.edtf import first_day, last_day
from registry.web.format import LADDER

WIDTH = 960
# The days that a linear scale has room for; what lies beyond stands at its ends.
FIRST_DRAWN, LAST_DRAWN = date(1900, 1, 1), date(2200, 12, 31)


class Tick(Struct, frozen=True):
    """A mark on an axis."""

    at: float
    text: str


# --- the ladder -------------------------------------------------------------------------------------------------------


class LadderMark(Struct, frozen=True):
    """A step of the ladder. `reached` is None for a hollow mark: nobody said that the deal was at this stage."""

    stage: str
    reached: StageState | None
    current: bool
    passed: bool


def ladder(seen: StateAsOf[Deal]) -> list[LadderMark]:
    """Intention to operation, each with the date and the basis on which the deal came there."""
    reached: dict[str, StageState] = {}
    now = seen.state.stage if seen.state else None
    for state in seen.states:
        if state.stage is not None:
            reached.setdefault(state.stage.value, state.stage)
    highest = LADDER.index(now.value) if now and now.value in LADDER else -1
    if highest < 0 and now is not None:
        highest = max((LADDER.index(s) for s in reached if s in LADDER), default=-1)
    return [
        LadderMark(stage, reached.get(stage), now is not None and now.value == stage, i <= highest)
        for i, stage in enumerate(LADDER)
    ]


# --- the time line ----------------------------------------------------------------------------------------------------


def clamp_date(day: date) -> date:
    """A day, or the nearest one that a linear scale has room for."""
    return min(max(day, FIRST_DRAWN), LAST_DRAWN)


class Days:
    """A linear scale of days."""

    def __init__(self, first: date, last: date, left: float, right: float) -> None:
        self.first, self.last, self.left, self.right = first, last, left, right
        self.span = max(1, (last - first).days)

    def at(self, day: date) -> float:
        """Where a day stands; the ends hold what lies beyond them."""
        share = min(1.0, max(0.0, (day - self.first).days / self.span))
        return round(self.left + share * (self.right - self.left), 1)

    def ticks(self, write: Callable[[str], str], room: int = 9) -> list[Tick]:
        """Years, or months where there are few; at most `room` of them."""
        months = (self.last.year - self.first.year) * 12 + self.last.month - self.first.month
        step = next(s for s in (1, 3, 6, 12, 24, 60, 120, 1200) if months / s <= room)
        found: list[Tick] = []
        for month in range(self.first.year * 12 + self.first.month, self.last.year * 12 + self.last.month + 1):
            if month % step == 0 and month > 0:
                year, m = divmod(month, 12)
                if 1 <= year <= 9999:
                    day = date(year, m + 1, 1)
                    if self.first <= day <= self.last:
                        text = str(year) if step >= 12 or (m == 0 and step > 1) else f"{year}-{m + 1:02}"
                        found.append(Tick(self.at(day), write(text)))
        return found


# The room that a date beside its marks may need; marks closer than this are one, which tells so many things at most.
SAID_WIDTH, MARKS_APART, TOLD = 130.0, 12.0, 6


class Mark(Struct, frozen=True):
    """A mark of the time line: a day or a span of days, drawn as its kind, leading somewhere."""

    kind: str
    x: float
    width: float
    text: str
    href: str


class TimelineRow(Struct, frozen=True):
    """A row of the time line, with the arrows from an earlier plan to a later one.

    `said` is written beside its marks: the text, where it stands, and which end of it stands there.
    """

    label: str
    y: float
    marks: list[Mark]
    slips: list[tuple[float, float]]
    said: tuple[str, float, str] | None = None


class TimeLine(Struct, frozen=True):
    """The time line: announcements on top, a row a milestone below."""

    rows: list[TimelineRow]
    ticks: list[Tick]
    now: float
    height: float
    left: float


# A mark says so much of its events; the page has them in full.
MAX_LABEL_LENGTH = 120


def _brief(text: str) -> str:
    return text if len(text) <= MAX_LABEL_LENGTH else f"{text[: MAX_LABEL_LENGTH - 1]}…"


def time_line(
    seen: StateAsOf[Deal],
    entries: Sequence[AuditEntry],
    on: date,
    write: Callable[[str | None], str],
    tell: Callable[[AuditEntry], str],
    name: Callable[[Any], str],
    announcements: str,
    dated: Callable[[str, str], str],
    door: Callable[[UUID], str],
) -> TimeLine | None:
    """A deal's announcements, and its milestones as planned, moved and reached. None where there is no day to show."""
    assert seen.state is not None
    told = [e for e in entries if e.public and e.reading.is_in_force and e.change_of != "record"]
    days: list[date] = [e.reading.effective_on or e.reading.published_on for e in told]
    plans = {m.milestone: _plans(m.milestone, entries) for m in seen.state.milestones}
    for milestone in seen.state.milestones:
        for text in (*plans[milestone.milestone], milestone.reached or ""):
            if text:
                days += [first_day(text), last_day(text)]
    if not days:
        return None
    first, last = clamp_date(min(*days, on)), clamp_date(max(*days, on))
    pad = max(timedelta(days=20), (last - first) / 30)
    left = 170.0
    scale = Days(first - pad, last + pad, left, WIDTH - 16)
    grouped: dict[date, list[AuditEntry]] = {}
    for entry in told:
        grouped.setdefault(entry.reading.effective_on or entry.reading.published_on, []).append(entry)
    top = [
        Mark(
            "source" if all(e.change_of == "source" for e in group) else "world",
            x,
            min(11.0, 4.0 + len(group)),
            "; ".join(list(dict.fromkeys(_brief(tell(e)) for e in group))[:TOLD]),
            door(group[0].reading.recorded.id),
        )
        for x, group in _close(sorted(grouped.items()), scale)
    ]
    rows = [TimelineRow(announcements, 46, top, [])]
    for i, milestone in enumerate(seen.state.milestones):
        marks: list[Mark] = []
        texts = plans[milestone.milestone]
        for text in texts:
            x, end = scale.at(first_day(text)), scale.at(last_day(text))
            kind = "planned" if text == milestone.planned else "earlier"
            marks.append(
                Mark(kind, x, max(6.0, round(end - x, 1)), dated(kind, text), f"#milestone-{milestone.milestone}")
            )
        if milestone.reached:
            text = milestone.reached
            marks.append(
                Mark(
                    "reached", scale.at(last_day(text)), 0, dated("reached", text), f"#milestone-{milestone.milestone}"
                )
            )
        slips = [
            (scale.at(last_day(a)), scale.at(last_day(b))) for a, b in pairwise(texts) if last_day(a) != last_day(b)
        ]
        said = _label_position(marks, write(milestone.reached or milestone.planned)) if marks else None
        rows.append(TimelineRow(name(milestone), 46 + 34 * (i + 1), marks, slips, said))
    return TimeLine(rows, scale.ticks(write), scale.at(on), 46 + 34 * len(rows) + 22, left)


def _close(days: Sequence[tuple[date, list[AuditEntry]]], scale: Days) -> list[tuple[float, list[AuditEntry]]]:
    """What happened on some days at its place, as one where the places are too close to be told apart."""
    found: list[tuple[float, list[AuditEntry]]] = []
    for day, group in days:
        x = scale.at(day)
        if found and x - found[-1][0] < MARKS_APART:
            found[-1][1].extend(group)
        else:
            found.append((x, list(group)))
    return found


def _label_position(marks: Sequence[Mark], text: str) -> tuple[str, float, str]:
    """A text after the last of some marks, or before the first where there is no room."""
    end = max(mark.x + max(mark.width, 8) for mark in marks)
    if end + 8 + SAID_WIDTH <= WIDTH:
        return text, end + 8, "start"
    return text, min(mark.x for mark in marks) - 10, "end"


def _plans(milestone: str, entries: Sequence[AuditEntry]) -> list[str]:
    """Every date that a milestone was planned for, in the order of the story."""
    path = f"/milestones/{milestone}/planned"
    found: list[str] = []
    story = sorted(
        (e for e in entries if e.change_of == "world"),
        key=lambda e: (e.reading.effective_on or e.reading.published_on, e.reading.recorded.position),
    )
    for entry in story:
        found += [change.after for change in entry.changes if change.path == path and change.after is not None]
    return list(dict.fromkeys(found))


# --- the two-axis chart -----------------------------------------------------------------------------------------------

# At most so many moments of knowing, and days at which something came to be so, are drawn: the latest.
MOMENTS = 40

# The plot inside the chart, in the units of its drawing.
LEFT, TOP, RIGHT, BOTTOM = 156.0, 14.0, WIDTH - 18.0, 396.0


# The room that it takes to say that nothing was known.
UNKNOWN_HEIGHT = 40.0


class ValueRectangle(Struct, frozen=True):
    """A rectangle: one value that the registry held, for a span of the world's time and a span of knowing.

    `until` None is open: still so. `known_until` None: still known so.
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


class TwoAxes(Struct, frozen=True):
    """The chart of one field: the values held, both axes, the diagonal, and the crosshair at the page's clocks.

    `here` is what those are: the day, and the moment of knowing, None for now. `unknown`: below the first moment of
    knowing there is room to say that nothing was known there.
    """

    rectangles: list[ValueRectangle]
    x_ticks: list[tuple[float, date]]
    y_ticks: list[tuple[float, datetime | date]]
    cross: tuple[float, float]
    here: tuple[date, datetime | date | None]
    unknown: bool
    x_stops: list[tuple[float, str]]
    y_stops: list[tuple[float, str]]


def two_axes(history: FoldedStream[Deal], path: str, published: bool, clocks: AsOf, today: date) -> TwoAxes | None:
    """What the registry held of a field: the world's time across, the time of knowing up.

    Both axes share one scale, on which each turn has its room and long quiet times little: so the diagonal stays what
    happened as it happened, a revision steps to the right, and a correction or a late announcement upward.
    """
    moments = _moments(history, published)[-MOMENTS:]
    if not moments:
        return None
    columns: list[list[tuple[date, Any]]] = []
    for moment in moments:
        known = AsOf(published_on=moment) if published else AsOf(recorded_at=moment)
        columns.append(_segments(state_as_of(history.slug, history.events, known, DEALS), path))
    turns = sorted({day for segments in columns for day, _ in segments})[-MOMENTS:]
    if not turns:
        return None
    scale = _Turns([*map(_number, turns), *map(_number, moments), _number(clocks.effective_on or today)])
    grid = [[_at(segments, day) for segments in columns] for day in turns]
    rectangles = _rectangles(grid, turns, moments, scale)
    at = _number(clocks.effective_on or today)
    known_at: date | datetime | None = clocks.published_on if published else clocks.recorded_at
    if not published and known_at is None and clocks.position is not None:
        written = [e.recorded_at for e in history.events if e.position <= clocks.position]
        known_at = written[-1] if written else None
    cross = (scale.x(at), scale.y(_number(known_at)) if known_at is not None else TOP)
    return TwoAxes(
        rectangles,
        # No label where the crosshair has its own.
        [(x, day) for x, day in _labelled(turns, scale.x, 92) if abs(x - cross[0]) >= 92],
        [(y, m) for y, m in _labelled(moments, scale.y, 20) if abs(y - cross[1]) >= 20],
        cross,
        (clocks.effective_on or today, known_at),
        BOTTOM - scale.y(_number(moments[0])) > UNKNOWN_HEIGHT,
        [(scale.x(_number(day)), str(day)) for day in turns],
        [(scale.y(_number(m)), _written(m)) for m in moments],
    )


def _written(moment: date | datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _moments(history: FoldedStream[Deal], published: bool) -> list[Any]:
    from registry.web.as_of import of_history

    _, public, recorded = of_history(history)
    return list(public if published else recorded)


def _number(moment: date | datetime) -> float:
    """A day or an instant on one line: days since the common era, in UTC."""
    if isinstance(moment, datetime):
        utc = moment.astimezone(UTC)
        return utc.toordinal() + (
            datetime.combine(date.min, utc.time()) - datetime.combine(date.min, time.min)
        ) / timedelta(days=1)
    return float(moment.toordinal())


class _Turns:
    """A scale on which every turn has room: a step between two turns grows with the logarithm of the days between."""

    def __init__(self, numbers: Iterable[float]) -> None:
        self.stops = sorted(set(numbers))
        gaps = [1 + 0.45 * math.log1p(b - a) for a, b in pairwise(self.stops)]
        self.places = [0.0]
        for gap in gaps:
            self.places.append(self.places[-1] + gap)
        # Before the first turn little is to be seen; after the last one, what goes on being so.
        self.lead, self.tail = 0.35, 1.6
        self.length = self.lead + self.places[-1] + self.tail

    def share(self, number: float) -> float:
        """Where a number stands, from 0 to 1."""
        if number <= self.stops[0]:
            place = self.places[0] if number == self.stops[0] else -self.lead
        elif number >= self.stops[-1]:
            place = self.places[-1] + (0 if number == self.stops[-1] else self.tail / 2)
        else:
            i = bisect_right(self.stops, number) - 1
            part = (number - self.stops[i]) / (self.stops[i + 1] - self.stops[i])
            place = self.places[i] + part * (self.places[i + 1] - self.places[i])
        return (place + self.lead) / self.length

    def x(self, number: float) -> float:
        return round(LEFT + self.share(number) * (RIGHT - LEFT), 1)

    def y(self, number: float) -> float:
        return round(BOTTOM - self.share(number) * (BOTTOM - TOP), 1)


_UNKNOWN = object()


def _segments(seen: StateAsOf[Deal], path: str) -> list[tuple[date, Any]]:
    """From which day which value of a field holds, in a view with the world's time open."""
    if seen.state is None:
        return []
    own = seen.applied_event
    found: list[tuple[date, Any]] = []
    if seen.registration is not None and seen.registration.effective_on is not None:
        found.append((seen.registration.effective_on, field_of(DEALS.follow(seen.base, seen.preferred, own), path)))
    for placed, state in zip(seen.steps, seen.states, strict=True):
        value = field_of(DEALS.follow(state, seen.preferred, own), path)
        day = placed.key[0]
        if found and found[-1][0] >= day:
            found[-1] = (found[-1][0], value)
        else:
            found.append((day, value))
    merged: list[tuple[date, Any]] = []
    for day, value in found:
        if not merged or merged[-1][1] != value:
            merged.append((day, value))
    return merged


def field_of(deal: Deal, path: str) -> Any:
    """The value of a field of a deal's state; None where there is none."""
    _, name, *rest = path.split("/")
    if not rest:
        return getattr(deal, name, None)
    key, field = rest
    for item in getattr(deal, name, ()):
        if getattr(item, name.removesuffix("s"), None) == key:
            return getattr(item, field, None)
    return None


def _at(segments: Sequence[tuple[date, Any]], day: date) -> Any:
    """The value on a day; `_UNKNOWN` where the deal was not known."""
    i = bisect_right(segments, day, key=lambda s: s[0])
    return segments[i - 1][1] if i else _UNKNOWN


def _rectangles(grid: list[list[Any]], turns: list[date], moments: list[Any], scale: _Turns) -> list[ValueRectangle]:
    """Cells of equal value joined: first upward, then to the right where the same run stands beside."""
    joined = _joined([_runs(column) for column in grid])
    shades: list[Any] = []
    rectangles: list[ValueRectangle] = []
    for i, k, j, m, value in sorted(joined, key=lambda r: (r[0], r[2])):
        if value is _UNKNOWN:
            continue
        if value is not None and value not in shades:
            shades.append(value)
        x, y = scale.x(_number(turns[i])), scale.y(_number(moments[m])) if m < len(moments) else TOP
        right = scale.x(_number(turns[k])) if k < len(turns) else RIGHT
        bottom = scale.y(_number(moments[j]))
        rectangles.append(
            ValueRectangle(
                value=value,
                since=turns[i],
                until=turns[k] if k < len(turns) else None,
                known_since=moments[j],
                known_until=moments[m] if m < len(moments) else None,
                x=x,
                y=y,
                width=round(right - x, 1),
                height=round(bottom - y, 1),
                shade=0 if value is None else 1 + shades.index(value) % 5,
            )
        )
    return rectangles


def _runs(column: Sequence[Any]) -> list[tuple[int, int, Any]]:
    """Equal neighbours as one: from, to before, the value."""
    found: list[tuple[int, int, Any]] = []
    for j, value in enumerate(column):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], j + 1, value)
        else:
            found.append((j, j + 1, value))
    return found


def _joined(columns: list[list[tuple[int, int, Any]]]) -> list[tuple[int, int, int, int, Any]]:
    """Equal runs of neighbouring columns as one rectangle: columns from and to before, rows from and to before."""
    joined: list[tuple[int, int, int, int, Any]] = []
    held: dict[tuple[int, int], tuple[int, Any]] = {}
    for i, found in enumerate([*columns, []]):
        here = {(a, b): value for a, b, value in found}
        for run, (start, value) in list(held.items()):
            if run not in here or here[run] != value:
                joined.append((start, i, *run, value))
                del held[run]
        for run, value in here.items():
            held.setdefault(run, (i, value))
    return joined


def _labelled(moments: Sequence[Any], place: Callable[[float], float], apart: float) -> list[tuple[float, Any]]:
    """Those of the moments whose places are not too close for a label, with them, the last before the others."""
    kept: list[tuple[float, Any]] = []
    for moment in reversed(moments):
        at = place(_number(moment))
        if not kept or abs(kept[-1][0] - at) >= apart:
            kept.append((at, moment))
    return kept[::-1]


# --- the stepped chart ------------------------------------------------------------------------------------------------


def _is_committed(row: DealRow, pledge: PledgeRow) -> bool:
    return pledge.commitment != "intention"


# Marks on the line closer than this are one; an area's amount is written into it where it is so wide and so high.
FLAGS_APART, CAPTION_WIDTH, CAPTION_HEIGHT = 26.0, 150.0, 18.0

AmountFilter = Callable[[DealRow, PledgeRow], bool]
# The areas of the chart, each inside the one before: what keeps a pledge in it. To build is to confirm.
AREAS: dict[str, AmountFilter] = {
    "intended": lambda row, pledge: True,
    "pledged": _is_committed,
    "confirmed": lambda row, pledge: (
        _is_committed(row, pledge)
        and (
            pledge.status == "confirmed"
            or pledge.commitment in ("binding", "budget")
            or row.stage in ("construction", "operating")
        )
    ),
    "construction": lambda row, pledge: _is_committed(row, pledge) and row.stage in ("construction", "operating"),
    "operating": lambda row, pledge: _is_committed(row, pledge) and row.stage == "operating",
}


class Level(Struct, frozen=True):
    """The totals at one turn: the certain amount of each area, the high end of everything, and the deals that moved."""

    day: date
    areas: dict[str, Decimal]
    high: Decimal
    deals: tuple[str, ...] = ()


class Band(Struct, frozen=True):
    """One area, as a stepped path from the floor."""

    area: str
    path: str


class ChartStep(Struct, frozen=True):
    """A turn of the chart: what was so from a day on, and where that stands.

    `number` counts the steps at which amounts moved, None: none did; `grew` is by how much the high end did.
    """

    x: float
    width: float
    level: Level
    href: str
    number: int | None
    grew: Decimal


class ChartMarker(Struct, frozen=True):
    """Where steps are marked on the line: the first and the last of those that stand too close to be told apart."""

    x: float
    y: float
    first: int
    last: int
    href: str


class Caption(Struct, frozen=True):
    """What an area amounts to today, written into it where there is room: its end, its middle, and the amount."""

    area: str
    x: float
    y: float
    amount: Decimal


class StepChart(Struct, frozen=True):
    """Amounts through time, as steps: an area for each firmness, the line of everything, and what moved them.

    `shown` is the level of the day that the page shows, None where nothing was so yet.
    """

    bands: list[Band]
    line: str
    ticks: list[Tick]
    levels: list[tuple[float, str]]
    steps: list[ChartStep]
    flags: list[ChartMarker]
    captions: list[Caption]
    now: float | None
    shown: Level | None


def step_chart(
    levels: Sequence[Level],
    until: date,
    on: date,
    write: Callable[[str], str],
    amount: Callable[[Decimal], str],
    link: Callable[[date], str],
) -> StepChart | None:
    """The chart of the portfolio's amounts, each level a door to its day. None where nothing was ever stated."""
    top = max((max(level.high, *level.areas.values()) for level in levels), default=Decimal(0))
    if not levels or top == 0:
        return None
    left, right, floor, ceiling = 92.0, WIDTH - 16.0, 300.0, 26.0
    first, until = clamp_date(levels[0].day), clamp_date(until)
    scale = Days(
        first - max(timedelta(days=10), (until - first) / 40), max(until, first + timedelta(days=30)), left, right
    )
    step = _round_step(top)
    highest = step * math.ceil(top / step)

    def y(value: Decimal) -> float:
        return round(floor - float(value / highest) * (floor - ceiling), 1)

    ends = [*(scale.at(level.day) for level in levels[1:]), right]
    xs = [scale.at(level.day) for level in levels]
    bands = [
        Band(area, _area(xs, ends, [y(level.areas[area]) for level in levels], floor))
        for area in AREAS
        if any(level.areas[area] for level in levels)
    ]
    line = " ".join(
        f"{'M' if i == 0 else 'L'}{x} {y(level.high)}H{end}"
        for i, (x, end, level) in enumerate(zip(xs, ends, levels, strict=True))
    )
    marks = [(y(step * i), amount(step * i)) for i in range(int(highest / step) + 1)]
    steps = _steps(levels, xs, ends, link)
    return StepChart(
        bands,
        line,
        scale.ticks(write),
        marks,
        steps,
        _flags(steps, y),
        _captions(levels[-1], right, ends[-1] - xs[-1], y),
        scale.at(on) if on <= scale.last else None,
        next((level for level in reversed(levels) if level.day <= on), None),
    )


def _steps(
    levels: Sequence[Level], xs: Sequence[float], ends: Sequence[float], link: Callable[[date], str]
) -> list[ChartStep]:
    found: list[ChartStep] = []
    number = 0
    before: Level | None = None
    for level, x, end in zip(levels, xs, ends, strict=True):
        moved = level.high or any(level.areas.values()) if before is None else _amounts(level) != _amounts(before)
        number += bool(moved)
        grew = level.high - (before.high if before else 0)
        found.append(ChartStep(x, round(end - x, 1), level, link(level.day), number if moved else None, grew))
        before = level
    return found


def _amounts(level: Level) -> tuple[Decimal, ...]:
    return (level.high, *level.areas.values())


def _flags(steps: Sequence[ChartStep], y: Callable[[Decimal], float]) -> list[ChartMarker]:
    """The numbered steps as marks on the line, those that would cover each other as one."""
    found: list[ChartMarker] = []
    for step in steps:
        if step.number is None:
            continue
        if found and step.x - found[-1].x < FLAGS_APART:
            # Several in one place stand where the last of them led.
            found[-1] = ChartMarker(found[-1].x, y(step.level.high), found[-1].first, step.number, step.href)
        else:
            found.append(ChartMarker(step.x, y(step.level.high), step.number, step.number, step.href))
    return found


def _captions(last: Level, right: float, width: float, y: Callable[[Decimal], float]) -> list[Caption]:
    """What stands in the areas at the end of the chart, where the last step leaves room for it."""
    if width < CAPTION_WIDTH:
        return []
    found: list[Caption] = []
    lower = y(Decimal(0))
    for area in reversed(AREAS):
        upper = y(last.areas[area])
        if lower - upper >= CAPTION_HEIGHT:
            found.append(Caption(area, right - 10, (upper + lower) / 2 + 4, last.areas[area]))
        lower = min(lower, upper)
    return found[::-1]


def _area(xs: list[float], ends: list[float], tops: list[float], floor: float) -> str:
    steps = "".join(f"L{x} {top}H{end}" for x, end, top in zip(xs, ends, tops, strict=True))
    return f"M{xs[0]} {floor}{steps}V{floor}Z"


def _round_step(top: Decimal) -> Decimal:
    """A round step that gives three to six lines."""
    power = Decimal(1).scaleb(top.adjusted())
    return next(s * power for s in map(Decimal, ("0.2", "0.25", "0.5", "1", "2")) if top / (s * power) <= 6)
