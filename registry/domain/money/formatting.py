"""Decimals as text."""

from __future__ import annotations

from decimal import Decimal


def format_decimal(value: Decimal) -> str:
    """An exact decimal as events and API responses write it: no exponent, no trailing zeros in the fraction."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
