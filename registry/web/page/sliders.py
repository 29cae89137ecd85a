"""The time sliders of a page: one for the effective date, one for the known axis."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from registry.domain.history import AsOf, FoldedStream
from registry.projections.point import Point
from registry.queries.portfolio import PortfolioQueries
from registry.web.page.as_of import parameter_text
from registry.web.page.cache import cached_fragment
from registry.web.page.change_points import MERGED_WITHIN, change_points
from registry.web.page.request import PageRequest

# The most stops of a slider; the stops next to the shown point are always among them.
MAX_STOPS = 40
# The most days on which a deal changed, those of 270 years: the change before or after any shown day is among them.
MAX_DAYS = 100_000
# The steps in which the recording times of all deals are chosen, if there are more.
RECORDING_STEPS = 500


class SliderStop(Struct, frozen=True):
    """A point at which something changed: its value, its address, and whether the page shows it."""

    value: date | datetime
    query: str
    is_shown: bool


class TimeSlider(Struct, frozen=True):
    """The stops of one axis, with the changes before and after the shown point.

    Args:
        stops: All changes, or some evenly chosen ones.
        previous: The change before the shown point.
        next: The change after it.
        is_sample: Whether there are more changes than stops.
    """

    stops: list[SliderStop]
    previous: SliderStop | None
    next: SliderStop | None
    is_sample: bool = False


class TimeSliders(Struct, frozen=True):
    """The sliders of a page. The known axis is that of publication or of recording."""

    effective: TimeSlider
    known: TimeSlider


def stream_sliders(page: PageRequest, stream: FoldedStream[Any]) -> TimeSliders:
    """The sliders of a page about one deal or organization: they stop where it changed."""
    points = change_points(stream)
    return _sliders(page, points.effective, points.published if page.times.axis == "published" else points.recorded)


async def portfolio_sliders(page: PageRequest, portfolio_queries: PortfolioQueries, point: Point) -> TimeSliders:
    """The sliders of a page about all deals, as known at a point: they stop where any deal changed."""
    days = await change_days(page, portfolio_queries, point)
    moments: list[date] | list[datetime]
    if page.times.axis == "published":
        moments = await cached_fragment(
            page, ("publication days",), lambda: portfolio_queries.publication_days(point, MAX_DAYS)
        )
    else:
        moments = await portfolio_recording_times(page, portfolio_queries, page.as_of.recorded_at)
    return _sliders(page, days, moments)


async def current_sliders(page: PageRequest, portfolio_queries: PortfolioQueries) -> TimeSliders:
    """The sliders of a page about no deal in particular: those of all deals as currently known."""
    return await portfolio_sliders(page, portfolio_queries, await portfolio_queries.point(AsOf()))


async def change_days(page: PageRequest, portfolio_queries: PortfolioQueries, point: Point) -> list[date]:
    """The days from which a change of any deal is in effect."""
    return await cached_fragment(
        page,
        ("change days", point.axis, point.known),
        lambda: portfolio_queries.effective_change_days(point, MAX_DAYS),
    )


async def portfolio_recording_times(
    page: PageRequest, portfolio_queries: PortfolioQueries, shown: datetime | None
) -> list[datetime]:
    """When events of deals were recorded, from the first to the last: evenly chosen times and those next to one."""
    near = shown or page.recorded_at or datetime.max.replace(tzinfo=UTC)
    return await cached_fragment(
        page,
        ("recording times", near),
        lambda: portfolio_queries.recording_times(near, MERGED_WITHIN, RECORDING_STEPS),
    )


def _sliders(page: PageRequest, days: Iterable[date], moments: Iterable[date | datetime]) -> TimeSliders:
    known = "published_on" if page.times.axis == "published" else "recorded_at"
    without_day = _without(page.query, "effective_on", "cursor")
    without_known = _without(page.query, "published_on", "recorded_at", "position", "axis", "cursor")
    return TimeSliders(
        effective=time_slider(days, page.as_of.effective_on, "effective_on", without_day, page.times.effective_on),
        known=time_slider(moments, getattr(page.as_of, known), known, without_known, _known_by(page)),
    )


def _known_by(page: PageRequest) -> date | datetime | None:
    """Where an open known axis stands: at today, or at the recording of the log position that the page shows."""
    if page.times.axis == "published":
        return page.times.today
    return page.recorded_at if page.as_of.position is not None else None


def _without(query: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: text for name, text in query.items() if name not in names}


def time_slider(
    points: Iterable[date | datetime],
    shown: date | datetime | None,
    parameter: str,
    query: Mapping[str, str],
    stands_at: date | datetime | None = None,
) -> TimeSlider:
    """The slider of one axis.

    Args:
        points: Where something changed.
        shown: The point that the page shows; None: the axis is open.
        parameter: The query parameter of the axis.
        query: The rest of the page's query.
        stands_at: Where an open axis stands if points may lie after it; None: at its last point.
    """
    ordered: list[Any] = sorted(set(points))
    position = shown if shown is not None else stands_at
    index = len(ordered) - 1 if position is None else bisect_right(ordered, position) - 1
    stands_on_stop = shown is None or (index >= 0 and ordered[index] == shown)
    previous = index - 1 if stands_on_stop else index

    def stop(i: int) -> SliderStop:
        return SliderStop(ordered[i], urlencode({**query, parameter: parameter_text(ordered[i])}), i == index)

    return TimeSlider(
        stops=[stop(i) for i in _sampled(len(ordered), index)],
        previous=stop(previous) if previous >= 0 else None,
        next=stop(index + 1) if index + 1 < len(ordered) else None,
        is_sample=len(ordered) > MAX_STOPS,
    )


def _sampled(count: int, index: int) -> Iterable[int]:
    """At most about `MAX_STOPS` of so many stops, evenly spread, with those next to an index."""
    if count <= MAX_STOPS:
        return range(count)
    kept = {round(i * (count - 1) / (MAX_STOPS - 1)) for i in range(MAX_STOPS)}
    return sorted(kept | {max(index - 1, 0), max(index, 0), min(index + 1, count - 1)})
