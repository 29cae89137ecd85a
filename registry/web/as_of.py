"""The three clocks of a page: which point in time it shows, where its other points are, and how the URL says so.

The parameters are the API's own (`effective_on`, `published_on`, `recorded_at`, `position`), so that a page's address
is its question, and the same question asked of `/v1` gives the same answer as JSON. A form without JavaScript sends a
day and an axis (`known`, `known_on`); that is answered with a redirect to the address it stands for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from urllib.parse import urlencode

from msgspec import Struct

from registry.domain.history import AsOf, FoldedStream
from registry.events.store import StoredEvent
from registry.web import query as parameters

Axis = Literal["recorded", "published"]

# The most stops that the slider shows; the ones next to the point shown are always among them.
STOPS = 40
# What is recorded within so short a time is one moment to a reader: a list that was posted, a file that was imported.
ONE_MOMENT = timedelta(seconds=2)


class SliderStop(Struct, frozen=True):
    """A moment at which something changed: the value the clock would have there, and the query that leads to it."""

    value: date | datetime
    query: str
    here: bool


class TimeSlider(Struct, frozen=True):
    """The stops of one clock, with the ones before and after the point shown (None: there is none)."""

    stops: list[SliderStop]
    before: SliderStop | None
    after: SliderStop | None


class PageAsOf(Struct, frozen=True):
    """The point in time a page shows. `axis` is the known clock that its controls move."""

    clocks: AsOf
    today: date
    axis: Axis

    @property
    def effective_on(self) -> date:
        return self.clocks.effective_on or self.today

    @property
    def past(self) -> bool:
        """Whether the page shows anything but the present."""
        return self.clocks != AsOf()

    @property
    def ahead(self) -> bool:
        """Whether what it shows lies in the future: what will be so, as far as it is known."""
        return self.effective_on > self.today

    @property
    def known_on(self) -> date | None:
        """The day of the known clock; None: open."""
        if self.axis == "published":
            return self.clocks.published_on
        return self.clocks.recorded_at.astimezone(UTC).date() if self.clocks.recorded_at else None

    def query(self, **changes: Any) -> dict[str, str]:
        """The clocks as parameters; a change to None opens one."""
        return as_parameters(self.clocks, **changes)


def as_parameters(clocks: AsOf, prefix: str = "", **changes: Any) -> dict[str, str]:
    """Clocks as query parameters, in the API's names."""
    values = {
        "effective_on": clocks.effective_on,
        "published_on": clocks.published_on,
        "recorded_at": clocks.recorded_at,
        "position": clocks.position,
        **changes,
    }
    return {prefix + name: parameter_text(value) for name, value in values.items() if value is not None}


def parameter_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def end_of(day: date) -> datetime:
    """The last instant of a day, in UTC."""
    return datetime.combine(day, time.max, UTC)


def canonical(given: dict[str, str], today: date) -> dict[str, str]:
    """What a form sent, as the parameters it stands for: empty fields open a clock, today is left open too.

    A form knows days only. The moment or the position that the page was at stays, unless another day was chosen.
    """
    query = {name: value for name, value in given.items() if value != "" and name not in ("known", "known_on")}
    if query.get("effective_on") == str(today):
        query.pop("effective_on")
    known_on = given.get("known_on", "")
    if not known_on and "known" not in given:
        return query
    recorded_at, position = query.pop("recorded_at", None), query.pop("position", None)
    day = parameters.day(known_on) if known_on else None
    if given.get("known") == "published":
        if day not in (None, today):
            query["published_on"] = str(day)
        return query
    if recorded_at is not None and day == datetime.fromisoformat(recorded_at).astimezone(UTC).date():
        query["recorded_at"] = recorded_at
    elif day not in (None, today):
        query["recorded_at"] = parameter_text(end_of(day))
    if position is not None and (day is None or "recorded_at" in query):
        query["position"] = position
    if not {"recorded_at", "position"} & query.keys():
        query["axis"] = "recorded"
    return query


def rail(
    moments: Iterable[date | datetime],
    at: date | datetime | None,
    name: str,
    query: dict[str, str],
    today: date | None = None,
) -> TimeSlider:
    """The stops of one clock. `at` is the point shown, None: the clock is open, on `today` if something lies ahead.

    `query` is the rest of the address.
    """
    ordered = sorted(set(moments))
    now = at if at is not None else today
    here = len(ordered) - 1 if now is None else _last(ordered, now)
    stops = [
        SliderStop(value, urlencode({**query, name: parameter_text(value)}), i == here)
        for i, value in enumerate(ordered)
    ]
    exact = at is None or (here >= 0 and ordered[here] == at)
    before = stops[here - 1 if exact else here] if here >= (1 if exact else 0) else None
    after = stops[here + 1] if here + 1 < len(stops) else None
    return TimeSlider(_downsample(stops, here), before, after)


def _last(ordered: Sequence[date | datetime], at: Any) -> int:
    """The index of the last one that is not after `at`; -1 when all are."""
    return sum(1 for value in ordered if value <= at) - 1


def _downsample(stops: list[SliderStop], here: int) -> list[SliderStop]:
    if len(stops) <= STOPS:
        return stops
    kept = {round(i * (len(stops) - 1) / (STOPS - 1)) for i in range(STOPS)} | {max(here - 1, 0), max(here, 0)}
    return [stops[i] for i in sorted(kept | {min(here + 1, len(stops) - 1)})]


def batched(instants: Iterable[datetime], mended: Collection[datetime] = ()) -> list[datetime]:
    """Instants of recording, those of one moment as its last; of a record and its correction, both: they compare."""
    found: list[datetime] = []
    for instant in sorted(instants):
        alike = found and (instant in mended) == (found[-1] in mended)
        if alike and instant - found[-1] < ONE_MOMENT:
            found[-1] = instant
        else:
            found.append(instant)
    return found


def of_history(history: FoldedStream[Any]) -> tuple[list[date], list[date], list[datetime]]:
    """The days and instants at which a stream's state changed: true from, published, recorded."""
    effective = {placed.key[0] for placed in history.timeline.steps}
    registration = history.record.registration
    if registration is not None and registration.effective_on is not None:
        effective.add(registration.effective_on)
    published = {r.published_on for r in history.record.effective_events if r.is_in_force}
    mended = {e.recorded_at for e in history.events if e.type in ("event_corrected", "event_voided")}
    return sorted(effective), sorted(published), batched((e.recorded_at for e in history.events), mended)


def of_log(events: Iterable[StoredEvent]) -> list[datetime]:
    """The moments at which these events were recorded."""
    return batched(e.recorded.recorded_at for e in events)
