"""What else an editor should know about a plan: rows that were left out, deals without a date, rows that are gone."""

from __future__ import annotations

from collections.abc import Iterator

from registry.imports.messages import ImportText
from registry.imports.tracker.plan import Plan

MAX_KEYS = 10
"""Keys of rows that are gone which a note lists."""


def notes_of(plan: Plan) -> Iterator[ImportText]:
    """The notes about a plan."""
    yield from plan.notes
    if plan.skipped:
        yield ImportText("rows-skipped", count=plan.skipped)
    if plan.undated:
        yield ImportText("deals-undated", count=plan.undated)
    for name, count in sorted(plan.unstated.items()):
        yield ImportText("values-unstated", field=name, count=count)
    if plan.gone:
        # A key may consist of the texts of several columns, with commas between them or in them.
        listed = (f'"{key}"' if "," in key else key for key in plan.gone[:MAX_KEYS])
        keys = ", ".join(listed) + (" …" if len(plan.gone) > MAX_KEYS else "")
        yield ImportText("rows-gone", count=len(plan.gone), keys=keys)
