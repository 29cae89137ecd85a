"""Imports of trackers: sheets with a row per deal and its current values, published again and again.

A new row becomes a deal, a changed value a revision that cites the sheet. A change with several possible meanings is
not recorded but becomes a question: a row that is gone (which is not a withdrawal), a name similar to another one, a
plan that may have been split, a column whose values changed by one factor. The mapping holds the editor's decisions.
Sheets are compared with the deals as known on the sheets' own day, so importing them again changes nothing.
"""

from registry.imports.tracker.comparison import compare
from registry.imports.tracker.plan import ImportPlan, KnownDeal, OpenQuestion

__all__ = ["ImportPlan", "KnownDeal", "OpenQuestion", "compare"]
