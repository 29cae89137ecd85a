"""The codes of a field of a deal, as fact tables, filters, facets and totals have them."""

from __future__ import annotations

from typing import Any

from registry.domain.deal.state import Deal, DealIdentifierState


def codes_of(deal: Deal, field: str) -> tuple[str, ...]:
    """The codes of a field: of classifications `AXIS:CODE`, of identifiers `SCHEME:VALUE`; none where it is unknown."""
    value: Any = getattr(deal, field)
    match value:
        case None:
            return ()
        case str():
            return (value,)
        case dict():
            return tuple(f"{axis}:{code}" for axis, codes in value.items() for code in codes)
        case _:
            return tuple(f"{one.scheme}:{one.value}" if isinstance(one, DealIdentifierState) else one for one in value)
