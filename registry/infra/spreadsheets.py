"""What spreadsheets make of the texts of a file."""

from __future__ import annotations

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "\r", "＝", "＋", "－", "＠")
"""The first characters of formulas, also in full width, as some spreadsheets read them (OWASP, CSV injection)."""
