"""Plans of sheets beside an empty registry. `conftest.py` closes them after each test."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from typing import Any
from uuid import UUID

from registry.imports.mapping import Mapping
from registry.imports.tracker.plan import Plan, make_plan
from registry.imports.tracker.registry import KnownDeal, SetBy
from registry.imports.workbook import Sheet


class Nothing:
    """A registry without deals."""

    def recorded(self, ids: Collection[UUID]) -> set[UUID]:
        return set()

    def deals(self, scheme: str, keys: Collection[str], on: date) -> dict[str, KnownDeal]:
        return {}

    def keys(self, scheme: str) -> Iterator[tuple[str, str]]:
        return iter(())

    def set_by(self, slug: str, on: date) -> dict[str, SetBy]:
        return {}

    def event(self, id: UUID) -> dict[str, Any]:
        return {}


_plans: list[Plan] = []


def close_plans() -> None:
    """Close the plans that `planned` has made."""
    while _plans:
        _plans.pop().spool.close()


def planned(sheets: list[Sheet], mapping: Mapping) -> Plan:
    made = make_plan(sheets, mapping, date(2026, 5, 20), Nothing(), {})
    assert made is not None
    _plans.append(made)
    return made
