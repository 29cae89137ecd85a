"""Compares a tracker's sheets with the recorded deals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date

from registry.imports.mapping import Mapping
from registry.imports.messages import ImportText
from registry.imports.tracker.changes import ChangeBuilder
from registry.imports.tracker.matching import DealMatcher
from registry.imports.tracker.plan import ImportPlan, KnownDeal, OpenQuestion
from registry.imports.tracker.redefinition import columns_of_same_unit, redefined_values
from registry.imports.tracker.rows import RowReader
from registry.imports.tracker.values import CAPACITY_FIELDS
from registry.imports.workbook import CellError, Sheet


def compare(
    sheets: Sequence[Sheet],
    mapping: Mapping,
    on: date,
    deals: Sequence[KnownDeal],
    known_slugs: Collection[str] = (),
) -> ImportPlan:
    """The plan that records what the sheets of a day change.

    Args:
        on: The day on which the sheets were published.
        deals: The tracker's deals as recorded and in effect on that day.
        known_slugs: The slugs of all deals ever recorded. A new row with one of them is an error: its deal was recorded
            from later sheets.
    """
    errors: list[CellError] = []
    reader = RowReader(sheets, mapping, lambda at, problem: errors.append(CellError(at, problem)))
    if reader.missing:
        missing = [CellError(name, ImportText("sheet-missing", part=mapping.sheets[name])) for name in reader.missing]
        return ImportPlan((), (), tuple(missing))

    rows = list(reader.rows())
    matcher = DealMatcher(mapping, deals)
    matched = {row.name: matcher.match(row) for row in rows}
    pairs = [(row, deal) for row in rows if (deal := matched[row.name]) is not None]
    new = [row for row in rows if matched[row.name] is None]
    recorded_later = set(known_slugs) - {deal.slug for deal in deals}
    errors += [
        CellError(row.at, ImportText("recorded-later", name=row.name))
        for row in new
        if reader.slug_of(row.name) in recorded_later
    ]

    questions: list[OpenQuestion] = []
    matched_slugs = {deal.slug for _, deal in pairs}
    about_missing, waiting = matcher.missing_rows([deal for deal in deals if deal.slug not in matched_slugs], new)
    questions += about_missing
    redefined = {}
    for field in CAPACITY_FIELDS:
        redefined[field], about_column = redefined_values(mapping, field, pairs)
        questions += about_column
    questions += columns_of_same_unit(reader, pairs)

    changes = ChangeBuilder(reader, on)
    for row in rows:
        deal = matched[row.name]
        if deal is not None:
            changes.revise(row, deal, redefined)
            changes.questions += matcher.split_by_capacity(row, deal, new)
        elif row.name not in waiting:
            changes.register(row)
    changes.relate_splits(rows, matched, [matcher.named(split.was) for split in mapping.split])
    errors += changes.errors
    announcements = () if errors else tuple(changes.announcements)
    return ImportPlan(announcements, (*questions, *changes.questions), tuple(errors))
