"""The timeline of a deal: its announcements in the first row, and a row for each investment period and milestone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.entries import AuditEntry
from registry.domain.deal import Deal, MilestoneState, PledgeState
from registry.events.edtf import first_day, last_day
from registry.web.charts.geometry import Frame, LinearScale, Tick, clamp_day

# Where a window is narrow, the name of a row stands above it. `top` is the first row.
WIDE = Frame(width=960, height=0, left=230, right=944, top=46, bottom=0)
NARROW = Frame(width=360, height=0, left=8, right=352, top=64, bottom=0)
_ROW_HEIGHT, _NARROW_ROW_HEIGHT, _FOOT = 34, 52, 22
_DAY_TOP = 22.0
# Where the two lines of a name above a narrow row begin and end, above the row.
NAME_TOP, NAME_BOTTOM = 40.0, 10.0
# The most investment periods that are shown.
MAX_HORIZONS = 12
# Announcements closer than this share one mark.
_MARK_DISTANCE = 12.0
# Room that a date needs, by the length of its EDTF form: a year, a month, a day. Other dates are ranges.
_DATE_WIDTHS = {4: 44.0, 7: 78.0, 10: 100.0}
RANGE_WIDTH = 130.0
# The gap between a date and the line of the day that the page shows.
_GAP = 8.0
# A date stands beyond that line only where the line is this close to its marks; else it would seem to be the line's.
_NEAR = 24.0

MarkKind = Literal["world", "source", "horizon", "planned", "earlier", "reached"]


class TimelineMark(Struct, frozen=True):
    """A mark in a row: a circle for announcements, a bar for a period or plan, a diamond for a milestone reached.

    `size` is the radius of a circle or the length of a bar. `date` is the milestone's date in EDTF; `entries` are the
    announcements.
    """

    kind: MarkKind
    x: float
    size: float
    date: str = ""
    entries: tuple[AuditEntry, ...] = ()


class DateLabel(Struct, frozen=True):
    """A date in EDTF beside or above the marks of its row: `anchor` is the end of the text that stands at `x`."""

    date: str
    x: float
    anchor: Literal["start", "end"]
    is_above: bool = False


class TimelineRow(Struct, frozen=True):
    """A row of the timeline: of a milestone, of a pledge's period, or of the announcements where both are None.

    `shifts` lead from each plan to the one after it.
    """

    milestone: MilestoneState | None
    y: float
    marks: list[TimelineMark]
    shifts: list[tuple[float, float]]
    label: DateLabel | None = None
    pledge: PledgeState | None = None


class TimelineChart(Struct, frozen=True):
    """The timeline: its rows, the ticks of its axis, and the position of the day that the page shows.

    `day_spans` are the parts of that day's line, from top to bottom: it does not cross the names above narrow rows.
    """

    frame: Frame
    rows: list[TimelineRow]
    ticks: list[Tick]
    day_x: float
    height: float
    day_spans: list[tuple[float, float]]


def timeline(deal: Deal, entries: Sequence[AuditEntry], day: date, frame: Frame = WIDE) -> TimelineChart | None:
    """A deal's announcements, its investment periods, and its milestones as planned, moved and reached.

    None: there is no date to show.

    Args:
        entries: The deal's history, oldest first.
        day: The effective date that the page shows.
        frame: The size of the drawing.
    """
    announcements = [e for e in entries if e.visible and e.effective.is_in_force and e.kind != "record"]
    plans = {milestone.milestone: _plans(milestone.milestone, entries) for milestone in deal.milestones}
    pledges = [p for p in deal.pledges if p.status != "withdrawn" and _period(p)][:MAX_HORIZONS]
    days = [_day(entry) for entry in announcements]
    days += [end for pledge in pledges for end in _period(pledge) or ()]
    for milestone in deal.milestones:
        for text in (*plans[milestone.milestone], milestone.reached):
            if text is not None:
                days += [first_day(text), last_day(text)]
    if not days:
        return None
    first, last = clamp_day(min(*days, day)), clamp_day(max(*days, day))
    padding = max(timedelta(days=20), (last - first) / 30)
    scale = LinearScale(first - padding, last + padding, frame.left, frame.right)
    row_height = _NARROW_ROW_HEIGHT if frame.is_narrow else _ROW_HEIGHT
    rows = [TimelineRow(None, frame.top, _announcement_marks(announcements, scale), [])]
    for pledge in pledges:
        rows.append(_period_row(pledge, frame.top + row_height * len(rows), scale, frame, scale.x(day)))
    for milestone in deal.milestones:
        y = frame.top + row_height * len(rows)
        row = _milestone_row(milestone, plans[milestone.milestone], y, scale)
        latest = milestone.reached or milestone.planned
        if row.marks and latest:
            label = _date_label(row.marks, latest, frame, scale.x(day), date_width(latest))
            row = replace(row, label=label)
        rows.append(row)
    height = rows[-1].y + _FOOT
    spans = [(_DAY_TOP, height - 8)]
    if frame.is_narrow:
        spans = [(_DAY_TOP, frame.top - NAME_TOP), *((row.y - NAME_BOTTOM, row.y + NAME_BOTTOM) for row in rows)]
    return TimelineChart(frame, rows, scale.ticks(), scale.x(day), height, spans)


def _period(pledge: PledgeState) -> tuple[date, date] | None:
    """The first and the last day of a pledge's period; it begins with the announcement where no start was stated."""
    horizon = pledge.horizon
    if horizon is None or horizon.until is None:
        return None
    start = first_day(horizon.from_) if horizon.from_ else pledge.announced_on
    end = last_day(horizon.until)
    return (start, end) if start <= end else None


def _period_row(pledge: PledgeState, y: float, scale: LinearScale, frame: Frame, day_x: float) -> TimelineRow:
    period = _period(pledge)
    assert period is not None
    assert pledge.horizon is not None
    until = pledge.horizon.until or ""
    start, end = map(scale.x, period)
    marks = [TimelineMark("horizon", start, max(6.0, round(end - start, 1)), until)]
    return TimelineRow(None, y, marks, [], _date_label(marks, until, frame, day_x, RANGE_WIDTH), pledge)


def _day(entry: AuditEntry) -> date:
    return entry.effective.effective_on or entry.effective.published_on


def _announcement_marks(announcements: Sequence[AuditEntry], scale: LinearScale) -> list[TimelineMark]:
    """The announcements as marks, close ones as one."""
    groups: list[tuple[float, list[AuditEntry]]] = []
    for entry in sorted(announcements, key=_day):
        x = scale.x(_day(entry))
        if groups and x - groups[-1][0] < _MARK_DISTANCE:
            groups[-1][1].append(entry)
        else:
            groups.append((x, [entry]))
    return [
        TimelineMark(
            "source" if all(entry.kind == "source" for entry in group) else "world",
            x,
            min(11.0, 4.0 + len(group)),
            entries=tuple(group),
        )
        for x, group in groups
    ]


def _milestone_row(milestone: MilestoneState, plans: Sequence[str], y: float, scale: LinearScale) -> TimelineRow:
    marks: list[TimelineMark] = []
    for text in plans:
        start, end = scale.x(first_day(text)), scale.x(last_day(text))
        kind: MarkKind = "planned" if text == milestone.planned else "earlier"
        marks.append(TimelineMark(kind, start, max(6.0, round(end - start, 1)), text))
    if milestone.reached:
        marks.append(TimelineMark("reached", scale.x(last_day(milestone.reached)), 0, milestone.reached))
    ends = [last_day(text) for text in plans]
    shifts = [(scale.x(a), scale.x(b)) for a, b in pairwise(ends) if a != b]
    return TimelineRow(milestone, y, marks, shifts)


def date_width(text: str) -> float:
    """The room that a date needs, given in EDTF."""
    return _DATE_WIDTHS.get(len(text), RANGE_WIDTH)


def _date_label(marks: Sequence[TimelineMark], text: str, frame: Frame, day_x: float, width: float) -> DateLabel:
    """A date after the last mark, or before the first, or above the row's end where there is room on neither side.

    No date stands on the line of the day that the page shows, at `day_x`.
    """
    start, end = min(mark.x for mark in marks), max(mark.x + max(mark.size, 8) for mark in marks)
    places: list[tuple[float, Literal["start", "end"]]] = [(end + 8, "start"), (start - 10, "end")]
    if end <= day_x <= end + _NEAR:
        places.append((day_x + _GAP, "start"))
    elif start - _NEAR <= day_x <= start:
        places.append((day_x - _GAP, "end"))
    for x, anchor in places:
        first, last = (x, x + width) if anchor == "start" else (x - width, x)
        if frame.left <= first and last <= frame.width and not first - _GAP < day_x < last + _GAP:
            return DateLabel(text, x, anchor)
    crosses = day_x > frame.right - width - _GAP
    return DateLabel(text, day_x - _GAP if crosses else frame.right, "end", is_above=True)


def _plans(milestone: str, entries: Sequence[AuditEntry]) -> list[str]:
    """Every date that a milestone was planned for, in effective order."""
    path = f"/milestones/{milestone}/planned"
    ordered = sorted(
        (entry for entry in entries if entry.kind not in ("record", "source") or entry.label == "re_recorded"),
        key=lambda entry: (_day(entry), entry.effective.recorded.position),
    )
    plans = [
        change.after
        for entry in ordered
        for change in entry.changes
        if change.path == path and change.after is not None
    ]
    return list(dict.fromkeys(plans))
