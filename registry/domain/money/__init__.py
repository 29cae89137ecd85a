"""Amounts of money: parsing press texts, and formatting exact decimals."""

from registry.domain.money.formatting import format_decimal
from registry.domain.money.parsing import AmountParseError, AmountProblem, ParsedAmount, parse
