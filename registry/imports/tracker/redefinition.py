"""Finds columns whose values changed by one common factor: a changed definition rather than real growth."""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from registry.imports.mapping import ColumnRedefined, Mapping
from registry.imports.messages import ImportText
from registry.imports.tracker.plan import KnownDeal, OpenQuestion, TrackedRow
from registry.imports.tracker.rows import MAIN_SHEET, RowReader
from registry.imports.tracker.values import parse_number

RELATIVE_TOLERANCE = Decimal("0.01")
"""Two factors that differ by no more than this part are the same."""

MIN_ROWS = 3
"""How many rows must have changed by the same factor."""

Redefinitions = dict[str, ColumnRedefined | None]
"""The slugs of the deals whose value changed by the column's factor, with the editor's decision if there is one."""


def recorded_capacity(mapping: Mapping, deal: KnownDeal, field: str) -> str | None:
    """The recorded value of a capacity field of the deal's site; None if it is unknown or zero."""
    site = deal.site(mapping.site.site) if mapping.site else None
    value = (site or {}).get(field)
    return None if value in (None, "0", 0) else str(value)


def common_factor(factors: AnyMapping[str, Decimal]) -> tuple[Decimal | None, list[str]]:
    """The factor other than 1 by which most values changed, and their keys; None if no value changed.

    Returns:
        The median of the largest set of factors within the tolerance of each other, and the keys of this set.
    """
    largest: list[str] = []
    for factor in factors.values():
        if abs(factor - 1) > RELATIVE_TOLERANCE / 2:
            similar = [key for key, other in factors.items() if _are_close(other, factor, RELATIVE_TOLERANCE)]
            largest = max(largest, similar, key=len)
    if not largest:
        return None, []
    median = sorted(factors[key] for key in largest)[len(largest) // 2]
    return median, largest


def redefined_values(
    mapping: Mapping, field: str, pairs: Sequence[tuple[TrackedRow, KnownDeal]]
) -> tuple[Redefinitions, list[OpenQuestion]]:
    """The deals whose value changed by the factor of a redefined column, and the question about an undecided one."""
    factors = {
        deal.slug: Decimal(after) / Decimal(before)
        for row, deal in pairs
        if (after := row.value(field)) is not None and (before := recorded_capacity(mapping, deal, field)) is not None
    }
    decision = next((redefined for redefined in mapping.redefined if redefined.field == field), None)
    if decision is not None:
        decided = Decimal(decision.factor)
        slugs = [slug for slug, factor in factors.items() if _are_close(factor, decided, 2 * RELATIVE_TOLERANCE)]
        return dict.fromkeys(slugs, decision), []
    factor, slugs = common_factor(factors)
    if factor is None or len(slugs) < MIN_ROWS or 2 * len(slugs) < len(factors):
        return {}, []
    message = ImportText(
        "column-redefined", field=field, factor=f"{factor:.3f}", changed=len(slugs), total=len(factors)
    )
    accept = f'[[redefined]]\nfield = "{field}"\nfactor = "{factor:.3f}"\nnote = "…"\nrecord = "leave"'
    return dict.fromkeys(slugs), [OpenQuestion("redefined", field, message, accept)]


def columns_of_same_unit(reader: RowReader, pairs: Sequence[tuple[TrackedRow, KnownDeal]]) -> list[OpenQuestion]:
    """Questions about columns with the unit of the mapped power column that differ from it by one factor."""
    mapping = reader.mapping
    ref = mapping.site.power_mw if mapping.site else None
    sheet = reader.sheets.get(ref.sheet or MAIN_SHEET) if ref else None
    mapped = sheet.column(ref.column) if sheet and ref else None
    if ref is None or sheet is None or mapped is None:
        return []
    unit = re.search(r"\([^)]*\)$", sheet.header[mapped])
    if unit is None:
        return []
    questions: list[OpenQuestion] = []
    for i, header in enumerate(sheet.header):
        if i == mapped or not header.endswith(unit.group()):
            continue
        other = msgspec.structs.replace(ref, column=(header,), by=())
        factors: dict[str, Decimal] = {}
        for row, deal in pairs:
            cell = reader.lookup(other, row, reader.names_of(row))
            value = parse_number(cell.text) if cell else None
            recorded = recorded_capacity(mapping, deal, "power_mw")
            if value and recorded is not None:
                factors[deal.slug] = value / Decimal(recorded)
        factor, slugs = common_factor(factors)
        if factor is not None and len(slugs) >= MIN_ROWS:
            message = ImportText(
                "column-of-same-unit",
                column=header,
                factor=f"{factor:.3f}",
                inverse=f"{1 / factor:.2f}",
                matching=len(slugs),
                total=len(factors),
                mapped=sheet.header[mapped],
            )
            questions.append(OpenQuestion("column", sheet.at(sheet.header_row, i), message))
    return questions


def _are_close(one: Decimal, other: Decimal, tolerance: Decimal) -> bool:
    return abs(one - other) <= tolerance * other
