"""The packaged exchange rates, for tests without a database."""

from __future__ import annotations

from functools import cache

from registry.domain.money.rates import Rates, RateTable
from registry.domain.quotes import group_rows
from registry.imports.rates import packaged_history


@cache
def reference_rates() -> Rates:
    """The packaged history, as every database has it."""
    table = RateTable()
    table.add(group_rows(packaged_history()))
    return table.at()
