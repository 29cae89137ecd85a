"""The timeline of a deal: its announcements in the first row, and a row for each milestone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from registry.domain.audit.entries import AuditEntry
from registry.domain.deal import Deal, MilestoneState
from registry.events.edtf import first_day, last_day
from registry.web.charts.geometry import CHART_WIDTH, LinearScale, Tick, clamp_day

# Positions in the units of the drawing.
_LEFT, _FIRST_ROW, _ROW_HEIGHT, _FOOT = 170.0, 46, 34, 22
# Announcements closer than this share one mark.
_MARK_DISTANCE = 12.0
# Room that a date beside its marks may need.
_DATE_WIDTH = 130.0

MarkKind = Literal["world", "source", "planned", "earlier", "reached"]


class TimelineMark(Struct, frozen=True):
    """A mark in a row: a circle for announcements, a bar for a plan, a diamond for a milestone that was reached.

    `size` is the radius of a circle or the length of a bar. `date` is the milestone's date in EDTF; `entries` are the
    announcements.
    """

    kind: MarkKind
    x: float
    size: float
    date: str = ""
    entries: tuple[AuditEntry, ...] = ()


class DateLabel(Struct, frozen=True):
    """A date in EDTF beside the marks of its row: `anchor` is the end of the text that stands at `x`."""

    date: str
    x: float
    anchor: Literal["start", "end"]


class TimelineRow(Struct, frozen=True):
    """A row of the timeline. `milestone` None: the announcements. `shifts` lead from each plan to the one after it."""

    milestone: MilestoneState | None
    y: float
    marks: list[TimelineMark]
    shifts: list[tuple[float, float]]
    label: DateLabel | None = None


class TimelineChart(Struct, frozen=True):
    """The timeline: its rows, the ticks of its axis, and the position of the day that the page shows."""

    rows: list[TimelineRow]
    ticks: list[Tick]
    day_x: float
    height: float
    left: float


def timeline(deal: Deal, entries: Sequence[AuditEntry], day: date) -> TimelineChart | None:
    """A deal's announcements, and its milestones as planned, moved and reached. None: there is no date to show.

    Args:
        entries: The deal's history, oldest first.
        day: The effective date that the page shows.
    """
    announcements = [e for e in entries if e.visible and e.effective.is_in_force and e.kind != "record"]
    plans = {milestone.milestone: _plans(milestone.milestone, entries) for milestone in deal.milestones}
    days = [_day(entry) for entry in announcements]
    for milestone in deal.milestones:
        for text in (*plans[milestone.milestone], milestone.reached):
            if text is not None:
                days += [first_day(text), last_day(text)]
    if not days:
        return None
    first, last = clamp_day(min(*days, day)), clamp_day(max(*days, day))
    padding = max(timedelta(days=20), (last - first) / 30)
    scale = LinearScale(first - padding, last + padding, _LEFT, CHART_WIDTH - 16)
    rows = [TimelineRow(None, _FIRST_ROW, _announcement_marks(announcements, scale), [])]
    for i, milestone in enumerate(deal.milestones, 1):
        rows.append(_milestone_row(milestone, plans[milestone.milestone], _FIRST_ROW + _ROW_HEIGHT * i, scale))
    return TimelineChart(rows, scale.ticks(), scale.x(day), _FIRST_ROW + _ROW_HEIGHT * len(rows) + _FOOT, _LEFT)


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
    latest = milestone.reached or milestone.planned
    return TimelineRow(milestone, y, marks, shifts, _date_label(marks, latest) if marks and latest else None)


def _date_label(marks: Sequence[TimelineMark], text: str) -> DateLabel:
    """A date after the last mark, or before the first where there is no room after it."""
    end = max(mark.x + max(mark.size, 8) for mark in marks)
    if end + 8 + _DATE_WIDTH <= CHART_WIDTH:
        return DateLabel(text, end + 8, "start")
    return DateLabel(text, min(mark.x for mark in marks) - 10, "end")


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
