"""The orders of deal lists and the groupings of totals as query parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from litestar.params import QueryParameter

from registry.domain.totals import GROUPINGS
from registry.errors import InvalidParameter
from registry.projections.columnar.lists import Order

Sort = Literal[
    "deal", "-deal", "title", "-title", "amount", "-amount", "announced_on", "-announced_on", "updated", "-updated",
    "stage", "-stage", "since", "-since", "relevance", "-relevance",
]  # fmt: skip

_DIMENSION = rf"({'|'.join(GROUPINGS)}|classification:[a-z_]+)"

Grouping: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description=f"What to group by: {', '.join(GROUPINGS)}, `classification:AXIS`; two with a comma between them.",
        pattern=rf"^{_DIMENSION}(,{_DIMENSION})?$(?!\n)",
        title="grouping",
        schema_extra={"examples": ["organization", "region,year"]},
    ),
]


def read_order(sort: str, q: str | None, weights: Mapping[str, float], language: str = "en") -> Order:
    """The order that a parameter names. By relevance, the best come first.

    Raises:
        InvalidParameter: An order by relevance without words to search for.
    """
    key, descending = sort.removeprefix("-"), sort.startswith("-")
    if key == "relevance":
        if q is None:
            raise InvalidParameter("relevance_search", parameter="q")
        descending = not descending
    return Order(key=key, descending=descending, language=language, weights=weights)  # type: ignore[arg-type]


def read_grouping(text: str | None) -> tuple[str, ...]:
    """The dimensions that a parameter names, each once."""
    return tuple(dict.fromkeys(text.split(","))) if text else ()
