"""The time sliders of a page: one for the effective date, one for the known axis."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from registry.domain.history import FoldedStream
from registry.queries.log import LogQueries
from registry.queries.portfolio import PortfolioQueries
from registry.web import as_of
from registry.web.as_of import TimeSlider
from registry.web.cache import cached_fragment
from registry.web.request import PageRequest

# The latest changes that the sliders of the portfolio offer, and the latest events that are searched for them.
MAX_STOPS = 400
MAX_EVENTS = 500

Sliders = dict[str, TimeSlider]


def stream_sliders(page: PageRequest, stream: FoldedStream[Any]) -> Sliders:
    """The sliders of a page about one deal or organization: they stop where it changed."""
    effective, published, recorded = as_of.of_history(stream)
    return _sliders(page, effective, published if page.times.axis == "published" else recorded)


async def portfolio_sliders(
    page: PageRequest, portfolio_queries: PortfolioQueries, log_queries: LogQueries, axis: str, known: int
) -> Sliders:
    """The sliders of a page about all deals, as known at a point on an axis: they stop where any deal changed."""
    effective = await change_days(page, portfolio_queries, axis, known)
    moments: list[date] | list[datetime]
    if page.times.axis == "published":
        moments = await cached_fragment(
            page, ("publication days",), lambda: portfolio_queries.publication_days(MAX_STOPS)
        )
    else:
        moments = await cached_fragment(page, ("recording times",), lambda: recording_times(page, log_queries))
    return _sliders(page, effective, moments)


async def current_sliders(page: PageRequest, portfolio_queries: PortfolioQueries, log_queries: LogQueries) -> Sliders:
    """The sliders of a page about no deal in particular: those of all deals as currently known."""
    return await portfolio_sliders(page, portfolio_queries, log_queries, "r", page.position)


async def change_days(page: PageRequest, portfolio_queries: PortfolioQueries, axis: str, known: int) -> list[date]:
    """The latest days from which a change of any deal is in effect."""
    return await cached_fragment(
        page,
        ("change days", axis, known),
        lambda: portfolio_queries.effective_change_days(axis, known, MAX_STOPS),
    )


async def recording_times(page: PageRequest, log_queries: LogQueries) -> list[datetime]:
    """The latest times at which events were recorded."""
    return as_of.of_log(await log_queries.events(max(0, page.position - MAX_EVENTS), MAX_EVENTS))


def _sliders(page: PageRequest, effective: list[date], moments: list[date] | list[datetime]) -> Sliders:
    known = "published_on" if page.times.axis == "published" else "recorded_at"
    without_day = {name: text for name, text in page.given.items() if name not in ("effective_on", "cursor")}
    without_known = {
        name: text
        for name, text in page.given.items()
        if name not in ("published_on", "recorded_at", "position", "axis", "cursor")
    }
    return {
        "effective": as_of.rail(effective, page.clocks.effective_on, "effective_on", without_day, page.times.today),
        "known": as_of.rail(moments, getattr(page.clocks, known), known, without_known),
    }
