"""The as-of point of a page, and how its address states it.

The query parameters are those of the API (`effective_on`, `published_on`, `recorded_at`, `position`), so that the
same query of `/v1` returns the same state as JSON. A form without a script sends a day and an axis (`known_on`,
`known`; `from.recorded_on`, `to.recorded_on` where it compares two points); the page redirects it to the address with
the API's parameters.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from registry.domain.calendar import Calendar
from registry.domain.history import AsOf
from registry.errors import InvalidParameter
from registry.http.parameters import instant

Axis = Literal["recorded", "published"]

FORM_PARAMETERS = frozenset({"known", "known_on", "from.recorded_on", "to.recorded_on"})
"""What forms send instead of the API's parameters."""


class PageAsOf(Struct, frozen=True, kw_only=True):
    """The as-of point that a page shows.

    Args:
        clocks: The point as the address has it.
        effective_on: Its effective date, also where the address has none.
        calendar: The registry's calendar.
        today: The day on which the page is made.
        axis: The known axis that the page's controls move along.
    """

    clocks: AsOf
    effective_on: date
    calendar: Calendar
    today: date
    axis: Axis

    @property
    def past(self) -> bool:
        """Whether the page shows another point than the present."""
        return self.clocks != AsOf()

    @property
    def ahead(self) -> bool:
        """Whether the effective date is in the future."""
        return self.effective_on > self.today

    @property
    def known_on(self) -> date | None:
        """The day on the known axis; None: the present."""
        if self.axis == "published":
            return self.clocks.published_on
        return self.calendar.day_of(self.clocks.recorded_at) if self.clocks.recorded_at else None

    def query(self, **changes: Any) -> dict[str, str]:
        """The point as query parameters, with some changed; None removes one."""
        return as_parameters(self.clocks, **changes)


def as_parameters(clocks: AsOf, prefix: str = "", **changes: Any) -> dict[str, str]:
    """A point as query parameters of the API."""
    values = {
        "effective_on": clocks.effective_on,
        "published_on": clocks.published_on,
        "recorded_at": clocks.recorded_at,
        "position": clocks.position,
        **changes,
    }
    return {prefix + name: parameter_text(value) for name, value in values.items() if value is not None}


def parameter_text(value: Any) -> str:
    """A value as a query parameter; an instant in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def canonical_query(given: dict[str, str], calendar: Calendar) -> dict[str, str]:
    """The query of a form with the API's parameters. An empty field and today's date leave an axis open.

    A form has whole days only. So the recording time or position that the page showed is kept unless the form has
    another day for it. With either of them, today's date is kept too, because the default would then be their own day.

    Raises:
        InvalidParameter: `known_on` is not a date, or the recording time is not an instant.
    """
    query = _with_known(_with_recorded_days(given, calendar), calendar)
    is_log_fixed = not {"recorded_at", "position"}.isdisjoint(query)
    if not is_log_fixed and query.get("effective_on") == str(calendar.today()):
        query.pop("effective_on")
    return query


def _with_known(given: dict[str, str], calendar: Calendar) -> dict[str, str]:
    """The query of a form, with the API's parameters of the known axis."""
    query = {name: value for name, value in given.items() if value != "" and name not in ("known", "known_on")}
    known_on = given.get("known_on", "")
    if not known_on and "known" not in given:
        return query
    today = calendar.today()
    recorded_at, position = query.pop("recorded_at", None), query.pop("position", None)
    day = _day("known_on", known_on) if known_on else None
    if given.get("known") == "published":
        if day not in (None, today):
            query["published_on"] = str(day)
        return query
    shown = instant("recorded_at", recorded_at)
    if recorded_at is not None and shown is not None and day == calendar.day_of(shown):
        query["recorded_at"] = recorded_at
    elif day is not None and day != today:
        query["recorded_at"] = parameter_text(calendar.end_of(day))
    if position is not None and (day is None or "recorded_at" in query):
        query["position"] = position
    if not {"recorded_at", "position"} & query.keys():
        query["axis"] = "recorded"
    return query


def _with_recorded_days(given: dict[str, str], calendar: Calendar) -> dict[str, str]:
    """The query of a form of two points, with the API's parameters: a day of recording means its end."""
    query = dict(given)
    for prefix in ("from.", "to."):
        if (text := query.pop(f"{prefix}recorded_on", None)) is None:
            continue
        name = f"{prefix}recorded_at"
        shown = instant(name, query.pop(name, None))
        day = _day(f"{prefix}recorded_on", text) if text else None
        if day is not None:
            is_shown = shown is not None and calendar.day_of(shown) == day
            query[name] = parameter_text(shown if is_shown else calendar.end_of(day))
    return query


def _day(parameter: str, text: str) -> date:
    try:
        return msgspec.convert(text, date)
    except msgspec.ValidationError:
        raise InvalidParameter("date", parameter=parameter) from None
