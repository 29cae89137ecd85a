"""Which versions of pledges have an amount that is wrong by a power of ten (`checks/amount_checks.py`).

The verdict depends on exchange rates, so the copy's file does not have it: a table in memory has the versions with such
an amount, for each state of the rates. It follows the copy: each version is examined once. DuckDB finds the versions
with anything to compare; those with amounts in two currencies, and those that are close to a power of ten, are decided
one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from duckdb import DuckDBPyConnection

from registry.domain.checks.amount_checks import AmountCheck, Figure, doubts
from registry.domain.money.rates import Rates
from registry.events.values import Amount, StatedAmount
from registry.infra.work_time import WaitingLock
from registry.projections.columnar.memory_tables import SELECT_STATE
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import run
from registry.projections.point import Point

CREATE_SLIPS = """
CREATE TABLE IF NOT EXISTS {slips} (
    deal           VARCHAR  NOT NULL,
    pledge         VARCHAR  NOT NULL,
    effective_from DATE     NOT NULL,
    recorded_from  BIGINT   NOT NULL,
    ordinal        SMALLINT NOT NULL
)
"""

# Most events write no such version, and the statement below takes 2 ms before it begins.
SELECT_ANY_COMPARED = """
SELECT 1
  FROM pledge_facts
 WHERE changed_at > $position AND (compared_with IS NOT NULL OR stated_as IS NOT NULL)
 LIMIT 1
"""

# Of two amounts in one currency the ratio is known here; the tolerance is a little wider than the rule's.
SELECT_COMPARED = """
SELECT p.deal, p.pledge, p.effective_from, p.recorded_from, p.ordinal, p.currency, p.value, p.low, p.high,
       coalesce(p.compared_on, p.stated_on), p.stated_as, p.compared_with
  FROM (SELECT *, coalesce(value, (low + high) / 2, low, high)::DOUBLE AS amount
          FROM pledge_facts
         WHERE changed_at > $position AND (compared_with IS NOT NULL OR stated_as IS NOT NULL)) AS p
 WHERE p.stated_as IS NOT NULL
    OR p.amount > 0 AND len(list_filter(
           from_json(p.compared_with, '[{"currency": "VARCHAR", "value": "DOUBLE"}]'),
           lambda o: o.currency <> p.currency
                  OR abs(greatest(p.amount / o.value, o.value / p.amount)
                         / pow(10, round(log10(greatest(p.amount / o.value, o.value / p.amount, 1)))) - 1) < 0.26
                     AND greatest(p.amount / o.value, o.value / p.amount) > 7)) > 0
"""

# Of the others, no amount has a flag.
_FLAGGED = """
SELECT p.deal, p.pledge, p.currency, p.value, p.low, p.high, coalesce(p.compared_on, p.stated_on), p.stated_as,
       p.compared_with
  FROM pledge_facts AS p {join}
 WHERE {p} AND (p.stated_as IS NOT NULL OR {is_doubted})
"""

INSERT_SLIPS = """
INSERT INTO {slips}
SELECT unnest($deals), unnest($pledges), unnest($days::DATE[]), unnest($positions), unnest($ordinals)
"""

_examining = WaitingLock()
_figures = msgspec.json.Decoder(list[Figure]).decode
_stated = msgspec.json.Decoder(list[StatedAmount]).decode


class Doubts(msgspec.Struct, frozen=True):
    """The versions of pledges whose amount is doubted, as a table `f` to join to a row `p` of `pledge_facts`."""

    table: str
    any: bool

    @property
    def join(self) -> str:
        """The join, where any amount is doubted."""
        if not self.any:
            return ""
        return (
            f"LEFT JOIN {self.table} AS f ON f.deal = p.deal AND f.pledge = p.pledge"
            " AND f.effective_from = p.effective_from AND f.recorded_from = p.recorded_from AND f.ordinal = p.ordinal"
        )

    @property
    def is_doubted(self) -> str:
        """Whether the amount of a row `p` is doubted."""
        return "f.deal IS NOT NULL" if self.any else "false"


def prepare_doubts(cursor: DuckDBPyConnection, cache: QuestionCache, rates: Rates) -> Doubts:
    """Find the doubted amounts in all versions that the question's transaction sees.

    Args:
        cursor: The copy; its transaction has not read the tables in memory yet.
        cache: What is cached of earlier questions.
        rates: The exchange rates.
    """
    table = f"cache.main.slips_{rates.imports}"
    # The question reads the copy before this function does: it sees no version that is examined later.
    ((position, reset),) = run(cursor, SELECT_STATE, {})
    known, of_reset, is_any = cache.doubts.get(rates.imports, (-1, reset, False))
    if known >= position and of_reset == reset:
        return Doubts(table, is_any)
    with _examining, cursor.cursor() as own:
        own.execute("BEGIN")
        run(own, CREATE_SLIPS.format(slips=table), {})
        ((position, reset),) = run(own, SELECT_STATE, {})
        known, of_reset, _ = cache.doubts.get(rates.imports, (-1, reset, False))
        if known < 0 or of_reset != reset:
            known = -1
            run(own, f"DELETE FROM {table}", {})
        _examine(own, table, known, rates)
        ((count,),) = run(own, f"SELECT count(*) FROM {table}", {})
        own.execute("COMMIT")
        cache.doubts[rates.imports] = (position, reset, count > 0)
    return Doubts(table, count > 0)


def _examine(own: DuckDBPyConnection, table: str, since: int, rates: Rates) -> None:
    """Examine the versions that were written after a position."""
    if not run(own, SELECT_ANY_COMPARED, {"position": since}):
        return
    found = [
        (deal, pledge, day, position, ordinal)
        for deal, pledge, day, position, ordinal, *amount in run(own, SELECT_COMPARED, {"position": since})
        if "tenfold-slip" in flags_of(ComparedAmount(*amount), rates)
    ]
    if found:
        columns = zip(*found, strict=True)
        names = ("deals", "pledges", "days", "positions", "ordinals")
        own.execute(INSERT_SLIPS.format(slips=table), dict(zip(names, map(list, columns), strict=True)))


def flags_at(
    cursor: DuckDBPyConnection, doubts: Doubts, point: Point, rates: Rates
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The flags on the amounts of all deals at a point, by deal and pledge."""
    statement = _FLAGGED.format(join=doubts.join, is_doubted=doubts.is_doubted, p=point.at("p"))
    found = {}
    for deal, pledge, *amount in run(cursor, statement, point.parameters):
        if flags := flags_of(ComparedAmount(*amount), rates):
            found[deal, pledge] = flags
    return found


class ComparedAmount(NamedTuple):
    """An amount and what it is compared with, as columns of `pledge_facts`; `compared_on` is the day of the rates."""

    currency: Any
    value: Decimal | str | None
    low: Decimal | str | None
    high: Decimal | str | None
    compared_on: date
    stated_as: str | None
    compared_with: str | None


def flags_of(row: ComparedAmount, rates: Rates | None) -> tuple[str, ...]:
    """The rules of the flags on an amount."""
    if row.currency is None or (row.stated_as is None and row.compared_with is None):
        return ()
    others: Sequence[Figure] = _figures(row.compared_with) if row.compared_with is not None else ()
    stated: Sequence[StatedAmount] = _stated(row.stated_as) if row.stated_as is not None else ()
    amount = Amount(row.currency, _text(row.value), None, _text(row.low), _text(row.high), tuple(stated))
    return tuple(doubts(amount, AmountCheck(row.compared_on, tuple(others)), rates))


def _text(number: Decimal | str | None) -> str | None:
    return None if number is None else str(number)
