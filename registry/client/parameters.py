"""Query parameters that several requests share, with the names that the OpenAPI document gives them.

A value is a date, an instant, a number, a bool or the text that the API takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, TypeAlias, TypedDict

from registry.schemas.deal_query import DealConditions

Date: TypeAlias = date | str | None
Instant: TypeAlias = datetime | str | None


class AsOfParameters(TypedDict, total=False):
    """A point on the three time axes: each means "no later than"."""

    effective_on: Date
    published_on: Date
    recorded_at: Instant
    position: int | None


class ComparisonParameters(TypedDict, total=False):
    """Two points in time."""

    from_effective_on: Date
    from_published_on: Date
    from_recorded_at: Instant
    from_position: int | None
    to_effective_on: Date
    to_published_on: Date
    to_recorded_at: Instant
    to_position: int | None


class Filters(DealConditions, total=False):
    """Conditions that all deals of a question meet."""

    updated_since: Date | Instant


class SearchFilters(Filters, total=False):
    """The same, with the currency of a pledge."""

    currency: str | None


class DealFilterParameters(AsOfParameters, Filters, total=False):
    """Conditions of the deals of a total at a point in time; `pledged_in` is the currency of a pledge."""

    pledged_in: str | None


class ListFilters(AsOfParameters, SearchFilters, total=False):
    """Conditions and the order of the list of deals at a point in time."""

    sort: str | None


class ComparisonFilters(ComparisonParameters, SearchFilters, total=False):
    """Conditions of deals at either of two points in time."""


class EventFilters(TypedDict, total=False):
    """Conditions that all events of a list meet."""

    type: str | None
    deal: str | None
    organization: str | None
    source: str | None


class ExportFilters(AsOfParameters, SearchFilters, total=False):
    """Conditions of an export: those of the list of deals, or those of the list of events."""

    type: str | None
    deal: str | None
    source: str | None
    after: int | None
    bom: bool | None
    sources: bool | None


def query(given: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as text. What is None is left out; `from_position` is the parameter `from.position`."""
    return {_name(name): _text(value) for name, value in given.items() if value is not None}


def _name(name: str) -> str:
    for end in ("from_", "to_"):
        if name.startswith(end):
            return f"{end[:-1]}.{name.removeprefix(end)}"
    return name


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case date():
            return value.isoformat()
        case _:
            return str(value)
