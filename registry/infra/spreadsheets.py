"""Texts that spreadsheet programs read as formulas."""

from __future__ import annotations

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "\r", "＝", "＋", "－", "＠")
"""The first characters of formulas, also in full width, as some spreadsheets read them (OWASP, CSV injection)."""
